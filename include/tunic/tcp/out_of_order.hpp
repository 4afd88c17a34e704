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

#include <algorithm>
#include <cstdint>
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

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] std::uint32_t runs() const noexcept { return runs_; }

  /// Stores the bytes of [seq, seq + data.size()) that are not here. O(number of runs) at worst,
  /// O(1) for data that extends or follows the last run. Allocates from `pool`.
  Inserted insert(SeqNum seq, Bytes data, BlockPool& pool, std::uint32_t max_runs) noexcept {
    Inserted result;
    Run* previous = last_ != nullptr && last_->start <= seq ? last_ : nullptr;
    Run* run = previous != nullptr ? previous : first_;
    while (!data.empty() && !result.refused) {
      while (run != nullptr && run->end() < seq) {
        previous = run;
        run = run->next;
      }
      if (run == nullptr || seq < run->start) {
        const std::size_t gap =
            run == nullptr ? data.size() : std::min(data.size(), distance(seq, run->start));
        Run* created = runs_ < max_runs ? create(seq, pool) : nullptr;
        if (created == nullptr) {
          result.refused = true;
          break;
        }
        link(created, previous, run);
        run = created;
        if (!extend(*run, seq, data, gap, result, pool) && run->bytes.empty()) {
          unlink(previous, run, pool);
          break;
        }
      } else {
        skip_copy(*run, seq, data, result);
        if (data.empty()) break;
        const std::size_t gap = run->next == nullptr
                                    ? data.size()
                                    : std::min(data.size(), distance(seq, run->next->start));
        extend(*run, seq, data, gap, result, pool);
      }
      if (run->next != nullptr && run->end() == run->next->start) merge_next(*run, pool);
    }
    return result;
  }

  /// Moves the bytes that continue at `next` to the end of `queue`, and returns how many. Bytes
  /// below `next` are dropped: they came in order meanwhile.
  std::size_t take(SeqNum next, ByteQueue& queue, BlockPool& pool) noexcept {
    while (first_ != nullptr && first_->start <= next) {
      Run* run = first_;
      const std::size_t old = std::min(distance(run->start, next), run->bytes.size());
      run->bytes.consume(old, pool);
      const std::size_t taken = run->bytes.size();
      queue.splice(std::move(run->bytes));
      unlink(nullptr, run, pool);
      if (taken != 0) return taken;
    }
    return 0;
  }

  /// The run that holds the byte at `seq`; an empty block if none does.
  [[nodiscard]] SackBlock run_at(SeqNum seq) const noexcept {
    for (const Run* run = first_; run != nullptr && run->start <= seq; run = run->next) {
      if (seq < run->end()) return {run->start, run->end()};
    }
    return {};
  }

  void clear(BlockPool& pool) noexcept {
    while (first_ != nullptr) {
      first_->bytes.clear(pool);
      unlink(nullptr, first_, pool);
    }
  }

 private:
  struct Run {
    SeqNum start;
    ByteQueue bytes;
    Run* next = nullptr;
    Block* home = nullptr;  // the block that this run lives in

    [[nodiscard]] SeqNum end() const noexcept {
      return start + static_cast<std::uint32_t>(bytes.size());
    }
  };

  static std::size_t distance(SeqNum from, SeqNum to) noexcept {
    return static_cast<std::uint32_t>(to - from);
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

  static Run* create(SeqNum start, BlockPool& pool) noexcept {
    Block* home = pool.allocate(sizeof(Run));
    if (home == nullptr) return nullptr;
    Run* run = ::new (static_cast<void*>(home->data())) Run;
    run->start = start;
    run->home = home;
    return run;
  }

  void link(Run* run, Run* previous, Run* next) noexcept {
    run->next = next;
    (previous == nullptr ? first_ : previous->next) = run;
    if (next == nullptr) last_ = run;
    ++runs_;
  }

  // Removes a run that has no bytes left.
  void unlink(Run* previous, Run* run, BlockPool& pool) noexcept {
    (previous == nullptr ? first_ : previous->next) = run->next;
    if (last_ == run) last_ = previous;
    --runs_;
    Block* home = run->home;
    std::destroy_at(run);
    pool.release(home);
  }

  void merge_next(Run& run, BlockPool& pool) noexcept {
    run.bytes.splice(std::move(run.next->bytes));
    unlink(&run, run.next, pool);
  }

  Run* first_ = nullptr;
  Run* last_ = nullptr;
  std::uint32_t runs_ = 0;
};

}  // namespace tunic::inline v0
