// SPDX-License-Identifier: BSL-1.0
#pragma once

// The IPv4 header (RFC 791 3.1) as values: a parser with a host's rules (RFC 1122 3.2.1) and a
// writer. Whether a destination is ours, and reassembly, are not decided here.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/layout.hpp>

#include <boost/endian/buffers.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tunic::inline v0 {

/// The size of a header without options, which is all that this library sends of its own.
inline constexpr std::size_t ipv4_min_header_bytes = 20;
/// The largest header: the length field counts up to 15 words of 4 bytes.
inline constexpr std::size_t ipv4_max_header_bytes = 60;

/// The fields of a header. `tos` is DSCP << 2 | ECN (RFC 2474, RFC 3168).
struct Ipv4Header {
  IpAddress src{};
  IpAddress dst{};
  IpProtocol protocol = IpProtocol::tcp;
  std::uint8_t ttl = 64;  ///< RFC 1700's default.
  std::uint8_t tos = 0;
  std::uint8_t header_length = ipv4_min_header_bytes;  ///< In bytes, options included.
  std::uint16_t total_length = 0;                      ///< In bytes, header and payload.
  std::uint16_t id = 0;
  std::uint16_t fragment_offset_bytes = 0;  ///< A multiple of 8.
  bool dont_fragment = false;
  bool more_fragments = false;

  /// Whether it is only a part of what was sent.
  [[nodiscard]] constexpr bool is_fragment() const noexcept {
    return more_fragments || fragment_offset_bytes != 0;
  }
};

/// A validated packet. The views point into the parsed bytes: padding of the link layer is not in
/// them.
struct Ipv4Packet {
  Ipv4Header header;
  Bytes options{};  ///< Well-formed: every length lies within it.
  Bytes payload{};
};

/// What a host accepts beyond well-formed packets; constants, so that a refused branch costs
/// nothing.
template <class P>
concept Ipv4Policy = requires {
  { P::accept_source_route } -> std::convertible_to<bool>;
  { P::accept_martian_sources } -> std::convertible_to<bool>;
};

/// The rules of a host that trusts nobody.
struct Ipv4HostPolicy {
  /// Takes packets with LSRR or SSRR (RFC 1122 3.2.1.8c lets a host refuse them).
  static constexpr bool accept_source_route = false;
  /// Takes sources that `IpAddress::is_martian_source` names, which a loopback set-up needs.
  static constexpr bool accept_martian_sources = false;
};

namespace detail {

struct Ipv4Layout {
  boost::endian::big_uint8_buf_t version_and_words;
  boost::endian::big_uint8_buf_t tos;
  boost::endian::big_uint16_buf_t total_length;
  boost::endian::big_uint16_buf_t id;
  boost::endian::big_uint16_buf_t flags_and_offset;
  boost::endian::big_uint8_buf_t ttl;
  boost::endian::big_uint8_buf_t protocol;
  boost::endian::big_uint16_buf_t checksum;
  boost::endian::big_uint32_buf_t src;
  boost::endian::big_uint32_buf_t dst;
};
static_assert(sizeof(Ipv4Layout) == ipv4_min_header_bytes && alignof(Ipv4Layout) == 1);

inline constexpr std::uint16_t ipv4_dont_fragment = 0x4000;
inline constexpr std::uint16_t ipv4_more_fragments = 0x2000;
inline constexpr std::uint16_t ipv4_offset_mask = 0x1fff;

}  // namespace detail

/// Turns bytes into a packet. In this order: fixed header, version, header length, total length
/// (surplus bytes are trimmed, RFC 791 3.1), checksum, options, fragment fields, source. The
/// reserved flag is ignored.
template <Ipv4Policy Policy = Ipv4HostPolicy>
class BasicIpv4Parser {
 public:
  /// Never reads outside `bytes`; the packet's views live as long as they do.
  [[nodiscard]] Parsed<Ipv4Packet> operator()(Bytes bytes) const noexcept {
    return Parsed<Ipv4Packet>{[bytes](Ipv4Packet* place) { return read(place, bytes); }};
  }

 private:
  static Refusal read(Ipv4Packet* place, Bytes bytes) noexcept {
    if (bytes.size() < ipv4_min_header_bytes) return Drop::too_short;
    const auto layout = detail::load<detail::Ipv4Layout>(bytes);
    if (layout.version_and_words.value() >> 4 != 4) return Drop::bad_version;
    const std::size_t header_length = (layout.version_and_words.value() & 0xfU) * 4;
    if (header_length < ipv4_min_header_bytes || header_length > bytes.size()) {
      return Drop::bad_header_length;
    }
    const std::size_t total_length = layout.total_length.value();
    if (total_length < header_length || total_length > bytes.size()) return Drop::bad_total_length;
    if (checksum(bytes.first(header_length)) != 0) return Drop::bad_ip_checksum;

    auto& packet = *::new (place) Ipv4Packet{
        .header = header_of(layout),
        .options = bytes.first(header_length).subspan(ipv4_min_header_bytes),
        .payload = bytes.first(total_length).subspan(header_length)};
    if (!packet.options.empty()) {
      if (const Refusal refusal = check_options(packet.options)) return refusal;
    }
    if (packet.header.is_fragment() && !is_sane_fragment(packet)) return Drop::bad_fragment;
    if (!Policy::accept_martian_sources && packet.header.src.is_martian_source()) {
      return Drop::martian_source;
    }
    return std::nullopt;
  }

