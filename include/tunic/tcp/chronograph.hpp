// SPDX-License-Identifier: BSL-1.0
#pragma once

// How long a connection's sending side was in which condition. One runs at a time, as in Linux
// (tcp_chrono_start): a change costs a subtraction and a sum, and nothing counts in between. Which
// one it is is told by tcp/sending_limit.hpp.

#include <tunic/base/time.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace tunic::inline v0 {

/// What keeps a sender from sending more.
enum class SendLimit : std::uint8_t {
  none,         ///< It is not to: not open for data, or shut down and acknowledged.
  idle,         ///< The application, which has written nothing that is not acknowledged.
  application,  ///< The application: all has been sent, and is not all acknowledged.
  network,      ///< Congestion window, pacing, Nagle's algorithm, the device, memory.
  window,       ///< The peer's window.
  buffer,       ///< The send buffer: it is full of what has been sent.
};

class Chronograph {
 public:
  void set(SendLimit limit, Instant now) noexcept {
    if (limit == current_) return;
    times_[static_cast<std::size_t>(current_)] += now - since_;
    current_ = limit;
    since_ = now;
  }
  [[nodiscard]] SendLimit current() const noexcept { return current_; }

  /// How long `limit` has lasted, in all.
  [[nodiscard]] Duration time(SendLimit limit, Instant now) const noexcept {
    const Duration sum = times_[static_cast<std::size_t>(limit)];
    return limit == current_ ? sum + (now - since_) : sum;
  }

 private:
  std::array<Duration, 6> times_{};
  Instant since_{};
  SendLimit current_ = SendLimit::none;
};

}  // namespace tunic::inline v0
