// SPDX-License-Identifier: BSL-1.0
#pragma once

// Many timers, each linked into one slot of a hierarchical timing wheel (Varghese and Lauck,
// "Hashed and Hierarchical Timing Wheels", 1987, scheme 7). Setting and cancelling are O(1); a
// timer moves to a finer level at most once for each level as its time comes near. Deadlines keep
// their full resolution: a slot only says where to look. Time that is jumped over costs nothing,
// however long.

#include <tunic/base/time.hpp>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/list_hook.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace tunic::inline v0 {

/// A timer: a member or a base of what it wakes. It stays where it is while it is linked;
/// destroying it cancels it, and a wheel that dies unlinks those it has.
class TimerNode {
 public:
  TimerNode() = default;
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;

  /// Whether it will fire.
  [[nodiscard]] bool linked() const noexcept { return hook_.is_linked(); }

  /// When it fires or has fired; `never` if it was not set or was cancelled. Only the wheel writes
  /// it.
  Instant deadline = never;

 private:
  friend class TimingWheel;
  using Hook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
  Hook hook_;
};

/// Owns no timer and allocates nothing. Time only moves forward: an earlier `now` counts as the
/// latest one.
class TimingWheel {
 public:
  explicit TimingWheel(Instant start) noexcept : start_{start}, now_{start} {}
  TimingWheel(const TimingWheel&) = delete;
  TimingWheel& operator=(const TimingWheel&) = delete;

  /// Sets `node` to fire at `deadline`, whatever it was set to before. One in the past fires at the
  /// next `expire`, also when it is set during one; `never` cancels.
  void schedule(TimerNode& node, Instant deadline) noexcept {
    node.hook_.unlink();
    node.deadline = deadline;
    if (deadline == never) return;
    if (deadline > now_) return place(node);
    if (!has_overdue()) earliest_late_ = never;
    earliest_late_ = std::min(earliest_late_, deadline);
    late_.push_back(node);
  }

  /// Forgets `node`, which need not be linked.
  void cancel(TimerNode& node) noexcept { schedule(node, never); }

  /// Unlinks each node whose deadline is at or before `now` and calls `f(TimerNode&)` for it, for
  /// at most `max` of them, and returns how many. `f` may schedule, cancel and destroy any node,
  /// and must not call `expire`. Work is bounded: if `next_deadline() <= now` afterwards there is
  /// more to do, and another call does it.
  template <class F>
  std::size_t expire(Instant now, std::size_t max, F&& f) {
    now_ = std::max(now_, now);
    if (!has_overdue()) earliest_late_ = never;
    due_.splice(due_.end(), late_);
    std::size_t moves_left = max_moves;
    std::size_t count = 0;
    for (; count < max && (!due_.empty() || collect(moves_left)); ++count) {
      TimerNode& node = due_.front();
      due_.pop_front();
      f(node);
    }
    return count;
  }

  /// When to call `expire` next: `never` if no node is linked, never after the earliest deadline,
  /// and that deadline itself if it is in the lowest level (less than about 8 ms away). After an
  /// `expire` that did all there was to do it is later than that `now`. Ask again after `schedule`,
  /// `cancel` and `expire`.
  [[nodiscard]] Instant next_deadline() const noexcept {
    if (has_overdue()) return std::min(earliest_late_, instant_of(tick_));
    const Place place = first_place();
    if (place.level == level_count) return never;
    const List& nodes = slots_[place.level][place.slot];
    Instant earliest = never;
    unsigned seen = 0;
    for (const TimerNode& node : nodes) {
      if (place.level != 0 && ++seen > max_peeks) return instant_of(start_of(place));
      earliest = std::min(earliest, node.deadline);
    }
    return earliest;
  }

 private:
  using List = boost::intrusive::list<
      TimerNode, boost::intrusive::member_hook<TimerNode, TimerNode::Hook, &TimerNode::hook_>,
      boost::intrusive::constant_time_size<false>>;

  // A tick is 131 us: the lowest level spans 8.4 ms, the second 0.54 s, the third 34 s, the fourth
  // 37 min.
  static constexpr unsigned tick_bits = 17;
  static constexpr unsigned level_bits = 6;
  // The eight levels span 2^65 ns, more than there are instants.
  static constexpr unsigned level_count = 8;
  static constexpr unsigned slot_count = 1U << level_bits;
  static_assert(tick_bits + level_bits * level_count >= 64);

  // How many nodes one `expire` moves between levels: less than a millisecond's work.
  static constexpr std::size_t max_moves = 4096;
  // How many nodes `next_deadline` looks at in a slot that is not of the lowest level.
  static constexpr unsigned max_peeks = 8;

