// SPDX-License-Identifier: BSL-1.0
#pragma once

// One direction of an imperfect link, in virtual time: packets go in with the time, and come out
// later, damaged, twice or not at all. In the order in which a link does it: thinning of
// acknowledgements, an MTU, a queue with tail drop and ECN marks, a transmitter of limited rate,
// loss (single and in bursts, after Gilbert 1960), corruption, propagation with jitter, compression
// of acknowledgements, reordering, duplication. Every kind of fault draws from a stream of chance
// of its own, equally often for every packet, so that switching one fault on or off leaves the
// pattern of the others as it was.

#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/device/link_conditions.hpp>
#include <tunic/device/packet_queue.hpp>
#include <tunic/device/random.hpp>
#include <tunic/device/router.hpp>
#include <tunic/stack/device.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

/// The engine of one direction. Time never runs backwards: pass instants in their order. Buffers
/// circulate between the engine and `pop_due`'s caller, so a steady flow allocates nothing.
/// Movable.
class Impairment {
 public:
  explicit Impairment(const LinkConditions& conditions = {}) noexcept {
    set_conditions(conditions);
  }

  [[nodiscard]] const LinkConditions& conditions() const noexcept { return conditions_; }
  /// For packets pushed from now on; starts the streams of chance again from the seed.
  void set_conditions(const LinkConditions& conditions) noexcept {
    conditions_ = conditions;
    Random seeds{conditions.seed};
    for (Random* stream :
         {&jitter_, &loss_, &duplicate_, &reorder_, &corrupt_, &burst_, &reorder_jitter_}) {
      *stream = Random{seeds.next()};
    }
    bad_ = false;
  }
  /// The same for packets pushed at `when` or later: the path changes there. Changes for one
  /// instant are made in the order of the calls.
  void change_at(Instant when, const LinkConditions& conditions) {
    changes_.insert(std::ranges::upper_bound(changes_, when, {}, &Change::when),
                    {when, conditions});
  }

  /// Sends a packet into the link. Copied. O(log n) in the packets on their way.
  void push(Bytes packet, Instant now, TxReason reason = TxReason::data) {
    const std::size_t index = free_buffer();
    buffers_[index].assign(packet, reason);
    admit(index, now);
  }
  void push(const TxPacket& packet, Instant now) {
    const std::size_t index = free_buffer();
    buffers_[index].assign(packet);
    admit(index, now);
  }

  /// Swaps the next packet that has arrived by `now` into `packet`; false, and no change, when
  /// there is none.
  bool pop_due(Instant now, StoredPacket& packet) {
    release_due(now);
    if (flights_.empty() || flights_.front().due > now) return false;
    std::ranges::pop_heap(flights_, later);
    const std::size_t index = flights_.back().buffer;
    flights_.pop_back();
    std::swap(packet, buffers_[index]);
    free_.push_back(index);
    ++counters_.delivered;
    return true;
  }

  /// Swaps the next answer of the link's router into `packet`: it goes back to the sender, through
  /// the other direction. Due after every `push` where `router` is set.
  bool pop_answer(StoredPacket& packet) {
    if (answers_.empty()) return false;
    std::swap(packet, answers_[0]);
    answers_.drop_front();
    return true;
  }

  /// When the next packet arrives, or one that waits for its group (`ack_every`) goes on: ask
  /// `pop_due` then. `never` when none is on its way.
  [[nodiscard]] Instant next_due() const noexcept {
    const Instant arrival = flights_.empty() ? never : flights_.front().due;
    return waiting_ ? std::min(arrival, waiting_->until) : arrival;
  }
  /// Packets on their way.
  [[nodiscard]] std::size_t size() const noexcept { return flights_.size() + (waiting_ ? 1 : 0); }
  /// Bytes that wait for the transmitter, the rest of the packet in it included.
  [[nodiscard]] std::size_t queued_bytes(Instant now) const noexcept {
    if (transmitter_free_ <= now) return 0;
    const auto nanoseconds = static_cast<double>((transmitter_free_ - now).count());
    const auto rate = static_cast<double>(conditions_.rate_bits_per_second);
    return static_cast<std::size_t>(std::llround(nanoseconds * rate / 8e9));
  }
  [[nodiscard]] const LinkCounters& counters() const noexcept { return counters_; }

