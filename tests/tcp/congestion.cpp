// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/tcp/congestion.hpp>

using namespace tunic;

namespace {

constexpr std::uint32_t mss = 1000;

// One acknowledgement of `bytes` with the whole window in flight.
void acknowledge(NewReno& reno, std::uint32_t bytes) {
  reno.on_ack({.now = {}, .bytes_acked = bytes, .flight_before = reno.cwnd(), .mss = mss});
}

}  // namespace

TEST_CASE("slow start grows by what is acknowledged, at most a segment at a time",
          "[tcp][congestion]") {
  NewReno reno;
  reno.start(mss, 10 * mss);
  acknowledge(reno, mss);
  CHECK(reno.cwnd() == 11 * mss);
  acknowledge(reno, 5 * mss);
  CHECK(reno.cwnd() == 12 * mss);
  for (int i = 0; i < 1000; ++i) acknowledge(reno, 1);  // split ACKs gain nothing
  CHECK(reno.cwnd() == 13 * mss);
}

TEST_CASE("avoidance grows by one segment a window", "[tcp][congestion]") {
  NewReno reno;
  reno.start(mss, 20 * mss);
  reno.on_recovery(20 * mss, mss);
  CHECK(reno.cwnd() == 10 * mss);
  CHECK(reno.ssthresh() == 10 * mss);
  for (int i = 0; i < 10; ++i) acknowledge(reno, mss);
  CHECK(reno.cwnd() == 11 * mss);
}

TEST_CASE("a time-out halves what was in flight once, and leaves one segment",
          "[tcp][congestion]") {
  NewReno reno;
  reno.start(mss, 100 * mss);
  reno.on_timeout(10 * mss, mss, true);
  CHECK(reno.cwnd() == mss);
  CHECK(reno.ssthresh() == 5 * mss);
  reno.on_timeout(mss, mss, false);
  CHECK(reno.ssthresh() == 5 * mss);
}

TEST_CASE("a window that is not used does not grow", "[tcp][congestion]") {
  NewReno reno;
  reno.start(mss, 10 * mss);
  reno.on_ack({.now = {}, .bytes_acked = mss, .flight_before = 2 * mss, .mss = mss});
  CHECK(reno.cwnd() == 10 * mss);
}
