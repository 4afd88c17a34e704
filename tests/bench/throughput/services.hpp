// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the client and all servers of the throughput benchmark agree on.

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace bench {

inline constexpr std::uint16_t echo_port = 7;
inline constexpr std::uint16_t discard_port = 9;
inline constexpr std::uint16_t source_port = 19;

/// What one call writes or reads at most.
inline constexpr std::size_t block_bytes = std::size_t{256} * 1024;

/// What may be under way where nothing else decides: it fits a second-level cache. With more of it
/// the same bytes pass much more slowly.
inline constexpr std::uint32_t window_bytes = 512 * 1024;

/// Bytes of a stream, which repeat themselves after a prime number of them: no segment is like the
/// next one.
class Pattern {
 public:
  [[nodiscard]] std::span<const char> at(std::uint64_t offset) const noexcept {
    return std::span{bytes_}.subspan(static_cast<std::size_t>(offset % period), block_bytes);
  }

 private:
  static constexpr std::size_t period = 65'521;

  static std::vector<char> make() {
    std::vector<char> bytes(period + block_bytes);
    std::minstd_rand chance;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = i < period ? static_cast<char>(chance()) : bytes[i - period];
    return bytes;
  }

  std::vector<char> bytes_ = make();
};

}  // namespace bench
