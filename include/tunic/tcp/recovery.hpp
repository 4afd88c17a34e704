// SPDX-License-Identifier: BSL-1.0
#pragma once

// When the sender takes a loss for granted, how it recovers, and when it sees that there was none:
// RACK-TLP (RFC 8985), for peers without SACK NewReno's fast retransmit (RFC 6582), the time-out
// (RFC 6298 5) with F-RTO (RFC 5682), and undo. What acknowledgements say is read in
// tcp/acknowledgement.hpp; how much the window shrinks is the congestion controller's.

#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

namespace tunic::inline v0 {

template <class Traits>
class Recovery {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  Recovery(Core& core, Control& cb) noexcept : core_{core}, cb_{cb}, snd_{cb.snd} {}

  /// Marks what is lost by now and sees to it that it is sent again. `flight` is `flight_size()`
  /// before the acknowledgement that led here, `unreported` is `unreported()` then. Returns the
  /// bytes that were marked.
  std::uint32_t detect(std::uint32_t flight, std::uint32_t unreported) noexcept {
    const std::uint32_t before = snd_.board.lost_bytes();
    if (cb_.sack) {
      snd_.judge_at = snd_.rack.detect(snd_.board, reordering_window(), core_.now,
                                       [this](auto) noexcept { ++snd_.losses; });
    } else if (snd_.phase == SenderPhase::open && snd_.dup_acks >= dup_thresh &&
               snd_.recover < snd_.una) {
      // RFC 6582 3.2, step 2. Up to `recover` duplicates are echoes of what was sent again (4.1).
      lose_first();
    }
    const std::uint32_t lost = snd_.board.lost_bytes() - before;
    if (lost == 0) return 0;
    if (snd_.phase == SenderPhase::open) enter(flight, unreported);
    core_.want_output(cb_);
    return lost;
  }

  /// Without SACK an acknowledgement of a part uncovers the next hole (RFC 6582 3.2, step 3).
  void lose_first() noexcept {
    if (snd_.board.empty() || snd_.board.front().where != Whereabouts::flight) return;
    snd_.board.lose(snd_.board.first());
    ++snd_.losses;
    core_.want_output(cb_);
  }

  /// All that was in flight when the phase began has been acknowledged.
  void end_phase() noexcept {
    if (snd_.phase == SenderPhase::recovery)
      cb_.congestion.on_recovery_end(snd_.in_flight(), core_.full_payload(cb_));
    snd_.rack.recovered();
    if constexpr (Traits::ecn) {
      cb_.ecn.reduced_at(snd_.recover);
      if (std::exchange(cb_.ecn.echo_waits, false)) snd_.undo.stop();
    }
    leave_phase();
  }

  /// The peer may `echo` a mark: as for a loss the window is reduced, once per window of data. What
  /// is reduced for a mark is never undone, so a mark that comes in a recovery waits for its end.
  /// `flight` as for `detect`. Each acknowledgement.
  void marked(bool echo, std::uint32_t flight) noexcept {
    if constexpr (Traits::ecn) {
      EcnState& ecn = cb_.ecn;
      if (ecn.reduced && snd_.una <= ecn.reduced_until) return;  // CWR has not got there yet
      ecn.reduced = false;
      ecn.echo_waits = ecn.echo_waits || (echo && flight != 0);
      if (snd_.phase == SenderPhase::open && std::exchange(ecn.echo_waits, false))
        reduce_for_mark(flight);
    }
  }

  /// What was taken for a loss was none: the window is what it was (RFC 4015, RFC 5682 4).
  void undo() noexcept {
    if (snd_.phase == SenderPhase::loss) {
      ++core_.stats.tcp.spurious_timeouts;
    } else {
      ++core_.stats.tcp.spurious_recoveries;
      snd_.rack.overtaken();
    }
    ++snd_.spurious;
    cb_.congestion.on_spurious();
    snd_.board.find_lost();
    snd_.undo.stop();
    leave_phase();
    core_.want_output(cb_);
  }

  /// A duplicate says that the time-out was for a loss: what is lost goes on being sent again, one
  /// segment at once, for what was sent instead fills the window (RFC 5682 2.1, step 3a).
  void time_out_was_true() noexcept {
    if (std::exchange(snd_.frto, Frto::off) == Frto::second_ack) snd_.force = true;
    core_.want_output(cb_);
  }

