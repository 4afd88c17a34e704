// SPDX-License-Identifier: BSL-1.0
#include "../support/ack_trace.hpp"
#include "../support/catch.hpp"
#include <tunic/tcp/new_reno.hpp>
#include <tunic/tcp/window_validation.hpp>

using namespace tunic;
using namespace tunic::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t mss = 1000;

// The validation alone, beside a window that stays where it is put.
struct Fixed {
  WindowValidation validation;
  CongestionWindow window{.cwnd = 20 * mss, .ssthresh = 10 * mss};

  void start(std::uint32_t, std::uint32_t initial_window) { validation.start(initial_window); }
  void on_ack(const AckSample& sample) { validation.on_ack(sample, window); }
  void on_idle(Duration idle, Duration rto, std::uint32_t initial_window) {
    validation.on_idle(idle, rto, initial_window, window);
  }
  [[nodiscard]] std::uint32_t cwnd() const { return window.cwnd; }
  [[nodiscard]] bool valid() const { return validation.valid(window); }
};

struct Trace : AckTrace<Fixed> {
  using AckTrace::AckTrace;
  [[nodiscard]] WindowValidation& validation() { return controller.validation; }
};

}  // namespace

TEST_CASE("pipeACK is what the best round of late delivered", "[tcp][window_validation]") {
  Trace trace;
  trace.round_of(12 * mss);
  CHECK(trace.validation().pipe_ack() == 12 * mss);
  trace.round_of(4 * mss);
  CHECK(trace.validation().pipe_ack() == 12 * mss);
  for (int i = 0; i < 20; ++i) trace.round_of(4 * mss);  // two seconds
  CHECK(trace.validation().pipe_ack() == 4 * mss);
}

TEST_CASE("a sample is remembered for three round trips, or a second", "[tcp][window_validation]") {
  const auto [rtt, forgotten_after] =
      GENERATE(table<Duration, int>({{10ms, 100}, {100ms, 10}, {1s, 3}, {5s, 3}}));
  CAPTURE(rtt.count());
  Trace trace;
  trace.rtt = rtt;
  trace.round_of(4 * mss);
  for (int i = 0; i < 150; ++i) trace.round_of(2 * mss);
  REQUIRE(trace.validation().pipe_ack() == 2 * mss);
  trace.round_of(12 * mss);
  int rounds = 0;
  while (trace.validation().pipe_ack() == 12 * mss) {
    trace.round_of(2 * mss);
    ++rounds;
  }
  CHECK(rounds <= forgotten_after + 1);
  CHECK(rounds >= forgotten_after / 2);
}

TEST_CASE("a pause outlasts a sample", "[tcp][window_validation]") {
  const auto [pause, forgotten] = GENERATE(table<Duration, bool>({{900ms, false}, {1500ms, true}}));
  Trace trace;
  trace.rtt = 10ms;
  trace.now = Instant{100s};
  trace.ack(mss, true);  // begins half a period
  trace.round_of(12 * mss);
  trace.pause(pause);
  trace.ack(mss, true);
  CHECK((trace.validation().pipe_ack() == mss) == forgotten);
}

TEST_CASE("the window counts as valid until something was measured", "[tcp][window_validation]") {
  Trace trace;
  trace.round_of(9 * mss);
  CHECK(trace.controller.valid());
  trace.ack(mss, true);
  CHECK_FALSE(trace.controller.valid());
  trace.validation().reset();
  trace.ack(mss);  // the rest of a round is no measurement
  CHECK(trace.controller.valid());
  trace.ack(mss, true);
  CHECK(trace.controller.valid());
  trace.ack(mss, true);
  CHECK_FALSE(trace.controller.valid());
}

TEST_CASE("half of the window makes it valid, a quarter in slow start",
          "[tcp][window_validation]") {
  const auto [ssthresh, enough] = GENERATE(table<std::uint32_t, std::uint32_t>(
      {{10 * mss, 10 * mss}, {CongestionWindow::unlimited, 5 * mss}}));
  Trace trace;
  trace.controller.window.ssthresh = ssthresh;
  trace.round_of(enough - mss);
  trace.round_of(enough - mss);
  CHECK_FALSE(trace.controller.valid());
  trace.round_of(enough);
  CHECK(trace.controller.valid());
}

