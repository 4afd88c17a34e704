// SPDX-License-Identifier: BSL-1.0
#pragma once

// The receiving half of a connection: the order of bytes, the window that is advertised, and what
// is owed to the peer in acknowledgements. RFC 9293 3.4, 3.8.6.2.2 (silly windows), 3.8.6.3
// (delayed ACK), RFC 2018 and 2883 (SACK and D-SACK), RFC 7323 2 (scaling). It knows neither states
// nor segments.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/byte_queue.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/tcp/out_of_order.hpp>
#include <tunic/tcp/receive_tuning.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp_options.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace tunic::inline v0 {

/// The smallest shift with which a buffer fits the window field (RFC 7323 2.3).
[[nodiscard]] constexpr std::uint8_t window_shift(std::uint32_t buffer) noexcept {
  std::uint8_t shift = 0;
  while (shift < tcp_max_window_scale && (buffer >> shift) > 0xffff) ++shift;
  return shift;
}

/// How many segments a packet holds whose segments have `segment_bytes` of payload but for a
/// shorter last one; 0: it is one.
[[nodiscard]] constexpr std::size_t segments_in(std::size_t payload_bytes,
                                                std::uint16_t segment_bytes) noexcept {
  if (segment_bytes == 0 || payload_bytes <= segment_bytes) return 1;
  return (payload_bytes + segment_bytes - 1) / segment_bytes;
}

/// What a receiver knows beside the bytes that it holds: numbers only, which a connection at rest
/// keeps packed (tcp/resting.hpp).
struct ReceiverState {
  ReceiveTuning tuning;
  SeqNum irs;
  SeqNum nxt;                 // RCV.NXT
  SeqNum edge;                // right edge of the largest window ever advertised; never retreats
  SeqNum last_ack_sent;       // RFC 7323 4.3
  SeqNum fin_seq;             // where the peer's FIN is, once known
  SeqNum up;                  // byte after the urgent data
  std::uint32_t limit = 0;    // receive buffer in bytes
  std::uint32_t most = 0;     // that it ever was when an ACK left
  std::uint32_t unacked = 0;  // in-order bytes since the last ACK that was sent
  std::uint32_t ts_recent = 0;
  Instant ts_recent_at{};
  std::uint32_t ts_floor = 0;  // at least so much do segments of this window carry...
  std::uint32_t ts_mark = 0;   // ...and so much those above `ts_edge`
  SeqNum ts_edge;
  std::array<SeqNum, 8> recent{};  // a byte of each of the runs that grew last, latest first
  SackBlock dsack{};               // to be reported once
  std::uint16_t acks_owed = 0;     // pure ACKs, one for each out-of-order or duplicate segment
  std::uint16_t mss = 536;         // largest payload seen, for "every second full segment"
  std::uint8_t recent_count = 0;
  std::uint8_t scale = 0;    // our Rcv.Wind.Shift
  bool ack_now = false;      // an ACK is due and may ride on data
  bool fin_known = false;    // a FIN has been seen
  bool fin_taken = false;    // and everything up to it has been received
  bool urgent = false;       // `up` is valid
  bool pushed = false;       // the last data segment carried PSH
  bool read_closed = false;  // the application reads no more
};

struct Receiver : ReceiverState {
  /// What `accept` did with the payload of one segment.
  struct Accepted {
    std::size_t in_order = 0;   ///< Bytes that can now be read, queued ones that follow included.
    bool out_of_order = false;  ///< It lies above a hole.
    bool duplicate = false;     ///< Some of it had been received before.
    bool filled_gap = false;    ///< It joined with data that was waiting.
    bool refused = false;       ///< Some in-window data was not taken, for want of memory.
  };

  ByteQueue queue;  // in order, unread
  OutOfOrderQueue out_of_order;

  void start(SeqNum peer_isn, std::uint32_t buffer, std::uint8_t shift) noexcept {
    irs = peer_isn;
    nxt = last_ack_sent = up = peer_isn + 1;
    limit = buffer;
    scale = shift;
    edge = nxt + syn_window();
  }

