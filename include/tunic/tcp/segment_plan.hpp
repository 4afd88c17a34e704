// SPDX-License-Identifier: BSL-1.0
#pragma once

// What is to leave, between being planned by `Output` and being accepted by the device: egress
// makes packets of it, `Commit` makes it true.

#include <tunic/core/tx_reason.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp.hpp>

#include <cstdint>

namespace tunic::inline v0 {

/// What a planned segment is for. A copy is of what was just sent, and is not in flight itself.
enum class SegmentKind : std::uint8_t {
  syn,
  acknowledgement,
  data,
  resend,
  copy,
  window_probe,
  keepalive
};

/// A segment to be sent, or a run of them that follow each other and differ in their numbers only:
/// the header of the first, and which bytes of the send queue are their payload. All are full but
/// the last, which alone has the PSH or FIN; CWR is the first one's (RFC 3168 6.1.2).
struct SegmentPlan {
  TcpSegment segment;  // without payload
  SegmentKind kind = SegmentKind::acknowledgement;
  TxReason reason = TxReason::acknowledgement;
  SeqNum edge;  // the right edge that its window field promises
  std::uint32_t payload_offset = 0;
  std::uint32_t payload_length = 0;  // of the run
  std::uint32_t segment_bytes = 0;   // payload of each but the last
  std::uint32_t number = 0;          // of the first that is sent again, in the scoreboard
  bool tail_probe = false;           // it is to draw an acknowledgement (RFC 8985 7.3)
  bool ect = false;                  // routers may mark it (RFC 3168 5)
  bool garbage_byte = false;         // one byte that is no data follows (RFC 9293 MAY-6)

  [[nodiscard]] std::uint32_t sequence_length() const noexcept {
    return payload_length + segment.length();
  }
  [[nodiscard]] std::uint32_t segments() const noexcept {
    return payload_length <= segment_bytes ? 1 : (payload_length - 1) / segment_bytes + 1;
  }
  /// One past the first segment's last number.
  [[nodiscard]] SeqNum first_end() const noexcept {
    return segment.seq + (segments() == 1 ? sequence_length() : segment_bytes);
  }
  /// The header of what has `bytes` of its payload from `offset` on, whole segments.
  [[nodiscard]] TcpSegment segment_at(std::uint32_t offset, std::uint32_t bytes) const noexcept {
    TcpSegment part = segment;
    part.seq += offset;
    if (offset != 0) part.flags &= ~TcpFlags::cwr;
    if (offset + bytes != payload_length) part.flags &= ~(TcpFlags::psh | TcpFlags::fin);
    return part;
  }
  /// Leaves so many bytes of its payload: whole segments, or a part of the first.
  void cut(std::uint32_t payload) noexcept {
    if (payload == payload_length) return;
    payload_length = payload;
    segment.flags &= ~(TcpFlags::fin | TcpFlags::psh);
  }
};

}  // namespace tunic::inline v0
