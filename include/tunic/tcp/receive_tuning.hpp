// SPDX-License-Identifier: BSL-1.0
#pragma once

// How large a window a path asks for, as its receiver can tell: what the application reads in one
// round trip (dynamic right-sizing: Fisk and Feng, 2001). The round trip is the least that was
// seen, for with a larger one the queue that a larger window makes would ask for one larger still.

#include <tunic/base/time.hpp>
#include <tunic/wire/seq.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace tunic::inline v0 {

class ReceiveTuning {
 public:
  /// The connection is established; the handshake took `rtt`, zero if that is not known. An ACK
  /// would carry the TSval `current`.
  void start(Duration rtt, std::uint32_t current, Instant now) noexcept {
    if (rtt.count() > 0) sample(rtt);
    mark_ = current;
    began_ = now;
  }

  /// With timestamps: an ACK with this TSval has left. Many may carry the same one; the first is
  /// what is echoed.
  void acknowledged(std::uint32_t tsval, Instant now) noexcept {
    if (marked_at_ != never || tsval == mark_) return;
    timestamps_ = 1;
    mark_ = tsval;
    marked_at_ = now;
  }
  /// With timestamps: data has come that echoes `tsval`, at a time when an ACK would carry
  /// `current`.
  void echoed(std::uint32_t tsval, std::uint32_t current, Instant now) noexcept {
    if (marked_at_ == never || static_cast<std::int32_t>(tsval - mark_) < 0) return;
    sample(now - marked_at_);
    mark_ = current;  // not again in this tick
    marked_at_ = never;
  }
  /// Without timestamps: data has come up to `nxt`, and `edge` is what was offered. What lies
  /// beyond that answers an ACK that leaves later.
  void advanced(SeqNum nxt, SeqNum edge, Instant now) noexcept {
    if (marked_at_ != never) {
      if (nxt <= SeqNum{mark_}) return;
      sample(now - marked_at_);
    }
    mark_ = edge.value();
    marked_at_ = now;
  }

  /// The application has read so many bytes.
  void read(std::size_t bytes) noexcept { count(static_cast<std::int64_t>(bytes)); }
  /// Data has come behind a hole: it counts as read...
  void set_aside(std::size_t bytes) noexcept { count(static_cast<std::int64_t>(bytes)); }
  /// ...and no longer once it is there to be read.
  void joined(std::size_t bytes) noexcept { count(-static_cast<std::int64_t>(bytes)); }

  /// More data is about to be taken. Once in a round trip it yields what the window should be at
  /// least, else 0: twice what was read, so that a loss does not stop the flow; four times while
  /// that rises, as in slow start, where a window is wanted that is two doublings ahead.
  [[nodiscard]] std::uint32_t measure(Instant now) noexcept {
    const Duration elapsed = now - began_;
    const Duration round = std::max(rtt(), shortest_round);
    if (rtt_us_ == 0 || elapsed < std::max(round, shortest_measure)) return 0;
    began_ = now;
    if (copied_ <= 0) return 0;
    const auto wanted =
        static_cast<std::uint32_t>(static_cast<std::uint64_t>(std::exchange(copied_, 0)) *
                                   microseconds(round) / microseconds(elapsed));
    const bool rising = wanted > space_ + space_ / 4;
    note_low(wanted < space_ / 2, wanted);
    space_ = std::max(space_, wanted);
    return std::min<std::uint32_t>(wanted, largest / 4) * (rising ? 4 : 2);
  }

  /// Zero before the first sample.
  [[nodiscard]] Duration rtt() const noexcept { return std::chrono::microseconds{rtt_us_}; }
  /// The most that was read in a round trip of late.
  [[nodiscard]] std::uint32_t space() const noexcept { return space_; }

 private:
  static constexpr std::int32_t largest = 1 << 30;
  /// As often in a row as so little was read that the path must be another, or was not used: the
  /// next sample holds, whatever it is. Once would be a pause of the application, and the next
  /// sample one of the queue that its own window makes.
  static constexpr std::uint32_t many = 7;
  /// A program's turn and its wake-up take as long; a shorter path is held up by them.
  static constexpr Duration shortest_round = std::chrono::microseconds{100};
  /// What comes in bursts is measured over several of them.
  static constexpr Duration shortest_measure = std::chrono::milliseconds{1};

  static std::uint64_t microseconds(Duration time) noexcept {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(time).count());
  }

  void count(std::int64_t bytes) noexcept {
    copied_ =
        static_cast<std::int32_t>(std::clamp<std::int64_t>(copied_ + bytes, -largest, largest));
  }

  void note_low(bool is_low, std::uint32_t wanted) noexcept {
    if (low_ == many) return;  // a sample is awaited
    low_ = is_low ? (low_ + 1U) & many : 0U;
    if (low_ != many) return;
    space_ = wanted;
    if (timestamps_ == 0) low_ = 0;
  }

  void sample(Duration rtt) noexcept {
    constexpr std::uint64_t longest = (1U << 28) - 1;
    const auto us =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(microseconds(rtt), 1, longest));
    const bool stale = low_ == many;
    if (rtt_us_ == 0 || stale || us < rtt_us_) rtt_us_ = us & longest;
    if (stale) low_ = 0;
  }

  Instant marked_at_ = never;        // when what `mark_` tells of left or began
  Instant began_{};                  // this measurement
  std::uint32_t mark_ = 0;           // a TSval, or without timestamps a sequence number
  std::int32_t copied_ = 0;          // since it began: bytes read, with those that wait for a hole
  std::uint32_t space_ = 10 * 1460;  // at first an initial window (RFC 6928)
  std::uint32_t rtt_us_ : 28 = 0;
  std::uint32_t low_ : 3 = 0;         // how often in a row less than half as much was read
  std::uint32_t timestamps_ : 1 = 0;  // samples are exact
};

static_assert(sizeof(ReceiveTuning) == 32);

}  // namespace tunic::inline v0
