// SPDX-License-Identifier: BSL-1.0
#pragma once

// What one acknowledgement says to the sender: what has arrived, in order (RFC 9293 3.10.7.4), out
// of order (RFC 2018), twice (RFC 2883) or, of a peer without SACK, in an unknown order (RFC
// 5681 2); how long it took (RFC 6298 3, RFC 7323 4) and how fast it came. What follows from losses
// is in tcp/recovery.hpp.

#include <tunic/tcp/buffer_tuning.hpp>
#include <tunic/tcp/path_mtu.hpp>
#include <tunic/tcp/recovery.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace tunic::inline v0 {

/// One object lives for one acceptable segment with ACK.
template <class Traits>
class Acknowledgement {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  Acknowledgement(Core& core, Control& cb, const TcpSegment& segment) noexcept
      : core_{core}, cb_{cb}, snd_{cb.snd}, segment_{segment}, recovery_{core, cb} {
    // In a SYN+ACK it means something else, in an old segment it is old.
    if constexpr (Traits::ecn)
      ece_ = cb.ecn.ect && segment.has(TcpFlags::ece) && !segment.has(TcpFlags::syn) &&
             snd_.una <= segment.ack;
  }

  /// Takes it in. `same_window`: it offers what was offered before.
  void run(bool same_window) noexcept {
    const SeqNum ack = segment_.ack;
    advances_ = snd_.una < ack;
    flight_before_ = snd_.in_flight();
    const std::uint32_t unreported = recovery_.unreported();
    const std::uint32_t flight_size = recovery_.flight_size();
    if (advances_) {
      acknowledged(ack);
    } else if (is_duplicate(same_window)) {
      duplicate();
    }
    if (cb_.sack) take_sack();
    if (rtt_.count() >= 0) snd_.min_rtt.sample(rtt_, core_.now);
    follow_tail_probe(same_window);
    follow_phase();
    // After an undo the next acknowledgement judges, by the window that is restored.
    const std::uint32_t lost = undone_ ? 0 : recovery_.detect(flight_size, unreported);
    recovery_.marked(ece_, flight_size);
    tell_controller(lost);
    if (advances_) {
      cb_.deadlines.user = snd_.outstanding() ? recovery_.user_deadline() : never;
      // Without SACK one hole is repaired a round trip; where there are many the time-out is better
      // (RFC 6582 4, the Impatient variant).
      if (snd_.partial_acks > 1) {
        recovery_.schedule();
      } else {
        recovery_.restart();
      }
      core_.want_output(cb_);
      tune_send_buffer(core_, cb_);
      tell_writer();
    } else if (delivered_ != 0) {
      recovery_.schedule();
      core_.want_output(cb_);
    }
  }

 private:
  void acknowledged(SeqNum ack) noexcept {
    const auto bytes = static_cast<std::uint32_t>(ack - snd_.una);
    bytes_acked_ = bytes;
    if (const Duration rtt = measure(ack); rtt.count() >= 0) {
      cb_.rtt.sample(rtt);
      snd_.rtt_since_probe = true;
    }
    if (!snd_.board.empty() && snd_.board.front().again) edge_sent_at_ = snd_.board.front().sent_at;
    delivered_ =
        snd_.board.acknowledge(ack, [this](const SentSegment& each) noexcept { arrived(each); });
    settle_credit(bytes);
    PathMtu<Traits>{core_, cb_}.acknowledged(ack);
    release(ack);
    snd_.dup_acks = 0;
    snd_.retries = 0;
    snd_.progress_at = core_.now;
    if (snd_.phase == SenderPhase::open && snd_.recover < ack)
      snd_.recover = ack - 1;  // it stays within reach of SND.UNA
  }

