// SPDX-License-Identifier: BSL-1.0
#pragma once

// A queue of bytes in pool blocks: what waits to be sent or to be read. Bytes are copied in once
// and then only viewed. A queue does not know its pool, so that the many that are empty are small:
// a call that allocates or frees is told the pool, always the same one. An empty queue holds no
// block, and a queue must be empty when it dies.

#include <tunic/base/assert.hpp>
#include <tunic/base/block_pool.hpp>
#include <tunic/base/bytes.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

namespace tunic::inline v0 {

/// Views and spans of queued bytes live until those bytes are consumed or cleared;
/// appending, splicing and moving the queue keep them. Const calls move a cursor inside, so they
/// are not for two threads either.
class ByteQueue {
 public:
  ByteQueue() = default;
  ByteQueue(ByteQueue&& other) noexcept { splice(std::move(other)); }
  /// This queue must be empty.
  ByteQueue& operator=(ByteQueue&& other) noexcept {
    TUNIC_ASSERT(empty());
    splice(std::move(other));
    return *this;
  }
  ~ByteQueue() { TUNIC_ASSERT(empty()); }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Storage of the blocks held, the unused part included.
  [[nodiscard]] std::size_t capacity_bytes() const noexcept { return capacity_bytes_; }

  /// Copies `bytes` to the end and returns how many: fewer when the pool refuses.
  std::size_t append(Bytes bytes, BlockPool& pool) noexcept {
    if (tail_ == nullptr || bytes.size() > tail_->room().size()) return append_slowly(bytes, pool);
    append_to_tail(bytes);
    return bytes.size();
  }

  /// Takes over a block of the queue's pool with at least one byte in use. Later bytes may go to
  /// its room.
  void append_block(Block* block) noexcept {
    TUNIC_ASSERT(block->size() != 0);
    link(block);
    size_ += block->size();
  }

  /// Moves all of `other`, which has the same pool, to the end.
  void splice(ByteQueue&& other) noexcept {
    if (other.head_ == nullptr || &other == this) return;
    (tail_ == nullptr ? head_ : tail_->next) = other.head_;
    tail_ = other.tail_;
    size_ += other.size_;
    capacity_bytes_ += other.capacity_bytes_;
    other.forget();
  }

  /// Drops the first `count` bytes, at most `size()`. O(blocks that become empty).
  void consume(std::size_t count, BlockPool& pool) noexcept {
    TUNIC_ASSERT(count <= size_);
    size_ -= count;
    if (cursor_ != nullptr) cursor_offset_ -= count;
    while (count != 0 && count >= head_->size()) {
      count -= head_->size();
      drop_head(pool);
    }
    if (count == 0) return;
    head_->begin += static_cast<std::uint32_t>(count);
    if (cursor_ == head_) cursor_offset_ = 0;
  }

  /// Takes the first block out. The queue is not empty.
  [[nodiscard]] Block* pop_block() noexcept {
    Block* const block = std::exchange(head_, head_->next);
    size_ -= block->size();
    capacity_bytes_ -= block->capacity;
    if (head_ == nullptr) tail_ = nullptr;
    if (cursor_ == nullptr) return block;
    cursor_offset_ -= block->size();
    if (cursor_ == head_) move_cursor({nullptr, 0});
    return block;
  }

  /// Drops everything.
  void clear(BlockPool& pool) noexcept {
    pool.release_chain(head_);
    forget();
  }

  /// The first bytes, as many as lie together; empty only if the queue is.
  [[nodiscard]] Bytes front() const noexcept { return head_ == nullptr ? Bytes{} : head_->bytes(); }

  /// The first block. The queue is not empty.
  [[nodiscard]] const Block& front_block() const noexcept { return *head_; }

  /// Views [offset, offset + length), cut at the end of the queue, as pieces in order; returns how
  /// many pieces. They are fewer bytes than asked for when `out` is too short. `offset` is at most
  /// `size()`. O(1) for each piece if offsets rise from call to call.
  std::size_t views(std::size_t offset, std::size_t length, std::span<Bytes> out) const noexcept {
    TUNIC_ASSERT(offset <= size_);
    length = std::min(length, size_ - offset);
    if (length == 0 || out.empty()) return 0;
    Position at = seek(offset);
    std::size_t count = 0;
    for (;;) {
      const Bytes all = at.block->bytes().subspan(offset - at.offset);
      const Bytes piece = all.first(std::min(length, all.size()));
      out[count++] = piece;
      length -= piece.size();
      if (length == 0 || count == out.size()) break;
      offset += piece.size();
      at = {at.block->next, offset};
    }
    if (at.block != head_) move_cursor(at);
    return count;
  }

