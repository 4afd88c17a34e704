// SPDX-License-Identifier: BSL-1.0
#pragma once

// IP addresses, prefixes and endpoints: values, their classes, their text. IPv4 addresses are kept
// as IPv4-mapped IPv6 ones (RFC 4291 2.5.5.2), so that keys and tables are uniform;
// `::ffff:10.0.0.1` and `10.0.0.1` are the same value. Text is read as RFC 4291 2.2 and written as
// RFC 5952 say. Everything but writing text is constexpr.

#include <tunic/base/assert.hpp>

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tunic::inline v0 {

/// An IPv4 or IPv6 address. A default one is `::`, the unspecified IPv6 address.
class IpAddress {
 public:
  constexpr IpAddress() noexcept = default;

  /// From the 32 bits of an IPv4 address, `0x0a000001` being 10.0.0.1.
  [[nodiscard]] static constexpr IpAddress v4(std::uint32_t bits) noexcept {
    return {0, mapped_prefix | bits};
  }
  /// `v4(10, 0, 0, 1)`.
  [[nodiscard]] static constexpr IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c,
                                              std::uint8_t d) noexcept {
    return v4(std::uint32_t{a} << 24 | std::uint32_t{b} << 16 | std::uint32_t{c} << 8 | d);
  }
  /// From the 16 bytes of an IPv6 address as they are on the wire.
  [[nodiscard]] static constexpr IpAddress v6(std::span<const std::byte, 16> bytes) noexcept {
    std::uint64_t high = 0, low = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      high = high << 8 | static_cast<std::uint64_t>(bytes[i]);
      low = low << 8 | static_cast<std::uint64_t>(bytes[i + 8]);
    }
    return {high, low};
  }
  /// Reads an address: dotted decimal without leading zeros, or any text form of IPv6 but zones
  /// (`%eth0`).
  [[nodiscard]] static constexpr std::optional<IpAddress> parse(std::string_view text) noexcept;

  [[nodiscard]] constexpr bool is_v4() const noexcept {
    return high_ == 0 && low_ >> 32 == mapped_prefix >> 32;
  }
  /// The 32 bits of an IPv4 address. Only for those.
  [[nodiscard]] constexpr std::uint32_t v4_bits() const noexcept {
    TUNIC_ASSERT(is_v4());
    return static_cast<std::uint32_t>(low_);
  }
  /// The 16 bytes as they are on the wire; those of an IPv4 address start with the mapped prefix.
  [[nodiscard]] constexpr std::array<std::byte, 16> bytes() const noexcept {
    std::array<std::byte, 16> result{};
    for (std::size_t i = 0; i < 8; ++i) {
      result[i] = static_cast<std::byte>(high_ >> (56 - 8 * i));
      result[i + 8] = static_cast<std::byte>(low_ >> (56 - 8 * i));
    }
    return result;
  }
  /// The whole address as two words, upper half first: the same on every machine, for keyed hashes.
  [[nodiscard]] constexpr std::array<std::uint64_t, 2> hash_words() const noexcept {
    return {high_, low_};
  }

  /// 0.0.0.0 or `::`.
  [[nodiscard]] constexpr bool is_unspecified() const noexcept {
    return high_ == 0 && (low_ == 0 || low_ == mapped_prefix);
  }
  /// 127/8 or `::1`.
  [[nodiscard]] constexpr bool is_loopback() const noexcept {
    return is_v4() ? v4_bits() >> 24 == 127 : high_ == 0 && low_ == 1;
  }
  /// 224/4 or ff00::/8.
  [[nodiscard]] constexpr bool is_multicast() const noexcept {
    return is_v4() ? v4_bits() >> 28 == 0xe : high_ >> 56 == 0xff;
  }
  /// 255.255.255.255. Directed broadcasts are known to an `IpCidr`.
  [[nodiscard]] constexpr bool is_limited_broadcast() const noexcept {
    return is_v4() && v4_bits() == 0xffffffffU;
  }
  /// 169.254/16 or fe80::/10.
  [[nodiscard]] constexpr bool is_link_local() const noexcept {
    return is_v4() ? v4_bits() >> 16 == 0xa9fe : high_ >> 54 == 0xfe80 >> 6;
  }
  /// Whether no packet from another host may carry it as its source (RFC 1122 3.2.1.3, RFC
  /// 4291 2.5.2-2.7): 0/8, 127/8, 224/4, 240/4; `::`, `::1`, ff00::/8. Subnet broadcasts and own
  /// addresses need configuration.
  [[nodiscard]] constexpr bool is_martian_source() const noexcept {
    if (is_v4()) return v4_bits() >> 24 == 0 || is_loopback() || v4_bits() >= 0xe0000000U;
    return is_unspecified() || is_loopback() || is_multicast();
  }

  /// `10.0.0.1` or `2001:db8::1`. Allocates.
  [[nodiscard]] std::string to_string() const;

  /// By number: IPv4 addresses are a contiguous range in numeric order.
  [[nodiscard]] friend constexpr auto operator<=>(const IpAddress&,
                                                  const IpAddress&) noexcept = default;

 private:
  friend struct IpCidr;
  static constexpr std::uint64_t mapped_prefix = 0x0000'ffff'0000'0000;

  constexpr IpAddress(std::uint64_t high, std::uint64_t low) noexcept : high_{high}, low_{low} {}

  std::uint64_t high_ = 0;
  std::uint64_t low_ = 0;
};

