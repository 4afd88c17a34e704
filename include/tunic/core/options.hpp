// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a user can set: per connection (before `listen` or `connect`, and live) and per stack. Every
// default carries its source.

#include <tunic/base/time.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tunic::inline v0 {

/// Keep-alive (RFC 9293 3.8.4): off by default, probes after two idle hours, as the RFC asks.
struct Keepalive {
  bool enabled = false;
  Duration idle = std::chrono::hours{2};
  Duration interval = std::chrono::seconds{75};
  std::uint8_t count = 9;     ///< Unanswered probes before the connection is given up.
  bool garbage_byte = false;  ///< Probe with one byte, for very old peers (RFC 9293 MAY-6).
};

/// How many bytes a buffer may hold. One number is a fixed size:
/// `{.receive_buffer = 256 * 1024}`. Two are where it starts and how far it may be grown:
/// `{.receive_buffer = {64 * 1024, 4 << 20}}`. A buffer that is not fixed grows to what its path
/// asks for, at most to an eighth of the stack's memory budget, and falls back to where it started
/// when memory is short.
struct BufferSize {
  std::uint32_t initial;
  std::uint32_t largest;

  // NOLINTNEXTLINE(google-explicit-constructor): a size is a number
  constexpr BufferSize(std::uint32_t bytes) noexcept : initial{bytes}, largest{bytes} {}
  constexpr BufferSize(std::uint32_t start, std::uint32_t bound) noexcept
      : initial{start}, largest{bound} {}

  [[nodiscard]] constexpr bool is_fixed() const noexcept { return initial == largest; }
  bool operator==(const BufferSize&) const noexcept = default;
};

/// 64 KiB fit the window of a SYN and a processor's cache; the bound is the largest window of a
/// scale of 9, twice what a path of 1 Gbit/s and 100 ms holds and more.
inline constexpr BufferSize tuned_buffer{64 * 1024, 0xffffU << 9};

/// Options of one connection. A listener's options are those its connections start with.
struct ConnectionOptions {
  bool no_delay = false;           ///< Switches Nagle's algorithm off (RFC 9293 MUST-17).
  bool cork = false;               ///< Holds partial segments, at most `cork_timeout` of the stack.
  bool report_soft_errors = true;  ///< RFC 9293 SHLD-20.
  std::uint8_t ttl = 64;           ///< 1..255 (RFC 9293 MUST-49).
  std::uint8_t dscp = 0;           ///< 0..63 (RFC 9293 MUST-48).
  /// Spreads what leaves over the round trip, the initial window included, in bursts of about a
  /// millisecond (tcp/pacing.hpp). A congestion controller with a rate of its own paces anyway.
  bool pacing = false;
  /// Caps the MSS announced and used, 0 = what the MTU allows; below 88 it is raised to 88.
  std::uint16_t max_segment_size = 0;
  /// Most bytes queued for sending; grows with the congestion window.
  BufferSize send_buffer = tuned_buffer;
  /// Most bytes unread, and so the window; grows with what is read in a round trip. The window
  /// scale of our SYN follows the bound, so one that is raised later may be out of reach.
  BufferSize receive_buffer = tuned_buffer;
  /// Most bytes of payload a second that leave, what is sent again included; 0 = no bound. What
  /// Linux knows as SO_MAX_PACING_RATE: it paces whatever `pacing` says, and binds a controller
  /// with a rate of its own as well.
  std::uint64_t max_pacing_rate = 0;
  /// R2: how long sent data may stay without an acknowledgement. Zero = for ever (RFC 9293 MUST-21;
  /// five minutes is the default of its 3.9.1.1).
  Duration user_timeout = std::chrono::minutes{5};
  /// How long a closed connection may take to deliver what is queued; zero resets at once; none =
  /// as long as it makes progress.
  std::optional<Duration> linger{};
  Keepalive keepalive{};
};

/// Explicit congestion notification (RFC 3168).
enum class Ecn : std::uint8_t {
  off,
  when_asked,  ///< With peers whose SYN asks for it: what Linux does by default.
  always,      ///< Our SYNs ask too; one that is lost or refused is sent again without asking.
};

/// Settings of TCP as a whole.
struct TcpConfig {
  std::uint32_t max_connections = 16384;  ///< Half-open ones included.
  /// How many connections, those that were used last, keep their control block when they are idle.
  /// Others rest then: they take a quarter of the memory, and their next packet some more time.
  std::uint32_t warm_connections = 1024;
  std::uint32_t max_time_wait = 16384;  ///< Beyond it the oldest entry goes early.
  std::uint32_t max_orphans = 1024;     ///< Beyond it a closing connection is reset.
  std::uint8_t initial_window = 10;     ///< Segments (RFC 6928).
  bool window_scaling = true;           ///< RFC 7323.
  bool timestamps = true;               ///< RFC 7323.
  bool sack = true;                     ///< RFC 2018.
  bool syn_cookies = true;              ///< When a SYN queue is full (RFC 4987 3.6).
  Ecn ecn = Ecn::when_asked;            ///< RFC 3168.
  Duration delayed_ack =
      std::chrono::milliseconds{40};  ///< 0 = at once; below 500 ms (RFC 9293 MUST-40).
  Duration cork_timeout = std::chrono::milliseconds{200};
  Duration initial_rto = std::chrono::seconds{1};  ///< RFC 6298 2.1.
  /// Deviation: 6298-04: RFC 6298 2.4 says 1 s; 200 ms, as Linux has it, repairs losses on short
  /// paths in time.
  Duration min_rto = std::chrono::milliseconds{200};
  /// How long a peer may delay the acknowledgement of a single segment (RFC 8985 7.2).
  Duration max_ack_delay = std::chrono::milliseconds{200};
  Duration max_rto = std::chrono::seconds{60};  ///< RFC 6298 2.5.
  Duration msl =
      std::chrono::seconds{30};  ///< TIME-WAIT lasts twice this (RFC 9293 3.4.2 names 2 min).
  Duration fin_wait_2_timeout =
      std::chrono::seconds{60};  ///< Of a connection that nobody reads any more.
  Duration orphan_timeout = std::chrono::seconds{60};  ///< Without progress, its handle gone.
  std::uint8_t syn_retries =
      8;  ///< 8 with a 60 s cap: the last SYN leaves at 183 s (RFC 9293 MUST-23).
  std::uint8_t syn_ack_retries = 5;
  std::uint16_t challenge_ack_limit = 10;  ///< Per connection and second (RFC 5961 7).
  std::uint16_t first_port = 32768;        ///< Ephemeral ports (RFC 6056 3.2), first and last.
  std::uint16_t last_port = 60999;
  std::uint16_t min_path_mtu =
      552;  ///< Reports below it are taken for this (RFC 1191 3, RFC 5927 7).
  /// How long a path MTU that was found out holds, for all connections to the destination; then
  /// the device's is tried again (RFC 1191 6.3: 10 minutes, not less than 5).
  Duration path_mtu_timeout = std::chrono::minutes{10};
  std::uint32_t max_path_mtus = 1024;  ///< Destinations that are remembered; 0: none.
  /// Finds paths on which large packets vanish without a report (RFC 4821 7.7).
  bool black_hole_detection = true;
  /// When memory is refused, a connection whose peer has kept its window shut for so long may be
  /// aborted to have some: the longest first, with `no_memory` (RFC 6429 3).
  Duration stalled_timeout = std::chrono::minutes{1};
  /// Disjoint ranges kept per connection, at most. Beyond 256 there is also no more than one for
  /// two full segments of the receive buffer.
  std::uint32_t max_out_of_order_ranges = 65536;
};

}  // namespace tunic::inline v0
