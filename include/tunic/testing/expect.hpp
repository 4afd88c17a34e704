// SPDX-License-Identifier: BSL-1.0
#pragma once

// Looking at the packets that a stack sends: `decode` takes one apart and verifies it, `expect`
// names the fields that matter to a test, `matches` compares and says what differs. It works with
// any test framework: the result converts to bool and writes itself to a stream, which is how
// Catch2 and others show it.
//
//     CHECK(matches(packet, expect.flags("SA").ack(101).mss(1460).no_payload()));
//
//     flags is ., not S.; no mss, expected 1460; payload size is 1, not 0
//       in 10.0.0.2.7 > 10.0.0.1.43210: Flags [.], seq 7:8, ack 101, win 502, length 1

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/testing/decode.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/tcp_options.hpp>
#include <tunic/wire/text.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tunic::inline v0::testing {

/// The flags that letters of `FSRPAUEC` stand for; `.` is A and `W` is C.
[[nodiscard]] inline TcpFlags flags_of(std::string_view letters) noexcept {
  TcpFlags flags;
  for (const char letter : letters) {
    const char same = letter == '.' ? 'A' : letter == 'W' ? 'C' : letter;
    const std::size_t bit = std::string_view{"FSRPAUEC"}.find(same);
    TUNIC_ASSERT(bit != std::string_view::npos);
    flags |= TcpFlags{static_cast<std::uint8_t>(1U << bit)};
  }
  return flags;
}

/// A range of sequence numbers for SACK blocks: `{100, 200}`.
struct Range {
  SeqNum left, right;

  constexpr Range(std::uint32_t from, std::uint32_t to) noexcept : left{from}, right{to} {}
  constexpr Range(SeqNum from, SeqNum to) noexcept : left{from}, right{to} {}
};

/// The outcome of a comparison: true if nothing differed; shown as what differed.
class Match {
 public:
  explicit Match(std::string packet) : packet_{std::move(packet)} {}

  explicit operator bool() const noexcept { return differences_.empty(); }
  /// What differs, and the packet in one line.
  [[nodiscard]] std::string message() const {
    return (differences_.empty() ? "as expected" : differences_) + "\n  in " + packet_;
  }
  /// Notes one more difference.
  void differs(std::string_view how) {
    differences_.append(differences_.empty() ? "" : "; ").append(how);
  }

  template <class Traits>
  friend std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                                      const Match& match) {
    return out << match.message();
  }

 private:
  std::string packet_;
  std::string differences_;
};

namespace detail {

/// A value as a difference shows it.
template <class T>
std::string show(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "yes" : "no";
  } else if constexpr (std::is_integral_v<T>) {
    return std::to_string(value);
  } else if constexpr (std::is_enum_v<T>) {
    return show(static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::is_same_v<T, SeqNum>) {
    return std::to_string(value.value());
  } else if constexpr (std::is_same_v<T, TcpFlags>) {
    return to_text(value);
  } else if constexpr (std::is_same_v<T, TcpTimestamps>) {
    return show(value.value) + " echo " + show(value.echo);
  } else if constexpr (std::is_same_v<T, std::vector<SackBlock>>) {
    std::string text;
    for (const SackBlock& block : value) {
      text += (text.empty() ? "" : " ") + show(block.left) + ":" + show(block.right);
    }
    return text.empty() ? "none" : text;
  } else {
    return value.to_string();
  }
}

/// How texts differ: both of them if they are short, else where.
[[nodiscard]] inline std::string show_difference(std::string_view actual, std::string_view wanted) {
  const auto printable = [](char c) { return c >= ' ' && c <= '~'; };
  const auto readable = [&](std::string_view text) {
    return text.size() <= 60 && std::all_of(text.begin(), text.end(), printable);
  };
  if (readable(actual) && readable(wanted)) {
    return "payload is \"" + std::string{actual} + "\", not \"" + std::string{wanted} + '"';
  }
  const auto first =
      std::mismatch(actual.begin(), actual.end(), wanted.begin(), wanted.end()).first;
  return "payload of " + show(actual.size()) + " bytes, not " + show(wanted.size()) +
         ", differs at byte " + show(first - actual.begin());
}

template <class T>
std::optional<T> present_if(bool present, const T& value) {
  return present ? std::optional{value} : std::nullopt;
}

}  // namespace detail

