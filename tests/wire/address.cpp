// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/wire/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

using namespace tunic;

namespace {

std::string reprinted(const char* text) {
  const auto address = IpAddress::parse(text);
  return address ? address->to_string() : "refused";
}

std::string reprinted_cidr(const char* text) {
  const auto cidr = IpCidr::parse(text);
  return cidr ? cidr->to_string() : "refused";
}

}  // namespace

// Addresses, prefixes and their classes are known when compiling.
static_assert("10.0.0.1"_ip == IpAddress::v4(10, 0, 0, 1));
static_assert("10.0.0.1"_ip.v4_bits() == 0x0a000001);
static_assert("::ffff:10.0.0.1"_ip == "10.0.0.1"_ip);
static_assert("10.0.0.1/24"_cidr.contains("10.0.0.255"_ip));
static_assert(sizeof(IpAddress) == 16);

TEST_CASE("an IPv4 address is its 32 bits and an IPv4-mapped IPv6 address", "[wire][address]") {
  const auto address = IpAddress::v4(192, 0, 2, 33);
  CHECK(address.is_v4());
  CHECK(address.v4_bits() == 0xc0000221);
  CHECK(address == IpAddress::v4(0xc0000221));
  const std::array<std::byte, 16> bytes = address.bytes();
  CHECK(bytes[9] == std::byte{0});
  CHECK(bytes[10] == std::byte{0xff});
  CHECK(bytes[11] == std::byte{0xff});
  CHECK(bytes[12] == std::byte{192});
  CHECK(bytes[15] == std::byte{33});
  CHECK(IpAddress::v6(bytes) == address);
  CHECK(address.hash_words() == std::array<std::uint64_t, 2>{0, 0x0000'ffff'c000'0221});
}

TEST_CASE("an IPv6 address keeps its 16 bytes", "[wire][address]") {
  std::array<std::byte, 16> bytes{};
  for (std::size_t i = 0; i < 16; ++i) bytes[i] = static_cast<std::byte>(0x20 + i);
  const auto address = IpAddress::v6(bytes);
  CHECK_FALSE(address.is_v4());
  CHECK(address.bytes() == bytes);
  CHECK(address.to_string() == "2021:2223:2425:2627:2829:2a2b:2c2d:2e2f");
  CHECK(address.hash_words() ==
        std::array<std::uint64_t, 2>{0x2021222324252627, 0x28292a2b2c2d2e2f});
}

TEST_CASE("IPv4 text is dotted decimal and nothing else", "[wire][address]") {
  for (const char* good : {"0.0.0.0", "255.255.255.255", "10.0.0.1", "1.20.255.9"}) {
    CHECK(reprinted(good) == good);
  }
  for (const char* bad : {"", ".", "1", "1.2.3", "1.2.3.", ".1.2.3", "1.2.3.4.", "1.2.3.4.5",
                          "256.0.0.1", "1.2.3.999", "1.2.3.4294967297", "01.2.3.4", "1.2.3.00",
                          "1.2.3.0x4", " 1.2.3.4", "1.2.3.4 ", "1..2.3", "1.2.3.-4", "1,2,3,4"}) {
    CAPTURE(bad);
    CHECK(reprinted(bad) == "refused");
  }
}

TEST_CASE("IPv6 text is read in every form of RFC 4291 2.2", "[wire][address]") {
  CHECK(reprinted("ABCD:EF01:2345:6789:ABCD:EF01:2345:6789") ==
        "abcd:ef01:2345:6789:abcd:ef01:2345:6789");
  CHECK(reprinted("2001:DB8:0:0:8:800:200C:417A") == "2001:db8::8:800:200c:417a");
  CHECK(reprinted("FF01:0:0:0:0:0:0:101") == "ff01::101");
  CHECK(reprinted("0:0:0:0:0:0:0:1") == "::1");
  CHECK(reprinted("0:0:0:0:0:0:0:0") == "::");
  CHECK(reprinted("1::") == "1::");
  CHECK(reprinted("::2:3:4:5:6:7:8") == "0:2:3:4:5:6:7:8");
  CHECK(reprinted("1:2:3:4:5:6:7::") == "1:2:3:4:5:6:7:0");
  CHECK(reprinted("64:ff9b::192.0.2.33") == "64:ff9b::c000:221");
  CHECK(reprinted("1:2:3:4:5:6:1.2.3.4") == "1:2:3:4:5:6:102:304");
  CHECK(reprinted("::FFFF:129.144.52.38") == "129.144.52.38");
  for (const char* bad : {":",
                          ":::",
                          "1:2:3:4:5:6:7",
                          "1:2:3:4:5:6:7:8:9",
                          "1::2::3",
                          "1:2:3:4:5:6:7:8::",
                          "::1:2:3:4:5:6:7:8",
                          "12345::",
                          "g::",
                          "1:",
                          ":1",
                          "1:2:3:4:5:6:7:",
                          "::1:",
                          ":1::",
                          "1:::2",
                          "::1.2.3",
                          "::1.2.3.4.5",
                          "1.2.3.4::",
                          "::1.2.3.4:5",
                          "1:2:3:4:5:6:7:1.2.3.4",
                          "fe80::1%eth0",
                          "::1 ",
                          " ::1",
                          "::00001",
                          "::-1",
                          "[::1]",
                          "::ffff:256.1.1.1"}) {
    CAPTURE(bad);
    CHECK(reprinted(bad) == "refused");
  }
}

TEST_CASE("IPv6 text is written as RFC 5952 4 recommends", "[wire][address]") {
  CHECK(reprinted("2001:0db8::0001") == "2001:db8::1");                    // 4.1
  CHECK(reprinted("2001:db8:0:0:0:0:2:1") == "2001:db8::2:1");             // 4.2.1
  CHECK(reprinted("2001:db8::1:1:1:1:1") == "2001:db8:0:1:1:1:1:1");       // 4.2.2
  CHECK(reprinted("2001:0:0:1:0:0:0:1") == "2001:0:0:1::1");               // 4.2.3, the longest
  CHECK(reprinted("2001:db8:0:0:1:0:0:1") == "2001:db8::1:0:0:1");         // 4.2.3, the first
  CHECK(reprinted("2001:DB8::ABCD:EF00") == "2001:db8::abcd:ef00");        // 4.3
  CHECK(reprinted("10:100:1000:0:1:0:f:a0") == "10:100:1000:0:1:0:f:a0");  // no zero is lost
  CHECK(reprinted("0:0:1:0:0:0:0:0") == "0:0:1::");
}

TEST_CASE("addresses have the classes that their numbers say", "[wire][address]") {
  CHECK(IpAddress{}.is_unspecified());
  CHECK("0.0.0.0"_ip.is_unspecified());
  CHECK_FALSE("0.0.0.1"_ip.is_unspecified());
  CHECK_FALSE("::1"_ip.is_unspecified());

  CHECK("127.0.0.1"_ip.is_loopback());
  CHECK("127.255.255.255"_ip.is_loopback());
  CHECK_FALSE("128.0.0.0"_ip.is_loopback());
  CHECK("::1"_ip.is_loopback());
  CHECK_FALSE("::2"_ip.is_loopback());

  CHECK("224.0.0.0"_ip.is_multicast());
  CHECK("239.255.255.255"_ip.is_multicast());
  CHECK_FALSE("223.255.255.255"_ip.is_multicast());
  CHECK_FALSE("240.0.0.0"_ip.is_multicast());
  CHECK("ff02::1"_ip.is_multicast());
  CHECK_FALSE("fe80::1"_ip.is_multicast());

  CHECK("255.255.255.255"_ip.is_limited_broadcast());
  CHECK_FALSE("255.255.255.254"_ip.is_limited_broadcast());
  CHECK_FALSE("::255.255.255.255"_ip.is_limited_broadcast());

  CHECK("169.254.1.1"_ip.is_link_local());
  CHECK_FALSE("169.253.1.1"_ip.is_link_local());
  CHECK("fe80::1"_ip.is_link_local());
  CHECK("febf::1"_ip.is_link_local());
  CHECK_FALSE("fec0::1"_ip.is_link_local());
}

TEST_CASE("no host sends from a martian source", "[wire][address][rfc1122-3.2.1.3]") {
  for (const auto martian :
       {"0.0.0.0"_ip, "0.255.255.255"_ip, "127.0.0.1"_ip, "224.0.0.1"_ip, "239.255.255.255"_ip,
        "240.0.0.0"_ip, "255.255.255.255"_ip, "::"_ip, "::1"_ip, "ff02::1"_ip}) {
    CAPTURE(martian);
    CHECK(martian.is_martian_source());
  }
  for (const auto honest :
       {"1.0.0.0"_ip, "10.0.0.1"_ip, "126.255.255.255"_ip, "128.0.0.1"_ip, "169.254.0.1"_ip,
        "223.255.255.255"_ip, "2001:db8::1"_ip, "fe80::1"_ip}) {
    CAPTURE(honest);
    CHECK_FALSE(honest.is_martian_source());
  }
}

TEST_CASE("addresses are ordered by number", "[wire][address]") {
  CHECK("10.0.0.1"_ip < "10.0.0.2"_ip);
  CHECK("9.255.255.255"_ip < "10.0.0.0"_ip);
  CHECK("::1"_ip < "0.0.0.0"_ip);
  CHECK("255.255.255.255"_ip < "2001:db8::"_ip);
  CHECK("2001:db8::1"_ip > "2001:db8::"_ip);
}

TEST_CASE("a prefix contains its network and no more", "[wire][address]") {
  const auto net = "10.1.2.3/20"_cidr;
  CHECK(net.network() == "10.1.0.0"_ip);
  CHECK(net.contains("10.1.0.0"_ip));
  CHECK(net.contains("10.1.15.255"_ip));
  CHECK_FALSE(net.contains("10.1.16.0"_ip));
  CHECK_FALSE(net.contains("10.0.255.255"_ip));
  CHECK_FALSE(net.contains("::10.1.2.3"_ip));

  CHECK("0.0.0.0/0"_cidr.contains("255.1.2.3"_ip));
  CHECK_FALSE("0.0.0.0/0"_cidr.contains("::1"_ip));
  CHECK("::/0"_cidr.contains("2001:db8::1"_ip));
  CHECK_FALSE("::/0"_cidr.contains("10.0.0.1"_ip));

  CHECK("2001:db8::/65"_cidr.contains("2001:db8::7fff:0:0:1"_ip));
  CHECK_FALSE("2001:db8::/65"_cidr.contains("2001:db8::8000:0:0:1"_ip));
  CHECK("2001:db8::/33"_cidr.contains("2001:db8:7fff::1"_ip));
  CHECK_FALSE("2001:db8::/33"_cidr.contains("2001:db8:8000::1"_ip));
  CHECK("2001:db8::/64"_cidr.contains("2001:db8::ffff:0:0:1"_ip));
  CHECK_FALSE("2001:db8::/64"_cidr.contains("2001:db8:0:1::1"_ip));
}

TEST_CASE("an address alone is a prefix of full length", "[wire][address]") {
  const IpCidr four = "10.0.0.1"_ip, six = "::1"_ip;
  CHECK(four.prefix_length == 32);
  CHECK(six.prefix_length == 128);
  CHECK(four.contains("10.0.0.1"_ip));
  CHECK_FALSE(four.contains("10.0.0.0"_ip));
  CHECK(six.contains("::1"_ip));
  CHECK_FALSE(six.contains("::"_ip));
  CHECK(IpCidr{"10.0.0.1"_ip, 99} == four);
}

TEST_CASE("a subnet's broadcast address has all host bits set", "[wire][address]") {
  CHECK("10.0.0.1/24"_cidr.subnet_broadcast() == "10.0.0.255"_ip);
  CHECK("10.0.0.1/8"_cidr.subnet_broadcast() == "10.255.255.255"_ip);
  CHECK("10.0.0.1/30"_cidr.subnet_broadcast() == "10.0.0.3"_ip);
  CHECK_FALSE("10.0.0.1/31"_cidr.subnet_broadcast().has_value());
  CHECK_FALSE("10.0.0.1/32"_cidr.subnet_broadcast().has_value());
  CHECK_FALSE("2001:db8::1/64"_cidr.subnet_broadcast().has_value());
  CHECK("10.0.0.1/24"_cidr.is_subnet_broadcast("10.0.0.255"_ip));
  CHECK_FALSE("10.0.0.1/24"_cidr.is_subnet_broadcast("10.0.0.254"_ip));
  CHECK_FALSE("10.0.0.1/31"_cidr.is_subnet_broadcast("10.0.0.1"_ip));
}

TEST_CASE("prefixes are read and written with a slash", "[wire][address]") {
  CHECK(reprinted_cidr("10.0.0.1/24") == "10.0.0.1/24");
  CHECK(reprinted_cidr("10.0.0.1/0") == "10.0.0.1/0");
  CHECK(reprinted_cidr("10.0.0.1") == "10.0.0.1/32");
  CHECK(reprinted_cidr("2001:DB8::/32") == "2001:db8::/32");
  CHECK(reprinted_cidr("::1") == "::1/128");
  for (const char* bad : {"", "/", "/24", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/-1", "10.0.0.1/24 ",
                          "10.0.0.1/024", "10.0.0/24", "::/129", "10.0.0.1/24/24"}) {
    CAPTURE(bad);
    CHECK(reprinted_cidr(bad) == "refused");
  }
}

TEST_CASE("endpoints are written with a colon, and IPv6 in brackets", "[wire][address]") {
  CHECK(Endpoint{"10.0.0.1"_ip, 80}.to_string() == "10.0.0.1:80");
  CHECK(Endpoint{"::1"_ip, 65'535}.to_string() == "[::1]:65535");
  CHECK(Endpoint{"10.0.0.1"_ip, 80} == Endpoint{"10.0.0.1"_ip, 80});
  CHECK(Endpoint{"10.0.0.1"_ip, 80} < Endpoint{"10.0.0.1"_ip, 81});
  CHECK(Endpoint{"10.0.0.1"_ip, 81} < Endpoint{"10.0.0.2"_ip, 80});
}
