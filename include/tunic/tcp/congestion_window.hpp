// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the controllers that work with a window share: the window with its threshold, and the slow
// start of RFC 5681.

#include <tunic/base/time.hpp>
#include <tunic/tcp/congestion.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

namespace tunic::inline v0 {

/// cwnd and ssthresh in bytes.
struct CongestionWindow {
  static constexpr std::uint32_t unlimited = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint32_t largest = 1U << 30;  ///< RFC 7323 2.3: no window is larger.

  std::uint32_t cwnd = 0;
  std::uint32_t ssthresh = unlimited;  ///< RFC 5681 3.1: arbitrarily high at first.

  /// Deviation: RFC 9438 4.10 has slow start at cwnd = ssthresh too, where each reduction leaves
  /// the window and congestion avoidance is due; RFC 5681 3.1 leaves it open.
  [[nodiscard]] bool slow_starting() const noexcept { return cwnd < ssthresh; }
  /// No congestion has been met yet.
  [[nodiscard]] bool first_slow_start() const noexcept { return ssthresh == unlimited; }

  void grow(std::uint64_t bytes) noexcept {
    cwnd = static_cast<std::uint32_t>(std::min<std::uint64_t>(cwnd + bytes, largest));
  }
};

/// Slow start as in RFC 5681 3.1, equation 2. It shows what a slow start has to provide.
class StandardSlowStart {
 public:
  /// Each acknowledgement of the first slow start.
  void on_ack(const AckSample&) noexcept {}
  /// By how much it lets the window grow.
  [[nodiscard]] std::uint32_t growth(const AckSample& sample) const noexcept {
    return std::min(sample.bytes_acked, sample.mss);
  }
  /// It is better to go on with congestion avoidance.
  [[nodiscard]] bool finished() const noexcept { return false; }
};

/// An instant in half the room: milliseconds modulo 2^32, for differences below seven weeks.
[[nodiscard]] constexpr std::uint32_t in_milliseconds(Duration time) noexcept {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}
[[nodiscard]] constexpr std::uint32_t in_milliseconds(Instant time) noexcept {
  return in_milliseconds(time.time_since_epoch());
}

}  // namespace tunic::inline v0
