// SPDX-License-Identifier: BSL-1.0
#include "../support/ack_trace.hpp"
#include "../support/catch.hpp"
#include <tunic/tcp/cubic.hpp>
#include <tunic/tcp/hystart.hpp>

#include <vector>

using namespace tunic;
using namespace tunic::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t mss = 1000;

// A round in which each of `samples` acknowledgements took `rtt`.
void round(HyStart& hystart, Duration rtt, int samples = 8) {
  for (int i = 0; i < samples; ++i) {
    hystart.on_ack({.now = {}, .bytes_acked = mss, .mss = mss, .rtt = rtt, .round_start = i == 0});
  }
}

// How much of `bytes` acknowledged at once slow start lets the window grow.
std::uint32_t growth(const HyStart& hystart, std::uint32_t bytes, bool paced) {
  return hystart.growth({.now = {}, .bytes_acked = bytes, .mss = mss, .paced = paced});
}

}  // namespace

TEST_CASE("a rise of the round trip leads to conservative slow start", "[tcp][hystart]") {
  // The last round's shortest, this round's, and what that is to lead to: an eighth more, but at
  // least 4 ms and at most 16 ms.
  const auto [last, now, rises] = GENERATE(table<Duration, Duration, bool>({{8ms, 11'999us, false},
                                                                            {8ms, 12ms, true},
                                                                            {80ms, 89'999us, false},
                                                                            {80ms, 90ms, true},
                                                                            {400ms, 415ms, false},
                                                                            {400ms, 416ms, true},
                                                                            {80ms, 40ms, false}}));
  CAPTURE(last.count(), now.count());
  HyStart hystart;
  round(hystart, last);
  round(hystart, now);
  CHECK(hystart.conservative() == rises);
}

TEST_CASE("a rise is believed after eight samples", "[tcp][hystart]") {
  HyStart hystart;
  round(hystart, 50ms);
  round(hystart, 100ms, 7);
  CHECK_FALSE(hystart.conservative());
  SECTION("an eighth that is as long") {
    hystart.on_ack({.now = {}, .bytes_acked = mss, .mss = mss, .rtt = 100ms});
    CHECK(hystart.conservative());
  }
  SECTION("an eighth that is short: the shortest counts") {
    hystart.on_ack({.now = {}, .bytes_acked = mss, .mss = mss, .rtt = 50ms});
    CHECK_FALSE(hystart.conservative());
  }
  SECTION("an acknowledgement without a sample") {
    hystart.on_ack({.now = {}, .bytes_acked = mss, .mss = mss});
    CHECK_FALSE(hystart.conservative());
  }
  SECTION("the next round begins anew") {
    round(hystart, 100ms, 7);
    CHECK_FALSE(hystart.conservative());
  }
}

TEST_CASE("without a round to compare with nothing is concluded", "[tcp][hystart]") {
  HyStart hystart;
  round(hystart, 500ms, 100);
  CHECK_FALSE(hystart.conservative());
}

TEST_CASE("conservative slow start lasts five rounds", "[tcp][hystart]") {
  HyStart hystart;
  round(hystart, 50ms);
  round(hystart, 60ms);  // its rest is the first
  REQUIRE(hystart.conservative());
  for (int i = 2; i <= 5; ++i) {
    round(hystart, 70ms);
    CHECK_FALSE(hystart.finished());
  }
  round(hystart, 70ms, 1);
  CHECK(hystart.finished());
}

TEST_CASE("a round trip below where the rise began resumes slow start", "[tcp][hystart]") {
  HyStart hystart;
  round(hystart, 50ms);
  round(hystart, 60ms);
  REQUIRE(hystart.conservative());
  SECTION("but not one as long") {
    round(hystart, 60ms);
    CHECK(hystart.conservative());
  }
  SECTION("nor a single one") {
    round(hystart, 55ms, 7);
    CHECK(hystart.conservative());
  }
  SECTION("and a new rise begins five rounds anew") {
    round(hystart, 70ms);
    round(hystart, 59ms);
    CHECK_FALSE(hystart.conservative());
    CHECK_FALSE(hystart.finished());
    round(hystart, 70ms);
    REQUIRE(hystart.conservative());
    for (int i = 2; i <= 5; ++i) round(hystart, 70ms);
    CHECK_FALSE(hystart.finished());
    round(hystart, 70ms);
    CHECK(hystart.finished());
  }
}

TEST_CASE("growth is a quarter in the conservative phase, and bounded without pacing",
          "[tcp][hystart]") {
  HyStart hystart;
  CHECK(growth(hystart, 3 * mss, false) == 3 * mss);
  CHECK(growth(hystart, 20 * mss, false) == 8 * mss);
  CHECK(growth(hystart, 20 * mss, true) == 20 * mss);
  round(hystart, 50ms);
  round(hystart, 60ms);
  REQUIRE(hystart.conservative());
  CHECK(growth(hystart, 4 * mss, false) == mss);
  CHECK(growth(hystart, 20 * mss, false) == 2 * mss);
  CHECK(growth(hystart, 20 * mss, true) == 5 * mss);
}

TEST_CASE("HyStart++ ends slow start before a queue overflows", "[tcp][hystart]") {
  // A path that holds 100 segments, beyond which a queue grows, and 1000 are too many.
  const auto run = [](auto& trace) {
    for (int i = 0; i < 20 && trace.segments() <= 1000; ++i) {
      trace.rtt = std::max<Duration>(100ms, trace.segments() * 1ms);
      trace.rounds();
    }
  };
  AckTrace<Cubic> careful;
  AckTrace<BasicCubic<StandardSlowStart>> careless;
  run(careful);
  run(careless);
  CHECK(careless.segments() > 1000);
  CHECK(careful.segments() > 200);
  CHECK(careful.segments() < 600);
  CHECK(careful.controller.ssthresh() <= careful.controller.cwnd());
}
