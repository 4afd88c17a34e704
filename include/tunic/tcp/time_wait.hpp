// SPDX-License-Identifier: BSL-1.0
#pragma once

// TIME-WAIT without a control block (RFC 9293 3.6.1): an entry keeps what an old segment or a new
// SYN is judged by. Entries are in order of expiry, since all wait equally long; when there are too
// many, the oldest goes early (RFC 1337 and RFC 6191 say what else an entry must do; tcp/input.hpp
// does it).

#include <tunic/base/block_pool.hpp>
#include <tunic/base/slab.hpp>
#include <tunic/base/time.hpp>
#include <tunic/tcp/flow.hpp>
#include <tunic/tcp/flow_table.hpp>
#include <tunic/wire/seq.hpp>

#include <cstdint>

namespace tunic::inline v0 {

struct TimeWaitEntry {
  [[no_unique_address]] FlowKey key;  // the next two lie in its tail
  std::uint16_t window = 0;
  bool timestamps = false;
  SeqNum snd_nxt;
  SeqNum rcv_nxt;
  std::uint32_t ts_recent = 0;
  std::uint32_t expires_ms = 0;  // in milliseconds of the table's own count
  std::uint32_t newer = nowhere;
  std::uint32_t older = nowhere;

  static constexpr std::uint32_t nowhere = 0xffffffff;
};
static_assert(sizeof(TimeWaitEntry) <= 64);

class TimeWaitTable {
 public:
  TimeWaitTable(BlockPool& pool, SipKey secret, std::uint32_t capacity)
      : slab_{pool, capacity}, table_{slab_, secret, capacity} {}

  [[nodiscard]] std::size_t size() const noexcept { return slab_.size(); }

  [[nodiscard]] TimeWaitEntry* find(const FlowKey& key) noexcept {
    const std::uint32_t* slot = table_.find(key);
    return slot == nullptr ? nullptr : &slab_.at(*slot);
  }

  /// Lets a connection wait until `expires`. Its key must not be here. Without room the oldest
  /// entry makes some.
  void add(const TimeWaitEntry& entry, Instant expires) noexcept {
    TimeWaitEntry* added = slab_.emplace(entry);
    if (added == nullptr && oldest_ != TimeWaitEntry::nowhere) {
      remove(slab_.at(oldest_));
      added = slab_.emplace(entry);
    }
    if (added == nullptr) return;
    table_.insert(slab_.index_of(*added));
    append(*added, expires);
  }

  /// Starts the wait of an entry anew.
  void restart(TimeWaitEntry& entry, Instant expires) noexcept {
    unlink(entry);
    append(entry, expires);
  }

  void remove(TimeWaitEntry& entry) noexcept {
    const std::uint32_t slot = slab_.index_of(entry);
    unlink(entry);
    table_.erase(slot);
    slab_.erase(slot);
  }

  /// Drops the entries whose time has come.
  void expire(Instant now) noexcept {
    while (oldest_ != TimeWaitEntry::nowhere && expiry(slab_.at(oldest_)) <= now)
      remove(slab_.at(oldest_));
  }

  /// When the oldest entry goes.
  [[nodiscard]] Instant next_expiry() const noexcept {
    return oldest_ == TimeWaitEntry::nowhere ? never : expiry(slab_.at(oldest_));
  }

 private:
  // Expiries are kept as 32-bit milliseconds after `base_`, which moves with the last one added;
  // none is more than 24 days away from it.
  [[nodiscard]] Instant expiry(const TimeWaitEntry& entry) const noexcept {
    const auto behind = static_cast<std::int32_t>(newest_ms_ - entry.expires_ms);
    return newest_expiry_ - std::chrono::milliseconds{behind};
  }

  void append(TimeWaitEntry& entry, Instant expires) noexcept {
    const auto count = std::chrono::ceil<std::chrono::milliseconds>(expires.time_since_epoch());
    newest_expiry_ = Instant{count};
    newest_ms_ = static_cast<std::uint32_t>(count.count());
    entry.expires_ms = newest_ms_;
    entry.older = newest_;
    entry.newer = TimeWaitEntry::nowhere;
    const std::uint32_t slot = slab_.index_of(entry);
    (newest_ == TimeWaitEntry::nowhere ? oldest_ : slab_.at(newest_).newer) = slot;
    newest_ = slot;
  }

  void unlink(TimeWaitEntry& entry) noexcept {
    (entry.older == TimeWaitEntry::nowhere ? oldest_ : slab_.at(entry.older).newer) = entry.newer;
    (entry.newer == TimeWaitEntry::nowhere ? newest_ : slab_.at(entry.newer).older) = entry.older;
  }

  Slab<TimeWaitEntry> slab_;
  FlowTable<TimeWaitEntry> table_;
  std::uint32_t oldest_ = TimeWaitEntry::nowhere;
  std::uint32_t newest_ = TimeWaitEntry::nowhere;
  std::uint32_t newest_ms_ = 0;
  Instant newest_expiry_{};
};

}  // namespace tunic::inline v0
