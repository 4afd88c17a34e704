// SPDX-License-Identifier: BSL-1.0
#pragma once

// The deadlines of one connection. They share one node of the stack's timing wheel, which is set to
// the earliest of them and only ever moved forward in time when it fires: restarting a timer on
// each acknowledgement costs a store (RFC 9293 3.10.8 lists what the timers are for).

#include <tunic/base/time.hpp>

#include <algorithm>

namespace tunic::inline v0 {

struct Deadlines {
  Instant retransmit = never;  // or persist, never both
  Instant ack = never;         // delayed ACK
  Instant user = never;        // R2, or the end of the patience with an orphan
  Instant keepalive = never;
  Instant close = never;  // linger, FIN-WAIT-2
  Instant cork = never;
  Instant pacing = never;  // data waits for the next burst

  [[nodiscard]] Instant earliest() const noexcept {
    return std::min({retransmit, ack, user, keepalive, close, cork, pacing});
  }
  void clear() noexcept { *this = Deadlines{}; }
};

/// Whether `deadline` has come; if so it is cleared.
[[nodiscard]] inline bool take_due(Instant& deadline, Instant now) noexcept {
  if (deadline > now) return false;
  deadline = never;
  return true;
}

}  // namespace tunic::inline v0
