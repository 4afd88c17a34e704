// SPDX-License-Identifier: BSL-1.0

#include "../support/offload.hpp"
#include "catch.hpp"
#include "packets.hpp"
#include <tunic/device/fault_device.hpp>
#include <tunic/device/loopback_device.hpp>
#include <tunic/device/mock_device.hpp>
#include <tunic/device/tun_device.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

using namespace tunic;
using namespace std::chrono_literals;
using device_test::receive;
using device_test::send;
using device_test::Texts;

static_assert(TimedDevice<FaultDevice<MockDevice>>);
static_assert(!PollableDevice<FaultDevice<MockDevice>>);
static_assert(!AddressedDevice<FaultDevice<MockDevice>>);
static_assert(PollableDevice<FaultDevice<TunDevice>> && AddressedDevice<FaultDevice<TunDevice>>);
static_assert(TimedDevice<FaultDevice<FaultDevice<TunDevice>>>);

namespace {

constexpr Instant start{1s};

Texts sent_by(MockDevice& device) {
  Texts texts;
  for (; device.sent() > 0; device.drop_front()) texts.emplace_back(as_text(device.front()));
  return texts;
}

}  // namespace

TEST_CASE("without faults a fault device is transparent", "[device][fault]") {
  FaultDevice device{MockDevice{{.mtu_bytes = 1280}}, {}, {}};
  CHECK(device.caps().mtu_bytes == 1280);
  device.poll(start);
  CHECK(device.next_timeout() == never);
  CHECK(send(device, {"a", "b"}, TxReason::control).accepted == 2);
  CHECK(device.inner().front_reason() == TxReason::control);
  CHECK(sent_by(device.inner()) == Texts{"a", "b"});
  device.inner().inject(as_bytes("in"));
  const auto received = receive(device);
  CHECK(received.texts == Texts{"in"});
  CHECK(received.status == DeviceStatus::would_block);
}

