// SPDX-License-Identifier: BSL-1.0

// CUBIC: RFC 9438. Expected values are the RFC's formulas, in segments and seconds.
#include "../support/ack_trace.hpp"
#include "../support/catch.hpp"
#include <tunic/tcp/cubic.hpp>

#include <cmath>

using namespace tunic;
using namespace tunic::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t mss = 1000;

double in_segments(std::uint32_t bytes) { return bytes / double{mss}; }

// W_cubic, equation 1, `t` seconds after a loss that took `w_max` down to `start`.
double cubic(double t, double w_max, double start) {
  const double k = std::cbrt((w_max - start) / 0.4);
  return 0.4 * std::pow(t - k, 3) + w_max;
}

// A path on which the cubic function rules: long and wide, so Reno would be slower by far.
using Trace = AckTrace<Cubic>;

}  // namespace

TEST_CASE("the window is C (t - K)^3 + W_max", "[conformance][9438-01]") {
  Trace trace{1000};
  trace.lose();
  REQUIRE(trace.controller.cwnd() == 700 * mss);
  trace.ack(mss, true);                         // the epoch begins
  for (int round = 1; round <= 200; ++round) {  // beyond K = 9.1 s
    trace.rounds();
    CAPTURE(round);
    // The target is one round trip ahead, and reached after as long.
    REQUIRE(in_segments(trace.controller.cwnd()) > cubic(0.1 * round - 0.1, 1000, 700) - 1);
    REQUIRE(in_segments(trace.controller.cwnd()) < cubic(0.1 * round + 0.1, 1000, 700) + 1);
  }
  CHECK(trace.segments() > 1400);
}

TEST_CASE("a round trip brings at most half of the window", "[conformance][9438-02]") {
  Trace trace{100};
  trace.rtt = 10s;
  trace.lose();
  trace.rounds();
  trace.now += 1min;  // acknowledgements were held up: W_cubic is far away
  const std::uint32_t cwnd = trace.controller.cwnd();
  trace.ack(cwnd / 2, true);
  CHECK(trace.controller.cwnd() == cwnd + cwnd / 4);
  trace.ack(trace.controller.cwnd());
  CHECK(trace.controller.cwnd() == (cwnd + cwnd / 4) * 3 / 2);
}

TEST_CASE("a target below the window leaves it as it is", "[conformance][9438-02]") {
  Trace trace{1000};
  trace.lose();
  trace.ack(mss, true);
  trace.rtt = 1s;
  trace.rounds();
  trace.rtt = 3s;  // the target of so long a round trip, reached at once
  for (int i = 0; i < 3000; ++i) trace.ack(mss, i % 1000 == 0);
  const std::uint32_t cwnd = trace.controller.cwnd();
  REQUIRE(in_segments(cwnd) > cubic(2, 1000, 700));
  trace.rtt = 10ms;  // that of a short one is far below
  for (int i = 0; i < 10; ++i) trace.rounds();
  CHECK(trace.controller.cwnd() == cwnd);
}

TEST_CASE("in its region the window grows as Reno's would", "[conformance][9438-03]") {
  // A short path: W_cubic is below W_est all the time.
  Trace trace{20};
  trace.rtt = 1ms;
  trace.lose();
  double w_est = in_segments(trace.controller.cwnd());
  REQUIRE(w_est == 14);
  bool reached = false;
  for (int i = 0; i < 100; ++i) {
    for (std::uint32_t acks = trace.segments(); acks > 0; --acks) {
      const double alpha = w_est < 20 ? 3 * (1 - 0.7) / (1 + 0.7) : 1;
      w_est += alpha / in_segments(trace.controller.cwnd());
      trace.now += 1us;
      trace.ack(mss);
      REQUIRE(std::abs(in_segments(trace.controller.cwnd()) - w_est) < 0.02);
    }
    reached = reached || w_est > 25;
  }
  CHECK(reached);
}

TEST_CASE("a loss leaves 0.7 of what was in flight, and two segments at least",
          "[conformance][9438-04]") {
  const auto [flight, left] = GENERATE(table<std::uint32_t, std::uint32_t>(
      {{100'000, 70'000}, {60'000, 42'000}, {3000, 2100}, {2000, 2000}, {0, 2000}}));
  Trace trace{100};
  SECTION("loss") {
    trace.lose(flight);
    CHECK(trace.controller.cwnd() == left);
    CHECK(trace.controller.ssthresh() == left);
  }
  SECTION("time-out") {
    trace.controller.on_timeout(trace.event(flight), true);
    CHECK(trace.controller.cwnd() == mss);
    CHECK(trace.controller.ssthresh() == left);
  }
}

