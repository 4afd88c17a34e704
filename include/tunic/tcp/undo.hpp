// SPDX-License-Identifier: BSL-1.0
#pragma once

// Whether a retransmission was needless: the acknowledgement carries a timestamp from before it
// (Eifel, RFC 3522), or each thing that was sent again has been reported as a duplicate (RFC 3708).
// F-RTO (RFC 5682) is in tcp/recovery.hpp.

#include <tunic/wire/seq.hpp>

#include <cstdint>

namespace tunic::inline v0 {

class Undo {
 public:
  /// The window is reduced: from now on it may turn out to have been for nothing.
  void start(SeqNum una, bool answers_pending) noexcept {
    armed_ = true;
    marker_ = highest_ = una;
    // What was sent again before can't be told apart from what will be.
    exact_ = !answers_pending;
    sent_ = 0;
    unexplained_ = 0;
  }
  void stop() noexcept { *this = {}; }
  [[nodiscard]] bool armed() const noexcept { return armed_; }

  /// A segment that ends at `end` was sent again, at this timestamp, and before at `original`.
  void sent_again(SeqNum end, std::uint32_t original, std::uint32_t timestamp) noexcept {
    if (!armed_) return;
    if (sent_++ == 0) {
      original_timestamp_ = original;
      first_timestamp_ = timestamp;
    }
    if (highest_ < end) highest_ = end;
    ++unexplained_;
  }

  /// So many segments that end at `end` were reported as duplicates. Above what was sent again they
  /// are the network's.
  void duplicate(SeqNum end, std::uint32_t segments) noexcept {
    if (armed_ && marker_ < end && end <= highest_)
      unexplained_ -= segments < unexplained_ ? segments : unexplained_;
  }

  /// Whether duplicates account for all that was sent again.
  [[nodiscard]] bool all_duplicates() const noexcept {
    return armed_ && exact_ && sent_ != 0 && unexplained_ == 0;
  }
  /// Whether an echo in an acknowledgement of new data is older than the first retransmission; one
  /// that is older than the original as well comes from a path that strips timestamps.
  [[nodiscard]] bool older(std::uint32_t echo) const noexcept {
    return armed_ && sent_ != 0 && static_cast<std::int32_t>(echo - first_timestamp_) < 0 &&
           static_cast<std::int32_t>(echo - original_timestamp_) >= 0;
  }

 private:
  SeqNum marker_;
  SeqNum highest_;
  std::uint32_t original_timestamp_ = 0;
  std::uint32_t first_timestamp_ = 0;
  std::uint32_t sent_ = 0;
  std::uint32_t unexplained_ = 0;
  bool armed_ = false;
  bool exact_ = true;
};

}  // namespace tunic::inline v0
