// SPDX-License-Identifier: BSL-1.0
#pragma once

// The TCP header (RFC 9293 3.1) as values: parser and writer. Its options are in `tcp_options.hpp`;
// what a segment means to a connection is not decided here. The reserved bits are ignored and sent
// as zero.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/layout.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp_options.hpp>

#include <boost/endian/buffers.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace tunic::inline v0 {

/// The size of a header without options, and of the largest one.
inline constexpr std::size_t tcp_min_header_bytes = 20;
inline constexpr std::size_t tcp_max_header_bytes = tcp_min_header_bytes + tcp_max_options_bytes;

/// A set of control bits, each at its place in the header: `TcpFlags::syn | TcpFlags::ack`.
struct TcpFlags {
  std::uint8_t bits = 0;

  static const TcpFlags none, fin, syn, rst, psh, ack, urg, ece, cwr;

  /// Whether all of `flags` are set.
  [[nodiscard]] constexpr bool has(TcpFlags flags) const noexcept {
    return (bits & flags.bits) == flags.bits;
  }
  /// Whether at least one of `flags` is set.
  [[nodiscard]] constexpr bool has_any(TcpFlags flags) const noexcept {
    return (bits & flags.bits) != 0;
  }
  constexpr TcpFlags& operator|=(TcpFlags flags) noexcept { return *this = *this | flags; }
  constexpr TcpFlags& operator&=(TcpFlags flags) noexcept { return *this = *this & flags; }

  [[nodiscard]] friend constexpr TcpFlags operator|(TcpFlags a, TcpFlags b) noexcept {
    return {static_cast<std::uint8_t>(a.bits | b.bits)};
  }
  [[nodiscard]] friend constexpr TcpFlags operator&(TcpFlags a, TcpFlags b) noexcept {
    return {static_cast<std::uint8_t>(a.bits & b.bits)};
  }
  [[nodiscard]] friend constexpr TcpFlags operator~(TcpFlags a) noexcept {
    return {static_cast<std::uint8_t>(~a.bits)};
  }
  [[nodiscard]] friend constexpr bool operator==(TcpFlags, TcpFlags) noexcept = default;
};

inline constexpr TcpFlags TcpFlags::none{0x00};
inline constexpr TcpFlags TcpFlags::fin{0x01};
inline constexpr TcpFlags TcpFlags::syn{0x02};
inline constexpr TcpFlags TcpFlags::rst{0x04};
inline constexpr TcpFlags TcpFlags::psh{0x08};
inline constexpr TcpFlags TcpFlags::ack{0x10};
inline constexpr TcpFlags TcpFlags::urg{0x20};
inline constexpr TcpFlags TcpFlags::ece{0x40};
inline constexpr TcpFlags TcpFlags::cwr{0x80};

/// One segment. Parsed: validated, and `payload` points into the parsed bytes.
struct TcpSegment {
  std::uint16_t src_port = 0;
  std::uint16_t dst_port = 0;
  SeqNum seq{};
  SeqNum ack{};
  TcpFlags flags{};
  std::uint16_t window = 0;  ///< As on the wire: not scaled.
  std::uint16_t urgent = 0;
  TcpOptions options{};
  Bytes payload{};

  [[nodiscard]] constexpr bool has(TcpFlags wanted) const noexcept { return flags.has(wanted); }

  /// The sequence space that it takes: payload, SYN and FIN (SEG.LEN).
  [[nodiscard]] constexpr std::uint32_t length() const noexcept {
    return static_cast<std::uint32_t>(payload.size()) + (has(TcpFlags::syn) ? 1 : 0) +
           (has(TcpFlags::fin) ? 1 : 0);
  }
};

namespace detail {

struct TcpLayout {
  boost::endian::big_uint16_buf_t src_port;
  boost::endian::big_uint16_buf_t dst_port;
  boost::endian::big_uint32_buf_t seq;
  boost::endian::big_uint32_buf_t ack;
  boost::endian::big_uint8_buf_t offset_and_reserved;
  boost::endian::big_uint8_buf_t flags;
  boost::endian::big_uint16_buf_t window;
  boost::endian::big_uint16_buf_t checksum;
  boost::endian::big_uint16_buf_t urgent;
};
static_assert(sizeof(TcpLayout) == tcp_min_header_bytes && alignof(TcpLayout) == 1);
inline constexpr std::uint16_t tcp_sequence_offset = 4;
inline constexpr std::uint16_t tcp_checksum_offset = 16;

inline Refusal read_tcp(TcpSegment* place, Bytes bytes) noexcept {
  if (bytes.size() < tcp_min_header_bytes) return Drop::tcp_too_short;
  const auto layout = load<TcpLayout>(bytes);
  const std::size_t header_bytes = (layout.offset_and_reserved.value() >> 4) * std::size_t{4};
  if (header_bytes < tcp_min_header_bytes || header_bytes > bytes.size()) {
    return Drop::bad_data_offset;
  }
  auto& segment = *::new (place) TcpSegment{.src_port = layout.src_port.value(),
                                            .dst_port = layout.dst_port.value(),
                                            .seq = SeqNum{layout.seq.value()},
                                            .ack = SeqNum{layout.ack.value()},
                                            .flags = {layout.flags.value()},
                                            .window = layout.window.value(),
                                            .urgent = layout.urgent.value(),
                                            .options = {},
                                            .payload = bytes.subspan(header_bytes)};
  return read_tcp_options(segment.options, bytes.first(header_bytes).subspan(tcp_min_header_bytes));
}

}  // namespace detail

