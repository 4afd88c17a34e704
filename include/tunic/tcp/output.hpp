// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a connection sends next. `Output` plans segments, and runs of them: it walks ahead on a
// cursor, as if each plan had been sent. What the device accepts is made true by tcp/commit.hpp.
// RFC 9293 3.7 and 3.8.6.2.1 (Nagle, silly windows), 3.8.6.1 (probes), RFC 5681 (congestion
// window). (More than 400 lines because what may leave next is decided in one place, rule after
// rule.)

#include <tunic/core/tx_reason.hpp>
#include <tunic/tcp/commit.hpp>
#include <tunic/tcp/pacing_rate.hpp>
#include <tunic/tcp/path_mtu.hpp>
#include <tunic/tcp/recovery.hpp>
#include <tunic/tcp/segment_plan.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace tunic::inline v0 {

template <class Traits>
class Output {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  Output(Core& core, Control& cb) noexcept
      : core_{core},
        cb_{cb},
        nxt_{cb.snd.nxt},
        in_flight_{cb.snd.in_flight()},
        dsack_{cb.rcv.dsack},
        acks_owed_{cb.rcv.acks_owed},
        copy_due_{cb.snd.copy_due},
        ack_now_{cb.rcv.ack_now || (can_receive(cb.state) && cb.rcv.update_due())},
        syn_due_{cb.syn_due},
        tail_probe_due_{cb.snd.tail_probe_due},
        probe_{cb.snd.probe},
        keepalive_due_{cb.keepalive_due},
        force_{cb.snd.force} {
    window_ = cb.rcv.window_field(edge_);
    PathMtu<Traits>{core_, cb_}.learn();
    restart_after_idle();
    open_pacer();
    fit_path();
    lost_ = cb.snd.board.first_lost();
  }

  /// The next segment, or a run of up to `most` of them in up to 64 KiB; nothing when all that may
  /// be sent now has been planned.
  [[nodiscard]] std::optional<SegmentPlan> next(std::uint32_t most) noexcept {
    most_ = most;
    if (syn_due_) return plan_syn();
    if (cb_.state == TcpState::syn_sent || cb_.state == TcpState::closed) return std::nullopt;
    if (acks_owed_ > 0) {
      --acks_owed_;
      return plan_ack();
    }
    if (synchronized(cb_.state)) {
      const SackBlock dsack = dsack_;
      if (auto plan = plan_lost()) return plan;
      if (auto plan = plan_copy()) return plan;
      if (auto plan = plan_data()) return plan;
      if (auto plan = plan_tail_probe()) return plan;
      dsack_ = dsack;  // not reported yet
      if (probe_ || keepalive_due_) return plan_probe();
    }
    if (ack_now_) return plan_ack();
    return std::nullopt;
  }

  /// What kept `next` from planning more data.
  [[nodiscard]] Blocked blocked() const noexcept { return blocked_; }

 private:
  static constexpr std::uint32_t largest_packet = 0xffff;

  // RFC 5681 4.1: after an idle time of more than one RTO the window is as at the start.
  void restart_after_idle() noexcept {
    Sender& snd = cb_.snd;
    if (snd.outstanding() || !snd.has_work() || snd.last_sent == Instant{}) return;
    if (snd.idle_told) return;  // but the device, or the peer's window, refused what was to follow
    if (snd.pacer.waiting()) return;  // the pause is not the application's
    if (core_.now - snd.last_sent <= cb_.rtt.rto(core_.config)) return;
    snd.idle_told = true;
    cb_.congestion.on_idle(core_.now - snd.last_sent, cb_.rtt.rto(core_.config),
                           Recovery<Traits>{core_, cb_}.initial_window());
  }

  void open_pacer() noexcept {
    Pacer& pacer = cb_.snd.pacer;
    if (const Pace pace = pace_of(core_, cb_); pace.bytes_per_second != 0) {
      burst_ = pacer.open(core_.now, pace);
    } else if (pacer.on()) {
      pacer.stop();
      cb_.deadlines.pacing = never;
    }
  }

  // Whether pacing lets so many bytes leave now. What a timer sends it does not keep back, but
  // charges; neither is a bare FIN kept back.
  [[nodiscard]] bool released(std::uint32_t bytes) noexcept {
    if (bytes > burst_ && !force_) {
      blocked_ = Blocked::pacing;
      return false;
    }
    burst_ -= std::min(burst_, bytes);
    return true;
  }

