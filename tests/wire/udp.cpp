// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "exact.hpp"
#include <tunic/wire/udp.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

using namespace tunic;
using test::Exact;

namespace {

constexpr IpAddress client = "10.0.0.1"_ip, server = "10.0.0.2"_ip;

std::vector<std::byte> datagram_bytes(const UdpDatagram& datagram, const IpAddress& src = client,
                                      const IpAddress& dst = server) {
  std::vector<std::byte> bytes(udp_header_bytes + datagram.payload.size());
  CHECK(write_udp_header(bytes, datagram, src, dst) == udp_header_bytes);
  copy(MutableBytes{bytes}.subspan(udp_header_bytes), datagram.payload);
  return bytes;
}

std::optional<Drop> refusal(Bytes bytes, const IpAddress& src = client,
                            const IpAddress& dst = server) {
  const auto parsed = parse_udp(Exact{bytes}.bytes(), src, dst);
  if (parsed) return std::nullopt;
  return parsed.drop();
}

}  // namespace

TEST_CASE("datagrams are written and parsed again", "[wire][udp]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  const auto payload = test::random_bytes(random, random() % 2000);
  const auto bytes = datagram_bytes({53, 54, payload});
  const Exact exact{bytes};
  const auto parsed = parse_udp(exact.bytes(), client, server);
  REQUIRE(parsed);
  CHECK(parsed->src_port == 53);
  CHECK(parsed->dst_port == 54);
  CHECK(as_text(parsed->payload) == as_text(payload));
}

TEST_CASE("truncated and damaged datagrams are dropped", "[wire][udp][UDP-01][UDP-02]") {
  const auto good = datagram_bytes({53, 54, as_bytes("abc")});
  for (std::size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    CHECK(refusal(Bytes{good}.first(size)) ==
          (size < 8 ? Drop::udp_too_short : Drop::bad_udp_length));
  }
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    CAPTURE(bit);
    CHECK(refusal(bytes).has_value());
  }
  for (unsigned length = 0; length < 8; ++length) {
    auto bytes = good;
    bytes[5] = static_cast<std::byte>(length);
    CHECK(refusal(bytes) == Drop::bad_udp_length);
  }
}

TEST_CASE("bytes beyond a datagram's length are trimmed", "[wire][udp][UDP-01]") {
  auto bytes = datagram_bytes({53, 54, as_bytes("abc")});
  bytes.resize(20, std::byte{0xee});
  const auto parsed = parse_udp(bytes, client, server);
  REQUIRE(parsed);
  CHECK(as_text(parsed->payload) == "abc");
}

TEST_CASE("a checksum of zero means none over IPv4 and is refused over IPv6",
          "[wire][udp][UDP-02][UDP-03]") {
  auto bytes = datagram_bytes({53, 54, as_bytes("abc")});
  bytes[6] = bytes[7] = std::byte{0};
  CHECK_FALSE(refusal(bytes));
  CHECK(refusal(bytes, "2001:db8::1"_ip, "2001:db8::2"_ip) == Drop::bad_udp_checksum);
  const auto six = datagram_bytes({53, 54, as_bytes("abc")}, "2001:db8::1"_ip, "2001:db8::2"_ip);
  CHECK_FALSE(refusal(six, "2001:db8::1"_ip, "2001:db8::2"_ip));
}

TEST_CASE("a computed checksum of zero is sent as ffff", "[wire][udp][UDP-02]") {
  // The payload is chosen so that everything sums to ffff.
  auto payload = test::hex("0000");
  const auto bytes = datagram_bytes({53, 54, payload});
  payload = {bytes[6], bytes[7]};
  const auto sent = datagram_bytes({53, 54, payload});
  CHECK(sent[6] == std::byte{0xff});
  CHECK(sent[7] == std::byte{0xff});
  CHECK_FALSE(refusal(sent));
}
