// SPDX-License-Identifier: BSL-1.0

// HyStart++: RFC 9406, as CUBIC's first slow start.
#include "../support/ack_trace.hpp"
#include "../support/catch.hpp"
#include <tunic/tcp/cubic.hpp>

using namespace tunic;
using namespace tunic::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t mss = 1000;

// Connections whose first rounds took 100 ms.
struct Trace : AckTrace<Cubic> {
  explicit Trace(std::uint32_t initial_segments = 10) : AckTrace{initial_segments} {}

  void round_of_rtt(Duration time) {
    rtt = time;
    rounds();
  }
  // By how much 8 segments acknowledged one by one let the window grow, in segments.
  std::uint32_t growth_of_eight() {
    const std::uint32_t before = controller.cwnd();
    for (int i = 0; i < 8; ++i) ack(mss);
    return (controller.cwnd() - before) / mss;
  }
};

}  // namespace

TEST_CASE("the shortest round trips of two rounds are compared", "[conformance][9406-01]") {
  Trace trace;
  trace.round_of_rtt(100ms);
  SECTION("a long round after a short one is a rise") {
    trace.round_of_rtt(120ms);
    CHECK(trace.growth_of_eight() == 2);
  }
  SECTION("one short sample is the round's") {
    trace.rtt = 100ms;
    trace.ack(mss, true);
    trace.rtt = 120ms;
    CHECK(trace.growth_of_eight() == 8);
    CHECK(trace.growth_of_eight() == 8);
  }
  SECTION("within one round nothing is compared") {
    trace.rtt = 120ms;
    CHECK(trace.growth_of_eight() == 8);
    CHECK(trace.growth_of_eight() == 8);
  }
  SECTION("a slow rise compares with the round before, not with the first") {
    trace.round_of_rtt(110ms);
    trace.round_of_rtt(120ms);
    CHECK(trace.growth_of_eight() == 8);
  }
}

TEST_CASE("eight samples and a clear rise begin conservative slow start",
          "[conformance][9406-02]") {
  const auto [last, now, begins] =
      GENERATE(table<Duration, Duration, bool>({{10ms, 13ms, false},
                                                {10ms, 14ms, true},
                                                {80ms, 89ms, false},
                                                {80ms, 90ms, true},
                                                {200ms, 215ms, false},
                                                {200ms, 216ms, true}}));
  CAPTURE(last.count(), now.count());
  Trace trace;
  trace.paced = true;  // the spacing of acknowledgements is another matter (tcp/ack_train.hpp)
  trace.round_of_rtt(last);
  trace.rtt = now;
  trace.ack(mss, true);
  for (int i = 0; i < 6; ++i) trace.ack(mss);
  const std::uint32_t before = trace.controller.cwnd();
  trace.ack(mss);  // the eighth is the first that can count
  CHECK(trace.controller.cwnd() - before == (begins ? mss / 4 : mss));
}

TEST_CASE("conservative slow start is four times slower and lasts five rounds",
          "[conformance][9406-03]") {
  Trace trace;
  trace.round_of_rtt(100ms);
  trace.round_of_rtt(120ms);
  REQUIRE(trace.growth_of_eight() == 2);
  SECTION("five rounds end slow start") {
    for (int i = 2; i <= 5; ++i) trace.round_of_rtt(120ms);
    CHECK(trace.controller.ssthresh() == CongestionWindow::unlimited);
    trace.ack(mss, true);
    CHECK(trace.controller.ssthresh() == trace.controller.cwnd());
    trace.rounds(2);  // and congestion avoidance goes on
    CHECK(trace.controller.cwnd() < trace.controller.ssthresh() + 4 * mss);
  }
  SECTION("a shorter round trip resumes it") {
    trace.round_of_rtt(119ms);
    CHECK(trace.growth_of_eight() == 8);
    for (int i = 0; i < 5; ++i) trace.round_of_rtt(119ms);
    CHECK(trace.controller.ssthresh() == CongestionWindow::unlimited);
  }
}

TEST_CASE("one acknowledgement counts eight segments without pacing, all with it",
          "[conformance][9406-04]") {
  Trace trace{100};
  trace.ack(50 * mss);
  CHECK(trace.controller.cwnd() == 108 * mss);
  trace.paced = true;
  trace.ack(50 * mss);
  CHECK(trace.controller.cwnd() == 158 * mss);
}

TEST_CASE("later slow starts are standard ones", "[conformance][9406-04]") {
  Trace trace{100};
  trace.paced = true;
  trace.time_out();
  trace.ack(50 * mss);
  CHECK(trace.controller.cwnd() == 2 * mss);
  trace.round_of_rtt(100ms);
  trace.round_of_rtt(100ms);
  REQUIRE(trace.controller.cwnd() == 8 * mss);
  trace.round_of_rtt(200ms);  // no rise slows them
  trace.round_of_rtt(300ms);
  CHECK(trace.controller.cwnd() == 32 * mss);
}

TEST_CASE("a loss ends it for good", "[conformance][9406-04]") {
  Trace trace{100};
  trace.paced = true;
  trace.round_of_rtt(100ms);
  trace.lose();
  CHECK(trace.controller.ssthresh() == 140 * mss);
  trace.round_of_rtt(100ms);
  CHECK(trace.controller.cwnd() < 150 * mss);
}
