// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a packet with offloads becomes on a wire: a super-segment is cut, a checksum finished. The
// stack itself needs this nowhere, for it plans segments; it is for devices that treat packets one
// by one (faults, traces) around one that has offloads.

#include <tunic/base/bytes.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/layout.hpp>
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/virtio_net.hpp>

#include <boost/endian/buffers.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tunic::inline v0 {

namespace detail {

// The lengths of the headers before TCP's payload in an IPv4 packet; false if they are not there.
inline bool find_tcp_headers(Bytes packet, std::size_t& ip_bytes, std::size_t& all_bytes) noexcept {
  if (packet.size() < ipv4_min_header_bytes + tcp_min_header_bytes) return false;
  ip_bytes = (load<Ipv4Layout>(packet).version_and_words.value() & 0xfU) * 4;
  if (ip_bytes < ipv4_min_header_bytes || ip_bytes + tcp_min_header_bytes > packet.size())
    return false;
  const auto tcp = load<TcpLayout>(packet.subspan(ip_bytes));
  const std::size_t tcp_bytes = (tcp.offset_and_reserved.value() >> 4) * std::size_t{4};
  all_bytes = ip_bytes + tcp_bytes;
  return tcp_bytes >= tcp_min_header_bytes && all_bytes < packet.size();
}

// Writes the segment with `length` bytes of payload from `offset` on, its header after the first's.
inline Bytes write_segment(MutableBytes out, Bytes packet, std::size_t ip_bytes,
                           std::size_t header_bytes, std::size_t offset, std::size_t length,
                           std::size_t number) noexcept {
  copy(out, packet.first(header_bytes));
  copy(out.subspan(header_bytes), packet.subspan(header_bytes + offset, length));
  const MutableBytes segment = out.first(header_bytes + length);

  auto ip = load<Ipv4Layout>(segment);
  ip.total_length = static_cast<std::uint16_t>(segment.size());
  ip.id = static_cast<std::uint16_t>(ip.id.value() + number);
  ip.checksum = 0;
  store(segment, ip);
  ip.checksum = checksum(segment.first(ip_bytes));
  store(segment, ip);

  const MutableBytes transport = segment.subspan(ip_bytes);
  auto tcp = load<TcpLayout>(transport);
  TcpFlags flags{tcp.flags.value()};
  if (number != 0) flags &= ~TcpFlags::cwr;
  if (header_bytes + offset + length != packet.size()) flags &= ~(TcpFlags::psh | TcpFlags::fin);
  tcp.flags = flags.bits;
  tcp.seq = static_cast<std::uint32_t>(tcp.seq.value() + offset);
  tcp.checksum = 0;
  store(transport, tcp);
  finish_tcp_checksum(transport, IpAddress::v4(ip.src.value()), IpAddress::v4(ip.dst.value()), {});
  return segment;
}

}  // namespace detail

/// Calls `visit(Bytes)` with each packet that goes on a wire, in order: the packet itself where
/// nothing is left to do. Super-segments of other kinds than TCP over IPv4 are not cut. The bytes
/// live during the call; `scratch` is grown to hold a packet.
template <class Visit>
void visit_wire_packets(Bytes packet, const Offload& offload, std::vector<std::byte>& scratch,
                        Visit&& visit) {
  std::size_t ip_bytes = 0;
  std::size_t header_bytes = 0;
  const bool cut = offload.segmentation == Segmentation::tcp_v4 && offload.segment_bytes != 0 &&
                   detail::find_tcp_headers(packet, ip_bytes, header_bytes);
  if (!cut && offload.checksum != ChecksumState::partial) return visit(packet);
  if (scratch.size() < packet.size()) scratch.resize(packet.size());
  if (!cut) {
    const MutableBytes whole = std::span{scratch}.first(packet.size());
    copy(whole, packet);
    const std::size_t start = offload.checksum_start;
    if (start + offload.checksum_offset + 2 <= packet.size()) {
      const std::uint16_t sum = checksum(whole.subspan(start));
      detail::store(whole.subspan(start + offload.checksum_offset),
                    boost::endian::big_uint16_buf_t{sum});
    }
    return visit(Bytes{whole});
  }
  const std::size_t payload_bytes = packet.size() - header_bytes;
  std::size_t number = 0;
  for (std::size_t offset = 0; offset < payload_bytes; offset += offload.segment_bytes) {
    const std::size_t length = std::min<std::size_t>(offload.segment_bytes, payload_bytes - offset);
    visit(detail::write_segment(scratch, packet, ip_bytes, header_bytes, offset, length, number++));
  }
}

/// The same device to somebody who treats packets one by one.
[[nodiscard]] inline DeviceCaps without_offloads(DeviceCaps caps) noexcept {
  return {.mtu_bytes = caps.mtu_bytes, .tx_batch = caps.tx_batch};
}

}  // namespace tunic::inline v0
