// SPDX-License-Identifier: BSL-1.0
#pragma once

// What ICMP errors do to a connection: soft and hard errors (RFC 9293 3.9.2.2, RFC 5927 5.2), and
// path-MTU reports (RFC 1191). A report counts only if it quotes a sequence number in flight (RFC
// 5927 4.1).

#include <tunic/ip/ip_packet.hpp>
#include <tunic/tcp/path_mtu.hpp>
#include <tunic/tcp/tcp_core.hpp>

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
    const auto* slot =
        core_.connections.find({quote.src, quote.dst, quote.src_port, quote.dst_port});
    if (slot == nullptr) return core_.stats.count(Drop::icmp_unmatched);
    Control* cb = slot->cb;  // at rest nothing is in flight
    if (cb == nullptr || !(cb->snd.una <= quote.seq && quote.seq < cb->snd.nxt))
      return core_.stats.count(Drop::icmp_out_of_window);
    if (error.kind == IpErrorKind::packet_too_big) {
      PathMtu<Traits>{core_, *cb}.report(
          error.mtu != 0 ? error.mtu : next_plateau(quote.total_length), quote.seq);
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

  Core& core_;
};

}  // namespace tunic::inline v0
