// SPDX-License-Identifier: BSL-1.0
#pragma once

// What ICMP errors do to a connection: soft and hard errors (RFC 9293 3.9.2.2, RFC 5927 5.2), and
// path-MTU reports (RFC 1191, RFC 5927 7.2). A report counts only if it quotes a sequence number in
// flight (RFC 5927 4.1).

#include <tunic/ip/ip_packet.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

namespace tunic::inline v0 {

/// The next lower size that links commonly have (RFC 1191 7.1), for routers that do not name one.
[[nodiscard]] constexpr std::uint16_t next_plateau(std::uint16_t total_length) noexcept {
  constexpr std::array<std::uint16_t, 11> plateaus{65535, 32000, 17914, 8166, 4352, 2002,
                                                   1492,  1006,  508,   296,  68};
  for (const std::uint16_t plateau : plateaus) {
    if (plateau < total_length) return plateau;
  }
  return plateaus.back();
}

template <class Traits>
class IcmpInput {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  explicit IcmpInput(Core& core) noexcept : core_{core} {}

  void run(const IpError& error) noexcept {
    const QuotedPacket& quote = error.quote;
    Control* cb = core_.find({quote.src, quote.dst, quote.src_port, quote.dst_port});
    if (cb == nullptr) return core_.stats.count(Drop::icmp_unmatched);
    if (!(cb->snd.una <= quote.seq && quote.seq < cb->snd.nxt))
      return core_.stats.count(Drop::icmp_out_of_window);
    if (error.kind == IpErrorKind::packet_too_big) {
      too_big(*cb, error);
    } else if (is_hard(error.kind) && cb->state == TcpState::syn_sent) {
      ++core_.stats.tcp.failed_handshakes;
      core_.close(*cb, Errc::connection_refused);
    } else {
      // Even a hard error is soft once the connection is synchronized (RFC 5927 5.2).
      core_.soft_error(*cb, meaning(error.kind));
    }
  }

 private:
  static bool is_hard(IpErrorKind kind) noexcept {
    return kind == IpErrorKind::protocol_unreachable || kind == IpErrorKind::port_unreachable;
  }

  static Errc meaning(IpErrorKind kind) noexcept {
    return kind == IpErrorKind::network_unreachable ? Errc::network_unreachable
                                                    : Errc::host_unreachable;
  }

  void too_big(Control& cb, const IpError& error) noexcept {
    std::uint16_t mtu = error.mtu != 0 ? error.mtu : next_plateau(error.quote.total_length);
    mtu = std::max(mtu, core_.config.min_path_mtu);
    const std::uint16_t present = cb.snd.path_mtu != 0 ? cb.snd.path_mtu : core_.mtu;
    if (mtu >= present)
      return core_.stats.count(Drop::icmp_out_of_window);  // never raised by a report
    if (mtu < cb.snd.largest_acked) {
      cb.snd.deferred_mtu =
          mtu;  // contradicts what has been seen: wait for lack of progress (RFC 5927 7.2)
      return;
    }
    cb.snd.path_mtu = mtu;
    cb.snd.largest_sent = 0;
    if (synchronized(cb.state) && cb.snd.outstanding()) core_.want_output(cb);
  }

  Core& core_;
};

}  // namespace tunic::inline v0