  // The path's MTU, or the device's, has shrunk: what was too large for it is cut anew and sent
  // again (RFC 1191 6.4). Without memory for that it is tried again at the time-out.
  void fit_path() noexcept {
    Sender& snd = cb_.snd;
    fit_window();
    const std::uint32_t full = core_.full_payload(cb_);
    if (snd.board.largest() <= full || !snd.board.recut(full, core_.pool)) return;
    snd.timing = false;
    snd.credit = 0;
    in_flight_ = 0;
  }

  // So has the peer's window: what is lost goes out again as far as it allows. That the rest waits
  // for the window is seen as soon as this is acknowledged.
  void fit_window() noexcept {
    Sender& snd = cb_.snd;
    if (snd.board.empty() || snd.wnd == 0 || snd.board.front().where != Whereabouts::lost) return;
    if (snd.board.front().length > snd.wnd) (void)snd.board.split_front(snd.wnd, core_.pool);
  }

  SegmentPlan plan_syn() noexcept {
    syn_due_ = false;
    nxt_ = std::max(nxt_, cb_.snd.iss + 1);
    SegmentPlan plan;
    plan.kind = SegmentKind::syn;
    plan.reason = TxReason::control;
    TcpSegment& syn = plan.segment;
    const bool answers = cb_.state == TcpState::syn_received;
    syn.seq = cb_.snd.iss;
    syn.flags = TcpFlags::syn;
    if constexpr (Traits::ecn) syn.flags |= cb_.ecn.syn_flags(answers);
    syn.options.has_mss = true;
    syn.options.mss = core_.announced_mss(cb_.key, cb_.options);
    if (answers) {
      syn.flags |= TcpFlags::ack;
      syn.ack = cb_.rcv.nxt;
      // What was offered first, whatever the buffer is by now; a SYN's window is not scaled.
      syn.window = static_cast<std::uint16_t>(std::min<std::uint32_t>(cb_.rcv.window(), 0xffff));
      plan.edge = cb_.rcv.edge;
      ack_now_ = false;
    } else {
      syn.window = cb_.rcv.syn_window();
    }
    // An answer offers what was offered (RFC 7323 2.2, 3.2; RFC 2018 2); a request all that is
    // switched on.
    syn.options.has_window_scale = answers ? cb_.scaled : core_.config.window_scaling;
    syn.options.window_scale = cb_.rcv.scale;
    syn.options.sack_permitted = answers ? cb_.sack : Traits::sack && core_.config.sack;
    syn.options.has_timestamps =
        answers ? cb_.timestamps : Traits::timestamps && core_.config.timestamps;
    syn.options.timestamps = {core_.timestamp(cb_), answers ? cb_.rcv.ts_recent : 0};
    return plan;
  }

  // The parts that all segments of a synchronized connection share.
  SegmentPlan start_plan(SegmentKind kind, TxReason reason, SeqNum seq) noexcept {
    SegmentPlan plan;
    plan.kind = kind;
    plan.reason = reason;
    plan.edge = edge_;
    TcpSegment& segment = plan.segment;
    segment.seq = seq;
    segment.ack = cb_.rcv.nxt;
    segment.flags = TcpFlags::ack;
    if constexpr (Traits::ecn) segment.flags |= cb_.ecn.ack_flags();
    segment.window = window_;
    if constexpr (Traits::timestamps) {
      if (cb_.timestamps) {
        segment.options.has_timestamps = true;
        segment.options.timestamps = {core_.timestamp(cb_), cb_.rcv.ts_recent};
      }
    }
    if constexpr (Traits::sack) {
      if (cb_.sack && (dsack_.left != dsack_.right || !cb_.rcv.out_of_order.empty())) {
        segment.options.sack_count =
            cb_.rcv.sack_blocks(segment.options.sack, dsack_, cb_.timestamps ? 3 : 4, acks_owed_);
        dsack_ = {};
      }
    }
    return plan;
  }

  SegmentPlan plan_ack() noexcept {
    ack_now_ = false;
    return start_plan(SegmentKind::acknowledgement, TxReason::acknowledgement, nxt_);
  }