 private:
  struct Change {
    Instant when;
    LinkConditions conditions;
  };
  struct Flight {
    Instant due;
    std::uint64_t order;  // of equal arrivals
    std::size_t buffer;
  };
  static bool later(const Flight& a, const Flight& b) noexcept {
    return a.due != b.due ? a.due > b.due : a.order > b.order;
  }

  std::size_t free_buffer() {
    if (free_.empty()) {
      buffers_.emplace_back();
      free_.reserve(buffers_.capacity());
      return buffers_.size() - 1;
    }
    const std::size_t index = free_.back();
    free_.pop_back();
    return index;
  }

  // What chance has in store for a packet.
  struct Fate {
    bool lost;
    bool duplicated;
    bool reordered;
    bool corrupted;
    std::uint64_t corrupted_where;
    Duration jitter;
    Duration held_back;
  };
  // An acknowledgement that waits for the rest of its group.
  struct Waiting {
    std::size_t buffer;
    Fate fate;
    Instant until;
    std::uint32_t count;  // of its group, itself included
  };

  void admit(std::size_t index, Instant now) {
    release_due(now);
    while (!changes_.empty() && changes_.front().when <= now) {
      set_conditions(changes_.front().conditions);
      changes_.erase(changes_.begin());
    }
    ++counters_.pushed;
    const Fate fate = draw();
    if (conditions_.ack_every > 1 && router::is_pure_ack(buffers_[index].bytes)) {
      thin(index, fate, now);
    } else {
      release_ack(now);
      forward(index, fate, now);
    }
  }

  // All draws are made whatever becomes of the packet: see the top of the file.
  Fate draw() noexcept {
    Fate fate;
    fate.lost = draw_loss();
    fate.duplicated = duplicate_.chance(conditions_.duplicate);
    fate.reordered = reorder_.chance(conditions_.reorder);
    fate.corrupted = corrupt_.chance(conditions_.corrupt);
    fate.corrupted_where = corrupt_.next();
    fate.jitter = up_to(conditions_.jitter, jitter_);
    fate.held_back = conditions_.reorder_delay + up_to(conditions_.reorder_jitter, reorder_jitter_);
    return fate;
  }

  void thin(std::size_t index, const Fate& fate, Instant now) {
    if (waiting_) {
      ++counters_.thinned;
      free_.push_back(std::exchange(waiting_->buffer, index));
      waiting_->fate = fate;
      ++waiting_->count;
    } else {
      waiting_ = Waiting{index, fate, now + conditions_.ack_wait, 1};
    }
    if (waiting_->count >= conditions_.ack_every) release_ack(now);
  }

  void release_due(Instant now) {
    if (waiting_ && waiting_->until <= now) release_ack(waiting_->until);
  }
  // Lets the acknowledgement that waits go on.
  void release_ack(Instant now) {
    if (!waiting_) return;
    const Waiting ack = *std::exchange(waiting_, std::nullopt);
    forward(ack.buffer, ack.fate, now);
  }

  void forward(std::size_t index, const Fate& fate, Instant now) {
    if (!transmit(index, fate, now)) free_.push_back(index);
  }

  // False when the packet does not arrive.
  bool transmit(std::size_t index, const Fate& fate, Instant now) {
    std::vector<std::byte>& bytes = buffers_[index].bytes;
    const bool held = conditions_.ack_hold > Duration{} && router::is_pure_ack(bytes);
    if (conditions_.mtu_bytes != 0 && bytes.size() > conditions_.mtu_bytes) return refuse(bytes);
    if (!enqueue(bytes, now)) return ++counters_.overflowed, false;
    if (fate.lost) return ++counters_.lost, false;
    if (fate.corrupted) flip_bit(bytes, fate.corrupted_where);

    Instant due = std::max(transmitter_free_, now) + conditions_.delay + fate.jitter;
    if (held) {
      if (acks_released_ < due) acks_released_ = due + conditions_.ack_hold;
      due = acks_released_;
    }
    due = std::max(due, last_due_);
    if (fate.reordered) {
      ++counters_.reordered;
      due += fate.held_back;  // those behind do not wait for it
    } else {
      last_due_ = due;
    }
    if (fate.duplicated) launch_copy(index, due);
    launch(index, due);
    return true;
  }

