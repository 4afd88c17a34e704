// SPDX-License-Identifier: BSL-1.0
#pragma once

// Numbered slots for many objects of one type, which stay where they are: a 32-bit index finds one,
// and a 32-bit generation tells it from those that had the slot before. Slots come in chunks that
// count against the pool's budget and are kept until the slab dies; free ones are reused last-in
// first-out, so memory that is warm stays so.

#include <tunic/base/assert.hpp>
#include <tunic/base/block_pool.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace tunic::inline v0 {

/// `T` need not be movable; its constructor and destructor must not throw and must not use the
/// slab.
template <class T>
class Slab {
 public:
  /// Holds at most `limit` objects. Allocates nothing itself. The pool must outlive the slab.
  Slab(BlockPool& pool, std::uint32_t limit) noexcept : pool_{&pool}, limit_{limit} {}
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  /// Destroys the objects that are left.
  ~Slab() {
    for_each([](T& object) noexcept { std::destroy_at(&object); });
    for (std::uint32_t i = 0; i < chunk_count_; ++i)
      give_back(chunks_[i], chunk_slots(i) * sizeof(Slot), alignof(Slot));
    if (chunks_ != nullptr) give_back(chunks_, chunk_room_ * sizeof(Slot*), alignof(Slot*));
  }

  /// A new object in a free slot, or null: the limit is reached, or the budget or the source
  /// refused a chunk. Only a call that finds `size() == capacity()` allocates.
  template <class... Args>
  [[nodiscard]] T* emplace(Args&&... args) noexcept {
    static_assert(std::is_nothrow_constructible_v<T, Args...>);
    if (first_free_ == nowhere && used_slots_ == capacity_ && !grow()) return nullptr;
    Slot& slot = first_free_ != nowhere ? take_free() : take_unused();
    ++slot.generation;
    ++size_;
    return std::construct_at(slot.object(), std::forward<Args>(args)...);
  }

  /// Destroys the object at `index`, which must be there. Its generation never finds anything again
  /// (until 2^31 other objects had the slot).
  void erase(std::uint32_t index) noexcept {
    Slot& slot = slot_at(index);
    TUNIC_ASSERT(slot.is_live());
    std::destroy_at(slot.object());
    ++slot.generation;
    slot.index = std::exchange(first_free_, index);
    --size_;
  }

  /// The object at `index`, which must be there.
  [[nodiscard]] T& at(std::uint32_t index) noexcept {
    TUNIC_ASSERT(index < used_slots_ && slot_at(index).is_live());
    return *slot_at(index).object();
  }
  [[nodiscard]] const T& at(std::uint32_t index) const noexcept {
    TUNIC_ASSERT(index < used_slots_ && slot_at(index).is_live());
    return *slot_at(index).object();
  }

  /// The object that had this index and generation, or null if it is gone. Any values may be asked
  /// for; a generation of 0 finds nothing.
  [[nodiscard]] T* find(std::uint32_t index, std::uint32_t generation) noexcept {
    if (index >= used_slots_) return nullptr;
    Slot& slot = slot_at(index);
    return slot.is_live() && slot.generation == generation ? slot.object() : nullptr;
  }
  [[nodiscard]] const T* find(std::uint32_t index, std::uint32_t generation) const noexcept {
    return const_cast<Slab*>(this)->find(index, generation);
  }

  /// The index of an object of this slab.
  [[nodiscard]] std::uint32_t index_of(const T& object) const noexcept {
    return slot_of(object).index;
  }
  /// The generation of an object of this slab; never 0.
  [[nodiscard]] std::uint32_t generation_of(const T& object) const noexcept {
    return slot_of(object).generation;
  }

  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Slots for which there is memory.
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::uint32_t limit() const noexcept { return limit_; }

  /// Gets memory for `slots` objects in all, at most `limit()`. False when it was refused in part
  /// or in full; what was granted is kept.
  bool reserve(std::uint32_t slots) noexcept {
    if (slots > limit_) return false;
    while (capacity_ < slots) {
      if (!grow()) return false;
    }
    return true;
  }

  /// Calls `f(object)` for each object in order of index. `f` may erase any object; one that it
  /// adds may be seen or not. O(the most slots ever in use).
  template <class F>
  void for_each(F&& f) {
    for (std::uint32_t i = 0; i < used_slots_; ++i) {
      if (Slot& slot = slot_at(i); slot.is_live()) f(*slot.object());
    }
  }
  template <class F>
  void for_each(F&& f) const {
    const_cast<Slab*>(this)->for_each([&f](const T& object) { f(object); });
  }

