// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "exact.hpp"
#include <tunic/wire/ipv4.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string_view>
#include <vector>

using namespace tunic;
using test::Exact;

namespace {

struct LenientPolicy {
  static constexpr bool accept_source_route = true;
  static constexpr bool accept_martian_sources = true;
};

Ipv4Header plain_header() { return {.src = "10.0.0.1"_ip, .dst = "10.0.0.2"_ip}; }

// A packet with a right checksum and total length.
std::vector<std::byte> packet(Ipv4Header header, Bytes payload, Bytes options = {}) {
  std::vector<std::byte> bytes(ipv4_max_header_bytes + payload.size());
  header.total_length = static_cast<std::uint16_t>(ipv4_min_header_bytes +
                                                   (options.size() + 3) / 4 * 4 + payload.size());
  const std::size_t size = write_ipv4(bytes, header, options);
  bytes.resize(size + payload.size());
  copy(MutableBytes{bytes}.subspan(size), payload);
  return bytes;
}

void repair(std::vector<std::byte>& bytes) {
  const auto header = MutableBytes{bytes}.first((static_cast<std::size_t>(bytes[0]) & 0xf) * 4);
  header[10] = header[11] = std::byte{0};
  const std::uint16_t sum = checksum(header);
  header[10] = static_cast<std::byte>(sum >> 8);
  header[11] = static_cast<std::byte>(sum & 0xff);
}

template <class Parser = Ipv4Parser>
std::optional<Drop> refusal(Bytes bytes) {
  const Exact exact{bytes};
  const auto parsed = Parser{}(exact.bytes());
  if (parsed) return std::nullopt;
  return parsed.drop();
}

std::optional<Drop> refusal_of_options(std::string_view options) {
  return refusal(packet(plain_header(), {}, test::hex(options)));  // nothing lies behind them
}

}  // namespace

TEST_CASE("a header is written as RFC 791 3.1 lays it out", "[wire][ipv4]") {
  std::vector<std::byte> bytes(20);
  const Ipv4Header header{.src = "192.168.0.1"_ip,
                          .dst = "192.168.0.199"_ip,
                          .protocol = IpProtocol::udp,
                          .total_length = 0x73,
                          .dont_fragment = true};
  CHECK(write_ipv4(bytes, header) == 20);
  CHECK(bytes == test::hex("4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7"));
}

TEST_CASE("an IPv4 header that is written is parsed again", "[wire][ipv4]") {
  const auto seed = GENERATE(range(0U, 50U));
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  const auto payload = test::random_bytes(random, 8 * (1 + random() % 100));
  std::vector<std::byte> options(random() % 41, std::byte{1});
  Ipv4Header header{
      .src = IpAddress::v4(static_cast<std::uint32_t>(random() % 0x7e000000 + 0x1000000)),
      .dst = IpAddress::v4(static_cast<std::uint32_t>(random())),
      .protocol = IpProtocol{static_cast<std::uint8_t>(random())},
      .ttl = static_cast<std::uint8_t>(random()),
      .tos = static_cast<std::uint8_t>(random()),
      .id = static_cast<std::uint16_t>(random()),
      .fragment_offset_bytes = static_cast<std::uint16_t>(random() % 8000 * 8),
      .dont_fragment = random() % 2 == 0,
      .more_fragments = random() % 2 == 0};
  const Exact exact{packet(header, payload, options)};
  const auto parsed = Ipv4Parser{}(exact.bytes());
  REQUIRE(parsed);
  CHECK(parsed->header.src == header.src);
  CHECK(parsed->header.dst == header.dst);
  CHECK(parsed->header.protocol == header.protocol);
  CHECK(parsed->header.ttl == header.ttl);
  CHECK(parsed->header.tos == header.tos);
  CHECK(parsed->header.id == header.id);
  CHECK(parsed->header.fragment_offset_bytes == header.fragment_offset_bytes);
  CHECK(parsed->header.dont_fragment == header.dont_fragment);
  CHECK(parsed->header.more_fragments == header.more_fragments);
  CHECK(parsed->header.is_fragment() ==
        (header.more_fragments || header.fragment_offset_bytes != 0));
  CHECK(parsed->header.total_length == exact.bytes().size());
  CHECK(parsed->header.header_length == 20 + (options.size() + 3) / 4 * 4);
  CHECK(parsed->options.size() == parsed->header.header_length - 20U);
  CHECK(as_text(parsed->payload) == as_text(payload));
}

