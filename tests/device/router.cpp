// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/device/router.hpp>
#include <tunic/testing/segment.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

using namespace tunic;
using namespace tunic::testing;

namespace {

constexpr Endpoint a{"10.0.0.1"_ip, 1000}, b{"10.0.0.2"_ip, 80};
constexpr IpAddress hop = "10.9.9.9"_ip;

}  // namespace

TEST_CASE("a pure acknowledgement is told from all else", "[device][router]") {
  const auto ack = segment(a, b).seq(5).ack(7);
  CHECK(router::is_pure_ack(ack.packet()));
  CHECK(router::is_pure_ack(ack.timestamps(1, 2).sack({{10, 20}}).packet()));
  CHECK(router::is_pure_ack(ack.ece().cwr().packet()));
  CHECK(router::is_pure_ack(ack.ip_options("\1\1\1\1").packet()));
  Packet padded = ack.packet();
  padded.resize(46);  // by a link layer
  CHECK(router::is_pure_ack(padded));

  CHECK_FALSE(router::is_pure_ack(ack.payload("x").packet()));
  CHECK_FALSE(router::is_pure_ack(segment(a, b).packet()));
  for (const auto& other : {ack.syn(), ack.fin(), ack.rst(), ack.psh(), ack.urgent(1)}) {
    CHECK_FALSE(router::is_pure_ack(other.packet()));
  }
  CHECK_FALSE(router::is_pure_ack(ack.fragment(0, true).packet()));
  CHECK_FALSE(router::is_pure_ack(ack.fragment(8, false).packet()));
  CHECK_FALSE(router::is_pure_ack(udp(a, b, std::string(12, '\0'))));
  const Packet whole = ack.packet();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_FALSE(router::is_pure_ack(Bytes{whole}.first(size)));
  }
}

TEST_CASE("a mark of congestion needs a transport that knows it", "[device][router]") {
  const auto tos = GENERATE(range(0, 256));
  Packet packet = segment(a, b).tos(static_cast<std::uint8_t>(tos)).payload("x").packet();
  const Packet before = packet;
  CHECK(router::mark_congestion(packet) == ((tos & 3) != 0));
  if ((tos & 3) == 0) CHECK(packet == before);
  const Decoded decoded = decode(packet);
  CHECK_FALSE(decoded.malformed);  // the header's sum is right again
  CHECK(decoded.ip.header.tos == ((tos & 3) == 0 ? tos : tos | 3));
}

TEST_CASE("a mark does not make a wrong header right", "[device][router]") {
  Packet packet = segment(a, b).tos(2).packet();
  packet[10] ^= std::byte{0x40};
  CHECK(router::mark_congestion(packet));
  CHECK(decode(packet).malformed == Drop::bad_ip_checksum);
  Packet no_ip(40);
  CHECK_FALSE(router::mark_congestion(no_ip));
  CHECK_FALSE(router::mark_congestion(MutableBytes{packet}.first(19)));
}

TEST_CASE("who must not fragment is told the MTU", "[device][router]") {
  const Packet large = segment(a, b).df().seq(9).payload(std::string(1460, 'x')).packet();
  router::Answer buffer;
  const std::size_t size = router::fragmentation_needed(buffer, large, hop, 1400);
  REQUIRE(size == icmp_max_error_bytes);
  const Decoded answer = decode(Packet(buffer.begin(), buffer.begin() + size));
  CHECK(matches(answer, expect.from(hop)
                            .to(a.address)
                            .icmp(IcmpUnreachable::fragmentation_needed)
                            .icmp_rest(1400)
                            .df(false)));
  const auto quote = parse_icmp_quote(answer.icmp->body);
  REQUIRE(quote);
  CHECK(quote->seq == SeqNum{9});
  CHECK(quote->dst_port == b.port);
}

TEST_CASE("there are packets that no error answers", "[device][router]") {
  router::Answer buffer;
  CHECK(router::fragmentation_needed(buffer, segment(a, b).packet(), hop, 20) == 0);
  CHECK(router::fragmentation_needed(buffer, as_bytes("not IP"), hop, 5) == 0);
  const Ipv4Header header{
      .src = a.address, .dst = b.address, .protocol = IpProtocol::icmp, .dont_fragment = true};
  const Packet error = icmp_unreachable(a.address, b.address, IcmpUnreachable::host, "quote");
  const Packet echo = icmp_echo(a.address, b.address, 1, 2);
  const auto body = [](const Packet& packet) { return Bytes{packet}.subspan(20); };
  CHECK(router::fragmentation_needed(buffer, ip_packet(header, body(error)), hop, 20) == 0);
  CHECK(router::fragmentation_needed(buffer, ip_packet(header, body(echo)), hop, 20) != 0);
}
