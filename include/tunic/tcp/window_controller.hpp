// SPDX-License-Identifier: BSL-1.0
#pragma once

// The frame of the controllers that work with a window: slow start, then growth along a curve; a
// reduction once per window of data; one segment after a time-out; and the state as it was when a
// reduction turns out to have been wrong. RFC 5681 3.1, with the refinements that NewReno and CUBIC
// share: no growth of a window that is not used (RFC 9438 5.8, RFC 7661 4.4), RFC 9937 6.4.

#include <tunic/tcp/congestion.hpp>
#include <tunic/tcp/congestion_window.hpp>
#include <tunic/tcp/window_validation.hpp>

#include <algorithm>
#include <cstdint>

namespace tunic::inline v0 {

/// `Curve` is congestion avoidance: `RenoCurve` (tcp/new_reno.hpp) or `CubicCurve` (tcp/cubic.hpp).
/// `SlowStart` is the first slow start: `StandardSlowStart` or `HyStart`; later ones are standard.
/// `Validation` judges windows that were not used: `WindowValidation` or `RestartAfterIdle`.
template <class Curve, class SlowStart, class Validation>
class WindowController {
 public:
  void start(std::uint32_t /*mss*/, std::uint32_t initial_window) noexcept {
    *this = {};
    state_.window.cwnd = initial_window;
    validation_.start(initial_window);
  }

  void on_ack(const AckSample& sample) noexcept {
    CongestionWindow& window = state_.window;
    validation_.on_ack(sample, window);
    if (sample.in_recovery) return;  // RFC 9937 governs what is sent
    if (sample.ece) return;          // RFC 3168 6.1.2: no growth
    if (!window.slow_starting()) {
      window.grow(state_.curve.growth(sample, window.cwnd));
      return;
    }
    state_.curve.end();
    const bool first = window.first_slow_start();
    if (first) slow_start_.on_ack(sample);
    if (sample.window_limited) {
      window.grow(first ? slow_start_.growth(sample) : StandardSlowStart{}.growth(sample));
    }
    if (first && slow_start_.finished()) window.ssthresh = window.cwnd;
  }

  void on_congestion(const CongestionEvent& event) noexcept {
    CongestionWindow& window = state_.window;
    saved_ = state_;
    if (const auto in_use = validation_.on_congestion(event, window)) {
      state_.curve.on_congestion(*in_use);
      reduce_to(*in_use / 2, event);  // RFC 7661 4.4.1, whatever the curve
    } else {
      state_.curve.on_congestion(window.cwnd);
      reduce_to(Curve::reduced(event.flight), event);
    }
  }

  /// The window has been ssthresh since `on_congestion` (RFC 9937 6.4); only one that was not
  /// valid then has something to pay.
  void on_recovery_end(std::uint32_t /*flight*/, std::uint32_t mss) noexcept {
    if (const auto window = validation_.on_recovery_end()) {
      state_.window = {.cwnd = std::max(*window, mss), .ssthresh = std::max(*window, 2 * mss)};
    }
  }

  void on_timeout(const CongestionEvent& event, bool first) noexcept {
    CongestionWindow& window = state_.window;
    if (first) {  // RFC 5681 3.1, equation 4: once per segment
      saved_ = state_;
      state_.curve.on_timeout(window.cwnd);
      window.ssthresh = std::max(Curve::reduced(event.flight), 2 * event.mss);
    }
    window.cwnd = event.mss;
    validation_.reset();
  }

  /// RFC 9438 4.9.2: unless the window has outgrown by itself what was lost.
  void on_spurious() noexcept {
    if (state_.window.cwnd <= saved_.window.cwnd) state_ = saved_;
    saved_ = {};
    validation_.reset();
  }

  void on_idle(Duration idle, Duration rto, std::uint32_t initial_window) noexcept {
    validation_.on_idle(idle, rto, initial_window, state_.window);
    state_.curve.on_idle(idle);
  }

  [[nodiscard]] std::uint32_t cwnd() const noexcept { return state_.window.cwnd; }
  [[nodiscard]] std::uint32_t ssthresh() const noexcept { return state_.window.ssthresh; }
  [[nodiscard]] std::uint64_t pacing_rate() const noexcept { return 0; }

 private:
  struct State {
    CongestionWindow window;
    [[no_unique_address]] Curve curve;
  };

  // RFC 5681 3.1, RFC 9438 4.6: a mark can take the window further down than a loss. More may be in
  // flight than the window allows, and congestion never widens it.
  void reduce_to(std::uint32_t bytes, const CongestionEvent& event) noexcept {
    const bool mark = event.cause == CongestionEvent::Cause::ecn;
    CongestionWindow& window = state_.window;
    window.ssthresh = std::max(bytes, 2 * event.mss);
    window.cwnd = std::min(window.cwnd, mark ? std::max(bytes, event.mss) : window.ssthresh);
  }

  State state_;
  State saved_;  // before the last reduction
  [[no_unique_address]] SlowStart slow_start_;
  [[no_unique_address]] Validation validation_;
};

}  // namespace tunic::inline v0
