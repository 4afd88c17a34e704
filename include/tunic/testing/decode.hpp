// SPDX-License-Identifier: BSL-1.0
#pragma once

// A packet taken apart for a test: its lengths and checksums verified, its parts as the values that
// the parsers of `wire/` make, and the bytes under them kept alive.

#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/text.hpp>
#include <tunic/wire/udp.hpp>

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tunic::inline v0::testing {

/// The bytes of one IP packet.
using Packet = std::vector<std::byte>;

/// A packet taken apart. It shares its bytes with its copies: the views stay valid while one of
/// them lives.
struct Decoded {
  std::shared_ptr<const Packet> bytes{};  ///< Never null.
  std::optional<Drop> malformed{};        ///< Why a host would drop it; surplus bytes count too.
  Ipv4Packet ip{};                        ///< Empty if the IP header is malformed.
  std::optional<TcpSegment> tcp{};        ///< These three: if it is that, whole and well-formed.
  std::optional<UdpDatagram> udp{};
  std::optional<IcmpMessage> icmp{};

  /// What the transport carries: the body of ICMP, and all of IP's payload if it is none of the
  /// three.
  [[nodiscard]] Bytes payload() const noexcept {
    return tcp ? tcp->payload : udp ? udp->payload : icmp ? icmp->body : ip.payload;
  }
  [[nodiscard]] Endpoint from() const noexcept {
    return {ip.header.src, tcp ? tcp->src_port : udp ? udp->src_port : std::uint16_t{0}};
  }
  [[nodiscard]] Endpoint to() const noexcept {
    return {ip.header.dst, tcp ? tcp->dst_port : udp ? udp->dst_port : std::uint16_t{0}};
  }
  /// The packet in one line.
  [[nodiscard]] std::string describe() const { return to_text(*bytes); }
};

/// Takes a packet apart and verifies its lengths and checksums.
[[nodiscard]] inline Decoded decode(Packet bytes) {
  Decoded result{.bytes = std::make_shared<const Packet>(std::move(bytes))};
  const auto unless_dropped = [&result]<class T>(std::optional<T>& part, const Parsed<T>& parsed) {
    if (parsed) part = *parsed;
    if (!parsed) result.malformed = parsed.drop();
  };
  const auto ip = BasicIpv4Parser<tunic::detail::ShowAllPolicy>{}(*result.bytes);
  if (!ip) {
    result.malformed = ip.drop();
    return result;
  }
  result.ip = *ip;
  const Ipv4Header& header = ip->header;
  if (header.total_length != result.bytes->size()) result.malformed = Drop::bad_total_length;
  if (header.is_fragment()) return result;
  if (header.protocol == IpProtocol::tcp) {
    unless_dropped(result.tcp, parse_tcp(ip->payload, header.src, header.dst));
  } else if (header.protocol == IpProtocol::udp) {
    unless_dropped(result.udp, parse_udp(ip->payload, header.src, header.dst));
  } else if (header.protocol == IpProtocol::icmp) {
    unless_dropped(result.icmp, parse_icmpv4(ip->payload));
  }
  return result;
}

template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                             const Decoded& packet) {
  return out << packet.describe();
}

}  // namespace tunic::inline v0::testing
