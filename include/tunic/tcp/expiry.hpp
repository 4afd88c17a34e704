// SPDX-License-Identifier: BSL-1.0
#pragma once

// What happens when a connection's time has come: RFC 9293 3.10.8, RFC 6298 5, the persist timer
// (3.8.6.1), keep-alive (3.8.4), R1 and R2 (3.8.3), linger and FIN-WAIT-2. Nothing is sent here:
// what is due is marked and leaves with the next flush.

#include <tunic/tcp/path_mtu.hpp>
#include <tunic/tcp/recovery.hpp>
#include <tunic/tcp/stalled.hpp>
#include <tunic/tcp/tcp_core.hpp>

namespace tunic::inline v0 {

template <class Traits>
class Expiry {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  Expiry(Core& core, Control& cb) noexcept : core_{core}, cb_{cb} {}

  /// Serves every deadline that has come. The control block may be gone afterwards.
  void run() noexcept {
    if (take_due(cb_.deadlines.close, core_.now)) {
      core_.abort(cb_, cb_.state == TcpState::fin_wait_2 ? Errc::none : Errc::timed_out);
      return;
    }
    if (take_due(cb_.deadlines.user, core_.now)) {
      give_up();
      return;
    }
    if (take_due(cb_.deadlines.retransmit, core_.now) && !retransmit()) return;
    if (take_due(cb_.deadlines.ack, core_.now)) core_.acknowledge(cb_);
    if (take_due(cb_.deadlines.cork, core_.now)) stop_waiting();
    if (take_due(cb_.deadlines.pacing, core_.now)) core_.want_output(cb_);
    if constexpr (Traits::keepalive) {
      if (take_due(cb_.deadlines.keepalive, core_.now) && !keepalive()) return;
    }
    core_.arm(cb_);
  }

 private:
  // What was held back goes, and who found no memory may try again.
  void stop_waiting() noexcept {
    Sender& snd = cb_.snd;
    if (snd.has_work()) {
      snd.force = true;
      core_.want_output(cb_);
    } else if (snd.short_write && snd.queue.empty()) {
      snd.short_write = false;
      core_.raise(cb_, EventFlags::writable);
    }
  }

  static constexpr unsigned r1 = 3;  // retransmissions before the user is warned (RFC 9293 SHLD-10)

  // False when the connection is gone.
  bool retransmit() noexcept {
    Sender& snd = cb_.snd;
    switch (cb_.state) {
      case TcpState::syn_sent:
        return retransmit_syn(core_.config.syn_retries);
      case TcpState::syn_received:
        return retransmit_syn(cb_.passive ? core_.config.syn_ack_retries
                                          : core_.config.syn_retries);
      default:
        break;
    }
    if (snd.persisting || snd.wnd == 0) {
      persist();
      return true;
    }
    if (!snd.outstanding()) return true;
    if (core_.backlogged) {  // the acknowledgement may be among the packets that wait
      cb_.deadlines.retransmit = core_.now;
      return true;
    }
    if (snd.pacer.waiting() && snd.in_flight() == 0) {  // what is late has not left again yet
      snd.rto_at = std::max(core_.now, cb_.deadlines.pacing) + cb_.rtt.rto(core_.config);
      cb_.deadlines.retransmit = snd.rto_at;
      return true;
    }
    switch (snd.timer) {
      case RetransmitTimer::reordering:
        return judge();
      case RetransmitTimer::tail_probe:
        Recovery<Traits>{core_, cb_}.probe_tail();
        return true;
      case RetransmitTimer::time_out:
        break;
    }
    PathMtu<Traits>{core_, cb_}.timed_out();
    Recovery<Traits>{core_, cb_}.timed_out();
    if (snd.retries == r1) core_.soft_error(cb_, Errc::timed_out);
    return true;
  }

  // The path has had its time to reorder.
  bool judge() noexcept {
    Recovery<Traits> recovery{core_, cb_};
    recovery.detect(recovery.flight_size(), recovery.unreported());
    recovery.schedule();
    return true;
  }

  bool retransmit_syn(unsigned limit) noexcept {
    if (cb_.snd.retries >= limit) {
      ++core_.stats.tcp.failed_handshakes;
      core_.close(cb_, cb_.soft_error != Errc::none ? cb_.soft_error : Errc::timed_out);
      return false;
    }
    if constexpr (Traits::ecn) cb_.ecn.asking = false;  // RFC 3168 6.1.1.1: it may be the reason
    ++cb_.snd.retries;
    cb_.rtt.back_off();
    cb_.snd.timing = false;
    cb_.syn_due = true;
    core_.want_output(cb_);
    return true;
  }

  // A window probe, or what a small window allows after waiting for a larger one (RFC
  // 9293 3.8.6.1, 3.8.6.2.1).
  void persist() noexcept {
    Sender& snd = cb_.snd;
    if (!snd.persisting && snd.wnd == 0) set_persisting(core_, cb_, true);
    if (cb_.deadlines.user == never) {  // probing begins now, and so does the user's patience
      snd.progress_at = core_.now;
      cb_.deadlines.user = Recovery<Traits>{core_, cb_}.user_deadline();
    }
    cb_.rtt.back_off();
    if (snd.wnd == 0) {
      snd.probe = true;
      ++core_.stats.tcp.zero_window_probes;
    } else {
      snd.force = true;
    }
    core_.want_output(cb_);
  }

  // R2: the peer has not answered for as long as the user would wait.
  void give_up() noexcept {
    if (cb_.state == TcpState::syn_sent) ++core_.stats.tcp.failed_handshakes;
    core_.abort(cb_, Errc::timed_out);
  }

  bool keepalive() noexcept {
    const Keepalive& settings = cb_.options.keepalive;
    if (!settings.enabled) return true;
    const Instant due = cb_.last_received + settings.idle;
    if (cb_.snd.outstanding() || (cb_.keepalive_probes == 0 && core_.now < due)) {  // MUST-26
      cb_.deadlines.keepalive = core_.now < due ? due : core_.now + settings.interval;
      return true;
    }
    if (cb_.keepalive_probes >= settings.count) {
      core_.abort(cb_, Errc::timed_out);
      return false;
    }
    ++cb_.keepalive_probes;
    ++core_.stats.tcp.keepalive_probes;
    cb_.keepalive_due = true;
    cb_.deadlines.keepalive = core_.now + settings.interval;
    core_.want_output(cb_);
    return true;
  }

  Core& core_;
  Control& cb_;
};

}  // namespace tunic::inline v0