TEST_CASE("nothing is measured in recovery", "[tcp][window_validation]") {
  Trace trace;
  trace.round_of(12 * mss);
  trace.ack(mss, true);
  CHECK_FALSE(trace.validation().on_congestion(trace.event(20 * mss), trace.controller.window));
  for (int i = 0; i < 20; ++i) trace.ack(mss, i % 4 == 0, true);
  CHECK(trace.validation().pipe_ack() == 0);
  CHECK(trace.controller.valid());
  CHECK_FALSE(trace.validation().on_recovery_end());
}

TEST_CASE("a window that was not valid pays for what was lost", "[tcp][window_validation]") {
  const std::uint32_t flight = GENERATE(2 * mss, 6 * mss);
  Trace trace;
  trace.round_of(4 * mss);
  trace.round_of(4 * mss);
  REQUIRE_FALSE(trace.controller.valid());
  const std::uint32_t in_use = std::max(4 * mss, flight);
  CHECK(trace.validation().on_congestion(trace.event(flight), trace.controller.window) == in_use);
  trace.ack(mss, true, true, mss);
  trace.ack(mss, false, true, 500);
  CHECK(trace.validation().on_recovery_end() == (in_use - 1500) / 2);
  CHECK_FALSE(trace.validation().on_recovery_end());
}

TEST_CASE("five minutes of little use, or of none, halve the window", "[tcp][window_validation]") {
  Trace trace;
  trace.controller.window = {.cwnd = 100 * mss, .ssthresh = 10 * mss};
  SECTION("little") {
    trace.round_of(60 * mss);
    trace.rtt = 1s;
    for (int i = 0; i < 299; ++i) trace.round_of(2 * mss);
    CHECK(trace.controller.cwnd() == 100 * mss);
    for (int i = 0; i < 5; ++i) trace.round_of(2 * mss);
    CHECK(trace.controller.window.ssthresh == 75 * mss);
    CHECK(trace.controller.cwnd() == 50 * mss);
    for (int i = 0; i < 290; ++i) trace.round_of(2 * mss);
    CHECK(trace.controller.cwnd() == 50 * mss);
    for (int i = 0; i < 10; ++i) trace.round_of(2 * mss);
    CHECK(trace.controller.cwnd() == 25 * mss);
  }
  SECTION("none, for almost as long") {
    trace.round_of(100 * mss);
    trace.pause(5min - 1ms);
    CHECK(trace.controller.cwnd() == 100 * mss);
  }
  SECTION("none") {
    trace.round_of(100 * mss);
    trace.pause(5min);
    CHECK(trace.controller.window.ssthresh == 75 * mss);
    CHECK(trace.controller.cwnd() == 50 * mss);
    trace.ack(mss, true);  // the pause has been paid for
    CHECK(trace.controller.cwnd() == 50 * mss);
  }
  SECTION("none, for long") {
    trace.round_of(100 * mss);
    trace.pause(10min);
    CHECK(trace.controller.cwnd() == 25 * mss);
    trace.pause(24h * 50);
    CHECK(trace.controller.cwnd() == 10 * mss);
    CHECK(trace.controller.window.ssthresh == 75 * mss);
  }
  SECTION("a window below the initial one stays") {
    trace.controller.window.cwnd = 3 * mss;
    trace.pause(20min);
    CHECK(trace.controller.cwnd() == 3 * mss);
  }
}

TEST_CASE("an idle time-out restarts from the initial window where that is chosen",
          "[tcp][window_validation]") {
  AckTrace<BasicNewReno<StandardSlowStart, RestartAfterIdle>> trace;
  trace.rounds(2);
  trace.pause(1s);  // as long as the time-out
  CHECK(trace.controller.cwnd() == 40 * mss);
  trace.pause(1s + 1ns);
  CHECK(trace.controller.cwnd() == 10 * mss);
  trace.pause(1min, 20);
  CHECK(trace.controller.cwnd() == 10 * mss);
}
