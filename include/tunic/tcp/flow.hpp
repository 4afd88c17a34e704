// SPDX-License-Identifier: BSL-1.0
#pragma once

// The key of a connection, the same for both address families, and its keyed hash: a peer who can
// choose addresses and ports can't choose where they fall in a table.

#include <tunic/base/siphash.hpp>
#include <tunic/wire/address.hpp>

#include <cstdint>

namespace tunic::inline v0 {

/// A connection seen from here.
struct FlowKey {
  IpAddress local;
  IpAddress remote;
  std::uint16_t local_port = 0;
  std::uint16_t remote_port = 0;
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

/// SipHash-1-3 of a key and up to two more words. Two IPv4 addresses are one word.
[[nodiscard]] inline std::uint64_t hash_flow(SipKey secret, const FlowKey& key,
                                             std::uint64_t salt = 0) noexcept {
  const std::uint64_t ports =
      (std::uint64_t{key.local_port} << 16) | key.remote_port | (salt << 32);
  if (key.local.is_v4() && key.remote.is_v4()) {
    return siphash13(secret, {(std::uint64_t{key.local.v4_bits()} << 32) | key.remote.v4_bits(),
                              ports, salt >> 32});
  }
  const auto local = key.local.hash_words();
  const auto remote = key.remote.hash_words();
  return siphash13(secret, {local[0], local[1], remote[0], remote[1], ports, salt >> 32});
}

}  // namespace tunic::inline v0