  /// The retransmission timer has expired with data outstanding (RFC 6298 5.4 to 5.6, RFC 5681 3.1,
  /// RFC 8985 6.3).
  void timed_out() noexcept {
    ++core_.stats.tcp.timeouts;
    const bool first = snd_.retries == 0;
    const bool reneged = snd_.board.front().where == Whereabouts::sacked;
    const bool fresh = snd_.phase == SenderPhase::open;
    cb_.congestion.on_timeout(congestion_event(snd_.in_flight() + snd_.board.lost_bytes()), first);
    if constexpr (Traits::ecn) cb_.ecn.cwr_due = true;
    if (snd_.retries < 255) ++snd_.retries;
    cb_.rtt.back_off();
    if (first) {
      snd_.undo.start(snd_.una, snd_.board.resent_segments() != 0);
      // Without SACK it cuts a recovery of many round trips short (RFC 6582 4): that something sent
      // again in that is on its way does not make it spurious.
      if (!cb_.sack && !fresh) snd_.undo.stop();
    }
    snd_.frto = fresh && first && !reneged ? Frto::first_ack : Frto::off;
    snd_.phase = SenderPhase::loss;
    snd_.recover = snd_.nxt;
    const std::uint32_t lost_before = snd_.board.lost_bytes();
    if (cb_.sack && !reneged) {
      snd_.rack.time_out(snd_.board, reordering_window(), core_.now);
      snd_.board.order_lost();
    } else {
      snd_.board.lose_all(reneged);
    }
    if (snd_.board.lost_bytes() != lost_before) ++snd_.losses;
    snd_.credit = 0;
    snd_.dup_acks = 0;
    snd_.partial_acks = 0;
    snd_.timing = false;
    snd_.tail_probe_due = snd_.tail_probe_out = false;
    snd_.force = true;
    core_.want_output(cb_);
  }

  /// The window of a peer that had shut it is open again: what it may have thrown away is sent
  /// again.
  void resume() noexcept {
    snd_.board.lose_all(false);
    snd_.credit = 0;
    snd_.timing = false;
    core_.want_output(cb_);
  }

  /// Sets the retransmission timer: for the next judgement, a tail loss probe, or the time-out.
  void schedule() noexcept {
    if (!snd_.outstanding()) {
      cb_.deadlines.retransmit = never;
      return;
    }
    snd_.timer = RetransmitTimer::time_out;
    cb_.deadlines.retransmit = snd_.rto_at;
    if (snd_.judge_at < snd_.rto_at) {
      snd_.timer = RetransmitTimer::reordering;
      cb_.deadlines.retransmit = snd_.judge_at;
    } else if (may_probe()) {
      snd_.timer = RetransmitTimer::tail_probe;
      cb_.deadlines.retransmit = std::min(snd_.rto_at, core_.now + probe_timeout());
    }
    core_.arm(cb_);
  }

  /// Starts the retransmission time-out anew (RFC 6298 5.3).
  void restart() noexcept {
    snd_.rto_at = core_.now + cb_.rtt.rto(core_.config);
    schedule();
  }

  /// No acknowledgement has come for two round trips: one segment asks for one (RFC 8985 7.3). The
  /// time-out starts anew.
  void probe_tail() noexcept {
    snd_.tail_probe_due = true;
    snd_.tail_probe_out = true;
    snd_.rtt_since_probe = false;
    ++core_.stats.tcp.tail_probes;
    snd_.rto_at = core_.now + cb_.rtt.rto(core_.config);
    schedule();
    core_.want_output(cb_);
  }

  /// A tail loss probe has repaired a loss: the path is as congested as after any other (RFC 8985
  /// 7.4).
  void probe_repaired(std::uint32_t flight) noexcept {
    snd_.tail_probe_out = false;
    if (snd_.phase != SenderPhase::open || answered(snd_.tail_probe_end - 1)) return;
    reduce_at_once(congestion_event(flight));
  }

  /// When the user's patience ends (RFC 9293 3.8.3, R2), if ever.
  [[nodiscard]] Instant user_deadline() const noexcept {
    Duration patience = cb_.options.user_timeout;
    if (cb_.orphan && (patience.count() == 0 || core_.config.orphan_timeout < patience)) {
      patience = core_.config.orphan_timeout;
    }
    return patience.count() == 0 ? never : snd_.progress_at + patience;
  }

  /// What is sent and not acknowledged, in order or not: RFC 5681's FlightSize, without what
  /// limited transmit has sent beyond the window (3.2, step 2).
  [[nodiscard]] std::uint32_t flight_size() const noexcept {
    const auto outstanding = static_cast<std::uint32_t>(snd_.nxt - snd_.una);
    return std::max(snd_.in_flight(), std::min(outstanding, window()));
  }

  /// Bytes that no acknowledgement has covered in any way: RecoverFS of RFC 9937 6.1.
  [[nodiscard]] std::uint32_t unreported() const noexcept {
    return snd_.board.in_flight() + snd_.board.lost_bytes();
  }

