// SPDX-License-Identifier: BSL-1.0

// What a link does that needs a look into packets, and settings that change on the way.

#include "catch.hpp"
#include <tunic/device/fault_device.hpp>
#include <tunic/device/impairment.hpp>
#include <tunic/device/mock_device.hpp>
#include <tunic/testing/segment.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

using namespace tunic;
using namespace tunic::testing;
using namespace std::chrono_literals;

namespace {

constexpr Instant start{1s};
constexpr Endpoint a{"10.0.0.1"_ip, 1000}, b{"10.0.0.2"_ip, 80};
constexpr IpAddress hop = "10.9.9.9"_ip;

// Numbered by what they acknowledge; 40 bytes.
Packet ack(std::uint32_t number) { return segment(a, b).ack(number).packet(); }
Packet data(std::uint32_t number, std::size_t size = 100) {
  return segment(a, b).seq(number).ack(1).payload(std::string(size, 'x')).df().packet();
}

struct Arrival {
  Duration after;
  std::uint32_t number;
  friend bool operator==(const Arrival&, const Arrival&) = default;
};
std::ostream& operator<<(std::ostream& out, const Arrival& arrival) {
  return out << arrival.number << " after " << arrival.after.count() << " ns";
}

std::vector<Arrival> arrivals(Impairment& link) {
  std::vector<Arrival> all;
  StoredPacket packet;
  while (link.next_due() != never) {
    const Instant due = link.next_due();
    if (!link.pop_due(due, packet)) {
      REQUIRE(link.next_due() > due);  // something else has happened
      continue;
    }
    const TcpSegment tcp = *decode(packet.bytes).tcp;
    all.push_back({due - start, tcp.payload.empty() ? tcp.ack.value() : tcp.seq.value()});
  }
  return all;
}

}  // namespace

TEST_CASE("of pure acknowledgements the last of each group passes", "[device][impairment]") {
  Impairment link{{.delay = 10ms, .ack_every = 3, .ack_wait = 5ms}};
  for (std::uint32_t i = 1; i <= 8; ++i) link.push(ack(i), start + i * 1ms);
  CHECK(link.size() == 3);
  CHECK(link.next_due() == start + 12ms);  // the third group, incomplete, goes on
  CHECK(arrivals(link) == std::vector<Arrival>{{13ms, 3}, {16ms, 6}, {22ms, 8}});
  CHECK(link.counters().thinned == 5);
  CHECK(link.counters().delivered == 3);
}

TEST_CASE("an acknowledgement does not wait for its group longer than told",
          "[device][impairment]") {
  Impairment link{{.ack_every = 3, .ack_wait = 5ms}};
  link.push(ack(1), start);
  link.push(ack(2), start + 1ms);
  link.push(ack(3), start + 5ms);  // another group
  link.push(ack(4), start + 9ms);
  link.push(data(100), start + 9ms);  // nothing overtakes
  link.push(ack(5), start + 9ms);
  CHECK(arrivals(link) == std::vector<Arrival>{{5ms, 2}, {9ms, 4}, {9ms, 100}, {14ms, 5}});
  CHECK(link.counters().thinned == 2);
}

