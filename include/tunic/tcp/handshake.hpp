// SPDX-License-Identifier: BSL-1.0
#pragma once

// How connections begin: segments that meet a listener (RFC 9293 3.10.7.2) or SYN-SENT (3.10.7.3),
// the negotiation of options, SYN cookies, and the user's verdict over a SYN.

#include <tunic/base/time.hpp>
#include <tunic/tcp/path_mtu.hpp>
#include <tunic/tcp/recovery.hpp>
#include <tunic/tcp/sending_limit.hpp>
#include <tunic/tcp/stalled.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace tunic::inline v0 {

template <class Traits>
class Handshake {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  explicit Handshake(Core& core) noexcept : core_{core} {}

  /// LISTEN, RFC 9293 3.10.7.2. True when the segment has made a connection that must process it
  /// further (the ACK of a SYN cookie).
  Control* listen(Listening<Traits>& listener, const SynInfo& info,
                  const TcpSegment& segment) noexcept {
    if (segment.has(TcpFlags::rst)) {
      core_.stats.count(Drop::rst_ignored);
      return nullptr;
    }
    if (segment.has(TcpFlags::ack)) return acknowledged(listener, info, segment);
    if (!segment.has(TcpFlags::syn)) {
      core_.stats.count(Drop::listen_unexpected);
      return nullptr;
    }
    switch (filter(info)) {
      case SynVerdict::accept:
        break;
      case SynVerdict::reset:
        core_.stats.count(Drop::syn_filtered);
        core_.reset_in_reply(info.flow, segment);
        return nullptr;
      case SynVerdict::ignore:
      case SynVerdict::defer:
        core_.stats.count(Drop::syn_filtered);
        return nullptr;
    }
    if (listener.options.decide_syns) {
      hold(listener, info, segment);
    } else {
      admit(listener, info, segment.seq, segment.window);
    }
    return nullptr;
  }

  /// Answers a connection request: with a control block, a cookie, or silence (RFC 4987 3.4: never
  /// a reset).
  void admit(Listening<Traits>& listener, const SynInfo& info, SeqNum peer_isn,
             std::uint32_t window) noexcept {
    if (listener.accept_queue_full()) {
      core_.stats.count(Drop::accept_queue_full);
      return;
    }
    if (listener.half_open >= listener.options.syn_backlog) {
      // TIME-WAIT would swallow the ACK that brings a cookie back.
      const bool waits = core_.time_wait.find(info.flow) != nullptr;
      if (Traits::syn_cookies && core_.config.syn_cookies && !listener.options.decide_syns &&
          !waits) {
        send_cookie(listener, info, peer_isn);
      } else {
        core_.stats.count(Drop::syn_queue_full);
      }
      return;
    }
    Control* cb = core_.create(info.flow, listener.options.connection);
    if (cb == nullptr) {
      core_.stats.count(Drop::no_memory);
      reclaim_stalled<Traits>(core_, nullptr);
      return;
    }
    cb->passive = true;
    cb->listener = &listener;
    ++cb->traffic.segs_in;  // the SYN
    ++listener.half_open;
    ++core_.stats.gauges.half_open;
    cb->received_dscp = static_cast<std::uint8_t>(info.traffic_class >> 2);
    start_receiving(*cb, peer_isn, info.options);
    if constexpr (Traits::ecn) cb->ecn.start(takes_ecn(info));
    cb->snd.start(isn_above_old(info.flow), cb->options.send_buffer.initial);
    cb->snd.wnd = cb->snd.max_wnd = window;
    cb->snd.wl1 = peer_isn;
    cb->snd.wl2 = cb->snd.iss;
    cb->state = TcpState::syn_received;
    cb->syn_due = true;
    core_.want_output(*cb);
  }