  static Ipv4Header header_of(const detail::Ipv4Layout& layout) noexcept {
    const std::uint16_t flags = layout.flags_and_offset.value();
    return {
        .src = IpAddress::v4(layout.src.value()),
        .dst = IpAddress::v4(layout.dst.value()),
        .protocol = IpProtocol{layout.protocol.value()},
        .ttl = layout.ttl.value(),
        .tos = layout.tos.value(),
        .header_length = static_cast<std::uint8_t>((layout.version_and_words.value() & 0xfU) * 4),
        .total_length = layout.total_length.value(),
        .id = layout.id.value(),
        .fragment_offset_bytes = static_cast<std::uint16_t>((flags & detail::ipv4_offset_mask) * 8),
        .dont_fragment = (flags & detail::ipv4_dont_fragment) != 0,
        .more_fragments = (flags & detail::ipv4_more_fragments) != 0};
  }

  /// Walks the options (RFC 791 3.1): only EOL (0) and NOP (1) have no length; unknown ones are
  /// skipped.
  static Refusal check_options(Bytes left) noexcept {
    constexpr std::uint8_t end_of_list = 0, no_operation = 1, lsrr = 131, ssrr = 137;
    while (!left.empty()) {
      const auto kind = static_cast<std::uint8_t>(left[0]);
      if (kind == end_of_list) break;
      if (kind == no_operation) {
        left = left.subspan(1);
        continue;
      }
      if (left.size() < 2) return Drop::bad_ip_option;
      const auto length = static_cast<std::size_t>(left[1]);
      if (length < 2 || length > left.size()) return Drop::bad_ip_option;
      if (kind == lsrr || kind == ssrr) {
        if (!Policy::accept_source_route) return Drop::source_routed;
        if (length < 3 || static_cast<unsigned>(left[2]) < 4) return Drop::bad_ip_option;
      }
      left = left.subspan(length);
    }
    return std::nullopt;
  }

  /// A fragment has bytes, all but the last hold whole units of 8, and the whole fits a length
  /// field.
  static bool is_sane_fragment(const Ipv4Packet& packet) noexcept {
    const std::size_t size = packet.payload.size();
    const Ipv4Header& header = packet.header;
    return size != 0 && (!header.more_fragments || size % 8 == 0) &&
           header.header_length + std::size_t{header.fragment_offset_bytes} + size <= 65'535;
  }
};

using Ipv4Parser = BasicIpv4Parser<>;

/// Writes a header with its checksum and returns its size: 20 bytes, plus `options` padded with
/// zeros to a multiple of 4. `header.header_length` is not read; `total_length` is, and counts
/// these bytes too.
inline std::size_t write_ipv4(MutableBytes out, const Ipv4Header& header,
                              Bytes options = {}) noexcept {
  const std::size_t size = ipv4_min_header_bytes + (options.size() + 3) / 4 * 4;
  TUNIC_ASSERT(size <= ipv4_max_header_bytes && size <= out.size());
  TUNIC_ASSERT(header.fragment_offset_bytes % 8 == 0);
  detail::Ipv4Layout layout;
  layout.version_and_words = static_cast<std::uint8_t>(0x40 | size / 4);
  layout.tos = header.tos;
  layout.total_length = header.total_length;
  layout.id = header.id;
  layout.flags_and_offset =
      static_cast<std::uint16_t>((header.dont_fragment ? detail::ipv4_dont_fragment : 0U) |
                                 (header.more_fragments ? detail::ipv4_more_fragments : 0U) |
                                 header.fragment_offset_bytes / 8U);
  layout.ttl = header.ttl;
  layout.protocol = static_cast<std::uint8_t>(header.protocol);
  layout.checksum = 0;
  layout.src = header.src.v4_bits();
  layout.dst = header.dst.v4_bits();

  InternetSum sum;
  sum.add(std::as_bytes(std::span{&layout, 1}));
  if (!options.empty()) {
    sum.add(options);
    copy(out.subspan(ipv4_min_header_bytes), options);
    const std::size_t used = ipv4_min_header_bytes + options.size();
    std::ranges::fill(out.subspan(used, size - used), std::byte{0});
  }
  layout.checksum = sum.finish();
  detail::store(out, layout);
  return size;
}

}  // namespace tunic::inline v0
