// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a congestion controller is, and NewReno's window arithmetic (RFC 5681, RFC 6928). A
// controller is a value inside the control block: it is told what happened and says how much may be
// in flight. Which bytes are lost, and when to retransmit them, is not its business
// (tcp/recovery.hpp).

#include <tunic/base/time.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>

namespace tunic::inline v0 {

/// What one acknowledgement of new data said.
struct AckSample {
  Instant now;
  std::uint32_t bytes_acked = 0;
  std::uint32_t flight_before = 0;  ///< Bytes in flight before this acknowledgement.
  std::uint32_t mss = 0;            ///< Largest payload of a segment now.
  Duration rtt{-1};                 ///< Of this acknowledgement; negative when it gave no sample.
};

/// The sender's window in bytes. All calls are O(1) and do not allocate.
template <class C>
concept CongestionControl = std::default_initializable<C> &&
    requires(C c, const C constant, AckSample sample, std::uint32_t bytes, bool flag) {
  { c.start(bytes, bytes) }
  noexcept;  // (mss, initial window in bytes)
  { c.on_ack(sample) }
  noexcept;  // new data acknowledged, outside of recovery
  { c.on_recovery(bytes, bytes) }
  noexcept;  // (flight, mss) a loss was detected: reduce once
  { c.on_recovery_end(bytes, bytes) }
  noexcept;  // (flight, mss) all that was in flight then is acknowledged
  { c.on_timeout(bytes, bytes, flag) }
  noexcept;  // (flight, mss, first time-out of this segment)
  { c.on_idle(bytes) }
  noexcept;  // (initial window) idle for longer than the RTO
  { constant.cwnd() }
  noexcept->std::same_as<std::uint32_t>;
  { constant.ssthresh() }
  noexcept->std::same_as<std::uint32_t>;
};

/// RFC 5681's slow start and congestion avoidance, by bytes (appropriate byte counting with L = 1
/// SMSS).
class NewReno {
 public:
  void start(std::uint32_t /*mss*/, std::uint32_t initial_window) noexcept {
    cwnd_ = initial_window;
    ssthresh_ = std::numeric_limits<std::uint32_t>::max();  // RFC 5681 3.1: arbitrarily high
  }

  void on_ack(const AckSample& sample) noexcept {
    // A window that was not used says nothing about the path (RFC 7661's reason, in its simplest
    // form).
    if (sample.flight_before + sample.mss < cwnd_) return;
    if (cwnd_ < ssthresh_) {
      grow(std::min(sample.bytes_acked, sample.mss));  // RFC 5681 3.1, equation 2
      return;
    }
    acked_ += sample.bytes_acked;
    if (acked_ >= cwnd_) {  // RFC 5681 3.1: one SMSS per window of acknowledged bytes
      acked_ -= cwnd_;
      grow(sample.mss);
    }
  }

  void on_recovery(std::uint32_t flight, std::uint32_t mss) noexcept {
    ssthresh_ = half(flight, mss);
    cwnd_ = ssthresh_;
    acked_ = 0;
  }

  void on_recovery_end(std::uint32_t flight, std::uint32_t mss) noexcept {
    cwnd_ = std::min(ssthresh_, std::max(flight, mss) + mss);  // RFC 6582 3.2, step 3, first form
  }

  void on_timeout(std::uint32_t flight, std::uint32_t mss, bool first) noexcept {
    if (first) ssthresh_ = half(flight, mss);  // RFC 5681 3.1, equation 4; once per segment
    cwnd_ = mss;
    acked_ = 0;
  }

  void on_idle(std::uint32_t initial_window) noexcept { cwnd_ = std::min(cwnd_, initial_window); }

  [[nodiscard]] std::uint32_t cwnd() const noexcept { return cwnd_; }
  [[nodiscard]] std::uint32_t ssthresh() const noexcept { return ssthresh_; }

 private:
  static std::uint32_t half(std::uint32_t flight, std::uint32_t mss) noexcept {
    return std::max(flight / 2, 2 * mss);
  }
  void grow(std::uint32_t bytes) noexcept {
    cwnd_ =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(std::uint64_t{cwnd_} + bytes, 1U << 30));
  }

  std::uint32_t cwnd_ = 0;
  std::uint32_t ssthresh_ = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t acked_ = 0;  // bytes acknowledged in avoidance since the last growth
};

static_assert(CongestionControl<NewReno>);

}  // namespace tunic::inline v0
