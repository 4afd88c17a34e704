// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/tcp/ack_train.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t mss = 1000;

// Windows that come back in trains over a path of 60 ms.
struct Path {
  AckTrain train;
  Duration spacing = 1ms;  ///< Of acknowledgements: the bottleneck's.
  Duration rtt = 60ms;
  bool limited = true;
  bool paced = false;
  Instant now{10s};

  void ack(std::uint32_t flight, bool round_start) {
    train.on_ack({.now = now,
                  .bytes_delivered = mss,
                  .flight_before = flight * mss,
                  .mss = mss,
                  .min_rtt = rtt,
                  .round_start = round_start,
                  .window_limited = limited,
                  .paced = paced});
  }
  // A window of so many segments is acknowledged; the next round begins a round trip later.
  void round(int segments) {
    const Instant began = now;
    for (int i = 0; i < segments; ++i) {
      ack(static_cast<std::uint32_t>(segments), i == 0);
      now += spacing;
    }
    now = std::max(now, began + rtt);
  }
};

}  // namespace

TEST_CASE("a train of a sixth of a round trip is long", "[tcp][ack_train]") {
  Path path;
  path.round(10);
  CHECK_FALSE(path.train.is_long());
  path.round(11);
  CHECK(path.train.is_long());
  CHECK_FALSE(path.train.full());
}

TEST_CASE("a train stays long through the next round, no further", "[tcp][ack_train]") {
  Path path;
  path.round(11);
  path.round(5);
  CHECK(path.train.is_long());
  path.round(5);
  CHECK_FALSE(path.train.is_long());
}

TEST_CASE("a gap begins another train", "[tcp][ack_train]") {
  Path path;
  const auto [gap, is_long] = GENERATE(table<Duration, bool>({{2ms, true}, {2001us, false}}));
  path.round(9);
  for (int i = 0; i < 6; ++i) {
    path.ack(12, i == 0);
    path.now += i == 5 ? gap : 1ms;
  }
  for (int i = 0; i < 6; ++i) {
    path.ack(12, false);
    path.now += 1ms;
  }
  CHECK(path.train.is_long() == is_long);
}

TEST_CASE("a window that two rounds say the path holds is full", "[tcp][ack_train]") {
  Path path;
  path.round(20);
  path.round(59);
  CHECK_FALSE(path.train.full());
  path.round(60);
  CHECK(path.train.full());
}

TEST_CASE("one round alone does not fill a path", "[tcp][ack_train]") {
  Path path;
  path.round(80);
  CHECK(path.train.is_long());
  CHECK_FALSE(path.train.full());
}

TEST_CASE("trains whose rate grows with the window are jitter", "[tcp][ack_train]") {
  Path path;
  // Each takes the whole round trip, however large the window.
  for (int window = 20; window < 2000; window += window / 4) {
    path.spacing = path.rtt / window;
    path.round(window);
  }
  CHECK_FALSE(path.train.full());
  // And every other round is not slowed down.
  const bool was_long = path.train.is_long();
  path.spacing = path.rtt / 2500;
  path.round(2500);
  CHECK(path.train.is_long() != was_long);
}

TEST_CASE("acknowledgements of what did not leave in bursts are no train", "[tcp][ack_train]") {
  Path path;
  SECTION("a paced sender") { path.paced = true; }
  SECTION("an idle program") { path.limited = false; }
  SECTION("a path so short that the ends space them") {
    path.rtt = 3ms;
    path.spacing = 75us;
  }
  for (int i = 0; i < 3; ++i) path.round(39);
  CHECK_FALSE(path.train.is_long());
  CHECK_FALSE(path.train.full());
}