  /// TS.Recent (RFC 7323 4.3) is now `tsval`. What lies above the edge that was offered by then is
  /// sent later, so it has no older stamp: whoever overtakes it, this bound holds.
  void stamped(std::uint32_t tsval, Instant now) noexcept {
    ts_recent = tsval;
    ts_recent_at = now;
    if (nxt < ts_edge) return;
    ts_floor = ts_mark;
    ts_mark = tsval;
    ts_edge = edge;
  }
  /// Whether a segment with a stamp older than TS.Recent may be one that others have overtaken on
  /// its way: it lies in a hole, and is no older than its window. One from before the numbers went
  /// round is older than that.
  [[nodiscard]] bool overtaken(SeqNum end, std::uint32_t tsval) const noexcept {
    return nxt < end && out_of_order.reaches(end) &&
           static_cast<std::int32_t>(tsval - ts_floor) >= 0;
  }

  /// The window of a SYN, which is never scaled (RFC 7323 2.2).
  [[nodiscard]] std::uint16_t syn_window() const noexcept {
    return static_cast<std::uint16_t>(std::min<std::uint32_t>(limit, 0xffff));
  }

  /// The window as the peer knows it: what acceptance is judged by.
  [[nodiscard]] std::uint32_t window() const noexcept {
    return static_cast<std::uint32_t>(edge - nxt);
  }

  /// Whether any sequence number of the segment lies in the window (RFC 9293 3.10.7.4, first
  /// check).
  [[nodiscard]] bool acceptable(SeqNum seq, std::uint32_t length) const noexcept {
    if (length == 0) return window() == 0 ? seq == nxt : nxt <= seq && seq < edge;
    if (window() == 0) return false;
    return seq < edge && nxt < seq + length;
  }

  /// Takes the in-window part of a payload. The caller has found the segment acceptable. Of several
  /// segments in one, `segment_bytes` is what each carries. Instead of copying a payload that comes
  /// next and fills most of the block at `lent`, it may take the block and leave another one there.
  Accepted accept(SeqNum seq, Bytes data, BlockPool& pool, std::uint32_t max_runs,
                  std::uint16_t segment_bytes = 0, Block** lent = nullptr) noexcept {
    Accepted result;
    const std::size_t largest = segment_bytes == 0 ? 0xffff : segment_bytes;
    mss = std::max(mss, static_cast<std::uint16_t>(std::min(data.size(), largest)));
    if (seq < nxt) {
      const auto old =
          std::min(static_cast<std::size_t>(static_cast<std::uint32_t>(nxt - seq)), data.size());
      report_duplicate({seq, seq + static_cast<std::uint32_t>(old)});
      result.duplicate = old != 0;
      seq = seq + static_cast<std::uint32_t>(old);
      data = data.subspan(old);
    }
    const SeqNum end = fin_known && fin_seq < edge ? fin_seq : edge;
    if (end <= seq) return result;
    data = data.first(
        std::min(data.size(), static_cast<std::size_t>(static_cast<std::uint32_t>(end - seq))));
    if (data.empty()) return result;
    if (seq == nxt) {
      take_in_order(data, lent, pool, result);
    } else {
      result.out_of_order = true;
      if (pool.nearly_used_up()) {
        result.refused = true;
        return result;
      }
      const auto inserted = out_of_order.insert(seq, data, pool, std::min(max_runs, most_runs()));
      result.refused = inserted.refused;
      if (inserted.duplicate.left != inserted.duplicate.right) {
        report_duplicate(inserted.duplicate);
        result.duplicate = true;
      }
      tuning.set_aside(inserted.stored);
      if (inserted.stored != 0) note_recent(seq);
    }
    return result;
  }

