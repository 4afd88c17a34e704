// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a connection has sent and received so far, as Linux counts it in its tcp_info (RFC 4898).

#include <tunic/base/time.hpp>
#include <tunic/wire/tcp.hpp>

#include <cstddef>
#include <cstdint>

namespace tunic::inline v0 {

/// Bytes are payload. Segments are counted modulo 2^32.
struct Traffic {
  std::uint64_t bytes_sent = 0;  // what is sent again included
  std::uint64_t bytes_retrans = 0;
  std::uint64_t bytes_acked = 0;
  std::uint64_t bytes_received = 0;  // in order
  Instant last_data{};               // when payload last came
  std::uint32_t segs_out = 0;
  std::uint32_t segs_in = 0;
  std::uint32_t data_segs_out = 0;
  std::uint32_t data_segs_in = 0;

  /// The device has taken so many segments.
  void sent(std::uint32_t payload_bytes, std::uint32_t segments, bool again) noexcept {
    segs_out += segments;
    if (payload_bytes == 0) return;
    data_segs_out += segments;
    bytes_sent += payload_bytes;
    if (again) bytes_retrans += payload_bytes;
  }
  /// A segment has come for this connection, of whatever use; `count` of them in one.
  void received(const TcpSegment& segment, std::size_t count) noexcept {
    segs_in += static_cast<std::uint32_t>(count);
    if (!segment.payload.empty()) data_segs_in += static_cast<std::uint32_t>(count);
  }
  /// Payload was in the window, and so many bytes can be read because of it.
  void took(std::size_t in_order, Instant now) noexcept {
    bytes_received += in_order;
    last_data = now;
  }
};

}  // namespace tunic::inline v0
