// SPDX-License-Identifier: BSL-1.0
#pragma once

// What is known of the path MTU to destinations (RFC 1191 3 and 6, RFC 8201 5.2), shared by all
// that send there. Only what a transport has found to be true may be entered: a report about a
// packet that it had in flight, or packets that pass where larger ones vanish. An entry is never
// raised, it expires.

#include <tunic/base/siphash.hpp>
#include <tunic/base/time.hpp>
#include <tunic/wire/address.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tunic::inline v0 {

/// A path MTU, header included, and until when it is believed.
struct PathMtuEntry {
  IpAddress destination;
  Instant expires{};
  std::uint16_t mtu_bytes = 0;
};

/// Bounded, of either address family. All calls are O(1), and none allocates: where many
/// destinations meet in one bucket, the entry that would be the first to expire goes. A secret key
/// keeps destinations from choosing their bucket.
class PathMtuCache {
 public:
  /// Room for `capacity` entries, rounded up to whole buckets; with 0 nothing is remembered.
  PathMtuCache(std::uint32_t capacity, SipKey secret)
      : secret_{secret},
        buckets_{capacity / ways + (capacity % ways != 0 ? 1 : 0)},
        entries_{std::make_unique<PathMtuEntry[]>(std::size_t{buckets_} * ways)} {}

  /// Changes with each entry: who has seen this number has missed nothing.
  [[nodiscard]] std::uint32_t version() const noexcept { return version_; }

  /// What is known of a destination now, or null.
  [[nodiscard]] const PathMtuEntry* find(const IpAddress& destination, Instant now) const noexcept {
    for (const PathMtuEntry& entry : bucket(destination)) {
      if (entry.destination == destination && now < entry.expires) return &entry;
    }
    return nullptr;
  }

  /// Enters a path MTU until `expires`. A smaller one that is known stays as it is.
  void lower(const IpAddress& destination, std::uint16_t mtu_bytes, Instant now,
             Instant expires) noexcept {
    const std::span<PathMtuEntry> entries = bucket(destination);
    if (entries.empty()) return;
    auto place = std::ranges::find(entries, destination, &PathMtuEntry::destination);
    if (place == entries.end()) {
      place = std::ranges::min_element(entries, {}, &PathMtuEntry::expires);
    } else if (now < place->expires && place->mtu_bytes < mtu_bytes) {
      return;
    }
    *place = {.destination = destination, .expires = expires, .mtu_bytes = mtu_bytes};
    ++version_;
  }

 private:
  static constexpr std::uint32_t ways = 8;  // entries of a bucket

  [[nodiscard]] std::span<PathMtuEntry> bucket(const IpAddress& destination) const noexcept {
    if (buckets_ == 0) return {};
    const auto words = destination.hash_words();
    const std::size_t index = siphash13(secret_, {words[0], words[1]}) % buckets_;
    return {&entries_[index * ways], ways};
  }

  SipKey secret_;
  std::uint32_t buckets_;
  std::uint32_t version_ = 0;
  std::unique_ptr<PathMtuEntry[]> entries_;
};

}  // namespace tunic::inline v0
