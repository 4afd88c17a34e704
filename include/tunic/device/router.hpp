// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a simulated router sees in an IPv4 packet and does to it. It believes every length that lies
// within the packet and verifies no checksum, as routers do with what they only pass on.

#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/layout.hpp>
#include <tunic/wire/tcp.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace tunic::inline v0::router {

/// Room for the largest answer.
using Answer = std::array<std::byte, icmp_max_error_bytes>;

namespace detail {

using tunic::detail::Ipv4Layout;
using tunic::detail::load;
using tunic::detail::store;
using tunic::detail::TcpLayout;

// The size of the IPv4 header; 0 for anything else.
inline std::size_t ipv4_header_bytes(Bytes packet) noexcept {
  if (packet.size() < ipv4_min_header_bytes) return 0;
  const auto version_and_words = static_cast<unsigned>(packet[0]);
  const std::size_t size = (version_and_words & 0xf) * std::size_t{4};
  const bool sane = version_and_words >> 4 == 4 && size >= ipv4_min_header_bytes;
  return sane && size <= packet.size() ? size : 0;
}

}  // namespace detail

/// Whether it is an unfragmented TCP segment without payload whose only flags are ACK and those of
/// ECN.
[[nodiscard]] inline bool is_pure_ack(Bytes packet) noexcept {
  const std::size_t header_bytes = detail::ipv4_header_bytes(packet);
  if (header_bytes == 0 || packet.size() < header_bytes + tcp_min_header_bytes) return false;
  const auto ip = detail::load<detail::Ipv4Layout>(packet);
  constexpr unsigned part = tunic::detail::ipv4_offset_mask | tunic::detail::ipv4_more_fragments;
  if (IpProtocol{ip.protocol.value()} != IpProtocol::tcp) return false;
  if ((ip.flags_and_offset.value() & part) != 0) return false;
  const auto tcp = detail::load<detail::TcpLayout>(packet.subspan(header_bytes));
  const TcpFlags flags{tcp.flags.value()};
  const std::size_t tcp_bytes = (tcp.offset_and_reserved.value() >> 4) * std::size_t{4};
  return (flags & ~(TcpFlags::ece | TcpFlags::cwr)) == TcpFlags::ack &&
         header_bytes + tcp_bytes == ip.total_length.value();
}

/// Marks a packet of an ECN-capable transport CE (RFC 3168 5); false, and no change, for others.
inline bool mark_congestion(MutableBytes packet) noexcept {
  if (detail::ipv4_header_bytes(packet) == 0) return false;
  auto ip = detail::load<detail::Ipv4Layout>(packet);
  const std::uint8_t before = ip.tos.value();
  if ((before & 3) == 0) return false;
  ip.tos = static_cast<std::uint8_t>(before | 3);
  // RFC 1624, equation 3: what was wrong stays wrong.
  const unsigned sum =
      (~ip.checksum.value() & 0xffffU) + (~unsigned{before} & 0xffffU) + unsigned{ip.tos.value()};
  const unsigned folded = (sum & 0xffffU) + (sum >> 16);
  ip.checksum = static_cast<std::uint16_t>(~(folded + (folded >> 16)));
  detail::store(packet, ip);
  return true;
}

/// Writes the answer to a packet that does not fit into the MTU (RFC 1191 4) and returns its size;
/// 0 when there must be none: the packet may be fragmented, is not IPv4, or reports an error itself
/// (RFC 1122 3.2.2).
inline std::size_t fragmentation_needed(Answer& out, Bytes packet, const IpAddress& from,
                                        std::uint16_t mtu_bytes) noexcept {
  const std::size_t header_bytes = detail::ipv4_header_bytes(packet);
  if (header_bytes == 0) return 0;
  const auto ip = detail::load<detail::Ipv4Layout>(packet);
  if ((ip.flags_and_offset.value() & tunic::detail::ipv4_dont_fragment) == 0) return 0;
  if (IpProtocol{ip.protocol.value()} == IpProtocol::icmp && packet.size() > header_bytes) {
    const IcmpMessage message{.type = IcmpType{static_cast<std::uint8_t>(packet[header_bytes])}};
    if (message.is_error()) return 0;
  }
  const std::size_t icmp_bytes =
      write_icmpv4(MutableBytes{out}.subspan(ipv4_min_header_bytes),
                   {.type = IcmpType::destination_unreachable,
                    .code = static_cast<std::uint8_t>(IcmpUnreachable::fragmentation_needed),
                    .rest = mtu_bytes,
                    .body = icmp_quote(packet)});
  const std::size_t size = ipv4_min_header_bytes + icmp_bytes;
  write_ipv4(out, {.src = from,
                   .dst = IpAddress::v4(ip.src.value()),
                   .protocol = IpProtocol::icmp,
                   .total_length = static_cast<std::uint16_t>(size)});
  return size;
}

}  // namespace tunic::inline v0::router
