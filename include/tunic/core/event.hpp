// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a stack tells its user: one coalesced event per connection, pulled with `Stack::next_event`.
// Events are edge-triggered: a flag is raised when something new happened, not while a condition
// lasts.

#include <cstdint>

namespace tunic::inline v0 {

/// What happened on a connection since its last event. A set of bits.
enum class EventFlags : std::uint8_t {
  none = 0,
  connected = 1,  ///< The handshake is complete.
  readable = 2,   ///< New bytes can be read.
  writable = 4,   ///< Send space has risen over the low-water mark after a short `send`.
  end = 8,        ///< The peer has sent all it will send (FIN); the rest can still be read.
  error = 16,     ///< The connection died; `error()` says of what.
  soft_error =
      32,       ///< A condition that may pass, see `soft_error()` (RFC 9293 3.9.2.2, R1 of 3.8.3).
  urgent = 64,  ///< A new or advanced urgent pointer (RFC 9293 MUST-32).
};

[[nodiscard]] constexpr EventFlags operator|(EventFlags a, EventFlags b) noexcept {
  return static_cast<EventFlags>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
[[nodiscard]] constexpr EventFlags operator&(EventFlags a, EventFlags b) noexcept {
  return static_cast<EventFlags>(static_cast<std::uint8_t>(a) & static_cast<std::uint8_t>(b));
}
constexpr EventFlags& operator|=(EventFlags& a, EventFlags b) noexcept { return a = a | b; }

/// Whether `flags` holds any bit of `wanted`.
[[nodiscard]] constexpr bool has(EventFlags flags, EventFlags wanted) noexcept {
  return (flags & wanted) != EventFlags::none;
}

/// Names a connection for as long as its slot is not reused; a key for the user's own tables.
struct ConnId {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  friend bool operator==(const ConnId&, const ConnId&) = default;
};

/// One connection's news.
struct Event {
  ConnId id;
  EventFlags flags = EventFlags::none;
  void* user_data = nullptr;  ///< What the user has stored in the connection.
};

}  // namespace tunic::inline v0
