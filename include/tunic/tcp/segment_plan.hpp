// SPDX-License-Identifier: BSL-1.0
#pragma once

// A segment between being planned by `Output` and being accepted by the device: egress makes a
// packet of it, `Output::commit` makes it true.

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

/// A segment to be sent: its header, and which bytes of the send queue are its payload.
struct SegmentPlan {
  TcpSegment segment;  // without payload
  SegmentKind kind = SegmentKind::acknowledgement;
  TxReason reason = TxReason::acknowledgement;
  SeqNum edge;  // the right edge that its window field promises
  std::uint32_t payload_offset = 0;
  std::uint32_t payload_length = 0;
  std::uint32_t number = 0;   // of what is sent again, in the scoreboard
  bool tail_probe = false;    // it is to draw an acknowledgement (RFC 8985 7.3)
  bool ect = false;           // routers may mark it (RFC 3168 5)
  bool garbage_byte = false;  // one byte that is no data follows (RFC 9293 MAY-6)

  [[nodiscard]] std::uint32_t sequence_length() const noexcept {
    return payload_length + segment.length();
  }
};

}  // namespace tunic::inline v0
