// SPDX-License-Identifier: BSL-1.0
#pragma once

// ICMPv4 messages (RFC 792, RFC 1122 3.2.2, RFC 1191 4) as values: parser, writer, and the packet
// that an error quotes. Which types are acted on, and how often one answers, is not decided here.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/layout.hpp>
#include <tunic/wire/seq.hpp>

#include <boost/endian/buffers.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tunic::inline v0 {

inline constexpr std::size_t icmp_header_bytes = 8;
/// The largest error that we send, IP header included (RFC 1812 4.3.2.3).
inline constexpr std::size_t icmp_max_error_bytes = 576;

/// Every 8-bit value is possible.
enum class IcmpType : std::uint8_t {
  echo_reply = 0,
  destination_unreachable = 3,
  source_quench = 4,
  redirect = 5,
  echo_request = 8,
  time_exceeded = 11,
  parameter_problem = 12,
  timestamp_request = 13,
  timestamp_reply = 14,
};

/// Codes of `destination_unreachable`.
enum class IcmpUnreachable : std::uint8_t {
  net = 0,
  host = 1,
  protocol = 2,
  port = 3,
  fragmentation_needed = 4,
  source_route_failed = 5,
  net_unknown = 6,
  host_unknown = 7,
  source_host_isolated = 8,
  net_prohibited = 9,
  host_prohibited = 10,
  net_unreachable_for_tos = 11,
  host_unreachable_for_tos = 12,
  prohibited = 13,
  host_precedence_violation = 14,
  precedence_cutoff = 15,
};

/// One message. Parsed: `body` points into the parsed bytes.
struct IcmpMessage {
  IcmpType type = IcmpType::echo_reply;
  std::uint8_t code = 0;
  /// The second word of the header: echo identifier << 16 | sequence; next-hop MTU in the lower
  /// half; ...
  std::uint32_t rest = 0;
  Bytes body{};  ///< Echo data or the quoted packet.

  [[nodiscard]] constexpr std::uint16_t echo_id() const noexcept {
    return static_cast<std::uint16_t>(rest >> 16);
  }
  [[nodiscard]] constexpr std::uint16_t echo_sequence() const noexcept {
    return static_cast<std::uint16_t>(rest);
  }
  /// Of `fragmentation_needed` (RFC 1191 4): zero when the router is older than that.
  [[nodiscard]] constexpr std::uint16_t next_hop_mtu() const noexcept {
    return static_cast<std::uint16_t>(rest);
  }
  [[nodiscard]] constexpr bool is_unreachable(IcmpUnreachable why) const noexcept {
    return type == IcmpType::destination_unreachable && code == static_cast<std::uint8_t>(why);
  }
  /// Whether it reports about a packet, which it then quotes, and must not itself cause an error
  /// message.
  [[nodiscard]] constexpr bool is_error() const noexcept {
    return type == IcmpType::destination_unreachable || type == IcmpType::source_quench ||
           type == IcmpType::redirect || type == IcmpType::time_exceeded ||
           type == IcmpType::parameter_problem;
  }
};

/// What an error tells about the packet that caused it. Nothing of it is authenticated.
struct QuotedPacket {
  IpAddress src{};  ///< Who sent the quoted packet: one of ours, if the error is honest.
  IpAddress dst{};
  IpProtocol protocol = IpProtocol::tcp;
  std::uint16_t src_port = 0;  ///< Of TCP and UDP.
  std::uint16_t dst_port = 0;  ///< Of TCP and UDP.
  SeqNum seq{};                ///< Of TCP.
  std::uint16_t total_length =
      0;  ///< Of the whole quoted packet, most of which is not in the quote.
};

