// SPDX-License-Identifier: BSL-1.0
#pragma once

// What becomes of planned segments: the device has accepted one or not, and when all are gone, the
// timer starts of what has to wait (RFC 6298 5.1, RFC 9293 3.8.6.1).

#include <tunic/tcp/pacing_rate.hpp>
#include <tunic/tcp/recovery.hpp>
#include <tunic/tcp/segment_plan.hpp>
#include <tunic/tcp/sending_limit.hpp>
#include <tunic/tcp/stalled.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <cstdint>

namespace tunic::inline v0 {

/// What keeps a connection from sending more.
enum class Blocked : std::uint8_t { nothing, window, congestion, pacing, nagle, cork, memory };

template <class Traits>
class Commit {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  /// To be called once all that `next` yielded has been committed: starts the timer of what has to
  /// wait.
  static void settle(Core& core, Control& cb, Blocked blocked) noexcept {
    Sender& snd = cb.snd;
    if (!synchronized(cb.state)) return;
    if (snd.pacer.on()) settle_pacing(core, cb, blocked);
    note_limit(core, cb, blocked == Blocked::window);
    if (blocked == Blocked::congestion) {
      snd.window_limited = true;
    } else if (blocked != Blocked::memory && blocked != Blocked::pacing &&
               snd.board.lost_bytes() == 0) {
      snd.rate.app_limited(snd.in_flight());
    }
    if (!snd.has_work()) {
      if (!snd.outstanding()) snd.board.clear(core.pool);  // nothing is held for who is silent
      return;
    }
    if (blocked == Blocked::window && cb.deadlines.retransmit == never) {
      snd.timer = RetransmitTimer::time_out;
      set_persisting(core, cb, true);
      snd.progress_at = core.now;
      cb.deadlines.retransmit = core.now + cb.rtt.rto(core.config);
      cb.deadlines.user = Recovery<Traits>{core, cb}.user_deadline();
    } else if (blocked == Blocked::cork && cb.deadlines.cork == never) {
      cb.deadlines.cork = core.now + core.config.cork_timeout;
    }
    if constexpr (Traits::ecn) {
      if (Recovery<Traits>{core, cb}.quiet() && !snd.outstanding())  // no ACK will come
        cb.deadlines.cork = std::min(cb.deadlines.cork, cb.ecn.quiet_until);
    }
    core.arm(cb);
  }

  /// The device has accepted a plan.
  static void accepted(Core& core, Control& cb, const SegmentPlan& plan) noexcept {
    const std::uint32_t segments = plan.segments();
    core.stats.tcp.segments_out += segments;
    const bool again = repeats(cb, plan);
    cb.traffic.sent(plan.payload_length, segments, again);
    if (again) {
      core.stats.tcp.retransmissions += segments;
      cb.snd.retransmissions += segments;
    }
    switch (plan.kind) {
      case SegmentKind::syn:
        commit_syn(core, cb);
        break;
      case SegmentKind::data:
      case SegmentKind::resend:
        commit_data(core, cb, plan);
        break;
      case SegmentKind::copy:
        commit_copy(core, cb, plan);
        break;
      case SegmentKind::window_probe:
        cb.snd.probe = false;
        cb.snd.timer = RetransmitTimer::time_out;
        cb.snd.rto_at = cb.deadlines.retransmit = core.now + cb.rtt.rto(core.config);
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
      if constexpr (Traits::ecn) cb.ecn.unreported = false;
      if (cb.timestamps)
        cb.rcv.tuning.acknowledged(plan.segment.options.timestamps.value, core.now);
      cb.deadlines.ack = never;
    }
    core.arm(cb);
  }

  /// The device has not accepted a plan. The user's patience does not wait for the device.
  static void refused(Core& core, Control& cb, const SegmentPlan& plan) noexcept {
    core.want_output(cb);
    if (plan.sequence_length() == 0) return;
    note_limit(core, cb);
    if (cb.deadlines.user != never) return;
    cb.snd.progress_at = core.now;
    cb.deadlines.user = Recovery<Traits>{core, cb}.user_deadline();
    core.arm(cb);
  }

 private:
  static bool repeats(const Control& cb, const SegmentPlan& plan) noexcept {
    return plan.kind == SegmentKind::resend || plan.kind == SegmentKind::copy ||
           (plan.kind == SegmentKind::syn && cb.snd.nxt != cb.snd.iss);
  }

