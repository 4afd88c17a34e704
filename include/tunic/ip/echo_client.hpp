// SPDX-License-Identifier: BSL-1.0
#pragma once

// Pings: echo requests of our own, matched to their replies or to a time-out (RFC 1122 3.2.2.6). A
// fixed number is under way at a time; results wait until they are pulled.

#include <tunic/base/bytes.hpp>
#include <tunic/base/error.hpp>
#include <tunic/base/siphash.hpp>
#include <tunic/base/time.hpp>
#include <tunic/ip/icmp_reply.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/icmp.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

namespace tunic::inline v0 {

/// The end of a ping.
struct EchoResult {
  IpAddress address;
  std::uint16_t sequence = 0;  ///< What `ping` returned.
  Errc error = Errc::none;     ///< `timed_out` if no reply came.
  Duration rtt{};
};

class EchoClient {
 public:
  static constexpr std::size_t capacity = 16;

  EchoClient(IcmpReplies& out, SipKey secret) noexcept
      : out_{out}, id_{static_cast<std::uint16_t>(siphash13(secret, {0x6563686f, 0}))} {}

  /// Queues an echo request. Its sequence number, or nothing when `capacity` results are under way
  /// or waiting, or there is no memory.
  [[nodiscard]] std::optional<std::uint16_t> send(const IpAddress& from, const IpAddress& to,
                                                  Bytes payload, Duration timeout,
                                                  Instant now) noexcept {
    const auto slot = std::find_if(pings_.begin(), pings_.end(),
                                   [](const Ping& ping) { return ping.state == State::free; });
    if (slot == pings_.end()) return std::nullopt;
    const std::uint16_t sequence = next_sequence_++;
    const IcmpMessage request{.type = IcmpType::echo_request,
                              .code = 0,
                              .rest = (std::uint32_t{id_} << 16) | sequence,
                              .body = payload};
    if (!out_.enqueue(from, to, 0, 64, request)) return std::nullopt;
    *slot = {.result = {.address = to, .sequence = sequence},
             .sent_at = now,
             .expires = now + timeout,
             .state = State::waiting};
    ++waiting_;
    return sequence;
  }

  /// Takes a reply; false if it answers nothing.
  bool reply(const IpAddress& from, const IcmpMessage& message, Instant now) noexcept {
    if (message.echo_id() != id_) return false;
    for (Ping& ping : pings_) {
      if (ping.state != State::waiting || ping.result.sequence != message.echo_sequence() ||
          ping.result.address != from)
        continue;
      ping.result.rtt = now - ping.sent_at;
      ping.state = State::done;
      --waiting_;
      return true;
    }
    return false;
  }

  void expire(Instant now) noexcept {
    if (waiting_ == 0) return;
    for (Ping& ping : pings_) {
      if (ping.state != State::waiting || now < ping.expires) continue;
      ping.result.error = Errc::timed_out;
      ping.state = State::done;
      --waiting_;
    }
  }

  [[nodiscard]] Instant next_expiry() const noexcept {
    Instant earliest = never;
    if (waiting_ == 0) return earliest;
    for (const Ping& ping : pings_) {
      if (ping.state == State::waiting) earliest = std::min(earliest, ping.expires);
    }
    return earliest;
  }

  /// The next finished ping.
  [[nodiscard]] std::optional<EchoResult> next_result() noexcept {
    for (Ping& ping : pings_) {
      if (ping.state != State::done) continue;
      ping.state = State::free;
      return ping.result;
    }
    return std::nullopt;
  }

 private:
  enum class State : std::uint8_t { free, waiting, done };
  struct Ping {
    EchoResult result;
    Instant sent_at{};
    Instant expires{};
    State state = State::free;
  };

  IcmpReplies& out_;
  std::uint16_t id_;
  std::uint16_t next_sequence_ = 1;
  std::uint8_t waiting_ = 0;  // pings
  std::array<Ping, capacity> pings_{};
};

}  // namespace tunic::inline v0
