// SPDX-License-Identifier: BSL-1.0
#pragma once

// Explicit congestion notification (RFC 3168 6.1): what a connection knows of it, in both
// directions. Routers mark packets of those who can take it (ECT) with CE instead of dropping them;
// the receiver echoes that with ECE until the sender says with CWR that it has reduced its window.
// By how much is the congestion controller's business: ours answer a mark as they answer a loss
// (RFC 3168 6.1.2, RFC 9438 4.6). The milder answer that RFC 8511 allows pays with shallow marking
// thresholds, which nobody here knows of; a controller that wants it sees the cause of an event.
// The nonce sum of RFC 3540 is history (RFC 8311 3): its bit is ignored and sent as zero.

#include <tunic/base/time.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp.hpp>

#include <cstdint>

namespace tunic::inline v0 {

/// Whether a SYN asks for ECN, and whether a SYN+ACK agrees: with both flags it would come from a
/// host that reflects what it does not know (RFC 3168 6.1.1).
[[nodiscard]] constexpr bool asks_for_ecn(TcpFlags flags) noexcept {
  return flags.has(TcpFlags::ece | TcpFlags::cwr);
}
[[nodiscard]] constexpr bool agrees_to_ecn(TcpFlags flags) noexcept {
  return flags.has(TcpFlags::ece) && !flags.has(TcpFlags::cwr);
}

/// Whether a packet was marked on its way: CE (RFC 3168 5).
[[nodiscard]] constexpr bool is_marked(std::uint8_t traffic_class) noexcept {
  return (traffic_class & 3) == 3;
}

/// Of one connection.
struct EcnState {
  SeqNum reduced_until;           // SND.NXT at the last reduction; valid while `reduced`
  std::uint32_t received_ce = 0;  // segments
  std::uint32_t reductions = 0;   // for marks
  Instant quiet_until{};          // no new data before
  bool asking = false;            // our next SYN asks
  bool on = false;                // agreed: marks that arrive are echoed...
  bool ect = false;               // ...and what we send may be marked
  bool echo = false;              // ECE is due until CWR comes
  bool unreported = false;        // a mark came after the last ACK had left
  bool marked = false;            // the last data segment was
  bool cwr_due = false;           // on the next new data
  bool reduced = false;
  bool echo_waits = false;  // in a recovery, whose reduction answers it too unless it is undone

  void start(bool agreed) noexcept { on = ect = agreed; }
  /// Another SYN of the peer: one that does not ask or agree puts an end to it (RFC 3168 6.1.1).
  void repeated(TcpFlags flags) noexcept {
    on = on && (flags.has(TcpFlags::ack) ? agrees_to_ecn(flags) : asks_for_ecn(flags));
    ect = ect && on;
  }
  [[nodiscard]] TcpFlags syn_flags(bool answers) const noexcept {
    if (answers) return on ? TcpFlags::ece : TcpFlags::none;
    return asking ? TcpFlags::ece | TcpFlags::cwr : TcpFlags::none;
  }

  // ---- receiving

  /// New data has come. True when its sender waits for the ACK: marks begin or end, or it has
  /// reduced its window, perhaps to one segment.
  [[nodiscard]] bool received(bool ce, bool cwr) noexcept {
    if (cwr) echo = false;
    if (ce) {
      echo = unreported = true;
      ++received_ce;
    }
    const bool changed = ce != marked;
    marked = ce;
    return changed || cwr;
  }
  /// What an ACK says. A CWR that was read in one turn with a mark must not hide the mark.
  [[nodiscard]] TcpFlags ack_flags() const noexcept {
    return echo || unreported ? TcpFlags::ece : TcpFlags::none;
  }

  // ---- sending

  /// The window is reduced for something sent below `nxt`.
  void reduced_at(SeqNum nxt) noexcept {
    reduced = ect;
    reduced_until = nxt;
  }
  /// Whether what begins at `seq` was sent before a reduction, which has answered for it.
  [[nodiscard]] bool answered(SeqNum seq) const noexcept { return reduced && seq < reduced_until; }
};

struct NoEcn {};

}  // namespace tunic::inline v0