  /// SYN-SENT, RFC 9293 3.10.7.3. True when the connection is established and the rest of the
  /// segment is to be processed.
  bool syn_sent(Control& cb, const TcpSegment& segment) noexcept {
    if (segment.has(TcpFlags::ack) && (segment.ack <= cb.snd.iss || cb.snd.nxt < segment.ack)) {
      core_.stats.count(Drop::bad_ack);
      core_.reset_in_reply(cb.key, segment);
      return false;
    }
    if (segment.has(TcpFlags::rst)) {
      if (!segment.has(TcpFlags::ack)) {
        core_.stats.count(Drop::rst_ignored);
        return false;
      }
      ++core_.stats.tcp.resets_in;
      if constexpr (Traits::ecn) {
        if (std::exchange(cb.ecn.asking, false)) {  // RFC 3168 6.1.1.1: once more without
          cb.syn_due = true;
          core_.want_output(cb);
          return false;
        }
      }
      ++core_.stats.tcp.failed_handshakes;
      core_.close(cb, Errc::connection_refused);
      return false;
    }
    if (!segment.has(TcpFlags::syn)) {
      core_.stats.count(segment.has(TcpFlags::ack) ? Drop::bad_ack : Drop::no_ack_flag);
      return false;
    }
    start_receiving(cb, segment.seq, segment.options);
    agree_on_ecn(cb, segment.flags);
    cb.snd.wnd = cb.snd.max_wnd = segment.window;  // not scaled (RFC 7323 2.2)
    cb.snd.wl1 = segment.seq;
    cb.snd.wl2 = segment.has(TcpFlags::ack) ? segment.ack : cb.snd.iss;
    if (!segment.has(TcpFlags::ack)) {  // simultaneous open
      cb.state = TcpState::syn_received;
      cb.syn_due = true;
      core_.want_output(cb);
      return false;
    }
    cb.snd.una = segment.ack;
    established(cb);
    core_.acknowledge(cb);
    return true;
  }

  /// The step into ESTABLISHED: initial window (RFC 6928), time-out for data (RFC 6298 5.7), news
  /// for the user.
  void established(Control& cb) noexcept {
    cb.state = cb.snd.fin_queued ? TcpState::fin_wait_1 : TcpState::established;
    cb.snd.syn_acked = true;
    cb.syn_due = false;  // of a simultaneous open whose answer came before ours had left
    if (std::exchange(cb.snd.timing, false)) {
      cb.rtt.sample(core_.now - cb.snd.timed_at);
      cb.snd.min_rtt.sample(core_.now - cb.snd.timed_at, core_.now);
    }
    cb.deadlines.retransmit = never;
    cb.deadlines.user = never;
    PathMtu<Traits>{core_, cb}.learn();
    // One segment after more than one lost SYN (RFC 6928 2).
    const std::uint32_t mss = core_.full_payload(cb);
    cb.congestion.start(mss,
                        cb.snd.retries > 1 ? mss : Recovery<Traits>{core_, cb}.initial_window());
    if (cb.snd.retries > 0 && !cb.rtt.has_sample()) cb.rtt.raise_initial();
    if (cb.rtt.has_sample()) cb.rtt.reset_backoff();
    cb.snd.retries = 0;
    cb.snd.recover = cb.snd.una - 1;
    cb.last_received = core_.now;
    note_limit(core_, cb);
    cb.rcv.tuning.start(cb.rtt.has_sample() ? cb.rtt.srtt() : Duration{}, core_.timestamp(cb),
                        core_.now);
    if constexpr (Traits::keepalive) {
      if (cb.options.keepalive.enabled)
        cb.deadlines.keepalive = core_.now + cb.options.keepalive.idle;
    }
    core_.arm(cb);
    core_.raise(cb, EventFlags::connected | EventFlags::writable);
    if (!cb.snd.queue.empty() || cb.snd.fin_queued) core_.want_output(cb);
  }

  /// The ISN for a flow; above what an old incarnation in TIME-WAIT used, whose entry goes (RFC
  /// 9293 MAY-2).
  [[nodiscard]] SeqNum isn_above_old(const FlowKey& flow) noexcept {
    SeqNum isn = core_.secrets.isn(flow, core_.now);
    if (TimeWaitEntry* old = core_.time_wait.find(flow)) {
      if (isn <= old->snd_nxt) isn = old->snd_nxt + 1 + 0x10000;
      core_.time_wait.remove(*old);
    }
    return isn;
  }

  // ---- pending SYNs

  /// The next SYN that the user has not seen, or nothing.
  [[nodiscard]] std::optional<PendingSyn> next_syn(Listening<Traits>& listener) noexcept {
    forget_expired(listener);
    for (auto& waiting : listener.pending) {
      if (waiting.shown) continue;
      waiting.shown = true;
      return waiting.syn;
    }
    return std::nullopt;
  }

