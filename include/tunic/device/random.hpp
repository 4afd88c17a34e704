// SPDX-License-Identifier: BSL-1.0
#pragma once

// Reproducible chance for simulated faults: the same seed gives the same decisions with every
// compiler and on every machine, which the distributions of <random> do not promise. Not for
// secrets.

#include <cstdint>

namespace tunic::inline v0 {

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014):
/// eight bytes of state, any seed is good, period 2^64.
class Random {
 public:
  constexpr explicit Random(std::uint64_t seed) noexcept : state_{seed} {}

  /// 64 uniform bits.
  constexpr std::uint64_t next() noexcept {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  /// Uniform in [0, 1), a multiple of 2^-53.
  constexpr double unit() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }

  /// True with the given probability: never for 0 or less, always for 1 or more.
  constexpr bool chance(double probability) noexcept { return unit() < probability; }

  /// Uniform in [0, bound); 0 for 0. The bias is below bound / 2^53.
  constexpr std::uint64_t below(std::uint64_t bound) noexcept {
    const auto scaled = static_cast<std::uint64_t>(unit() * static_cast<double>(bound));
    return scaled < bound ? scaled : bound - (bound > 0 ? 1 : 0);
  }

 private:
  std::uint64_t state_;
};

}  // namespace tunic::inline v0