  /// The window field to send now, and (in `new_edge`) the right edge that it promises. A silly
  /// window is not offered (RFC 9293 3.8.6.2.2), and a promise is never taken back: rounding by the
  /// scale goes up where rounding down would retract (RFC 7323 2.4). Not without end, for a peer
  /// could push the edge on with every byte: beyond eight units more than the buffer holds it is
  /// shown less than was promised. What it sends there is taken all the same.
  [[nodiscard]] std::uint16_t window_field(SeqNum& new_edge) const noexcept {
    const SeqNum wanted = offer();
    const std::uint32_t size = static_cast<std::uint32_t>(wanted - nxt);
    std::uint32_t field = std::min<std::uint32_t>(size >> scale, 0xffff);
    if (nxt + (field << scale) < edge && field < 0xffff) {
      const std::size_t unit = std::size_t{1} << scale;
      const std::size_t rounded = (window() + unit - 1) >> scale;
      if (queue.size() + (rounded << scale) <= std::max(limit, most) + 8 * unit)
        field = static_cast<std::uint32_t>(rounded);
    }
    field = std::min<std::uint32_t>(field, 0xffff);
    new_edge = std::max(edge, nxt + (field << scale));
    return static_cast<std::uint16_t>(field);
  }

  /// Whether reading has opened the window enough to tell the peer without being asked.
  [[nodiscard]] bool update_due() const noexcept {
    const SeqNum wanted = offer();
    if (wanted == edge) return false;
    return window() == 0 || 2 * window() <= static_cast<std::uint32_t>(wanted - nxt);
  }

  /// Up to `room` blocks for an ACK: the duplicate to report, if any, then the runs that grew last
  /// (RFC 2018 4). It leaves the latest runs to as many ACKs that `follow` in the same turn, so
  /// that each begins with the run that caused it.
  [[nodiscard]] std::uint8_t sack_blocks(std::array<SackBlock, 4>& blocks, SackBlock duplicate,
                                         std::uint8_t room,
                                         std::uint16_t follow = 0) const noexcept {
    std::uint8_t count = 0;
    if (duplicate.left != duplicate.right) {
      blocks[count++] = duplicate;
      const SackBlock around = out_of_order.run_at(duplicate.left);
      if (around.left != around.right) blocks[count++] = around;  // RFC 2883 4, case 2
    }
    const std::uint8_t first_run = duplicate.left != duplicate.right ? 1 : 0;
    const std::uint8_t oldest = std::max<std::uint8_t>(recent_count, 1) - 1;
    for (std::size_t i = std::min<std::size_t>(follow, oldest); i < recent_count && count < room;
         ++i) {
      const SackBlock block = out_of_order.run_at(recent[i]);
      if (block.left == block.right) continue;
      bool shown = false;
      for (std::uint8_t j = first_run; j < count; ++j)
        shown = shown || blocks[j].left == block.left;
      if (!shown) blocks[count++] = block;
    }
    return count;
  }

  /// The application has read `count` bytes.
  void consume(std::size_t count, BlockPool& pool) noexcept {
    count = std::min(count, queue.size());
    queue.consume(count, pool);
    consumed(count);
  }
  /// It has taken the queue's first block over, with all its bytes.
  [[nodiscard]] Block* take_block() noexcept {
    Block* const block = queue.pop_block();
    consumed(block->size());
    return block;
  }

  /// An ACK with these blocks and this edge has left.
  void acknowledged(SeqNum ack, SeqNum promised_edge) noexcept {
    last_ack_sent = ack;
    edge = std::max(edge, promised_edge);
    most = std::max(most, limit);
    unacked = 0;
    dsack = {};
    ack_now = false;
  }

  /// Has the next ACK report a range that came twice (RFC 2883 4).
  void report_duplicate(SackBlock block) noexcept {
    if (dsack.left == dsack.right) dsack = block;
  }

  /// How many unread bytes lie before the urgent mark (RFC 9293 MUST-33).
  [[nodiscard]] std::uint32_t urgent_remaining() const noexcept {
    if (!urgent) return 0;
    const SeqNum reading = (fin_taken ? nxt - 1 : nxt) - static_cast<std::uint32_t>(queue.size());
    return up <= reading ? 0 : static_cast<std::uint32_t>(up - reading);
  }

