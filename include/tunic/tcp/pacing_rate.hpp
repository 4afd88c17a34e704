// SPDX-License-Identifier: BSL-1.0
#pragma once

// At which rate a connection leaves: its congestion controller's own, or that of the window, which
// is spread over the round trip a little faster than it is acknowledged, so that pacing never is
// what keeps a window from growing. The user's bound holds for both.

#include <tunic/tcp/pacing.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace tunic::inline v0 {

/// A window that leaves within `rtt`, times Linux's factors (tcp_pacing_ss_ratio and
/// tcp_pacing_ca_ratio of ip-sysctl): 2 in slow start, in which a window doubles in a round trip,
/// else 1.2.
[[nodiscard]] inline std::uint64_t window_rate(std::uint32_t cwnd, std::uint32_t ssthresh,
                                               Duration rtt) noexcept {
  const auto nanoseconds = static_cast<std::uint64_t>(std::max(rtt, Duration{1000}).count());
  const std::uint64_t rate = std::uint64_t{cwnd} * 1'000'000'000 / nanoseconds;
  return std::max<std::uint64_t>(cwnd < ssthresh ? 2 * rate : rate * 6 / 5, 1);
}

/// What leaves at once: a millisecond of the rate, as in Linux (sk_pacing_shift), in whole segments
/// that one IP packet could hold behind the longest headers; but two segments at least
/// (tcp_min_tso_segs), so that the peer's delayed acknowledgements are not held up.
[[nodiscard]] inline std::uint32_t burst_bytes(std::uint64_t bytes_per_second,
                                               std::uint32_t mss) noexcept {
  constexpr std::uint64_t largest = 0xffff - 40 - 60;
  const auto bytes = static_cast<std::uint32_t>(std::min(bytes_per_second / 1000, largest));
  return std::max(bytes / mss, 2U) * mss;
}

/// How fast a connection leaves now. Before the first sample the round trip is taken for the
/// initial time-out (RFC 6298 2.1): the handshake mostly gives one.
template <class Traits>
[[nodiscard]] Pace pace_of(const TcpCore<Traits>& core, const ControlBlock<Traits>& cb) noexcept {
  constexpr std::uint64_t largest = std::uint64_t{1} << 40;
  const ConnectionOptions& options = cb.options;
  std::uint64_t rate = cb.congestion.pacing_rate();
  if (rate == 0 && !options.pacing && options.max_pacing_rate == 0) return {};
  Pace pace;
  if (rate == 0) {
    pace.of_window = true;
    rate = window_rate(cb.congestion.cwnd(), cb.congestion.ssthresh(),
                       cb.rtt.has_sample() ? cb.rtt.srtt() : core.config.initial_rto);
  }
  if (options.max_pacing_rate != 0 && options.max_pacing_rate < rate) {
    pace.of_window = false;
    rate = options.max_pacing_rate;
  }
  pace.bytes_per_second = std::min(rate, largest);
  pace.burst = burst_bytes(pace.bytes_per_second, core.full_payload(cb));
  return pace;
}

}  // namespace tunic::inline v0
