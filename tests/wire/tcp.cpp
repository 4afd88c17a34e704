// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "exact.hpp"
#include <tunic/wire/tcp.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

using namespace tunic;
using test::Exact;

namespace {

constexpr IpAddress client = "10.0.0.1"_ip, server = "10.0.0.2"_ip;

std::vector<std::byte> segment_bytes(const TcpSegment& segment, const IpAddress& src = client,
                                     const IpAddress& dst = server) {
  std::vector<std::byte> bytes(tcp_max_header_bytes + segment.payload.size());
  const std::size_t size = write_tcp_header(bytes, segment);
  bytes.resize(size + segment.payload.size());
  copy(MutableBytes{bytes}.subspan(size), segment.payload);
  finish_tcp_checksum(MutableBytes{bytes}.first(size), src, dst, {&segment.payload, 1});
  return bytes;
}

TcpSegment data_segment() {
  TcpSegment segment{.src_port = 43'210,
                     .dst_port = 7,
                     .seq = SeqNum{0xfffffffe},
                     .ack = SeqNum{0x01020304},
                     .flags = TcpFlags::ack | TcpFlags::psh,
                     .window = 0x1234,
                     .payload = as_bytes("hello")};
  segment.options.has_timestamps = true;
  segment.options.timestamps = {5, 6};
  return segment;
}

std::optional<Drop> refusal(Bytes bytes) {
  const auto parsed = parse_tcp(Exact{bytes}.bytes(), client, server);
  if (parsed) return std::nullopt;
  return parsed.drop();
}

}  // namespace

TEST_CASE("a segment is written as RFC 9293 3.1 lays it out", "[wire][tcp]") {
  CHECK(segment_bytes({.src_port = 0x0102,
                       .dst_port = 0x0304,
                       .seq = SeqNum{0x05060708},
                       .ack = SeqNum{0x090a0b0c},
                       .flags = TcpFlags::syn | TcpFlags::ece | TcpFlags::cwr,
                       .window = 0x0d0e,
                       .urgent = 0x1112}) ==
        test::hex("0102 0304 05060708 090a0b0c 50 c2 0d0e 58d6 1112"));
}

TEST_CASE("a segment that another program summed verifies", "[wire][tcp]") {
  const auto bytes = test::hex(
      "a8ca 0007 fffffffe 01020304 80 18 1234 5fc6 0000 0101080a 00000005 00000006 68656c6c6f");
  const auto parsed = parse_tcp(bytes, client, server);
  REQUIRE(parsed);
  CHECK(as_text(parsed->payload) == "hello");
  CHECK(segment_bytes(data_segment()) == bytes);
}

TEST_CASE("a segment that is written is parsed again", "[wire][tcp]") {
  const auto seed = GENERATE(range(0U, 40U));
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  const auto payload = test::random_bytes(random, random() % 1461);
  TcpSegment segment{.src_port = static_cast<std::uint16_t>(random()),
                     .dst_port = static_cast<std::uint16_t>(random()),
                     .seq = SeqNum{static_cast<std::uint32_t>(random())},
                     .ack = SeqNum{static_cast<std::uint32_t>(random())},
                     .flags = {static_cast<std::uint8_t>(random())},
                     .window = static_cast<std::uint16_t>(random()),
                     .urgent = static_cast<std::uint16_t>(random()),
                     .payload = payload};
  segment.options.has_mss = random() % 2 == 0;
  segment.options.mss = segment.options.has_mss ? static_cast<std::uint16_t>(random()) : 0;
  segment.options.has_timestamps = random() % 2 == 0;
  const auto bytes = segment_bytes(segment);
  CHECK(bytes.size() == 20 + segment.options.encoded_bytes() + payload.size());
  const Exact exact{bytes};
  const auto parsed = parse_tcp(exact.bytes(), client, server);
  REQUIRE(parsed);
  CHECK(parsed->src_port == segment.src_port);
  CHECK(parsed->dst_port == segment.dst_port);
  CHECK(parsed->seq == segment.seq);
  CHECK(parsed->ack == segment.ack);
  CHECK(parsed->flags == segment.flags);
  CHECK(parsed->window == segment.window);
  CHECK(parsed->urgent == segment.urgent);
  CHECK(parsed->options == segment.options);
  CHECK(as_text(parsed->payload) == as_text(payload));
}

TEST_CASE("every truncated segment is refused without a read beyond its end", "[wire][tcp]") {
  const auto whole = segment_bytes(data_segment());
  REQUIRE_FALSE(refusal(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    const Exact exact{Bytes{whole}.first(size)};
    CHECK_FALSE(parse_tcp(exact.bytes(), client, server));
    const auto unverified = parse_tcp_unverified(exact.bytes());
    CHECK(unverified.has_value() == (size >= 32));
    if (!unverified) {
      CHECK(unverified.drop() == (size < 20 ? Drop::tcp_too_short : Drop::bad_data_offset));
    }
  }
}

TEST_CASE("a segment with any bit flipped is dropped", "[wire][tcp][MUST-3]") {
  const auto good = segment_bytes(data_segment());
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    CAPTURE(bit);
    REQUIRE(refusal(bytes) == Drop::bad_tcp_checksum);
  }
  CHECK(parse_tcp(good, client, server));
  CHECK_FALSE(parse_tcp(good, client, "10.0.0.3"_ip));
}

