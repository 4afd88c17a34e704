// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/testing/decode.hpp>
#include <tunic/testing/segment.hpp>

#include <cstddef>
#include <optional>
#include <string>

using namespace tunic;
using namespace tunic::testing;

namespace {

constexpr Endpoint client{"10.0.0.1"_ip, 43'210}, server{"10.0.0.2"_ip, 7};

}  // namespace

TEST_CASE("a decoded packet has the part that it carries", "[testing][decode]") {
  const auto tcp = decode(segment(client, server).seq(5).payload("abc").packet());
  REQUIRE(tcp.tcp);
  CHECK_FALSE(tcp.udp);
  CHECK_FALSE(tcp.icmp);
  CHECK(tcp.tcp->seq == SeqNum{5});
  CHECK(tcp.from() == client);
  CHECK(tcp.to() == server);
  CHECK(as_text(tcp.payload()) == "abc");

  const auto datagram = decode(udp(client, server, "abcd"));
  REQUIRE(datagram.udp);
  CHECK(datagram.from() == client);
  CHECK(as_text(datagram.payload()) == "abcd");

  const auto echo = decode(icmp_echo(client.address, server.address, 1, 2, "ping"));
  REQUIRE(echo.icmp);
  CHECK(echo.from() == Endpoint{client.address, 0});
  CHECK(as_text(echo.payload()) == "ping");

  const auto other = decode(ip_packet(
      {.src = client.address, .dst = server.address, .protocol = IpProtocol{253}}, "raw"));
  CHECK_FALSE(other.malformed);
  CHECK(as_text(other.payload()) == "raw");
}

TEST_CASE("a decoded packet keeps its bytes alive", "[testing][decode]") {
  std::optional<Decoded> first = decode(segment(client, server).payload("abc").packet());
  const Decoded copy = *first;
  first.reset();
  CHECK(as_text(copy.payload()) == "abc");
  CHECK(copy.describe() ==
        "10.0.0.1.43210 > 10.0.0.2.7: Flags [none], seq 0:3, win 65535, length 3");
}

TEST_CASE("a malformed packet is decoded as far as it goes", "[testing][decode]") {
  CHECK(decode({}).malformed == Drop::too_short);
  auto padded = segment(client, server).payload("abc").packet();
  padded.push_back(std::byte{0});
  CHECK(decode(padded).malformed == Drop::bad_total_length);
  CHECK(decode(padded).tcp);
  const auto damaged = decode(segment(client, server).corrupt_checksum().packet());
  CHECK(damaged.malformed == Drop::bad_tcp_checksum);
  CHECK_FALSE(damaged.tcp);
  CHECK(damaged.ip.header.src == client.address);
  auto message = icmp_echo(client.address, server.address, 1, 2);
  message.back() ^= std::byte{1};
  CHECK(decode(message).malformed == Drop::bad_icmp_checksum);
  auto datagram = udp(client, server, "abc");
  datagram.back() ^= std::byte{1};
  CHECK(decode(datagram).malformed == Drop::bad_udp_checksum);
}