  // RFC 9293 3.8.4 and 3.8.6.1: a number that was used already makes the peer say where it stands.
  SegmentPlan plan_probe() noexcept {
    const bool window = probe_;
    SegmentPlan plan = start_plan(window ? SegmentKind::window_probe : SegmentKind::keepalive,
                                  TxReason::probe, (window ? cb_.snd.una : nxt_) - 1);
    (window ? probe_ : keepalive_due_) = false;
    if (!window && cb_.options.keepalive.garbage_byte) plan.garbage_byte = true;
    ack_now_ = false;
    return plan;
  }

  // What is lost goes first (RFC 6675 4, NextSeg rule 1), as the congestion window allows; the
  // first after a time-out whatever it says.
  std::optional<SegmentPlan> plan_lost() noexcept {
    if (lost_ == Scoreboard::none) return std::nullopt;
    const Sender& snd = cb_.snd;
    if (snd.frto == Frto::second_ack) return std::nullopt;  // new data tells more (RFC 5682 2.1)
    const auto number = static_cast<Scoreboard::Number>(lost_);
    const SentSegment& segment = snd.board[number];
    if (snd.una + snd.wnd < segment.end()) {  // RFC 9293 SHLD-16
      blocked_ = Blocked::window;
      return std::nullopt;
    }
    if (!force_ && in_flight_ != 0 && congestion_room() < segment.length) {
      blocked_ = Blocked::congestion;
      return std::nullopt;
    }
    if (!released(segment.payload())) return std::nullopt;
    const bool alone = std::exchange(force_, false) || is_special(segment.begin);
    SegmentPlan plan = plan_resend(number);
    take_lost(segment);
    if (!alone) follow_lost(plan);
    return plan;
  }

  // Those that are lost behind it, without a gap, make a run with it, if they are as large.
  void follow_lost(SegmentPlan& plan) noexcept {
    const Sender& snd = cb_.snd;
    const std::uint32_t most = std::min(most_, longest_run(plan));
    for (std::uint32_t count = 1; count < most; ++count) {
      const bool ended =
          plan.segment.has(TcpFlags::fin) || plan.payload_length != count * plan.segment_bytes;
      if (ended || lost_ != plan.number + count) return;
      const SentSegment& next = snd.board[plan.number + count];
      if (next.payload() > plan.segment_bytes || snd.una + snd.wnd < next.end() ||
          congestion_room() < next.length || !released(next.payload()))
        return;
      take_lost(next);
      fill(plan, plan.segment.seq, plan.payload_length + next.payload(), next.fin);
    }
  }

  // `segment`, which is the next lost one, is planned.
  void take_lost(const SentSegment& segment) noexcept {
    lost_ = cb_.snd.board.after(static_cast<Scoreboard::Number>(lost_));
    in_flight_ += segment.length;
  }

  // Whether what begins at `seq` differs from what follows it: it points at urgent data, or reports
  // a duplicate (RFC 2883 4: once).
  [[nodiscard]] bool is_special(SeqNum seq) const noexcept {
    return (cb_.snd.urgent && seq < cb_.snd.up) || dsack_.left != dsack_.right;
  }

  // Behind the first segment, which has just been sent again whole; beside it the copy tells
  // whether the path swallows what is large (tcp/path_mtu.hpp).
  std::optional<SegmentPlan> plan_copy() noexcept {
    const std::uint32_t length = std::exchange(copy_due_, std::uint16_t{0});
    const Scoreboard& board = cb_.snd.board;
    if (length == 0 || board.empty() || cb_.snd.wnd < length) return std::nullopt;
    const SentSegment& first = board[board.first()];
    const bool waits = first.where == Whereabouts::lost && lost_ == board.first_lost();
    if (waits || first.payload() <= length) return std::nullopt;
    const SackBlock dsack = dsack_;
    SegmentPlan plan = start_plan(SegmentKind::copy, TxReason::probe, first.begin);
    plan.segment.options.sack_count = 0;  // it has the size that it is to have
    dsack_ = dsack;
    fill(plan, first.begin, length, false);
    return plan;
  }

  SegmentPlan plan_resend(Scoreboard::Number number) noexcept {
    const SentSegment& segment = cb_.snd.board[number];
    const SackBlock dsack = dsack_;
    SegmentPlan plan = start_plan(SegmentKind::resend, TxReason::retransmission, segment.begin);
    if (full_payload(plan) < segment.payload()) {  // there is no room for the report beside it
      plan.segment.options.sack_count = 0;
      dsack_ = dsack;
    }
    plan.number = number;
    fill(plan, segment.begin, segment.payload(), segment.fin);
    ack_now_ = false;
    return plan;
  }

