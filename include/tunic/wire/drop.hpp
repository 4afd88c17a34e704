// SPDX-License-Identifier: BSL-1.0
#pragma once

// Why a received packet went no further, and `Parsed<T>`: what every parser yields. A parser either
// makes a value whose accessors can't fail, or names the one reason why there is none; each reason
// has one counter. Being dropped is no error of the program: peers cause it, and it is counted,
// never asserted.

#include <tunic/base/assert.hpp>

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <iterator>
#include <optional>
#include <type_traits>

namespace tunic::inline v0 {

/// The reason why a packet, or the part of one, was dropped.
enum class Drop : std::uint8_t {
  // IP
  too_short,               ///< Fewer bytes than the fixed IP header.
  bad_version,             ///< The IP version is not the parser's.
  bad_header_length,       ///< Header length below the minimum or beyond the packet.
  bad_total_length,        ///< Total length below the header length or beyond the packet.
  bad_ip_checksum,         ///< The IP header's checksum is wrong.
  bad_ip_option,           ///< An IP option with an impossible length.
  source_routed,           ///< A source route, which policy refuses.
  martian_source,          ///< A source that no host may send from (RFC 1122 3.2.1.3).
  not_for_us,              ///< A destination that is not ours.
  broadcast_or_multicast,  ///< A group destination that nobody here joined.
  bad_fragment,            ///< A fragment that is empty, unaligned or ends beyond 65,535.
  fragment_overlap,        ///< A fragment that overlaps another one.
  fragment_limit,          ///< Reassembly is over its budget.
  fragment_timeout,        ///< A packet was not complete in time.
  unknown_protocol,        ///< Nobody here speaks the payload's protocol.
  packet_too_big,          ///< More bytes than the stack takes.
  // ICMP
  icmp_too_short,      ///< Fewer bytes than the ICMP header.
  bad_icmp_checksum,   ///< The ICMP checksum is wrong.
  icmp_unknown_type,   ///< A type that is not acted on.
  icmp_bad_quote,      ///< An error that quotes too little or a malformed packet.
  icmp_unmatched,      ///< An error about a packet of no present connection.
  icmp_out_of_window,  ///< An error that quotes a sequence number not in flight (RFC 5927 4.1).
  icmp_rate_limited,   ///< A request over the limit of replies.
  // UDP
  udp_too_short,     ///< Fewer bytes than the UDP header.
  bad_udp_length,    ///< UDP length below 8 or beyond the packet.
  bad_udp_checksum,  ///< The UDP checksum is wrong.
  // TCP, malformed
  tcp_too_short,     ///< Fewer bytes than the fixed TCP header.
  bad_data_offset,   ///< Data offset below 5 or beyond the segment.
  bad_tcp_checksum,  ///< The TCP checksum is wrong.
  bad_tcp_option,    ///< A TCP option with an impossible length.
  // TCP, well-formed
  tcp_to_broadcast,     ///< A segment to a group address.
  no_such_connection,   ///< Neither a connection nor a listener for it.
  listen_unexpected,    ///< A listener got what is no SYN.
  syn_queue_full,       ///< Too many half-open connections.
  accept_queue_full,    ///< Too many connections that nobody accepted.
  syn_filtered,         ///< The listener's filter refused the SYN.
  out_of_window,        ///< No part lies in the receive window.
  paws,                 ///< An old timestamp (RFC 7323 5).
  bad_ack,              ///< Acknowledges what was never sent.
  no_ack_flag,          ///< No ACK flag in a synchronized state.
  old_ack,              ///< Acknowledges less than RFC 5961 5.2 allows.
  rst_out_of_window,    ///< A reset outside the window.
  rst_ignored,          ///< A reset that the state or RFC 5961 3.2 does not honour.
  syn_in_synchronized,  ///< A SYN in a synchronized state (RFC 5961 4.2).
  after_fin,            ///< Data beyond the peer's FIN or after our reader left.
  no_memory,            ///< The byte budget or the allocator refused.
  cannot_wake,          ///< A connection at rest found no memory for a control block.
  out_of_order_limit,   ///< Too much out-of-order data is held.
  challenge_limited,    ///< A challenge ACK over the limit was not sent.
  reply_queue_full,     ///< A stateless reply found no place.
  cookie_invalid,       ///< An ACK whose SYN cookie is forged or stale.
  time_wait_ignored,    ///< A segment that TIME-WAIT does not answer.
  device_refused,       ///< A stateless reply that the device did not take.
};

/// The number of reasons: the size of an array of counters.
inline constexpr std::size_t drop_count = static_cast<std::size_t>(Drop::device_refused) + 1;

/// The name of a reason, as it is spelled in the enumeration.
[[nodiscard]] constexpr const char* name(Drop reason) noexcept {
  constexpr const char* names[] = {
      "too_short",         "bad_version",
      "bad_header_length", "bad_total_length",
      "bad_ip_checksum",   "bad_ip_option",
      "source_routed",     "martian_source",
      "not_for_us",        "broadcast_or_multicast",
      "bad_fragment",      "fragment_overlap",
      "fragment_limit",    "fragment_timeout",
      "unknown_protocol",  "packet_too_big",
      "icmp_too_short",    "bad_icmp_checksum",
      "icmp_unknown_type", "icmp_bad_quote",
      "icmp_unmatched",    "icmp_out_of_window",
      "icmp_rate_limited", "udp_too_short",
      "bad_udp_length",    "bad_udp_checksum",
      "tcp_too_short",     "bad_data_offset",
      "bad_tcp_checksum",  "bad_tcp_option",
      "tcp_to_broadcast",  "no_such_connection",
      "listen_unexpected", "syn_queue_full",
      "accept_queue_full", "syn_filtered",
      "out_of_window",     "paws",
      "bad_ack",           "no_ack_flag",
      "old_ack",           "rst_out_of_window",
      "rst_ignored",       "syn_in_synchronized",
      "after_fin",         "no_memory",
      "cannot_wake",       "out_of_order_limit",
      "challenge_limited", "reply_queue_full",
      "cookie_invalid",    "time_wait_ignored",
      "device_refused",
  };
  static_assert(std::size(names) == drop_count);
  const auto index = static_cast<std::size_t>(reason);
  return index < drop_count ? names[index] : "unknown";
}

template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out, Drop reason) {
  return out << name(reason);
}