TEST_CASE("the data offset lies between the fixed header and the end", "[wire][tcp]") {
  for (unsigned words = 0; words < 16; ++words) {
    auto bytes = segment_bytes({.payload = as_bytes("\1\1\1\1\1\1\1\1")});
    bytes[12] = static_cast<std::byte>(words << 4);
    CAPTURE(words);
    const auto parsed = parse_tcp_unverified(Exact{bytes}.bytes());
    CHECK(parsed.has_value() == (words >= 5 && words <= 7));
    if (parsed) CHECK(parsed->payload.size() == 28 - 4 * words);
    if (!parsed) CHECK(parsed.drop() == Drop::bad_data_offset);
  }
}

TEST_CASE("a malformed option drops the segment", "[wire][tcp][MUST-7]") {
  for (const char* options : {"fe000000", "fe010000", "fe290000", "010101fe"}) {
    TcpSegment segment = data_segment();
    segment.options = {};
    segment.options.has_mss = true;
    auto bytes = segment_bytes(segment);
    copy(MutableBytes{bytes}.subspan(20, 4), test::hex(options));
    bytes[16] = bytes[17] = std::byte{0};
    finish_tcp_checksum(MutableBytes{bytes}.first(24), client, server, {&segment.payload, 1});
    CAPTURE(options);
    CHECK(refusal(bytes) == Drop::bad_tcp_option);
  }
}

TEST_CASE("40 bytes of options leave the data where it is", "[wire][tcp][MUST-5]") {
  std::vector<std::byte> bytes(60, std::byte{1});
  write_tcp_header(bytes, {.src_port = 1, .dst_port = 2, .flags = TcpFlags::ack});
  bytes[12] = std::byte{15 << 4};
  const Bytes payload = as_bytes("data");
  finish_tcp_checksum(bytes, client, server, {&payload, 1});
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  const auto parsed = parse_tcp(bytes, client, server);
  REQUIRE(parsed);
  CHECK(as_text(parsed->payload) == "data");
  CHECK(parsed->options == TcpOptions{});
}

TEST_CASE("reserved bits are ignored", "[wire][tcp]") {
  auto bytes = segment_bytes(data_segment());
  bytes[12] |= std::byte{0x0f};
  const auto parsed = parse_tcp_unverified(bytes);
  REQUIRE(parsed);
  CHECK(parsed->flags == data_segment().flags);
  CHECK(as_text(parsed->payload) == "hello");
}

TEST_CASE("the checksum is the same for any pieces of the payload", "[wire][tcp][MUST-2]") {
  TcpSegment segment = data_segment();
  segment.payload = as_bytes("odd and even pieces");
  const auto whole = segment_bytes(segment);
  for (std::size_t first = 0; first <= segment.payload.size(); ++first) {
    const std::array<Bytes, 3> pieces{segment.payload.first(first), Bytes{},
                                      segment.payload.subspan(first)};
    std::array<std::byte, tcp_max_header_bytes> header{};
    const std::size_t size = write_tcp_header(header, segment);
    finish_tcp_checksum(MutableBytes{header}.first(size), client, server, pieces);
    CAPTURE(first);
    CHECK(as_text(Bytes{header}.first(size)) == as_text(Bytes{whole}.first(size)));
  }
}

TEST_CASE("the checksum covers the addresses of IPv6", "[wire][tcp]") {
  const auto src = "2001:db8::1"_ip, dst = "2001:db8::2"_ip;
  const auto bytes = segment_bytes(data_segment(), src, dst);
  CHECK(parse_tcp(bytes, src, dst));
  CHECK_FALSE(parse_tcp(bytes, src, "2001:db8::3"_ip));
  CHECK_FALSE(parse_tcp(bytes, client, server));
}

TEST_CASE("SYN and FIN take sequence space", "[wire][tcp]") {
  TcpSegment segment{.payload = as_bytes("abc")};
  CHECK(segment.length() == 3);
  segment.flags = TcpFlags::syn;
  CHECK(segment.length() == 4);
  segment.flags = TcpFlags::syn | TcpFlags::fin | TcpFlags::ack;
  CHECK(segment.length() == 5);
  segment.payload = {};
  CHECK(segment.length() == 2);
}

TEST_CASE("flags are a set of bits at their place in the header", "[wire][tcp]") {
  CHECK(TcpFlags::fin.bits == 0x01);
  CHECK(TcpFlags::syn.bits == 0x02);
  CHECK(TcpFlags::rst.bits == 0x04);
  CHECK(TcpFlags::psh.bits == 0x08);
  CHECK(TcpFlags::ack.bits == 0x10);
  CHECK(TcpFlags::urg.bits == 0x20);
  CHECK(TcpFlags::ece.bits == 0x40);
  CHECK(TcpFlags::cwr.bits == 0x80);
  TcpFlags flags = TcpFlags::syn | TcpFlags::ack;
  CHECK(flags.has(TcpFlags::syn));
  CHECK(flags.has(TcpFlags::syn | TcpFlags::ack));
  CHECK_FALSE(flags.has(TcpFlags::syn | TcpFlags::fin));
  CHECK(flags.has_any(TcpFlags::syn | TcpFlags::fin));
  CHECK_FALSE(flags.has_any(TcpFlags::rst | TcpFlags::fin));
  flags &= ~TcpFlags::syn;
  CHECK(flags == TcpFlags::ack);
  flags |= TcpFlags::psh;
  CHECK(flags.bits == 0x18);
  CHECK(TcpFlags{} == TcpFlags::none);
}
