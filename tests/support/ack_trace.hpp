// SPDX-License-Identifier: BSL-1.0
#pragma once

// Acknowledgements for a congestion controller, as an ideal path would return them: a trace is
// written as rounds, losses and pauses, and the window is looked at in between.

#include <tunic/tcp/congestion.hpp>

#include <algorithm>
#include <cstdint>

namespace tunic::test {

template <class Controller>
class AckTrace {
 public:
  static constexpr std::uint32_t mss = 1000;

  Controller controller;
  Instant now{std::chrono::seconds{100}};
  Duration rtt{std::chrono::milliseconds{100}};
  bool limited = true;  ///< The window holds the sender back.
  bool paced = false;

  explicit AckTrace(std::uint32_t initial_segments = 10) {
    controller.start(mss, initial_segments * mss);
  }

  /// The window in whole segments, rounded down.
  [[nodiscard]] std::uint32_t segments() const { return controller.cwnd() / mss; }

  /// One acknowledgement of `bytes`, now.
  void ack(std::uint32_t bytes, bool round_start = false, bool in_recovery = false,
           std::uint32_t lost = 0) {
    const std::uint32_t flight = std::max(controller.cwnd(), bytes);
    min_rtt_ = std::min(min_rtt_, rtt);
    controller.on_ack({.now = now,
                       .bytes_acked = bytes,
                       .bytes_delivered = bytes,
                       .bytes_lost = lost,
                       .flight_before = flight,
                       .in_flight = flight - bytes,
                       .mss = mss,
                       .rtt = rtt,
                       .srtt = rtt,
                       .min_rtt = min_rtt_,
                       .round_start = round_start,
                       .window_limited = limited,
                       .in_recovery = in_recovery,
                       .paced = paced});
  }
  /// A round trip in which `bytes` are acknowledged, `per_ack` at a time and evenly in time.
  void round_of(std::uint32_t bytes, std::uint32_t per_ack = mss) {
    const std::uint32_t acks = (bytes + per_ack - 1) / per_ack;
    for (std::uint32_t i = 0; i < acks; ++i) {
      now += rtt / acks;
      ack(std::min(per_ack, bytes - i * per_ack), i == 0);
    }
  }
  /// Round trips in which the whole window is acknowledged.
  void rounds(int count = 1) {
    for (int i = 0; i < count; ++i) round_of(controller.cwnd());
  }

  [[nodiscard]] CongestionEvent event(std::uint32_t flight) const {
    return {.now = now, .flight = flight, .mss = mss, .cause = CongestionEvent::Cause::loss};
  }
  /// A loss with `flight` bytes outstanding, and the round trip that repairs it.
  void lose(std::uint32_t flight) {
    controller.on_congestion(event(flight));
    now += rtt;
    ack(mss, true, true);
    controller.on_recovery_end(0, mss);
  }
  void lose() { lose(controller.cwnd()); }
  void mark() {
    CongestionEvent marked = event(controller.cwnd());
    marked.cause = CongestionEvent::Cause::ecn;
    controller.on_congestion(marked);
  }
  void time_out(bool first = true) {
    controller.on_timeout(event(controller.cwnd()), first);
    now += std::chrono::seconds{1};
  }
  /// Nothing in flight for `length`.
  void pause(Duration length, std::uint32_t initial_segments = 10) {
    now += length;
    controller.on_idle(length, std::chrono::seconds{1}, initial_segments * mss);
  }

 private:
  Duration min_rtt_ = Duration::max();
};

}  // namespace tunic::test
