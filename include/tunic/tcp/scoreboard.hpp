// SPDX-License-Identifier: BSL-1.0
#pragma once

// What has been sent and not acknowledged, segment by segment: when each left, and whether it is in
// flight, lost or reported by a selective acknowledgement (RFC 2018, RFC 6675 3, RFC 8985 5.1).
// Segments stand in the order of their sequence numbers; those in flight are also linked in the
// order of sending, and lost ones in the order in which they are to be sent again. An
// acknowledgement costs what it newly says, however often it repeats the rest.
//
// As long as all goes well what left together stays together: one entry stands for a run of
// segments that differ in their numbers only. With the first loss, report or resending the runs are
// told apart, in room that is kept for it, until all is acknowledged. (More than 400 lines because
// all that moves segments between the lists stands together.)

#include <tunic/base/assert.hpp>
#include <tunic/base/ring.hpp>
#include <tunic/base/time.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp_options.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace tunic::inline v0 {

/// Where a sent segment is thought to be.
enum class Whereabouts : std::uint8_t { flight, lost, sacked };

/// A segment as it was last sent.
struct SentSegment {
  SeqNum begin;
  std::uint16_t length = 0;  ///< In sequence numbers: its payload, and one for a FIN.
  Whereabouts where = Whereabouts::flight;
  bool fin : 1 = false;
  bool again : 1 = false;        ///< Sent more than once.
  bool app_limited : 1 = false;  ///< The application had no more to send then.
  /// Neighbours in the list it is in, itself at the ends. Of a SACKed one `next` is a number up to
  /// which all are SACKed. Of a run that was not told apart: how many segments, and sequence
  /// numbers.
  std::uint32_t prev = 0;
  std::uint32_t next = 0;
  Instant sent_at{};
  // The state of delivery when it left, for a rate sample (tcp/delivery_rate.hpp).
  std::uint32_t delivered = 0;       ///< Bytes delivered, modulo 2^32.
  std::uint32_t in_flight = 0;       ///< Bytes in flight, it included.
  std::uint32_t since_delivery = 0;  ///< Microseconds since the last delivery...
  std::uint32_t since_first = 0;     ///< ...and since the first segment of its flight had left.

  [[nodiscard]] SeqNum end() const noexcept { return begin + length; }
  [[nodiscard]] std::uint32_t payload() const noexcept { return length - (fin ? 1U : 0U); }
};

static_assert(sizeof(SentSegment) == 40);

class Scoreboard {
 public:
  using Number = Ring<SentSegment>::Number;

  [[nodiscard]] bool empty() const noexcept { return ring_.empty(); }
  [[nodiscard]] std::uint32_t segments() const noexcept {
    return apart_ ? ring_.size() : flight_.size;
  }
  /// Before all are told apart: of the first one.
  [[nodiscard]] SentSegment& operator[](Number number) noexcept { return ring_[number]; }
  [[nodiscard]] const SentSegment& operator[](Number number) const noexcept {
    return ring_[number];
  }
  [[nodiscard]] SentSegment& front() noexcept { return ring_.front(); }
  [[nodiscard]] Number first() const noexcept { return ring_.first(); }
  [[nodiscard]] Number last() const noexcept { return ring_.end() - 1; }

