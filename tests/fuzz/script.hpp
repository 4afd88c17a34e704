// SPDX-License-Identifier: BSL-1.0
#pragma once

// A fuzzer's bytes read as decisions. When they run out every further decision is zero, so that
// each harness ends by itself and does no harm when it is told nothing.

#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/wire/text.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace tunic::fuzz {

class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) noexcept
      : left_{std::as_bytes(std::span{data, size})} {}

  [[nodiscard]] bool done() const noexcept { return left_.empty(); }

  std::uint8_t byte() noexcept {
    if (left_.empty()) return 0;
    const auto value = static_cast<std::uint8_t>(left_[0]);
    left_ = left_.subspan(1);
    return value;
  }
  bool flag() noexcept { return (byte() & 1) != 0; }
  std::uint16_t word() noexcept {
    const unsigned high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }
  std::uint32_t dword() noexcept {
    const std::uint32_t high = word();
    return high << 16 | word();
  }
  /// One of a few values.
  template <class T, std::size_t n>
  T pick(const std::array<T, n>& values) noexcept {
    return values[byte() % n];
  }
  /// At most `count` bytes, as they are.
  Bytes take(std::size_t count) noexcept {
    const Bytes taken = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  std::vector<std::byte> copy(std::size_t count) {
    const Bytes taken = take(count);
    return {taken.begin(), taken.end()};
  }

 private:
  Bytes left_;
};

/// The byte of a stream at a place of it: what is sent and received is checked against it.
constexpr std::byte pattern(std::uint32_t place) noexcept {
  std::uint32_t mixed = place * 0x9e3779b1U;
  mixed ^= mixed >> 15;
  return static_cast<std::byte>(mixed * 0x85ebca77U >> 24);
}
inline std::vector<std::byte> pattern(std::uint32_t place, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (auto& byte : bytes) byte = pattern(place++);
  return bytes;
}
inline bool is_pattern(std::uint32_t place, Bytes bytes) noexcept {
  return std::all_of(bytes.begin(), bytes.end(),
                     [&place](std::byte byte) { return byte == pattern(place++); });
}

/// With TUNIC_FUZZ_TRACE set in the environment, a line for a packet: how one reads a reproducer.
inline void trace(Instant now, const char* what, Bytes packet) {
  static const bool wanted = std::getenv("TUNIC_FUZZ_TRACE") != nullptr;
  if (!wanted) return;
  const double seconds = std::chrono::duration<double>(now.time_since_epoch()).count();
  std::fprintf(stderr, "%12.6f %s %s\n", seconds, what, to_text(packet).c_str());
}

}  // namespace tunic::fuzz

/// What libFuzzer calls, and driver.cpp where there is none.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
