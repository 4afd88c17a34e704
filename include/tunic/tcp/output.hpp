// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a connection sends next. `Output` plans segments without changing the connection: it walks
// ahead on a cursor, as if each plan had been sent. `commit` then makes true what the device has
// accepted. RFC 9293 3.7 and 3.8.6.2.1 (Nagle, silly windows), 3.8.6.1 (probes), RFC 5681
// (congestion window).

#include <tunic/core/tx_reason.hpp>
#include <tunic/tcp/recovery.hpp>
#include <tunic/tcp/segment_plan.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tunic::inline v0 {

template <class Traits>
class Output {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  Output(Core& core, Control& cb) noexcept
      : core_{core},
        cb_{cb},
        next_{cb.snd.next},
        nxt_{cb.snd.nxt},
        dsack_{cb.rcv.dsack},
        acks_owed_{cb.rcv.acks_owed},
        ack_now_{cb.rcv.ack_now || (can_receive(cb.state) && cb.rcv.update_due())},
        syn_due_{cb.syn_due},
        resend_{cb.snd.resend},
        probe_{cb.snd.probe},
        keepalive_due_{cb.keepalive_due},
        force_{cb.snd.force} {
    window_ = cb.rcv.window_field(edge_);
    restart_after_idle();
  }

  /// The next segment, or nothing when all that may be sent now has been planned.
  [[nodiscard]] std::optional<SegmentPlan> next() noexcept {
    if (syn_due_) return plan_syn();
    if (cb_.state == TcpState::syn_sent || cb_.state == TcpState::closed) return std::nullopt;
    if (acks_owed_ > 0) {
      --acks_owed_;
      return plan_ack();
    }
    if (synchronized(cb_.state)) {
      const SackBlock dsack = dsack_;
      if (resend_) {
        resend_ = false;
        if (auto plan = plan_resend()) return plan;
      }
      if (auto plan = plan_data()) return plan;
      dsack_ = dsack;  // not reported yet
      if (probe_ || keepalive_due_) return plan_probe();
    }
    if (ack_now_) return plan_ack();
    return std::nullopt;
  }

  /// What kept `next` from planning more data.
  enum class Blocked : std::uint8_t { nothing, window, congestion, nagle, cork };
  [[nodiscard]] Blocked blocked() const noexcept { return blocked_; }

  /// To be called once all that `next` yielded has been committed: starts the timer of what has to
  /// wait.
  static void settle(Core& core, Control& cb, Blocked blocked) noexcept {
    Sender& snd = cb.snd;
    if (!synchronized(cb.state) || !snd.has_work()) return;
    if (blocked == Blocked::window && cb.deadlines.retransmit == never) {
      snd.persisting = true;
      snd.progress_at = core.now;
      cb.deadlines.retransmit = core.now + cb.rtt.rto(core.config);
      cb.deadlines.user = Recovery<Traits>{core, cb}.user_deadline();
    } else if (blocked == Blocked::cork && cb.deadlines.cork == never) {
      cb.deadlines.cork = core.now + core.config.cork_timeout;
    }
    core.arm(cb);
  }

  /// The device has accepted a plan.
  static void commit(Core& core, Control& cb, const SegmentPlan& plan) noexcept {
    ++core.stats.tcp.segments_out;
    switch (plan.kind) {
      case SegmentKind::syn:
        commit_syn(core, cb);
        break;
      case SegmentKind::data:
      case SegmentKind::resend:
        commit_data(core, cb, plan);
        break;
      case SegmentKind::window_probe:
        cb.snd.probe = false;
        cb.deadlines.retransmit = core.now + cb.rtt.rto(core.config);
        break;
      case SegmentKind::keepalive:
        cb.keepalive_due = false;
        break;
      case SegmentKind::acknowledgement:
        if (cb.rcv.acks_owed > 0) --cb.rcv.acks_owed;
        break;
    }
    if (plan.segment.has(TcpFlags::ack)) {
      cb.rcv.acknowledged(plan.segment.ack, plan.edge);
      cb.deadlines.ack = never;
    }
    core.arm(cb);
  }

