// SPDX-License-Identifier: BSL-1.0
#pragma once

// One direction of an imperfect link, in virtual time: packets go in with the time, and come out
// later, damaged, twice or not at all. In the order in which a link does it: a queue with tail
// drop, a transmitter of limited rate, loss (single and in bursts, after Gilbert 1960),
// duplication, corruption, propagation with jitter, reordering. Every kind of fault draws from a
// stream of chance of its own, equally often for every packet, so that switching one fault on or
// off leaves the pattern of the others as it was.

#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/device/packet_queue.hpp>
#include <tunic/device/random.hpp>
#include <tunic/stack/device.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

/// Gilbert's model: a link is good or bad, and loses packets only while bad. A step is one packet.
/// The mean burst lasts 1 / `leave` packets; the share of time spent bad is `enter` / (`enter` +
/// `leave`).
struct BurstLoss {
  double enter = 0;  ///< Probability that a good link turns bad.
  double leave = 1;  ///< Probability that a bad link turns good.
  double loss = 1;   ///< Probability of loss while bad.
};

/// How a link treats packets. The default is perfect: everything arrives at once. Probabilities are
/// per packet.
struct LinkConditions {
  Duration delay{};  ///< Propagation, one way.
  /// Uniform in [0, jitter] on top. It never reorders: who is late delays those behind.
  Duration jitter{};
  double loss = 0;
  double duplicate = 0;  ///< A second copy right behind the first.
  double reorder = 0;    ///< Held back by `reorder_delay`, so that later packets overtake.
  /// One bit flipped somewhere, which every Internet checksum over it detects.
  double corrupt = 0;
  Duration reorder_delay = std::chrono::milliseconds{1};
  std::uint64_t rate_bits_per_second = 0;  ///< Of IP packets; 0: unlimited.
  /// Bytes that wait for the transmitter, the packet in it included; what exceeds it is dropped,
  /// but an idle link takes any packet. 0: unlimited. Without meaning when the rate is unlimited.
  std::size_t queue_bytes = 0;
  BurstLoss burst{};
  std::uint64_t seed = 1;
};

/// What became of packets. delivered = pushed - lost - overflowed + duplicated, when none is on its
/// way.
struct LinkCounters {
  std::uint64_t pushed = 0;
  std::uint64_t delivered = 0;
  std::uint64_t lost = 0;
  std::uint64_t overflowed = 0;  ///< Dropped by the full queue.
  std::uint64_t duplicated = 0;
  std::uint64_t reordered = 0;  ///< Held back.
  std::uint64_t corrupted = 0;
};

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
    for (Random* stream : {&jitter_, &loss_, &duplicate_, &reorder_, &corrupt_, &burst_}) {
      *stream = Random{seeds.next()};
    }
    bad_ = false;
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
    if (next_due() > now) return false;
    std::ranges::pop_heap(flights_, later);
    const std::size_t index = flights_.back().buffer;
    flights_.pop_back();
    std::swap(packet, buffers_[index]);
    free_.push_back(index);
    ++counters_.delivered;
    return true;
  }

  /// When the next packet arrives; `never` when none is on its way.
  [[nodiscard]] Instant next_due() const noexcept {
    return flights_.empty() ? never : flights_.front().due;
  }
  /// Packets on their way.
  [[nodiscard]] std::size_t size() const noexcept { return flights_.size(); }
  [[nodiscard]] const LinkCounters& counters() const noexcept { return counters_; }

 private:
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

  void admit(std::size_t index, Instant now) {
    ++counters_.pushed;
    if (!transmit(index, now)) free_.push_back(index);
  }

  // False when the packet does not arrive.
  bool transmit(std::size_t index, Instant now) {
    // All draws are made whatever becomes of the packet: see the top of the file.
    const bool lost = draw_loss();
    const bool duplicated = duplicate_.chance(conditions_.duplicate);
    const bool reordered = reorder_.chance(conditions_.reorder);
    const bool corrupted = corrupt_.chance(conditions_.corrupt);
    const std::uint64_t where = corrupt_.next();
    const Duration jitter{static_cast<Duration::rep>(
        jitter_.below(static_cast<std::uint64_t>(conditions_.jitter.count()) + 1))};

    if (!serialise(buffers_[index].bytes.size(), now)) return ++counters_.overflowed, false;
    if (lost) return ++counters_.lost, false;
    if (corrupted) flip_bit(buffers_[index].bytes, where);
    Instant due = std::max(transmitter_free_, now) + conditions_.delay + jitter;
    due = std::max(due, last_due_);
    if (reordered) {
      ++counters_.reordered;
      due += conditions_.reorder_delay;  // those behind do not wait for it
    } else {
      last_due_ = due;
    }
    if (duplicated) launch_copy(index, due);
    launch(index, due);
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
  bool bad_ = false;
  Instant transmitter_free_ = Instant::min();
  Instant last_due_ = Instant::min();  // of those in order
  std::uint64_t order_ = 0;
  std::vector<Flight> flights_;  // a heap, earliest first
  std::vector<StoredPacket> buffers_;
  std::vector<std::size_t> free_;  // indices into buffers_; its capacity is theirs
};

}  // namespace tunic::inline v0