 private:
  static constexpr std::uint32_t nowhere = 0xffffffff;

  struct Slot {
    alignas(T) std::byte storage[sizeof(T)];  // first, so that an object's address is its slot's
    std::uint32_t index;                      // of this slot, or of the next free one
    std::uint32_t generation;                 // odd while an object lives here

    [[nodiscard]] bool is_live() const noexcept { return (generation & 1) != 0; }
    [[nodiscard]] T* object() noexcept {
      return std::launder(static_cast<T*>(static_cast<void*>(storage)));
    }
  };

  // A chunk takes about 64 KiB, and is a power of two so that an index is split by a shift.
  static constexpr std::uint32_t slots_per_chunk = static_cast<std::uint32_t>(
      std::bit_floor(std::max<std::size_t>(64 * 1024 / sizeof(Slot), 8)));
  static constexpr int chunk_shift = std::countr_zero(slots_per_chunk);

  [[nodiscard]] Slot& slot_at(std::uint32_t index) const noexcept {
    return chunks_[index >> chunk_shift][index & (slots_per_chunk - 1)];
  }
  static const Slot& slot_of(const T& object) noexcept {
    return *static_cast<const Slot*>(static_cast<const void*>(&object));
  }

  Slot& take_free() noexcept {
    const std::uint32_t index = first_free_;
    Slot& slot = slot_at(index);
    first_free_ = std::exchange(slot.index, index);
    return slot;
  }
  // Slots are initialised when they are first used, so that a chunk's pages are not touched before.
  Slot& take_unused() noexcept {
    const std::uint32_t index = used_slots_++;
    Slot& slot = *::new (static_cast<void*>(&slot_at(index))) Slot;
    slot.index = index;
    slot.generation = 0;
    return slot;
  }

  // Only the last chunk can be short: the limit ends in it.
  [[nodiscard]] std::size_t chunk_slots(std::uint32_t chunk) const noexcept {
    return std::min(slots_per_chunk, limit_ - chunk * slots_per_chunk);
  }

  [[nodiscard]] bool grow() noexcept {
    if (capacity_ == limit_ || !make_room_for_chunk()) return false;
    const std::size_t slots = chunk_slots(chunk_count_);
    void* memory = take(slots * sizeof(Slot), alignof(Slot));
    if (memory == nullptr) return false;
    chunks_[chunk_count_++] = static_cast<Slot*>(memory);
    capacity_ += static_cast<std::uint32_t>(slots);
    return true;
  }

  [[nodiscard]] bool make_room_for_chunk() noexcept {
    if (chunk_count_ < chunk_room_) return true;
    const std::uint32_t most = limit_ / slots_per_chunk + 1;
    const std::uint32_t room = std::min(std::max(chunk_room_ * 2, 4U), most);
    void* memory = take(room * sizeof(Slot*), alignof(Slot*));
    if (memory == nullptr) return false;
    auto* chunks = static_cast<Slot**>(memory);
    if (chunks_ != nullptr) {
      std::memcpy(chunks, chunks_, chunk_count_ * sizeof(Slot*));
      give_back(chunks_, chunk_room_ * sizeof(Slot*), alignof(Slot*));
    }
    chunks_ = chunks;
    chunk_room_ = room;
    return true;
  }

  [[nodiscard]] void* take(std::size_t bytes, std::size_t align) noexcept {
    if (!pool_->try_charge(bytes)) return nullptr;
    void* memory = pool_->source().try_allocate(bytes, align);
    if (memory == nullptr) pool_->uncharge(bytes);
    return memory;
  }
  void give_back(void* memory, std::size_t bytes, std::size_t align) noexcept {
    pool_->source().deallocate(memory, bytes, align);
    pool_->uncharge(bytes);
  }

  BlockPool* pool_;
  Slot** chunks_ = nullptr;
  std::uint32_t chunk_count_ = 0;
  std::uint32_t chunk_room_ = 0;
  std::uint32_t capacity_ = 0;
  std::uint32_t limit_;
  std::uint32_t size_ = 0;
  std::uint32_t used_slots_ = 0;        // slots that ever had an object
  std::uint32_t first_free_ = nowhere;  // of those, the last to become free
};

}  // namespace tunic::inline v0
