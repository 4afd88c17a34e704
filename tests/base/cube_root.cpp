// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/base/cube_root.hpp>

#include <limits>

using namespace tunic;

TEST_CASE("a cube root is exact for cubes and rounds down between them", "[base][cube_root]") {
  static_assert(cube_root(27) == 3);
  CHECK(cube_root(0) == 0);
  // Every root up to 2000, then in growing steps to the largest whose cube has 64 bits.
  constexpr std::uint64_t largest = 2'642'245;
  for (std::uint64_t root = 1; root <= largest; root += 1 + root / 2000) {
    const std::uint64_t cube = root * root * root;
    if (cube_root(cube - 1) != root - 1 || cube_root(cube) != root || cube_root(cube + 1) != root) {
      FAIL("around the cube of " << root);
    }
  }
  CHECK(cube_root(largest * largest * largest - 1) == largest - 1);
  CHECK(cube_root(std::numeric_limits<std::uint64_t>::max()) == largest);
}
