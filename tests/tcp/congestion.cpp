// SPDX-License-Identifier: BSL-1.0

// What the controllers that work with a window have in common.
#include "../support/ack_trace.hpp"
#include "../support/catch.hpp"
#include <tunic/tcp/cubic.hpp>
#include <tunic/tcp/new_reno.hpp>

#include <concepts>

using namespace tunic;
using namespace tunic::test;
using namespace std::chrono_literals;

namespace {

// Lacks one call of the concept.
struct Incomplete : NewReno {
  void on_spurious() = delete;
};
static_assert(!CongestionControl<Incomplete>);
static_assert(!CongestionControl<int>);
static_assert(CongestionControl<BasicNewReno<HyStart, RestartAfterIdle>>);
static_assert(CongestionControl<BasicCubic<StandardSlowStart>>);
// A controller lies in each control block.
static_assert(sizeof(Cubic) <= 144);
static_assert(sizeof(NewReno) <= 56);
static_assert(sizeof(BasicNewReno<StandardSlowStart, RestartAfterIdle>) <= 24);

constexpr std::uint32_t mss = 1000;

}  // namespace

TEMPLATE_TEST_CASE("a window that is not used does not grow", "[tcp][congestion]", NewReno, Cubic) {
  AckTrace<TestType> trace;
  trace.limited = false;
  trace.rounds(3);
  CHECK(trace.controller.cwnd() == 10 * mss);
  trace.limited = true;
  trace.rounds();
  CHECK(trace.controller.cwnd() == 20 * mss);
  trace.lose();
  const std::uint32_t reduced = trace.controller.cwnd();
  trace.limited = false;
  trace.rounds(20);
  CHECK(trace.controller.cwnd() == reduced);
}

TEMPLATE_TEST_CASE("what recovery acknowledges does not grow the window", "[tcp][congestion]",
                   NewReno, Cubic) {
  AckTrace<TestType> trace;
  trace.controller.on_congestion(trace.event(10 * mss));
  const std::uint32_t reduced = trace.controller.cwnd();
  for (int i = 0; i < 50; ++i) trace.ack(mss, i % 5 == 0, true);
  CHECK(trace.controller.cwnd() == reduced);
  trace.controller.on_recovery_end(0, mss);
  CHECK(trace.controller.cwnd() == reduced);
  CHECK(trace.controller.ssthresh() == reduced);
}

TEMPLATE_TEST_CASE("a loss never widens the window", "[tcp][congestion]", NewReno, Cubic) {
  AckTrace<TestType> trace;
  trace.time_out();
  trace.controller.on_congestion(trace.event(40 * mss));  // most of it from before the time-out
  CHECK(trace.controller.cwnd() == mss);
  CHECK(trace.controller.ssthresh() > 2 * mss);
}

TEMPLATE_TEST_CASE("a mark takes the window down to one segment, a loss to two",
                   "[tcp][congestion][9438-04][conformance]", NewReno, Cubic) {
  AckTrace<TestType> trace{2};
  SECTION("loss") {
    trace.lose();
    CHECK(trace.controller.cwnd() == 2 * mss);
  }
  SECTION("mark") {
    trace.mark();
    CHECK(trace.controller.cwnd() == (std::same_as<TestType, Cubic> ? 1400 : mss));
    trace.mark();
    CHECK(trace.controller.cwnd() == mss);
    trace.mark();
    CHECK(trace.controller.cwnd() == mss);
  }
  CHECK(trace.controller.ssthresh() == 2 * mss);
}

TEMPLATE_TEST_CASE("an event that was spurious leaves no trace", "[tcp][congestion]", NewReno,
                   Cubic) {
  AckTrace<TestType> trace;
  trace.rounds(2);
  REQUIRE(trace.controller.cwnd() == 40 * mss);
  SECTION("loss") { trace.controller.on_congestion(trace.event(40 * mss)); }
  SECTION("mark") { trace.mark(); }
  SECTION("time-out") {
    trace.time_out();
    trace.time_out(false);
    trace.ack(mss, true);
  }
  CHECK(trace.controller.cwnd() < 40 * mss);
  trace.controller.on_spurious();
  CHECK(trace.controller.cwnd() == 40 * mss);
  CHECK(trace.controller.ssthresh() == CongestionWindow::unlimited);
  trace.rounds();  // slow start goes on
  CHECK(trace.controller.cwnd() == 80 * mss);

  trace.time_out(false);
  trace.controller.on_spurious();  // there is nothing to take back any more
  CHECK(trace.controller.cwnd() == mss);
}

TEMPLATE_TEST_CASE("a window that has outgrown a spurious event stays as it is",
                   "[tcp][congestion]", NewReno, Cubic) {
  AckTrace<TestType> trace{20};
  trace.lose();
  trace.rounds(100);
  const std::uint32_t cwnd = trace.controller.cwnd();
  const std::uint32_t ssthresh = trace.controller.ssthresh();
  REQUIRE(cwnd > 20 * mss);
  trace.controller.on_spurious();
  CHECK(trace.controller.cwnd() == cwnd);
  CHECK(trace.controller.ssthresh() == ssthresh);
}

TEST_CASE("no window exceeds what a header can offer", "[tcp][congestion]") {
  AckTrace<BasicCubic<StandardSlowStart>> trace{1'000'000};
  CHECK(trace.controller.cwnd() == 1'000'000'000);
  for (int i = 0; i < 100'000; ++i) trace.ack(mss, i % 1000 == 0);
  CHECK(trace.controller.cwnd() == 1U << 30);
  trace.lose();
  for (int i = 0; i < 300; ++i) {
    trace.now += 10s;
    trace.ack(trace.controller.cwnd(), true);
  }
  CHECK(trace.controller.cwnd() == 1U << 30);
}

TEMPLATE_TEST_CASE("a start forgets all", "[tcp][congestion]", NewReno, Cubic) {
  AckTrace<TestType> trace;
  trace.lose();
  trace.controller.start(mss, 5 * mss);
  CHECK(trace.controller.cwnd() == 5 * mss);
  CHECK(trace.controller.ssthresh() == CongestionWindow::unlimited);
}

TEST_CASE("controllers leave the rate to the stack", "[tcp][congestion]") {
  AckTrace<Cubic> trace;
  trace.rounds();
  CHECK(trace.controller.pacing_rate() == 0);
}
