// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a congestion controller is: a value inside the control block that is told what happened and
// says how much may be in flight. Which bytes are lost, and when to send them again, is not its
// business (tcp/recovery.hpp).
//
// To write one, provide the calls of `CongestionControl` and name the type as `Congestion` in the
// traits. A controller may work with its window alone, as `NewReno` and `Cubic` do: the stack then
// derives the pacing rate, and in recovery proportional rate reduction takes the window from what
// it was to `ssthresh()`, so the samples of recovery may be ignored. Or it may follow a model of
// the path: `AckSample::rate` says how fast data was delivered, `pacing_rate()` how fast it is to
// leave, and `cwnd()` is then the bound of what is in flight. Either way the peer's window, the
// retransmission timer and the limit on bursts hold; a controller can't lift them. One that is not
// trivially copyable keeps its idle connections in their control blocks (tcp/resting.hpp).

#include <tunic/base/time.hpp>

#include <concepts>
#include <cstdint>

namespace tunic::inline v0 {

/// How fast data was delivered, measured over the time that the newest segment acknowledged was on
/// its way (draft-ietf-ccwg-bbr 4.1).
struct RateSample {
  std::uint64_t bytes_per_second = 0;   ///< 0: no sample.
  bool app_limited = false;             ///< The program sent too little: the path may carry more.
  Duration interval{};                  ///< What it was measured over.
  std::uint64_t delivered = 0;          ///< Bytes delivered so far, in all.
  std::uint64_t prior_delivered = 0;    ///< The same when that segment was sent.
  std::uint32_t in_flight_at_send = 0;  ///< Bytes in flight when that segment was sent.
  std::uint32_t lost = 0;               ///< Bytes marked lost since it was sent.
};

/// What one acknowledgement said.
struct AckSample {
  Instant now;
  std::uint32_t bytes_acked = 0;      ///< Newly acknowledged cumulatively.
  std::uint32_t bytes_delivered = 0;  ///< Newly acknowledged, cumulatively or selectively.
  std::uint32_t bytes_lost = 0;       ///< Newly marked lost since the last sample.
  std::uint32_t flight_before = 0;    ///< Bytes in flight before this acknowledgement.
  std::uint32_t in_flight = 0;        ///< And after it.
  std::uint32_t mss = 0;              ///< Largest payload of a segment now; not 0.
  Duration rtt{-1};                   ///< Of this acknowledgement; negative when it gave no sample.
  Duration srtt{};                    ///< RFC 6298.
  Duration min_rtt{};
  bool round_start = false;     ///< First of something sent after the last round began.
  bool window_limited = false;  ///< The congestion window kept the sender back in this round.
  bool in_recovery = false;  ///< Also for the one that begins recovery, not the one that ends it.
  bool ece = false;          ///< It carries ECN-Echo.
  bool paced = false;        ///< What leaves is spread over the round trip.
  RateSample rate{};
};

/// Congestion, as a loss, a mark or the retransmission timer told of it.
struct CongestionEvent {
  enum class Cause : std::uint8_t { loss, ecn };
  Instant now;
  std::uint32_t flight;  ///< Bytes sent and not acknowledged (RFC 5681's FlightSize).
  std::uint32_t mss;
  Cause cause;
};

/// The sender's window in bytes. All calls are noexcept, O(1), and neither allocate nor read a
/// clock.
///
/// - `start(mss, initial_window)`: once, when the connection is established.
/// - `on_ack(sample)`: each acknowledgement that delivers something, also in recovery. When it
///   brings an event as well, the event comes first.
/// - `on_congestion(event)`: once per window of data; saves the state for `on_spurious`, and sets
///   `ssthresh()`, to which `cwnd()` falls.
/// - `on_recovery_end(flight, mss)`: all that was outstanding at the last `on_congestion` is
///   acknowledged. `cwnd()` is then at most `ssthresh()` (RFC 9937 6.4, RFC 6582 3.2 step 3).
///   Right behind `on_congestion` when there is nothing to repair: after a mark.
/// - `on_timeout(event, first)`: one segment's window. `first` is false when the same segment
///   times out again; `ssthresh()` is then left alone (RFC 5681 3.1), and what was saved too.
/// - `on_spurious()`: the last `on_congestion` or `on_timeout` was wrong; the state is as before
///   it, or better.
/// - `on_idle(idle, rto, initial_window)`: nothing has been in flight for `idle`, and something is
///   about to be sent.
/// - `pacing_rate()`: bytes a second; 0 leaves it to the stack, which spreads `cwnd()` over the
///   round trip.
template <class C>
concept CongestionControl = std::default_initializable<C> && std::copyable<C> &&
    requires(C c, const C constant, const AckSample& sample, const CongestionEvent& event,
             std::uint32_t bytes, Duration time, bool flag) {
  { c.start(bytes, bytes) }
  noexcept;
  { c.on_ack(sample) }
  noexcept;
  { c.on_congestion(event) }
  noexcept;
  { c.on_recovery_end(bytes, bytes) }
  noexcept;
  { c.on_timeout(event, flag) }
  noexcept;
  { c.on_spurious() }
  noexcept;
  { c.on_idle(time, time, bytes) }
  noexcept;
  { constant.cwnd() }
  noexcept->std::same_as<std::uint32_t>;
  { constant.ssthresh() }
  noexcept->std::same_as<std::uint32_t>;
  { constant.pacing_rate() }
  noexcept->std::same_as<std::uint64_t>;
};

}  // namespace tunic::inline v0
