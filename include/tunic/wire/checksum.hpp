// SPDX-License-Identifier: BSL-1.0
#pragma once

// The Internet checksum (RFC 1071, RFC 9293 3.1): the complement of the ones' complement sum of
// 16-bit words. The sum is formed in memory order and swapped once at its end, which gives the same
// result on either byte order (RFC 1071 2 B). Written with the compilers' generic vectors, so that
// it is fast without any instruction-set flag.

#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/ip_protocol.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tunic::inline v0 {

/// A running sum over pieces of bytes that follow one another; a piece may have any length and
/// alignment.
class InternetSum {
 public:
  constexpr InternetSum() noexcept = default;

  /// Appends bytes. An odd piece is not padded: the next one continues in the middle of its last
  /// word.
  void add(Bytes bytes) noexcept {
    const std::uint64_t part = sum_bytes(bytes.data(), bytes.size());
    add_wide(odd_ ? std::rotl(part, 8) : part);
    odd_ ^= (bytes.size() & 1) != 0;
  }

  /// Appends a word of the pseudo-header or header, given in host order.
  void add_word(std::uint16_t word) noexcept {
    const std::uint64_t in_memory_order = swap_if_little(word);
    add_wide(odd_ ? std::rotl(in_memory_order, 8) : in_memory_order);
  }

  /// The checksum in host order, to be stored big-endian. Zero if the bytes contained their own
  /// right checksum.
  [[nodiscard]] std::uint16_t finish() const noexcept {
    std::uint64_t folded = (sum_ >> 32) + (sum_ & 0xffffffffU);
    folded = (folded >> 16) + (folded & 0xffffU);
    folded = (folded >> 16) + (folded & 0xffffU);
    folded = (folded >> 16) + (folded & 0xffffU);
    return static_cast<std::uint16_t>(~swap_if_little(static_cast<std::uint16_t>(folded)));
  }

 private:
  using Lanes [[gnu::vector_size(16)]] = std::uint64_t;

  /// Adds with end-around carry.
  constexpr void add_wide(std::uint64_t part) noexcept {
    sum_ += part;
    sum_ += static_cast<std::uint64_t>(sum_ < part);
  }

  static constexpr std::uint16_t swap_if_little(std::uint16_t word) noexcept {
    if constexpr (std::endian::native == std::endian::big) return word;
    return static_cast<std::uint16_t>(word << 8 | word >> 8);
  }

  static Lanes load_lanes(const std::byte* from) noexcept {
    Lanes lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
  }

  /// A sum of 64-bit words that is right modulo 2^64 - 1, in memory order, zero-padded at the end.
  /// Each lane keeps the sum of whole words, which wraps, and the sum of their upper halves, which
  /// can't: the sum of the lower halves is their difference, since it can't wrap either.
  static std::uint64_t sum_bytes(const std::byte* from, std::size_t left) noexcept {
    std::uint64_t sum = 0;
    if (left >= 64) {
      Lanes all_a{}, all_b{}, upper_a{}, upper_b{};
      for (; left >= 64; from += 64, left -= 64) {
        const Lanes a = load_lanes(from), b = load_lanes(from + 16);
        const Lanes c = load_lanes(from + 32), d = load_lanes(from + 48);
        all_a += a;
        upper_a += a >> 32;
        all_b += b;
        upper_b += b >> 32;
        all_a += c;
        upper_a += c >> 32;
        all_b += d;
        upper_b += d >> 32;
      }
      const Lanes upper = upper_a + upper_b;
      const Lanes halves = (all_a + all_b) - (upper << 32) + upper;
      sum = halves[0] + halves[1];
    }
    for (; left >= 4; from += 4, left -= 4) {
      std::uint32_t word;
      std::memcpy(&word, from, 4);
      sum += word;
    }
    if (left != 0) {
      std::uint32_t word = 0;
      std::memcpy(&word, from, left);
      sum += word;
    }
    return sum;
  }

  std::uint64_t sum_ = 0;
  bool odd_ = false;
};

/// The checksum of bytes that stand alone (an IPv4 header, an ICMPv4 message).
[[nodiscard]] inline std::uint16_t checksum(Bytes bytes) noexcept {
  InternetSum sum;
  sum.add(bytes);
  return sum.finish();
}

/// The sum of the pseudo-header that TCP, UDP and ICMPv6 prepend (RFC 9293 3.1, RFC 8200 8.1);
/// `length_bytes` counts the transport's header and payload. Both addresses are of one family.
[[nodiscard]] inline InternetSum pseudo_header_sum(const IpAddress& src, const IpAddress& dst,
                                                   IpProtocol protocol,
                                                   std::uint32_t length_bytes) noexcept {
  InternetSum sum;
  const auto add_32 = [&sum](std::uint32_t value) noexcept {
    sum.add_word(static_cast<std::uint16_t>(value >> 16));
    sum.add_word(static_cast<std::uint16_t>(value));
  };
  if (src.is_v4()) {
    add_32(src.v4_bits());
    add_32(dst.v4_bits());
  } else {
    sum.add(src.bytes());
    sum.add(dst.bytes());
  }
  add_32(length_bytes);
  sum.add_word(static_cast<std::uint16_t>(protocol));
  return sum;
}

}  // namespace tunic::inline v0