/// Parses a segment, IP's payload, without looking at its checksum: for bytes that somebody has
/// vouched for, or that are only shown. Fails with `tcp_too_short`, `bad_data_offset`,
/// `bad_tcp_option`.
[[nodiscard]] inline Parsed<TcpSegment> parse_tcp_unverified(Bytes bytes) noexcept {
  return Parsed<TcpSegment>{[bytes](TcpSegment* place) { return detail::read_tcp(place, bytes); }};
}

/// Parses a segment, IP's payload, whose pseudo-header sums to `pseudo_header`. Fails like
/// `parse_tcp_unverified` and with `bad_tcp_checksum`, which is looked at before all but the
/// length.
[[nodiscard]] inline Parsed<TcpSegment> parse_tcp(Bytes bytes, InternetSum pseudo_header) noexcept {
  if (bytes.size() < tcp_min_header_bytes) return Drop::tcp_too_short;
  pseudo_header.add(bytes);
  if (pseudo_header.finish() != 0) return Drop::bad_tcp_checksum;
  return parse_tcp_unverified(bytes);
}

/// The same for a segment between two addresses of one family.
[[nodiscard]] inline Parsed<TcpSegment> parse_tcp(Bytes bytes, const IpAddress& src,
                                                  const IpAddress& dst) noexcept {
  return parse_tcp(bytes, pseudo_header_sum(src, dst, IpProtocol::tcp,
                                            static_cast<std::uint32_t>(bytes.size())));
}

/// Writes the header of a segment, options included, with a checksum of zero, and returns its size,
/// which `out` must hold: `tcp_min_header_bytes + segment.options.encoded_bytes()`. The payload is
/// not looked at.
inline std::size_t write_tcp_header(MutableBytes out, const TcpSegment& segment) noexcept {
  TUNIC_ASSERT(out.size() >= tcp_min_header_bytes);
  const std::size_t size =
      tcp_min_header_bytes + write_tcp_options(out.subspan(tcp_min_header_bytes), segment.options);
  detail::TcpLayout layout;
  layout.src_port = segment.src_port;
  layout.dst_port = segment.dst_port;
  layout.seq = segment.seq.value();
  layout.ack = segment.ack.value();
  layout.offset_and_reserved = static_cast<std::uint8_t>(size / 4 << 4);
  layout.flags = segment.flags.bits;
  layout.window = segment.window;
  layout.checksum = 0;
  layout.urgent = segment.urgent;
  detail::store(out, layout);
  return size;
}

/// Fills in the checksum of a header that `write_tcp_header` wrote. `header` ends where the payload
/// begins; the payload's pieces follow each other on the wire and may have any length.
inline void finish_tcp_checksum(MutableBytes header, const IpAddress& src, const IpAddress& dst,
                                std::span<const Bytes> payload) noexcept {
  TUNIC_ASSERT(header.size() >= tcp_min_header_bytes);
  std::size_t size = header.size();
  for (const Bytes piece : payload) size += piece.size();
  InternetSum sum = pseudo_header_sum(src, dst, IpProtocol::tcp, static_cast<std::uint32_t>(size));
  sum.add(header);
  for (const Bytes piece : payload) sum.add(piece);
  detail::store(header.subspan(detail::tcp_checksum_offset),
                boost::endian::big_uint16_buf_t{sum.finish()});
}

/// Leaves the checksum to be finished by others: puts the sum of the pseudo-header, not
/// complemented, in its place. `payload_bytes` follow the header.
inline void start_tcp_checksum(MutableBytes header, const IpAddress& src, const IpAddress& dst,
                               std::size_t payload_bytes) noexcept {
  TUNIC_ASSERT(header.size() >= tcp_min_header_bytes);
  const InternetSum sum = pseudo_header_sum(
      src, dst, IpProtocol::tcp, static_cast<std::uint32_t>(header.size() + payload_bytes));
  detail::store(header.subspan(detail::tcp_checksum_offset),
                boost::endian::big_uint16_buf_t{static_cast<std::uint16_t>(~sum.finish())});
}

}  // namespace tunic::inline v0
