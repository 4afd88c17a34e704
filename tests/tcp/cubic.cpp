// SPDX-License-Identifier: BSL-1.0
#include "../support/ack_trace.hpp"
#include "../support/catch.hpp"
#include <tunic/tcp/cubic.hpp>

#include <algorithm>
#include <cmath>

using namespace tunic;
using namespace tunic::test;
using namespace std::chrono_literals;

namespace {

constexpr double mss = 1000;

// RFC 9438's formulas in segments and seconds, congestion avoidance only.
struct Formula {
  static constexpr double c = 0.4;
  static constexpr double beta = 0.7;
  double cwnd = 0;
  double w_max = 0;
  double prior = 0;
  double w_est = 0;
  double k = 0;
  double t = 0;

  void reduce(double flight) {
    w_max = cwnd < w_max ? cwnd * (1 + beta) / 2 : cwnd;
    prior = cwnd;
    cwnd = std::max(flight * beta, 2.0);
    begin();
  }
  void begin() {
    k = std::cbrt((w_max - cwnd) / c);
    w_est = cwnd;
    t = 0;
  }
  [[nodiscard]] double at(double time) const { return c * std::pow(time - k, 3) + w_max; }
  void ack(double segments, double elapsed, double rtt) {
    t += elapsed;
    const double alpha = w_est < prior ? 3 * (1 - beta) / (1 + beta) : 1;
    w_est += alpha * segments / cwnd;
    if (at(t) < w_est) {
      cwnd = std::max(cwnd, w_est);
    } else {
      cwnd += (std::clamp(at(t + rtt), cwnd, 1.5 * cwnd) - cwnd) * segments / cwnd;
    }
  }
};

// Both, acknowledgement by acknowledgement.
struct Race {
  AckTrace<BasicCubic<StandardSlowStart>> trace;
  Formula formula;

  explicit Race(std::uint32_t segments) : trace{segments} { formula.cwnd = segments; }

  [[nodiscard]] double cwnd() const { return trace.controller.cwnd() / mss; }
  void lose() {
    formula.reduce(cwnd());
    trace.lose();
    first_ = true;
  }
  // A round trip of ten acknowledgements; the largest distance between the two, relative to the
  // window.
  double round() {
    double worst = 0;
    const std::uint32_t per_ack = trace.controller.cwnd() / 10;
    const double seconds = std::chrono::duration<double>(trace.rtt).count();
    for (int i = 0; i < 10; ++i) {
      trace.now += trace.rtt / 10;
      formula.ack(per_ack / mss, first_ ? 0 : seconds / 10, seconds);
      first_ = false;
      trace.ack(per_ack, i == 0);
      worst = std::max(worst, std::abs(cwnd() - formula.cwnd) / formula.cwnd);
    }
    return worst;
  }

 private:
  bool first_ = true;
};

}  // namespace

TEST_CASE("the window follows the published formulas", "[tcp][congestion][cubic]") {
  // From a path where Reno rules to one where the cubic function does.
  const auto [segments, rtt] = GENERATE(table<std::uint32_t, Duration>(
      {{20, 10ms}, {100, 20ms}, {100, 200ms}, {1000, 40ms}, {1000, 100ms}, {20000, 100ms}}));
  CAPTURE(segments, rtt.count());
  Race race{segments};
  race.trace.rtt = rtt;
  double worst = 0;
  // Losses above W_max, below it, and once it was passed by far.
  for (const int rounds : {300, 50, 20, 600}) {
    race.lose();
    for (int i = 0; i < rounds; ++i) worst = std::max(worst, race.round());
  }
  CHECK(worst < 0.005);
}

TEST_CASE("far from Reno the window is flat around the size of the last loss",
          "[tcp][congestion][cubic]") {
  AckTrace<Cubic> trace{1000};
  trace.lose();
  CHECK(trace.segments() == 700);
  // K = cbrt(300 / 0.4) = 9.09 s
  trace.rounds(85);
  CHECK(trace.segments() >= 998);
  CHECK(trace.segments() <= 1000);
  trace.rounds(15);
  CHECK(trace.segments() <= 1001);
  trace.rounds(50);
  CHECK(trace.segments() > 1050);
}

TEST_CASE("acknowledgements cut in any way give the same curve", "[tcp][congestion][cubic]") {
  AckTrace<Cubic> whole{500}, cut{500};
  whole.lose();
  cut.lose();
  for (int i = 0; i < 200; ++i) {
    whole.round_of(whole.controller.cwnd(), 10'000);
    cut.round_of(cut.controller.cwnd(), 500);
  }
  CHECK(whole.segments() > 500);
  CHECK(std::abs(whole.controller.cwnd() / mss - cut.controller.cwnd() / mss) < 2);
}

TEST_CASE("the plateau after a loss in a window that was not used is what was used",
          "[tcp][congestion][cubic]") {
  AckTrace<Cubic> trace{1000};
  trace.lose();
  trace.limited = false;
  for (int i = 0; i < 20; ++i) trace.round_of(300 * static_cast<std::uint32_t>(mss));
  trace.lose(300 * static_cast<std::uint32_t>(mss));
  REQUIRE(trace.segments() == 150);
  trace.limited = true;
  trace.rounds(75);  // K = cbrt(105 / 0.4) = 6.4 s, after fast convergence
  CHECK(trace.segments() >= 250);
  CHECK(trace.segments() <= 260);
}

TEST_CASE("a slow start ends the epoch, whatever brought it", "[tcp][congestion][cubic]") {
  AckTrace<BasicCubic<StandardSlowStart, RestartAfterIdle>> trace{1000};
  trace.lose();
  trace.rounds(120);
  trace.pause(2s);
  REQUIRE(trace.segments() == 10);
  while (trace.segments() < 700) trace.rounds();
  const std::uint32_t start = trace.segments();
  trace.rounds(5);  // not from where the old epoch was
  CHECK(trace.segments() < start + 60);
}

TEST_CASE("a window far behind its curve still catches up", "[tcp][congestion][cubic]") {
  AckTrace<Cubic> trace{100};
  trace.time_out();
  while (trace.controller.cwnd() < trace.controller.ssthresh()) trace.ack(1000, true);
  trace.rtt = 0s;
  trace.ack(1, true);
  trace.now += std::chrono::milliseconds{1 << 22};  // whose cube has more than 64 bits
  const std::uint32_t cwnd = trace.controller.cwnd();
  trace.ack(cwnd, true);
  CHECK(trace.controller.cwnd() == cwnd + cwnd / 2);
}

TEST_CASE("a clock of many weeks makes no difference", "[tcp][congestion][cubic]") {
  AckTrace<Cubic> young{500}, old{500};
  old.now += std::chrono::milliseconds{(1LL << 32) - 103'000};  // wraps three seconds on
  young.lose();
  old.lose();
  for (int i = 0; i < 100; ++i) {
    young.rounds();
    old.rounds();
  }
  CHECK(young.controller.cwnd() == old.controller.cwnd());
}