  // What duplicates had told of is no news; all but the segment that was sent again was among it.
  void settle_credit(std::uint32_t bytes) noexcept {
    const std::uint32_t mss = core_.full_payload(cb_);
    const std::uint32_t known = snd_.phase == SenderPhase::open
                                    ? snd_.credit
                                    : std::min(snd_.credit, bytes - std::min(bytes, mss));
    snd_.credit -= known;
    delivered_ -= std::min(delivered_, known);
  }

  // RFC 5681 2: of nothing new while data is outstanding, without payload and with the same window.
  [[nodiscard]] bool is_duplicate(bool same_window) const noexcept {
    return !cb_.sack && segment_.ack == snd_.una && snd_.outstanding() &&
           segment_.payload.empty() && !segment_.has(TcpFlags::fin) && same_window &&
           !snd_.persisting;
  }

  // A segment has left the network, we do not know which; no more of them than RFC 9937 6.2 allows.
  void duplicate() noexcept {
    repeated_ = true;
    if (snd_.dup_acks < 255) ++snd_.dup_acks;
    std::uint32_t credit = std::min<std::uint32_t>(core_.full_payload(cb_), snd_.in_flight());
    if (snd_.phase == SenderPhase::recovery) credit = std::min(credit, snd_.prr.credit_left());
    // Two release new data (RFC 3042), at the third recovery begins; what else comes is an echo.
    if (snd_.phase == SenderPhase::open && snd_.dup_acks > 3) credit = 0;
    if (snd_.phase == SenderPhase::loss) credit = 0;
    snd_.credit += credit;
    delivered_ += credit;
  }

