// SPDX-License-Identifier: BSL-1.0
#pragma once

// A queue of plain values in one pool block that doubles when it is full. A value is known by a
// number that stays the same while it is in the queue, wherever the block moves. Like `ByteQueue`
// it is told its pool, and an empty one holds no block.

#include <tunic/base/assert.hpp>
#include <tunic/base/block_pool.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace tunic::inline v0 {

/// Numbers run from `first()` to `end()`, modulo 2^32. A reference lives until the next `reserve`
/// or removal.
template <class T>
class Ring {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= alignof(Block));

 public:
  using Number = std::uint32_t;

  Ring() = default;
  Ring(Ring&& other) noexcept { swap(other); }
  Ring& operator=(Ring&&) = delete;
  ~Ring() { TUNIC_ASSERT(block_ == nullptr); }

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] Number first() const noexcept { return first_; }
  [[nodiscard]] Number end() const noexcept { return first_ + size_; }
  [[nodiscard]] bool contains(Number number) const noexcept { return number - first_ < size_; }
  /// Storage held.
  [[nodiscard]] std::size_t capacity_bytes() const noexcept {
    return block_ == nullptr ? 0 : block_->capacity;
  }

  [[nodiscard]] T& operator[](Number number) noexcept {
    TUNIC_ASSERT(contains(number));
    return slots()[number & mask_];
  }
  [[nodiscard]] const T& operator[](Number number) const noexcept {
    TUNIC_ASSERT(contains(number));
    return slots()[number & mask_];
  }
  [[nodiscard]] T& front() noexcept { return (*this)[first_]; }
  [[nodiscard]] T& back() noexcept { return (*this)[end() - 1]; }

  /// Makes room for `count` more. False, and no change, when the pool refuses. O(1) unless it has
  /// to grow.
  [[nodiscard]] bool reserve(std::uint32_t count, BlockPool& pool) noexcept {
    return size_ + count <= mask_ + 1 || grow(size_ + count, pool);
  }

  /// Appends a value, for which there is room, and returns its number.
  Number push_back(const T& value) noexcept {
    TUNIC_ASSERT(size_ <= mask_);
    const Number number = end();
    std::construct_at(slots() + (number & mask_), value);
    ++size_;
    return number;
  }

  /// The same at the other end.
  Number push_front(const T& value) noexcept {
    TUNIC_ASSERT(size_ <= mask_);
    --first_;
    std::construct_at(slots() + (first_ & mask_), value);
    ++size_;
    return first_;
  }

  void pop_front() noexcept {
    TUNIC_ASSERT(size_ != 0);
    ++first_;
    --size_;
  }

  void swap(Ring& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(single_, other.single_);
    std::swap(first_, other.first_);
    std::swap(size_, other.size_);
    std::swap(mask_, other.mask_);
  }

  void clear(BlockPool& pool) noexcept {
    if (block_ != nullptr) pool.release(block_);
    block_ = nullptr;
    first_ += size_;
    size_ = 0;
    mask_ = 0;
  }

 private:
  [[nodiscard]] T* slots() noexcept { return block_ == nullptr ? &single_ : in(block_); }
  [[nodiscard]] const T* slots() const noexcept {
    return block_ == nullptr ? &single_ : in(block_);
  }
  [[nodiscard]] static T* in(Block* block) noexcept {
    return static_cast<T*>(static_cast<void*>(block->data()));
  }

  bool grow(std::uint32_t wanted, BlockPool& pool) noexcept {
    Block* fresh = pool.allocate_any(std::size_t{std::bit_ceil(wanted)} * sizeof(T));
    if (fresh == nullptr) return false;
    const auto mask = static_cast<std::uint32_t>(std::bit_floor(fresh->capacity / sizeof(T)) - 1);
    T* to = in(fresh);
    for (Number number = first_; number != end(); ++number)
      std::construct_at(to + (number & mask), (*this)[number]);
    if (block_ != nullptr) pool.release(block_);
    block_ = fresh;
    mask_ = mask;
    return true;
  }

  Block* block_ = nullptr;
  T single_{};
  Number first_ = 0;
  std::uint32_t size_ = 0;
  std::uint32_t mask_ = 0;
};

}  // namespace tunic::inline v0
