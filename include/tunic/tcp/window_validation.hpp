// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a congestion window is worth that was not used. `WindowValidation` is RFC 7661: a sender
// that pauses keeps its window for five minutes, but a loss then is answered from what was in use.
// `RestartAfterIdle` is RFC 5681 4.1: after an idle time-out it starts anew. That a window grows
// only while it holds the sender back (`AckSample::window_limited`) is the controllers' own rule.
// The limit on bursts (RFC 7661 4.4.2) belongs to the output.

#include <tunic/tcp/congestion.hpp>
#include <tunic/tcp/congestion_window.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace tunic::inline v0 {

/// RFC 5681 4.1: no more than the initial window after an idle time of more than the time-out.
/// It shows what a validation has to provide.
class RestartAfterIdle {
 public:
  void start(std::uint32_t /*initial_window*/) noexcept {}
  /// Each acknowledgement.
  void on_ack(const AckSample&, CongestionWindow&) noexcept {}
  /// What a reduction is to start from instead of the window, in bytes: what was in use, when that
  /// was so little that the window is not valid.
  [[nodiscard]] std::optional<std::uint32_t> on_congestion(const CongestionEvent&,
                                                           const CongestionWindow&) noexcept {
    return std::nullopt;
  }
  /// The window after a recovery that began with a window that was not valid.
  [[nodiscard]] std::optional<std::uint32_t> on_recovery_end() noexcept { return std::nullopt; }
  /// What was measured is void.
  void reset() noexcept {}
  void on_idle(Duration idle, Duration rto, std::uint32_t initial_window,
               CongestionWindow& window) noexcept {
    if (idle > rto) window.cwnd = std::min(window.cwnd, initial_window);
  }
};

/// RFC 7661: pipeACK is what the path has lately delivered in a round trip. A window that is more
/// than twice as large is not valid.
class WindowValidation {
 public:
  void start(std::uint32_t initial_window) noexcept { initial_window_ = initial_window; }

  void on_ack(const AckSample& sample, CongestionWindow& window) noexcept {
    if (sample.in_recovery) {  // RFC 7661 4.2: no measurement then
      in_use_ -= std::min(in_use_, sample.bytes_lost);
      return;
    }
    const std::uint32_t now = in_milliseconds(sample.now);
    measure(sample, now);
    if (valid(window)) {
      valid_at_ = now;
    } else if (now - valid_at_ >= in_milliseconds(valid_period)) {
      shrink(window, initial_window_);
      valid_at_ = now;
    }
  }

  [[nodiscard]] std::optional<std::uint32_t> on_congestion(
      const CongestionEvent& event, const CongestionWindow& window) noexcept {
    const bool was_valid = valid(window);
    in_use_ = std::max(pipe_ack(), event.flight);
    reset();
    recovering_ = !was_valid;
    return was_valid ? std::nullopt : std::optional{in_use_};
  }

  [[nodiscard]] std::optional<std::uint32_t> on_recovery_end() noexcept {
    if (!std::exchange(recovering_, false)) return std::nullopt;
    return in_use_ / 2;  // RFC 7661 4.4.1: what was lost is subtracted by now
  }

  void reset() noexcept {
    maxima_ = {};
    round_bytes_ = 0;
    measuring_ = measured_ = recovering_ = false;
  }

  void on_idle(Duration idle, Duration /*rto*/, std::uint32_t initial_window,
               CongestionWindow& window) noexcept {
    // A window of 2^30 is down to one byte after thirty periods.
    for (auto periods = std::min<Duration::rep>(idle / valid_period, 30); periods > 0; --periods) {
      shrink(window, initial_window);
      valid_at_ += in_milliseconds(valid_period);
    }
  }

  /// The phase of RFC 7661 4.3. Until something was measured the window counts as valid. In slow
  /// start it doubles while a round is measured, and may be four times what the last one gave.
  [[nodiscard]] bool valid(const CongestionWindow& window) const noexcept {
    return !measured_ || pipe_ack() >= window.cwnd / (window.slow_starting() ? 4 : 2);
  }
  /// Bytes a round trip, 0 before a measurement and after a long pause.
  [[nodiscard]] std::uint32_t pipe_ack() const noexcept {
    return std::max({round_bytes_, maxima_[0], maxima_[1]});
  }

 private:
  // RFC 7661 5: five minutes.
  static constexpr Duration valid_period = std::chrono::minutes{5};

  // RFC 7661 4.5.1: the largest sample of max(3 RTT, 1 s), kept as the largest of each half.
  void measure(const AckSample& sample, std::uint32_t now) noexcept {
    if (sample.round_start) {
      measured_ = measured_ || measuring_;
      measuring_ = true;
      maxima_[0] = std::max(maxima_[0], round_bytes_);
      round_bytes_ = 0;
    }
    const std::uint32_t half = std::max(3 * in_milliseconds(sample.srtt), 1000U) / 2;
    if (now - half_began_ >= half) {
      maxima_ = {0, now - half_began_ < 2 * half ? maxima_[0] : 0};
      half_began_ = now;
    }
    if (measuring_) round_bytes_ += sample.bytes_delivered;
  }

  // RFC 7661 4.4.3, except that it never makes a window larger.
  static void shrink(CongestionWindow& window, std::uint32_t initial_window) noexcept {
    const std::uint32_t cwnd = window.cwnd;
    window.ssthresh = std::max(window.ssthresh, cwnd - cwnd / 4);
    window.cwnd = std::max(cwnd / 2, std::min(cwnd, initial_window));
  }

  std::uint32_t round_bytes_ = 0;          // delivered in the round under way
  std::array<std::uint32_t, 2> maxima_{};  // of the rounds of this half period and the last
  std::uint32_t half_began_ = 0;           // milliseconds
  std::uint32_t valid_at_ = 0;             // milliseconds
  std::uint32_t in_use_ = 0;               // at the last reduction, less what was lost since
  std::uint32_t initial_window_ = 0;
  bool measuring_ = false;   // a whole round is being measured
  bool measured_ = false;    // and at least one was
  bool recovering_ = false;  // from a window that was not valid
};

}  // namespace tunic::inline v0