  /// Carries out a verdict; false when the SYN is no longer waiting.
  bool decide(Listening<Traits>& listener, std::uint64_t id, SynVerdict verdict) noexcept {
    forget_expired(listener);
    const auto found = std::find_if(listener.pending.begin(), listener.pending.end(),
                                    [id](const auto& waiting) { return waiting.syn.id == id; });
    if (found == listener.pending.end()) return false;
    if (verdict == SynVerdict::defer) return true;
    const auto waiting = *found;
    listener.pending.erase(found);
    --core_.stats.gauges.pending_syns;
    if (verdict == SynVerdict::accept && core_.connections.find(waiting.syn.info.flow) == nullptr) {
      admit(listener, waiting.syn.info, waiting.isn, waiting.window);
    } else if (verdict == SynVerdict::reset) {
      TcpSegment syn;
      syn.seq = waiting.isn;
      syn.flags = TcpFlags::syn;
      core_.reset_in_reply(waiting.syn.info.flow, syn);
    }
    return true;
  }

  void forget_expired(Listening<Traits>& listener) noexcept {
    while (!listener.pending.empty() && listener.pending.front().expires <= core_.now)
      forget_oldest(listener);
  }

 private:
  SynVerdict filter(const SynInfo& info) const noexcept {
    return typename Traits::SynFilter{}(info);
  }

  // An ACK at a listener belongs nowhere, unless it brings a cookie back.
  Control* acknowledged(Listening<Traits>& listener, const SynInfo& info,
                        const TcpSegment& segment) noexcept {
    if constexpr (Traits::syn_cookies) {
      const bool recent =
          listener.overflowed_at && core_.now - *listener.overflowed_at < 2 * SynCookies::period;
      if (recent && !segment.has(TcpFlags::syn)) {
        if (Control* cb = open_from_cookie(listener, info, segment)) return cb;
        core_.stats.count(Drop::cookie_invalid);
      } else {
        core_.stats.count(Drop::listen_unexpected);
      }
    } else {
      core_.stats.count(Drop::listen_unexpected);
    }
    core_.reset_in_reply(info.flow, segment);
    return nullptr;
  }

  Control* open_from_cookie(Listening<Traits>& listener, const SynInfo& info,
                            const TcpSegment& segment) noexcept {
    std::optional<std::uint32_t> echo;
    if (segment.options.has_timestamps && core_.config.timestamps && Traits::timestamps) {
      echo = segment.options.timestamps.echo;
    }
    const SeqNum peer_isn = segment.seq - 1;
    const SeqNum cookie = segment.ack - 1;
    const auto decoded = core_.cookies.check(info.flow, peer_isn, cookie, echo, core_.now);
    if (!decoded || listener.accept_queue_full()) return nullptr;
    Control* cb = core_.create(info.flow, listener.options.connection);
    if (cb == nullptr) return nullptr;
    ++core_.stats.tcp.cookies_accepted;
    TcpOptions options;
    options.has_mss = true;
    options.mss = decoded->mss;
    options.sack_permitted = decoded->sack;
    options.has_window_scale = decoded->window_scale.has_value();
    options.window_scale = decoded->window_scale.value_or(0);
    options.has_timestamps = echo.has_value();
    options.timestamps.value = segment.options.timestamps.value;
    cb->passive = true;
    cb->listener = &listener;
    ++listener.half_open;  // for the moment that SYN-RECEIVED lasts
    ++core_.stats.gauges.half_open;
    start_receiving(*cb, peer_isn, options);
    if constexpr (Traits::ecn) cb->ecn.start(decoded->ecn);
    cb->snd.start(cookie, cb->options.send_buffer.initial);
    cb->snd.nxt = cookie + 1;
    cb->snd.wl1 = peer_isn;
    cb->snd.wl2 = cookie;
    cb->state = TcpState::syn_received;
    return cb;
  }

  void send_cookie(Listening<Traits>& listener, const SynInfo& info, SeqNum peer_isn) noexcept {
    listener.overflowed_at = core_.now;
    ++core_.stats.tcp.cookies_sent;
    const ConnectionOptions& options = listener.options.connection;
    const bool timestamps =
        Traits::timestamps && core_.config.timestamps && info.options.has_timestamps;
    const bool ecn = timestamps && takes_ecn(info);
    const std::uint32_t bits = timestamps ? SynCookies::option_bits(usable(info.options), ecn) : 0;
    TcpSegment answer;
    answer.flags = TcpFlags::syn | TcpFlags::ack | (ecn ? TcpFlags::ece : TcpFlags::none);
    answer.seq = core_.cookies.make(info.flow, peer_isn,
                                    info.options.has_mss ? info.options.mss : std::uint16_t{536},
                                    bits, core_.now);
    answer.ack = peer_isn + 1;
    answer.window =
        static_cast<std::uint16_t>(std::min<std::uint32_t>(options.receive_buffer.initial, 0xffff));
    answer.options.has_mss = true;
    answer.options.mss = core_.announced_mss(info.flow, options);
    if (timestamps) {
      const std::uint32_t ticks =
          timestamp_ticks(core_.now) + core_.secrets.timestamp_offset(info.flow);
      answer.options.has_timestamps = true;
      answer.options.timestamps = {SynCookies::stamp(ticks, bits), info.options.timestamps.value};
      const TcpOptions kept = usable(info.options);
      answer.options.sack_permitted = kept.sack_permitted;
      answer.options.has_window_scale = kept.has_window_scale;
      answer.options.window_scale = core_.window_scale(options);
    }
    core_.reply({info.flow, answer, options.ttl, static_cast<std::uint8_t>(options.dscp << 2)});
  }

