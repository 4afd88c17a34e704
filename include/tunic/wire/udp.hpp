// SPDX-License-Identifier: BSL-1.0
#pragma once

// The UDP header (RFC 768, RFC 8200 8.1) as values: parser and writer.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/layout.hpp>

#include <boost/endian/buffers.hpp>

#include <cstddef>
#include <cstdint>

namespace tunic::inline v0 {

inline constexpr std::size_t udp_header_bytes = 8;

/// One datagram. Parsed: `payload` points into the parsed bytes.
struct UdpDatagram {
  std::uint16_t src_port = 0;
  std::uint16_t dst_port = 0;
  Bytes payload{};
};

namespace detail {

struct UdpLayout {
  boost::endian::big_uint16_buf_t src_port;
  boost::endian::big_uint16_buf_t dst_port;
  boost::endian::big_uint16_buf_t length;
  boost::endian::big_uint16_buf_t checksum;
};
static_assert(sizeof(UdpLayout) == udp_header_bytes && alignof(UdpLayout) == 1);

}  // namespace detail

/// Parses a datagram, IP's payload; bytes beyond its length field are trimmed. A checksum of zero
/// means none over IPv4 and is refused over IPv6. Fails with `udp_too_short`, `bad_udp_length`,
/// `bad_udp_checksum`.
[[nodiscard]] inline Parsed<UdpDatagram> parse_udp(Bytes bytes, const IpAddress& src,
                                                   const IpAddress& dst) noexcept {
  if (bytes.size() < udp_header_bytes) return Drop::udp_too_short;
  const auto layout = detail::load<detail::UdpLayout>(bytes);
  const std::uint16_t length = layout.length.value();
  if (length < udp_header_bytes || length > bytes.size()) return Drop::bad_udp_length;
  bytes = bytes.first(length);
  if (layout.checksum.value() != 0 || !src.is_v4()) {
    InternetSum sum = pseudo_header_sum(src, dst, IpProtocol::udp, length);
    sum.add(bytes);
    if (layout.checksum.value() == 0 || sum.finish() != 0) return Drop::bad_udp_checksum;
  }
  return UdpDatagram{.src_port = layout.src_port.value(),
                     .dst_port = layout.dst_port.value(),
                     .payload = bytes.subspan(udp_header_bytes)};
}

/// Writes the header of a datagram, whose payload follows it on the wire, and returns its size, 8
/// bytes. The payload is summed, not copied; it has at most 65,527 bytes.
inline std::size_t write_udp_header(MutableBytes out, const UdpDatagram& datagram,
                                    const IpAddress& src, const IpAddress& dst) noexcept {
  const std::size_t length = udp_header_bytes + datagram.payload.size();
  TUNIC_ASSERT(out.size() >= udp_header_bytes && length <= 65'535);
  detail::UdpLayout layout;
  layout.src_port = datagram.src_port;
  layout.dst_port = datagram.dst_port;
  layout.length = static_cast<std::uint16_t>(length);
  layout.checksum = 0;
  detail::store(out, layout);
  InternetSum sum =
      pseudo_header_sum(src, dst, IpProtocol::udp, static_cast<std::uint32_t>(length));
  sum.add(out.first(udp_header_bytes));
  sum.add(datagram.payload);
  const std::uint16_t checksum = sum.finish();
  layout.checksum = checksum == 0 ? std::uint16_t{0xffff} : checksum;  // zero would mean none
  detail::store(out, layout);
  return udp_header_bytes;
}

}  // namespace tunic::inline v0
