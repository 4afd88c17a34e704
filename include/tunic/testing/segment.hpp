// SPDX-License-Identifier: BSL-1.0
#pragma once

// Raw IPv4 packets for tests, built by naming only the fields that matter. What comes out of a
// stack is looked at with `expect.hpp`, which this file includes, so that a test of packets needs
// one include.
//
//     const auto from_peer = testing::segment(peer, us).window(1000);
//     device.inject(from_peer.syn().seq(100).mss(1460).packet());
//     device.inject(from_peer.seq(101).ack(501).payload("hello").packet());
//
// Nothing is refused: packets may be as wrong as a test wants them. Everything here allocates.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/testing/decode.hpp>
#include <tunic/testing/expect.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/layout.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/tcp_options.hpp>
#include <tunic/wire/text.hpp>
#include <tunic/wire/udp.hpp>

#include <boost/endian/buffers.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace tunic::inline v0::testing {

/// Bytes given as text, as a vector or as any view of bytes. Lives as long as what it was made of.
struct PayloadView {
  Bytes bytes{};

  constexpr PayloadView() noexcept = default;
  template <std::convertible_to<std::string_view> T>
  PayloadView(const T& text) noexcept  // NOLINT: implicit, a parameter type
      : bytes{as_bytes(std::string_view{text})} {}
  template <std::convertible_to<Bytes> T>
  constexpr PayloadView(const T& view) noexcept  // NOLINT: implicit, a parameter type
      : bytes{view} {}
};

/// A TCP segment in the making. Every call yields a changed copy, so that a builder can serve as a
/// template for many segments; `packet()` yields the bytes.
class SegmentBuilder {
 public:
  SegmentBuilder(const Endpoint& from, const Endpoint& to) {
    ip_.src = from.address;
    ip_.dst = to.address;
    tcp_.src_port = from.port;
    tcp_.dst_port = to.port;
    tcp_.window = 65'535;
  }

  // TCP. Without any of these calls a segment has no flag at all.
  [[nodiscard]] SegmentBuilder fin() const { return with_flag(TcpFlags::fin); }
  [[nodiscard]] SegmentBuilder syn() const { return with_flag(TcpFlags::syn); }
  [[nodiscard]] SegmentBuilder rst() const { return with_flag(TcpFlags::rst); }
  [[nodiscard]] SegmentBuilder psh() const { return with_flag(TcpFlags::psh); }
  [[nodiscard]] SegmentBuilder ece() const { return with_flag(TcpFlags::ece); }
  [[nodiscard]] SegmentBuilder cwr() const { return with_flag(TcpFlags::cwr); }
  /// Exactly these flags, whatever was set before.
  [[nodiscard]] SegmentBuilder flags(TcpFlags exactly) const {
    return with([&](auto& b) { b.tcp_.flags = exactly; });
  }
  [[nodiscard]] SegmentBuilder seq(SeqNum number) const {
    return with([&](auto& b) { b.tcp_.seq = number; });
  }
  [[nodiscard]] SegmentBuilder seq(std::uint32_t number) const { return seq(SeqNum{number}); }
  /// Sets the ACK flag too.
  [[nodiscard]] SegmentBuilder ack(SeqNum number) const {
    return with_flag(TcpFlags::ack).with([&](auto& b) { b.tcp_.ack = number; });
  }
  [[nodiscard]] SegmentBuilder ack(std::uint32_t number) const { return ack(SeqNum{number}); }
  /// As on the wire: not scaled.
  [[nodiscard]] SegmentBuilder window(std::uint16_t bytes) const {
    return with([&](auto& b) { b.tcp_.window = bytes; });
  }
  /// Sets the URG flag too.
  [[nodiscard]] SegmentBuilder urgent(std::uint16_t pointer) const {
    return with_flag(TcpFlags::urg).with([&](auto& b) { b.tcp_.urgent = pointer; });
  }
  [[nodiscard]] SegmentBuilder payload(PayloadView bytes) const {
    return with([&](auto& b) { b.payload_.assign(bytes.bytes.begin(), bytes.bytes.end()); });
  }