  // A request's options less those that are switched off here.
  [[nodiscard]] TcpOptions usable(TcpOptions options) const noexcept {
    options.sack_permitted = options.sack_permitted && Traits::sack && core_.config.sack;
    options.has_window_scale = options.has_window_scale && core_.config.window_scaling;
    return options;
  }

  [[nodiscard]] bool takes_ecn(const SynInfo& info) const noexcept {
    return Traits::ecn && core_.config.ecn != Ecn::off && info.ecn;
  }

  // The answer to our SYN, or one that crosses it. After a SYN of ours that did not ask nothing is
  // sent ECT, but marks are echoed: a peer that has agreed to an earlier one may send ECT (RFC
  // 3168 6.1.1).
  void agree_on_ecn(Control& cb, TcpFlags flags) noexcept {
    if constexpr (Traits::ecn) {
      const bool asked = core_.config.ecn == Ecn::always;
      cb.ecn.on = flags.has(TcpFlags::ack) ? asked && agrees_to_ecn(flags)
                                           : cb.ecn.asking && asks_for_ecn(flags);
      cb.ecn.ect = cb.ecn.on && cb.ecn.asking;
    }
  }

  // Takes the peer's SYN: its sequence number, and of its options those that both sides speak.
  void start_receiving(Control& cb, SeqNum peer_isn, const TcpOptions& offered) noexcept {
    const TcpOptions options = usable(offered);
    // RFC 9293 MUST-15: without the option 536, or 1220 for IPv6.
    cb.snd.peer_mss = options.has_mss
                          ? std::max(options.mss, Core::min_mss)
                          : static_cast<std::uint16_t>(cb.key.local.is_v4() ? 536 : 1220);
    cb.snd.scale = options.has_window_scale ? options.window_scale : std::uint8_t{0};
    cb.timestamps = Traits::timestamps && core_.config.timestamps && options.has_timestamps;
    cb.sack = options.sack_permitted;
    cb.scaled = options.has_window_scale;
    if (options.window_scale_was_excessive) ++core_.stats.tcp.excessive_window_scales;
    cb.rcv.start(peer_isn, cb.options.receive_buffer.initial,
                 options.has_window_scale ? cb.rcv.scale : std::uint8_t{0});
    if (cb.timestamps) {
      cb.rcv.ts_mark = options.timestamps.value;
      cb.rcv.ts_edge = cb.rcv.nxt;
      cb.rcv.stamped(options.timestamps.value, core_.now);
    }
  }

  // Keeps a SYN for the user's verdict; a repeated one is the same request.
  void hold(Listening<Traits>& listener, const SynInfo& info, const TcpSegment& segment) noexcept {
    forget_expired(listener);
    for (auto& waiting : listener.pending) {
      if (waiting.syn.info.flow != info.flow) continue;
      waiting.syn.info.ecn = waiting.syn.info.ecn && info.ecn;  // RFC 3168 6.1.1: both must ask
      return;
    }
    if (listener.pending.size() >= listener.options.max_pending_syns) {
      core_.stats.count(Drop::syn_queue_full);
      if (listener.pending.empty()) return;
      forget_oldest(listener);
    }
    listener.pending.push_back({.syn = {listener.next_pending_id++, info},
                                .isn = segment.seq,
                                .window = segment.window,
                                .expires = core_.now + listener.options.pending_timeout});
    ++core_.stats.gauges.pending_syns;
  }

  void forget_oldest(Listening<Traits>& listener) noexcept {
    listener.pending.pop_front();
    --core_.stats.gauges.pending_syns;
  }

  Core& core_;
};

}  // namespace tunic::inline v0
