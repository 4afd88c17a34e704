// SPDX-License-Identifier: BSL-1.0
#pragma once

// When the next bytes may leave a sender that is paced. They leave in bursts, each of them no more
// than one large packet (`Pace::burst`), because a timer for every segment would cost more than it
// smooths. Between bursts the connection waits until all that has left would have left at its rate.
// At which rate is in tcp/pacing_rate.hpp; that `Stack::next_deadline` tells when a burst is due
// is the timers' business (tcp/timers.hpp).
//
// Time is that of the turn in which bytes leave. A turn that comes too late makes up for what it
// has missed, up to one burst or one millisecond of the rate, whichever is more: with a loop that
// sleeps in whole milliseconds (`Stack::wait_ms` rounds up) the rate is reached nevertheless, in
// larger bursts. A pause of the application, of the window or of the congestion window gives no
// such credit: it is followed by one burst, and so begins a connection.

#include <tunic/base/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace tunic::inline v0 {

/// How fast a connection leaves.
struct Pace {
  std::uint64_t bytes_per_second = 0;  ///< At most 2^40; 0: it is not paced.
  std::uint32_t burst = 0;             ///< Bytes, whole segments.
  bool of_window = false;              ///< The rate is that of the congestion window.
};

class Pacer {
 public:
  [[nodiscard]] bool on() const noexcept { return on_; }
  /// Whether data waits for the next burst.
  [[nodiscard]] bool waiting() const noexcept { return waiting_; }

  /// Not paced any more.
  void stop() noexcept { *this = {}; }

  /// How many bytes may leave now, as far as pacing is concerned.
  [[nodiscard]] std::uint32_t open(Instant now, const Pace& pace) noexcept {
    if (!on_) {
      on_ = true;
      from_ = now;
    }
    const Instant due = release(pace);
    if (waiting_) {
      if (now < due) return 0;
      debt_ = -in_time(std::min(now - due, longest_delay(pace)), pace);
      from_ = now;
    } else if (from_ != now) {
      debt_ = now < due ? debt_ - in_time(now - from_, pace) : 0;
      from_ = now;
    }
    const std::int64_t room = (pace.burst * byte - debt_) / byte;
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(room, 0, 0xffffffff));
  }

  /// So many bytes have left, in the turn of the last `open`.
  void sent(std::uint32_t bytes) noexcept {
    debt_ += bytes * byte;
    waiting_ = false;
  }

  /// More is to leave than may; returns when a burst may.
  [[nodiscard]] Instant wait(const Pace& pace) noexcept {
    waiting_ = true;
    return release(pace);
  }
  /// Nothing waits, or something else keeps it back.
  void rest() noexcept { waiting_ = false; }

 private:
  // A billionth of a byte: what a rate of one byte a second lets leave in a nanosecond. Nothing is
  // lost to rounding.
  static constexpr std::int64_t byte = 1'000'000'000;

  // In debt of bytes, not of time: a rate that changes meanwhile holds for what is left of it.
  [[nodiscard]] Instant release(const Pace& pace) const noexcept {
    return from_ + time_of(debt_, pace);
  }

  [[nodiscard]] static Duration longest_delay(const Pace& pace) noexcept {
    return std::max<Duration>(time_of(pace.burst * byte, pace), std::chrono::milliseconds{1});
  }

  // Rounded up: a burst is never due at the instant at which the last one was used up.
  [[nodiscard]] static Duration time_of(std::int64_t amount, const Pace& pace) noexcept {
    const auto rate = static_cast<std::int64_t>(pace.bytes_per_second);
    return Duration{amount > 0 ? (amount + rate - 1) / rate : amount / rate};
  }
  [[nodiscard]] static std::int64_t in_time(Duration time, const Pace& pace) noexcept {
    return time.count() * static_cast<std::int64_t>(pace.bytes_per_second);
  }

  Instant from_{};         // what had left by then is paid for, but for...
  std::int64_t debt_ = 0;  // ...this and what has left since; negative: to be made up for
  bool on_ = false;
  bool waiting_ = false;
};

}  // namespace tunic::inline v0
