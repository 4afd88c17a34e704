// SPDX-License-Identifier: BSL-1.0
#pragma once

// TCP options: MSS (RFC 9293 3.7.1), window scale and timestamps (RFC 7323 2, 3), SACK (RFC 2018)
// as one small value, with parser and writer. Kinds that are not known are skipped (MUST-6);
// lengths that can't be are refused (MUST-7). What an option means, and on which segments it
// counts, is not decided here.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/layout.hpp>
#include <tunic/wire/seq.hpp>

#include <boost/endian/buffers.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace tunic::inline v0 {

/// The most bytes of options: the data offset counts up to 15 words, five of which are the fixed
/// header.
inline constexpr std::size_t tcp_max_options_bytes = 40;
/// The largest shift of a window (RFC 7323 2.3).
inline constexpr std::uint8_t tcp_max_window_scale = 14;

/// The kinds that are spoken (IANA "TCP Option Kind Numbers").
enum class TcpOptionKind : std::uint8_t {
  end_of_list = 0,
  no_operation = 1,
  mss = 2,
  window_scale = 3,
  sack_permitted = 4,
  sack = 5,
  timestamps = 8,
};

/// TSval and TSecr.
struct TcpTimestamps {
  std::uint32_t value = 0;
  std::uint32_t echo = 0;

  [[nodiscard]] friend constexpr bool operator==(const TcpTimestamps&,
                                                 const TcpTimestamps&) noexcept = default;
};

/// A block of received bytes, [left, right). As received it may be empty, inverted or anywhere.
struct SackBlock {
  SeqNum left{};
  SeqNum right{};

  [[nodiscard]] friend constexpr bool operator==(const SackBlock&,
                                                 const SackBlock&) noexcept = default;
};

/// The options of one segment. A value counts only if its `has_...` is set.
struct TcpOptions {
  bool has_mss = false;
  bool has_window_scale = false;
  bool has_timestamps = false;
  bool sack_permitted = false;
  std::uint16_t mss = 0;
  std::uint8_t window_scale = 0;  ///< Parsed: at most 14, the value to use (RFC 7323 2.3).
  bool window_scale_was_excessive = false;  ///< Parsed: it said more than 14, which one may log.
  std::uint8_t sack_count = 0;
  TcpTimestamps timestamps{};
  // Spelled out, since g++ 12 clears a whole segment by `rep stos` if a part of it is `{}`.
  std::array<SackBlock, 4> sack{SackBlock{}, SackBlock{}, SackBlock{}, SackBlock{}};

  [[nodiscard]] constexpr std::span<const SackBlock> sack_blocks() const noexcept {
    return std::span{sack}.first(sack_count);
  }

  /// The bytes that `write_tcp_options` needs for it, a multiple of 4 and at most 40.
  [[nodiscard]] constexpr std::size_t encoded_bytes() const noexcept {
    return bytes_before_sack() + (fitting_sack_blocks() == 0 ? 0 : 4 + 8 * fitting_sack_blocks());
  }

  /// How many of the SACK blocks find room beside the other options: three with timestamps.
  [[nodiscard]] constexpr std::size_t fitting_sack_blocks() const noexcept {
    return std::min<std::size_t>(sack_count, (tcp_max_options_bytes - bytes_before_sack() - 4) / 8);
  }

  [[nodiscard]] friend constexpr bool operator==(const TcpOptions&,
                                                 const TcpOptions&) noexcept = default;

 private:
  [[nodiscard]] constexpr std::size_t bytes_before_sack() const noexcept {
    return (has_mss ? 4U : 0U) +
           (has_timestamps   ? 12U
            : sack_permitted ? 4U
                             : 0U) +
           (has_window_scale ? 4U : 0U);
  }
};
static_assert(sizeof(TcpOptions) <= 56);