  /// Bytes thought to be in the network: RFC 6675's pipe.
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return flight_.bytes; }
  [[nodiscard]] std::uint32_t lost_bytes() const noexcept { return lost_.bytes; }
  [[nodiscard]] std::uint32_t sacked_bytes() const noexcept { return sacked_bytes_; }
  [[nodiscard]] std::uint32_t sacked_segments() const noexcept { return sacked_segments_; }
  /// Of those in flight, how many were sent more than once; and the most payload that one has.
  [[nodiscard]] std::uint32_t resent_segments() const noexcept { return resent_segments_; }
  [[nodiscard]] std::uint32_t largest() const noexcept { return largest_; }

  /// Walks: the segment in flight that was sent first, the lost one that is next to be sent again,
  /// and (told apart) what follows either; `none` at the end.
  static constexpr std::uint64_t none = std::uint64_t{1} << 32;
  [[nodiscard]] std::uint64_t oldest() const noexcept {
    return apart_ || ring_.empty() ? flight_.head() : ring_.first();
  }
  [[nodiscard]] std::uint64_t first_lost() const noexcept { return lost_.head(); }
  [[nodiscard]] std::uint64_t after(Number number) const noexcept {
    TUNIC_ASSERT(apart_);
    const Number next = ring_[number].next;
    return next == number ? none : next;
  }

  /// Makes room for `count` more segments; false when memory is refused.
  [[nodiscard]] bool reserve(std::uint32_t count, BlockPool& pool) noexcept {
    return ring_.reserve(segments() - ring_.size() + count, pool);
  }

  /// A run of new data has left: so many segments, of so many sequence numbers in all. `run` has
  /// what the first is to have, and `fin` where the last ends with it; all are as long as the first
  /// but the last. There must be room.
  void sent(SentSegment run, std::uint32_t segments, std::uint32_t length) noexcept {
    run.prev = segments;
    run.next = length;
    largest_ = std::max(largest_, segments == 1 ? run.payload() : run.length);
    if (apart_) {
      for (std::uint32_t i = 0; i < segments; ++i)
        append(flight_, ring_.push_back(segment_of(run, i)));
      return;
    }
    ring_.push_back(run);
    flight_.size += segments;
    flight_.bytes += length;
  }

  /// From now on each segment has an entry, and a number, of its own. O(n) the first time.
  void tell_apart() noexcept {
    if (std::exchange(apart_, true)) return;
    const std::uint32_t runs = ring_.size();
    const std::uint32_t count = flight_.size;
    for (std::uint32_t i = runs; i < count; ++i) ring_.push_back({});
    Number place = ring_.end();  // never below the run that is read: no run has less than a segment
    for (std::uint32_t i = runs; i-- > 0;) {
      const SentSegment run = ring_[ring_.first() + i];
      for (std::uint32_t j = run.prev; j-- > 0;) ring_[--place] = segment_of(run, j);
    }
    flight_ = {};
    for (std::uint32_t i = 0; i < count; ++i) append(flight_, ring_.first() + i);
  }

  /// A lost or the last segment has left once more; `stamp` has the state of delivery.
  void sent_again(Number number, const SentSegment& stamp) noexcept {
    SentSegment& segment = ring_[number];
    leave(number);
    segment.again = true;
    segment.app_limited = stamp.app_limited;
    segment.sent_at = stamp.sent_at;
    segment.delivered = stamp.delivered;
    segment.in_flight = stamp.in_flight;
    segment.since_delivery = stamp.since_delivery;
    segment.since_first = stamp.since_first;
    segment.where = Whereabouts::flight;
    append(flight_, number);
    ++resent_segments_;
  }

  /// Takes out what lies below `ack`, and calls `delivered(segment)` for each whole segment that no
  /// SACK had reported; of a run that was not told apart only for the last. Returns the bytes that
  /// were not known to be delivered.
  template <class Visitor>
  std::uint32_t acknowledge(SeqNum ack, Visitor delivered) noexcept {
    std::uint32_t fresh = 0;
    while (!ring_.empty() && ring_.front().begin < ack) {
      if (!apart_) {
        const std::uint32_t taken = take_segments(ack, delivered);
        fresh += taken;
        if (taken == 0) tell_apart();  // it ends within a segment
        continue;
      }
      SentSegment& segment = ring_.front();
      if (ack < segment.end()) return fresh + trim(segment, ack);
      if (segment.where != Whereabouts::sacked) {
        fresh += segment.length;
        delivered(segment);
      }
      leave(ring_.first());
      ring_.pop_front();
    }
    if (ring_.empty()) begin_anew();
    return fresh;
  }
  /// A block of a selective acknowledgement: calls `delivered(segment)` for each segment that it is
  /// the first to cover in whole. Returns their bytes.
  template <class Visitor>
  std::uint32_t sack(SackBlock block, Visitor delivered) noexcept {
    std::uint32_t fresh = 0;
    tell_apart();
    Number number = at_or_after(block.left);
    while (ring_.contains(number) && ring_[number].end() <= block.right) {
      if (ring_[number].where == Whereabouts::sacked) {
        number = skip_sacked(number);
        continue;
      }
      SentSegment& segment = ring_[number];
      delivered(segment);
      leave(number);
      segment.where = Whereabouts::sacked;
      segment.next = number + 1;
      sacked_bytes_ += segment.length;
      ++sacked_segments_;
      fresh += segment.length;
      ++number;
    }
    return fresh;
  }

  /// A segment in flight is lost. The lowest is sent again first, as far as a short look tells.
  void lose(Number number) noexcept {
    constexpr unsigned look = 32;
    tell_apart();
    leave(number);
    SentSegment& segment = ring_[number];
    segment.where = Whereabouts::lost;
    if (lost_.size == 0 || ring_[lost_.last].begin < segment.begin) return append(lost_, number);
    Number behind = lost_.first;
    for (unsigned i = 0; i < look && ring_[behind].begin < segment.begin; ++i)
      behind = ring_[behind].next;
    if (segment.begin < ring_[behind].begin) {
      insert(lost_, number, behind);
    } else {
      append(lost_, number);
    }
  }

  /// What is lost is sent again in order, however it was found out. O(n).
  void order_lost() noexcept { gather_lost(false, false); }
  /// All is lost, in order; with `reneged` also what a peer had reported and does not have. O(n).
  void lose_all(bool reneged) noexcept { gather_lost(true, reneged); }

  /// Takes back what was said of losses: what is lost and was never sent again is in flight, as
  /// what has been there longest.
  void find_lost() noexcept {
    for (std::uint64_t at = lost_.tail(); at != none;) {
      const auto number = static_cast<Number>(at);
      const Number before = ring_[number].prev;
      at = before == number ? none : before;
      if (ring_[number].again) continue;
      leave(number);
      ring_[number].where = Whereabouts::flight;
      prepend(flight_, number);
    }
  }

  /// Cuts all that no SACK has reported anew, into segments of `payload` bytes, or less before what
  /// was reported and at the end, which count as lost. False, and no change, when memory is
  /// refused.
  [[nodiscard]] bool recut(std::uint32_t payload, BlockPool& pool) noexcept {
    tell_apart();
    std::uint32_t count = 0;
    for (Number number = ring_.first(); number != ring_.end(); ++number)
      count += ring_[number].length / payload + 1;
    Ring<SentSegment> fresh;
    if (!fresh.reserve(count, pool)) return false;
    forget_lists();
    for (Number number = ring_.first(); number != ring_.end(); ++number)
      cut(ring_[number], payload, fresh);
    ring_.clear(pool);
    ring_.swap(fresh);
    largest_ = 0;
    for (Number number = ring_.first(); number != ring_.end(); ++number) {
      SentSegment& segment = ring_[number];
      largest_ = std::max(largest_, segment.payload());
      if (segment.where == Whereabouts::sacked) {
        segment.next = number + 1;
        sacked_bytes_ += segment.length;
        ++sacked_segments_;
      } else {
        append(lost_, number);
      }
    }
    return true;
  }

  /// Cuts the first segment, which is lost, at `length`, so that a part of it can be sent again.
  /// False, and no change, when memory is refused.
  [[nodiscard]] bool split_front(std::uint32_t length, BlockPool& pool) noexcept {
    if (!ring_.reserve(1, pool)) return false;
    SentSegment part = ring_.front();
    SentSegment& rest = ring_.front();
    part.length = static_cast<std::uint16_t>(length);
    part.fin = false;
    rest.begin += length;
    rest.length = static_cast<std::uint16_t>(rest.length - length);
    lost_.bytes -= length;
    prepend(lost_, ring_.push_front(part));
    return true;
  }

  void clear(BlockPool& pool) noexcept {
    ring_.clear(pool);
    forget_lists();
    begin_anew();
  }

 private:
  struct List {
    Number first = 0;
    Number last = 0;
    std::uint32_t size = 0;
    std::uint32_t bytes = 0;
    [[nodiscard]] std::uint64_t head() const noexcept { return size == 0 ? none : first; }
    [[nodiscard]] std::uint64_t tail() const noexcept { return size == 0 ? none : last; }
  };

  static SentSegment segment_of(const SentSegment& run, std::uint32_t i) noexcept {
    SentSegment segment = run;
    const bool last = i + 1 == run.prev;
    const std::uint32_t offset = i * run.length;
    segment.begin += offset;
    segment.length = last ? static_cast<std::uint16_t>(run.next - offset) : run.length;
    segment.fin = run.fin && last;
    segment.in_flight = run.in_flight + offset + segment.length - run.length;
    return segment;
  }

  // Takes those segments out of the first run that end at or below `ack`. Returns their bytes.
  template <class Visitor>
  std::uint32_t take_segments(SeqNum ack, Visitor& delivered) noexcept {
    SentSegment& run = ring_.front();
    const auto below = static_cast<std::uint32_t>(ack - run.begin);
    const std::uint32_t count = below >= run.next ? run.prev : below / run.length;
    if (count == 0) return 0;
    const SentSegment last = segment_of(run, count - 1);
    const auto bytes = static_cast<std::uint32_t>(last.end() - run.begin);
    delivered(last);
    flight_.size -= count;
    flight_.bytes -= bytes;
    if (count == run.prev) {
      ring_.pop_front();
      return bytes;
    }
    SentSegment rest = segment_of(run, count);
    rest.fin = run.fin;
    rest.prev = run.prev - count;
    rest.next = run.next - bytes;
    run = rest;
    return bytes;
  }

  void begin_anew() noexcept {
    largest_ = 0;
    apart_ = false;
  }

  List& list_of(const SentSegment& segment) noexcept {
    return segment.where == Whereabouts::lost ? lost_ : flight_;
  }

  void append(List& list, Number number) noexcept {
    SentSegment& segment = ring_[number];
    segment.next = number;
    segment.prev = list.size == 0 ? number : list.last;
    if (list.size == 0) {
      list.first = number;
    } else {
      ring_[list.last].next = number;
    }
    list.last = number;
    ++list.size;
    list.bytes += segment.length;
  }

  void prepend(List& list, Number number) noexcept {
    if (list.size == 0) return append(list, number);
    insert(list, number, list.first);
  }

  // Before another in the list.
  void insert(List& list, Number number, Number behind) noexcept {
    SentSegment& segment = ring_[number];
    SentSegment& next = ring_[behind];
    const bool is_first = next.prev == behind;
    segment.next = behind;
    segment.prev = is_first ? number : next.prev;
    if (is_first) {
      list.first = number;
    } else {
      ring_[next.prev].next = number;
    }
    next.prev = number;
    ++list.size;
    list.bytes += segment.length;
  }

  void gather_lost(bool flight, bool sacked) noexcept {
    tell_apart();
    for (Number number = ring_.first(); number != ring_.end(); ++number) {
      const Whereabouts where = ring_[number].where;
      if ((where == Whereabouts::flight && !flight) || (where == Whereabouts::sacked && !sacked))
        continue;
      leave(number);
      ring_[number].where = Whereabouts::lost;
      append(lost_, number);
    }
  }

  // Out of its list, or out of the count of those that were reported.
  void leave(Number number) noexcept {
    SentSegment& segment = ring_[number];
    if (segment.where == Whereabouts::sacked) {
      sacked_bytes_ -= segment.length;
      --sacked_segments_;
      return;
    }
    if (segment.where == Whereabouts::flight && segment.again) --resent_segments_;
    List& list = list_of(segment);
    list.bytes -= segment.length;
    --list.size;
    if (list.size == 0) return;
    const bool is_first = segment.prev == number;
    const bool is_last = segment.next == number;
    if (is_first) {
      list.first = segment.next;
      ring_[segment.next].prev = segment.next;
    } else if (is_last) {
      list.last = segment.prev;
      ring_[segment.prev].next = segment.prev;
    } else {
      ring_[segment.prev].next = segment.next;
      ring_[segment.next].prev = segment.prev;
    }
  }

  // The first bytes of a segment have arrived. Returns how many of them are news.
  std::uint32_t trim(SentSegment& segment, SeqNum ack) noexcept {
    const auto part = static_cast<std::uint16_t>(ack - segment.begin);
    segment.begin = ack;
    segment.length = static_cast<std::uint16_t>(segment.length - part);
    if (segment.where == Whereabouts::sacked) {
      sacked_bytes_ -= part;
      return 0;
    }
    list_of(segment).bytes -= part;
    return part;
  }

  // The first segment that begins at or after `seq`.
  [[nodiscard]] Number at_or_after(SeqNum seq) const noexcept {
    std::uint32_t low = 0;
    std::uint32_t high = ring_.size();
    while (low < high) {
      const std::uint32_t middle = (low + high) / 2;
      if (ring_[ring_.first() + middle].begin < seq) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return ring_.first() + low;
  }

  // The next that is not SACKed; what was walked over is remembered, so that the walk is short the
  // next time.
  [[nodiscard]] Number skip_sacked(Number number) noexcept {
    while (ring_.contains(number) && ring_[number].where == Whereabouts::sacked) {
      SentSegment& segment = ring_[number];
      if (ring_.contains(segment.next) && ring_[segment.next].where == Whereabouts::sacked)
        segment.next = ring_[segment.next].next;
      number = segment.next;
    }
    return number;
  }

  static void cut(SentSegment segment, std::uint32_t payload, Ring<SentSegment>& to) noexcept {
    if (segment.where == Whereabouts::sacked) {
      to.push_back(segment);
      return;
    }
    segment.where = Whereabouts::lost;
    if (!to.empty() && to.back().where == Whereabouts::lost) {  // which has room, perhaps
      SentSegment& before = to.back();
      const auto part =
          static_cast<std::uint16_t>(std::min(payload - before.length, segment.payload()));
      before.length = static_cast<std::uint16_t>(before.length + part);
      before.again = before.again || segment.again;
      segment.begin += part;
      segment.length = static_cast<std::uint16_t>(segment.length - part);
      if (segment.length == 0) return;
    }
    while (segment.payload() > payload) {
      SentSegment piece = segment;
      piece.fin = false;
      piece.length = static_cast<std::uint16_t>(payload);
      to.push_back(piece);
      segment.begin += payload;
      segment.length = static_cast<std::uint16_t>(segment.length - payload);
    }
    to.push_back(segment);
  }

  void forget_lists() noexcept {
    flight_ = {};
    lost_ = {};
    sacked_bytes_ = 0;
    sacked_segments_ = 0;
    resent_segments_ = 0;
  }

  Ring<SentSegment> ring_;
  List flight_;
  List lost_;
  std::uint32_t sacked_bytes_ = 0;
  std::uint32_t sacked_segments_ = 0;
  std::uint32_t resent_segments_ = 0;
  std::uint32_t largest_ = 0;
  bool apart_ = false;  // each segment has an entry of its own
};

}  // namespace tunic::inline v0