/// An address with the length of its network's prefix. The address keeps its host bits:
/// `10.0.0.1/24` says both who one is and who is near. An address alone means a prefix of full
/// length.
struct IpCidr {
  IpAddress address{};
  std::uint8_t prefix_length = 128;  ///< In bits of the address's own family: at most 32 for IPv4.

  constexpr IpCidr() noexcept = default;
  constexpr IpCidr(const IpAddress& host) noexcept  // NOLINT: implicit, a host is a network of one
      : IpCidr{host, max_prefix(host)} {}
  /// A longer prefix than the family has is cut to full length.
  constexpr IpCidr(const IpAddress& of, std::uint8_t prefix) noexcept
      : address{of}, prefix_length{prefix < max_prefix(of) ? prefix : max_prefix(of)} {}

  /// Reads `10.0.0.1/24`; without a slash the prefix has full length.
  [[nodiscard]] static constexpr std::optional<IpCidr> parse(std::string_view text) noexcept;

  /// The address with all host bits zero.
  [[nodiscard]] constexpr IpAddress network() const noexcept {
    return {address.high_ & ~host_mask()[0], address.low_ & ~host_mask()[1]};
  }
  /// Whether an address lies in the network. IPv4 addresses lie in no IPv6 network, not even in
  /// `::/0`.
  [[nodiscard]] constexpr bool contains(const IpAddress& other) const noexcept {
    return IpCidr{other, prefix_length}.network() == network();
  }
  /// The network's directed broadcast address; none for IPv6 and for prefixes of 31 (RFC 3021) and
  /// 32 bits.
  [[nodiscard]] constexpr std::optional<IpAddress> subnet_broadcast() const noexcept {
    if (!address.is_v4() || prefix_length > 30) return std::nullopt;
    return IpAddress{address.high_, address.low_ | host_mask()[1]};
  }
  [[nodiscard]] constexpr bool is_subnet_broadcast(const IpAddress& other) const noexcept {
    return subnet_broadcast() == other;
  }

  /// `10.0.0.1/24`. Allocates.
  [[nodiscard]] std::string to_string() const {
    return address.to_string() + '/' + std::to_string(prefix_length);
  }

  [[nodiscard]] friend constexpr bool operator==(const IpCidr&, const IpCidr&) noexcept = default;

 private:
  static constexpr std::uint8_t max_prefix(const IpAddress& of) noexcept {
    return of.is_v4() ? 32 : 128;
  }
  /// The bits behind the prefix, upper half first.
  [[nodiscard]] constexpr std::array<std::uint64_t, 2> host_mask() const noexcept {
    const unsigned bits = prefix_length + (address.is_v4() ? 96U : 0U);
    constexpr std::uint64_t ones = ~std::uint64_t{0};
    if (bits >= 128) return {0, 0};
    if (bits >= 64) return {0, ones >> (bits - 64)};
    return {ones >> bits, ones};
  }
};

/// One end of a flow.
struct Endpoint {
  IpAddress address{};
  std::uint16_t port = 0;

  /// `10.0.0.1:80` or `[2001:db8::1]:80`. Allocates.
  [[nodiscard]] std::string to_string() const {
    std::string text = address.to_string();
    if (!address.is_v4()) text = '[' + text + ']';
    return text + ':' + std::to_string(port);
  }

  [[nodiscard]] friend constexpr auto operator<=>(const Endpoint&,
                                                  const Endpoint&) noexcept = default;
};

template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                             const IpAddress& address) {
  return out << address.to_string();
}
template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                             const IpCidr& cidr) {
  return out << cidr.to_string();
}
template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                             const Endpoint& endpoint) {
  return out << endpoint.to_string();
}

namespace detail {

/// Reads decimal digits without leading zeros, from the front of `text`, which it shortens.
constexpr std::optional<unsigned> take_decimal(std::string_view& text, unsigned max) noexcept {
  std::size_t digits = 0;
  unsigned value = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    value = value * 10 + static_cast<unsigned>(text[digits] - '0');
    if (value > max || (digits == 1 && text[0] == '0')) return std::nullopt;
  }
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

constexpr std::optional<std::uint32_t> parse_v4(std::string_view text) noexcept {
  std::uint32_t bits = 0;
  for (int part = 0; part < 4; ++part) {
    if (part > 0) {
      if (!text.starts_with('.')) return std::nullopt;
      text.remove_prefix(1);
    }
    const auto value = take_decimal(text, 255);
    if (!value) return std::nullopt;
    bits = bits << 8 | *value;
  }
  if (!text.empty()) return std::nullopt;
  return bits;
}

constexpr std::optional<unsigned> hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

/// The 16-bit groups of an IPv6 address while it is read.
struct Ipv6Groups {
  static constexpr std::size_t no_gap = 9;

  std::array<std::uint16_t, 8> groups{};
  std::size_t count = 0;
  std::size_t gap = no_gap;  ///< Where `::` stands.

