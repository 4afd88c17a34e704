// SPDX-License-Identifier: BSL-1.0
#pragma once

// The settings and the counters of one direction of an imperfect link (device/impairment.hpp).

#include <tunic/base/time.hpp>
#include <tunic/wire/address.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tunic::inline v0 {

/// Gilbert's model: a link is good or bad, and loses packets in bursts while bad. A step is one
/// packet. The mean burst lasts 1 / `leave` packets; the share of time spent bad is `enter` /
/// (`enter` + `leave`). With `LinkConditions::loss`, which strikes in both states, it is Elliott's.
struct BurstLoss {
  double enter = 0;  ///< Probability that a good link turns bad.
  double leave = 1;  ///< Probability that a bad link turns good.
  double loss = 1;   ///< Probability of loss while bad.
};

/// How a link treats packets. The default is perfect: everything arrives at once. Probabilities are
/// per packet.
struct LinkConditions {
  Duration delay{};  ///< Propagation, one way.
  /// Uniform in [0, jitter] on top. It never reorders: who is late delays those behind.
  Duration jitter{};
  double loss = 0;
  double duplicate = 0;  ///< A second copy right behind the first.
  double reorder = 0;    ///< Held back by `reorder_delay`, so that later packets overtake.
  /// One bit flipped somewhere, which every Internet checksum over it detects.
  double corrupt = 0;
  Duration reorder_delay = std::chrono::milliseconds{1};
  /// Uniform in [0, reorder_jitter] on top of `reorder_delay`.
  Duration reorder_jitter{};
  std::uint64_t rate_bits_per_second = 0;  ///< Of IP packets; 0: unlimited.
  /// Bytes that wait for the transmitter, the packet in it included; what exceeds it is dropped,
  /// but an idle link takes any packet. 0: unlimited. Without meaning when the rate is unlimited.
  std::size_t queue_bytes = 0;
  /// IPv4 packets of ECN-capable transports (RFC 3168 5) that find more than so many bytes waiting
  /// are marked CE. They too are dropped when the queue is full. 0: never.
  std::size_t mark_bytes = 0;
  /// Larger packets are dropped, whether they may be fragmented or not. 0: any size passes.
  std::uint16_t mtu_bytes = 0;
  /// The address from which the link answers an IPv4 packet that is larger than its MTU and must
  /// not be fragmented with "fragmentation needed" (RFC 1191 4). None: it says nothing.
  std::optional<IpAddress> router{};
  /// Of TCP segments that only acknowledge, one in so many passes: each waits in front of the queue
  /// until it is the last of its group, `ack_wait` has passed since the first of the group, or
  /// something else comes; the next one of the group replaces it. 0 and 1: all pass at once.
  std::uint32_t ack_every = 0;
  Duration ack_wait = std::chrono::milliseconds{10};
  /// The first TCP segment that only acknowledges is held for so long, and those that come
  /// meanwhile arrive together with it. What else comes behind them waits too: it never reorders.
  Duration ack_hold{};
  BurstLoss burst{};
  std::uint64_t seed = 1;
};

/// What became of packets. delivered = pushed - lost - overflowed - oversized - thinned +
/// duplicated, when none is on its way.
struct LinkCounters {
  std::uint64_t pushed = 0;
  std::uint64_t delivered = 0;
  std::uint64_t lost = 0;
  std::uint64_t overflowed = 0;  ///< Dropped by the full queue.
  std::uint64_t oversized = 0;   ///< Dropped as larger than the MTU.
  std::uint64_t thinned = 0;     ///< Acknowledgements replaced for `ack_every`.
  std::uint64_t marked = 0;      ///< CE for `mark_bytes`.
  std::uint64_t duplicated = 0;
  std::uint64_t reordered = 0;  ///< Held back.
  std::uint64_t corrupted = 0;
};

}  // namespace tunic::inline v0
