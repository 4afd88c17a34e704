// SPDX-License-Identifier: BSL-1.0
#pragma once

// The receiver's out-of-order data: disjoint runs of bytes above RCV.NXT, in order of sequence (RFC
// 9293 SHLD-31). A byte that is here already is kept and the copy of it dropped, so nothing that
// was reported by SACK changes. A run and its bytes live in pool blocks; an empty queue holds
// nothing.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/byte_queue.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp_options.hpp>

#include <boost/intrusive/set.hpp>
#include <boost/intrusive/set_hook.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>

namespace tunic::inline v0 {

class OutOfOrderQueue {
 public:
  /// What became of a segment: how many of its bytes are new here, and which part of it was a copy
  /// (the first such part; an empty block if none).
  struct Inserted {
    std::size_t stored = 0;
    bool refused = false;  ///< Some of it was not taken: no memory, or too many runs.
    SackBlock duplicate{};
  };

  OutOfOrderQueue() = default;
  OutOfOrderQueue(const OutOfOrderQueue&) = delete;
  OutOfOrderQueue& operator=(const OutOfOrderQueue&) = delete;

  [[nodiscard]] bool empty() const noexcept { return runs_.empty(); }
  [[nodiscard]] std::uint32_t runs() const noexcept {
    return static_cast<std::uint32_t>(runs_.size());
  }

  /// Whether a byte at or above `seq` is here.
  [[nodiscard]] bool reaches(SeqNum seq) const noexcept {
    return !runs_.empty() && seq < runs_.rbegin()->end();
  }

  /// Stores the bytes of [seq, seq + data.size()) that are not here. Finding the place is
  /// O(log(runs)), O(1) for data that extends or follows the last run. Allocates from `pool`.
  Inserted insert(SeqNum seq, Bytes data, BlockPool& pool, std::uint32_t max_runs) noexcept {
    Inserted result;
    auto next = above(seq);
    while (!data.empty() && !result.refused) {
      auto run = next == runs_.begin() ? runs_.end() : std::prev(next);
      if (run == runs_.end() || run->end() < seq) {
        run = runs() < max_runs ? create(seq, next, pool) : runs_.end();
        if (run == runs_.end()) {
          result.refused = true;
          break;
        }
      } else {
        skip_copy(*run, seq, data, result);
        if (data.empty()) break;
      }
      const std::size_t gap =
          next == runs_.end() ? data.size() : std::min(data.size(), distance(seq, next->start));
      if (!extend(*run, seq, data, gap, result, pool) && run->bytes.empty()) {
        erase(run, pool);
        break;
      }
      if (next != runs_.end() && run->end() == next->start) {
        run->bytes.splice(std::move(next->bytes));
        next = erase(next, pool);
      }
    }
    return result;
  }

  /// Moves the bytes that continue at `next` to the end of `queue`, and returns how many. Bytes
  /// below `next` are dropped: they came in order meanwhile.
  std::size_t take(SeqNum next, ByteQueue& queue, BlockPool& pool) noexcept {
    while (!runs_.empty() && runs_.begin()->start <= next) {
      const auto run = runs_.begin();
      const std::size_t old = std::min(distance(run->start, next), run->bytes.size());
      run->bytes.consume(old, pool);
      const std::size_t taken = run->bytes.size();
      queue.splice(std::move(run->bytes));
      erase(run, pool);
      if (taken != 0) return taken;
    }
    return 0;
  }

  /// The run that holds the byte at `seq`; an empty block if none does. O(log(runs)).
  [[nodiscard]] SackBlock run_at(SeqNum seq) const noexcept {
    const auto next = above(seq);
    if (next == runs_.begin()) return {};
    const Run& run = *std::prev(next);
    return seq < run.end() ? SackBlock{run.start, run.end()} : SackBlock{};
  }

  void clear(BlockPool& pool) noexcept {
    while (!runs_.empty()) {
      runs_.begin()->bytes.clear(pool);
      erase(runs_.begin(), pool);
    }
  }

 private:
  struct Run : boost::intrusive::set_base_hook<
                   boost::intrusive::link_mode<boost::intrusive::normal_link>> {
    SeqNum start;
    ByteQueue bytes;
    Block* home = nullptr;  // the block that this run lives in

    [[nodiscard]] SeqNum end() const noexcept {
      return start + static_cast<std::uint32_t>(bytes.size());
    }
  };
  struct StartOf {
    using type = SeqNum;
    const SeqNum& operator()(const Run& run) const noexcept { return run.start; }
  };
  // All lie in one window, in which the modular order is an order.
  using Runs = boost::intrusive::set<Run, boost::intrusive::key_of_value<StartOf>>;

  static std::size_t distance(SeqNum from, SeqNum to) noexcept {
    return static_cast<std::uint32_t>(to - from);
  }

  // The first run that begins above `seq`.
  [[nodiscard]] Runs::const_iterator above(SeqNum seq) const noexcept {
    if (runs_.empty() || runs_.rbegin()->start <= seq) return runs_.end();
    return runs_.upper_bound(seq);
  }
  [[nodiscard]] Runs::iterator above(SeqNum seq) noexcept {
    if (runs_.empty() || runs_.rbegin()->start <= seq) return runs_.end();
    return runs_.upper_bound(seq);
  }

  // Drops the part of the segment that `run` has already; the run starts at or before `seq` and
  // touches it.
  static void skip_copy(const Run& run, SeqNum& seq, Bytes& data, Inserted& result) noexcept {
    const std::size_t copy = std::min(distance(seq, run.end()), data.size());
    if (copy != 0 && result.duplicate.left == result.duplicate.right) {
      result.duplicate = {seq, seq + static_cast<std::uint32_t>(copy)};
    }
    seq = seq + static_cast<std::uint32_t>(copy);
    data = data.subspan(copy);
  }

  // Appends the next `length` bytes to `run`, which ends at `seq`. False when the pool refused
  // some.
  static bool extend(Run& run, SeqNum& seq, Bytes& data, std::size_t length, Inserted& result,
                     BlockPool& pool) noexcept {
    const std::size_t taken = run.bytes.append(data.first(length), pool);
    result.stored += taken;
    result.refused = taken < length;
    seq = seq + static_cast<std::uint32_t>(taken);
    data = data.subspan(taken);
    return !result.refused;
  }

  // An empty run before `next`; the end when there is no memory for it.
  Runs::iterator create(SeqNum start, const Runs::iterator& next, BlockPool& pool) noexcept {
    Block* home = pool.allocate(sizeof(Run));
    if (home == nullptr) return runs_.end();
    Run* run = ::new (static_cast<void*>(home->data())) Run;
    run->start = start;
    run->home = home;
    return runs_.insert_before(next, *run);
  }

  // Removes a run that has no bytes left. Returns the one behind it.
  Runs::iterator erase(const Runs::iterator& run, BlockPool& pool) noexcept {
    Run& gone = *run;
    const auto next = runs_.erase(run);
    Block* home = gone.home;
    std::destroy_at(&gone);
    pool.release(home);
    return next;
  }

  Runs runs_;
};

}  // namespace tunic::inline v0