TEST_CASE("offloads end at a link: packets of the MTU pass it, with whole checksums",
          "[device][fault]") {
  FaultDevice device{MockDevice{test::with_offloads}, {}, {.loss = 0.5, .seed = 3}};
  const DeviceCaps caps = device.caps();
  CHECK_FALSE((caps.partial_checksums || caps.tcp_v4_segmentation || caps.tcp_v6_segmentation ||
               caps.ecn_segmentation));
  CHECK(caps.mtu_bytes == 1500);
  device.poll(start);
  const auto whole = testing::segment({test::peer_ip, 40000}, {test::host_ip, 80})
                         .ack(1)
                         .payload(std::string(40'000, 'x'))
                         .packet();
  device.inner().inject(whole, test::received(1000));
  std::array<RxPacket, 64> batch{};
  BlockPool pool{0};
  const RxResult result = device.receive(batch, pool);
  CHECK(device.inbound().counters().pushed == 40);
  CHECK(result.count > 5);  // each is lost or not by itself
  CHECK(result.count < 35);
  for (const RxPacket& packet : std::span{batch}.first(result.count)) {
    CHECK(packet.offload == Offload{});
    CHECK_FALSE(testing::decode({packet.bytes.begin(), packet.bytes.end()}).malformed.has_value());
  }
}

TEST_CASE("both directions are delayed, each by its own time", "[device][fault]") {
  FaultDevice device{MockDevice{}, {.delay = 10ms}, {.delay = 30ms}};
  device.poll(start);
  CHECK(send(device, {"out"}).status == DeviceStatus::ok);
  device.inner().inject(as_bytes("in"));
  CHECK(receive(device).texts.empty());
  CHECK(device.next_timeout() == start + 10ms);

  device.poll(start + 10ms - 1ns);
  CHECK(device.inner().sent() == 0);
  device.poll(start + 10ms);
  CHECK(sent_by(device.inner()) == Texts{"out"});
  CHECK(device.next_timeout() == start + 30ms);
  CHECK(receive(device).texts.empty());

  device.poll(start + 30ms);
  CHECK(receive(device).texts == Texts{"in"});
  CHECK(device.next_timeout() == never);
}

TEST_CASE("time that runs backwards is ignored", "[device][fault]") {
  FaultDevice device{MockDevice{}, {.delay = 10ms}, {}};
  device.poll(start + 1s);
  device.poll(start);
  send(device, {"out"});
  CHECK(device.next_timeout() == start + 1s + 10ms);
}

TEST_CASE("more than a batch that has come through is told, and due at once", "[device][fault]") {
  FaultDevice device{MockDevice{}, {}, {.delay = 1ms}};
  device.poll(start);
  for (const char* text : {"a", "b", "c"}) device.inner().inject(as_bytes(text));
  receive(device);
  device.poll(start + 5ms);
  const auto first = receive(device, 2);
  CHECK(first.texts == Texts{"a", "b"});
  CHECK(first.status == DeviceStatus::ok);
  CHECK(device.next_timeout() <= start + 5ms);
  const auto rest = receive(device, 2);
  CHECK(rest.texts == Texts{"c"});
  CHECK(rest.status == DeviceStatus::would_block);
}

TEST_CASE("the inner device's status is passed on with what has come through", "[device][fault]") {
  FaultDevice device{MockDevice{}, {}, {.delay = 1ms}};
  device.poll(start);
  device.inner().inject(as_bytes("a"));
  receive(device);
  device.inner().set_status(DeviceStatus::down);
  CHECK(receive(device).status == DeviceStatus::down);
  device.poll(start + 1ms);
  const auto received = receive(device);
  CHECK(received.texts == Texts{"a"});
  CHECK(received.status == DeviceStatus::down);
}

TEST_CASE("each direction loses by its own conditions", "[device][fault]") {
  FaultDevice device{MockDevice{}, {.loss = 1}, {.duplicate = 1}};
  device.poll(start);
  CHECK(send(device, {"a", "b"}).accepted == 2);
  CHECK(device.inner().sent() == 0);
  CHECK(device.outbound().counters().lost == 2);
  device.inner().inject(as_bytes("c"));
  CHECK(receive(device).texts == Texts{"c", "c"});
  CHECK(device.inbound().counters().duplicated == 1);

  device.outbound().set_conditions({});
  send(device, {"d"});
  CHECK(sent_by(device.inner()) == Texts{"d"});
}

TEST_CASE("a full inner device stops the link, in order and without loss", "[device][fault]") {
  FaultDevice device{MockDevice{{.capacity = 1}}, {.delay = 1ms}, {}};
  device.poll(start);
  CHECK(send(device, {"a", "b", "c"}).accepted == 3);
  device.poll(start + 1ms);
  CHECK(sent_by(device.inner()) == Texts{"a"});
  CHECK(device.next_timeout() == never);  // "b" waits for room, not for time

  device.inner().set_capacity(0);
  const TxResult refused = send(device, {"d"});
  CHECK(refused.accepted == 0);
  CHECK(refused.status == DeviceStatus::would_block);

  device.inner().set_capacity(1);
  device.poll(start + 2ms);
  CHECK(sent_by(device.inner()) == Texts{"b"});
  device.poll(start + 2ms);
  CHECK(sent_by(device.inner()) == Texts{"c"});
  CHECK(send(device, {"d"}).status == DeviceStatus::ok);
  CHECK(device.undeliverable() == 0);
}

TEST_CASE("without delay a full inner device is told at once", "[device][fault]") {
  FaultDevice device{MockDevice{{.capacity = 1}}, {}, {}};
  device.poll(start);
  const TxResult result = send(device, {"a", "b", "c"});
  CHECK(result.accepted == 3);
  CHECK(result.status == DeviceStatus::would_block);
  CHECK(send(device, {"d"}).accepted == 0);
}

TEST_CASE("what comes through to an inner device that is down is gone", "[device][fault]") {
  const auto status = GENERATE(DeviceStatus::down, DeviceStatus::failed);
  FaultDevice device{MockDevice{}, {}, {}};
  device.poll(start);
  device.inner().set_status(status);
  const TxResult result = send(device, {"a", "b"});
  CHECK(result.accepted == 2);
  CHECK(result.status == status);
  CHECK(device.undeliverable() == 2);
  device.inner().set_status(DeviceStatus::ok);
  CHECK(send(device, {"c"}).status == DeviceStatus::ok);
  CHECK(sent_by(device.inner()) == Texts{"c"});
}

TEST_CASE("changed capabilities of the inner device are told once", "[device][fault]") {
  FaultDevice device{MockDevice{}, {}, {}};
  device.poll(start);
  device.inner().set_mtu_bytes(1000);
  CHECK(send(device, {"a"}).accepted == 1);  // on its way already
  CHECK(sent_by(device.inner()) == Texts{"a"});
  const TxResult told = send(device, {"b"});
  CHECK(told.accepted == 0);
  CHECK(told.status == DeviceStatus::replan);
  CHECK(device.caps().mtu_bytes == 1000);
  CHECK(send(device, {"b"}).accepted == 1);
}

TEST_CASE("fault devices nest, and their time reaches the innermost", "[device][fault]") {
  FaultDevice device{FaultDevice{MockDevice{}, {.delay = 5ms}, {}}, {.delay = 10ms}, {}};
  device.poll(start);
  send(device, {"a"});
  CHECK(device.next_timeout() == start + 10ms);
  device.poll(start + 10ms);
  CHECK(device.next_timeout() == start + 15ms);
  device.poll(start + 15ms);
  CHECK(sent_by(device.inner().inner()) == Texts{"a"});
}

TEST_CASE("two fault devices over a loopback pair make a link that replays", "[device][fault]") {
  const auto run = [](std::uint64_t seed) {
    LoopbackPair pair;
    FaultDevice left{
        std::move(pair.first), {.delay = 10ms, .jitter = 3ms, .loss = 0.1, .seed = seed}, {}};
    Texts all;
    for (int i = 0; i < 200; ++i) {
      const std::string text = std::to_string(i);
      left.poll(start + i * 1ms);
      send(left, {text});
      for (const std::string& one : receive(pair.second).texts) {
        all.push_back(std::to_string(i) + ":" + one);
      }
    }
    return all;
  };
  const Texts first = run(1);
  CHECK(first.size() > 150);
  CHECK(first.size() < 195);
  CHECK(first == run(1));
  CHECK(first != run(2));
}
