// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the scenarios must reach, in one place. The tables beside this file say what is reached
// today, to the last retransmission; these are the claims that no change may take back. A number is
// raised as soon as the sender reaches more; behind it, in `wanted`, stands what it is to reach.

#include <tunic/base/time.hpp>

namespace tunic::sim {

struct Target {
  double today;
  double wanted;
};

// Goodput as a ratio to the link's payload rate.
inline constexpr Target bulk_goodput{0.97, 0.97};           // 100 Mbit/s, 40 ms, a queue of one BDP
inline constexpr Target bulk_no_sack_goodput{0.93, 0.9};    // the peer reports nothing
inline constexpr Target shallow_queue_goodput{0.95, 0.95};  // the same, a queue of a quarter
inline constexpr Target long_fat_goodput{0.8, 0.85};        // 1 Gbit/s, 100 ms
inline constexpr Target two_flows_goodput{0.97, 0.97};
inline constexpr Target eight_flows_goodput{0.97, 0.97};
inline constexpr Target thinned_acks_goodput{0.95, 0.95};
inline constexpr Target compressed_acks_goodput{0.95, 0.95};
inline constexpr Target small_reordering_goodput{0.96, 0.97};
inline constexpr Target path_change_goodput{0.64, 0.85};
inline constexpr Target asymmetric_goodput{0.93, 0.95};

// 5 % of the packets are late by up to a quarter of the RTT: what that may cost of the goodput, and
// which share of the segments may be sent for nothing.
inline constexpr Target reordering_cost{0.03, 0.03};
inline constexpr Target reordering_spurious{0.002, 0.002};

// Share of what CUBIC's response function gives for the rate of random loss.
inline constexpr Target random_loss_response{0.9, 0.9};

// At most, for each seed: segments sent for nothing, and time-outs where a probe or an
// acknowledgement could tell.
inline constexpr Target bulk_spurious{0, 0};
inline constexpr Target small_reordering_spurious{5, 5};
inline constexpr Target random_loss_timeouts{0.2, 0.2};
inline constexpr Target path_change_spurious{20, 20};

// Jain's index from a sixth of the run to its end.
// The mean of all seeds, and the worst. Early losses cost a second flow some of CUBIC's periods.
struct Fairness {
  Target mean;
  Target least;
};
inline constexpr Fairness two_flows_fairness{{0.97, 0.95}, {0.9, 0.85}};
inline constexpr Fairness eight_flows_fairness{{0.95, 0.95}, {0.91, 0.85}};
inline constexpr Fairness two_flows_short_fairness{{0.97, 0.95}, {0.97, 0.85}};
inline constexpr Fairness eight_flows_short_fairness{{0.93, 0.88}, {0.92, 0.85}};

// A slow start without pacing sends at twice the rate of the link, and its queue overflows once
// half of the window is more than the queue holds. The first packets of a round, whose delay
// HyStart++ looks at, see it only when the window is more than the path holds; the spacing of
// acknowledgements tells before (tcp/ack_train.hpp). What is lost, of what is lost without both:
inline constexpr Target slow_start_loss{0.01, 0.5};          // a queue of one BDP
inline constexpr Target shallow_slow_start_loss{0.01, 0.5};  // of a quarter

// 1 Gbit/s, 100 ms, buffers as they are by default: the share of the link that is used in the
// twenty-first round trip and the four that follow.
inline constexpr Target filled_path{0.9, 0.9};

/// A flow does not stand still: what is lost, also when sent again, is repaired by acknowledgements
/// and not by a time-out, of `rtt` with a full queue. Seen by the receiving program.
inline constexpr Duration no_stall(Duration rtt) { return 3 * rtt; }

}  // namespace tunic::sim
