// SPDX-License-Identifier: BSL-1.0

// Which events a program is told, and when no longer.

#include "catch.hpp"
#include <tunic/device/mock_device.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/testing/link.hpp>

#include <chrono>
#include <optional>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

using TestStack = Stack<MockDevice>;

// Two connected hosts; the server's end has sent nothing and was told nothing yet.
struct Pair {
  ManualClock clock;
  TestStack client_host{MockDevice{}, {.addresses = {"10.0.0.1"_ip}, .seed = SipKey{1, 2}}};
  TestStack server_host{MockDevice{}, {.addresses = {"10.0.0.2"_ip}, .seed = SipKey{3, 4}}};
  testing::Link<TestStack, TestStack> link{client_host, server_host, clock};
  TestStack::Listener listener = server_host.listen({.port = 7});
  TcpConnection client = client_host.connect({.remote = {"10.0.0.2"_ip, 7}});

  TcpConnection accept() {
    std::optional<TcpConnection> accepted;
    REQUIRE(link.run_until([&] { return (accepted = listener.accept()).has_value(); }, 1s));
    return std::move(*accepted);
  }
};

}  // namespace

TEST_CASE("accepting raises the events that came before", "[stack][event]") {
  Pair pair;
  const TcpConnection server = pair.accept();
  const auto event = pair.server_host.next_event();
  REQUIRE(event);
  CHECK(event->id == server.id());
  CHECK(has(event->flags, EventFlags::connected));
  CHECK_FALSE(pair.server_host.next_event());
}

TEST_CASE("a connection without a handle has no events", "[stack][event]") {
  Pair pair;
  SECTION("neither those that were raised before the handle went") {
    { const TcpConnection dropped = pair.accept(); }
    CHECK_FALSE(pair.server_host.next_event());
  }
  SECTION("nor those that its end raises") {
    int marker = 0;
    TcpConnection dropped = pair.accept();
    dropped.set_user_data(&marker);
    REQUIRE(pair.client.send(as_bytes("unread")).bytes == 6);
    REQUIRE(pair.link.run_until([&] { return dropped.readable_bytes() == 6; }, 1s));
    dropped = {};
    CHECK_FALSE(pair.server_host.next_event());
  }
  REQUIRE(pair.link.run_until(
      [&] { return pair.client.at_end() || pair.client.error() != Errc::none; }, 1s));
  CHECK_FALSE(pair.server_host.next_event());
}