  static Duration up_to(Duration most, Random& stream) noexcept {
    return Duration{
        static_cast<Duration::rep>(stream.below(static_cast<std::uint64_t>(most.count()) + 1))};
  }

  // What is larger than the MTU goes no further.
  bool refuse(Bytes packet) {
    ++counters_.oversized;
    if (!conditions_.router) return false;
    router::Answer answer;
    const std::size_t size =
        router::fragmentation_needed(answer, packet, *conditions_.router, conditions_.mtu_bytes);
    if (size != 0) answers_.emplace_back().assign(Bytes{answer}.first(size), TxReason::icmp);
    return false;
  }

  // False when the queue is full.
  bool enqueue(MutableBytes packet, Instant now) noexcept {
    const bool crowded = conditions_.mark_bytes != 0 && conditions_.rate_bits_per_second != 0 &&
                         transmitter_free_ > now &&
                         transmitter_free_ - now > transmission_time(conditions_.mark_bytes);
    if (!serialise(packet.size(), now)) return false;
    if (crowded && router::mark_congestion(packet)) ++counters_.marked;
    return true;
  }

  bool draw_loss() noexcept {
    const double turn = burst_.unit();
    bad_ = bad_ ? turn >= conditions_.burst.leave : turn < conditions_.burst.enter;
    const bool lost_in_burst = burst_.chance(conditions_.burst.loss) && bad_;
    return loss_.chance(conditions_.loss) || lost_in_burst;
  }

  // Moves the end of the transmitter's work; false when the queue is full.
  bool serialise(std::size_t size_bytes, Instant now) noexcept {
    if (conditions_.rate_bits_per_second == 0) return true;
    const Duration work = transmission_time(size_bytes);
    if (transmitter_free_ > now) {
      const bool bounded = conditions_.queue_bytes != 0;
      if (bounded && transmitter_free_ + work - now > transmission_time(conditions_.queue_bytes)) {
        return false;
      }
      transmitter_free_ += work;
    } else {
      transmitter_free_ = now + work;
    }
    return true;
  }

  // Rounded up. Bytes beyond two gigabytes are more than any link here queues; they would overflow.
  Duration transmission_time(std::size_t bytes) const noexcept {
    const std::uint64_t bit_nanoseconds =
        std::min<std::uint64_t>(bytes, 0x7fffffff) * 8 * 1'000'000'000;
    const std::uint64_t rate = conditions_.rate_bits_per_second;
    return Duration{
        static_cast<Duration::rep>(bit_nanoseconds / rate + (bit_nanoseconds % rate != 0 ? 1 : 0))};
  }

  void flip_bit(std::vector<std::byte>& bytes, std::uint64_t where) noexcept {
    if (bytes.empty()) return;
    ++counters_.corrupted;
    bytes[where / 8 % bytes.size()] ^= std::byte{1} << where % 8;
  }

  void launch_copy(std::size_t index, Instant due) {
    ++counters_.duplicated;
    const std::size_t copy = free_buffer();
    buffers_[copy].assign(buffers_[index].bytes, buffers_[index].reason);
    launch(copy, due);
  }

  void launch(std::size_t index, Instant due) {
    flights_.push_back({due, order_++, index});
    std::ranges::push_heap(flights_, later);
  }

  LinkConditions conditions_{};
  LinkCounters counters_{};
  Random jitter_{0}, loss_{0}, duplicate_{0}, reorder_{0}, corrupt_{0}, burst_{0};
  Random reorder_jitter_{0};
  bool bad_ = false;
  Instant acks_released_ = Instant::min();  // when those that are held arrive
  Instant transmitter_free_ = Instant::min();
  Instant last_due_ = Instant::min();  // of those in order
  std::uint64_t order_ = 0;
  std::vector<Flight> flights_;  // a heap, earliest first
  std::vector<StoredPacket> buffers_;
  std::vector<std::size_t> free_;  // indices into buffers_; its capacity is theirs
  std::optional<Waiting> waiting_;
  PacketQueue answers_;          // of the router
  std::vector<Change> changes_;  // to come, the earliest first
};

}  // namespace tunic::inline v0
