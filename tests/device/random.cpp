// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/device/random.hpp>

#include <array>
#include <cstdint>

using tunic::Random;

TEST_CASE("chance is the published SplitMix64", "[device]") {
  Random random{1234567};
  for (const std::uint64_t expected :
       {6457827717110365317U, 3203168211198807973U, 9817491932198370423U, 4593380528125082431U,
        16408922859458223821U}) {
    CHECK(random.next() == expected);
  }
}

TEST_CASE("certain and impossible are exact", "[device]") {
  Random random{7};
  for (int i = 0; i < 1000; ++i) {
    CHECK_FALSE(random.chance(0));
    CHECK(random.chance(1));
    const double unit = random.unit();
    CHECK(unit >= 0);
    CHECK(unit < 1);
  }
}

TEST_CASE("numbers below a bound are spread evenly", "[device]") {
  Random random{42};
  CHECK(random.below(0) == 0);
  CHECK(random.below(1) == 0);
  std::array<int, 10> seen{};
  for (int i = 0; i < 10000; ++i) ++seen.at(random.below(10));
  for (const int count : seen) {
    CHECK(count > 850);  // 5 standard deviations
    CHECK(count < 1150);
  }
  bool above_32_bits = false;
  for (int i = 0; i < 100; ++i)
    above_32_bits = above_32_bits || random.below(1ULL << 40) >> 32 != 0;
  CHECK(above_32_bits);
}
