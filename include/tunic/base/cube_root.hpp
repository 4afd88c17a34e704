// SPDX-License-Identifier: BSL-1.0
#pragma once

// The integer cube root: the same on every compiler and machine, which `std::cbrt` is not.

#include <bit>
#include <cstdint>

namespace tunic::inline v0 {

/// The largest integer whose cube is at most `n`. Newton's method from above: a few divisions.
[[nodiscard]] constexpr std::uint32_t cube_root(std::uint64_t n) noexcept {
  if (n == 0) return 0;
  // 2^ceil(bits / 3) is above the root, and from above the steps go down until they arrive.
  std::uint64_t root = std::uint64_t{1} << ((std::bit_width(n) + 2) / 3);
  for (;;) {
    const std::uint64_t next = (2 * root + n / (root * root)) / 3;
    if (next >= root) return static_cast<std::uint32_t>(root);
    root = next;
  }
}

}  // namespace tunic::inline v0
