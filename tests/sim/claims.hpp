// SPDX-License-Identifier: BSL-1.0
#pragma once

// Measures of a transfer, and what the theory of congestion control expects of one.

#include <tunic/base/time.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tunic::sim {

inline constexpr double mtu_bytes = 1500;
inline constexpr double mss_bytes = 1448;  // with timestamps

/// What a link can carry for programs, in bits per second: its rate without headers.
inline double payload_rate(double link_bits_per_second) {
  return link_bits_per_second * mss_bytes / mtu_bytes;
}

/// How evenly a sum is shared: 1 when all have the same, 1/n when one has it all (Jain, Chiu and
/// Hawe 1984). Nothing at all is shared evenly.
inline double jain_index(std::span<const double> shares) {
  double sum = 0, squares = 0;
  for (const double share : shares) {
    sum += share;
    squares += share * share;
  }
  return squares == 0 ? 1 : sum * sum / (static_cast<double>(shares.size()) * squares);
}

/// Bytes that one flow delivered from interval `first` to before `last`, of its sums at the end of
/// each.
inline double delivered_between(const std::vector<std::uint64_t>& sums, std::size_t first,
                                std::size_t last) {
  const auto until = [&](std::size_t end) {
    return sums.empty() || end == 0 ? 0.0
                                    : static_cast<double>(sums[std::min(end, sums.size()) - 1]);
  };
  return until(last) - until(first);
}

/// RFC 5681's sender that loses one packet in 1/p: the average window in segments (RFC 9438 5.1,
/// AVG_AIMD of equation 7's AIMD with its alpha for Reno's rate, the same as for (1, 0.5)).
inline double reno_window(double loss) { return std::sqrt(3 / (2 * loss)); }

/// CUBIC outside of its Reno-friendly region: the average window in segments (RFC 9438 5.1,
/// equation 8, with C = 0.4 and beta = 0.7).
inline double cubic_window(double loss, Duration rtt) {
  constexpr double c = 0.4, beta = 0.7;
  const double seconds = std::chrono::duration<double>(rtt).count();
  return std::pow(c * (3 + beta) / (4 * (1 - beta)), 0.25) * std::pow(seconds / loss, 0.75);
}

/// What a window carries, in bits of payload per second, but no more than the link does.
inline double rate_of_window(double segments, Duration rtt, double link_bits_per_second) {
  const double seconds = std::chrono::duration<double>(rtt).count();
  return std::min(segments * mss_bytes * 8 / seconds, payload_rate(link_bits_per_second));
}

/// What CUBIC reaches: the larger of its two regions (RFC 9438 4.3).
inline double cubic_rate(double loss, Duration rtt, double link_bits_per_second) {
  return rate_of_window(std::max(cubic_window(loss, rtt), reno_window(loss)), rtt,
                        link_bits_per_second);
}

}  // namespace tunic::sim
