// SPDX-License-Identifier: BSL-1.0
#pragma once

// Layouts: structs of Boost.Endian buffers that have the shape of a header on the wire, without
// padding and with alignment 1. They are copied from and to bytes as a whole; nothing points into a
// packet as if it were a struct.

#include <tunic/base/bytes.hpp>

#include <cstddef>
#include <cstring>
#include <type_traits>

namespace tunic::inline v0::detail {

template <class T>
inline constexpr bool is_layout = std::is_trivially_copyable_v<T> && alignof(T) == 1;

/// The layout at the front of `bytes`, which hold at least that much.
template <class Layout>
[[nodiscard]] Layout load(Bytes bytes) noexcept {
  static_assert(is_layout<Layout>);
  Layout layout;
  std::memcpy(&layout, bytes.data(), sizeof layout);
  return layout;
}

/// Writes a layout to the front of `out`, which holds at least that much.
template <class Layout>
void store(MutableBytes out, const Layout& layout) noexcept {
  static_assert(is_layout<Layout>);
  std::memcpy(out.data(), &layout, sizeof layout);
}

}  // namespace tunic::inline v0::detail