TEST_CASE("the window does not grow while less is in flight", "[conformance][9438-04]") {
  Trace trace{100};
  trace.limited = false;
  trace.rounds(3);
  CHECK(trace.controller.cwnd() == 100 * mss);
  trace.lose();
  trace.rounds(300);
  CHECK(trace.controller.cwnd() == 70 * mss);
}

TEST_CASE("a flow whose maximum shrinks gives way", "[conformance][9438-05]") {
  // After losses at 1000 and then below it, the plateau is 0.85 of the second; after losses at 1000
  // and then above it, the second itself.
  const bool below = GENERATE(true, false);
  Trace trace{1000};
  trace.lose();
  trace.rounds(below ? 30 : 150);
  const double second = in_segments(trace.controller.cwnd());
  CHECK((second < 1000) == below);
  trace.lose();
  trace.ack(mss, true);
  const double start = in_segments(trace.controller.cwnd());
  const double w_max = below ? second * 0.85 : second;
  // Close to the plateau the window hardly moves.
  trace.rounds(static_cast<int>(std::cbrt((w_max - start) / 0.4) / 0.1));
  CHECK(std::abs(in_segments(trace.controller.cwnd()) - w_max) < 2);
}

TEST_CASE("the first epoch after a time-out begins on its plateau", "[conformance][9438-06]") {
  Trace trace{1000};
  trace.lose();
  trace.time_out();
  REQUIRE(trace.controller.ssthresh() == 490 * mss);
  while (trace.controller.cwnd() < trace.controller.ssthresh()) trace.rounds();
  const double start = in_segments(trace.controller.cwnd());
  trace.ack(mss, true);
  for (int round = 1; round <= 100; ++round) {
    trace.rounds();
    // K = 0 and W_max = cwnd: convex from the beginning, but never slower than Reno.
    const double cwnd = in_segments(trace.controller.cwnd());
    REQUIRE(cwnd > cubic(0.1 * round - 0.1, start, start) - 1);
    REQUIRE(cwnd < std::max(cubic(0.1 * round + 0.1, start, start), start + 0.53 * round) + 1);
  }
  CHECK(in_segments(trace.controller.cwnd()) > start + 300);
}

TEST_CASE("time without need of the window is not in t", "[conformance][9438-07]") {
  Trace steady{1000}, paused{1000};
  for (Trace* trace : {&steady, &paused}) {
    trace->lose();
    trace->rounds(20);
  }
  SECTION("idle") { paused.pause(30s); }
  SECTION("a program that sends little") {
    paused.limited = false;
    for (int i = 0; i < 300; ++i) paused.round_of(600 * mss);
    paused.limited = true;
  }
  CHECK(paused.controller.cwnd() == steady.controller.cwnd());
  for (Trace* trace : {&steady, &paused}) trace->rounds(20);
  CHECK(std::abs(in_segments(paused.controller.cwnd()) - in_segments(steady.controller.cwnd())) <
        5);
}

TEST_CASE("an event that was spurious is taken back, with the curve", "[conformance][9438-08]") {
  Trace trace{1000};
  trace.lose();
  trace.rounds(20);
  const std::uint32_t cwnd = trace.controller.cwnd();
  const std::uint32_t ssthresh = trace.controller.ssthresh();
  Trace undisturbed = trace;
  SECTION("fast retransmit") {
    trace.controller.on_congestion(trace.event(cwnd));
    trace.ack(mss, true, true);
  }
  SECTION("time-out") {
    trace.controller.on_timeout(trace.event(cwnd), true);
    trace.ack(mss, true);
  }
  REQUIRE(trace.controller.cwnd() < cwnd);
  trace.controller.on_spurious();
  CHECK(trace.controller.cwnd() == cwnd);
  CHECK(trace.controller.ssthresh() == ssthresh);
  for (Trace* each : {&trace, &undisturbed}) each->rounds(100);
  CHECK(trace.controller.cwnd() == undisturbed.controller.cwnd());
}
