// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "exact.hpp"
#include <tunic/wire/checksum.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

using namespace tunic;

namespace {

// RFC 1071 as it reads: 16-bit words in network order, an odd last byte padded by zero.
std::uint16_t naive(Bytes bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += static_cast<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

std::uint16_t in_pieces(Bytes bytes, std::mt19937_64& random, std::size_t longest) {
  InternetSum sum;
  while (!bytes.empty()) {
    const std::size_t size = std::min<std::size_t>(bytes.size(), random() % (longest + 1));
    sum.add(bytes.first(size));
    bytes = bytes.subspan(size);
  }
  return sum.finish();
}

}  // namespace

TEST_CASE("the example of RFC 1071 sums to ddf2", "[wire][checksum]") {
  const auto bytes = test::hex("0001 f203 f4f5 f6f7");
  CHECK(checksum(bytes) == static_cast<std::uint16_t>(~0xddf2));
}

TEST_CASE("the checksum of nothing is ffff, and so is that of zeros", "[wire][checksum]") {
  CHECK(checksum({}) == 0xffff);
  CHECK(checksum(std::vector<std::byte>(1000)) == 0xffff);
}

TEST_CASE("the checksum equals the naive one for every short length and alignment",
          "[wire][checksum]") {
  std::mt19937_64 random{1};
  const auto bytes = test::random_bytes(random, 400);
  for (std::size_t offset = 0; offset < 33; ++offset) {
    for (std::size_t size = 0; size <= 300; ++size) {
      const Bytes part = Bytes{bytes}.subspan(offset, size);
      if (checksum(part) != naive(part)) {
        CAPTURE(offset, size);
        REQUIRE(checksum(part) == naive(part));
      }
    }
  }
  const test::Exact exact{Bytes{bytes}.first(131)};
  CHECK(checksum(exact.bytes()) == naive(exact.bytes()));
}

TEST_CASE("the checksum equals the naive one for random lengths up to 70,000", "[wire][checksum]") {
  const auto seed = GENERATE(range(0U, 8U));
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  const auto bytes = test::random_bytes(random, 70'064);
  for (int round = 0; round < 12; ++round) {
    const std::size_t offset = random() % 64, size = random() % 70'001;
    CAPTURE(offset, size);
    const Bytes part = Bytes{bytes}.subspan(offset, size);
    REQUIRE(checksum(part) == naive(part));
  }
}

TEST_CASE("carries are never lost in bytes that are all ones", "[wire][checksum]") {
  const std::vector<std::byte> ones(70'001, std::byte{0xff});
  for (const std::size_t size : {1U, 2U, 3U, 20U, 63U, 64U, 65U, 127U, 1460U, 65'535U, 70'001U}) {
    CAPTURE(size);
    REQUIRE(checksum(Bytes{ones}.first(size)) == naive(Bytes{ones}.first(size)));
  }
  InternetSum sum;
  std::vector<std::byte> all;
  for (int i = 0; i < 5; ++i) {
    sum.add(Bytes{ones}.first(13'001));
    all.insert(all.end(), ones.begin(), ones.begin() + 13'001);
  }
  CHECK(sum.finish() == naive(all));
}

TEST_CASE("the sum itself may wrap", "[wire][checksum]") {
  // Odd pieces are the heaviest: thousands of them pass 2^64. All ones sum to ffff, however many.
  const std::vector<std::byte> ones(70'001, std::byte{0xff});
  InternetSum sum;
  for (int i = 0; i < 4000; ++i) sum.add(ones);
  CHECK(sum.finish() == 0);
}

TEST_CASE("pieces of any length sum like the whole", "[wire][checksum]") {
  const auto seed = GENERATE(range(100U, 116U));
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  const auto bytes = test::random_bytes(random, random() % 4000);
  for (const std::size_t longest : {1U, 2U, 3U, 7U, 64U, 65U, 200U, 1461U}) {
    CAPTURE(bytes.size(), longest);
    REQUIRE(in_pieces(bytes, random, longest) == naive(bytes));
  }
}

TEST_CASE("words are two bytes in network order, also behind an odd piece", "[wire][checksum]") {
  for (const char* before : {"", "ab", "abcdef", "1122334455"}) {
    const auto prefix = test::hex(before);
    auto bytes = prefix;
    for (const std::byte byte : test::hex("8001 c0")) bytes.push_back(byte);
    InternetSum sum;
    sum.add(prefix);
    sum.add_word(0x8001);
    sum.add(test::hex("c0"));
    CAPTURE(before);
    CHECK(sum.finish() == naive(bytes));
  }
}

TEST_CASE("bytes that hold their own checksum sum to zero", "[wire][checksum]") {
  const auto seed = GENERATE(range(200U, 210U));
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  auto bytes = test::random_bytes(random, 20 + random() % 1500);
  bytes[10] = bytes[11] = std::byte{0};
  const std::uint16_t sum = checksum(bytes);
  bytes[10] = static_cast<std::byte>(sum >> 8);
  bytes[11] = static_cast<std::byte>(sum & 0xff);
  CHECK(checksum(bytes) == 0);
  bytes[random() % bytes.size()] ^= std::byte{0x10};
  CHECK(checksum(bytes) != 0);
}

TEST_CASE("the pseudo-header is summed as RFC 9293 3.1 lays it out", "[wire][checksum]") {
  const auto src = IpAddress::v4(0x0a000001), dst = IpAddress::v4(0xc0a8fffe);
  CHECK(pseudo_header_sum(src, dst, IpProtocol::tcp, 0xfffe).finish() ==
        naive(test::hex("0a000001 c0a8fffe 00 06 fffe")));
}

TEST_CASE("the pseudo-header of IPv6 is summed as RFC 8200 8.1 lays it out", "[wire][checksum]") {
  const auto src = *IpAddress::parse("2001:db8::1"), dst = *IpAddress::parse("fe80::abcd");
  CHECK(pseudo_header_sum(src, dst, IpProtocol::udp, 0x12345).finish() ==
        naive(test::hex("20010db8000000000000000000000001 fe80000000000000000000000000abcd"
                        "00012345 000000 11")));
}
