// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the tests of parsers share: bytes in blocks of exactly their size, so that the address
// sanitizer sees a read beyond the end, and bytes by the hexadecimal digits of a packet.

#include <tunic/base/bytes.hpp>

#include <cstddef>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

namespace tunic::test {

/// A copy of bytes in an allocation of its own that has no byte more.
class Exact {
 public:
  explicit Exact(Bytes bytes) : storage_{new std::byte[bytes.size()]}, size_{bytes.size()} {
    copy({storage_.get(), size_}, bytes);
  }
  [[nodiscard]] Bytes bytes() const noexcept { return {storage_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> storage_;
  std::size_t size_;
};

/// Bytes of hexadecimal digits; all else is skipped.
inline std::vector<std::byte> hex(std::string_view digits) {
  std::vector<std::byte> bytes;
  unsigned value = 1;  // the leading one marks how many digits there are
  for (const char c : digits) {
    const auto digit = std::string_view{"0123456789abcdef"}.find(c);
    if (digit == std::string_view::npos) continue;
    value = value << 4 | static_cast<unsigned>(digit);
    if (value < 0x100) continue;
    bytes.push_back(static_cast<std::byte>(value));
    value = 1;
  }
  return bytes;
}

/// Reproducible bytes.
inline std::vector<std::byte> random_bytes(std::mt19937_64& random, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

}  // namespace tunic::test
