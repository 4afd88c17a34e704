// SPDX-License-Identifier: BSL-1.0

// The window arithmetic of RFC 5681, and of RFC 6582's end of recovery.
#include "../support/ack_trace.hpp"
#include "../support/catch.hpp"
#include <tunic/tcp/new_reno.hpp>

#include <limits>

using namespace tunic;
using namespace tunic::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t mss = 1000;

}  // namespace

TEST_CASE("slow start adds what is acknowledged, at most one segment", "[conformance][5681-01]") {
  const auto [acked, added] = GENERATE(table<std::uint32_t, std::uint32_t>(
      {{0, 0}, {1, 1}, {999, 999}, {1000, 1000}, {1001, 1000}, {9000, 1000}}));
  AckTrace<NewReno> trace;
  trace.ack(acked);
  CHECK(trace.controller.cwnd() == 10 * mss + added);
}

TEST_CASE("split acknowledgements gain nothing", "[conformance][5681-02]") {
  AckTrace<NewReno> trace;
  for (std::uint32_t i = 0; i < mss; ++i) trace.ack(1);
  CHECK(trace.controller.cwnd() == 11 * mss);
  trace.lose(20 * mss);
  REQUIRE(trace.controller.cwnd() == 10 * mss);
  trace.round_of(10 * mss, 10);
  CHECK(trace.controller.cwnd() == 11 * mss);
}

TEST_CASE("a time-out halves what was in flight, not the window", "[conformance][5681-03]") {
  const auto [flight, ssthresh] =
      GENERATE(table<std::uint32_t, std::uint32_t>({{100 * mss, 50 * mss},
                                                    {10 * mss, 5 * mss},
                                                    {5 * mss, 2500},
                                                    {3 * mss, 2 * mss},
                                                    {1, 2000}}));
  AckTrace<NewReno> trace{100};
  trace.controller.on_timeout(trace.event(flight), true);
  CHECK(trace.controller.ssthresh() == ssthresh);
}

TEST_CASE("repeated time-outs of a segment leave the threshold alone", "[conformance][5681-04]") {
  AckTrace<NewReno> trace{100};
  trace.time_out();
  REQUIRE(trace.controller.ssthresh() == 50 * mss);
  trace.time_out(false);
  trace.time_out(false);
  CHECK(trace.controller.ssthresh() == 50 * mss);
}

TEST_CASE("a time-out leaves one segment", "[conformance][5681-05]") {
  AckTrace<NewReno> trace{100};
  trace.time_out();
  CHECK(trace.controller.cwnd() == mss);
  trace.ack(mss);
  trace.time_out(false);
  CHECK(trace.controller.cwnd() == mss);
}

TEST_CASE("a window is not kept over an idle time-out, unless it is validated",
          "[conformance][5681-09]") {
  AckTrace<BasicNewReno<StandardSlowStart, RestartAfterIdle>> restarts;
  AckTrace<NewReno> validates;
  restarts.rounds(2);
  validates.rounds(2);
  restarts.pause(2s);
  validates.pause(2s);
  CHECK(restarts.controller.cwnd() == 10 * mss);
  CHECK(validates.controller.cwnd() == 40 * mss);
  validates.pause(5min);
  CHECK(validates.controller.cwnd() == 20 * mss);
}

TEST_CASE("the first threshold is arbitrarily high", "[conformance][5681-10]") {
  AckTrace<NewReno> trace;
  CHECK(trace.controller.ssthresh() == std::numeric_limits<std::uint32_t>::max());
}
