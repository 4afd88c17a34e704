// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/os/steady_clock.hpp>

#include <time.h>

TEST_CASE("the steady clock starts after the origin and never runs backwards", "[os]") {
  const tunic::SteadyClock clock;
  tunic::Instant last = clock.now();
  CHECK(last > tunic::Instant{});
  for (int i = 0; i < 1000; ++i) {
    const tunic::Instant now = clock.now();
    CHECK(now >= last);
    last = now;
  }
}

TEST_CASE("steady clocks share the epoch of CLOCK_MONOTONIC", "[os]") {
  const tunic::Instant before = tunic::SteadyClock{}.now();
  timespec time{};
  REQUIRE(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
  const tunic::Instant between{std::chrono::seconds{time.tv_sec} +
                               std::chrono::nanoseconds{time.tv_nsec}};
  const tunic::Instant after = tunic::SteadyClock{}.now();
  CHECK(before <= between);
  CHECK(between <= after);
}
