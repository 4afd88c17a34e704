// SPDX-License-Identifier: BSL-1.0
#pragma once

// The hash by which flows are shared out to the queues of a device: the same for both directions,
// and short enough for a program inside the kernel (device/steering.hpp holds its twin). It is
// keyed, so that nobody outside can aim all flows at one queue by rote; it is no secret-keeper.
//
// A flow is a pair of addresses and, for TCP and UDP, of ports. What shows no ports - fragments,
// ICMP, other protocols - is hashed by its addresses alone, so the fragments of a datagram meet.
// IPv6 is not carried yet; all of it has the hash 0.

#include <tunic/base/bytes.hpp>
#include <tunic/base/siphash.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/layout.hpp>

#include <boost/endian/buffers.hpp>

#include <cstddef>
#include <cstdint>

namespace tunic::inline v0 {

namespace detail {

// An odd number whose bits are mixed well (the golden ratio's).
inline constexpr std::uint64_t flow_multiplier = 0x9e3779b97f4a7c15;

struct PortsLayout {
  boost::endian::big_uint16_buf_t src;
  boost::endian::big_uint16_buf_t dst;
};

/// One end: 32 bits of address, 16 of port.
[[nodiscard]] constexpr std::uint64_t mix_flow_end(const SipKey& key, std::uint64_t address,
                                                   std::uint64_t port) noexcept {
  std::uint64_t x = (address << 16 | port) ^ key.k0;
  x *= key.k1 | 1;
  x ^= x >> 32;
  x *= flow_multiplier;
  return x ^ x >> 32;
}

[[nodiscard]] constexpr std::uint32_t join_flow_ends(std::uint64_t a, std::uint64_t b) noexcept {
  return static_cast<std::uint32_t>((a + b) * flow_multiplier >> 32);
}

}  // namespace detail

/// The hash of a flow between two IPv4 ends, in either order. A port of 0 on both sides stands for
/// what shows no ports.
[[nodiscard]] constexpr std::uint32_t flow_hash(const SipKey& key, const Endpoint& a,
                                                const Endpoint& b) noexcept {
  if (!a.address.is_v4() || !b.address.is_v4()) return 0;
  return detail::join_flow_ends(detail::mix_flow_end(key, a.address.v4_bits(), a.port),
                                detail::mix_flow_end(key, b.address.v4_bits(), b.port));
}

/// The hash of a packet's flow. The packet need not be valid; one that is cut short or is not IPv4
/// has the hash 0. Never reads outside of it.
[[nodiscard]] inline std::uint32_t flow_hash(const SipKey& key, Bytes packet) noexcept {
  if (packet.size() < ipv4_min_header_bytes) return 0;
  const auto header = detail::load<detail::Ipv4Layout>(packet);
  if (header.version_and_words.value() >> 4 != 4) return 0;
  Endpoint src{IpAddress::v4(header.src.value())};
  Endpoint dst{IpAddress::v4(header.dst.value())};
  const bool fragment = (header.flags_and_offset.value() &
                         (detail::ipv4_more_fragments | detail::ipv4_offset_mask)) != 0;
  const IpProtocol protocol{header.protocol.value()};
  if (!fragment && (protocol == IpProtocol::tcp || protocol == IpProtocol::udp)) {
    const std::size_t header_bytes = (header.version_and_words.value() & 0xfU) * 4;
    if (packet.size() < header_bytes + sizeof(detail::PortsLayout)) return 0;
    const auto ports = detail::load<detail::PortsLayout>(packet.subspan(header_bytes));
    src.port = ports.src.value();
    dst.port = ports.dst.value();
  }
  return flow_hash(key, src, dst);
}

}  // namespace tunic::inline v0
