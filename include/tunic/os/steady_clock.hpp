// SPDX-License-Identifier: BSL-1.0
#pragma once

// The system's monotonic clock as instants of the stack: what a program with an event loop passes
// as `now`. The stack itself never reads it.

#include <tunic/base/time.hpp>

#include <algorithm>
#include <chrono>
#include <time.h>

namespace tunic::inline v0 {

/// CLOCK_MONOTONIC. All objects share its epoch (about the boot of the machine), so their instants
/// compare. It stands still while the machine is suspended.
class SteadyClock {
 public:
  /// Now; later than `Instant{}`, never earlier than an instant returned before. About 20 ns, no
  /// system call where the vDSO serves it.
  [[nodiscard]] Instant now() const noexcept {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);  // can't fail: the clock exists and the pointer is good
    return std::max(Instant{std::chrono::seconds{time.tv_sec} + Duration{time.tv_nsec}},
                    Instant{Duration{1}});
  }
};

}  // namespace tunic::inline v0
