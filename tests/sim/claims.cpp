// SPDX-License-Identifier: BSL-1.0

#include "claims.hpp"

#include "../support/catch.hpp"

#include <array>
#include <chrono>
#include <cmath>

using namespace tunic::sim;
using namespace std::chrono_literals;

namespace {

bool near(double a, double b, double margin = 0) {
  return std::abs(a - b) <= margin + 1e-9 * std::abs(b);
}

}  // namespace

TEST_CASE("shares are even, or one has it all", "[sim][claims]") {
  CHECK(near(jain_index(std::array{5.0, 5.0, 5.0}), 1));
  CHECK(near(jain_index(std::array{1.0, 0.0, 0.0, 0.0}), 0.25));
  CHECK(near(jain_index(std::array{3.0, 1.0}), 0.8));
  CHECK(jain_index(std::array{0.0, 0.0}) == 1);
}

TEST_CASE("the response functions give the RFC's tables", "[sim][claims]") {
  // RFC 9438 5.1, table 1: the RTT is 0.1 s.
  CHECK(near(cubic_window(1e-4, 100ms), 187, 0.5));
  CHECK(near(cubic_window(1e-6, 100ms), 5926, 3));
  CHECK(near(cubic_window(1e-6, 10ms) * std::pow(10, 0.75), 5926, 3));
  CHECK(near(reno_window(1e-2), 12, 0.5));
  CHECK(near(reno_window(1e-4), 120, 3));
  CHECK(near(reno_window(1e-8), 12000, 300));
}

TEST_CASE("a rate ends where the link's does", "[sim][claims]") {
  CHECK(near(payload_rate(1.5e6), 1.448e6));
  CHECK(near(rate_of_window(10, 100ms, 1e9), 1.1584e6));
  CHECK(near(rate_of_window(1e6, 100ms, 1.5e6), 1.448e6));
  CHECK(near(cubic_rate(1e-2, 100ms, 1e9), reno_window(1e-2) * 115840));
  CHECK(near(cubic_rate(1e-6, 100ms, 1e9), cubic_window(1e-6, 100ms) * 115840));
}

TEST_CASE("what a flow delivers is counted between two ends of intervals", "[sim][claims]") {
  CHECK(delivered_between({10, 30, 60}, 0, 1) == 10);
  CHECK(delivered_between({10, 30, 60}, 1, 3) == 50);
  CHECK(delivered_between({10, 30, 60}, 1, 9) == 50);
  CHECK(delivered_between({}, 0, 2) == 0);
}
