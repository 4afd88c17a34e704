// SPDX-License-Identifier: BSL-1.0
#pragma once

// The sleep of an event loop that emulates a link: to the microsecond, and ahead of other programs,
// since what is late leaves in a burst with what comes after it.

#include <tunic/base/time.hpp>
#include <tunic/os/steady_clock.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <poll.h>
#include <sched.h>
#include <span>
#include <sys/prctl.h>
#include <time.h>

namespace bench {

/// Real-time priority and exact timers for this thread and those that it starts. Where the priority
/// is refused, the lateness tells.
inline void be_punctual() noexcept {
  prctl(PR_SET_TIMERSLACK, 1UL);
  const sched_param lowest{1};
  sched_setscheduler(0, SCHED_RR, &lowest);
}

/// Used by one thread. It remembers how late the link's packets were.
class Turns {
 public:
  /// Until a descriptor is ready or `deadline`; returns the time. `due`: when the next packet comes
  /// through the link.
  tunic::Instant wait(std::span<pollfd> descriptors, tunic::Instant deadline,
                      tunic::Instant due) noexcept {
    const auto left = std::max(deadline - clock_.now(), tunic::Duration{0});
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    const timespec timeout{seconds.count(), (left - seconds).count()};
    ppoll(descriptors.data(), descriptors.size(), &timeout, nullptr);
    const tunic::Instant now = clock_.now();
    const auto late = std::max(now - due, tunic::Duration{0});
    ++count_;
    late_ += late;
    latest_ = std::max(latest_, late);
    return now;
  }
  [[nodiscard]] tunic::Instant now() const noexcept { return clock_.now(); }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] tunic::Duration mean_lateness() const noexcept {
    return count_ == 0 ? tunic::Duration{} : late_ / static_cast<std::int64_t>(count_);
  }
  [[nodiscard]] tunic::Duration greatest_lateness() const noexcept { return latest_; }

 private:
  tunic::SteadyClock clock_;
  std::uint64_t count_ = 0;
  tunic::Duration late_{};
  tunic::Duration latest_{};
};

}  // namespace bench
