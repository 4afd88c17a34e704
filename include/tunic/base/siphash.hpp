// SPDX-License-Identifier: BSL-1.0
#pragma once

// SipHash (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) with 64-bit output:
// hashes that a peer without the key can neither predict nor make collide. SipHash-1-3 keys hash
// tables; SipHash-2-4 is the conservative choice where the output itself is shown to a peer.

#include <tunic/base/bytes.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>

namespace tunic::inline v0 {

/// 128 secret bits; `k0` is the first eight bytes of the key read as little-endian.
struct SipKey {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;
  friend constexpr bool operator==(const SipKey&, const SipKey&) = default;
};

namespace detail {

// The four words of state, with `c` rounds for each word of input and `d` rounds at the end.
template <int c, int d>
class SipState {
 public:
  constexpr explicit SipState(SipKey key) noexcept
      : v0_{key.k0 ^ 0x736f6d6570736575},  // the constants spell "somepseudorandomlygeneratedbytes"
        v1_{key.k1 ^ 0x646f72616e646f6d},
        v2_{key.k0 ^ 0x6c7967656e657261},
        v3_{key.k1 ^ 0x7465646279746573} {}

  constexpr void absorb(std::uint64_t word) noexcept {
    v3_ ^= word;
    for (int i = 0; i < c; ++i) round();
    v0_ ^= word;
  }

  [[nodiscard]] constexpr std::uint64_t finish() noexcept {
    v2_ ^= 0xff;
    for (int i = 0; i < d; ++i) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  constexpr void round() noexcept {
    v0_ += v1_;
    v2_ += v3_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ = std::rotl(v0_, 32);
    v0_ += v3_;
    v2_ += v1_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v2_ = std::rotl(v2_, 32);
  }

  std::uint64_t v0_;
  std::uint64_t v1_;
  std::uint64_t v2_;
  std::uint64_t v3_;
};

// Up to eight bytes as a little-endian word, the missing ones zero.
inline std::uint64_t little_endian_word(Bytes bytes) noexcept {
  std::uint64_t word = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&word, bytes.data(), bytes.size());
  } else {
    for (std::size_t i = bytes.size(); i-- > 0;)
      word = word << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  }
  return word;
}

}  // namespace detail

/// SipHash-c-d of `bytes`.
template <int c, int d>
[[nodiscard]] std::uint64_t siphash(SipKey key, Bytes bytes) noexcept {
  detail::SipState<c, d> state{key};
  const std::uint64_t length = bytes.size();
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    state.absorb(detail::little_endian_word(bytes.first<8>()));
  }
  state.absorb(length << 56 | (bytes.empty() ? 0 : detail::little_endian_word(bytes)));
  return state.finish();
}

/// SipHash-c-d of words: equal to that of their bytes in little-endian order.
template <int c, int d>
[[nodiscard]] constexpr std::uint64_t siphash(SipKey key,
                                              std::span<const std::uint64_t> words) noexcept {
  detail::SipState<c, d> state{key};
  for (const std::uint64_t word : words) state.absorb(word);
  state.absorb(std::uint64_t{words.size()} << 59);
  return state.finish();
}

[[nodiscard]] inline std::uint64_t siphash24(SipKey key, Bytes bytes) noexcept {
  return siphash<2, 4>(key, bytes);
}
[[nodiscard]] constexpr std::uint64_t siphash24(
    SipKey key, std::initializer_list<std::uint64_t> words) noexcept {
  return siphash<2, 4>(key, std::span{words.begin(), words.size()});
}
[[nodiscard]] inline std::uint64_t siphash13(SipKey key, Bytes bytes) noexcept {
  return siphash<1, 3>(key, bytes);
}
[[nodiscard]] constexpr std::uint64_t siphash13(
    SipKey key, std::initializer_list<std::uint64_t> words) noexcept {
  return siphash<1, 3>(key, std::span{words.begin(), words.size()});
}

}  // namespace tunic::inline v0