  /// The congestion window now, in bytes.
  [[nodiscard]] std::uint32_t window() const noexcept {
    return snd_.phase == SenderPhase::recovery ? snd_.prr.window() : cb_.congestion.cwnd();
  }

  /// A mark on a window of one segment: new data waits for the timer (RFC 3168 6.1.2).
  [[nodiscard]] bool quiet() const noexcept {
    if constexpr (Traits::ecn) return core_.now < cb_.ecn.quiet_until;
    return false;
  }

  /// IW = min(10 x MSS, max(2 x MSS, 14600)), with the configured number for 10 (RFC 6928 2). It is
  /// the window after an idle time as well (RFC 5681 4.1).
  [[nodiscard]] std::uint32_t initial_window() const noexcept {
    const std::uint32_t mss = core_.full_payload(cb_);
    const std::uint32_t count = core_.config.initial_window;
    return std::min(count * mss, std::max(std::min(2U, count) * mss, count * 1460));
  }

  [[nodiscard]] Duration reordering_window() const noexcept {
    return snd_.rack.window(snd_.phase != SenderPhase::open, snd_.board.sacked_segments(),
                            snd_.min_rtt.value(), cb_.rtt.srtt());
  }

 private:
  static constexpr unsigned dup_thresh = 3;
  static constexpr Duration least_probe_delay =
      std::chrono::milliseconds{2};  // peers have clocks too

  void enter(std::uint32_t flight, std::uint32_t unreported) noexcept {
    ++core_.stats.tcp.fast_retransmits;
    snd_.phase = SenderPhase::recovery;
    snd_.recover = snd_.nxt;
    snd_.timing = false;  // Karn: what is being timed may be what is sent again
    if (!answered(snd_.una)) {
      snd_.undo.start(snd_.una, snd_.board.resent_segments() != 0);
      cb_.congestion.on_congestion(congestion_event(flight));
      if constexpr (Traits::ecn) cb_.ecn.cwr_due = true;
    }
    snd_.prr.start(unreported, cb_.congestion.ssthresh());
    snd_.prr.acknowledged(0, snd_.in_flight(), core_.full_payload(cb_), false);
  }

  // A loss in a window of data that was reduced for a mark is the same congestion (RFC 3168 6.1.2).
  [[nodiscard]] bool answered(SeqNum seq) const noexcept {
    if constexpr (Traits::ecn) return cb_.ecn.answered(seq);
    return false;
  }

  void reduce_for_mark(std::uint32_t flight) noexcept {
    CongestionEvent event = congestion_event(flight);
    event.cause = CongestionEvent::Cause::ecn;
    const bool least = cb_.congestion.cwnd() <= event.mss;
    reduce_at_once(event);
    ++cb_.ecn.reductions;
    ++core_.stats.tcp.ecn_reductions;
    if (!least || snd_.persisting) return;
    restart();
    cb_.ecn.quiet_until = snd_.rto_at;
  }

  // There is nothing to repair.
  void reduce_at_once(const CongestionEvent& event) noexcept {
    snd_.undo.stop();
    cb_.congestion.on_congestion(event);
    cb_.congestion.on_recovery_end(event.flight, event.mss);
    if constexpr (Traits::ecn) {
      cb_.ecn.reduced_at(snd_.nxt);
      cb_.ecn.cwr_due = true;
    }
  }

  void leave_phase() noexcept {
    snd_.phase = SenderPhase::open;
    snd_.frto = Frto::off;
    snd_.dup_acks = 0;
    snd_.partial_acks = 0;
    snd_.credit = 0;
  }

  // RFC 8985 7.2: in order, nothing reported, nothing being repaired.
  [[nodiscard]] bool may_probe() const noexcept {
    return cb_.sack && snd_.phase == SenderPhase::open && snd_.board.sacked_segments() == 0 &&
           snd_.board.lost_bytes() == 0 && !snd_.tail_probe_out && snd_.rtt_since_probe &&
           !snd_.board.empty() && !quiet();
  }

  [[nodiscard]] Duration probe_timeout() const noexcept {
    if (!cb_.rtt.has_sample()) return core_.config.initial_rto;
    const bool alone = snd_.board.segments() == 1;
    return 2 * cb_.rtt.srtt() + (alone ? core_.config.max_ack_delay : least_probe_delay);
  }

  [[nodiscard]] CongestionEvent congestion_event(std::uint32_t flight) const noexcept {
    return {.now = core_.now,
            .flight = flight,
            .mss = core_.full_payload(cb_),
            .cause = CongestionEvent::Cause::loss};
  }

  Core& core_;
  Control& cb_;
  Sender& snd_;
};

}  // namespace tunic::inline v0
