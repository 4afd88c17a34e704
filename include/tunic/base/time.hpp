// SPDX-License-Identifier: BSL-1.0
#pragma once

// The stack's notion of time. It is an argument everywhere: `StackClock` has no `now()`, so a wall
// clock can't be passed by accident. `os/steady_clock.hpp` makes instants of the system's monotonic
// clock; tests and simulators use `ManualClock`.

#include <chrono>
#include <cstdint>

namespace tunic::inline v0 {

/// Nanoseconds: fine enough for pacing, wide enough for 292 years.
using Duration = std::chrono::nanoseconds;

/// A clock type that can't be read. Its epoch is whatever the embedder chose; only differences
/// matter.
struct StackClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<StackClock, duration>;
  static constexpr bool is_steady = true;
};

/// A point in the stack's time.
using Instant = StackClock::time_point;

/// No deadline.
inline constexpr Instant never = Instant::max();

/// A clock that moves when told to: virtual time for tests and simulations.
class ManualClock {
 public:
  [[nodiscard]] Instant now() const noexcept { return now_; }
  void advance(Duration by) noexcept { now_ += by; }
  /// Moves to `to` unless that lies in the past.
  void set(Instant to) noexcept {
    if (to > now_) now_ = to;
  }

 private:
  Instant now_{std::chrono::seconds{1}};
};

}  // namespace tunic::inline v0
