// SPDX-License-Identifier: BSL-1.0
#pragma once

// Packets in memory: a gathered packet as one piece of bytes, and a queue of such that uses its
// buffers again, so that in a steady state nothing is allocated. What devices without a kernel are
// made of. Allocation failure throws, and ends the program where that is not possible (from a
// `noexcept` call of a device): these devices are for tests, simulations and programs that join two
// stacks.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/stack/device.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

/// A packet that owns its bytes, with what the sender said about it.
struct StoredPacket {
  std::vector<std::byte> bytes;
  TxReason reason = TxReason::data;
  Offload offload{};

  /// Takes over another packet's bytes; allocates only when they exceed the capacity.
  void assign(Bytes from, TxReason why = TxReason::data, const Offload& how = {}) {
    make_room(from.size());
    bytes.assign(from.begin(), from.end());
    reason = why;
    offload = how;
  }
  void assign(const TxPacket& from) {
    bytes.clear();
    make_room(from.size_bytes);
    for (const Bytes piece : from.pieces) bytes.insert(bytes.end(), piece.begin(), piece.end());
    reason = from.reason;
    offload = from.offload;
  }

 private:
  // For any packet of a usual MTU at once, since buffers go from packet to packet.
  void make_room(std::size_t size) {
    if (bytes.capacity() < size) bytes.reserve(std::max<std::size_t>(size, 2048));
  }
};

/// Packets in order of arrival. Views of stored packets live until `drop_front` of the same packet;
/// pushing others does not move them.
class PacketQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// A place at the back, to be filled by `assign`; it holds a packet of earlier whose buffer is
  /// used again. Amortised O(1).
  StoredPacket& emplace_back() {
    if (size_ == ring_.size()) grow();
    return ring_[slot(size_++)];
  }

  /// The packet with so many before it.
  [[nodiscard]] StoredPacket& operator[](std::size_t index) noexcept {
    TUNIC_ASSERT(index < size_);
    return ring_[slot(index)];
  }
  [[nodiscard]] const StoredPacket& operator[](std::size_t index) const noexcept {
    TUNIC_ASSERT(index < size_);
    return ring_[slot(index)];
  }

  void drop_front(std::size_t count = 1) noexcept {
    TUNIC_ASSERT(count <= size_);
    first_ = size_ == count ? 0 : slot(count);
    size_ -= count;
  }

 private:
  [[nodiscard]] std::size_t slot(std::size_t index) const noexcept {
    return (first_ + index) & (ring_.size() - 1);
  }

  void grow() {
    std::vector<StoredPacket> larger(ring_.empty() ? 8 : 2 * ring_.size());
    for (std::size_t i = 0; i < size_; ++i) larger[i] = std::move(ring_[slot(i)]);
    ring_ = std::move(larger);
    first_ = 0;
  }

  std::vector<StoredPacket> ring_;  // of a power of two
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

/// A queue at the receiving end of a device: the packets that the last `receive` lent stay until
/// the next one.
class LendingQueue {
 public:
  /// Packets that were not lent yet.
  [[nodiscard]] std::size_t size() const noexcept { return queue_.size() - lent_; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  StoredPacket& emplace_back() { return queue_.emplace_back(); }

  /// Ends the last loan and lends as many packets as the batch takes.
  std::size_t lend(std::span<RxPacket> batch) noexcept {
    queue_.drop_front(lent_);
    lent_ = queue_.size() < batch.size() ? queue_.size() : batch.size();
    for (std::size_t i = 0; i < lent_; ++i)
      batch[i] = RxPacket{.bytes = queue_[i].bytes, .offload = queue_[i].offload};
    return lent_;
  }

 private:
  PacketQueue queue_;
  std::size_t lent_ = 0;
};

}  // namespace tunic::inline v0
