// SPDX-License-Identifier: BSL-1.0
#pragma once

// CUBIC (RFC 9438): after a loss the window follows a cubic function of time, flat around the size
// at which the loss happened, and never grows slower than Reno's would. The first slow start is
// HyStart++'s (RFC 9406). Integers only, so that every machine computes the same.

#include <tunic/base/cube_root.hpp>
#include <tunic/tcp/congestion.hpp>
#include <tunic/tcp/congestion_window.hpp>
#include <tunic/tcp/hystart.hpp>
#include <tunic/tcp/window_controller.hpp>
#include <tunic/tcp/window_validation.hpp>

#include <algorithm>
#include <cstdint>

namespace tunic::inline v0 {

/// RFC 9438's congestion avoidance. Windows are bytes, times milliseconds.
class CubicCurve {
 public:
  /// RFC 9438 4.6: beta is 0.7.
  static std::uint32_t reduced(std::uint32_t flight) noexcept {
    return static_cast<std::uint32_t>(std::uint64_t{flight} * 7 / 10);
  }

  [[nodiscard]] std::uint32_t growth(const AckSample& sample, std::uint32_t cwnd) noexcept {
    advance(sample, cwnd);
    if (!sample.window_limited) return 0;
    const std::uint32_t acked = std::min(sample.bytes_acked, cwnd);
    // RFC 9438 4.3: alpha is 3 (1 - beta) / (1 + beta) = 9 / 17 until the window of the last
    // reduction is reached.
    grow_estimate(w_est_ < prior_ ? (9 * sample.mss + 8) / 17 : sample.mss, acked, cwnd);
    if (at(time_, sample.mss) < w_est_) return w_est_ - std::min(w_est_, cwnd);
    // RFC 9438 4.2, 4.4, 4.5. What rounding takes stays in the distance to the target.
    const std::uint64_t target = std::clamp<std::uint64_t>(
        at(time_ + in_milliseconds(sample.srtt), sample.mss), cwnd, std::uint64_t{cwnd} + cwnd / 2);
    return static_cast<std::uint32_t>((target - cwnd) * acked / cwnd);
  }

  void end() noexcept { w_est_ = 0; }

  void on_congestion(std::uint32_t cwnd) noexcept {
    // RFC 9438 4.7, fast convergence: (1 + beta) / 2 is 0.85.
    w_max_ = cwnd < w_max_ ? static_cast<std::uint32_t>(std::uint64_t{cwnd} * 17 / 20) : cwnd;
    prior_ = cwnd;
    end();
  }

  /// RFC 9438 4.8: whatever W_max was, the next epoch starts on the plateau.
  void on_timeout(std::uint32_t cwnd) noexcept {
    w_max_ = 0;
    prior_ = cwnd;
    end();
  }

  /// RFC 9438 5.8: a pause is not in t.
  void on_idle(Duration idle) noexcept { seen_ += in_milliseconds(idle); }

 private:
  // Begins an epoch, or moves t on; not by time in which the program sent too little (RFC
  // 9438 4.2). Without a loss before it, or above the size of the last one, the epoch begins on
  // its plateau (4.8, 4.10).
  void advance(const AckSample& sample, std::uint32_t cwnd) noexcept {
    const std::uint32_t now = in_milliseconds(sample.now);
    if (w_est_ == 0) {
      w_est_ = cwnd;
      w_max_ = std::max(w_max_, cwnd);
      // K = cbrt((W_max - cwnd) / C) with C = 0.4 segments / s^3, equation 2.
      k_ = cube_root(std::uint64_t{w_max_ - cwnd} * 2'500'000'000 / sample.mss);
      time_ = 0;
    } else if (sample.window_limited) {
      time_ += now - seen_;
    }
    seen_ = now;
  }

  // By `per_window` bytes for each window acknowledged.
  void grow_estimate(std::uint32_t per_window, std::uint32_t acked, std::uint32_t cwnd) noexcept {
    const std::uint64_t product = std::uint64_t{per_window} * acked + rest_;
    rest_ = static_cast<std::uint32_t>(product % cwnd);
    w_est_ = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(w_est_ + product / cwnd, CongestionWindow::largest));
  }

  // W_cubic(t) = C (t - K)^3 + W_max, equation 1.
  [[nodiscard]] std::uint64_t at(std::uint32_t time, std::uint32_t mss) const noexcept {
    // Twenty minutes from the plateau any window is at its bound.
    const std::uint64_t distance =
        std::min<std::uint32_t>(time < k_ ? k_ - time : time - k_, 1U << 20);
    const std::uint64_t cube = distance * distance * distance;
    constexpr std::uint64_t per_segment = 2'500'000'000;  // ms^3 / C
    const std::uint64_t bytes = cube / per_segment * mss + cube % per_segment * mss / per_segment;
    if (time < k_) return w_max_ - std::min<std::uint64_t>(w_max_, bytes);
    return w_max_ + bytes;
  }

  std::uint32_t w_max_ = 0;
  std::uint32_t prior_ = 0;  // cwnd when ssthresh was last set
  std::uint32_t w_est_ = 0;  // Reno's window; 0: the next acknowledgement begins an epoch
  std::uint32_t k_ = 0;      // ms
  std::uint32_t time_ = 0;   // ms: t
  std::uint32_t seen_ = 0;   // ms: the acknowledgement up to which t counts
  std::uint32_t rest_ = 0;   // of the division that grew w_est_
};

/// RFC 9438 with policies of one's own: `BasicCubic<StandardSlowStart>` is without HyStart++.
template <class SlowStart = HyStart, class Validation = WindowValidation>
using BasicCubic = WindowController<CubicCurve, SlowStart, Validation>;
using Cubic = BasicCubic<>;

static_assert(CongestionControl<Cubic>);

}  // namespace tunic::inline v0
