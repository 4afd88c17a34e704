// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/stack/stack.hpp>
#include <tunic/testing/link.hpp>
#include <tunic/testing/segment.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::testing;
using namespace std::chrono_literals;

namespace {

// Two stacks and a link; pings tell what it does.
struct Two {
  ManualClock clock;
  Stack<MockDevice> a{MockDevice{}, {.addresses = {"10.0.0.1"_ip}}};
  Stack<MockDevice> b{MockDevice{}, {.addresses = {"10.0.0.2"_ip}}};
  Link<Stack<MockDevice>, Stack<MockDevice>> link;

  explicit Two(const LinkConditions& both = {}) : link{a, b, clock, both} {}
  Two(const LinkConditions& there, const LinkConditions& back) : link{a, b, clock, there, back} {}

  void ping(std::size_t size = 8, bool df = false) {
    const Ipv4Header header{.src = "10.0.0.2"_ip,
                            .dst = "10.0.0.1"_ip,
                            .protocol = IpProtocol::icmp,
                            .dont_fragment = df};
    const Packet echo = icmp_echo("10.0.0.2"_ip, "10.0.0.1"_ip, 1, 1, std::string(size, 'x'));
    link.b_to_a().push(ip_packet(header, Bytes{echo}.subspan(20)), clock.now());
  }
};

// When packets pass, as `a>1 >b2`: what a sent entered after 1 ms, and reached b after 2.
std::string passing(Two& two, Duration limit) {
  std::string text;
  const Instant start = two.clock.now();
  two.link.set_watcher([&](const PassingPacket& packet) {
    const auto after = std::to_string((packet.at - start) / 1ms);
    const char from = packet.from_a ? 'a' : 'b', to = packet.from_a ? 'b' : 'a';
    text += packet.arrived ? std::string{" >"} + to + after : std::string{' '} + from + ">" + after;
  });
  two.link.run_for(limit);
  two.link.set_watcher({});
  return text;
}

}  // namespace

TEST_CASE("each direction of a link has its own settings", "[testing][link]") {
  // The answer's 36 bytes leave at a byte a millisecond.
  Two two{{.delay = 30ms, .rate_bits_per_second = 8000}, {.delay = 5ms}};
  two.ping();
  CHECK(passing(two, 1s) == " >a5 a>5 >b71");
  CHECK(two.link.a_to_b().counters().delivered == 1);
  CHECK(two.link.b_to_a().counters().delivered == 1);
}

TEST_CASE("a watcher sees why a packet was sent, and what faults swallow", "[testing][link]") {
  Two two{{.loss = 1}, {}};
  std::vector<PassingPacket> seen;
  two.link.set_watcher([&](const PassingPacket& packet) {
    REQUIRE_FALSE(packet.bytes.empty());
    seen.push_back(packet);
  });
  two.ping();
  two.link.run_for(1s);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].arrived);
  CHECK_FALSE(seen[1].arrived);
  CHECK(seen[1].from_a);
  CHECK(seen[1].reason == TxReason::icmp);
}

TEST_CASE("a filter changes and swallows packets of one direction", "[testing][link]") {
  Two two;
  int filtered = 0;
  two.link.set_filter_a_to_b([&](std::vector<std::byte>& packet, Instant now) {
    CHECK(now == two.clock.now());
    packet.pop_back();
    return ++filtered != 2;
  });
  std::vector<std::size_t> sizes;
  two.link.set_watcher([&](const PassingPacket& packet) {
    if (packet.from_a && packet.arrived) sizes.push_back(packet.bytes.size());
  });
  for (int i = 0; i < 3; ++i) two.ping(8);
  two.link.run_for(1s);
  CHECK(sizes == std::vector<std::size_t>{35, 35});
  two.link.set_filter_a_to_b({});
  two.ping(8);
  two.link.run_for(1s);
  CHECK(sizes.back() == 36);
  two.link.set_filter_b_to_a([](auto&, Instant) { return false; });
  auto lonely = two.b.connect({.remote = {"10.0.0.1"_ip, 7}});
  two.link.run_for(1s);
  CHECK(two.a.stats().ip.packets_in == 4);
}

TEST_CASE("a router's answer takes the other direction", "[testing][link]") {
  Two two{{.delay = 1ms, .mtu_bytes = 1000, .router = "10.9.9.9"_ip}, {.delay = 7ms}};
  auto listener = two.b.listen({.port = 7});
  auto source = two.a.connect({.remote = {"10.0.0.2"_ip, 7}});
  two.link.run_for(10ms);
  REQUIRE(source.send(as_bytes(std::string(1400, 'x'))).bytes == 1400);
  CHECK(passing(two, 7ms).starts_with(" a>0 >a7"));
  CHECK(two.a.stats().ip.icmp_errors_in == 1);
  CHECK(two.link.a_to_b().counters().oversized == 1);
  CHECK(source.info().path_mtu == 1000);
  two.link.run_for(1s);
  auto sink = listener.accept();
  REQUIRE(sink);
  CHECK(sink->readable_bytes() == 1400);
}

TEST_CASE("a path that changes is the other one at once", "[testing][link]") {
  Two two{{.delay = 10ms}};
  two.link.b_to_a().change_at(two.clock.now() + 100ms, {.delay = 40ms});
  two.ping();
  CHECK(passing(two, 100ms) == " >a10 a>10 >b20");
  two.ping();
  CHECK(passing(two, 100ms) == " >a40 a>40 >b50");
}