TEST_CASE("every truncated packet is refused without a read beyond its end",
          "[wire][ipv4][IP4-03]") {
  const auto whole =
      packet(plain_header(), as_bytes("payload"), test::hex("9404 0000 07 07 04 00000000"));
  REQUIRE_FALSE(refusal(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    const auto reason = refusal(Bytes{whole}.first(size));
    REQUIRE(reason);
    CHECK(*reason == (size < 20   ? Drop::too_short
                      : size < 32 ? Drop::bad_header_length
                                  : Drop::bad_total_length));
  }
}

TEST_CASE("other versions than 4 are dropped", "[wire][ipv4][IP4-01]") {
  for (unsigned version = 0; version < 16; ++version) {
    auto bytes = packet(plain_header(), as_bytes("payload"));
    bytes[0] = static_cast<std::byte>(version << 4 | 5);
    repair(bytes);
    CAPTURE(version);
    CHECK(refusal(bytes) == (version == 4 ? std::nullopt : std::optional{Drop::bad_version}));
  }
}

TEST_CASE("length fields are checked against each other and the bytes", "[wire][ipv4][IP4-03]") {
  const auto good = packet(plain_header(), as_bytes("payload"));
  for (unsigned words = 0; words < 16; ++words) {
    auto bytes = good;
    bytes[0] = static_cast<std::byte>(0x40 | words);
    CAPTURE(words);
    const auto reason = refusal(bytes);
    if (words < 5 || words > 6) CHECK(reason == Drop::bad_header_length);
    if (words == 5) CHECK_FALSE(reason);
  }
  for (unsigned total = 0; total <= 60; ++total) {
    auto bytes = good;
    bytes[3] = static_cast<std::byte>(total);
    repair(bytes);
    CAPTURE(total);
    CHECK(refusal(bytes) ==
          (total < 20 || total > 27 ? std::optional{Drop::bad_total_length} : std::nullopt));
  }
}

TEST_CASE("bytes beyond the total length are trimmed", "[wire][ipv4][IP4-04]") {
  auto bytes = packet(plain_header(), as_bytes("data"));
  bytes.resize(46, std::byte{0xee});
  const auto parsed = Ipv4Parser{}(bytes);
  REQUIRE(parsed);
  CHECK(as_text(parsed->payload) == "data");
}

TEST_CASE("a header with any bit flipped is dropped", "[wire][ipv4][IP4-02]") {
  const auto good = packet(plain_header(), as_bytes("payload"), test::hex("94040000"));
  for (std::size_t bit = 0; bit < std::size_t{24} * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    CAPTURE(bit);
    CHECK(refusal(bytes).has_value());
  }
}

TEST_CASE("unknown IP options are skipped", "[wire][ipv4][IP4-09]") {
  CHECK_FALSE(refusal_of_options("9e 04 0000"));
  CHECK_FALSE(refusal_of_options("01 01 9e 02 01 9e 03 ff"));
  CHECK_FALSE(refusal_of_options("00 9e ff ff"));  // nothing counts behind the end of the list
  CHECK_FALSE(refusal_of_options("01 01 01 01"));
  CHECK_FALSE(
      refusal_of_options("07 28 04 0000000000 0000000000000000 0000000000000000"
                         "0000000000000000 0000000000000000"));
}

TEST_CASE("IP options with impossible lengths drop the packet", "[wire][ipv4][IP4-09]") {
  CHECK(refusal_of_options("9e 00 0000") == Drop::bad_ip_option);
  CHECK(refusal_of_options("9e 01 0000") == Drop::bad_ip_option);
  CHECK(refusal_of_options("9e 05 0000") == Drop::bad_ip_option);
  CHECK(refusal_of_options("01 01 01 9e") == Drop::bad_ip_option);
  CHECK(refusal_of_options("01 01 9e 03") == Drop::bad_ip_option);
  CHECK(refusal_of_options("9e ff 0000") == Drop::bad_ip_option);
}

TEST_CASE("random IP options neither crash nor loop", "[wire][ipv4][IP4-09]") {
  std::mt19937_64 random{7};
  int good = 0;
  for (int round = 0; round < 20'000; ++round) {
    auto options = test::random_bytes(random, random() % 41);
    for (std::byte& byte : options) {
      if (random() % 2 == 0) byte &= std::byte{7};
    }
    const Exact exact{packet(plain_header(), {}, options)};
    const auto parsed = BasicIpv4Parser<LenientPolicy>{}(exact.bytes());
    if (parsed) ++good;
    if (!parsed) REQUIRE(parsed.drop() == Drop::bad_ip_option);
  }
  CHECK(good > 1000);
}

TEST_CASE("source routes are refused unless policy takes them", "[wire][ipv4][IP4-10]") {
  for (const char* options : {"83 07 04 0a000009 00", "89 07 08 0a000009 00", "01 83 03 04"}) {
    CAPTURE(options);
    const auto bytes = packet(plain_header(), as_bytes("x"), test::hex(options));
    CHECK(refusal(bytes) == Drop::source_routed);
    CHECK_FALSE(refusal<BasicIpv4Parser<LenientPolicy>>(bytes));
  }
  for (const char* options : {"83 02 00 00", "89 07 03 0a000009 00"}) {
    CAPTURE(options);
    const auto bytes = packet(plain_header(), as_bytes("x"), test::hex(options));
    CHECK(refusal<BasicIpv4Parser<LenientPolicy>>(bytes) == Drop::bad_ip_option);
  }
}

TEST_CASE("martian sources are dropped unless policy takes them", "[wire][ipv4][IP4-06]") {
  for (const auto src : {"0.0.0.0"_ip, "0.1.2.3"_ip, "127.0.0.1"_ip, "224.0.0.1"_ip, "240.0.0.1"_ip,
                         "255.255.255.255"_ip}) {
    CAPTURE(src);
    auto header = plain_header();
    header.src = src;
    CHECK(refusal(packet(header, as_bytes("x"))) == Drop::martian_source);
    CHECK_FALSE(refusal<BasicIpv4Parser<LenientPolicy>>(packet(header, as_bytes("x"))));
  }
}

TEST_CASE("the reserved flag is ignored and any TTL is taken", "[wire][ipv4][IP4-08][IP4-11]") {
  auto header = plain_header();
  header.ttl = 0;
  auto bytes = packet(header, as_bytes("x"));
  bytes[6] |= std::byte{0x80};
  repair(bytes);
  const auto parsed = Ipv4Parser{}(bytes);
  REQUIRE(parsed);
  CHECK(parsed->header.ttl == 0);
  CHECK_FALSE(parsed->header.is_fragment());
  CHECK_FALSE(parsed->header.dont_fragment);
}

TEST_CASE("a fragment is whole units of 8 bytes, all but the last", "[wire][ipv4]") {
  const std::vector<std::byte> payload(24, std::byte{1});
  auto header = plain_header();
  header.more_fragments = true;
  CHECK_FALSE(refusal(packet(header, payload)));
  CHECK(refusal(packet(header, Bytes{payload}.first(23))) == Drop::bad_fragment);
  CHECK(refusal(packet(header, {})) == Drop::bad_fragment);
  header.fragment_offset_bytes = 8;
  CHECK_FALSE(refusal(packet(header, payload)));
  header.more_fragments = false;
  CHECK_FALSE(refusal(packet(header, Bytes{payload}.first(23))));
  CHECK(refusal(packet(header, {})) == Drop::bad_fragment);
  header.fragment_offset_bytes = 0;
  CHECK_FALSE(refusal(packet(header, {})));
}

TEST_CASE("a fragment does not end beyond what a length field can say", "[wire][ipv4]") {
  auto header = plain_header();
  header.fragment_offset_bytes = 65'512;  // 20 + 65,512 + 3 = 65,535
  CHECK_FALSE(refusal(packet(header, as_bytes("abc"))));
  CHECK(refusal(packet(header, as_bytes("abcd"))) == Drop::bad_fragment);
  header.fragment_offset_bytes = 65'528;
  CHECK(refusal(packet(header, as_bytes("abcdefgh"))) == Drop::bad_fragment);
}
