// SPDX-License-Identifier: BSL-1.0
#pragma once

// The stack's memory: one budget that everything counts against, and blocks of four sizes for
// payload. Blocks that come back are kept for reuse, so a steady flow allocates nothing. Handed-out
// blocks, charges of others and kept blocks together never exceed the budget. Where the memory
// comes from is the program's choice.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define TUNIC_POISONS_KEPT_BLOCKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TUNIC_POISONS_KEPT_BLOCKS 1
#endif
#endif
#ifdef TUNIC_POISONS_KEPT_BLOCKS
#include <sanitizer/asan_interface.h>
#endif

namespace tunic::inline v0 {

/// Where memory comes from. Calls are few: tables grow in chunks and blocks are reused. It must
/// outlive the pool that uses it.
class MemorySource {
 public:
  MemorySource() = default;
  MemorySource(const MemorySource&) = delete;
  MemorySource& operator=(const MemorySource&) = delete;
  virtual ~MemorySource() = default;

  /// `size` bytes aligned to `align` (a power of two), or null: a refusal is a normal answer.
  [[nodiscard]] virtual void* try_allocate(std::size_t size, std::size_t align) noexcept = 0;
  /// Takes back what `try_allocate(size, align)` gave.
  virtual void deallocate(void* memory, std::size_t size, std::size_t align) noexcept = 0;
};

/// The default source: `operator new` in its form that does not throw.
class NewMemorySource final : public MemorySource {
 public:
  [[nodiscard]] void* try_allocate(std::size_t size, std::size_t align) noexcept override {
    if (align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return ::operator new(size, std::nothrow);
    return ::operator new (size, std::align_val_t{align}, std::nothrow);
  }
  void deallocate(void* memory, std::size_t, std::size_t align) noexcept override {
    if (align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return ::operator delete(memory);
    ::operator delete (memory, std::align_val_t{align});
  }
};

/// A header with its storage, mostly right behind it. The bytes in use are [begin, end) of the
/// storage. Whoever holds a block owns it and may use `next` as it likes; the pool clears it when
/// it hands a block out.
struct alignas(16) Block {
  Block* next = nullptr;
  std::byte* storage = nullptr;  ///< Written by the pool alone, as `capacity` and `size_class`.
  std::uint32_t capacity = 0;    ///< Bytes of storage.
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  std::uint32_t size_class = 0;

  [[nodiscard]] std::byte* data() const noexcept { return storage; }
  /// Where in the storage `bytes` begin; `capacity` if they lie elsewhere.
  [[nodiscard]] std::size_t offset_of(Bytes bytes) const noexcept {
    const auto offset = static_cast<std::size_t>(reinterpret_cast<std::uintptr_t>(bytes.data()) -
                                                 reinterpret_cast<std::uintptr_t>(storage));
    return std::min(offset, std::size_t{capacity});
  }
  /// The bytes in use.
  [[nodiscard]] Bytes bytes() const noexcept { return {data() + begin, size()}; }
  /// The storage behind them; none in memory that is somebody else's.
  [[nodiscard]] MutableBytes room() const noexcept {
    return {data() + end, std::size_t{capacity} - end};
  }
  [[nodiscard]] std::size_t size() const noexcept { return std::size_t{end} - begin; }
  /// Whether so many bytes are worth keeping it for: what is held counts by its capacity, and fewer
  /// are better copied.
  [[nodiscard]] bool is_worth(std::size_t bytes) const noexcept { return 2 * bytes >= capacity; }
};

/// Gives blocks and counts bytes against a budget. It must outlive all that holds its blocks or
/// charges it.
class BlockPool {
 public:
  /// What the classes take from the budget: a header and its storage. A full segment of a 1500-byte
  /// MTU fits the second, the largest IP packet with 64 bytes of device header the last.
  static constexpr std::array<std::size_t, 4> class_bytes{512, 2048 + 64, 16 * 1024,
                                                          64 * 1024 + 128};

  /// Storage of a block of class `index` (0 to 3).
  [[nodiscard]] static constexpr std::size_t class_capacity(std::size_t index) noexcept {
    return class_bytes[index] - sizeof(Block);
  }
  /// The most that one block holds.
  static constexpr std::size_t largest_capacity = class_bytes.back() - sizeof(Block);
  static_assert(largest_capacity >= 65535 + 64);

  /// Counts against `budget_bytes`; takes memory from `source`, or from `operator new` if it is
  /// null. Allocates nothing itself.
  explicit BlockPool(std::size_t budget_bytes, MemorySource* source = nullptr) noexcept
      : source_{source != nullptr ? source : &default_source_}, budget_bytes_{budget_bytes} {}
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool() {
    while (next_released()) {
    }
    TUNIC_ASSERT(used_bytes_ == 0);  // somebody outlived its pool
    trim(0);
  }

  /// An empty block of the smallest class that holds `wanted_bytes`, or of the largest if none
  /// does; a larger one if that is kept and the source refuses. Null when the budget or the source
  /// refuses; a smaller wish may still be granted.
  [[nodiscard]] Block* allocate(std::size_t wanted_bytes) noexcept {
    std::size_t index = class_for(wanted_bytes);
    Block* block = allocate_class(index);
    while (block == nullptr && ++index < class_bytes.size()) {
      if (kept_[index] != nullptr) block = allocate_class(index);
    }
    return block;
  }
  /// The same, but a block of a smaller class rather than none. Null when not even the smallest is
  /// granted.
  [[nodiscard]] Block* allocate_or_smaller(std::size_t wanted_bytes) noexcept {
    for (std::size_t index = class_for(wanted_bytes) + 1; index-- > 0;) {
      if (Block* block = allocate_class(index); block != nullptr) return block;
    }
    return allocate(wanted_bytes);
  }

  /// An empty block with room for `bytes`, however many: beyond the largest class it comes straight
  /// from the source and goes back there, so this is for what is kept for long or rarely grows.
  [[nodiscard]] Block* allocate_any(std::size_t bytes) noexcept {
    if (bytes <= largest_capacity) return allocate(bytes);
    const std::size_t total = bytes + sizeof(Block);
    if (bytes > max_large_bytes || total > budget_bytes_ - used_bytes_) return nullptr;
    if (total > budget_bytes_ - used_bytes_ - cached_bytes_)
      trim(budget_bytes_ - used_bytes_ - total);
    void* memory = source_->try_allocate(total, alignof(Block));
    if (memory == nullptr) return nullptr;
    used_bytes_ += total;
    return make(memory, bytes, large_class);
  }

  /// A full block whose storage is `bytes`, at most 2^30, which are not copied: they live until
  /// `next_released` gives `token` back. It takes a block of the smallest class. Null when the
  /// budget or the source refuses.
  [[nodiscard]] Block* wrap(Bytes bytes, std::uint64_t token) noexcept {
    TUNIC_ASSERT(bytes.size() <= max_large_bytes);
    Block* const block = allocate_class(0);
    if (block == nullptr) return nullptr;
    std::memcpy(block->storage, &token, sizeof token);
    block->storage = const_cast<std::byte*>(bytes.data());  // nobody writes: it has no room
    block->capacity = block->end = static_cast<std::uint32_t>(bytes.size());
    block->size_class = wrapped_class;
    return block;
  }
  /// The token of a wrapped block that has been released, in the order of release.
  [[nodiscard]] std::optional<std::uint64_t> next_released() noexcept {
    if (released_ == nullptr) return std::nullopt;
    Block* const block = std::exchange(released_, released_->next);
    const Block* const made = make(block, class_capacity(0), 0);
    std::uint64_t token = 0;
    std::memcpy(&token, made->storage, sizeof token);
    release(block);
    return token;
  }

  /// Takes back one block. At most an eighth of the budget stays here for reuse, the rest goes back
  /// to the source.
  void release(Block* block) noexcept {
    TUNIC_ASSERT(block->begin <= block->end);  // otherwise it has been released before
    if (block->size_class == large_class) return release_large(block);
    if (block->size_class == wrapped_class) return tell(block);
    used_bytes_ -= class_bytes[block->size_class];
    keep(block);
    if (cached_bytes_ > budget_bytes_ / 8) trim(budget_bytes_ / 8);
  }

  /// Takes back a list of blocks linked by `next`; null is an empty one.
  void release_chain(Block* first) noexcept {
    while (first != nullptr) {
      Block* next = first->next;
      release(first);
      first = next;
    }
  }

  /// Counts `bytes` of memory held elsewhere against the budget. False, and no change, if it does
  /// not allow it.
  [[nodiscard]] bool try_charge(std::size_t bytes) noexcept {
    if (bytes > budget_bytes_ - used_bytes_) return false;
    used_bytes_ += bytes;
    charged_bytes_ += bytes;
    make_room();
    return true;
  }
  /// Ends a charge, in part or in full.
  void uncharge(std::size_t bytes) noexcept {
    TUNIC_ASSERT(bytes <= charged_bytes_);
    used_bytes_ -= bytes;
    charged_bytes_ -= bytes;
  }

  /// Gives kept blocks back to the source until at most `keep_bytes` of them are left.
  void trim(std::size_t keep_bytes) noexcept {
    while (cached_bytes_ > keep_bytes) free_one_of_most_kept();
  }

  /// Handed-out blocks, whole, and charges.
  [[nodiscard]] std::size_t used_bytes() const noexcept { return used_bytes_; }
  /// Handed-out blocks alone.
  [[nodiscard]] std::size_t block_bytes() const noexcept { return used_bytes_ - charged_bytes_; }
  [[nodiscard]] std::size_t budget_bytes() const noexcept { return budget_bytes_; }
  /// Blocks kept for reuse; not part of `used_bytes`.
  [[nodiscard]] std::size_t cached_bytes() const noexcept { return cached_bytes_; }
  /// Whether more than 7/8 of the budget is used: time to grow nothing that can do without.
  [[nodiscard]] bool under_pressure() const noexcept {
    return used_bytes_ > budget_bytes_ - budget_bytes_ / 8;
  }
  /// Whether more than 15/16 of it is used. What is left is for those that hold next to nothing, at
  /// most `least_share` bytes each: so a program that can't read before it has written, and one
  /// that can't write before it has read, both get on.
  [[nodiscard]] bool nearly_used_up() const noexcept {
    return used_bytes_ > budget_bytes_ - budget_bytes_ / 16;
  }
  static constexpr std::size_t least_share = class_bytes[1] - sizeof(Block);
  [[nodiscard]] MemorySource& source() const noexcept { return *source_; }

 private:
  static constexpr std::size_t class_for(std::size_t wanted_bytes) noexcept {
    if (wanted_bytes <= class_capacity(0)) return 0;
    if (wanted_bytes <= class_capacity(1)) return 1;
    return wanted_bytes <= class_capacity(2) ? 2 : 3;
  }

  Block* allocate_class(std::size_t index) noexcept {
    if (class_bytes[index] > budget_bytes_ - used_bytes_) return nullptr;
    Block* block = kept_[index] != nullptr ? take_kept(index) : allocate_new(index);
    if (block != nullptr) used_bytes_ += class_bytes[index];
    return block;
  }

  Block* take_kept(std::size_t index) noexcept {
    Block* block = kept_[index];
    kept_[index] = block->next;
    kept_bytes_[index] -= class_bytes[index];
    cached_bytes_ -= class_bytes[index];
    unpoison(block);
    return make(block, block->capacity, block->size_class);
  }

  static Block* make(void* memory, std::size_t capacity, std::size_t size_class) noexcept {
    return ::new (memory) Block{.storage = static_cast<std::byte*>(memory) + sizeof(Block),
                                .capacity = static_cast<std::uint32_t>(capacity),
                                .size_class = static_cast<std::uint32_t>(size_class)};
  }

  void tell(Block* block) noexcept {
    block->next = nullptr;
    (released_ == nullptr ? released_ : last_released_->next) = block;
    last_released_ = block;
  }

  void release_large(Block* block) noexcept {
    const std::size_t total = block->capacity + sizeof(Block);
    used_bytes_ -= total;
    std::destroy_at(block);
    source_->deallocate(block, total, alignof(Block));
  }

  void keep(Block* block) noexcept {
    const std::size_t index = block->size_class;
    block->begin = 1;  // begin > end marks a block that is not handed out
    block->end = 0;
    block->next = kept_[index];
    kept_[index] = block;
    kept_bytes_[index] += class_bytes[index];
    cached_bytes_ += class_bytes[index];
    poison(block);
  }

  Block* allocate_new(std::size_t index) noexcept {
    if (class_bytes[index] > budget_bytes_ - used_bytes_ - cached_bytes_) {
      trim(budget_bytes_ - used_bytes_ - class_bytes[index]);
    }
    void* memory = source_->try_allocate(class_bytes[index], alignof(Block));
    if (memory == nullptr) return nullptr;
    return make(memory, class_capacity(index), index);
  }

  // The budget bounds what is used and what is kept together.
  void make_room() noexcept {
    if (cached_bytes_ > budget_bytes_ - used_bytes_) trim(budget_bytes_ - used_bytes_);
  }

  // The class with most kept bytes gives, so that one that fell out of use can't crowd out the
  // others.
  void free_one_of_most_kept() noexcept {
    std::size_t index = 0;
    for (std::size_t i = 1; i < class_bytes.size(); ++i) {
      if (kept_bytes_[i] > kept_bytes_[index]) index = i;
    }
    Block* block = take_kept(index);
    std::destroy_at(block);
    source_->deallocate(block, class_bytes[index], alignof(Block));
  }

  // Under AddressSanitizer a view that outlived its bytes is found even when the block is only
  // kept.
  static void poison([[maybe_unused]] Block* block) noexcept {
#ifdef TUNIC_POISONS_KEPT_BLOCKS
    __asan_poison_memory_region(block->data(), block->capacity);
#endif
  }
  static void unpoison([[maybe_unused]] Block* block) noexcept {
#ifdef TUNIC_POISONS_KEPT_BLOCKS
    __asan_unpoison_memory_region(block->data(), block->capacity);
#endif
  }

  static constexpr std::uint32_t large_class = class_bytes.size();
  static constexpr std::uint32_t wrapped_class = large_class + 1;
  static constexpr std::size_t max_large_bytes = std::size_t{1} << 30;

  NewMemorySource default_source_;
  MemorySource* source_;
  std::size_t budget_bytes_;
  std::size_t used_bytes_ = 0;
  std::size_t charged_bytes_ = 0;
  std::size_t cached_bytes_ = 0;
  Block* released_ = nullptr;       // wrapped ones whose tokens are to be told
  Block* last_released_ = nullptr;  // valid unless there are none
  std::array<Block*, class_bytes.size()> kept_{};
  std::array<std::size_t, class_bytes.size()> kept_bytes_{};
};

}  // namespace tunic::inline v0

#undef TUNIC_POISONS_KEPT_BLOCKS
