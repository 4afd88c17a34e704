// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the scenarios must reach, in one place. The tables beside this file say what is reached
// today, to the last retransmission; these are the claims that no change may take back. A number is
// raised as soon as the sender reaches more; behind it, in `wanted`, stands what it is to reach.

namespace tunic::sim {

struct Target {
  double today;
  double wanted;
};

// Goodput as a ratio to the link's payload rate.
inline constexpr Target bulk_goodput{0.97, 0.97};           // 100 Mbit/s, 40 ms, a queue of one BDP
inline constexpr Target bulk_no_sack_goodput{0.55, 0.9};    // the peer reports nothing
inline constexpr Target shallow_queue_goodput{0.95, 0.95};  // the same, a queue of a quarter
inline constexpr Target long_fat_goodput{0.55, 0.85};       // 1 Gbit/s, 100 ms
inline constexpr Target two_flows_goodput{0.97, 0.97};
inline constexpr Target eight_flows_goodput{0.97, 0.97};
inline constexpr Target thinned_acks_goodput{0.95, 0.95};
inline constexpr Target compressed_acks_goodput{0.95, 0.95};
inline constexpr Target small_reordering_goodput{0.96, 0.97};
inline constexpr Target reordering_goodput{0.4, 0.8};  // 5 % by up to a quarter of the RTT
inline constexpr Target path_change_goodput{0.64, 0.85};
inline constexpr Target asymmetric_goodput{0.93, 0.95};

// Share of what CUBIC's response function gives for the rate of random loss.
inline constexpr Target random_loss_response{0.9, 0.9};

// At most, for each seed: segments sent for nothing, and time-outs where a probe or an
// acknowledgement could tell.
inline constexpr Target bulk_spurious{0, 0};
inline constexpr Target small_reordering_spurious{5, 5};
inline constexpr Target reordering_spurious{180, 20};
inline constexpr Target random_loss_timeouts{0.2, 0.2};
inline constexpr Target path_change_spurious{20, 20};

// Jain's index from a sixth of the run to its end.
inline constexpr Target two_flows_fairness{0.67, 0.95};
inline constexpr Target eight_flows_fairness{0.9, 0.9};

// Round trips by which the loss of the last segments of a burst delays its end: at most.
inline constexpr Target tail_loss_repair{6.1, 2.5};

}  // namespace tunic::sim
