// SPDX-License-Identifier: BSL-1.0
#pragma once

// Views of bytes, which is what packets and payloads are before and after parsing.

#include <tunic/base/assert.hpp>

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

namespace tunic::inline v0 {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

/// The bytes of a text, without its terminating zero.
[[nodiscard]] inline Bytes as_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span{text.data(), text.size()});
}

/// Bytes seen as text; not zero-terminated.
[[nodiscard]] inline std::string_view as_text(Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Copies all of `from` to the start of `to`, which must be at least as long; they do not overlap.
inline void copy(MutableBytes to, Bytes from) noexcept {
  TUNIC_ASSERT(from.size() <= to.size());
  if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
}

}  // namespace tunic::inline v0
