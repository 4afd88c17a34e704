// SPDX-License-Identifier: BSL-1.0

// Rate samples against sums done by hand (draft-ietf-ccwg-bbr 4.1).
#include "catch.hpp"
#include <tunic/tcp/delivery_rate.hpp>

#include <cstdint>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

constexpr Instant zero{1h};
constexpr SeqNum start{1000};

struct Flow {
  DeliveryRate rate;
  SeqNum nxt = start;
  std::uint32_t in_flight = 0;

  SentSegment send(Duration when, std::uint16_t bytes = 1000) {
    SentSegment segment{.begin = nxt, .length = bytes};
    rate.stamp(segment, in_flight, zero + when);
    nxt += bytes;
    in_flight += bytes;
    return segment;
  }
  RateSample ack(Duration when, std::initializer_list<SentSegment> segments,
                 Duration min_rtt = 1ms) {
    std::uint32_t bytes = 0;
    for (const SentSegment& segment : segments) {
      rate.delivered(segment);
      bytes += segment.length;
    }
    in_flight -= bytes;
    return rate.finish(bytes, min_rtt, zero + when);
  }
};

}  // namespace

TEST_CASE("a rate is what was delivered over the longer of sending and acknowledging",
          "[tcp][delivery_rate]") {
  Flow flow;
  const auto a = flow.send(0ms);
  const auto b = flow.send(0ms);
  const auto c = flow.send(40ms);
  CHECK(flow.ack(100ms, {a}).bytes_per_second == 10'000);  // 1000 in 100 ms
  SECTION("acknowledging took longer") {
    const RateSample sample = flow.ack(125ms, {b, c});
    CHECK(sample.interval == 125ms);  // since 0, when c's flight began
    CHECK(sample.bytes_per_second == 24'000);
    CHECK(sample.delivered == 3000);
    CHECK(sample.prior_delivered == 0);
    CHECK(sample.in_flight_at_send == 3000);
  }
  SECTION("sending took longer: the acknowledgements came at once") {
    CHECK(flow.ack(101ms, {b}).interval == 101ms);
    const auto d = flow.send(150ms);
    const auto e = flow.send(400ms);
    CHECK(d.since_first == 150'000);                   // b left at 0
    CHECK(flow.ack(401ms, {c, d}).interval == 300ms);  // since b was acknowledged, at 101 ms
    // When e left, b was the last of which an acknowledgement had come: it had left at 0.
    const RateSample sample = flow.ack(410ms, {e});
    CHECK(sample.interval == 400ms);
    CHECK(sample.bytes_per_second == 7500);
  }
}

TEST_CASE("the newest of the segments delivered gives the sample", "[tcp][delivery_rate]") {
  Flow flow;
  const auto a = flow.send(0ms);
  const auto b = flow.send(10ms);
  const auto c = flow.send(10ms);
  CHECK(flow.ack(100ms, {c, a, b}).in_flight_at_send == 3000);
}

TEST_CASE("an interval shorter than a round trip gives no rate", "[tcp][delivery_rate]") {
  Flow flow;
  const auto a = flow.send(0ms);
  CHECK(flow.ack(10ms, {a}, 11ms).bytes_per_second == 0);
  const auto b = flow.send(20ms);
  CHECK(flow.ack(31ms, {b}, 11ms).bytes_per_second == 90'909);
  CHECK(flow.rate.bytes_per_second() == 90'909);
}

TEST_CASE("a segment in part gives no rate, and its bytes count", "[tcp][delivery_rate]") {
  Flow flow;
  flow.send(0ms);
  const RateSample sample = flow.rate.finish(500, 1ms, zero + 10ms);
  CHECK(sample.bytes_per_second == 0);
  CHECK(sample.delivered == 500);
  CHECK(flow.rate.delivered_bytes() == 500);
}

TEST_CASE("after a pause the time of the pause does not count", "[tcp][delivery_rate]") {
  Flow flow;
  flow.ack(100ms, {flow.send(0ms)});
  CHECK(flow.ack(10'100ms, {flow.send(10s)}).interval == 100ms);
}

TEST_CASE("samples of what left while the application had no more are marked",
          "[tcp][delivery_rate]") {
  Flow flow;
  const auto a = flow.send(0ms);
  CHECK_FALSE(a.app_limited);
  flow.rate.app_limited(flow.in_flight);
  CHECK(flow.rate.is_app_limited());
  const auto b = flow.send(1ms);
  const auto c = flow.send(2ms);
  CHECK(b.app_limited);
  CHECK_FALSE(flow.ack(100ms, {a}).app_limited);
  CHECK(flow.rate.is_app_limited());  // all that was in flight then has to arrive first
  CHECK(flow.ack(101ms, {b}).app_limited);
  CHECK_FALSE(flow.rate.is_app_limited());
  CHECK(flow.ack(102ms, {c}).app_limited);
  const auto d = flow.send(103ms);
  CHECK_FALSE(d.app_limited);
}

TEST_CASE("a limited sample counts only when it is higher", "[tcp][delivery_rate]") {
  Flow flow;
  flow.ack(100ms, {flow.send(0ms)});
  REQUIRE(flow.rate.bytes_per_second() == 10'000);
  const auto limited = [&](Duration when, Duration rtt) {
    flow.rate.app_limited(0);
    const auto segment = flow.send(when);
    flow.ack(when + rtt, {segment});
  };
  limited(1s, 200ms);
  CHECK(flow.rate.bytes_per_second() == 10'000);
  limited(2s, 50ms);
  CHECK(flow.rate.bytes_per_second() == 20'000);
}