  void take_sack() noexcept {
    auto blocks = segment_.options.sack;
    std::size_t count = segment_.options.sack_count;
    if (count == 0) return;
    if (is_duplicate_report()) {
      take_duplicate(blocks[0]);
      std::shift_left(blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(count--), 1);
    }
    // From the lowest on: what lies above must not make it look late. They are four at most.
    for (std::size_t i = 1; i < count; ++i) {
      for (std::size_t j = i; j > 0 && blocks[j].left < blocks[j - 1].left; --j)
        std::swap(blocks[j], blocks[j - 1]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const SackBlock& block = blocks[i];
      // What can't be is ignored (RFC 2018 5); what is below SND.UNA is old.
      if (!(snd_.una < block.left && block.left < block.right && block.right <= snd_.nxt)) continue;
      const std::uint32_t fresh =
          snd_.board.sack(block, [this](const SentSegment& each) noexcept { arrived(each); });
      delivered_ += fresh;
      sacked_ += fresh;
    }
  }

  // RFC 2883 4: the first block lies below the acknowledgement, or within the second.
  [[nodiscard]] bool is_duplicate_report() const noexcept {
    const auto blocks = segment_.options.sack_blocks();
    const SackBlock& first = blocks[0];
    if (!(first.left < first.right)) return false;
    if (first.right <= segment_.ack) return true;
    return blocks.size() > 1 && blocks[1].left <= first.left && first.right <= blocks[1].right;
  }

  void take_duplicate(const SackBlock& block) noexcept {
    // It must be something that we may have sent twice.
    if (block.left < snd_.una - snd_.max_wnd || snd_.nxt < block.right) return;
    ++core_.stats.tcp.duplicate_reports;
    ++snd_.duplicates;
    const auto bytes = static_cast<std::uint32_t>(block.right - block.left);
    const std::uint32_t mss = std::max<std::uint32_t>(core_.full_payload(cb_), 1);
    // More than was sent again: it is the network that duplicates.
    if (snd_.duplicates <= snd_.retransmissions)
      snd_.undo.duplicate(block.right, (bytes + mss - 1) / mss);
    if (snd_.tail_probe_out && snd_.tail_probe_again && block.right == snd_.tail_probe_end) {
      snd_.tail_probe_out = false;  // the probe was not needed, and says nothing of reordering
    } else {
      snd_.rack.duplicate(snd_.una, snd_.nxt);
    }
  }

  // A segment is delivered, in order or not.
  void arrived(const SentSegment& each) noexcept {
    snd_.rate.delivered(each);
    if (!each.again) {
      const Duration rtt = core_.now - each.sent_at;
      if (rtt_.count() < 0 || rtt < rtt_) rtt_ = rtt;
      if (each.end() <= snd_.recover) original_ = true;
    }
    // The echo is of what arrived in order (RFC 7323 4.3): of a segment above a hole it says
    // nothing.
    const bool in_order = each.end() <= segment_.ack;
    snd_.rack.delivered(each, in_order && each.again && echo_is_older(each.sent_at),
                        snd_.min_rtt.value(), core_.now);
  }

  [[nodiscard]] bool has_echo() const noexcept {
    return cb_.timestamps && segment_.options.has_timestamps &&
           segment_.options.timestamps.echo != 0;
  }
  [[nodiscard]] bool echo_is_older(Instant sent_at) const noexcept {
    if (!has_echo()) return false;
    const std::uint32_t then = core_.timestamp(cb_, sent_at);
    return static_cast<std::int32_t>(segment_.options.timestamps.echo - then) < 0;
  }

  // RFC 8985 7.4.2.
  void follow_tail_probe(bool same_window) noexcept {
    if (snd_.tail_probe_due && delivered_ != 0) snd_.tail_probe_due = snd_.tail_probe_out = false;
    if (!snd_.tail_probe_out || snd_.tail_probe_due || segment_.ack < snd_.tail_probe_end) return;
    if (snd_.tail_probe_again && snd_.tail_probe_end < segment_.ack)
      return recovery_.probe_repaired(flight_before_);
    const bool both_came =
        !advances_ && segment_.payload.empty() && same_window && segment_.options.sack_count == 0;
    if (!snd_.tail_probe_again || both_came) snd_.tail_probe_out = false;
  }

  void follow_phase() noexcept {
    if (snd_.phase != SenderPhase::open && came_before_resent()) return undo();
    if (snd_.undo.all_duplicates()) return undo();
    if (snd_.phase == SenderPhase::open) return;
    if (snd_.recover <= snd_.una) return recovery_.end_phase();
    if (snd_.phase == SenderPhase::loss) return follow_frto();
    if (cb_.sack || !advances_) return;
    if (snd_.partial_acks < 255) ++snd_.partial_acks;
    recovery_.lose_first();
  }

  void undo() noexcept {
    undone_ = true;
    recovery_.undo();
  }

  // Eifel. The echo is of the segment at the old left edge, which was sent again in this phase.
  [[nodiscard]] bool came_before_resent() const noexcept {
    if (edge_sent_at_ == never || !has_echo()) return false;
    return snd_.undo.older(segment_.options.timestamps.echo) &&
           !snd_.undo.older(core_.timestamp(cb_, edge_sent_at_));
  }

  // RFC 5682 2.1 and 3.1.
  void follow_frto() noexcept {
    if (snd_.frto == Frto::off) return;
    if (cb_.sack && original_) return undo();  // something arrived that was sent once
    const bool duplicate = repeated_ || (!advances_ && sacked_ != 0);
    if (!advances_ && !duplicate) return;
    if (snd_.frto == Frto::second_ack && !cb_.sack && advances_) return undo();
    if (duplicate || snd_.frto == Frto::second_ack) return recovery_.time_out_was_true();
    const SeqNum edge = segment_.ack + (std::uint32_t{segment_.window} << snd_.scale);
    const bool more = snd_.nxt < snd_.data_end() && snd_.nxt < edge;
    snd_.frto = more && !snd_.board.front().again ? Frto::second_ack : Frto::off;
  }

  void tell_controller(std::uint32_t lost) noexcept {
    const RateSample rate = snd_.rate.finish(delivered_, snd_.min_rtt.value(), core_.now);
    const std::uint32_t mss = core_.full_payload(cb_);
    if (delivered_ == 0) return;
    if (snd_.phase == SenderPhase::recovery)
      snd_.prr.acknowledged(delivered_, snd_.in_flight(), mss, advances_ && lost == 0);
    const bool round = snd_.round_end <= snd_.una;
    if (round) {
      snd_.round_end = snd_.nxt;
      snd_.window_was_limited = std::exchange(snd_.window_limited, false);
    }
    cb_.congestion.on_ack({.now = core_.now,
                           .bytes_acked = bytes_acked_,
                           .bytes_delivered = delivered_,
                           .bytes_lost = lost,
                           .flight_before = flight_before_,
                           .in_flight = snd_.in_flight(),
                           .mss = mss,
                           .rtt = rtt_,
                           .srtt = cb_.rtt.srtt(),
                           .min_rtt = snd_.min_rtt.value(),
                           .round_start = round,
                           .window_limited = snd_.window_limited || snd_.window_was_limited,
                           .in_recovery = snd_.phase == SenderPhase::recovery,
                           .ece = ece_,
                           .paced = snd_.pacer.on(),
                           .rate = rate});
  }

  void tell_writer() noexcept {
    if (!snd_.short_write || snd_.room() < snd_.limit / 2) return;
    snd_.short_write = false;
    core_.raise(cb_, EventFlags::writable);
  }

  // A sample from the segment that was timed, to the nanosecond; after a retransmission from the
  // echoed timestamp, which tells the two apart. Negative when there is none: one sample a round
  // trip is all, for more would shorten the memory of the filter (RFC 6298 3, RFC 7323 4.2).
  [[nodiscard]] Duration measure(SeqNum ack) noexcept {
    // Backed off, the first echo is welcome, also of a part: it ends the back-off.
    if (ack < snd_.timed && (snd_.timing || cb_.rtt.backoff() == 0)) return Duration{-1};
    snd_.timed = snd_.nxt + 1;  // what is sent from now on
    if (std::exchange(snd_.timing, false)) return rtt_ = core_.now - snd_.timed_at;
    if (has_echo()) {
      const auto ticks =
          static_cast<std::int32_t>(core_.timestamp(cb_) - segment_.options.timestamps.echo);
      if (ticks >= 0 && ticks < 10 * 60 * 1000)
        return std::chrono::milliseconds{std::max(ticks, 1)};
    }
    return Duration{-1};
  }

  // Gives acknowledged bytes back and moves SND.UNA.
  void release(SeqNum ack) noexcept {
    const SeqNum begin = snd_.data_begin();
    const SeqNum end = snd_.data_end();
    if (snd_.largest_sent != 0 && snd_.largest_end <= ack)
      snd_.largest_acked = std::max(snd_.largest_acked, snd_.largest_sent);
    if (snd_.fin_queued && !snd_.fin_acked && end < ack) snd_.fin_acked = true;
    const auto bytes = static_cast<std::uint32_t>(std::min(ack, end) - begin);
    cb_.traffic.bytes_acked += bytes;
    snd_.queue.consume(bytes, core_.pool);
    snd_.una = ack;
    if (snd_.urgent && snd_.up <= ack) snd_.urgent = false;
  }

  Core& core_;
  Control& cb_;
  Sender& snd_;
  const TcpSegment& segment_;
  Recovery<Traits> recovery_;
  std::uint32_t flight_before_ = 0;
  std::uint32_t bytes_acked_ = 0;
  std::uint32_t delivered_ = 0;
  std::uint32_t sacked_ = 0;
  Duration rtt_{-1};              // of the segment that was sent last of those delivered now
  bool ece_ = false;              // the peer echoes a mark
  bool advances_ = false;         // SND.UNA moves
  Instant edge_sent_at_ = never;  // of what was at SND.UNA, if that had been sent again
  bool undone_ = false;
  bool repeated_ = false;  // a duplicate acknowledgement, without SACK
  bool original_ = false;  // something sent only once, before the phase began, has arrived
};

}  // namespace tunic::inline v0
