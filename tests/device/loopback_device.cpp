// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "packets.hpp"
#include <tunic/device/loopback_device.hpp>

#include <optional>
#include <type_traits>
#include <utility>

using namespace tunic;
using device_test::receive;
using device_test::send;
using device_test::Texts;

TEST_CASE("what one end sends the other receives, in both directions", "[device][loopback]") {
  LoopbackPair pair{{.mtu_bytes = 1280}};
  CHECK(pair.first.caps().mtu_bytes == 1280);
  CHECK(pair.second.caps().mtu_bytes == 1280);
  CHECK(send(pair.first, {"a", "b", "c"}).accepted == 3);
  CHECK(send(pair.second, {"x"}).accepted == 1);
  CHECK(pair.second.pending() == 3);

  const auto some = receive(pair.second, 2);
  CHECK(some.texts == Texts{"a", "b"});
  CHECK(some.status == DeviceStatus::ok);
  CHECK(receive(pair.second, 2).texts == Texts{"c"});
  CHECK(receive(pair.second).status == DeviceStatus::would_block);
  CHECK(receive(pair.first).texts == Texts{"x"});
}

TEST_CASE("the queue to the other end is bounded", "[device][loopback]") {
  LoopbackPair pair{{.capacity = 2}};
  const TxResult result = send(pair.first, {"a", "b", "c"});
  CHECK(result.accepted == 2);
  CHECK(result.status == DeviceStatus::would_block);
  CHECK(pair.first.wants_write());
  CHECK(receive(pair.second, 1).texts == Texts{"a"});
  CHECK(send(pair.first, {"c", "d"}).accepted == 1);
  CHECK(receive(pair.second).texts == Texts{"b", "c"});
  CHECK(send(pair.first, {"d"}).status == DeviceStatus::ok);
  CHECK_FALSE(pair.first.wants_write());
}

TEST_CASE("ends move into their owners", "[device][loopback]") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<LoopbackDevice>);
  LoopbackPair pair;
  LoopbackDevice first{std::move(pair.first)};
  CHECK(send(first, {"a"}).accepted == 1);
  CHECK(receive(pair.second).texts == Texts{"a"});
  CHECK(send(pair.second, {"b"}).accepted == 1);
  CHECK(receive(first).texts == Texts{"b"});
}

TEST_CASE("a link is down once the other end is gone", "[device][loopback]") {
  std::optional<LoopbackPair> pair{std::in_place};
  LoopbackDevice left{std::move(pair->first)};
  send(pair->second, {"last words", "and more"});
  SECTION("by destruction") { pair.reset(); }
  SECTION("by assignment") {
    LoopbackPair other;
    pair->second = std::move(other.second);
    CHECK(send(pair->second, {"to the new other end"}).accepted == 1);
    CHECK(receive(other.first).texts == Texts{"to the new other end"});
  }
  CHECK(receive(left, 1).status == DeviceStatus::ok);
  const auto last = receive(left, 1);
  CHECK(last.texts == Texts{"and more"});
  CHECK(last.status == DeviceStatus::down);
  const TxResult result = send(left, {"a"});
  CHECK(result.accepted == 0);
  CHECK(result.status == DeviceStatus::down);
  CHECK_FALSE(left.wants_write());
}

TEST_CASE("an end that is assigned to itself stays", "[device][loopback]") {
  LoopbackPair pair;
  LoopbackDevice& itself = pair.first;
  pair.first = std::move(itself);
  CHECK(send(pair.second, {"a"}).accepted == 1);
  CHECK(receive(pair.first).texts == Texts{"a"});
}