  /// The device has not accepted a plan. The user's patience does not wait for the device.
  static void refused(Core& core, Control& cb, const SegmentPlan& plan) noexcept {
    core.want_output(cb);
    if (plan.sequence_length() == 0 || cb.deadlines.user != never) return;
    cb.snd.progress_at = core.now;
    cb.deadlines.user = Recovery<Traits>{core, cb}.user_deadline();
    core.arm(cb);
  }

 private:
  static void commit_syn(Core& core, Control& cb) noexcept {
    Sender& snd = cb.snd;
    cb.syn_due = false;
    if (snd.nxt == snd.iss) {
      snd.nxt = snd.next = snd.iss + 1;
      snd.timing = true;
      snd.timed = snd.nxt;
      snd.timed_at = core.now;
      snd.progress_at = core.now;
      cb.deadlines.user = Recovery<Traits>{core, cb}.user_deadline();
    } else {
      ++core.stats.tcp.retransmissions;
      snd.timing = false;
    }
    if (cb.deadlines.retransmit == never)
      cb.deadlines.retransmit = core.now + cb.rtt.rto(core.config);
  }

  static void commit_data(Core& core, Control& cb, const SegmentPlan& plan) noexcept {
    Sender& snd = cb.snd;
    const SeqNum seq = plan.segment.seq;
    const SeqNum end = seq + plan.sequence_length();
    const bool again = seq < snd.nxt;
    if (again) {
      ++core.stats.tcp.retransmissions;
      ++snd.retransmissions;
      snd.timing = false;  // Karn: only an echoed timestamp could tell which of the two arrived
      snd.timed = end;
    } else if (!snd.timing) {
      snd.timing = true;
      snd.timed = end;
      snd.timed_at = core.now;
    }
    if (!snd.outstanding()) snd.progress_at = core.now;
    note_size(core, cb, plan, end);
    snd.nxt = std::max(snd.nxt, end);
    snd.next = std::max(snd.next, plan.kind == SegmentKind::resend ? snd.next : end);
    if (plan.kind == SegmentKind::resend) snd.resend = false;
    snd.force = false;
    snd.last_sent = core.now;
    if (cb.deadlines.retransmit == never || snd.persisting) {  // RFC 6298 5.1
      cb.deadlines.retransmit = core.now + cb.rtt.rto(core.config);
      cb.deadlines.user = Recovery<Traits>{core, cb}.user_deadline();
    }
    snd.persisting = false;
    cb.deadlines.cork = never;
  }

  // The largest packet on its way: what it tells of the path when it is acknowledged (RFC
  // 5927 7.2).
  static void note_size(Core& core, Control& cb, const SegmentPlan& plan, SeqNum end) noexcept {
    const auto packet = static_cast<std::uint16_t>(
        plan.payload_length + plan.segment.options.encoded_bytes() + core.header_bytes(cb.key));
    if (packet > cb.snd.largest_sent) {
      cb.snd.largest_sent = packet;
      cb.snd.largest_end = end;
    }
  }