namespace detail {

struct IcmpLayout {
  boost::endian::big_uint8_buf_t type;
  boost::endian::big_uint8_buf_t code;
  boost::endian::big_uint16_buf_t checksum;
  boost::endian::big_uint32_buf_t rest;
};
static_assert(sizeof(IcmpLayout) == icmp_header_bytes && alignof(IcmpLayout) == 1);

/// The first 8 bytes of TCP, and enough of UDP.
struct QuotedTransportLayout {
  boost::endian::big_uint16_buf_t src_port;
  boost::endian::big_uint16_buf_t dst_port;
  boost::endian::big_uint32_buf_t seq;
};
static_assert(sizeof(QuotedTransportLayout) == 8 && alignof(QuotedTransportLayout) == 1);

}  // namespace detail

/// Parses a message, IP's payload. Fails with `icmp_too_short` and `bad_icmp_checksum`; any type
/// and code pass.
[[nodiscard]] inline Parsed<IcmpMessage> parse_icmpv4(Bytes bytes) noexcept {
  if (bytes.size() < icmp_header_bytes) return Drop::icmp_too_short;
  if (checksum(bytes) != 0) return Drop::bad_icmp_checksum;
  const auto layout = detail::load<detail::IcmpLayout>(bytes);
  return IcmpMessage{.type = IcmpType{layout.type.value()},
                     .code = layout.code.value(),
                     .rest = layout.rest.value(),
                     .body = bytes.subspan(icmp_header_bytes)};
}

/// Parses the body of an error: the header and at least 8 bytes of the payload of a packet that
/// starts with its transport header. The quote may end early, and its checksum need not be right:
/// it may have been changed on its way. Fails with `icmp_bad_quote`.
[[nodiscard]] inline Parsed<QuotedPacket> parse_icmp_quote(Bytes body) noexcept {
  if (body.size() < ipv4_min_header_bytes) return Drop::icmp_bad_quote;
  const auto ip = detail::load<detail::Ipv4Layout>(body);
  const std::size_t header_bytes = (ip.version_and_words.value() & 0xfU) * 4;
  const std::size_t needed = header_bytes + sizeof(detail::QuotedTransportLayout);
  if (ip.version_and_words.value() >> 4 != 4 || header_bytes < ipv4_min_header_bytes ||
      needed > body.size() || needed > ip.total_length.value() ||
      (ip.flags_and_offset.value() & detail::ipv4_offset_mask) != 0) {
    return Drop::icmp_bad_quote;
  }
  const auto transport = detail::load<detail::QuotedTransportLayout>(body.subspan(header_bytes));
  return QuotedPacket{.src = IpAddress::v4(ip.src.value()),
                      .dst = IpAddress::v4(ip.dst.value()),
                      .protocol = IpProtocol{ip.protocol.value()},
                      .src_port = transport.src_port.value(),
                      .dst_port = transport.dst_port.value(),
                      .seq = SeqNum{transport.seq.value()},
                      .total_length = ip.total_length.value()};
}

/// What an error about `packet` quotes: its beginning, as long as the whole error stays within 576
/// bytes. An IPv4 header with all its options and 8 bytes of payload always fit (RFC 1122 3.2.2).
[[nodiscard]] inline Bytes icmp_quote(Bytes packet) noexcept {
  constexpr std::size_t room = icmp_max_error_bytes - ipv4_min_header_bytes - icmp_header_bytes;
  return packet.first(std::min(packet.size(), room));
}

/// Writes a message with its body and checksum and returns its size, `icmp_header_bytes +
/// body.size()`, which `out` must hold. The body does not overlap `out`.
inline std::size_t write_icmpv4(MutableBytes out, const IcmpMessage& message) noexcept {
  const std::size_t size = icmp_header_bytes + message.body.size();
  TUNIC_ASSERT(out.size() >= size);
  detail::IcmpLayout layout;
  layout.type = static_cast<std::uint8_t>(message.type);
  layout.code = message.code;
  layout.checksum = 0;
  layout.rest = message.rest;
  detail::store(out, layout);
  copy(out.subspan(icmp_header_bytes), message.body);
  layout.checksum = checksum(out.first(size));
  detail::store(out, layout);
  return size;
}

}  // namespace tunic::inline v0
