// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the spacing of acknowledgements says of a path in slow start. A window that is sent in
// bursts comes back as a train with the spacing of the bottleneck, whose length tells how much of
// the path it fills, before any queue that outlives it tells by delay: after Ha and Rhee's HyStart
// ("Taming the elephants", 2011), whose train RFC 9406 leaves out because jitter too makes trains
// long. Here a train never ends slow start by its length alone: it slows it down until the round
// ends, and ends it when the window has reached what two rounds in succession say the path holds.

#include <tunic/base/time.hpp>
#include <tunic/tcp/congestion.hpp>
#include <tunic/tcp/congestion_window.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace tunic::inline v0 {

class AckTrain {
 public:
  /// Each acknowledgement of the first slow start.
  void on_ack(const AckSample& sample) noexcept {
    if (sample.round_start) {
      last_bdp_ = grown() ? 0 : bdp_;
      bdp_ = 0;
    }
    // What is paced, or waits for the program, has a spacing of its own.
    if (sample.paced || !sample.window_limited || sample.min_rtt < shortest) return;
    const std::uint32_t now = in_microseconds(sample.now.time_since_epoch());
    if (sample.round_start || now - end_ > in_microseconds(longest_gap)) return begin(now);
    end_ = now;
    delivered_ += sample.bytes_delivered;
    const std::uint32_t length = end_ - began_;
    if (length < in_microseconds(std::max<Duration>(sample.min_rtt / 6, shortest))) return;
    bdp_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(
        std::uint64_t{delivered_} * in_microseconds(sample.min_rtt) / length,
        CongestionWindow::largest));
    full_ = full_ || (last_bdp_ != 0 && !grown() && sample.flight_before >= bdp_);
    begin(now);
  }

  /// A sixth of a round trip long: so much of the path's bandwidth-delay product has the queue at
  /// the bottleneck held, and will have emptied until the next round. What the rest of a window
  /// adds at a quarter of the pace, a queue of a quarter of that product still holds.
  [[nodiscard]] bool is_long() const noexcept { return !grown() && (bdp_ | last_bdp_) != 0; }
  /// The window has reached the bandwidth-delay product.
  [[nodiscard]] bool full() const noexcept { return full_; }

 private:
  static constexpr Duration longest_gap = std::chrono::milliseconds{2};
  // On shorter paths it is the ends that space acknowledgements.
  static constexpr Duration shortest = std::chrono::milliseconds{4};

  void begin(std::uint32_t now) noexcept {
    began_ = end_ = now;
    delivered_ = 0;
  }

  // Jitter gives what grows with the window.
  [[nodiscard]] bool grown() const noexcept {
    return last_bdp_ != 0 && bdp_ > last_bdp_ + last_bdp_ / 8;
  }

  // Modulo 2^32, for differences.
  static std::uint32_t in_microseconds(Duration time) noexcept {
    return static_cast<std::uint32_t>(time / std::chrono::microseconds{1});
  }

  std::uint32_t began_ = 0;      // microseconds
  std::uint32_t end_ = 0;        // microseconds
  std::uint32_t delivered_ = 0;  // bytes, by the train
  std::uint32_t bdp_ = 0;        // bytes; 0: the train is not long
  std::uint32_t last_bdp_ = 0;   // of the round before
  bool full_ = false;
};

}  // namespace tunic::inline v0
