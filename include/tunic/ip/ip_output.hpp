// SPDX-License-Identifier: BSL-1.0
#pragma once

// The IP header of an outgoing packet, by address family.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>

#include <cstddef>
#include <cstdint>

namespace tunic::inline v0 {

/// Bytes of the header towards an address.
[[nodiscard]] constexpr std::size_t ip_header_bytes(const IpAddress& address) noexcept {
  return address.is_v4() ? 20 : 40;
}

/// Writes the header of a whole packet that must not be fragmented, and returns its size. Such an
/// IPv4 packet needs no identification (RFC 6864 4.1).
inline std::size_t write_ip_header(MutableBytes out, const IpAddress& src, const IpAddress& dst,
                                   IpProtocol protocol, std::uint8_t ttl,
                                   std::uint8_t traffic_class, std::size_t payload_bytes) noexcept {
  TUNIC_ASSERT(src.is_v4() && dst.is_v4());
  return write_ipv4(
      out, {.src = src,
            .dst = dst,
            .protocol = protocol,
            .ttl = ttl,
            .tos = traffic_class,
            .total_length = static_cast<std::uint16_t>(ipv4_min_header_bytes + payload_bytes),
            .dont_fragment = true});
}

}  // namespace tunic::inline v0