  // TCP options, which are written aligned and in Linux's order.
  [[nodiscard]] SegmentBuilder mss(std::uint16_t bytes) const {
    return with([&](auto& b) {
      b.tcp_.options.has_mss = true;
      b.tcp_.options.mss = bytes;
    });
  }
  [[nodiscard]] SegmentBuilder window_scale(std::uint8_t shift) const {
    return with([&](auto& b) {
      b.tcp_.options.has_window_scale = true;
      b.tcp_.options.window_scale = shift;
    });
  }
  [[nodiscard]] SegmentBuilder sack_permitted() const {
    return with([](auto& b) { b.tcp_.options.sack_permitted = true; });
  }
  [[nodiscard]] SegmentBuilder timestamps(std::uint32_t value, std::uint32_t echo) const {
    return with([&](auto& b) {
      b.tcp_.options.has_timestamps = true;
      b.tcp_.options.timestamps = {value, echo};
    });
  }
  /// At most four blocks.
  [[nodiscard]] SegmentBuilder sack(std::initializer_list<Range> blocks) const {
    TUNIC_ASSERT(blocks.size() <= 4);
    return with([&](auto& b) {
      b.tcp_.options.sack_count = 0;
      for (const Range& block : blocks) {
        b.tcp_.options.sack[b.tcp_.options.sack_count++] = {block.left, block.right};
      }
    });
  }
  /// At most 40 bytes in place of all options, padded with zeros to a multiple of 4.
  [[nodiscard]] SegmentBuilder raw_tcp_options(PayloadView bytes) const {
    TUNIC_ASSERT(bytes.bytes.size() <= tcp_max_options_bytes);
    return with([&](auto& b) { b.raw_options_.emplace(bytes.bytes.begin(), bytes.bytes.end()); });
  }
  /// Lies about where the payload begins, in words of 4 bytes.
  [[nodiscard]] SegmentBuilder data_offset_words(std::uint8_t words) const {
    return with([&](auto& b) { b.data_offset_words_ = words; });
  }
  /// The checksum will be wrong by one bit.
  [[nodiscard]] SegmentBuilder corrupt_checksum() const {
    return with([](auto& b) { b.corrupt_checksum_ = true; });
  }

  // IP
  [[nodiscard]] SegmentBuilder ttl(std::uint8_t hops) const {
    return with([&](auto& b) { b.ip_.ttl = hops; });
  }
  /// DSCP << 2 | ECN.
  [[nodiscard]] SegmentBuilder tos(std::uint8_t bits) const {
    return with([&](auto& b) { b.ip_.tos = bits; });
  }
  [[nodiscard]] SegmentBuilder ip_id(std::uint16_t id) const {
    return with([&](auto& b) { b.ip_.id = id; });
  }
  [[nodiscard]] SegmentBuilder df(bool set = true) const {
    return with([&](auto& b) { b.ip_.dont_fragment = set; });
  }
  /// Marks the packet as a fragment, without cutting anything. `fragments` cuts.
  [[nodiscard]] SegmentBuilder fragment(std::uint16_t offset_bytes, bool more) const {
    return with([&](auto& b) {
      b.ip_.fragment_offset_bytes = offset_bytes;
      b.ip_.more_fragments = more;
    });
  }
  /// At most 40 bytes, padded with zeros to a multiple of 4.
  [[nodiscard]] SegmentBuilder ip_options(PayloadView bytes) const {
    return with([&](auto& b) { b.ip_options_.assign(bytes.bytes.begin(), bytes.bytes.end()); });
  }

  /// The IPv4 packet, checksums right unless told otherwise.
  [[nodiscard]] Packet packet() const;

 private:
  template <class Change>
  SegmentBuilder with(Change&& change) const {
    SegmentBuilder changed = *this;
    change(changed);
    return changed;
  }
  [[nodiscard]] SegmentBuilder with_flag(TcpFlags flag) const {
    return with([&](auto& b) { b.tcp_.flags |= flag; });
  }
  [[nodiscard]] Packet header() const;

