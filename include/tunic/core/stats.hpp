// SPDX-License-Identifier: BSL-1.0
#pragma once

// The counters and gauges of one stack. Counters only grow; gauges say what is held now and return
// to zero when all connections are gone. Every packet that is not processed to its end is counted
// once in `drops`.

#include <tunic/wire/drop.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace tunic::inline v0 {

/// Counters of the Internet layer.
struct IpStats {
  std::uint64_t packets_in = 0;
  std::uint64_t packets_out = 0;
  std::uint64_t packets_coalesced = 0;   ///< Received as a part of those before.
  std::uint64_t super_segments_in = 0;   ///< Packets that hold several segments...
  std::uint64_t super_segments_out = 0;  ///< ...which whoever puts them on a wire cuts.
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t fragments_in = 0;
  std::uint64_t reassembled = 0;
  std::uint64_t echo_replies = 0;
  std::uint64_t icmp_errors_in = 0;
  std::uint64_t icmp_errors_out = 0;

  [[nodiscard]] friend bool operator==(const IpStats&, const IpStats&) noexcept = default;
};

/// Counters of TCP.
struct TcpStats {
  std::uint64_t segments_in = 0;
  std::uint64_t segments_out = 0;
  std::uint64_t retransmissions = 0;
  std::uint64_t timeouts = 0;             ///< Retransmission time-outs.
  std::uint64_t fast_retransmits = 0;     ///< Entries into fast recovery.
  std::uint64_t tail_probes = 0;          ///< RFC 8985 7.
  std::uint64_t spurious_recoveries = 0;  ///< Fast recoveries that were undone...
  std::uint64_t spurious_timeouts = 0;    ///< ...and time-outs (RFC 5682, RFC 4015, RFC 3708).
  std::uint64_t duplicate_reports = 0;    ///< D-SACK blocks received (RFC 2883).
  std::uint64_t path_mtu_reports = 0;     ///< That lowered a path MTU, at once or later.
  std::uint64_t path_mtu_deferred = 0;    ///< Put off: larger packets had arrived (RFC 5927 7.2).
  std::uint64_t black_holes = 0;          ///< Paths that swallowed large packets without a report.
  std::uint64_t stalled_aborts = 0;       ///< To have memory for others (RFC 6429 3).
  std::uint64_t resets_in = 0;
  std::uint64_t resets_out = 0;
  std::uint64_t challenge_acks = 0;
  std::uint64_t active_opens = 0;
  std::uint64_t passive_opens = 0;
  std::uint64_t failed_handshakes = 0;
  std::uint64_t cookies_sent = 0;
  std::uint64_t cookies_accepted = 0;
  std::uint64_t timestamps_missing = 0;  ///< Segments without the negotiated option, tolerated.
  std::uint64_t excessive_window_scales = 0;  ///< Shifts above 14 in SYNs (RFC 7323 2.3).
  std::uint64_t out_of_order = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t zero_window_probes = 0;
  std::uint64_t ce_in = 0;           ///< Data segments that came marked (RFC 3168).
  std::uint64_t ecn_reductions = 0;  ///< Reductions of a window for marks.
  std::uint64_t keepalive_probes = 0;

  [[nodiscard]] friend bool operator==(const TcpStats&, const TcpStats&) noexcept = default;
};

/// What is held now.
struct Gauges {
  std::size_t connections = 0;  ///< Half-open and dead-but-held ones included.
  std::size_t awake = 0;        ///< Of these, how many have a control block.
  std::size_t half_open = 0;    ///< Passive SYN-RECEIVED.
  std::size_t orphans = 0;      ///< Still closing, their handle gone.
  std::size_t time_wait = 0;
  std::size_t pending_syns = 0;
  std::size_t reassemblies = 0;
  std::size_t buffer_bytes = 0;  ///< Capacity held by queues.
};

struct Stats {
  IpStats ip;
  TcpStats tcp;
  std::array<std::uint64_t, drop_count> drops{};
  Gauges gauges;

  [[nodiscard]] std::uint64_t dropped(Drop reason) const noexcept {
    return drops[static_cast<std::size_t>(reason)];
  }
  [[nodiscard]] std::uint64_t dropped_total() const noexcept {
    std::uint64_t sum = 0;
    for (const auto count : drops) sum += count;
    return sum;
  }
  void count(Drop reason) noexcept { ++drops[static_cast<std::size_t>(reason)]; }
};

}  // namespace tunic::inline v0