TEST_CASE("replaced acknowledgements take no time on the link", "[device][impairment]") {
  // 40 bytes a millisecond.
  Impairment link{{.rate_bits_per_second = 320'000, .ack_every = 2}};
  for (std::uint32_t i = 1; i <= 4; ++i) link.push(ack(i), start);
  CHECK(arrivals(link) == std::vector<Arrival>{{1ms, 2}, {2ms, 4}});
}

TEST_CASE("held acknowledgements arrive together, and nothing overtakes them",
          "[device][impairment]") {
  Impairment link{{.delay = 10ms, .ack_hold = 5ms}};
  link.push(data(100), start);
  link.push(ack(1), start + 1ms);
  link.push(ack(2), start + 3ms);
  link.push(data(101), start + 4ms);
  link.push(ack(3), start + 6ms);
  link.push(ack(4), start + 7ms);  // another group
  link.push(data(102), start + 20ms);
  CHECK(arrivals(link) ==
        std::vector<Arrival>{
            {10ms, 100}, {16ms, 1}, {16ms, 2}, {16ms, 101}, {16ms, 3}, {22ms, 4}, {30ms, 102}});
}

TEST_CASE("a queue above its threshold marks instead of waiting to drop", "[device][impairment]") {
  // 100 bytes a millisecond; the packets below have 100 bytes.
  Impairment link{{.rate_bits_per_second = 800'000, .queue_bytes = 500, .mark_bytes = 200}};
  const auto packet = [](std::uint8_t ecn) {
    return segment(a, b).tos(ecn).payload(std::string(60, 'x')).packet();
  };
  for (int i = 0; i < 4; ++i) link.push(packet(2), start);  // the 4th finds 300 bytes
  link.push(packet(0), start);                              // can't be marked
  CHECK(link.queued_bytes(start) == 500);
  link.push(packet(2), start);  // no room
  CHECK(link.counters().marked == 1);
  CHECK(link.counters().overflowed == 1);
  CHECK(link.queued_bytes(start + 2ms) == 300);
  link.push(packet(1), start + 3ms);  // finds exactly the threshold
  link.push(packet(1), start + 3ms);
  std::string marks;
  StoredPacket out;
  while (link.pop_due(start + 1s, out)) {
    const Decoded decoded = decode(out.bytes);
    REQUIRE_FALSE(decoded.malformed);
    marks += static_cast<char>('0' + (decoded.ip.header.tos & 3));
  }
  CHECK(marks == "2223013");
  CHECK(link.queued_bytes(start + 1s) == 0);
}

TEST_CASE("what is larger than the MTU is dropped in silence", "[device][impairment]") {
  Impairment link{{.mtu_bytes = 140}};
  link.push(data(1, 100), start);
  link.push(data(2, 101), start);
  StoredPacket answer;
  CHECK_FALSE(link.pop_answer(answer));
  CHECK(arrivals(link) == std::vector<Arrival>{{0ms, 1}});
  CHECK(link.counters().oversized == 1);
}

TEST_CASE("a link with a router answers what is larger than the MTU", "[device][impairment]") {
  Impairment link{{.mtu_bytes = 140, .router = hop}};
  link.push(data(2, 101), start);
  link.push(segment(a, b).payload(std::string(101, 'x')).packet(), start);  // no DF, no answer
  StoredPacket answer;
  REQUIRE(link.pop_answer(answer));
  CHECK(answer.reason == TxReason::icmp);
  CHECK(matches(
      answer.bytes,
      expect.from(hop).to(a.address).icmp(IcmpUnreachable::fragmentation_needed).icmp_rest(140)));
  CHECK_FALSE(link.pop_answer(answer));
  CHECK(link.counters().oversized == 2);
}

TEST_CASE("a fault device hands a router's answer to the sender", "[device][fault]") {
  FaultDevice device{MockDevice{}, {.mtu_bytes = 140, .router = hop}, {.delay = 5ms}};
  device.poll(start);
  const Packet large = data(1, 200);
  const Bytes piece = large;
  const TxPacket packet{.pieces = {&piece, 1}, .size_bytes = piece.size()};
  device.send({&packet, 1});
  CHECK(device.inner().sent() == 0);
  CHECK(device.next_timeout() == start + 5ms);
  device.poll(start + 5ms);
  BlockPool pool{0};
  RxPacket received;
  REQUIRE(device.receive({&received, 1}, pool).count == 1);
  CHECK(matches(Packet(received.bytes.begin(), received.bytes.end()),
                expect.from(hop).icmp(IcmpUnreachable::fragmentation_needed)));

  FaultDevice inbound{MockDevice{}, {}, {.mtu_bytes = 140, .router = hop}};
  inbound.poll(start);
  inbound.inner().inject(large);
  CHECK(inbound.receive({&received, 1}, pool).count == 0);
  inbound.poll(start);
  REQUIRE(inbound.inner().sent() == 1);
  CHECK(inbound.inner().front_reason() == TxReason::icmp);
}

TEST_CASE("reordered packets may be late by different times", "[device][impairment]") {
  Impairment link{{.reorder = 1, .reorder_delay = 2ms, .reorder_jitter = 8ms, .seed = 5}};
  for (std::uint32_t i = 0; i < 2000; ++i) link.push(data(i), start);
  Duration sum{}, least = 1h, most{};
  for (const Arrival& arrival : arrivals(link)) {
    sum += arrival.after;
    least = std::min(least, arrival.after);
    most = std::max(most, arrival.after);
  }
  CHECK(least >= 2ms);
  CHECK(least < 2100us);
  CHECK(most <= 10ms);
  CHECK(most > 9900us);
  CHECK(std::abs(std::chrono::duration<double>(sum).count() / 2000 - 0.006) < 0.0002);
}

TEST_CASE("losses in a good state and in a bad one add up", "[device][impairment]") {
  Impairment link{{.loss = 0.05, .burst = {.enter = 0.1, .leave = 0.3, .loss = 0.4}, .seed = 4}};
  constexpr int count = 100'000;
  for (int i = 0; i < count; ++i) link.push(as_bytes("x"), start);
  const double expected = 0.75 * 0.05 + 0.25 * (1 - 0.95 * 0.6);
  CHECK(std::abs(static_cast<double>(link.counters().lost) / count - expected) < 0.005);
}

TEST_CASE("the path changes at an instant", "[device][impairment]") {
  Impairment link{{.delay = 10ms}};
  link.change_at(start + 20ms, {.delay = 40ms});
  link.change_at(start + 5ms, {.loss = 1});
  link.change_at(start + 20ms, {.delay = 30ms});  // the last word of that instant
  link.push(ack(1), start);
  link.push(ack(2), start + 4ms);
  link.push(ack(3), start + 5ms);
  link.push(ack(4), start + 20ms - 1ns);
  link.push(ack(5), start + 20ms);
  link.push(ack(6), start + 90ms);
  CHECK(arrivals(link) == std::vector<Arrival>{{10ms, 1}, {14ms, 2}, {50ms, 5}, {120ms, 6}});
  CHECK(link.counters().lost == 2);
}

TEST_CASE("thinning does not shift the pattern of what is lost", "[device][impairment]") {
  const auto survivors = [](std::uint32_t every) {
    Impairment link{{.loss = 0.3, .ack_every = every, .seed = 9}};
    for (std::uint32_t i = 0; i < 200; ++i) link.push(ack(i), start + i * 1ms);
    std::vector<std::uint32_t> numbers;
    for (const Arrival& arrival : arrivals(link)) numbers.push_back(arrival.number);
    return numbers;
  };
  std::vector<std::uint32_t> expected;
  for (const std::uint32_t number : survivors(1)) {
    if (number % 2 == 1) expected.push_back(number);
  }
  CHECK(survivors(2) == expected);
}

TEST_CASE("each new fault leaves the pattern of loss as it was", "[device][impairment]") {
  const auto lost_pattern = [](LinkConditions conditions) {
    conditions.loss = 0.1;
    conditions.seed = 3;
    Impairment link{conditions};
    std::vector<bool> lost;
    for (std::uint32_t i = 0; i < 1000; ++i) {
      const auto before = link.counters().lost;
      link.push(data(i), start + i * 10ms);
      lost.push_back(link.counters().lost != before);
    }
    return lost;
  };
  const auto plain = lost_pattern({});
  CHECK(lost_pattern({.reorder = 0.5, .reorder_jitter = 3ms}) == plain);
  CHECK(lost_pattern({.rate_bits_per_second = 1'000'000, .mark_bytes = 100}) == plain);
  CHECK(lost_pattern({.mtu_bytes = 1500, .ack_every = 4, .ack_hold = 5ms}) == plain);
}

TEST_CASE("every drop is accounted for once", "[device][impairment]") {
  Impairment link{{.loss = 0.1,
                   .duplicate = 0.1,
                   .rate_bits_per_second = 300'000,
                   .queue_bytes = 300,
                   .mtu_bytes = 200,
                   .ack_every = 2,
                   .seed = 6}};
  for (std::uint32_t i = 0; i < 1000; ++i) {
    link.push(i % 3 != 0 ? ack(i) : data(i, i % 170 + 1), start + i * 1ms);
  }
  arrivals(link);
  const LinkCounters& c = link.counters();
  CHECK(c.oversized > 0);
  CHECK(c.thinned > 0);
  CHECK(c.overflowed > 0);
  CHECK(c.lost > 0);
  CHECK(c.delivered == c.pushed - c.lost - c.overflowed - c.oversized - c.thinned + c.duplicated);
}
