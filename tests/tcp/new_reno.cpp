// SPDX-License-Identifier: BSL-1.0
#include "../support/ack_trace.hpp"
#include "../support/catch.hpp"
#include <tunic/tcp/new_reno.hpp>

#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

constexpr std::uint32_t mss = 1000;

enum class Step { round, loss, time_out };
struct Row {
  Step step;
  std::uint32_t cwnd;  // afterwards
  std::uint32_t ssthresh;
};

void replay(AckTrace<NewReno>& trace, const std::vector<Row>& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(i);
    switch (rows[i].step) {
      case Step::round:
        trace.rounds();
        break;
      case Step::loss:
        trace.lose();
        break;
      case Step::time_out:
        trace.time_out();
        break;
    }
    CHECK(trace.controller.cwnd() == rows[i].cwnd);
    CHECK(trace.controller.ssthresh() == rows[i].ssthresh);
  }
}

}  // namespace

TEST_CASE("the saw tooth of RFC 5681", "[tcp][congestion][new_reno]") {
  constexpr std::uint32_t high = CongestionWindow::unlimited;
  AckTrace<NewReno> trace;
  replay(trace, {{Step::round, 20'000, high},
                 {Step::round, 40'000, high},
                 {Step::loss, 20'000, 20'000},
                 {Step::round, 21'000, 20'000},
                 {Step::round, 22'000, 20'000},
                 {Step::round, 23'000, 20'000},
                 {Step::loss, 11'500, 11'500}});
}

TEST_CASE("a time-out starts anew up to half of what was in flight",
          "[tcp][congestion][new_reno]") {
  AckTrace<NewReno> trace{16};
  replay(trace, {{Step::time_out, 1000, 8000},
                 {Step::round, 2000, 8000},
                 {Step::round, 4000, 8000},
                 {Step::round, 8000, 8000},
                 {Step::round, 9000, 8000},
                 {Step::time_out, 1000, 4500}});
}

TEST_CASE("slow start grows by what is acknowledged, at most a segment at a time",
          "[tcp][congestion][new_reno]") {
  AckTrace<NewReno> trace;
  trace.ack(mss);
  CHECK(trace.controller.cwnd() == 11 * mss);
  trace.ack(5 * mss);
  CHECK(trace.controller.cwnd() == 12 * mss);
  for (int i = 0; i < 1000; ++i) trace.ack(1);
  CHECK(trace.controller.cwnd() == 13 * mss);
}

TEST_CASE("avoidance does not mind how acknowledgements are cut", "[tcp][congestion][new_reno]") {
  const std::uint32_t per_ack = GENERATE(10U, 999U, 1000U, 2000U, 7000U);
  AckTrace<NewReno> trace{40};
  trace.lose();
  REQUIRE(trace.controller.cwnd() == 20 * mss);
  trace.round_of(20 * mss, per_ack);
  CHECK(trace.controller.cwnd() == 21 * mss);
  trace.round_of(21 * mss, per_ack);
  CHECK(trace.controller.cwnd() == 22 * mss);
}

TEST_CASE("what exceeds a window counts for the next growth", "[tcp][congestion][new_reno]") {
  AckTrace<NewReno> trace{40};
  trace.lose();
  trace.ack(15 * mss);
  CHECK(trace.controller.cwnd() == 20 * mss);
  trace.ack(15 * mss);
  CHECK(trace.controller.cwnd() == 21 * mss);
  trace.ack(11 * mss);
  CHECK(trace.controller.cwnd() == 22 * mss);
}

TEST_CASE("growth of one epoch is not carried into the next", "[tcp][congestion][new_reno]") {
  AckTrace<NewReno> trace{40};
  trace.lose();
  trace.round_of(19 * mss);
  trace.lose();
  REQUIRE(trace.controller.cwnd() == 10 * mss);
  trace.round_of(9 * mss);
  CHECK(trace.controller.cwnd() == 10 * mss);
  trace.round_of(mss);
  CHECK(trace.controller.cwnd() == 11 * mss);
}
