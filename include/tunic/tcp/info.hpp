// SPDX-License-Identifier: BSL-1.0
#pragma once

// A look into one connection, named after Linux's tcp_info where it has the same thing.

#include <tunic/base/time.hpp>
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
  std::uint64_t delivery_rate = 0;          ///< Bytes a second, as last measured.
  bool delivery_rate_app_limited = false;   ///< The application had no more to send.
  std::uint64_t total_retransmissions = 0;  ///< Segments.
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
};

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
  info.path_mtu = snd.path_mtu != 0 ? std::min(snd.path_mtu, core.mtu) : core.mtu;
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
  return info;
}

}  // namespace tunic::inline v0
