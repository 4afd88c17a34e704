// SPDX-License-Identifier: BSL-1.0
#pragma once

// A look into one connection, named after Linux's tcp_info where it has the same thing.

#include <tunic/base/time.hpp>
#include <tunic/tcp/pacing_rate.hpp>
#include <tunic/tcp/recovery.hpp>
#include <tunic/tcp/state.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <cstdint>

namespace tunic::inline v0 {

struct TcpInfo {
  TcpState state = TcpState::closed;
  bool timestamps = false;      ///< Negotiated (RFC 7323 3).
  bool sack = false;            ///< Negotiated (RFC 2018).
  bool window_scaling = false;  ///< Negotiated (RFC 7323 2).
  bool ecn = false;             ///< Negotiated (RFC 3168).
  std::uint8_t snd_wscale = 0;
  std::uint8_t rcv_wscale = 0;
  std::uint32_t snd_cwnd = 0;      ///< Bytes.
  std::uint32_t snd_ssthresh = 0;  ///< Bytes; 0xffffffff before the first loss.
  std::uint32_t in_flight = 0;     ///< Bytes thought to be in the network (RFC 6675's pipe).
  std::uint32_t snd_wnd = 0;       ///< The peer's window in bytes.
  std::uint32_t rcv_wnd = 0;       ///< The window that the peer knows, in bytes.
  std::uint16_t snd_mss = 0;       ///< Payload of a full segment now, options taken off.
  std::uint16_t path_mtu = 0;
  Duration rtt{};  ///< Smoothed (RFC 6298); zero before the first sample.
  Duration rttvar{};
  Duration min_rtt{};             ///< Of the last minutes.
  Duration rto{};                 ///< With its back-off.
  std::uint8_t backoff = 0;       ///< How often the time-out is doubled.
  std::uint8_t retransmits = 0;   ///< Time-outs since the last progress.
  Duration rcv_rtt{};             ///< Least that the receiver saw; zero: nothing yet.
  std::uint32_t rcv_space = 0;    ///< Most bytes read in such a time.
  std::uint32_t send_buffer = 0;  ///< Bytes that the buffers may hold now.
  std::uint32_t receive_buffer = 0;
  bool in_recovery = false;                 ///< Fast recovery (RFC 6675, RFC 6582).
  std::uint64_t pacing_rate = 0;            ///< Bytes a second; 0: not paced.
  std::uint64_t delivery_rate = 0;          ///< Bytes a second, as last measured.
  bool delivery_rate_app_limited = false;   ///< The application had no more to send.
  std::uint64_t total_retransmissions = 0;  ///< Segments.
  std::uint32_t retrans = 0;                ///< Segments sent again that are in flight.
  std::uint32_t sacked = 0;      ///< Bytes above the acknowledgement that the peer has reported.
  std::uint32_t lost = 0;        ///< Bytes that wait to be sent again.
  std::uint32_t total_lost = 0;  ///< Segments that were taken for lost.
  std::uint32_t spurious = 0;    ///< Reductions of the window that were undone.
  std::uint32_t dsack_dups = 0;  ///< Duplicates that the peer reported (RFC 2883).
  std::uint8_t reordering_steps =
      1;                             ///< The reordering window in quarters of `min_rtt` (RFC 8985).
  bool reord_seen = false;           ///< The path was seen to reorder.
  std::uint32_t received_ce = 0;     ///< Data segments that came marked (RFC 3168).
  std::uint32_t ecn_reductions = 0;  ///< Reductions of the window for marks.
  std::uint32_t unread = 0;          ///< Bytes received in order and not read.
  std::uint32_t unsent = 0;          ///< Bytes written and never sent.
  std::uint32_t out_of_order_ranges = 0;

  // What has passed. Bytes are payload; segments are counted modulo 2^32.
  std::uint64_t bytes_sent = 0;      ///< What was sent again included.
  std::uint64_t bytes_retrans = 0;   ///< Sent again.
  std::uint64_t bytes_acked = 0;     ///< Acknowledged, in order.
  std::uint64_t bytes_received = 0;  ///< In order.
  std::uint32_t segs_out = 0;        ///< Of any kind, but for a reset.
  std::uint32_t segs_in = 0;         ///< Of any kind and use.
  std::uint32_t data_segs_out = 0;   ///< With payload.
  std::uint32_t data_segs_in = 0;

  // How long ago; negative: never.
  Duration last_data_sent{-1};
  Duration last_data_recv{-1};  ///< Payload in the window.
  Duration last_ack_recv{-1};   ///< An acceptable segment; all of them acknowledge.

