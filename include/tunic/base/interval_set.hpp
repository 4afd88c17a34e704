// SPDX-License-Identifier: BSL-1.0
#pragma once

// Disjoint half-open ranges in order, a fixed number of them in place: which parts of a datagram
// have come, which parts of a stream the peer has. Bounded by construction, since it is the peer
// who chooses the ranges.

#include <tunic/base/assert.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tunic::inline v0 {

/// At most `N` ranges over `T`: an unsigned integer, or a sequence number whose `<` is modular, as
/// long as all values in the set lie within half its circle. `T` needs `<` and a difference that
/// converts to its unsigned length. Ranges that touch are one. Calls are O(log N), changes in the
/// middle O(N).
template <class T = std::uint32_t, std::size_t N = 32>
class IntervalSet {
 public:
  using Length = std::make_unsigned_t<decltype(T{} - T{})>;

  /// [first, last)
  struct Range {
    T first{};
    T last{};
    [[nodiscard]] constexpr Length size() const noexcept {
      return static_cast<Length>(last - first);
    }
    [[nodiscard]] constexpr bool empty() const noexcept { return !(first < last); }
    friend constexpr bool operator==(const Range&, const Range&) = default;
  };

  /// What an insertion changed.
  struct Inserted {
    Length added = 0;       ///< Values that were not in the set.
    Length overlapped = 0;  ///< Values that were.
    bool full = false;      ///< Refused: there would be more than `N` ranges. Nothing was changed.
    Range range{};          ///< The range that now holds them all.
  };

  /// Adds [first, last); an empty or reversed range adds nothing.
  constexpr Inserted insert(T first, T last) noexcept {
    if (!(first < last)) return {};
    const std::size_t from = first_ending_at_or_after(first);
    std::size_t to = from;
    Inserted result{.range = {first, last}};
    for (; to < size_ && !(last < ranges_[to].first); ++to) {
      const Range& old = ranges_[to];
      result.overlapped += Range{later(old.first, first), earlier(old.last, last)}.size();
      result.range = {earlier(old.first, result.range.first), later(old.last, result.range.last)};
    }
    if (from == to && size_ == N) return {.full = true};
    replace(from, to, result.range);
    result.added = Range{first, last}.size() - result.overlapped;
    total_ += result.added;
    return result;
  }

  /// Removes all values below `limit` and returns how many there were.
  constexpr Length erase_below(T limit) noexcept {
    std::size_t gone = 0;
    Length removed = 0;
    for (; gone < size_ && !(limit < ranges_[gone].last); ++gone) removed += ranges_[gone].size();
    std::move(ranges_.data() + gone, ranges_.data() + size_, ranges_.data());
    size_ -= gone;
    if (size_ != 0 && ranges_[0].first < limit) {
      removed += Range{ranges_[0].first, limit}.size();
      ranges_[0].first = limit;
    }
    total_ -= removed;
    return removed;
  }

  constexpr void clear() noexcept {
    size_ = 0;
    total_ = 0;
  }

  /// Whether `value` is in the set.
  [[nodiscard]] constexpr bool covers(T value) const noexcept {
    const std::size_t i = first_ending_after(value);
    return i < size_ && !(value < ranges_[i].first);
  }
  /// Whether all of [first, last) is in the set; an empty range is.
  [[nodiscard]] constexpr bool contains(T first, T last) const noexcept {
    if (!(first < last)) return true;
    const std::size_t i = first_ending_after(first);
    return i < size_ && !(first < ranges_[i].first) && !(ranges_[i].last < last);
  }
  /// The first range within [from, limit) of values that are not in the set; empty, at `limit`, if
  /// all are.
  [[nodiscard]] constexpr Range next_gap(T from, T limit) const noexcept {
    std::size_t i = first_ending_after(from);
    if (i < size_ && !(from < ranges_[i].first)) from = ranges_[i++].last;
    if (!(from < limit)) return {limit, limit};
    return {from, i < size_ ? earlier(ranges_[i].first, limit) : limit};
  }

  /// How many ranges there are.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] static constexpr std::size_t capacity() noexcept { return N; }
  /// How many values there are.
  [[nodiscard]] constexpr Length total() const noexcept { return total_; }

  /// The ranges in order. Every change ends what these gave.
  [[nodiscard]] constexpr const Range* begin() const noexcept { return ranges_.data(); }
  [[nodiscard]] constexpr const Range* end() const noexcept { return ranges_.data() + size_; }
  [[nodiscard]] constexpr const Range& operator[](std::size_t index) const noexcept {
    TUNIC_ASSERT(index < size_);
    return ranges_[index];
  }

 private:
  static constexpr T earlier(T a, T b) noexcept { return b < a ? b : a; }
  static constexpr T later(T a, T b) noexcept { return a < b ? b : a; }

  [[nodiscard]] constexpr std::size_t first_ending_at_or_after(T value) const noexcept {
    return static_cast<std::size_t>(
        std::partition_point(begin(), end(),
                             [&](const Range& range) { return range.last < value; }) -
        begin());
  }
  [[nodiscard]] constexpr std::size_t first_ending_after(T value) const noexcept {
    return static_cast<std::size_t>(
        std::partition_point(begin(), end(),
                             [&](const Range& range) { return !(value < range.last); }) -
        begin());
  }

  // Puts `range` where ranges [from, to) are; there is room for one more if there are none.
  constexpr void replace(std::size_t from, std::size_t to, Range range) noexcept {
    Range* const at = ranges_.data();
    if (from == to) {
      std::move_backward(at + from, at + size_, at + size_ + 1);
      ++size_;
    } else {
      std::move(at + to, at + size_, at + from + 1);
      size_ -= to - from - 1;
    }
    at[from] = range;
  }

  std::array<Range, N> ranges_{};
  std::size_t size_ = 0;
  Length total_ = 0;
};

}  // namespace tunic::inline v0
