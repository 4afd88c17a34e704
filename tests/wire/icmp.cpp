// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "exact.hpp"
#include <tunic/wire/icmp.hpp>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

using namespace tunic;
using test::Exact;

namespace {

std::vector<std::byte> message_bytes(const IcmpMessage& message) {
  std::vector<std::byte> bytes(icmp_header_bytes + message.body.size());
  CHECK(write_icmpv4(bytes, message) == bytes.size());
  return bytes;
}

// 10.0.0.1.43210 > 10.0.0.2.7, sequence number 0x01020304, 1500 bytes, of which 28 are quoted.
constexpr std::string_view quoted =
    "45000 5dc 1234 4000 40 06 0000 0a000001 0a000002 a8ca 0007 01020304";

}  // namespace

TEST_CASE("an echo request is written as RFC 792 lays it out", "[wire][icmp]") {
  const auto bytes =
      message_bytes({.type = IcmpType::echo_request, .rest = 0x1234'0001, .body = as_bytes("abc")});
  CHECK(bytes == test::hex("08 00 2168 1234 0001 616263"));
  const auto parsed = parse_icmpv4(bytes);
  REQUIRE(parsed);
  CHECK(parsed->type == IcmpType::echo_request);
  CHECK(parsed->code == 0);
  CHECK(parsed->echo_id() == 0x1234);
  CHECK(parsed->echo_sequence() == 1);
  CHECK(as_text(parsed->body) == "abc");
  CHECK_FALSE(parsed->is_error());
}

TEST_CASE("a message that is written is parsed again", "[wire][icmp]") {
  const auto seed = GENERATE(range(0U, 30U));
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  const auto body = test::random_bytes(random, random() % 1500);
  const IcmpMessage message{.type = IcmpType{static_cast<std::uint8_t>(random())},
                            .code = static_cast<std::uint8_t>(random()),
                            .rest = static_cast<std::uint32_t>(random()),
                            .body = body};
  const Exact exact{message_bytes(message)};
  const auto parsed = parse_icmpv4(exact.bytes());
  REQUIRE(parsed);
  CHECK(parsed->type == message.type);
  CHECK(parsed->code == message.code);
  CHECK(parsed->rest == message.rest);
  CHECK(as_text(parsed->body) == as_text(body));
}

TEST_CASE("truncated and damaged messages are dropped", "[wire][icmp][IC4-04]") {
  const auto good =
      message_bytes({.type = IcmpType::echo_request, .rest = 7, .body = as_bytes("abc")});
  for (std::size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    const Exact exact{Bytes{good}.first(size)};
    const auto parsed = parse_icmpv4(exact.bytes());
    REQUIRE_FALSE(parsed);
    CHECK(parsed.drop() == (size < 8 ? Drop::icmp_too_short : Drop::bad_icmp_checksum));
  }
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    CAPTURE(bit);
    const auto parsed = parse_icmpv4(bytes);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.drop() == Drop::bad_icmp_checksum);
  }
}

TEST_CASE("errors are told from queries", "[wire][icmp]") {
  for (unsigned type = 0; type < 256; ++type) {
    CAPTURE(type);
    const IcmpMessage message{.type = IcmpType{static_cast<std::uint8_t>(type)}};
    CHECK(message.is_error() == (type == 3 || type == 4 || type == 5 || type == 11 || type == 12));
  }
  IcmpMessage message{.type = IcmpType::destination_unreachable, .code = 4, .rest = 0xffff'0578};
  CHECK(message.is_unreachable(IcmpUnreachable::fragmentation_needed));
  CHECK_FALSE(message.is_unreachable(IcmpUnreachable::port));
  CHECK(message.next_hop_mtu() == 1400);
  message.type = IcmpType::time_exceeded;
  CHECK_FALSE(message.is_unreachable(IcmpUnreachable::fragmentation_needed));
}

TEST_CASE("an error's quote tells whose packet it was", "[wire][icmp]") {
  const auto quote = parse_icmp_quote(test::hex(quoted));
  REQUIRE(quote);
  CHECK(quote->src == "10.0.0.1"_ip);
  CHECK(quote->dst == "10.0.0.2"_ip);
  CHECK(quote->protocol == IpProtocol::tcp);
  CHECK(quote->src_port == 43'210);
  CHECK(quote->dst_port == 7);
  CHECK(quote->seq == SeqNum{0x01020304});
  CHECK(quote->total_length == 1500);
}

TEST_CASE("a quote may have options and more than 8 bytes", "[wire][icmp]") {
  const auto quote = parse_icmp_quote(test::hex(
      "46000 5dc 1234 4000 40 11 0000 0a000001 0a000002 94040000 0035 0036 0008 0000 ffff"));
  REQUIRE(quote);
  CHECK(quote->protocol == IpProtocol::udp);
  CHECK(quote->src_port == 53);
  CHECK(quote->dst_port == 54);
}

TEST_CASE("a quote that is too short or malformed is refused", "[wire][icmp][IC4-09]") {
  const auto good = test::hex(quoted);
  const auto refused = [](Bytes bytes) {
    const auto quote = parse_icmp_quote(Exact{bytes}.bytes());
    return !quote && quote.drop() == Drop::icmp_bad_quote;
  };
  REQUIRE_FALSE(refused(good));
  for (std::size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    CHECK(refused(Bytes{good}.first(size)));
  }
  const auto with = [&good](std::size_t at, unsigned value) {
    auto bytes = good;
    bytes[at] = static_cast<std::byte>(value);
    return bytes;
  };
  CHECK(refused(with(0, 0x65)));        // version
  CHECK(refused(with(0, 0x44)));        // header length below the minimum
  CHECK(refused(with(0, 0x46)));        // header length beyond the message
  CHECK(refused(with(0, 0x4f)));        //
  CHECK(refused(with(7, 0x01)));        // not the first fragment
  CHECK_FALSE(refused(with(6, 0x20)));  // the first fragment
  auto lying = with(2, 0);
  lying[3] = std::byte{27};  // shorter than what is quoted of it
  CHECK(refused(lying));
  lying[3] = std::byte{28};
  CHECK_FALSE(refused(lying));
}

TEST_CASE("an error quotes at most what keeps it within 576 bytes", "[wire][icmp][IC4-07]") {
  std::mt19937_64 random{3};
  const auto packet = test::random_bytes(random, 1500);
  CHECK(icmp_quote(packet).size() == 576 - 20 - 8);
  CHECK(icmp_quote(packet).data() == packet.data());
  CHECK(icmp_quote(Bytes{packet}.first(40)).size() == 40);
}
