// SPDX-License-Identifier: BSL-1.0
#pragma once

// Looking at the packets that a stack sends: `decode` takes one apart and verifies it, `expect` names the fields that
// matter to a test, `matches` compares and says what differs. It works with any test framework: the result
// converts to bool and writes itself to a stream, which is how Catch2 and others show it.
//
//     CHECK(matches(packet, expect.flags("SA").ack(101).mss(1460).no_payload()));
//
//     flags are ., not S.; has no mss, expected 1460; payload size is 1, not 0
//       in 10.0.0.2.7 > 10.0.0.1.43210: Flags [.], seq 7:8, ack 101, win 502, length 1

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/text.hpp>
#include <tunic/wire/udp.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tunic::inline v0::testing {

/// The bytes of one IP packet.
using Packet = std::vector<std::byte>;

/// A packet taken apart. It shares its bytes with its copies: the views stay valid while one of them lives.
struct Decoded {
  std::shared_ptr<const Packet> bytes{};  ///< Never null.
  std::optional<Drop> malformed{};        ///< Why a host would drop it; surplus bytes count too.
  Ipv4Packet ip{};                        ///< Empty if the IP header is malformed.
  std::optional<TcpSegment> tcp{};        ///< These three: if it is that, whole and well-formed.
  std::optional<UdpDatagram> udp{};
  std::optional<IcmpMessage> icmp{};

  /// What the transport carries: the body of ICMP, and all of IP's payload if it is none of the three.
  [[nodiscard]] Bytes payload() const noexcept {
    return tcp ? tcp->payload : udp ? udp->payload : icmp ? icmp->body : ip.payload;
  }
  [[nodiscard]] Endpoint from() const noexcept {
    return {ip.header.src, tcp ? tcp->src_port : udp ? udp->src_port : std::uint16_t{0}};
  }
  [[nodiscard]] Endpoint to() const noexcept {
    return {ip.header.dst, tcp ? tcp->dst_port : udp ? udp->dst_port : std::uint16_t{0}};
  }
  /// The packet in one line.
  [[nodiscard]] std::string describe() const { return to_text(*bytes); }
};

/// Takes a packet apart and verifies its lengths and checksums.
[[nodiscard]] inline Decoded decode(Packet bytes) {
  Decoded result{.bytes = std::make_shared<const Packet>(std::move(bytes))};
  const auto unless_dropped = [&result]<class T>(std::optional<T>& part, const Parsed<T>& parsed) {
    if (parsed) part = *parsed;
    if (!parsed) result.malformed = parsed.drop();
  };
  const auto ip = BasicIpv4Parser<tunic::detail::ShowAllPolicy>{}(*result.bytes);
  if (!ip) {
    result.malformed = ip.drop();
    return result;
  }
  result.ip = *ip;
  const Ipv4Header& header = ip->header;
  if (header.total_length != result.bytes->size()) result.malformed = Drop::bad_total_length;
  if (header.is_fragment()) return result;
  if (header.protocol == IpProtocol::tcp) {
    unless_dropped(result.tcp, parse_tcp(ip->payload, header.src, header.dst));
  } else if (header.protocol == IpProtocol::udp) {
    unless_dropped(result.udp, parse_udp(ip->payload, header.src, header.dst));
  } else if (header.protocol == IpProtocol::icmp) {
    unless_dropped(result.icmp, parse_icmpv4(ip->payload));
  }
  return result;
}

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

/// What a test expects of a packet; fields that it does not name may have any value. Every call yields a copy with
/// one more expectation, so that one can be the template of others. All start from `expect`.
class Expectation {
 public:
  // TCP. Flags are letters as `flags_of` reads them.
  /// Exactly these flags.
  [[nodiscard]] Expectation flags(std::string_view letters) const {
    return tcp("flags", flags_of(letters), [](const auto& s) { return s.flags; });
  }
  /// At least these flags.
  [[nodiscard]] Expectation has_flags(std::string_view letters) const {
    return tcp("flags", flags_of(letters), [letters](const auto& s) { return s.flags & flags_of(letters); });
  }
};

}  // namespace tunic::inline v0::testing
