// SPDX-License-Identifier: BSL-1.0
#pragma once

// NewReno: half of the window on a loss, one segment more each round trip (RFC 5681 3.1, RFC 6582),
// by bytes acknowledged, so that neither delayed nor split acknowledgements matter.

#include <tunic/tcp/congestion.hpp>
#include <tunic/tcp/congestion_window.hpp>
#include <tunic/tcp/window_controller.hpp>
#include <tunic/tcp/window_validation.hpp>

#include <algorithm>
#include <cstdint>

namespace tunic::inline v0 {

/// RFC 5681's congestion avoidance. It shows what a curve has to provide.
class RenoCurve {
 public:
  /// RFC 5681 3.1, equation 4.
  static std::uint32_t reduced(std::uint32_t flight) noexcept { return flight / 2; }

  /// By how much the window is to grow for an acknowledgement.
  [[nodiscard]] std::uint32_t growth(const AckSample& sample, std::uint32_t cwnd) noexcept {
    if (!sample.window_limited) return 0;
    // RFC 5681 3.1: one SMSS per window of acknowledged bytes.
    acked_ += std::min(sample.bytes_acked, cwnd);
    if (acked_ < cwnd) return 0;
    acked_ -= cwnd;
    return sample.mss;
  }
  /// Slow start has taken over.
  void end() noexcept { acked_ = 0; }
  /// Before the reduction of `cwnd`.
  void on_congestion(std::uint32_t /*cwnd*/) noexcept { acked_ = 0; }
  void on_timeout(std::uint32_t /*cwnd*/) noexcept { acked_ = 0; }
  void on_idle(Duration) noexcept {}

 private:
  std::uint32_t acked_ = 0;  // bytes since the last growth
};

/// RFC 6582 with policies of one's own.
template <class SlowStart = StandardSlowStart, class Validation = WindowValidation>
using BasicNewReno = WindowController<RenoCurve, SlowStart, Validation>;
using NewReno = BasicNewReno<>;

static_assert(CongestionControl<NewReno>);

}  // namespace tunic::inline v0