  /// Drops everything. An end that lies behind lost bytes is not reached any more.
  void clear(BlockPool& pool) noexcept {
    if (!queue.empty()) fin_taken = false;
    queue.clear(pool);
    out_of_order.clear(pool);
    recent_count = 0;
  }

 private:
  void consumed(std::size_t count) noexcept {
    tuning.read(count);
    if (urgent_remaining() == 0) urgent = false;  // the mark must not come back at a wrap-around
  }

  void take_in_order(Bytes data, Block** lent, BlockPool& pool, Accepted& result) noexcept {
    std::size_t taken = adopt(data, lent, pool) ? data.size() : append(data, pool);
    if (taken < data.size() && !out_of_order.empty()) {
      // What lies beyond the hole must not keep the hole from being filled (RFC 2018 8 allows it).
      out_of_order.clear(pool);
      recent_count = 0;
      taken += append(data.subspan(taken), pool);
    }
    result.refused = taken < data.size();
    nxt = nxt + static_cast<std::uint32_t>(taken);
    result.in_order = taken;
    if (!result.refused && !out_of_order.empty()) {
      const std::size_t joined = out_of_order.take(nxt, queue, pool);
      nxt = nxt + static_cast<std::uint32_t>(joined);
      result.in_order += joined;
      tuning.joined(joined);
      result.filled_gap = true;
      if (out_of_order.empty()) recent_count = 0;
    }
    edge = std::max(edge, nxt);
    unacked += static_cast<std::uint32_t>(result.in_order);
  }

  // As many runs as full segments with holes between them make in the buffer: a queue that is full
  // drops every second one. Smaller ones must not make more of them, for each takes a block.
  [[nodiscard]] std::uint32_t most_runs() const noexcept {
    constexpr std::uint32_t at_least = 256;
    return std::max(limit / (2U * mss), at_least);
  }

  [[nodiscard]] std::size_t room(std::size_t bound) const noexcept {
    return bound - std::min(bound, queue.size());
  }

  bool adopt(Bytes data, Block** lent, BlockPool& pool) noexcept {
    if (lent == nullptr || !(*lent)->is_worth(data.size()) || pool.under_pressure()) return false;
    const std::size_t begin = (*lent)->offset_of(data);
    if (begin == (*lent)->capacity) return false;
    Block* const other = pool.allocate((*lent)->capacity);
    if (other == nullptr) return false;
    Block* const block = std::exchange(*lent, other);
    block->begin = static_cast<std::uint32_t>(begin);
    block->end = static_cast<std::uint32_t>(begin + data.size());
    queue.append_block(block);
    return true;
  }

  std::size_t append(Bytes data, BlockPool& pool) noexcept {
    if (pool.nearly_used_up()) data = data.first(std::min(data.size(), room(pool.least_share)));
    return queue.append(data, pool);
  }

  // The right edge we would like: all free space, unless it is too little to be worth saying.
  [[nodiscard]] SeqNum offer() const noexcept {
    // One unit at least: a buffer made smaller than that later would shut the window for ever.
    const std::size_t free = room(std::max<std::size_t>(limit, std::size_t{1} << scale));
    SeqNum wanted =
        nxt + static_cast<std::uint32_t>(std::min<std::size_t>(free, std::size_t{0xffff} << scale));
    if (scale != 0) wanted = nxt + ((static_cast<std::uint32_t>(wanted - nxt) >> scale) << scale);
    if (wanted <= edge) return edge;
    const auto gain = static_cast<std::uint32_t>(wanted - edge);
    return gain >= std::min<std::uint32_t>(limit / 2, mss) ? wanted : edge;
  }

  void note_recent(SeqNum seq) noexcept {
    const SackBlock run = out_of_order.run_at(seq);
    std::array<SeqNum, 8> kept{seq};
    std::uint8_t count = 1;
    for (std::uint8_t i = 0; i < recent_count && count < kept.size(); ++i) {
      const bool same_run = run.left <= recent[i] && recent[i] < run.right;
      if (!same_run) kept[count++] = recent[i];
    }
    recent = kept;
    recent_count = count;
  }
};

}  // namespace tunic::inline v0
