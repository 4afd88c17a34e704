// SPDX-License-Identifier: BSL-1.0
#pragma once

// RACK: a segment is lost when one that was sent later has been delivered, and a round trip and the
// time for which the path may reorder have passed (RFC 8985 6.2).

#include <tunic/base/time.hpp>
#include <tunic/tcp/scoreboard.hpp>

#include <algorithm>
#include <cstdint>

namespace tunic::inline v0 {

class Rack {
 public:
  void start(SeqNum isn) noexcept { highest_ = isn; }

  /// A segment is delivered (steps 1 to 3). `ambiguous`: it was sent again and its echoed timestamp
  /// is from before.
  void delivered(const SentSegment& segment, bool ambiguous, Duration min_rtt,
                 Instant now) noexcept {
    if (highest_ < segment.end()) {
      highest_ = segment.end();
    } else if (segment.end() < highest_ && !segment.again) {
      reordering_ = true;
    }
    const Duration rtt = now - segment.sent_at;
    if (segment.again && (ambiguous || rtt < min_rtt)) return;
    if (valid_ && !later(segment.sent_at, segment.end(), sent_at_, end_)) return;
    valid_ = true;
    sent_at_ = segment.sent_at;
    end_ = segment.end();
    rtt_ = rtt;
  }

  /// A duplicate was reported (step 4): the window was too short, once a round.
  void duplicate(SeqNum una, SeqNum nxt) noexcept {
    if (in_round_ && una < round_end_) return;
    in_round_ = true;
    round_end_ = nxt;
    if (multiple_ < 255) ++multiple_;
    patience_ = 16;
  }

  /// What was taken for lost had only been overtaken.
  /// Deviation: 8985-04: step 3 looks at segments that were sent once, for of others it is not
  /// known which copy came. Here it is, and where all that is late is sent again nothing else would
  /// tell.
  void overtaken() noexcept { reordering_ = true; }

  /// A recovery has ended.
  void recovered() noexcept {
    if (patience_ > 0 && --patience_ == 0) multiple_ = 1;
  }

  /// Marks what is lost by now (step 5), calls `lost(number)` for each, and returns when the next
  /// is to be judged.
  template <class Visitor>
  Instant detect(Scoreboard& board, Duration window, Instant now, Visitor lost) noexcept {
    if (!valid_) return never;
    for (std::uint64_t at = board.oldest(); at != Scoreboard::none;) {
      const auto number = static_cast<Scoreboard::Number>(at);
      const SentSegment& segment = board[number];
      if (!later(sent_at_, end_, segment.sent_at, segment.end())) return never;
      const Instant judged = segment.sent_at + rtt_ + window;
      if (now < judged) return judged;
      board.tell_apart();
      at = board.after(number);
      lost(number);
      board.lose(number);
    }
    return never;
  }

  /// After a time-out: the first segment is lost, and what was sent so long ago (6.3).
  void time_out(Scoreboard& board, Duration window, Instant now) noexcept {
    const bool first_in_flight = board.front().where == Whereabouts::flight;
    if (first_in_flight) board.lose(board.first());
    for (std::uint64_t at = board.oldest(); at != Scoreboard::none;) {
      const auto number = static_cast<Scoreboard::Number>(at);
      if (now < board[number].sent_at + rtt_ + window) return;
      board.tell_apart();
      at = board.after(number);
      board.lose(number);
    }
  }

  /// For how long the path is believed to reorder (step 4).
  [[nodiscard]] Duration window(bool recovering, std::uint32_t sacked_segments, Duration min_rtt,
                                Duration srtt) const noexcept {
    constexpr std::uint32_t dup_thresh = 3;
    if (!reordering_ && (recovering || sacked_segments >= dup_thresh)) return Duration{0};
    return std::min(multiple_ * (min_rtt / 4), srtt);
  }

  [[nodiscard]] bool reordering() const noexcept { return reordering_; }
  [[nodiscard]] unsigned multiple() const noexcept { return multiple_; }
  [[nodiscard]] Duration rtt() const noexcept { return rtt_; }

 private:
  static bool later(Instant a, SeqNum a_end, Instant b, SeqNum b_end) noexcept {
    return b < a || (a == b && b_end < a_end);
  }

  Instant sent_at_{};  // of the delivered segment that was sent last
  Duration rtt_{};     // its round trip
  SeqNum end_;
  SeqNum highest_;    // end of the highest segment that was delivered
  SeqNum round_end_;  // a further duplicate before this is acknowledged says nothing new
  std::uint8_t multiple_ = 1;
  std::uint8_t patience_ = 0;
  bool valid_ = false;
  bool reordering_ = false;
  bool in_round_ = false;
};

}  // namespace tunic::inline v0
