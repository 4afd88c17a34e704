// SPDX-License-Identifier: BSL-1.0
#pragma once

// SYN cookies (RFC 4987 3.6): an ISN that stands for the connection request it answers, so that a
// listener under pressure needs no memory for it. 5 bits count 64 s periods, 3 bits choose one of
// eight MSS values, 24 bits are a MAC over the addresses, ports, the peer's ISN, both of these and
// the options. The window scale, SACK and ECN are kept in the low 6 bits of the timestamp that the
// peer echoes; without timestamps they are not used.

#include <tunic/base/siphash.hpp>
#include <tunic/base/time.hpp>
#include <tunic/tcp/flow.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp_options.hpp>

#include <array>
#include <cstdint>
#include <optional>

namespace tunic::inline v0 {

class SynCookies {
 public:
  static constexpr Duration period = std::chrono::seconds{64};

  /// What a valid cookie says of the connection request.
  struct Decoded {
    std::uint16_t mss = 0;
    std::optional<std::uint8_t> window_scale;
    bool sack = false;
    bool ecn = false;
  };

  explicit SynCookies(SipKey key) noexcept : key_{key} {}

  /// The options of a request as 6 bits: no window scale is 15.
  [[nodiscard]] static std::uint32_t option_bits(const TcpOptions& options, bool ecn) noexcept {
    const std::uint32_t shift = options.has_window_scale ? options.window_scale : no_scale;
    return shift | (options.sack_permitted ? sack_bit : 0) | (ecn ? ecn_bit : 0);
  }

  /// A timestamp at or before `timestamp` whose low bits are `bits`.
  [[nodiscard]] static std::uint32_t stamp(std::uint32_t timestamp, std::uint32_t bits) noexcept {
    const std::uint32_t stamped = (timestamp & ~option_mask) | bits;
    return stamped > timestamp ? stamped - (option_mask + 1) : stamped;
  }

  /// The ISN that answers a request. `bits` is what the timestamp will carry, 0 without timestamps.
  [[nodiscard]] SeqNum make(const FlowKey& flow, SeqNum peer_isn, std::uint16_t mss,
                            std::uint32_t bits, Instant now) const noexcept {
    std::uint32_t index = 0;
    while (index + 1 < mss_values.size() && mss_values[index + 1] <= mss) ++index;
    return compose(flow, peer_isn, current_period(now), index, bits);
  }

  /// What the ACK of a cookie brings back, or nothing if it was not made here within the last two
  /// periods. `echo` is the TSecr of that ACK, if it has one.
  [[nodiscard]] std::optional<Decoded> check(const FlowKey& flow, SeqNum peer_isn, SeqNum cookie,
                                             std::optional<std::uint32_t> echo,
                                             Instant now) const noexcept {
    const std::uint32_t value = cookie.value();
    const std::uint32_t age = (current_period(now) - (value >> 27)) & 31;
    if (age > 1) return std::nullopt;
    const std::uint32_t index = (value >> 24) & 7;
    const std::uint32_t bits = echo ? *echo & option_mask : 0;
    if (compose(flow, peer_isn, current_period(now) - age, index, bits) != cookie)
      return std::nullopt;
    Decoded decoded{.mss = mss_values[index], .window_scale = std::nullopt};
    if (echo) {
      if ((bits & no_scale) != no_scale)
        decoded.window_scale = static_cast<std::uint8_t>(bits & no_scale);
      decoded.sack = (bits & sack_bit) != 0;
      decoded.ecn = (bits & ecn_bit) != 0;
    }
    return decoded;
  }

 private:
  static constexpr std::uint32_t no_scale = 15;  // above 14, the largest legal shift
  static constexpr std::uint32_t sack_bit = 16;
  static constexpr std::uint32_t ecn_bit = 32;
  static constexpr std::uint32_t option_mask = 63;
  // The values that most paths have; a request's MSS is rounded down to one of them.
  static constexpr std::array<std::uint16_t, 8> mss_values{88,   536,  1024, 1220,
                                                           1360, 1440, 1460, 8960};

  static std::uint32_t current_period(Instant now) noexcept {
    return static_cast<std::uint32_t>(now.time_since_epoch() / period);
  }

  SeqNum compose(const FlowKey& flow, SeqNum peer_isn, std::uint32_t count, std::uint32_t index,
                 std::uint32_t bits) const noexcept {
    const std::uint64_t words[] = {peer_isn.value(),
                                   (std::uint64_t{count} << 32) | (index << 8) | bits};
    const std::uint64_t mac = siphash13({hash_flow(key_, flow), key_.k1}, {words[0], words[1]});
    return SeqNum{((count & 31) << 27) | (index << 24) |
                  static_cast<std::uint32_t>(mac & 0xffffff)};
  }

  SipKey key_;
};

}  // namespace tunic::inline v0