  static void settle_pacing(Core& core, Control& cb, Blocked blocked) noexcept {
    Sender& snd = cb.snd;
    if (blocked != Blocked::pacing) {
      snd.pacer.rest();
      cb.deadlines.pacing = never;
      return;
    }
    const Pace pace = pace_of(core, cb);
    cb.deadlines.pacing = snd.pacer.wait(pace);
    // RFC 9002 7.8: a window that would be filled but for its pacing is made use of. One that is
    // held down by the user's bound, or by a controller's own rate, is not.
    if (pace.of_window && snd.in_flight() + snd.board.lost_bytes() + snd.unsent() >=
                              Recovery<Traits>{core, cb}.window())
      snd.window_limited = true;
  }

  static void commit_syn(Core& core, Control& cb) noexcept {
    Sender& snd = cb.snd;
    cb.syn_due = false;
    if (snd.nxt == snd.iss) {
      snd.nxt = snd.iss + 1;
      snd.timing = true;
      snd.timed = snd.nxt;
      snd.timed_at = core.now;
      snd.progress_at = core.now;
      cb.deadlines.user = Recovery<Traits>{core, cb}.user_deadline();
    } else {
      snd.timing = false;
    }
    if (cb.deadlines.retransmit == never)
      cb.deadlines.retransmit = core.now + cb.rtt.rto(core.config);
  }

  static void commit_data(Core& core, Control& cb, const SegmentPlan& plan) noexcept {
    Sender& snd = cb.snd;
    if (!snd.outstanding()) snd.progress_at = core.now;
    note_size(core, cb, plan);
    SentSegment first;
    first.begin = plan.segment.seq;
    first.length = static_cast<std::uint16_t>(plan.first_end() - first.begin);
    first.fin = plan.segment.has(TcpFlags::fin);
    snd.rate.stamp(first, snd.in_flight(), core.now);
    if (plan.kind == SegmentKind::resend) {
      commit_resends(core, cb, plan, first);
    } else {
      snd.board.sent(first, plan.segments(), plan.sequence_length());
      snd.nxt = first.begin + plan.sequence_length();
      if constexpr (Traits::ecn) {
        if (plan.segment.has(TcpFlags::cwr)) cb.ecn.cwr_due = false;
      }
      if (!snd.timing) {
        snd.timing = true;
        snd.timed = plan.first_end();
        snd.timed_at = core.now;
      }
    }
    if (snd.phase == SenderPhase::recovery) snd.prr.sent(plan.sequence_length());
    if (plan.tail_probe) {
      snd.tail_probe_due = false;
      snd.tail_probe_again = plan.kind == SegmentKind::resend;
      snd.tail_probe_end = snd.nxt;
    }
    if (snd.pacer.on()) snd.pacer.sent(plan.payload_length);
    snd.force = false;
    snd.last_sent = core.now;
    snd.idle_told = false;
    if (cb.deadlines.retransmit == never || snd.persisting) {  // RFC 6298 5.1
      snd.rto_at = core.now + cb.rtt.rto(core.config);
      cb.deadlines.user = Recovery<Traits>{core, cb}.user_deadline();
    }
    set_persisting(core, cb, false);
    Recovery<Traits>{core, cb}.schedule();
    cb.deadlines.cork = never;
  }

  static void commit_resends(Core& core, Control& cb, const SegmentPlan& plan,
                             SentSegment stamp) noexcept {
    Sender& snd = cb.snd;
    snd.timing = false;  // Karn: only an echoed timestamp could tell which of the two arrived
    for (std::uint32_t i = 0; i < plan.segments(); ++i) {
      const SentSegment& before = snd.board[plan.number + i];
      if (i != 0) stamp.in_flight += before.length;
      snd.timed = before.end();
      snd.undo.sent_again(before.end(), core.timestamp(cb, before.sent_at), core.timestamp(cb));
      snd.board.sent_again(plan.number + i, stamp);
    }
  }

  static void commit_copy(Core& core, Control& cb, const SegmentPlan& plan) noexcept {
    Sender& snd = cb.snd;
    if (snd.pacer.on()) snd.pacer.sent(plan.payload_length);
    snd.undo.sent_again(plan.segment.seq + plan.payload_length, core.timestamp(cb),
                        core.timestamp(cb));
    snd.copy_due = 0;
    snd.copies_sent[snd.retries % 2] = static_cast<std::uint16_t>(plan.payload_length);
  }

  // The largest packet on its way: what it tells of the path when it is acknowledged (RFC
  // 5927 7.2).
  static void note_size(Core& core, Control& cb, const SegmentPlan& plan) noexcept {
    const std::uint32_t payload = std::min(plan.payload_length, plan.segment_bytes);
    const auto packet = static_cast<std::uint16_t>(payload + plan.segment.options.encoded_bytes() +
                                                   core.header_bytes(cb.key));
    if (packet > cb.snd.largest_sent) {
      cb.snd.largest_sent = packet;
      cb.snd.largest_end = plan.first_end();
    }
  }
};

}  // namespace tunic::inline v0
