// SPDX-License-Identifier: BSL-1.0
#pragma once

// Packs a small object of numbers by what it shares with a blank one and with itself: words that
// are as in the blank, and words of which the upper part or all was seen a little earlier, take a
// few bits. After Wilson, Kaplan and Smaragdakis' WKdm ("The case for compressed caching in virtual
// memory systems", 1999), which finds what integers and instants in memory have in common.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tunic::inline v0 {

/// How many bytes `pack_words` writes at most for so many bytes of state.
[[nodiscard]] constexpr std::size_t packed_bound(std::size_t state_bytes) noexcept {
  return (state_bytes / 4 * (2 + 32) + 7) / 8;
}

namespace detail {

// The words seen last, each in a place that its upper part gives.
class RecentWords {
 public:
  static constexpr unsigned low_bits = 10;
  static constexpr unsigned index_bits = 4;

  [[nodiscard]] static std::uint32_t index_of(std::uint32_t word) noexcept {
    return ((word >> low_bits) * 0x9e3779b1U) >> (32 - index_bits);
  }
  [[nodiscard]] std::uint32_t& at(std::uint32_t index) noexcept { return words_[index]; }

 private:
  std::array<std::uint32_t, 1U << index_bits> words_{};
};

enum class WordKind : std::uint8_t { blank, seen, near, other };

[[nodiscard]] inline std::uint32_t word_at(Bytes bytes, std::size_t offset) noexcept {
  std::uint32_t word = 0;
  std::memcpy(&word, bytes.data() + offset, sizeof word);
  return word;
}

}  // namespace detail

/// Packs `state`, whole words, to `out`, which has room for `packed_bound(state.size())` bytes.
/// Returns how many were written. `blank` has the same size.
inline std::size_t pack_words(Bytes state, Bytes blank, MutableBytes out) noexcept {
  using detail::RecentWords;
  TUNIC_ASSERT(state.size() % 4 == 0 && state.size() == blank.size());
  constexpr unsigned index_end = 2 + RecentWords::index_bits;
  RecentWords recent;
  std::uint64_t bits = 0;
  unsigned count = 0;
  std::size_t written = 0;
  const auto put = [&](detail::WordKind kind, std::uint64_t value, unsigned width) noexcept {
    bits |= (static_cast<std::uint64_t>(kind) | (value << 2)) << count;
    for (count += width; count >= 8; count -= 8) {
      out[written++] = static_cast<std::byte>(bits);
      bits >>= 8;
    }
  };
  for (std::size_t offset = 0; offset < state.size(); offset += 4) {
    const std::uint32_t word = detail::word_at(state, offset);
    if (word == detail::word_at(blank, offset)) {
      put(detail::WordKind::blank, 0, 2);
      continue;
    }
    const std::uint32_t index = RecentWords::index_of(word);
    std::uint32_t& place = recent.at(index);
    if (place == word) {
      put(detail::WordKind::seen, index, index_end);
    } else if (place >> RecentWords::low_bits == word >> RecentWords::low_bits) {
      constexpr std::uint32_t mask = (1U << RecentWords::low_bits) - 1;
      put(detail::WordKind::near, index | ((word & mask) << RecentWords::index_bits),
          index_end + RecentWords::low_bits);
    } else {
      put(detail::WordKind::other, word, 2 + 32);
    }
    place = word;
  }
  if (count != 0) out[written++] = static_cast<std::byte>(bits);
  return written;
}

/// The state that was packed with the same `blank`, to `state`, which has its size.
inline void unpack_words(Bytes packed, Bytes blank, MutableBytes state) noexcept {
  using detail::RecentWords;
  TUNIC_ASSERT(state.size() == blank.size());
  RecentWords recent;
  std::uint64_t bits = 0;
  unsigned count = 0;
  std::size_t read = 0;
  const auto take = [&](unsigned width) noexcept {
    for (; count < width && read < packed.size(); count += 8)
      bits |= static_cast<std::uint64_t>(packed[read++]) << count;
    const auto value = static_cast<std::uint32_t>(bits & ((std::uint64_t{1} << width) - 1));
    bits >>= width;
    count -= width;
    return value;
  };
  for (std::size_t offset = 0; offset < state.size(); offset += 4) {
    std::uint32_t word = 0;
    switch (static_cast<detail::WordKind>(take(2))) {
      case detail::WordKind::blank:
        word = detail::word_at(blank, offset);
        break;
      case detail::WordKind::seen:
        word = recent.at(take(RecentWords::index_bits));
        break;
      case detail::WordKind::near: {
        std::uint32_t& place = recent.at(take(RecentWords::index_bits));
        constexpr std::uint32_t upper = ~((1U << RecentWords::low_bits) - 1);
        word = place = (place & upper) | take(RecentWords::low_bits);
        break;
      }
      case detail::WordKind::other:
        word = take(32);
        recent.at(RecentWords::index_of(word)) = word;
        break;
    }
    std::memcpy(state.data() + offset, &word, sizeof word);
  }
}

}  // namespace tunic::inline v0
