// SPDX-License-Identifier: BSL-1.0
#pragma once

// The round-trip time estimate and the retransmission time-out of RFC 6298, in nanoseconds. The
// back-off is kept apart from the estimate, so that a new sample ends it (RFC 6298 5, last
// paragraph).

#include <tunic/base/time.hpp>
#include <tunic/core/options.hpp>

#include <algorithm>
#include <cstdint>

namespace tunic::inline v0 {

class RttEstimator {
 public:
  /// Takes one sample, which must not be of an ambiguous retransmission (RFC 6298 3).
  void sample(Duration rtt) noexcept {
    rtt = std::max(rtt, Duration{0});
    if (!has_sample_) {
      srtt_ = rtt;  // RFC 6298 2.2
      rttvar_ = rtt / 2;
      has_sample_ = true;
    } else {
      const Duration error = rtt > srtt_ ? rtt - srtt_ : srtt_ - rtt;  // RFC 6298 2.3, old SRTT
      rttvar_ += (error - rttvar_) / 4;
      srtt_ += (rtt - srtt_) / 8;
    }
    backoff_ = 0;
  }

  /// The time-out now, back-off included, within the configured bounds.
  [[nodiscard]] Duration rto(const TcpConfig& config) const noexcept {
    Duration base = std::max(initial_, config.initial_rto);
    if (has_sample_) {
      // RFC 6298 2.3 and 3: the variance term is never below the clock's granularity.
      base = srtt_ + std::max<Duration>(granularity, 4 * rttvar_);
      base = std::max(base, config.min_rto);
    }
    base = std::min(base, config.max_rto);
    for (unsigned i = 0; i < backoff_ && base < config.max_rto; ++i) base *= 2;
    return std::min(base, config.max_rto);
  }

  /// Doubles the time-out until the next sample (RFC 6298 5.5).
  void back_off() noexcept {
    if (backoff_ < 32) ++backoff_;
  }
  /// Ends the back-off without a sample; only where the protocol says so (a new persist period).
  void reset_backoff() noexcept { backoff_ = 0; }
  /// A handshake that needed a retransmission starts data with at least 3 s (RFC 6298 5.7).
  void raise_initial() noexcept {
    initial_ = std::chrono::seconds{3};
    backoff_ = 0;
  }

  [[nodiscard]] bool has_sample() const noexcept { return has_sample_; }
  [[nodiscard]] Duration srtt() const noexcept { return srtt_; }
  [[nodiscard]] Duration rttvar() const noexcept { return rttvar_; }
  [[nodiscard]] unsigned backoff() const noexcept { return backoff_; }

 private:
  static constexpr Duration granularity =
      std::chrono::milliseconds{1};  // G of RFC 6298: TSval ticks in 1 ms
  Duration srtt_{};
  Duration rttvar_{};
  Duration initial_{};
  bool has_sample_ = false;
  std::uint8_t backoff_ = 0;
};

}  // namespace tunic::inline v0
