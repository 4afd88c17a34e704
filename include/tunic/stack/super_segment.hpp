// SPDX-License-Identifier: BSL-1.0
#pragma once

// Which planned segments make one super-segment, and what the device is told of it: whoever cuts it
// must get exactly the segments that were planned.

#include <tunic/base/bytes.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/tcp/flow.hpp>
#include <tunic/tcp/segment_plan.hpp>
#include <tunic/wire/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace tunic::inline v0 {

/// Whether a plan may become a part of the packet that begins with `first` and ends with `before`,
/// all of one connection: the same header but for its number, the next bytes, all full but the
/// last. PSH and FIN end a super-segment; CWR only begins one, where the device knows of it (RFC
/// 3168 6.1.2 sends it once). That it is not too large is for the caller to see.
[[nodiscard]] inline bool can_follow(const SegmentPlan& first, const SegmentPlan& before,
                                     const SegmentPlan& next, const DeviceCaps& caps) noexcept {
  if (first.payload_length == 0 || next.payload_length == 0) return false;
  if (next.kind != first.kind || next.reason != first.reason || next.tail_probe) return false;
  if (next.ect != first.ect) return false;
  if (before.payload_length != first.payload_length || next.payload_length > first.payload_length)
    return false;
  const TcpSegment &a = first.segment, &b = next.segment;
  constexpr TcpFlags ending = TcpFlags::psh | TcpFlags::fin;
  constexpr TcpFlags alone = TcpFlags::syn | TcpFlags::rst | TcpFlags::urg;
  if (a.flags.has_any(alone) || before.segment.flags.has_any(ending)) return false;
  if (a.has(TcpFlags::cwr) && !caps.ecn_segmentation) return false;
  return (b.flags & ~ending) == (a.flags & ~TcpFlags::cwr) &&
         b.seq == before.segment.seq + before.payload_length && b.ack == a.ack &&
         b.window == a.window && b.options == a.options;
}

/// What goes with a packet of a partial checksum. `segment_bytes` 0: it is one segment.
[[nodiscard]] inline Offload tcp_offload(const FlowKey& flow, const TcpSegment& segment,
                                         std::size_t ip_bytes, std::size_t tcp_bytes,
                                         std::uint32_t segment_bytes) noexcept {
  Offload offload{.checksum = ChecksumState::partial,
                  .header_bytes = static_cast<std::uint16_t>(ip_bytes + tcp_bytes),
                  .checksum_start = static_cast<std::uint16_t>(ip_bytes),
                  .checksum_offset = detail::tcp_checksum_offset};
  if (segment_bytes != 0) {
    offload.segmentation = flow.local.is_v4() ? Segmentation::tcp_v4 : Segmentation::tcp_v6;
    offload.ecn = segment.has(TcpFlags::cwr);
    offload.segment_bytes = static_cast<std::uint16_t>(segment_bytes);
  }
  return offload;
}

[[nodiscard]] inline std::size_t total(std::span<const Bytes> pieces) noexcept {
  std::size_t size = 0;
  for (const Bytes piece : pieces) size += piece.size();
  return size;
}

/// Lets `last` grow by the pieces behind it, if the first of them continues it in memory. Returns
/// how many pieces are left, moved to the front of `more`.
inline std::size_t append_piece(Bytes& last, std::span<Bytes> more) noexcept {
  if (last.data() + last.size() != more.front().data()) return more.size();
  last = {last.data(), last.size() + more.front().size()};
  for (std::size_t i = 1; i < more.size(); ++i) more[i - 1] = more[i];
  return more.size() - 1;
}

}  // namespace tunic::inline v0