  // For how long the sending side has been in which condition, to the turn, until the connection
  // ended. Of those that keep it from sending only one lasts at a time: what waits to be sent is
  // kept back by the peer's window where the congestion window has room, else by the network. When
  // nothing waits, and the congestion window has room, it is the send buffer if the application was
  // refused more and has not been told to go on, else the application itself.
  Duration busy_time{};       ///< Something waits to be sent or to be acknowledged.
  Duration rwnd_limited{};    ///< The peer's window keeps it back; a part of `busy_time`.
  Duration sndbuf_limited{};  ///< The send buffer does; a part of `busy_time`.
  Duration app_limited{};     ///< The application does, whether something is in flight or not.

  [[nodiscard]] friend bool operator==(const TcpInfo&, const TcpInfo&) noexcept = default;
};

inline void add_traffic(TcpInfo& info, const Traffic& traffic) noexcept {
  info.bytes_sent = traffic.bytes_sent;
  info.bytes_retrans = traffic.bytes_retrans;
  info.bytes_acked = traffic.bytes_acked;
  info.bytes_received = traffic.bytes_received;
  info.segs_out = traffic.segs_out;
  info.segs_in = traffic.segs_in;
  info.data_segs_out = traffic.data_segs_out;
  info.data_segs_in = traffic.data_segs_in;
}

inline void add_limits(TcpInfo& info, const Chronograph& limits, Instant now) noexcept {
  const Duration application = limits.time(SendLimit::application, now);
  info.rwnd_limited = limits.time(SendLimit::window, now);
  info.sndbuf_limited = limits.time(SendLimit::buffer, now);
  info.busy_time =
      application + limits.time(SendLimit::network, now) + info.rwnd_limited + info.sndbuf_limited;
  info.app_limited = application + limits.time(SendLimit::idle, now);
}

template <class Traits>
[[nodiscard]] TcpInfo make_info(TcpCore<Traits>& core, ControlBlock<Traits>& cb) noexcept {
  const Sender& snd = cb.snd;
  TcpInfo info;
  info.state = cb.state;
  info.timestamps = cb.timestamps;
  info.sack = cb.sack;
  info.window_scaling = cb.scaled;
  if constexpr (Traits::ecn) {
    info.ecn = cb.ecn.on;
    info.received_ce = cb.ecn.received_ce;
    info.ecn_reductions = cb.ecn.reductions;
  }
  info.snd_wscale = snd.scale;
  info.rcv_wscale = cb.rcv.scale;
  info.snd_cwnd = Recovery<Traits>{core, cb}.window();
  info.snd_ssthresh = cb.congestion.ssthresh();
  info.in_flight = snd.in_flight();
  info.snd_wnd = snd.wnd;
  info.rcv_wnd = cb.rcv.window();
  info.snd_mss = core.full_payload(cb);
  info.path_mtu = core.path_mtu(cb);
  info.rtt = cb.rtt.srtt();
  info.rttvar = cb.rtt.rttvar();
  info.rto = cb.rtt.rto(core.config);
  info.backoff = static_cast<std::uint8_t>(cb.rtt.backoff());
  info.retransmits = snd.retries;
  info.rcv_rtt = cb.rcv.tuning.rtt();
  info.rcv_space = cb.rcv.tuning.space();
  info.send_buffer = snd.limit;
  info.receive_buffer = cb.rcv.limit;
  info.in_recovery = snd.phase == SenderPhase::recovery;
  info.min_rtt = snd.min_rtt.value();
  info.delivery_rate = snd.rate.bytes_per_second();
  info.delivery_rate_app_limited = snd.rate.is_app_limited();
  info.total_retransmissions = snd.retransmissions;
  info.sacked = snd.board.sacked_bytes();
  info.lost = snd.board.lost_bytes();
  info.total_lost = snd.losses;
  info.spurious = snd.spurious;
  info.dsack_dups = snd.duplicates;
  info.reordering_steps = static_cast<std::uint8_t>(snd.rack.multiple());
  info.reord_seen = snd.rack.reordering();
  info.unread = static_cast<std::uint32_t>(cb.rcv.queue.size());
  info.unsent = static_cast<std::uint32_t>(snd.unsent());
  info.out_of_order_ranges = cb.rcv.out_of_order.runs();
  info.pacing_rate = synchronized(cb.state) ? pace_of(core, cb).bytes_per_second : 0;
  info.retrans = snd.board.resent_segments();
  add_traffic(info, cb.traffic);
  const auto since = [&core](Instant then) noexcept {
    return then == Instant{} ? Duration{-1} : core.now - then;
  };
  info.last_data_sent = since(snd.last_sent);
  info.last_data_recv = since(cb.traffic.last_data);
  info.last_ack_recv = since(cb.last_received);
  add_limits(info, cb.limits, core.now);
  return info;
}

}  // namespace tunic::inline v0