/// What a check says: nothing, or the reason to drop.
using Refusal = std::optional<Drop>;

/// A value, or the reason why there is none. `T` is a small value without resources; reading the
/// wrong half is a programmer's error.
template <class T>
class [[nodiscard]] Parsed {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  constexpr Parsed(const T& value) noexcept : value_{value}, has_value_{true} {}
  constexpr Parsed(Drop reason) noexcept : drop_{reason} {}

  /// Has `read(T*)` construct the value in its place and return nothing, or return a reason. Spares
  /// a parser the copy.
  template <class Read>
  requires std::is_invocable_r_v<Refusal, Read, T*>
  explicit Parsed(Read&& read) noexcept : has_value_{true} {
    if (const Refusal refusal = read(&value_)) {
      drop_ = *refusal;
      has_value_ = false;
    }
  }

  constexpr explicit operator bool() const noexcept { return has_value_; }
  [[nodiscard]] constexpr bool has_value() const noexcept { return has_value_; }

  [[nodiscard]] constexpr const T& operator*() const noexcept {
    TUNIC_ASSERT(has_value_);
    return value_;
  }
  [[nodiscard]] constexpr T& operator*() noexcept {
    TUNIC_ASSERT(has_value_);
    return value_;
  }
  [[nodiscard]] constexpr const T* operator->() const noexcept { return &**this; }
  [[nodiscard]] constexpr T* operator->() noexcept { return &**this; }

  /// The reason, when there is no value.
  [[nodiscard]] constexpr Drop drop() const noexcept {
    TUNIC_ASSERT(!has_value_);
    return drop_;
  }

 private:
  union {
    T value_;
    std::byte nothing_{};  // a dropped packet costs no clearing
  };
  Drop drop_{};
  bool has_value_ = false;
};

}  // namespace tunic::inline v0