/// What a test expects of a packet; fields that it does not name may have any value. Every call
/// yields a copy with one more expectation, so that one can be the template of others. All start
/// from `expect`, which expects a well-formed packet.
class Expectation {
 public:
  // TCP. Flags are letters as `flags_of` reads them.
  /// Exactly these flags.
  [[nodiscard]] Expectation flags(std::string_view letters) const {
    return of_tcp("flags", flags_of(letters), [](auto& s) { return s.flags; });
  }
  /// At least these flags.
  [[nodiscard]] Expectation has_flags(std::string_view letters) const {
    const TcpFlags mask = flags_of(letters);
    return of_tcp("of the flags", mask, [mask](auto& s) { return s.flags & mask; });
  }
  /// None of these flags.
  [[nodiscard]] Expectation without_flags(std::string_view letters) const {
    const TcpFlags mask = flags_of(letters);
    return of_tcp("of the flags", TcpFlags{}, [mask](auto& s) { return s.flags & mask; });
  }
  [[nodiscard]] Expectation seq(SeqNum number) const {
    return of_tcp("seq", number, [](auto& s) { return s.seq; });
  }
  [[nodiscard]] Expectation seq(std::uint32_t number) const { return seq(SeqNum{number}); }
  /// The ACK flag is set, with this number.
  [[nodiscard]] Expectation ack(SeqNum number) const {
    return of_tcp("ack", number,
                  [](auto& s) { return detail::present_if(s.has(TcpFlags::ack), s.ack); });
  }
  [[nodiscard]] Expectation ack(std::uint32_t number) const { return ack(SeqNum{number}); }
  /// As on the wire: not scaled.
  [[nodiscard]] Expectation window(std::uint16_t bytes) const {
    return of_tcp("window", bytes, [](auto& s) { return s.window; });
  }
  [[nodiscard]] Expectation window_at_least(std::uint16_t bytes) const {
    return that("window at least " + detail::show(bytes), [bytes](const Decoded& packet) {
      return packet.tcp && packet.tcp->window >= bytes;
    });
  }
  /// The URG flag is set, with this pointer.
  [[nodiscard]] Expectation urgent(std::uint16_t pointer) const {
    return of_tcp("urgent pointer", pointer,
                  [](auto& s) { return detail::present_if(s.has(TcpFlags::urg), s.urgent); });
  }
  [[nodiscard]] Expectation mss(std::uint16_t bytes) const {
    return of_tcp("mss", bytes,
                  [](auto& s) { return detail::present_if(s.options.has_mss, s.options.mss); });
  }
  [[nodiscard]] Expectation no_mss() const {
    return of_tcp("presence of mss", false, [](auto& s) { return s.options.has_mss; });
  }
  [[nodiscard]] Expectation window_scale(std::uint8_t shift) const {
    return of_tcp("window scale", shift, [](auto& s) {
      return detail::present_if(s.options.has_window_scale, s.options.window_scale);
    });
  }
  [[nodiscard]] Expectation no_window_scale() const {
    return of_tcp("presence of window scale", false,
                  [](auto& s) { return s.options.has_window_scale; });
  }
  [[nodiscard]] Expectation sack_permitted(bool yes = true) const {
    return of_tcp("SACK permitted", yes, [](auto& s) { return s.options.sack_permitted; });
  }
  [[nodiscard]] Expectation timestamps(std::uint32_t value, std::uint32_t echo) const {
    return of_tcp("timestamps", TcpTimestamps{value, echo}, [](auto& s) {
      return detail::present_if(s.options.has_timestamps, s.options.timestamps);
    });
  }
  /// There are timestamps, with any value and this echo.
  [[nodiscard]] Expectation timestamp_echo(std::uint32_t echo) const {
    return of_tcp("timestamp echo", echo, [](auto& s) {
      return detail::present_if(s.options.has_timestamps, s.options.timestamps.echo);
    });
  }
  [[nodiscard]] Expectation has_timestamps(bool yes = true) const {
    return of_tcp("presence of timestamps", yes, [](auto& s) { return s.options.has_timestamps; });
  }
  /// Exactly these blocks in this order.
  [[nodiscard]] Expectation sack(std::initializer_list<Range> blocks) const {
    std::vector<SackBlock> wanted;
    for (const Range& block : blocks) wanted.push_back({block.left, block.right});
    return of_tcp("sack", std::move(wanted), [](auto& s) {
      const auto actual = s.options.sack_blocks();
      return std::vector<SackBlock>(actual.begin(), actual.end());
    });
  }
  [[nodiscard]] Expectation no_sack() const { return sack({}); }

