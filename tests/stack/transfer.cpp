// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/device/mock_device.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/testing/link.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

using TestStack = Stack<MockDevice>;

StackConfig config_for(const char* address, std::uint64_t seed) {
  StackConfig config;
  config.addresses = {*IpCidr::parse(address)};
  config.seed = SipKey{seed, seed + 1};
  return config;
}

// An echo server on `b` that copies what is readable to the send queue, with back-pressure.
struct Echo {
  TestStack& stack;
  TestStack::Listener listener;
  std::optional<TestStack::Connection> connection{};

  explicit Echo(TestStack& on) : stack{on}, listener{on.listen({.port = 7})} {}

  void serve() {
    if (auto accepted = listener.accept()) connection.emplace(std::move(*accepted));
    while (stack.next_event()) {
    }
    if (!connection) return;
    for (Bytes view = connection->readable(); !view.empty(); view = connection->readable()) {
      const std::size_t sent = connection->send(view).bytes;
      connection->consume(sent);
      if (sent < view.size()) return;
    }
    if (connection->at_end()) connection->close();
  }
};

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 1;
  for (char& c : text) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

// Sends `text` through the echo server and compares what comes back.
void echo_through(const LinkConditions& conditions, std::size_t size, Duration limit) {
  ManualClock clock;
  TestStack a{MockDevice{}, config_for("10.0.0.1/24", 1)};
  TestStack b{MockDevice{}, config_for("10.0.0.2/24", 2)};
  testing::Link link{a, b, clock, conditions};
  Echo echo{b};
  auto client = a.connect({.remote = {*IpAddress::parse("10.0.0.2"), 7}});
  const std::string sent = pattern(size);
  std::string received;
  std::size_t offset = 0;
  const auto turn = [&] {
    echo.serve();
    while (a.next_event()) {
    }
    if (offset < sent.size()) {
      offset += client.send(as_bytes(std::string_view{sent}.substr(offset))).bytes;
      if (offset == sent.size()) client.shutdown_send();
    }
    for (Bytes view = client.readable(); !view.empty(); view = client.readable()) {
      received.append(as_text(view));
      client.consume(view.size());
    }
    return client.at_end() || client.error() != Errc::none;
  };
  REQUIRE(link.run_until(turn, limit));
  CHECK(client.error() == Errc::none);
  CHECK(received.size() == sent.size());
  CHECK((received == sent));
  client = {};
  echo.connection.reset();
  REQUIRE(link.run_until([&] { return a.idle() && b.idle(); }, 60s));
  CHECK(a.stats().gauges.buffer_bytes == 0);
  CHECK(b.stats().gauges.buffer_bytes == 0);
  CHECK(a.stats().gauges.connections == 0);
  CHECK(b.stats().gauges.connections == 0);
}

}  // namespace

TEST_CASE("bytes come back from an echo server over a perfect link", "[stack]") {
  echo_through({}, 100'000, 10s);
}

TEST_CASE("bytes come back unchanged whatever the link does to packets", "[stack]") {
  const auto seed = GENERATE(range(1, 9));
  CAPTURE(seed);
  echo_through({.delay = 5ms,
                .jitter = 1ms,
                .loss = 0.03,
                .duplicate = 0.02,
                .reorder = 0.02,
                .corrupt = 0.02,
                .reorder_delay = 7ms,
                .seed = static_cast<std::uint64_t>(seed)},
               200'000, 600s);
}
