// SPDX-License-Identifier: BSL-1.0
#pragma once

// A look into one connection, named after Linux's tcp_info where it has the same thing.

#include <tunic/base/time.hpp>
#include <tunic/tcp/state.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <cstdint>

namespace tunic::inline v0 {

struct TcpInfo {
  TcpState state = TcpState::closed;
  bool timestamps = false;      ///< Negotiated (RFC 7323 3).
  bool sack = false;            ///< Negotiated (RFC 2018).
  bool window_scaling = false;  ///< Negotiated (RFC 7323 2).
  std::uint8_t snd_wscale = 0;
  std::uint8_t rcv_wscale = 0;
  std::uint32_t snd_cwnd = 0;      ///< Bytes.
  std::uint32_t snd_ssthresh = 0;  ///< Bytes; 0xffffffff before the first loss.
  std::uint32_t in_flight = 0;     ///< Bytes sent and not acknowledged.
  std::uint32_t snd_wnd = 0;       ///< The peer's window in bytes.
  std::uint32_t rcv_wnd = 0;       ///< The window that the peer knows, in bytes.
  std::uint16_t snd_mss = 0;       ///< Payload of a full segment now, options taken off.
  std::uint16_t path_mtu = 0;
  Duration rtt{};  ///< Smoothed (RFC 6298); zero before the first sample.
  Duration rttvar{};
  Duration rto{};                           ///< With its back-off.
  std::uint8_t backoff = 0;                 ///< How often the time-out is doubled.
  std::uint8_t retransmits = 0;             ///< Time-outs since the last progress.
  bool in_recovery = false;                 ///< Fast recovery (RFC 6582).
  std::uint64_t total_retransmissions = 0;  ///< Segments.
  std::uint32_t sacked = 0;  ///< Bytes above the acknowledgement that the peer reported last.
  std::uint32_t lost = 0;    ///< Bytes that wait to be sent again.
  std::uint32_t unread = 0;  ///< Bytes received in order and not read.
  std::uint32_t unsent = 0;  ///< Bytes written and never sent.
  std::uint32_t out_of_order_ranges = 0;
};

template <class Traits>
[[nodiscard]] TcpInfo make_info(const TcpCore<Traits>& core,
                                const ControlBlock<Traits>& cb) noexcept {
  const Sender& snd = cb.snd;
  TcpInfo info;
  info.state = cb.state;
  info.timestamps = cb.timestamps;
  info.sack = cb.sack;
  info.window_scaling = cb.scaled;
  info.snd_wscale = snd.scale;
  info.rcv_wscale = cb.rcv.scale;
  info.snd_cwnd = cb.congestion.cwnd();
  info.snd_ssthresh = cb.congestion.ssthresh();
  info.in_flight = static_cast<std::uint32_t>(snd.nxt - snd.una);
  info.snd_wnd = snd.wnd;
  info.rcv_wnd = cb.rcv.window();
  info.snd_mss = core.full_payload(cb);
  info.path_mtu = snd.path_mtu != 0 ? std::min(snd.path_mtu, core.mtu) : core.mtu;
  info.rtt = cb.rtt.srtt();
  info.rttvar = cb.rtt.rttvar();
  info.rto = cb.rtt.rto(core.config);
  info.backoff = static_cast<std::uint8_t>(cb.rtt.backoff());
  info.retransmits = snd.retries;
  info.in_recovery = snd.recovering;
  info.total_retransmissions = snd.retransmissions;
  info.sacked = snd.sacked;
  info.lost = static_cast<std::uint32_t>(snd.nxt - snd.next);
  info.unread = static_cast<std::uint32_t>(cb.rcv.queue.size());
  info.unsent = static_cast<std::uint32_t>(snd.unsent());
  info.out_of_order_ranges = cb.rcv.out_of_order.runs();
  return info;
}

}  // namespace tunic::inline v0
