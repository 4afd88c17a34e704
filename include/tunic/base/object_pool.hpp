// SPDX-License-Identifier: BSL-1.0
#pragma once

// Memory for objects of many small sizes, in chunks that count against the pool's budget. A chunk
// has objects of one size and goes back when the last of them is gone; one empty chunk is kept, so
// that one object that comes and goes costs nothing.

#include <tunic/base/assert.hpp>
#include <tunic/base/block_pool.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace tunic::inline v0 {

/// For objects of at most `Largest` bytes. Each takes the next multiple of 32.
template <std::size_t Largest>
class ObjectPool {
 public:
  /// Allocates nothing itself. The block pool must outlive this one.
  explicit ObjectPool(BlockPool& pool) noexcept : pool_{pool} {}
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;
  /// All memory must have been given back.
  ~ObjectPool() {
    for ([[maybe_unused]] const Chunk* chunk : open_) TUNIC_ASSERT(chunk == nullptr);
    if (spare_ != nullptr) give_back(spare_);
  }

  /// Memory for `bytes` (1 to `Largest`) with the alignment of any ordinary object, or null when
  /// the budget or the source refuses.
  [[nodiscard]] void* allocate(std::size_t bytes) noexcept {
    const std::size_t index = class_of(bytes);
    if (open_[index] == nullptr && !grow(index)) return nullptr;
    Chunk* const chunk = open_[index];
    const std::size_t size = (index + 1) * step;
    void* memory = nullptr;
    if (chunk->free != nullptr) {
      memory = std::exchange(chunk->free, chunk->free->next);
    } else {  // not used before: its pages need not have been touched
      memory = reinterpret_cast<std::byte*>(chunk) + header_bytes + size * chunk->fresh++;
    }
    if (++chunk->used == capacity(size)) unlink(index, chunk);
    return memory;
  }

  /// Takes back what `allocate(bytes)` gave.
  void release(void* memory, std::size_t bytes) noexcept {
    const std::size_t index = class_of(bytes);
    const std::size_t offset = reinterpret_cast<std::uintptr_t>(memory) % chunk_alignment;
    auto* const chunk = reinterpret_cast<Chunk*>(static_cast<std::byte*>(memory) - offset);
    chunk->free = ::new (memory) Free{chunk->free};
    if (chunk->used-- == capacity((index + 1) * step)) link(index, chunk);
    if (chunk->used != 0) return;
    unlink(index, chunk);
    if (spare_ == nullptr && !pool_.under_pressure()) {
      spare_ = chunk;
    } else {
      give_back(chunk);
    }
  }

 private:
  struct Free {
    Free* next;
  };
  // At an aligned address, so that an object finds its chunk.
  struct Chunk {
    Chunk* prev = nullptr;  // of those of its size that have room
    Chunk* next = nullptr;
    Free* free = nullptr;     // given back
    std::uint32_t used = 0;   // objects
    std::uint32_t fresh = 0;  // objects that were ever handed out
  };

  static constexpr std::size_t step = 32;
  static constexpr std::size_t header_bytes = sizeof(Chunk);
  static constexpr std::size_t chunk_alignment = 8 * 1024;
  // What an allocator adds to it does not reach beyond the alignment.
  static constexpr std::size_t chunk_bytes = chunk_alignment - 64;
  static_assert(header_bytes % step == 0 && Largest <= chunk_bytes / 4);

  static constexpr std::size_t class_of(std::size_t bytes) noexcept { return (bytes - 1) / step; }
  static constexpr std::uint32_t capacity(std::size_t size) noexcept {
    return static_cast<std::uint32_t>((chunk_bytes - header_bytes) / size);
  }

  [[nodiscard]] bool grow(std::size_t index) noexcept {
    void* memory = std::exchange(spare_, nullptr);
    if (memory == nullptr) {
      if (!pool_.try_charge(chunk_bytes)) return false;
      memory = pool_.source().try_allocate(chunk_bytes, chunk_alignment);
      if (memory == nullptr) return pool_.uncharge(chunk_bytes), false;
    }
    link(index, ::new (memory) Chunk);
    return true;
  }
  void give_back(Chunk* chunk) noexcept {
    std::destroy_at(chunk);
    pool_.source().deallocate(chunk, chunk_bytes, chunk_alignment);
    pool_.uncharge(chunk_bytes);
  }

  void link(std::size_t index, Chunk* chunk) noexcept {
    chunk->prev = nullptr;
    chunk->next = std::exchange(open_[index], chunk);
    if (chunk->next != nullptr) chunk->next->prev = chunk;
  }
  void unlink(std::size_t index, Chunk* chunk) noexcept {
    (chunk->prev == nullptr ? open_[index] : chunk->prev->next) = chunk->next;
    if (chunk->next != nullptr) chunk->next->prev = chunk->prev;
    chunk->prev = chunk->next = nullptr;
  }

  BlockPool& pool_;
  std::array<Chunk*, class_of(Largest) + 1> open_{};  // with room, by size
  Chunk* spare_ = nullptr;                            // an empty one
};

}  // namespace tunic::inline v0
