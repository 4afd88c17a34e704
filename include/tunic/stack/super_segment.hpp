// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a device is told of a run of segments in one packet: whoever cuts it must get exactly the
// segments that were planned.

#include <tunic/base/bytes.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/tcp/flow.hpp>
#include <tunic/wire/tcp.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tunic::inline v0 {

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

/// Cuts the pieces to `size` bytes, at most what they have; returns how many are left.
inline std::size_t take_pieces(std::span<Bytes> pieces, std::size_t size) noexcept {
  std::size_t count = 0;
  for (; size != 0; ++count) {
    pieces[count] = pieces[count].first(std::min(size, pieces[count].size()));
    size -= pieces[count].size();
  }
  return count;
}

}  // namespace tunic::inline v0
