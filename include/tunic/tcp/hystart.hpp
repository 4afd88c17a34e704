// SPDX-License-Identifier: BSL-1.0
#pragma once

// HyStart++ (RFC 9406): a first slow start that ends before queues overflow. When the round trips
// of a round are clearly longer than those of the round before, it goes on at a quarter of the pace
// (conservative slow start), and after five rounds of that congestion avoidance takes over. What
// tcp/ack_train.hpp learns does the same, earlier.

#include <tunic/tcp/ack_train.hpp>
#include <tunic/tcp/congestion.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

namespace tunic::inline v0 {

class HyStart {
 public:
  /// Each acknowledgement of the first slow start; those of later ones are not to be shown.
  void on_ack(const AckSample& sample) noexcept {
    train_.on_ack(sample);
    if (sample.round_start) begin_round();
    if (sample.rtt.count() < 0) return;
    round_min_ = std::min(round_min_, in_microseconds(sample.rtt));
    if (samples_ < enough_samples) ++samples_;
    if (samples_ < enough_samples) return;
    if (!conservative()) {
      if (last_min_ == none || round_min_ < last_min_ + threshold()) return;
      baseline_ = round_min_;
      rounds_ = 0;
    } else if (round_min_ < baseline_) {
      baseline_ = none;  // the delay was jitter
    }
  }

  [[nodiscard]] std::uint32_t growth(const AckSample& sample) const noexcept {
    // RFC 9406 4.3: L is 8 without pacing, and unlimited with it.
    const std::uint64_t most = sample.paced ? sample.bytes_acked : 8 * std::uint64_t{sample.mss};
    const auto bytes =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(sample.bytes_acked, most));
    // RFC 9406 4.3: CSS_GROWTH_DIVISOR
    return conservative() || train_.is_long() ? bytes / 4 : bytes;
  }

  [[nodiscard]] bool finished() const noexcept {
    return train_.full() || (conservative() && rounds_ >= last_round);
  }
  [[nodiscard]] bool conservative() const noexcept { return baseline_ != none; }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  // RFC 9406 4.3: N_RTT_SAMPLE, CSS_ROUNDS.
  static constexpr std::uint8_t enough_samples = 8;
  static constexpr std::uint8_t last_round = 5;

  // RFC 9406 4.2. The part of a round in which the conservative phase began counts as one.
  void begin_round() noexcept {
    last_min_ = round_min_;
    round_min_ = none;
    samples_ = 0;
    if (conservative()) ++rounds_;
  }

  // RFC 9406 4.2, 4.3: an eighth of the last round's shortest, between 4 and 16 ms.
  [[nodiscard]] std::uint32_t threshold() const noexcept {
    return std::clamp<std::uint32_t>(last_min_ / 8, 4000, 16000);
  }

  // Up to half an hour, so that sums stay below `none`.
  static std::uint32_t in_microseconds(Duration rtt) noexcept {
    return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                          std::min<Duration>(rtt, std::chrono::minutes{30}))
                                          .count());
  }

  std::uint32_t last_min_ = none;   // microseconds
  std::uint32_t round_min_ = none;  // of the round under way
  std::uint32_t baseline_ = none;   // set in the conservative phase
  std::uint8_t samples_ = 0;
  std::uint8_t rounds_ = 0;
  AckTrain train_;
};

}  // namespace tunic::inline v0
