// SPDX-License-Identifier: BSL-1.0
#pragma once

// A segment that meets a connection: RFC 9293 3.10.7.4 step by step, with the checks of RFC 5961
// (blind attacks) and RFC 7323 5 (PAWS). One object lives for one segment. (More than 400 lines
// because the eight steps stand together, in their order.)

#include <tunic/ip/ip_packet.hpp>
#include <tunic/tcp/acknowledgement.hpp>
#include <tunic/tcp/ecn.hpp>
#include <tunic/tcp/handshake.hpp>
#include <tunic/tcp/stalled.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <cstdint>

namespace tunic::inline v0 {

template <class Traits>
class Input {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  /// `segment` came in `packet`, and may be several in one.
  Input(Core& core, Control& cb, const TcpSegment& segment, const IpPacket& packet) noexcept
      : core_{core},
        cb_{cb},
        snd_{cb.snd},
        rcv_{cb.rcv},
        segment_{segment},
        packet_{packet},
        ce_{is_marked(packet.traffic_class)} {}

  /// Processes the segment. The control block may be gone afterwards. If this says true it is not,
  /// and `follow` will do for the next one.
  bool run() noexcept {
    if (cb_.state == TcpState::syn_sent) {
      if (!Handshake<Traits>{core_}.syn_sent(cb_, segment_)) return false;
    } else {
      if (!check_sequence() || !check_reset() || !check_syn() || !check_ack()) return false;
      heard();
      process_urgent();
    }
    // A SYN takes part only in an open; its payload begins after it.
    if (!process_payload(segment_.seq + (segment_.has(TcpFlags::syn) ? 1 : 0))) return false;
    if (is_plain()) return true;
    process_fin();
    return false;
  }

  /// Processes a segment that differs from the one before it in its number, its payload and PSH
  /// only, and comes at the same time: all but its payload was judged with that one. False, and
  /// nothing done, when it is not the next in order.
  bool follow() noexcept {
    if (segment_.seq != rcv_.nxt || rcv_.window() == 0 || !is_open()) return false;
    take_window();
    process_payload(segment_.seq);
    return true;
  }

 private:
  // Whether data can come that has no end yet, for a reader who is there.
  [[nodiscard]] bool is_open() const noexcept {
    return can_receive(cb_.state) && !rcv_.fin_known && !rcv_.read_closed;
  }
  // Whether it had nothing to it but data, which was taken.
  [[nodiscard]] bool is_plain() const noexcept {
    const TcpFlags flags = segment_.flags & ~TcpFlags::psh;
    return flags == TcpFlags::ack && !segment_.payload.empty() && !overtaken_ &&
           segment_.options.sack_count == 0 && is_open() &&
           rcv_.nxt == segment_.seq + segment_.length();
  }

  bool drop(Drop reason) noexcept {
    core_.stats.count(reason);
    return false;
  }

  // Drops the segment, but tells the peer where we stand (RFC 5961).
  bool challenge(Drop reason) noexcept {
    core_.challenge(cb_);
    return drop(reason);
  }

  // First check: does any of it lie in the window, and is it newer than what was seen?
  bool check_sequence() noexcept {
    if (segment_.has(TcpFlags::rst))
      return true;  // judged by its own rule, and exempt from PAWS (RFC 7323 5.2)
    if (cb_.state == TcpState::syn_received && segment_.has(TcpFlags::syn))
      return true;  // likewise
    if (!check_paws()) return false;
    const std::uint32_t length = segment_.length();
    if (rcv_.acceptable(segment_.seq, length)) return true;
    // A pure ACK at the right edge comes from a peer that has filled our window; its ACK counts.
    if (length == 0 && segment_.seq == rcv_.edge) return true;
    if (segment_.has(TcpFlags::syn)) return true;  // a challenge whatever its number, see check_syn
    return refuse_out_of_window(length);
  }

  bool refuse_out_of_window(std::uint32_t length) noexcept {
    core_.stats.count(Drop::out_of_window);
    // RFC 9293 3.10.7.4: at a zero window valid ACKs and urgent pointers still count.
    const bool probe = rcv_.window() == 0 && segment_.seq == rcv_.nxt;
    const SeqNum end = segment_.seq + length;
    if (length != 0 && end <= rcv_.nxt) {
      ++core_.stats.tcp.duplicates;
      rcv_.report_duplicate(
          {segment_.seq, segment_.seq + static_cast<std::uint32_t>(segment_.payload.size())});
      owe_ack();  // an old duplicate: its sender waits for this
    } else if (probe) {
      core_.acknowledge(cb_);
    } else {
      core_.challenge(cb_);
    }
    if (probe && segment_.has(TcpFlags::ack) && cb_.state != TcpState::syn_received) {
      heard();
      if (check_ack()) process_urgent();
    }
    return false;
  }