  // RFC 8985 7.3: new data if the peer's window has room, else the highest segment once more.
  std::optional<SegmentPlan> plan_tail_probe() noexcept {
    Scoreboard& board = cb_.snd.board;
    if (!std::exchange(tail_probe_due_, false) || board.empty()) return std::nullopt;
    force_ = true;
    auto plan = plan_data(0x7fffffff);
    if (!plan) {
      force_ = cb_.snd.force;
      board.tell_apart();
      if (board[board.last()].where != Whereabouts::flight) return std::nullopt;
      plan = plan_resend(board.last());
    }
    plan->tail_probe = true;
    plan->reason = TxReason::probe;
    return plan;
  }

  std::optional<SegmentPlan> plan_data() noexcept {
    if (lost_ != Scoreboard::none && cb_.snd.frto != Frto::second_ack) return std::nullopt;
    if (Recovery<Traits>{core_, cb_}.quiet() && cb_.snd.has_work()) {
      blocked_ = Blocked::congestion;
      return std::nullopt;
    }
    return plan_data(congestion_room());
  }

  std::optional<SegmentPlan> plan_data(std::uint32_t congestion) noexcept {
    const Sender& snd = cb_.snd;
    const SeqNum end = snd.data_end();
    const bool fin_waits = snd.fin_queued && nxt_ <= end;
    const std::uint32_t available = nxt_ < end ? static_cast<std::uint32_t>(end - nxt_) : 0;
    if (available == 0 && !fin_waits) return std::nullopt;
    if (!cb_.snd.board.reserve(planned_ + 1, core_.pool)) {
      blocked_ = Blocked::memory;
      return std::nullopt;
    }
    const bool alone = force_ || is_special(nxt_);
    const bool is_first = planned_ == 0;
    SegmentPlan plan = start_plan(SegmentKind::data, TxReason::data, nxt_);
    plan.segment_bytes = full_payload(plan);
    Room room{available, usable_window(), congestion};
    const std::uint32_t length = std::min(room.least(), plan.segment_bytes);
    if (!worth_sending(room, length, plan.segment_bytes, fin_waits)) return std::nullopt;
    if (!released(length)) return std::nullopt;
    take(room, length, 1);
    force_ = false;
    if (length == plan.segment_bytes && !alone) follow_data(plan, room, fin_waits);
    fill(plan, plan.segment.seq, static_cast<std::uint32_t>(nxt_ - plan.segment.seq),
         fin_waits && nxt_ == end && end < snd.una + snd.wnd);
    if (plan.sequence_length() == 0) {
      blocked_ = Blocked::window;
      return std::nullopt;
    }
    if (plan.segment.has(TcpFlags::fin)) take(room, 1, 0);
    if constexpr (Traits::ecn) {  // RFC 3168 6.1.2, 6.1.5: new data, and nothing else
      plan.ect = cb_.ecn.ect && plan.payload_length != 0;
      if (plan.ect && cb_.ecn.cwr_due && is_first) plan.segment.flags |= TcpFlags::cwr;
    }
    ack_now_ = false;
    return plan;
  }

  // What new data is bounded by, in bytes.
  struct Room {
    std::uint32_t available;
    std::uint32_t usable;
    std::uint32_t congestion;
    [[nodiscard]] std::uint32_t least() const noexcept {
      return std::min({available, usable, congestion});
    }
  };

  void take(Room& room, std::uint32_t length, std::uint32_t segments) noexcept {
    room.available -= std::min(room.available, length);
    room.usable -= std::min(room.usable, length);
    room.congestion -= std::min(room.congestion, length);
    nxt_ += length;
    in_flight_ += length;
    planned_ += segments;
  }

  // The segments that make a run with a first full one: those that are full, and one that is not.
  void follow_data(const SegmentPlan& plan, Room& room, bool fin_waits) noexcept {
    const std::uint32_t full = plan.segment_bytes;
    const std::uint32_t most = std::min(most_, longest_run(plan)) - 1;
    std::uint32_t count = std::min({most, room.least() / full, burst_ / full});
    if (!cb_.snd.board.reserve(planned_ + count, core_.pool)) count = 0;
    burst_ -= count * full;
    take(room, count * full, count);
    const std::uint32_t rest = room.least();
    if (count == most || rest == 0 || rest >= full) return;
    if (worth_sending(room, rest, full, fin_waits) &&
        cb_.snd.board.reserve(planned_ + 1, core_.pool) && released(rest))
      take(room, rest, 1);
  }