  /// Copies the bytes from `offset` (at most `size()`) on to `out` and returns how many: fewer than
  /// its size at the end of the queue.
  std::size_t copy_out(std::size_t offset, MutableBytes out) const noexcept {
    std::size_t copied = 0;
    Bytes piece;
    while (views(offset + copied, out.size() - copied, {&piece, 1}) != 0) {
      copy(out.subspan(copied), piece);
      copied += piece.size();
    }
    return copied;
  }

 private:
  // A block and the offset of its first byte in the queue.
  struct Position {
    Block* block;
    std::size_t offset;
  };

  void append_to_tail(Bytes bytes) noexcept {
    copy(tail_->room(), bytes);
    tail_->end += static_cast<std::uint32_t>(bytes.size());
    size_ += bytes.size();
  }

  std::size_t append_slowly(Bytes bytes, BlockPool& pool) noexcept {
    const std::size_t wanted = bytes.size();
    while (!bytes.empty()) {
      if (tail_ == nullptr || tail_->room().empty()) {
        Block* block = allocate(bytes.size(), pool);
        if (block == nullptr) break;
        link(block);
      }
      const Bytes piece = bytes.first(std::min(bytes.size(), tail_->room().size()));
      append_to_tail(piece);
      bytes = bytes.subspan(piece.size());
    }
    return wanted - bytes.size();
  }

  // Blocks grow with the queue: a short message takes little and a long stream few blocks.
  Block* allocate(std::size_t missing, BlockPool& pool) const noexcept {
    const std::size_t grown = capacity_bytes_ + missing;
    std::size_t wanted = missing;
    if (grown > BlockPool::largest_capacity) {
      wanted = BlockPool::largest_capacity;
    } else if (grown > 2 * BlockPool::class_capacity(1)) {
      wanted = BlockPool::class_capacity(2);
    }
    return pool.allocate_or_smaller(wanted);
  }

  void link(Block* block) noexcept {
    block->next = nullptr;
    (tail_ == nullptr ? head_ : tail_->next) = block;
    tail_ = block;
    capacity_bytes_ += block->capacity;
  }

  void drop_head(BlockPool& pool) noexcept {
    Block* block = std::exchange(head_, head_->next);
    if (head_ == nullptr) tail_ = nullptr;
    if (cursor_ == block) move_cursor({nullptr, 0});
    capacity_bytes_ -= block->capacity;
    pool.release(block);
  }

  void forget() noexcept {
    head_ = nullptr;
    tail_ = nullptr;
    size_ = 0;
    capacity_bytes_ = 0;
    move_cursor({nullptr, 0});
  }

  // The block that holds the byte at `offset`, which is less than `size()`. Starts at the tail, the
  // cursor or the head, whichever is the last not behind it.
  [[nodiscard]] Position seek(std::size_t offset) const noexcept {
    if (const std::size_t tail_offset = size_ - tail_->size(); offset >= tail_offset)
      return {tail_, tail_offset};
    Position at{head_, 0};
    if (cursor_ != nullptr && offset >= cursor_offset_) at = {cursor_, cursor_offset_};
    while (offset - at.offset >= at.block->size())
      at = {at.block->next, at.offset + at.block->size()};
    return at;
  }

  void move_cursor(Position to) const noexcept {
    cursor_ = to.block;
    cursor_offset_ = to.offset;
  }

  Block* head_ = nullptr;
  Block* tail_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_bytes_ = 0;
  // The block that was viewed last. Never set to the head, which needs none: so sending the oldest
  // bytes once more does not make the next new ones expensive.
  mutable Block* cursor_ = nullptr;
  mutable std::size_t cursor_offset_ = 0;
};

static_assert(sizeof(ByteQueue) <= 48);

}  // namespace tunic::inline v0