  // A slot of a level. Relative to the present tick, a tick belongs to the level of the highest
  // digit (of six bits) in which the two differ. So what is in a lower level is due before all that
  // is in higher ones, what is in a lower slot before what is in higher ones of its level, and no
  // slot is ever used twice at a time.
  struct Place {
    unsigned level;
    unsigned slot;
  };

  [[nodiscard]] static unsigned digit(std::uint64_t tick, unsigned level) noexcept {
    return static_cast<unsigned>(tick >> (level * level_bits)) % slot_count;
  }
  // Unsigned differences: right for any two instants that are in order.
  [[nodiscard]] std::uint64_t tick_of(Instant instant) const noexcept {
    return (static_cast<std::uint64_t>(instant.time_since_epoch().count()) -
            static_cast<std::uint64_t>(start_.time_since_epoch().count())) >>
           tick_bits;
  }
  [[nodiscard]] Instant instant_of(std::uint64_t tick) const noexcept {
    return Instant{Duration{static_cast<Duration::rep>(
        static_cast<std::uint64_t>(start_.time_since_epoch().count()) + (tick << tick_bits))}};
  }
  [[nodiscard]] std::uint64_t start_of(Place place) const noexcept {
    const unsigned shift = place.level * level_bits;
    const std::uint64_t above = tick_ >> (shift + level_bits) << (shift + level_bits);
    return above | std::uint64_t{place.slot} << shift;
  }

  void place(TimerNode& node) noexcept {
    const std::uint64_t tick = tick_of(node.deadline);
    const auto highest_bit = static_cast<unsigned>(std::bit_width((tick ^ tick_) | 1)) - 1;
    const unsigned level = highest_bit / level_bits;
    slots_[level][digit(tick, level)].push_back(node);
    occupied_[level] |= std::uint64_t{1} << digit(tick, level);
    levels_ |= 1U << level;
  }

  // The place of the earliest nodes; its level is `level_count` if there is none. A bit of
  // `occupied_` may outlive the nodes of its slot and is cleared here.
  [[nodiscard]] Place first_place() const noexcept {
    if (moving_level_ != 0) {
      const Place moving{moving_level_, digit(tick_, moving_level_)};
      if (!slots_[moving.level][moving.slot].empty()) return moving;
      moving_level_ = 0;
    }
    for (; levels_ != 0; levels_ &= levels_ - 1) {
      const auto level = static_cast<unsigned>(std::countr_zero(levels_));
      for (; occupied_[level] != 0; occupied_[level] &= occupied_[level] - 1) {
        const auto slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
        if (!slots_[level][slot].empty()) return {level, slot};
      }
    }
    return {level_count, 0};
  }

  // Fills `due_`, which is empty, with the nodes of the next slot that has due ones, and says
  // whether it found any.
  bool collect(std::size_t& moves_left) noexcept {
    const std::uint64_t now_tick = tick_of(now_);
    for (Place place = first_place(); place.level != level_count; place = first_place()) {
      const std::uint64_t start = start_of(place);
      if (start > now_tick) break;
      tick_ = start;
      List& nodes = slots_[place.level][place.slot];
      if (place.level == 0) return take_due(nodes, start == now_tick);
      moving_level_ = place.level;
      for (; !nodes.empty(); --moves_left) {
        if (moves_left == 0) return false;
        move_down(nodes);
      }
      moving_level_ = 0;
    }
    tick_ = now_tick;
    return false;
  }

  // Puts the first node where it belongs now that `tick_` is the start of its slot: into a lower
  // level.
  void move_down(List& nodes) noexcept {
    TimerNode& node = nodes.front();
    nodes.pop_front();
    place(node);
  }

  bool take_due(List& nodes, bool is_now) noexcept {
    if (!is_now) {
      due_.splice(due_.end(), nodes);
    } else {
      for (auto next = nodes.begin(); next != nodes.end();) {
        const auto node = next++;
        if (node->deadline <= now_) due_.splice(due_.end(), nodes, node);
      }
    }
    return !due_.empty();
  }

  [[nodiscard]] bool has_overdue() const noexcept { return !due_.empty() || !late_.empty(); }

  Instant start_;
  Instant now_;                        // the latest that `expire` was told
  std::uint64_t tick_ = 0;             // all earlier slots are empty
  mutable unsigned moving_level_ = 0;  // whose slot at `tick_` is moved down only in part
  Instant earliest_late_ = never;      // not after any deadline that was set to the past
  mutable unsigned levels_ = 0;        // levels that may have nodes
  mutable std::array<std::uint64_t, level_count> occupied_{};  // slots that may have nodes
  List due_;   // nodes that the present `expire` fires, or what it left
  List late_;  // nodes that were set to the past since it began
  std::array<std::array<List, slot_count>, level_count> slots_;
};

}  // namespace tunic::inline v0