  constexpr bool push(std::uint32_t group) noexcept {
    if (count == groups.size()) return false;
    groups[count++] = static_cast<std::uint16_t>(group);
    return true;
  }
  /// Takes one group, or a final dotted quad.
  constexpr bool take_group(std::string_view& text) noexcept {
    std::uint32_t value = 0;
    std::size_t digits = 0;
    for (; digits < text.size(); ++digits) {
      const auto digit = hex_digit(text[digits]);
      if (!digit) break;
      if (digits == 4) return false;
      value = value << 4 | *digit;
    }
    if (digits < text.size() && text[digits] == '.') {
      const auto quad = parse_v4(text);
      text = {};
      return quad && push(*quad >> 16) && push(*quad & 0xffff);
    }
    text.remove_prefix(digits);
    return digits > 0 && push(value);
  }
  /// The bytes, with the gap filled by at least one group of zeros.
  [[nodiscard]] constexpr std::optional<std::array<std::byte, 16>> expand() const noexcept {
    if ((count == groups.size()) != (gap == no_gap)) return std::nullopt;
    std::array<std::byte, 16> bytes{};
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = 2 * (i < gap ? i : i + 8 - count);
      bytes[at] = static_cast<std::byte>(groups[i] >> 8);
      bytes[at + 1] = static_cast<std::byte>(groups[i] & 0xff);
    }
    return bytes;
  }
};

constexpr std::optional<std::array<std::byte, 16>> parse_v6(std::string_view text) noexcept {
  Ipv6Groups groups;
  if (text.starts_with("::")) {
    groups.gap = 0;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    if (!groups.take_group(text)) return std::nullopt;
    if (text.empty()) break;
    if (text.starts_with("::")) {
      if (groups.gap != Ipv6Groups::no_gap) return std::nullopt;
      groups.gap = groups.count;
      text.remove_prefix(2);
    } else if (text.front() == ':' && text.size() > 1) {
      text.remove_prefix(1);
    } else {
      return std::nullopt;
    }
  }
  return groups.expand();
}

/// The first longest run of at least two zero groups, as RFC 5952 4.2 wants it shortened.
struct ZeroRun {
  std::size_t first = 8, length = 1;

  constexpr explicit ZeroRun(const std::array<std::uint16_t, 8>& groups) noexcept {
    for (std::size_t i = 0, run = 0; i < 8; ++i) {
      run = groups[i] == 0 ? run + 1 : 0;
      if (run > length) {
        length = run;
        first = i + 1 - run;
      }
    }
  }
};

inline std::string v6_to_string(const std::array<std::byte, 16>& bytes) {
  std::array<std::uint16_t, 8> groups{};
  for (std::size_t i = 0; i < 8; ++i) {
    groups[i] = static_cast<std::uint16_t>(static_cast<unsigned>(bytes[2 * i]) << 8 |
                                           static_cast<unsigned>(bytes[2 * i + 1]));
  }
  const ZeroRun run{groups};
  std::string text;
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == run.first) {
      text += "::";
      i += run.length - 1;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    const int digits = (std::bit_width(groups[i]) + 3) / 4;
    for (int digit = digits > 0 ? digits - 1 : 0; digit >= 0; --digit) {
      text += "0123456789abcdef"[groups[i] >> (4 * digit) & 0xf];
    }
  }
  return text;
}

/// Not constexpr: a literal that gets here does not compile.
inline void this_literal_is_malformed() noexcept {}

}  // namespace detail

constexpr std::optional<IpAddress> IpAddress::parse(std::string_view text) noexcept {
  if (const auto bits = detail::parse_v4(text)) return v4(*bits);
  if (const auto bytes = detail::parse_v6(text)) return v6(*bytes);
  return std::nullopt;
}

inline std::string IpAddress::to_string() const {
  if (!is_v4()) return detail::v6_to_string(bytes());
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    text += std::to_string(v4_bits() >> shift & 0xff);
    if (shift > 0) text += '.';
  }
  return text;
}

constexpr std::optional<IpCidr> IpCidr::parse(std::string_view text) noexcept {
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address || slash == std::string_view::npos) return address;
  text.remove_prefix(slash + 1);
  const auto prefix = detail::take_decimal(text, max_prefix(*address));
  if (!prefix || !text.empty()) return std::nullopt;
  return IpCidr{*address, static_cast<std::uint8_t>(*prefix)};
}

inline namespace literals {

/// `"10.0.0.1"_ip`; a text that is no address does not compile.
[[nodiscard]] consteval IpAddress operator""_ip(const char* text, std::size_t size) {
  const auto address = IpAddress::parse({text, size});
  if (!address) detail::this_literal_is_malformed();
  return *address;
}

/// `"10.0.0.1/24"_cidr`; a text that is no prefix does not compile.
[[nodiscard]] consteval IpCidr operator""_cidr(const char* text, std::size_t size) {
  const auto cidr = IpCidr::parse({text, size});
  if (!cidr) detail::this_literal_is_malformed();
  return *cidr;
}

}  // namespace literals

}  // namespace tunic::inline v0
