// SPDX-License-Identifier: BSL-1.0
#pragma once

// Packets from one thread to one other: a ring of bytes of a fixed size, without locks. What shards
// send each other that came in at the wrong queue goes through it; it is the only state that they
// share.

#include <tunic/base/bytes.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/wire/virtio_net.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

namespace tunic::inline v0 {

/// A bounded queue of packets of up to `super_segment_bytes` in order of arrival, with one producer
/// (`push`) and one consumer (`lend`, `empty`), each a thread of its own. The memory is taken at
/// construction and touched as it is used.
class StrayQueue {
 public:
  /// The least capacity: a packet always fits into an empty queue, even in front of its end.
  static constexpr std::size_t min_capacity_bytes = 1 << 18;

  /// Rounded up to a power of two. Allocates.
  explicit StrayQueue(std::size_t capacity_bytes)
      : capacity_{std::bit_ceil(std::max(capacity_bytes, min_capacity_bytes))},
        ring_{std::make_unique_for_overwrite<std::byte[]>(capacity_)} {}

  /// Copies a packet, gathered from its pieces. False: there is no room, or it is larger than a
  /// packet can be.
  [[nodiscard]] bool push(std::span<const Bytes> pieces, const Offload& offload) noexcept {
    std::size_t size = 0;
    for (const Bytes piece : pieces) size += piece.size();
    if (size > super_segment_bytes) return false;
    std::size_t tail = tail_.load(std::memory_order_relaxed);
    const std::size_t to_end = capacity_ - offset(tail);
    const std::size_t skipped = room_for(size) <= to_end ? 0 : to_end;  // records do not wrap
    const std::size_t used = tail - head_.load(std::memory_order_acquire);
    if (capacity_ - used < skipped + room_for(size)) return false;
    if (skipped != 0) {
      write(tail, {.size_bytes = filler});
      tail += skipped;
    }
    write(tail, {.size_bytes = static_cast<std::uint32_t>(size), .offload = offload});
    std::byte* to = ring_.get() + offset(tail) + record_bytes;
    for (const Bytes piece : pieces) to = std::copy(piece.begin(), piece.end(), to);
    tail_.store(tail + room_for(size), std::memory_order_release);
    return true;
  }

  /// Ends the last loan and lends as many packets as the batch takes; the number of them. They live
  /// until the next call.
  [[nodiscard]] std::size_t lend(std::span<RxPacket> batch) noexcept {
    head_.store(next_, std::memory_order_release);
    const std::size_t tail = tail_.load(std::memory_order_acquire);
    std::size_t count = 0;
    while (count < batch.size() && next_ != tail) {
      Record record;
      std::memcpy(&record, ring_.get() + offset(next_), sizeof record);
      if (record.size_bytes == filler) {
        next_ += capacity_ - offset(next_);
        continue;
      }
      batch[count++] = {.bytes = {ring_.get() + offset(next_) + record_bytes, record.size_bytes},
                        .offload = record.offload};
      next_ += room_for(record.size_bytes);
    }
    return count;
  }

  /// Whether all that came was lent.
  [[nodiscard]] bool empty() const noexcept {
    return next_ == tail_.load(std::memory_order_acquire);
  }

 private:
  // Before each packet. Records begin at multiples of their own size, so that there is always room
  // for one before the end of the ring.
  struct Record {
    std::uint32_t size_bytes = 0;
    Offload offload{};
  };
  static constexpr std::size_t record_bytes = 32;
  static_assert(sizeof(Record) <= record_bytes);
  static constexpr std::uint32_t filler = 0xffffffff;  // the size of what lies before the end

  static constexpr std::size_t room_for(std::size_t packet_bytes) noexcept {
    return record_bytes + (packet_bytes + record_bytes - 1) / record_bytes * record_bytes;
  }

  // Positions only grow, and wrap around with their type, whose range is a multiple of the ring's.
  [[nodiscard]] std::size_t offset(std::size_t position) const noexcept {
    return position & (capacity_ - 1);
  }
  void write(std::size_t position, const Record& record) noexcept {
    std::memcpy(ring_.get() + offset(position), &record, sizeof record);
  }

  static constexpr std::size_t cache_line_bytes = 64;

  alignas(cache_line_bytes) std::atomic<std::size_t> tail_{0};  // the producer's
  alignas(cache_line_bytes) std::atomic<std::size_t> head_{0};  // the consumer's: end of its loans
  std::size_t next_ = 0;                                        // to lend
  const std::size_t capacity_;
  const std::unique_ptr<std::byte[]> ring_;
};

}  // namespace tunic::inline v0