  // RFC 7323 5.3: R1 of PAWS. A segment without the option is tolerated.
  bool check_paws() noexcept {
    if constexpr (Traits::timestamps) {
      if (!cb_.timestamps) return true;
      if (!segment_.options.has_timestamps) {
        // Deviation: 7323-07: RFC 7323 3.2 drops it; middleboxes strip the option, and a stalled
        // stream helps nobody.
        ++core_.stats.tcp.timestamps_missing;
        return true;
      }
      const auto age =
          static_cast<std::int32_t>(rcv_.ts_recent - segment_.options.timestamps.value);
      constexpr Duration outdated = std::chrono::hours{24 * 24};  // RFC 7323 5.5
      if (age <= 0 || core_.now - rcv_.ts_recent_at > outdated) return true;
      // Deviation: 7323-13: the RFC drops this too and calls it unlikely (5.3). On a path that
      // reorders each retransmission would cost what it has overtaken, and that one more.
      overtaken_ = !segment_.payload.empty() && rcv_.overtaken(segment_.seq + segment_.length(),
                                                               segment_.options.timestamps.value);
      return overtaken_ || challenge(Drop::paws);
    }
    return true;
  }

  // RFC 7323 4.3: the timestamp to echo is that of the segment which the next ACK answers first.
  void update_ts_recent() noexcept {
    if constexpr (Traits::timestamps) {
      if (!cb_.timestamps || !segment_.options.has_timestamps || overtaken_ ||
          rcv_.last_ack_sent < segment_.seq)
        return;
      rcv_.stamped(segment_.options.timestamps.value, core_.now);
    }
  }

  // Second check: RST (RFC 5961 3.2).
  bool check_reset() noexcept {
    if (!segment_.has(TcpFlags::rst)) return true;
    const SeqNum seq = segment_.seq;
    if (seq != rcv_.nxt) {
      if (!(rcv_.nxt <= seq && seq < rcv_.edge)) return drop(Drop::rst_out_of_window);
      return challenge(Drop::rst_ignored);
    }
    ++core_.stats.tcp.resets_in;
    switch (cb_.state) {
      case TcpState::syn_received:
        ++core_.stats.tcp.failed_handshakes;
        core_.close(cb_, cb_.passive ? Errc::none : Errc::connection_refused);
        break;
      case TcpState::closing:
      case TcpState::last_ack:
        core_.close(cb_, snd_.fin_sent() ? Errc::none : Errc::connection_reset);
        break;
      default:
        core_.close(cb_, Errc::connection_reset);
        break;
    }
    return false;
  }

  // Fourth check (there is no third): SYN. RFC 5961 4.2, and RFC 9293's rules for SYN-RECEIVED.
  bool check_syn() noexcept {
    if (!segment_.has(TcpFlags::syn)) return true;
    if (cb_.state != TcpState::syn_received) return challenge(Drop::syn_in_synchronized);
    const bool with_ack = segment_.has(TcpFlags::ack);
    if (segment_.seq == rcv_.irs) {
      if constexpr (Traits::ecn) cb_.ecn.repeated(segment_.flags);
      if (with_ack && !cb_.passive)
        return true;       // simultaneous open: the peer's SYN+ACK brings our ACK
      cb_.syn_due = true;  // the same SYN+ACK again
      core_.want_output(cb_);
      return drop(Drop::syn_in_synchronized);
    }
    if (cb_.passive && !with_ack && rcv_.acceptable(segment_.seq, segment_.length())) {
      core_.stats.count(Drop::syn_in_synchronized);
      core_.close(cb_, Errc::none);  // back to LISTEN
      return false;
    }
    return challenge(Drop::out_of_window);
  }

  // Fifth check: ACK.
  bool check_ack() noexcept {
    if (!segment_.has(TcpFlags::ack)) return drop(Drop::no_ack_flag);
    const SeqNum ack = segment_.ack;
    if (cb_.state == TcpState::syn_received && !finish_handshake()) return false;
    if (ack < snd_.una - std::min(snd_.max_wnd, std::uint32_t{0x7fffffff})) {  // RFC 5961 5.2
      return challenge(Drop::old_ack);
    }
    if (snd_.nxt < ack) return challenge(Drop::bad_ack);
    if (rcv_.acceptable(segment_.seq, segment_.length())) update_ts_recent();
    return process_ack();
  }

