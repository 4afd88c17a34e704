// SPDX-License-Identifier: BSL-1.0
#pragma once

// The shortest round trip of the last minutes (RFC 8985 6.2, step 1): of this period and the one
// before, so that a path that became longer is believed in the end.

#include <tunic/base/time.hpp>

#include <algorithm>
#include <chrono>

namespace tunic::inline v0 {

class MinRtt {
 public:
  void sample(Duration rtt, Instant now) noexcept {
    if (now - started_ >= period || present_ == unknown) {
      last_ = now - started_ >= 2 * period ? unknown : present_;
      present_ = rtt;
      started_ = now;
    }
    present_ = std::min(present_, rtt);
  }

  /// Zero before the first sample.
  [[nodiscard]] Duration value() const noexcept {
    const Duration shortest = std::min(present_, last_);
    return shortest == unknown ? Duration{0} : shortest;
  }

 private:
  static constexpr Duration period = std::chrono::seconds{150};
  static constexpr Duration unknown = Duration::max();
  Duration present_ = unknown;
  Duration last_ = unknown;
  Instant started_{};
};

}  // namespace tunic::inline v0