  // How many segments a packet can have, at least one.
  [[nodiscard]] std::uint32_t longest_run(const SegmentPlan& plan) const noexcept {
    const std::uint32_t headers = core_.header_bytes(cb_.key) +
                                  static_cast<std::uint32_t>(plan.segment.options.encoded_bytes());
    return std::max((largest_packet - headers) / std::max(plan.segment_bytes, 1U), 1U);
  }

  // RFC 9293 3.8.6.2.1 with Nagle's algorithm: full segments go, a partial one only with a reason.
  bool worth_sending(const Room& room, std::uint32_t length, std::uint32_t full,
                     bool fin_waits) noexcept {
    if (length == full) return true;
    if (room.available != 0 && length == 0) {
      blocked_ = room.usable == 0 ? Blocked::window : Blocked::congestion;
      return false;
    }
    if (force_) return true;
    if (length == room.available) {
      if (fin_waits) return true;
      if (cb_.options.cork) {
        blocked_ = Blocked::cork;
        return false;
      }
      if (cb_.options.no_delay || cb_.snd.una == nxt_) return true;
      blocked_ = Blocked::nagle;
      return false;
    }
    if (length == room.congestion && room.congestion < room.usable) {
      if (in_flight_ == 0) return true;  // nothing is in flight whose ACK would bring more
      blocked_ = Blocked::congestion;
      return false;
    }
    if (2 * std::uint64_t{length} >= cb_.snd.max_wnd) return true;
    blocked_ = Blocked::window;
    return false;
  }

  // Points the plan at `length` bytes from `seq`, and sets the flags that go with them. They are
  // one segment, unless it is known how large those of a run are.
  void fill(SegmentPlan& plan, SeqNum seq, std::uint32_t length, bool fin) noexcept {
    const Sender& snd = cb_.snd;
    plan.payload_offset = static_cast<std::uint32_t>(seq - snd.data_begin());
    plan.payload_length = length;
    if (plan.segment_bytes == 0) plan.segment_bytes = length;
    if (length != 0 && seq + length == snd.data_end()) plan.segment.flags |= TcpFlags::psh;
    if (fin) plan.segment.flags |= TcpFlags::fin;
    if (snd.urgent && seq < snd.up) {
      plan.segment.flags |= TcpFlags::urg;
      plan.segment.urgent = static_cast<std::uint16_t>(
          std::min<std::uint32_t>(static_cast<std::uint32_t>(snd.up - seq), 0xffff));
    }
  }

  // The payload of a full segment with the options of this plan (RFC 6691 2).
  [[nodiscard]] std::uint32_t full_payload(const SegmentPlan& plan) const noexcept {
    return core_.effective_mss(cb_) -
           static_cast<std::uint32_t>(plan.segment.options.encoded_bytes());
  }

  // How much the peer's window has left; nothing when it has shrunk below what is in flight (RFC
  // 9293 MUST-34).
  [[nodiscard]] std::uint32_t usable_window() const noexcept {
    const SeqNum right = cb_.snd.una + cb_.snd.wnd;
    return nxt_ < right ? static_cast<std::uint32_t>(right - nxt_) : 0;
  }

  [[nodiscard]] std::uint32_t congestion_room() const noexcept {
    const std::uint32_t allowed = Recovery<Traits>{core_, cb_}.window();
    return allowed > in_flight_ ? std::min(allowed - in_flight_, std::uint32_t{0x7fffffff}) : 0;
  }

  Core& core_;
  Control& cb_;
  SeqNum nxt_;                             // what is planned next
  std::uint32_t in_flight_;                // with what is planned
  std::uint64_t lost_ = Scoreboard::none;  // the next to be sent again
  std::uint32_t planned_ = 0;              // new segments
  std::uint32_t most_ = 1;                 // segments that a plan may have
  std::uint32_t burst_ = 0xffffffff;       // bytes that pacing lets leave now
  SeqNum edge_;
  SackBlock dsack_;
  std::uint16_t window_ = 0;
  std::uint16_t acks_owed_;
  std::uint16_t copy_due_;
  bool ack_now_;
  bool syn_due_;
  bool tail_probe_due_;
  bool probe_;
  bool keepalive_due_;
  bool force_;
  Blocked blocked_ = Blocked::nothing;
};

}  // namespace tunic::inline v0
