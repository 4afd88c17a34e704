// SPDX-License-Identifier: BSL-1.0
#pragma once

// Proportional rate reduction: in a recovery as much leaves as the reduced window allows, in step
// with what arrives (RFC 9937 6).

#include <algorithm>
#include <cstdint>

namespace tunic::inline v0 {

class Prr {
 public:
  /// A recovery begins; `flight` is RecoverFS, what was not acknowledged in any way before the
  /// acknowledgement that begins it.
  void start(std::uint32_t flight, std::uint32_t ssthresh) noexcept {
    flight_ = std::max(flight, 1U);
    ssthresh_ = ssthresh;
    delivered_ = 0;
    sent_ = 0;
    window_ = 0;
  }

  /// An acknowledgement delivered so many bytes and left `in_flight`; `safe`: it moved SND.UNA and
  /// told of no further loss.
  void acknowledged(std::uint32_t delivered, std::uint32_t in_flight, std::uint32_t mss,
                    bool safe) noexcept {
    delivered_ += delivered;
    std::uint64_t count = 0;
    if (in_flight > ssthresh_) {
      const std::uint64_t share = (delivered_ * ssthresh_ + flight_ - 1) / flight_;
      count = share > sent_ ? share - sent_ : 0;
    } else {
      count = std::max<std::uint64_t>(delivered_ > sent_ ? delivered_ - sent_ : 0, delivered);
      if (safe) count += mss;
      count = std::min<std::uint64_t>(count, ssthresh_ - in_flight);
    }
    if (sent_ == 0) count = std::max<std::uint64_t>(count, mss);  // the fast retransmission
    window_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(in_flight + count, 1U << 30));
  }

  void sent(std::uint32_t bytes) noexcept { sent_ += bytes; }

  /// The congestion window while recovering, in bytes.
  [[nodiscard]] std::uint32_t window() const noexcept { return window_; }
  /// What a peer without SACK can still be credited by its duplicate acknowledgements.
  [[nodiscard]] std::uint32_t credit_left() const noexcept {
    return delivered_ < flight_ ? static_cast<std::uint32_t>(flight_ - delivered_) : 0;
  }

 private:
  std::uint64_t delivered_ = 0;  // prr_delivered
  std::uint64_t sent_ = 0;       // prr_out
  std::uint32_t flight_ = 1;     // RecoverFS
  std::uint32_t ssthresh_ = 0;
  std::uint32_t window_ = 0;
};

}  // namespace tunic::inline v0
