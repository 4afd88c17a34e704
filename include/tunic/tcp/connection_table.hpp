// SPDX-License-Identifier: BSL-1.0
#pragma once

// All connections of a stack: their slots, how they are found, and which of them have a control
// block. One that is idle goes to rest (tcp/resting.hpp) when `TcpConfig::warm_connections` others
// have been used since: a million connections that are quiet take little, and those that are busy
// pay next to nothing.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/object_pool.hpp>
#include <tunic/base/slab.hpp>
#include <tunic/base/timing_wheel.hpp>
#include <tunic/core/event.hpp>
#include <tunic/tcp/control_block.hpp>
#include <tunic/tcp/flow_table.hpp>
#include <tunic/tcp/resting.hpp>

#include <boost/intrusive/list.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

namespace tunic::inline v0 {

template <class Traits>
class ConnectionTable {
 public:
  using Control = ControlBlock<Traits>;
  using Slot = ConnectionSlot<Traits>;

  ConnectionTable(BlockPool& pool, TimingWheel& wheel, SipKey secret, const TcpConfig& config)
      : pool_{pool},
        wheel_{wheel},
        warm_limit_{config.warm_connections},
        slots_{pool, config.max_connections},
        table_{slots_, secret, config.max_connections},
        objects_{pool} {}
  /// No control block may be linked to others any more.
  ~ConnectionTable() {
    recent_.clear();
    slots_.for_each([this](Slot& slot) {
      if (slot.cb != nullptr) free(*slot.cb);
      forget_packed(slot);
    });
  }

  // ---- finding

  /// The connection with this key, or null.
  [[nodiscard]] Slot* find(const FlowKey& key) noexcept {
    const std::uint32_t* slot = table_.find(key);
    return slot == nullptr ? nullptr : &slots_.at(*slot);
  }
  /// Keeps a connection from being found.
  void hide(const Slot& slot) noexcept { table_.erase(slots_.index_of(slot)); }

  [[nodiscard]] ConnId id_of(const Slot& slot) const noexcept {
    return {slots_.index_of(slot), slots_.generation_of(slot)};
  }
  /// How many there are, how many of them can be found, and how many have a control block.
  [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }
  [[nodiscard]] std::size_t found() const noexcept { return table_.size(); }
  [[nodiscard]] std::size_t awake() const noexcept { return awake_; }

  template <class F>
  void for_each(F&& f) {
    slots_.for_each(std::forward<F>(f));
  }

  // ---- coming and going

  /// A new connection that is found by its key, or null: there are too many, or no memory.
  [[nodiscard]] Control* create(const FlowKey& key) noexcept {
    Slot* const slot = slots_.emplace();
    if (slot == nullptr) return nullptr;
    slot->key = key;
    Control* const cb = make(*slot);
    if (cb == nullptr) {
      slots_.erase(slots_.index_of(*slot));
      return nullptr;
    }
    table_.insert(slots_.index_of(*slot));
    touch(*cb);
    return cb;
  }
  /// Gives a slot back, with its control block. It can't be found any more, and its queues are
  /// empty.
  void erase(Slot& slot) noexcept {
    if (slot.cb != nullptr) {
      unlink(*slot.cb);
      free(*slot.cb);
    }
    forget_packed(slot);
    slots_.erase(slots_.index_of(slot));
  }
  /// Ends a connection that is at rest. Its slot stays for its handle.
  void drop_at_rest(Slot& slot, Errc error) noexcept {
    hide(slot);
    forget_packed(slot);
    slot.error = error;
  }

  // ---- waking and resting

  /// The control block of a connection that is about to be used. Null when it is at rest and there
  /// is no memory, or when it was dropped for that.
  [[nodiscard]] Control* wake(Slot& slot) noexcept {
    if (slot.cb == nullptr) [[unlikely]] {
      if (!unpack(slot)) return nullptr;
    }
    touch(*slot.cb);
    return slot.cb;
  }

  /// A connection is used: whether it can rest may change.
  void touch(Control& cb) noexcept {
    if (cb.recent_hook.is_linked()) {
      if (&recent_.back() == &cb) return;
      recent_.erase(recent_.iterator_to(cb));
    } else {
      ++recent_count_;
    }
    recent_.push_back(cb);
  }

