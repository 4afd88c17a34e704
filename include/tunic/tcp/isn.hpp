// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a connection draws from the stack's secret: initial sequence numbers (RFC 6528), timestamp
// offsets (RFC 7323 5.4) and source ports (RFC 6056 3.3). All are keyed hashes; each use has a key
// of its own.

#include <tunic/base/siphash.hpp>
#include <tunic/base/time.hpp>
#include <tunic/tcp/flow.hpp>
#include <tunic/wire/seq.hpp>

#include <cstdint>

namespace tunic::inline v0 {

class FlowSecrets {
 public:
  /// Derives the keys from one secret of 128 bits.
  explicit FlowSecrets(SipKey secret) noexcept
      : table_{derive(secret, 1)},
        isn_{derive(secret, 2)},
        timestamp_{derive(secret, 3)},
        port_{derive(secret, 4)},
        cookie_{derive(secret, 5)},
        path_{derive(secret, 6)} {}

  /// ISN = M + F(connection, key), M ticking every 4 microseconds (RFC 6528 3).
  [[nodiscard]] SeqNum isn(const FlowKey& key, Instant now) const noexcept {
    const auto ticks = now.time_since_epoch().count() / 4000;
    return SeqNum{static_cast<std::uint32_t>(hash_flow(isn_, key)) +
                  static_cast<std::uint32_t>(ticks)};
  }

  /// Constant for a connection's addresses and ports, so that its timestamps go on growing from one
  /// incarnation to the next (what RFC 6191 builds on), and unrelated between connections.
  [[nodiscard]] std::uint32_t timestamp_offset(const FlowKey& key) const noexcept {
    return static_cast<std::uint32_t>(hash_flow(timestamp_, key));
  }

  /// The `attempt`-th candidate for a source port towards a remote endpoint, as an index below
  /// `range`.
  [[nodiscard]] std::uint32_t port_index(const FlowKey& key, std::uint64_t attempt,
                                         std::uint32_t range) const noexcept {
    return static_cast<std::uint32_t>(hash_flow(port_, key, attempt) % range);
  }

  [[nodiscard]] SipKey table_key() const noexcept { return table_; }
  [[nodiscard]] SipKey cookie_key() const noexcept { return cookie_; }
  [[nodiscard]] SipKey path_key() const noexcept { return path_; }

 private:
  static SipKey derive(SipKey secret, std::uint64_t purpose) noexcept {
    return {siphash13(secret, {purpose, 0}), siphash13(secret, {purpose, 1})};
  }

  SipKey table_;
  SipKey isn_;
  SipKey timestamp_;
  SipKey port_;
  SipKey cookie_;
  SipKey path_;
};

/// The clock of TSval, before a connection's offset: 1 ms ticks (RFC 7323 5.4 allows 1 ms to 1 s).
[[nodiscard]] inline std::uint32_t timestamp_ticks(Instant now) noexcept {
  return static_cast<std::uint32_t>(now.time_since_epoch().count() / 1'000'000);
}

}  // namespace tunic::inline v0
