// SPDX-License-Identifier: BSL-1.0
#pragma once

// Two stacks over mock devices, joined by a link with faults, in virtual time: no descriptors, no
// waiting, and the same seed gives the same run. For tests of tunic and of programs that use it.
// Beside chance (device/impairment.hpp) a link has filters, which change or swallow chosen packets
// as a middlebox does (testing/middlebox.hpp has some), and a watcher that sees what passes.

#include <tunic/base/time.hpp>
#include <tunic/device/impairment.hpp>
#include <tunic/device/mock_device.hpp>
#include <tunic/device/packet_queue.hpp>
#include <tunic/stack/device.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace tunic::inline v0::testing {

/// Looks at a packet that enters a link, and may change it; false: it is swallowed.
using PacketFilter = std::function<bool(std::vector<std::byte>& packet, Instant now)>;

/// A packet that enters or leaves a link. The bytes live during the call that shows it.
struct PassingPacket {
  Instant at{};
  bool from_a = false;   ///< Sent by `a` to `b`; else the other way.
  bool arrived = false;  ///< It leaves the link; else it enters, before filters and faults.
  Bytes bytes{};
  TxReason reason = TxReason::data;  ///< Why it was sent.
};

/// Joins two stacks whose devices are `MockDevice`s (or offer `sent`, `front`, `front_reason`,
/// `drop_front`, `inject`). The stacks and the clock outlive it.
template <class A, class B>
class Link {
 public:
  /// The same conditions both ways; the way back draws from another seed.
  Link(A& a, B& b, ManualClock& clock, const LinkConditions& conditions = {})
      : Link{a, b, clock, conditions, other_seed(conditions)} {}
  Link(A& a, B& b, ManualClock& clock, const LinkConditions& a_to_b, const LinkConditions& b_to_a)
      : a_{a}, b_{b}, clock_{clock}, a_to_b_{a_to_b}, b_to_a_{b_to_a} {}

  /// The two directions, to look at their counters and to change their conditions.
  [[nodiscard]] Impairment& a_to_b() noexcept { return a_to_b_; }
  [[nodiscard]] Impairment& b_to_a() noexcept { return b_to_a_; }

  /// What lies in front of a direction: sees each packet before its `Impairment`. An empty one
  /// takes it away.
  void set_filter_a_to_b(PacketFilter filter) { filter_a_to_b_ = std::move(filter); }
  void set_filter_b_to_a(PacketFilter filter) { filter_b_to_a_ = std::move(filter); }
  /// Called for each packet when it enters the link and when it leaves it. It may look at the
  /// stacks and their connections, not change them.
  void set_watcher(std::function<void(const PassingPacket&)> watcher) {
    watcher_ = std::move(watcher);
  }

  /// Runs both ends and the link, at most to `limit` from now, until `done()` holds. `done` is
  /// asked at every instant at which something happens, between `poll` and `flush`: it is the place
  /// for what the programs on both ends do. Returns whether it held.
  template <class Done>
  bool run_until(Done&& done, Duration limit) {
    const Instant end = clock_.now() + limit;
    for (;;) {
      if (settle(done)) return true;
      const Instant next = next_wake();
      if (next > end) {
        clock_.set(end);
        return settle(done);
      }
      clock_.set(std::max(next, clock_.now()));
    }
  }

  /// Runs for exactly `time`.
  void run_for(Duration time) {
    run_until([] { return false; }, time);
  }

  /// When something happens next.
  [[nodiscard]] Instant next_wake() const noexcept {
    return std::min(
        {a_.next_deadline(), b_.next_deadline(), a_to_b_.next_due(), b_to_a_.next_due()});
  }

 private:
  static LinkConditions other_seed(LinkConditions conditions) noexcept {
    conditions.seed = conditions.seed * 2 + 1;
    return conditions;
  }

  // Turns at the present instant, until nothing moves any more.
  template <class Done>
  bool settle(Done& done) {
    const Instant now = clock_.now();
    for (bool moved = true; moved;) {
      deliver(a_to_b_, b_, now);
      deliver(b_to_a_, a_, now);
      a_.poll(now);
      b_.poll(now);
      const bool finished = done();
      a_.flush(now);
      b_.flush(now);
      moved =
          collect(a_, a_to_b_, filter_a_to_b_, now) + collect(b_, b_to_a_, filter_b_to_a_, now) !=
          0;
      if (finished) return true;
      moved = moved && next_wake() <= now;
      moved = moved || a_.next_deadline() <= now || b_.next_deadline() <= now;
    }
    return false;
  }

  template <class S>
  std::size_t collect(S& from, Impairment& way, const PacketFilter& filter, Instant now) {
    auto& device = from.device();
    const std::size_t count = device.sent();
    for (std::size_t i = 0; i < count; ++i) {
      const TxReason reason = device.front_reason();
      if (watcher_) show(way, false, device.front(), reason);
      if (!filter) {
        way.push(device.front(), now, reason);
      } else {
        packet_.assign(device.front(), reason);
        if (filter(packet_.bytes, now)) way.push(packet_.bytes, now, reason);
      }
      device.drop_front();
    }
    Impairment& back = &way == &a_to_b_ ? b_to_a_ : a_to_b_;
    while (way.pop_answer(packet_)) back.push(packet_.bytes, now, packet_.reason);
    return count;
  }

  template <class S>
  void deliver(Impairment& way, S& to, Instant now) {
    while (way.pop_due(now, packet_)) {
      if (watcher_) show(way, true, packet_.bytes, packet_.reason);
      to.device().inject(packet_.bytes);
    }
  }

  void show(const Impairment& way, bool arrived, Bytes bytes, TxReason reason) const {
    watcher_({.at = clock_.now(),
              .from_a = &way == &a_to_b_,
              .arrived = arrived,
              .bytes = bytes,
              .reason = reason});
  }

  A& a_;
  B& b_;
  ManualClock& clock_;
  Impairment a_to_b_;
  Impairment b_to_a_;
  PacketFilter filter_a_to_b_;
  PacketFilter filter_b_to_a_;
  std::function<void(const PassingPacket&)> watcher_;
  StoredPacket packet_;
};

}  // namespace tunic::inline v0::testing