  // SYN-RECEIVED: the ACK of our SYN makes the connection. A full accept queue lets the peer try
  // again.
  bool finish_handshake() noexcept {
    const SeqNum ack = segment_.ack;
    if (ack <= snd_.una || snd_.nxt < ack) {
      core_.stats.count(Drop::bad_ack);
      core_.reset_in_reply(cb_.key, segment_);
      return false;
    }
    if (cb_.listener != nullptr) {
      if (cb_.listener->accept_queue_full()) return drop(Drop::accept_queue_full);
      --cb_.listener->half_open;
      --core_.stats.gauges.half_open;
      ++core_.stats.tcp.passive_opens;
      cb_.listener->accept_queue.push_back(cb_);
    }
    snd_.una = ack;
    snd_.wnd = scaled_window();
    snd_.max_wnd = std::max(snd_.max_wnd, snd_.wnd);
    snd_.wl1 = segment_.seq;
    snd_.wl2 = ack;
    Handshake<Traits>{core_}.established(cb_);
    return true;
  }

  [[nodiscard]] std::uint32_t scaled_window() const noexcept {
    return segment_.has(TcpFlags::syn) ? segment_.window
                                       : std::uint32_t{segment_.window} << snd_.scale;
  }

  // False when it ends the connection.
  bool process_ack() noexcept {
    Acknowledgement<Traits>{core_, cb_, segment_}.run(scaled_window() == snd_.wnd);
    take_window();
    return !snd_.fin_acked || fin_acknowledged();
  }

  void take_window() noexcept {
    if (snd_.una != segment_.ack) return;
    const std::uint32_t old_window = snd_.wnd;
    snd_.update_window(segment_.seq, segment_.ack, scaled_window());
    window_changed(old_window);
  }

  // A peer that answers keeps a zero window open for ever (RFC 9293 MUST-37), unless nobody is left
  // on our side to end it (RFC 6429 3); one that opens it gets data at once.
  void window_changed(std::uint32_t old_window) noexcept {
    if (snd_.persisting) {
      if (!cb_.orphan || snd_.wnd > old_window) snd_.progress_at = core_.now;
      if (cb_.deadlines.user != never)
        cb_.deadlines.user = Recovery<Traits>{core_, cb_}.user_deadline();
      if (snd_.wnd > old_window) stop_persisting();
    }
    if (snd_.wnd > old_window && snd_.has_work()) core_.want_output(cb_);
    if (snd_.wnd == 0 && (snd_.outstanding() || snd_.has_work())) core_.want_output(cb_);
  }

  void stop_persisting() noexcept {
    set_persisting(core_, cb_, false);
    snd_.probe = false;
    snd_.retries = 0;
    cb_.rtt.reset_backoff();
    cb_.deadlines.retransmit = never;
    cb_.deadlines.user = never;
    if (snd_.outstanding()) Recovery<Traits>{core_, cb_}.resume();
  }

  bool fin_acknowledged() noexcept {
    switch (cb_.state) {
      case TcpState::fin_wait_1:
        cb_.state = TcpState::fin_wait_2;
        if (cb_.closing) {
          cb_.deadlines.close =
              std::min(cb_.deadlines.close, core_.now + core_.config.fin_wait_2_timeout);
          core_.arm(cb_);
        }
        return true;
      case TcpState::closing:
        core_.enter_time_wait(cb_);
        return false;
      case TcpState::last_ack:
        core_.close(cb_, Errc::none);
        return false;
      default:
        return true;
    }
  }

  // Something acceptable came: keep-alive starts anew (RFC 9293 MUST-26).
  void heard() noexcept {
    cb_.last_received = core_.now;
    cb_.keepalive_probes = 0;
  }

  // Sixth: URG. The pointer is a mark in the stream, nothing is taken out of it (RFC 6093).
  void process_urgent() noexcept {
    if (!segment_.has(TcpFlags::urg) || !can_receive(cb_.state)) return;
    const SeqNum up = segment_.seq + segment_.urgent;
    if (rcv_.urgent && up <= rcv_.up) return;
    if (up <= rcv_.nxt - static_cast<std::uint32_t>(rcv_.queue.size())) return;
    rcv_.up = up;
    rcv_.urgent = true;
    core_.raise(cb_, EventFlags::urgent);
  }

  // Seventh: the text. False when the connection is gone.
  bool process_payload(SeqNum seq) noexcept {
    const Bytes payload = segment_.payload;
    if (payload.empty()) return true;
    const SeqNum end = seq + static_cast<std::uint32_t>(payload.size());
    if (!can_receive(cb_.state)) {
      // Beyond a FIN there is nothing (RFC 9293 3.10.7.4, seventh); old bytes are just acknowledged
      // again.
      core_.stats.count(Drop::after_fin);
      owe_ack();
      return true;
    }
    if (rcv_.read_closed && rcv_.nxt < end) {
      core_.stats.count(Drop::after_fin);
      core_.abort(cb_, Errc::connection_aborted);  // RFC 2525 2.17: say that nobody will read it
      return false;
    }
    tune_receive_buffer(core_, cb_);
    const bool had_gap = !rcv_.out_of_order.empty();
    const auto taken = rcv_.accept(seq, payload, core_.pool, core_.config.max_out_of_order_ranges,
                                   packet_.segment_bytes, packet_.block);
    measure_round_trip();
    const bool news = take_mark();
    cb_.traffic.took(taken.in_order, core_.now);
    if (taken.refused) {
      core_.stats.count(taken.out_of_order ? Drop::out_of_order_limit : Drop::no_memory);
      if (!taken.out_of_order) reclaim_stalled<Traits>(core_, &cb_);
    }
    if (taken.duplicate) ++core_.stats.tcp.duplicates;
    if (taken.out_of_order) {
      ++core_.stats.tcp.out_of_order;
      owe_ack();
    } else if (taken.in_order == 0) {
      owe_ack();
    } else {
      rcv_.pushed = segment_.has(TcpFlags::psh);
      delay_ack(had_gap || taken.duplicate || taken.refused || news);
      core_.raise(cb_, EventFlags::readable);
    }
    return true;
  }