  // What is carried: see `Decoded::payload`.
  [[nodiscard]] Expectation payload(std::string_view text) const {
    return with("payload of " + detail::show(text.size()) + " bytes",
                [wanted = std::string{text}](const Decoded& packet, Match& match) {
                  const std::string_view actual = as_text(packet.payload());
                  if (actual != wanted) match.differs(detail::show_difference(actual, wanted));
                });
  }
  [[nodiscard]] Expectation payload(Bytes bytes) const { return payload(as_text(bytes)); }
  [[nodiscard]] Expectation payload_size(std::size_t bytes) const {
    return of("payload size", bytes, [](auto& packet) { return packet.payload().size(); });
  }
  [[nodiscard]] Expectation no_payload() const { return payload_size(0); }

  // IP
  [[nodiscard]] Expectation from(const IpAddress& address) const {
    return of("source", address, [](auto& packet) { return packet.ip.header.src; });
  }
  [[nodiscard]] Expectation to(const IpAddress& address) const {
    return of("destination", address, [](auto& packet) { return packet.ip.header.dst; });
  }
  [[nodiscard]] Expectation from(const Endpoint& endpoint) const {
    return of("source", endpoint, [](auto& packet) { return packet.from(); });
  }
  [[nodiscard]] Expectation to(const Endpoint& endpoint) const {
    return of("destination", endpoint, [](auto& packet) { return packet.to(); });
  }
  [[nodiscard]] Expectation protocol(IpProtocol number) const {
    return of("protocol", number, [](auto& packet) { return packet.ip.header.protocol; });
  }
  [[nodiscard]] Expectation ttl(std::uint8_t hops) const {
    return of("ttl", hops, [](auto& packet) { return packet.ip.header.ttl; });
  }
  /// DSCP << 2 | ECN.
  [[nodiscard]] Expectation tos(std::uint8_t bits) const {
    return of("tos", bits, [](auto& packet) { return packet.ip.header.tos; });
  }
  /// The lower two bits of `tos` (RFC 3168 5): 0 not ECT, 1 ECT(1), 2 ECT(0), 3 CE.
  [[nodiscard]] Expectation ecn(std::uint8_t codepoint) const {
    return of("ecn", codepoint,
              [](auto& packet) { return static_cast<std::uint8_t>(packet.ip.header.tos & 3); });
  }
  [[nodiscard]] Expectation ip_id(std::uint16_t id) const {
    return of("ip id", id, [](auto& packet) { return packet.ip.header.id; });
  }
  [[nodiscard]] Expectation df(bool set = true) const {
    return of("df", set, [](auto& packet) { return packet.ip.header.dont_fragment; });
  }
  [[nodiscard]] Expectation fragment(std::uint16_t offset_bytes, bool more) const {
    return of("fragment offset", offset_bytes,
              [](auto& packet) { return packet.ip.header.fragment_offset_bytes; })
        .of("more fragments", more, [](auto& packet) { return packet.ip.header.more_fragments; });
  }

