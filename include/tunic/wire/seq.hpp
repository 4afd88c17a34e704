// SPDX-License-Identifier: BSL-1.0
#pragma once

// TCP sequence numbers: arithmetic modulo 2^32 (RFC 9293 3.4). Comparisons are by signed distance,
// so they mean something only for numbers less than 2^31 apart, which holds for all that is in one
// connection's windows. It is not a strict weak ordering over all 2^32 values: never a key of a
// sorted container without that bound.

#include <cstdint>
#include <iosfwd>

namespace tunic::inline v0 {

/// One sequence number. Offsets are plain `std::uint32_t`; differences are signed.
class SeqNum {
 public:
  constexpr SeqNum() noexcept = default;
  constexpr explicit SeqNum(std::uint32_t value) noexcept : value_{value} {}

  [[nodiscard]] constexpr std::uint32_t value() const noexcept { return value_; }

  constexpr SeqNum& operator+=(std::uint32_t by) noexcept {
    value_ += by;
    return *this;
  }
  constexpr SeqNum& operator-=(std::uint32_t by) noexcept {
    value_ -= by;
    return *this;
  }
  [[nodiscard]] friend constexpr SeqNum operator+(SeqNum seq, std::uint32_t by) noexcept {
    return seq += by;
  }
  [[nodiscard]] friend constexpr SeqNum operator-(SeqNum seq, std::uint32_t by) noexcept {
    return seq -= by;
  }

  /// How far `a` lies after `b`; negative if before. At a distance of exactly 2^31 it is INT32_MIN
  /// both ways.
  [[nodiscard]] friend constexpr std::int32_t operator-(SeqNum a, SeqNum b) noexcept {
    return static_cast<std::int32_t>(a.value_ - b.value_);
  }

  [[nodiscard]] friend constexpr bool operator==(SeqNum, SeqNum) noexcept = default;
  [[nodiscard]] friend constexpr bool operator<(SeqNum a, SeqNum b) noexcept { return a - b < 0; }
  [[nodiscard]] friend constexpr bool operator<=(SeqNum a, SeqNum b) noexcept { return a - b <= 0; }
  [[nodiscard]] friend constexpr bool operator>(SeqNum a, SeqNum b) noexcept { return b < a; }
  [[nodiscard]] friend constexpr bool operator>=(SeqNum a, SeqNum b) noexcept { return b <= a; }

  /// Whether it lies in [start, start + length). Unlike the comparisons this is right for every
  /// length.
  [[nodiscard]] constexpr bool in_window(SeqNum start, std::uint32_t length) const noexcept {
    return value_ - start.value_ < length;
  }

  [[nodiscard]] friend constexpr SeqNum min(SeqNum a, SeqNum b) noexcept { return b < a ? b : a; }
  [[nodiscard]] friend constexpr SeqNum max(SeqNum a, SeqNum b) noexcept { return a < b ? b : a; }

  template <class Traits>
  friend std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                                      SeqNum seq) {
    return out << seq.value_;
  }

 private:
  std::uint32_t value_ = 0;
};

}  // namespace tunic::inline v0