  Ipv4Header ip_;
  TcpSegment tcp_;
  Packet payload_;
  Packet ip_options_;
  std::optional<Packet> raw_options_;
  std::optional<std::uint8_t> data_offset_words_;
  bool corrupt_checksum_ = false;
};

/// A segment from one endpoint to another: sequence number 0, window 65,535, no flags, no options,
/// no payload.
[[nodiscard]] inline SegmentBuilder segment(const Endpoint& from, const Endpoint& to) {
  return {from, to};
}

/// A packet of any protocol. The header's lengths and checksum are filled in; `options` has at most
/// 40 bytes.
[[nodiscard]] inline Packet ip_packet(Ipv4Header header, PayloadView payload,
                                      PayloadView options = {}) {
  Packet packet(ipv4_min_header_bytes + (options.bytes.size() + 3) / 4 * 4 + payload.bytes.size());
  TUNIC_ASSERT(packet.size() <= 65'535);
  header.total_length = static_cast<std::uint16_t>(packet.size());
  const std::size_t header_bytes = write_ipv4(packet, header, options.bytes);
  copy(MutableBytes{packet}.subspan(header_bytes), payload.bytes);
  return packet;
}

/// A UDP datagram.
[[nodiscard]] inline Packet udp(const Endpoint& from, const Endpoint& to, PayloadView payload) {
  Packet bytes(udp_header_bytes);
  write_udp_header(bytes, {.src_port = from.port, .dst_port = to.port, .payload = payload.bytes},
                   from.address, to.address);
  bytes.insert(bytes.end(), payload.bytes.begin(), payload.bytes.end());
  return ip_packet({.src = from.address, .dst = to.address, .protocol = IpProtocol::udp}, bytes);
}

/// Any ICMP message.
[[nodiscard]] inline Packet icmp(const IpAddress& from, const IpAddress& to,
                                 const IcmpMessage& message) {
  Packet bytes(icmp_header_bytes + message.body.size());
  write_icmpv4(bytes, message);
  return ip_packet({.src = from, .dst = to, .protocol = IpProtocol::icmp}, bytes);
}

/// An echo request.
[[nodiscard]] inline Packet icmp_echo(const IpAddress& from, const IpAddress& to, std::uint16_t id,
                                      std::uint16_t sequence, PayloadView payload = {}) {
  return icmp(from, to,
              {.type = IcmpType::echo_request,
               .rest = std::uint32_t{id} << 16 | sequence,
               .body = payload.bytes});
}

/// An ICMP error that quotes the beginning of a packet, as much of it as 576 bytes allow.
[[nodiscard]] inline Packet icmp_error(const IpAddress& from, const IpAddress& to, IcmpType type,
                                       std::uint8_t code, std::uint32_t rest, PayloadView quoted) {
  return icmp(from, to,
              {.type = type, .code = code, .rest = rest, .body = icmp_quote(quoted.bytes)});
}

/// A `destination_unreachable` that quotes a packet; `next_hop_mtu` goes with
/// `fragmentation_needed`.
[[nodiscard]] inline Packet icmp_unreachable(const IpAddress& from, const IpAddress& to,
                                             IcmpUnreachable why, PayloadView quoted,
                                             std::uint16_t next_hop_mtu = 0) {
  return icmp_error(from, to, IcmpType::destination_unreachable, static_cast<std::uint8_t>(why),
                    next_hop_mtu, quoted);
}

/// A well-formed packet cut into fragments of at most `mtu_bytes`, in order; itself if it is no
/// longer than that. A fragment may be cut further. IP options are repeated in every one.
[[nodiscard]] inline std::vector<Packet> fragments(PayloadView packet, std::size_t mtu_bytes) {
  if (packet.bytes.size() <= mtu_bytes) return {Packet(packet.bytes.begin(), packet.bytes.end())};
  const auto whole = BasicIpv4Parser<tunic::detail::ShowAllPolicy>{}(packet.bytes);
  TUNIC_ASSERT(whole && whole->header.header_length + 8U <= mtu_bytes);
  const std::size_t unit = (mtu_bytes - whole->header.header_length) / 8 * 8;
  std::vector<Packet> result;
  for (Bytes left = whole->payload; !left.empty();) {
    const Bytes part = left.first(std::min(unit, left.size()));
    Ipv4Header header = whole->header;
    header.fragment_offset_bytes = static_cast<std::uint16_t>(
        header.fragment_offset_bytes + (whole->payload.size() - left.size()));
    left = left.subspan(part.size());
    header.more_fragments = header.more_fragments || !left.empty();
    result.push_back(ip_packet(header, part, whole->options));
  }
  return result;
}

namespace detail {

using tunic::detail::load;
using tunic::detail::store;

/// Puts the right checksum at `offset` of what it covers, if that is long enough to have one.
inline void repair_checksum(MutableBytes covered, std::size_t offset, InternetSum sum) noexcept {
  if (covered.size() < offset + 2) return;
  const MutableBytes place = covered.subspan(offset);
  store(place, boost::endian::big_uint16_buf_t{0});
  sum.add(covered);
  store(place, boost::endian::big_uint16_buf_t{sum.finish()});
}

}  // namespace detail

/// Makes the checksums of changed bytes right again: IP's, and the transport's unless it is a
/// fragment. Takes any bytes, and leaves alone what it can't find its way in: a mutating fuzzer
/// gets past the checksums with it.
inline void repair_checksums(MutableBytes packet) noexcept {
  if (packet.size() < ipv4_min_header_bytes) return;
  const auto ip = detail::load<tunic::detail::Ipv4Layout>(packet);
  const std::size_t header_bytes = (ip.version_and_words.value() & 0xfU) * 4;
  const std::size_t total_bytes = std::min<std::size_t>(ip.total_length.value(), packet.size());
  if (header_bytes < ipv4_min_header_bytes || header_bytes > packet.size()) return;
  detail::repair_checksum(packet.first(header_bytes), 10, {});
  constexpr unsigned part = tunic::detail::ipv4_offset_mask | tunic::detail::ipv4_more_fragments;
  if (total_bytes < header_bytes || (ip.flags_and_offset.value() & part) != 0) return;

  const MutableBytes payload = packet.first(total_bytes).subspan(header_bytes);
  const auto protocol = IpProtocol{ip.protocol.value()};
  const InternetSum pseudo_header =
      pseudo_header_sum(IpAddress::v4(ip.src.value()), IpAddress::v4(ip.dst.value()), protocol,
                        static_cast<std::uint32_t>(payload.size()));
  if (protocol == IpProtocol::tcp) detail::repair_checksum(payload, 16, pseudo_header);
  if (protocol == IpProtocol::udp) detail::repair_checksum(payload, 6, pseudo_header);
  if (protocol == IpProtocol::icmp) detail::repair_checksum(payload, 2, {});
}

inline Packet SegmentBuilder::header() const {
  Packet header(tcp_max_header_bytes);
  std::size_t size = write_tcp_header(header, tcp_);
  if (raw_options_) {
    size = tcp_min_header_bytes + (raw_options_->size() + 3) / 4 * 4;
    std::fill(header.begin() + tcp_min_header_bytes, header.end(), std::byte{0});
    copy(MutableBytes{header}.subspan(tcp_min_header_bytes), *raw_options_);
  }
  header.resize(size);
  const std::size_t words = data_offset_words_.value_or(static_cast<std::uint8_t>(size / 4));
  header[12] = static_cast<std::byte>(words << 4);
  return header;
}

inline Packet SegmentBuilder::packet() const {
  Packet bytes = header();
  const Bytes payload = payload_;
  finish_tcp_checksum(bytes, ip_.src, ip_.dst, {&payload, 1});
  if (corrupt_checksum_) bytes[tunic::detail::tcp_checksum_offset] ^= std::byte{1};
  bytes.insert(bytes.end(), payload_.begin(), payload_.end());
  return ip_packet(ip_, bytes, ip_options_);
}

}  // namespace tunic::inline v0::testing
