// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include <tunic/tcp/min_rtt.hpp>

using namespace tunic;
using namespace std::chrono_literals;

TEST_CASE("the shortest round trip of the last minutes is known", "[tcp][min_rtt]") {
  MinRtt shortest;
  const Instant start{1h};
  CHECK(shortest.value() == 0ms);
  shortest.sample(30ms, start);
  CHECK(shortest.value() == 30ms);
  shortest.sample(20ms, start + 1s);
  shortest.sample(50ms, start + 2s);
  CHECK(shortest.value() == 20ms);
}

TEST_CASE("a path that became longer is believed after some minutes", "[tcp][min_rtt]") {
  MinRtt shortest;
  const Instant start{1h};
  shortest.sample(20ms, start);
  Duration after{};
  for (Duration at = 1s; at <= 10min && shortest.value() == 20ms; at += 1s) {
    shortest.sample(50ms, start + at);
    after = at;
  }
  CHECK(shortest.value() == 50ms);
  CHECK(after >= 2min);
  CHECK(after <= 5min);
  SECTION("and one that became shorter at once") {
    shortest.sample(10ms, start + after + 1s);
    CHECK(shortest.value() == 10ms);
  }
}

TEST_CASE("after a long silence the old round trip is forgotten", "[tcp][min_rtt]") {
  MinRtt shortest;
  shortest.sample(20ms, Instant{1h});
  shortest.sample(50ms, Instant{1h + 301s});
  CHECK(shortest.value() == 50ms);
}

TEST_CASE("what was short shortly before a new period still counts in it", "[tcp][min_rtt]") {
  MinRtt shortest;
  shortest.sample(30ms, Instant{1h});
  shortest.sample(20ms, Instant{1h + 149s});
  shortest.sample(50ms, Instant{1h + 151s});
  CHECK(shortest.value() == 20ms);
}
