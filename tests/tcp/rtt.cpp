// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/tcp/rtt.hpp>

using namespace tunic;
using namespace std::chrono_literals;

TEST_CASE("samples move the estimate as RFC 6298 says",
          "[tcp][rtt][6298-02][6298-03][conformance]") {
  TcpConfig config;
  RttEstimator rtt;
  CHECK(rtt.rto(config) == 1s);
  rtt.sample(500ms);
  CHECK(rtt.rto(config) == 1500ms);
  rtt.sample(700ms);
  CHECK(rtt.rttvar() == 237'500us);
  CHECK(rtt.srtt() == 525ms);
  CHECK(rtt.rto(config) == 1475ms);
}

TEST_CASE("the time-out doubles to its bound and falls back with the next sample", "[tcp][rtt]") {
  TcpConfig config;
  RttEstimator rtt;
  rtt.sample(100ms);
  CHECK(rtt.rto(config) == 300ms);
  rtt.back_off();
  rtt.back_off();
  CHECK(rtt.rto(config) == 1200ms);
  for (int i = 0; i < 100; ++i) rtt.back_off();
  CHECK(rtt.rto(config) == 60s);
  rtt.sample(100ms);
  CHECK(rtt.rto(config) == 250ms);
}

TEST_CASE("the time-out keeps to its floor, and above a constant RTT by the clock's granularity",
          "[tcp][rtt]") {
  TcpConfig config;
  RttEstimator rtt;
  for (int i = 0; i < 200; ++i) rtt.sample(2ms);
  CHECK(rtt.rto(config) == 200ms);
  for (int i = 0; i < 300; ++i) rtt.sample(800ms);
  CHECK(rtt.rttvar() < 250us);
  CHECK(rtt.rto(config) == rtt.srtt() + 1ms);
}