  /// `f(Control&)`, which changes nothing, of a connection that is awake or at rest. Wakes none.
  template <class F>
  auto look(const Slot& slot, F&& f) const noexcept {
    if (slot.cb != nullptr) return f(*slot.cb);
    Control copy;
    copy.key = slot.key;
    if (slot.packed_bytes != 0) packing_.unpack(packed_words(slot), copy);
    return f(copy);
  }

  /// At the end of a turn: those that were used longest ago rest. One that can't, or finds no
  /// memory for it, is asked again when it has been used again.
  void settle() noexcept {
    while (recent_count_ > warm_limit_) {
      Control& cb = recent_.front();
      unlink(cb);
      if (can_rest(cb)) rest(cb);
    }
  }

 private:
  using Timer = ConnectionTimer<Traits>;

  [[nodiscard]] Control* make(Slot& slot) noexcept {
    void* const memory = objects_.allocate(sizeof(Control));
    if (memory == nullptr) return nullptr;
    Control* const cb = std::construct_at(static_cast<Control*>(memory));
    cb->slot = &slot;
    cb->key = slot.key;
    slot.cb = cb;
    ++awake_;
    return cb;
  }
  void free(Control& cb) noexcept {
    cb.slot->cb = nullptr;
    std::destroy_at(&cb);
    objects_.release(&cb, sizeof(Control));
    --awake_;
  }

  void rest(Control& cb) noexcept {
    Slot& slot = *cb.slot;
    typename Packing<Traits>::Packed packed;
    const std::size_t bytes = packing_.pack(cb, packed);
    const Instant deadline = cb.deadlines.keepalive;
    const std::size_t before = deadline == never ? 0 : sizeof(Timer);
    void* const memory = objects_.allocate(before + bytes);
    if (memory == nullptr) return;
    slot.packed = static_cast<std::byte*>(memory);
    slot.packed_bytes = static_cast<std::uint16_t>(bytes);
    slot.timed = before != 0;
    std::memcpy(slot.packed + before, packed.data(), bytes);
    cb.snd.board.clear(pool_);
    free(cb);
    if (!slot.timed) return;
    Timer& timer = *std::construct_at(timer_of(slot));
    timer.slot = &slot;
    wheel_.schedule(timer, deadline);
  }

  [[nodiscard]] bool unpack(Slot& slot) noexcept {
    if (slot.packed_bytes == 0) return false;
    Control* const cb = make(slot);
    if (cb == nullptr) return false;
    packing_.unpack(packed_words(slot), *cb);
    forget_packed(slot);
    wheel_.schedule(*cb, cb->deadlines.keepalive);
    return true;
  }

  [[nodiscard]] static Timer* timer_of(const Slot& slot) noexcept {
    return static_cast<Timer*>(static_cast<void*>(slot.packed));
  }
  [[nodiscard]] static Bytes packed_words(const Slot& slot) noexcept {
    return {slot.packed + (slot.timed ? sizeof(Timer) : 0), slot.packed_bytes};
  }
  void forget_packed(Slot& slot) noexcept {
    if (slot.packed_bytes == 0) return;
    const std::size_t before = slot.timed ? sizeof(Timer) : 0;
    if (slot.timed) std::destroy_at(timer_of(slot));
    objects_.release(std::exchange(slot.packed, nullptr), before + slot.packed_bytes);
    slot.packed_bytes = 0;
  }

  void unlink(Control& cb) noexcept {
    if (!cb.recent_hook.is_linked()) return;
    recent_.erase(recent_.iterator_to(cb));
    --recent_count_;
  }

  using RecentHook = boost::intrusive::member_hook<Control, ListHook, &Control::recent_hook>;

  static constexpr std::size_t largest_object =
      std::max(sizeof(Control), sizeof(Timer) + sizeof(typename Packing<Traits>::Packed));

  BlockPool& pool_;
  TimingWheel& wheel_;
  const std::size_t warm_limit_;
  Packing<Traits> packing_;
  Slab<Slot> slots_;
  FlowTable<Slot> table_;
  ObjectPool<largest_object> objects_;
  // Those that were used lately, the one that was used longest ago first.
  boost::intrusive::list<Control, RecentHook, boost::intrusive::constant_time_size<false>> recent_;
  std::size_t recent_count_ = 0;
  std::size_t awake_ = 0;
};

}  // namespace tunic::inline v0