namespace detail {

struct TcpTimestampsLayout {
  boost::endian::big_uint32_buf_t value;
  boost::endian::big_uint32_buf_t echo;
};
static_assert(sizeof(TcpTimestampsLayout) == 8 && alignof(TcpTimestampsLayout) == 1);

struct SackBlockLayout {
  boost::endian::big_uint32_buf_t left;
  boost::endian::big_uint32_buf_t right;
};
static_assert(sizeof(SackBlockLayout) == 8 && alignof(SackBlockLayout) == 1);

inline TcpTimestamps load_timestamps(Bytes bytes) noexcept {
  const auto layout = load<TcpTimestampsLayout>(bytes);
  return {layout.value.value(), layout.echo.value()};
}

/// NOP NOP timestamps(10), the layout of RFC 7323's appendix A.
inline constexpr std::uint32_t aligned_timestamps = 0x0101'080a;

/// One option's value, `body`, without kind and length. A length that the kind does not have is
/// like a kind that is not known.
inline void read_tcp_option(TcpOptions& options, TcpOptionKind kind, Bytes body) noexcept {
  switch (kind) {
    case TcpOptionKind::mss:
      if (body.size() != 2) return;
      options.mss = load<boost::endian::big_uint16_buf_t>(body).value();
      options.has_mss = true;
      return;
    case TcpOptionKind::window_scale:
      if (body.size() != 1) return;
      options.window_scale = std::min(static_cast<std::uint8_t>(body[0]), tcp_max_window_scale);
      options.window_scale_was_excessive =
          static_cast<std::uint8_t>(body[0]) > tcp_max_window_scale;
      options.has_window_scale = true;
      return;
    case TcpOptionKind::sack_permitted:
      if (body.empty()) options.sack_permitted = true;
      return;
    case TcpOptionKind::sack:
      if (body.empty() || body.size() % 8 != 0 || body.size() > 32) return;
      options.sack_count = static_cast<std::uint8_t>(body.size() / 8);
      for (std::size_t i = 0; i < options.sack_count; ++i) {
        const auto block = load<SackBlockLayout>(body.subspan(8 * i));
        options.sack[i] = {SeqNum{block.left.value()}, SeqNum{block.right.value()}};
      }
      return;
    case TcpOptionKind::timestamps:
      if (body.size() != 8) return;
      options.timestamps = load_timestamps(body);
      options.has_timestamps = true;
      return;
    default:
      return;
  }
}

inline Refusal walk_tcp_options(TcpOptions& options, Bytes left) noexcept {
  while (!left.empty()) {
    const auto kind = TcpOptionKind{static_cast<std::uint8_t>(left[0])};
    if (kind == TcpOptionKind::end_of_list) break;
    if (kind == TcpOptionKind::no_operation) {
      left = left.subspan(1);
      continue;
    }
    if (left.size() < 2) return Drop::bad_tcp_option;
    const auto length = static_cast<std::size_t>(left[1]);
    if (length < 2 || length > left.size()) return Drop::bad_tcp_option;
    read_tcp_option(options, kind, left.subspan(2, length - 2));
    left = left.subspan(length);
  }
  return std::nullopt;
}

/// Parses into `options`, which must be empty. Nearly all segments have no options or aligned
/// timestamps.
inline Refusal read_tcp_options(TcpOptions& options, Bytes bytes) noexcept {
  if (bytes.empty()) return std::nullopt;
  if (bytes.size() != 12 ||
      load<boost::endian::big_uint32_buf_t>(bytes).value() != aligned_timestamps) {
    return walk_tcp_options(options, bytes);
  }
  options.timestamps = load_timestamps(bytes.subspan(4));
  options.has_timestamps = true;
  return std::nullopt;
}

}  // namespace detail

/// Parses the bytes between the fixed header and the payload, at any alignment (MUST-64). The last
/// of several options of one kind counts. Fails with `bad_tcp_option`.
[[nodiscard]] inline Parsed<TcpOptions> parse_tcp_options(Bytes bytes) noexcept {
  return Parsed<TcpOptions>{[bytes](TcpOptions* place) {
    return detail::read_tcp_options(*::new (place) TcpOptions{}, bytes);
  }};
}

/// Writes the options in Linux's order, each aligned by NOPs, so that no end-of-list is needed, and
/// returns `options.encoded_bytes()`, which `out` must hold. The SACK blocks that do not fit are
/// left out.
inline std::size_t write_tcp_options(MutableBytes out, const TcpOptions& options) noexcept {
  TUNIC_ASSERT(out.size() >= options.encoded_bytes());
  std::byte* to = out.data();
  const auto put_32 = [&to](std::uint32_t value) noexcept {
    const boost::endian::big_uint32_buf_t word{value};
    std::memcpy(to, &word, sizeof word);
    to += sizeof word;
  };
  if (options.has_mss) put_32(0x0204'0000U | options.mss);
  if (options.has_timestamps) {
    put_32(options.sack_permitted ? 0x0402'080aU : detail::aligned_timestamps);
    put_32(options.timestamps.value);
    put_32(options.timestamps.echo);
  } else if (options.sack_permitted) {
    put_32(0x0101'0402U);
  }
  if (options.has_window_scale) put_32(0x0103'0300U | options.window_scale);
  if (const std::size_t blocks = options.fitting_sack_blocks(); blocks != 0) {
    put_32(0x0101'0502U + static_cast<std::uint32_t>(8 * blocks));
    for (const SackBlock& block : options.sack_blocks().first(blocks)) {
      put_32(block.left.value());
      put_32(block.right.value());
    }
  }
  return static_cast<std::size_t>(to - out.data());
}

}  // namespace tunic::inline v0