  // ICMP
  [[nodiscard]] Expectation icmp(IcmpType type, std::uint8_t code = 0) const {
    return of_icmp("icmp type", type, [](auto& message) { return message.type; })
        .of_icmp("icmp code", code, [](auto& message) { return message.code; });
  }
  [[nodiscard]] Expectation icmp(IcmpUnreachable why) const {
    return icmp(IcmpType::destination_unreachable, static_cast<std::uint8_t>(why));
  }
  /// The second word of the header.
  [[nodiscard]] Expectation icmp_rest(std::uint32_t word) const {
    return of_icmp("icmp rest", word, [](auto& message) { return message.rest; });
  }

  /// Whatever else: `holds(const Decoded&)` does, which `what` says.
  template <std::predicate<const Decoded&> Holds>
  [[nodiscard]] Expectation that(std::string what, Holds holds) const {
    return with(what, [what, holds](const Decoded& packet, Match& match) {
      if (!holds(packet)) match.differs("not so: " + what);
    });
  }

  /// Compares a packet with it.
  [[nodiscard]] Match check(const Decoded& packet) const {
    Match match{packet.describe()};
    if (packet.malformed) match.differs(std::string{"malformed: "} + name(*packet.malformed));
    for (const Check& check : checks_) check.compare(packet, match);
    return match;
  }
  /// What it expects, in one line.
  [[nodiscard]] std::string describe() const {
    std::string text = "a well-formed packet";
    for (const Check& check : checks_) text += ", " + check.what;
    return text;
  }

 private:
  struct Check {
    std::string what;
    std::function<void(const Decoded&, Match&)> compare;
  };

  template <class Compare>
  Expectation with(std::string what, Compare compare) const {
    Expectation more = *this;
    more.checks_.push_back({std::move(what), std::move(compare)});
    return more;
  }

  /// Expects a field that `read` finds in a packet: a value of type T, or an optional one.
  template <class T, class Read>
  Expectation of(std::string field, T wanted, Read read) const {
    std::string what = field + ' ' + detail::show(wanted);
    return with(std::move(what), [field = std::move(field), wanted = std::move(wanted), read](
                                     const Decoded& packet, Match& match) {
      const std::optional<T> actual = read(packet);
      if (!actual) match.differs("no " + field + ", expected " + detail::show(wanted));
      if (actual && *actual != wanted) {
        match.differs(field + " is " + detail::show(*actual) + ", not " + detail::show(wanted));
      }
    });
  }
  template <class T, class Read>
  Expectation of_tcp(std::string field, T wanted, Read read) const {
    return of(std::move(field), std::move(wanted), [read](const Decoded& packet) {
      return packet.tcp ? std::optional<T>{read(*packet.tcp)} : std::nullopt;
    });
  }
  template <class T, class Read>
  Expectation of_icmp(std::string field, T wanted, Read read) const {
    return of(std::move(field), std::move(wanted), [read](const Decoded& packet) {
      return packet.icmp ? std::optional<T>{read(*packet.icmp)} : std::nullopt;
    });
  }

  std::vector<Check> checks_;
};

/// A well-formed packet: where every expectation starts.
inline const Expectation expect{};

/// Compares a packet with what is expected of it.
[[nodiscard]] inline Match matches(const Decoded& packet, const Expectation& expectation) {
  return expectation.check(packet);
}
[[nodiscard]] inline Match matches(const Packet& packet, const Expectation& expectation) {
  return expectation.check(decode(packet));
}
/// The same for a packet that may not have come: its absence is a difference.
[[nodiscard]] inline Match matches(const std::optional<Packet>& packet,
                                   const Expectation& expectation) {
  if (packet) return matches(*packet, expectation);
  Match match{"nothing"};
  match.differs("no packet, expected " + expectation.describe());
  return match;
}

template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                             const Expectation& expectation) {
  return out << expectation.describe();
}

}  // namespace tunic::inline v0::testing