  // RFC 5681 4.1: after an idle time of more than one RTO the window is as at the start.
  void restart_after_idle() noexcept {
    const Sender& snd = cb_.snd;
    if (snd.outstanding() || !snd.has_work() || snd.last_sent == Instant{}) return;
    if (core_.now - snd.last_sent <= cb_.rtt.rto(core_.config)) return;
    cb_.congestion.on_idle(core_.config.initial_window * std::uint32_t{core_.full_payload(cb_)});
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
      syn.window =
          static_cast<std::uint16_t>(std::min<std::uint32_t>(cb_.options.receive_buffer, 0xffff));
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

  // Fast retransmit: one segment from SND.UNA, whatever the congestion window says.
  std::optional<SegmentPlan> plan_resend() noexcept {
    const Sender& snd = cb_.snd;
    if (snd.una == nxt_) return std::nullopt;
    SegmentPlan plan = start_plan(SegmentKind::resend, TxReason::retransmission, snd.una);
    const auto flight =
        static_cast<std::uint32_t>(std::min(snd.data_end(), nxt_) - snd.data_begin());
    fill(plan, snd.una, std::min({flight, full_payload(plan), snd.wnd}));
    return plan.sequence_length() == 0 ? std::nullopt : std::optional{plan};
  }

  std::optional<SegmentPlan> plan_data() noexcept {
    const Sender& snd = cb_.snd;
    const SeqNum end = snd.data_end();
    const bool fin_waits = snd.fin_queued && !snd.fin_acked && next_ <= end;
    const std::uint32_t available = next_ < end ? static_cast<std::uint32_t>(end - next_) : 0;
    if (available == 0 && !fin_waits) return std::nullopt;
    SegmentPlan plan = start_plan(SegmentKind::data,
                                  next_ < nxt_ ? TxReason::retransmission : TxReason::data, next_);
    const std::uint32_t full = full_payload(plan);
    const std::uint32_t usable = usable_window();
    const std::uint32_t congestion = congestion_room();
    const std::uint32_t length = std::min({available, full, usable, congestion});
    if (!worth_sending(available, length, full, usable, congestion, fin_waits)) return std::nullopt;
    fill(plan, next_, length);
    if (plan.sequence_length() == 0) {
      blocked_ = Blocked::window;
      return std::nullopt;
    }
    next_ = next_ + plan.sequence_length();
    nxt_ = std::max(nxt_, next_);
    force_ = false;
    ack_now_ = false;
    return plan;
  }

  // RFC 9293 3.8.6.2.1 with Nagle's algorithm: full segments go, a partial one only with a reason.
  bool worth_sending(std::uint32_t available, std::uint32_t length, std::uint32_t full,
                     std::uint32_t usable, std::uint32_t congestion, bool fin_waits) noexcept {
    if (length == full) return true;
    if (available != 0 && length == 0) {
      blocked_ = usable == 0 ? Blocked::window : Blocked::congestion;
      return false;
    }
    if (force_) return true;
    if (length == available) {
      if (fin_waits || next_ < nxt_) return true;
      if (cb_.options.cork) {
        blocked_ = Blocked::cork;
        return false;
      }
      if (cb_.options.no_delay || cb_.snd.una == nxt_) return true;
      blocked_ = Blocked::nagle;
      return false;
    }
    if (length == congestion && congestion < usable) {
      if (next_ == cb_.snd.una) return true;  // nothing is in flight whose ACK would bring more
      blocked_ = Blocked::congestion;
      return false;
    }
    if (2 * std::uint64_t{length} >= cb_.snd.max_wnd) return true;
    blocked_ = Blocked::window;
    return false;
  }

  // Points the plan at `length` bytes from `seq`, and sets the flags that go with them.
  void fill(SegmentPlan& plan, SeqNum seq, std::uint32_t length) noexcept {
    const Sender& snd = cb_.snd;
    plan.payload_offset = static_cast<std::uint32_t>(seq - snd.data_begin());
    plan.payload_length = length;
    const SeqNum end = seq + length;
    if (end == snd.data_end()) {
      if (length != 0) plan.segment.flags |= TcpFlags::psh;
      const bool room = end < snd.una + snd.wnd || end < nxt_;
      if (snd.fin_queued && !snd.fin_acked && room) plan.segment.flags |= TcpFlags::fin;
    }
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
    return next_ < right ? static_cast<std::uint32_t>(right - next_) : 0;
  }

  [[nodiscard]] std::uint32_t congestion_room() const noexcept {
    const std::uint64_t allowed = std::uint64_t{cb_.congestion.cwnd()} + cb_.snd.inflation;
    const auto flight = static_cast<std::uint32_t>(next_ - cb_.snd.una);
    return allowed > flight
               ? static_cast<std::uint32_t>(std::min<std::uint64_t>(allowed - flight, 0x7fffffff))
               : 0;
  }

  Core& core_;
  Control& cb_;
  SeqNum next_;
  SeqNum nxt_;
  SeqNum edge_;
  SackBlock dsack_;
  std::uint16_t window_ = 0;
  std::uint16_t acks_owed_;
  bool ack_now_;
  bool syn_due_;
  bool resend_;
  bool probe_;
  bool keepalive_due_;
  bool force_;
  Blocked blocked_ = Blocked::nothing;
};

}  // namespace tunic::inline v0