  // RFC 3168 6.1.3. True when the sender of this data should hear from us at once.
  bool take_mark() noexcept {
    if constexpr (Traits::ecn) {
      if (!cb_.ecn.on || segment_.has(TcpFlags::syn)) return false;
      if (ce_) ++core_.stats.tcp.ce_in;
      return cb_.ecn.received(ce_, segment_.has(TcpFlags::cwr));
    }
    return false;
  }

  // How long it takes from an ACK to data that answers it.
  void measure_round_trip() noexcept {
    if (!cb_.timestamps) {
      rcv_.tuning.advanced(rcv_.nxt, rcv_.edge, core_.now);
    } else if (segment_.options.has_timestamps) {
      rcv_.tuning.echoed(segment_.options.timestamps.echo, core_.timestamp(cb_), core_.now);
    }
  }

  // RFC 9293 3.8.6.3 and RFC 5681 4.2: at the second full segment, or at once when a gap was
  // filled.
  void delay_ack(bool at_once) noexcept {
    if (at_once || rcv_.unacked >= 2U * rcv_.mss || core_.config.delayed_ack.count() == 0) {
      core_.acknowledge(cb_);
    } else if (cb_.deadlines.ack == never) {
      cb_.deadlines.ack = core_.now + core_.config.delayed_ack;
      core_.arm(cb_);
    }
  }

  // A pure ACK of its own for each out-of-order or duplicate segment (RFC 5681 4.2, RFC 2018 5). Of
  // several in one at most as many as of a usual size: none may draw a flood by segments of a byte.
  void owe_ack() noexcept {
    constexpr std::size_t most = 64;
    const std::size_t owed =
        rcv_.acks_owed +
        std::min(segments_in(segment_.payload.size(), packet_.segment_bytes), most);
    rcv_.acks_owed = static_cast<std::uint16_t>(std::min<std::size_t>(owed, 0xffff));
    core_.want_output(cb_);
  }

  // Eighth: FIN, at once or when the data before it has come.
  void process_fin() noexcept {
    if (segment_.has(TcpFlags::fin) && !rcv_.fin_known) note_fin();
    if (!rcv_.fin_known || rcv_.fin_taken || rcv_.nxt != rcv_.fin_seq) {
      if (segment_.has(TcpFlags::fin) && rcv_.fin_taken) owe_ack();  // a repeated FIN
      return;
    }
    rcv_.fin_taken = true;
    rcv_.nxt = rcv_.nxt + 1;
    rcv_.edge = std::max(rcv_.edge, rcv_.nxt);
    core_.acknowledge(cb_);
    core_.raise(cb_, EventFlags::end);
    switch (cb_.state) {
      case TcpState::established:
        cb_.state = TcpState::close_wait;
        break;
      case TcpState::fin_wait_1:
        // Our FIN is not acknowledged yet, or process_ack had moved on to FIN-WAIT-2.
        cb_.state = TcpState::closing;
        break;
      case TcpState::fin_wait_2:
        core_.enter_time_wait(cb_);
        break;
      default:
        break;
    }
  }

  void note_fin() noexcept {
    const SeqNum at = segment_.seq + (segment_.has(TcpFlags::syn) ? 1 : 0) +
                      static_cast<std::uint32_t>(segment_.payload.size());
    // Trimmed with the data beyond the window, or in the past (behind data that is here already).
    if (at < rcv_.nxt || rcv_.edge < at) return;
    if (at == rcv_.edge && at != rcv_.nxt) return;
    rcv_.fin_known = true;
    rcv_.fin_seq = at;
    if (rcv_.nxt < at && segment_.payload.empty()) owe_ack();
  }

  Core& core_;
  Control& cb_;
  Sender& snd_;
  Receiver& rcv_;
  const TcpSegment& segment_;
  const IpPacket& packet_;
  const bool ce_;           // marked on its way (RFC 3168 5)
  bool overtaken_ = false;  // its stamp is older than TS.Recent, and that is in order
};

}  // namespace tunic::inline v0
