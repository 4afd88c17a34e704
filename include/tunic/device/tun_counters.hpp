// SPDX-License-Identifier: BSL-1.0
#pragma once

// The counters of a TUN device.

#include <cstdint>

namespace tunic::inline v0 {

/// What a TUN device has carried, and what it could not. Counts of packets unless named otherwise.
struct TunCounters {
  std::uint64_t rx_packets = 0;
  std::uint64_t rx_bytes = 0;
  std::uint64_t rx_truncated = 0;       ///< Larger than the MTU and than the room that was left.
  std::uint64_t rx_not_ip = 0;          ///< By their packet information neither IPv4 nor IPv6.
  std::uint64_t rx_no_memory = 0;       ///< Read and thrown away: the pool refused the first block.
  std::uint64_t rx_bad_offload = 0;     ///< Their virtio-net header contradicts itself or them.
  std::uint64_t rx_super_segments = 0;  ///< Of several segments each.
  std::uint64_t tx_packets = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t tx_super_segments = 0;  ///< Taken by the kernel.
  std::uint64_t tx_offloads_lost = 0;   ///< Kinds of offload that it refused, and that ended there.
  std::uint64_t tx_refused = 0;         ///< Malformed or too long, says the kernel; dropped.
  std::uint64_t tx_too_many_pieces = 0;  ///< Of more than `max_pieces`; dropped.
  std::uint64_t tx_short = 0;            ///< Written in part; the rest is lost.
  std::uint64_t tx_would_block = 0;      ///< Calls of `send` that were stopped by a full queue.
};

}  // namespace tunic::inline v0
