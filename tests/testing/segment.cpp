// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/testing/segment.hpp>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

using namespace tunic;
using namespace tunic::testing;

namespace {

constexpr Endpoint client{"10.0.0.1"_ip, 43'210}, server{"10.0.0.2"_ip, 7};

std::string line(const Packet& packet) { return to_text(packet); }

}  // namespace

TEST_CASE("a segment is built from the fields that matter", "[testing][segment]") {
  CHECK(line(segment(client, server)
                 .syn()
                 .seq(100)
                 .window(1000)
                 .mss(1460)
                 .sack_permitted()
                 .timestamps(1, 0)
                 .window_scale(7)
                 .packet()) ==
        "10.0.0.1.43210 > 10.0.0.2.7: Flags [S], seq 100, win 1000, "
        "options [mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7], length 0");
  CHECK(line(segment(client, server).seq(101).ack(501).psh().payload("hello").packet()) ==
        "10.0.0.1.43210 > 10.0.0.2.7: Flags [P.], seq 101:106, ack 501, win 65535, length 5");
  CHECK(line(segment(server, client).rst().fin().ece().cwr().urgent(9).packet()) ==
        "10.0.0.2.7 > 10.0.0.1.43210: Flags [FRUEW], seq 0, win 65535, urg 9, length 0");
  CHECK(line(segment(server, client).ack(5).sack({{10, 20}, {30, 40}}).packet()) ==
        "10.0.0.2.7 > 10.0.0.1.43210: Flags [.], seq 0, ack 5, win 65535, "
        "options [nop,nop,sack 10:20 30:40], length 0");
}

TEST_CASE("a segment under construction is a template that calls do not change",
          "[testing][segment]") {
  const auto base = segment(client, server).seq(SeqNum{5}).ack(SeqNum{6});
  const auto fin = base.fin();
  CHECK(decode(base.packet()).tcp->flags == TcpFlags::ack);
  CHECK(decode(fin.packet()).tcp->flags == (TcpFlags::ack | TcpFlags::fin));
  CHECK(decode(fin.flags(TcpFlags::rst).packet()).tcp->flags == TcpFlags::rst);
  CHECK(decode(fin.seq(9).packet()).tcp->seq == SeqNum{9});
}

TEST_CASE("the IP header is as told", "[testing][segment]") {
  const auto packet = decode(segment(client, server)
                                 .ttl(3)
                                 .tos(0xb9)
                                 .ip_id(0x1234)
                                 .df()
                                 .ip_options(Packet(3, std::byte{1}))
                                 .packet());
  REQUIRE_FALSE(packet.malformed);
  CHECK(packet.ip.header.ttl == 3);
  CHECK(packet.ip.header.tos == 0xb9);
  CHECK(packet.ip.header.id == 0x1234);
  CHECK(packet.ip.header.dont_fragment);
  CHECK(packet.ip.header.header_length == 24);
  const auto part =
      decode(segment(client, server).payload("1234").fragment(16, true).df(false).packet());
  REQUIRE_FALSE(part.malformed);
  CHECK(part.ip.header.fragment_offset_bytes == 16);
  CHECK(part.ip.header.more_fragments);
  CHECK_FALSE(part.tcp);
}

TEST_CASE("a segment can be wrong in one place only", "[testing][segment]") {
  const auto base = segment(client, server).ack(1).payload("12345678");
  CHECK(decode(base.corrupt_checksum().packet()).malformed == Drop::bad_tcp_checksum);
  CHECK(decode(base.data_offset_words(4).packet()).malformed == Drop::bad_data_offset);
  CHECK(decode(base.data_offset_words(8).packet()).malformed == Drop::bad_data_offset);
  const auto shifted = decode(base.payload("\1\1\1\1"
                                           "5678")
                                  .data_offset_words(6)
                                  .packet());
  REQUIRE(shifted.tcp);
  CHECK(as_text(shifted.payload()) == "5678");
  CHECK(decode(base.raw_tcp_options("\xfe\x01").packet()).malformed == Drop::bad_tcp_option);
  CHECK(decode(base.raw_tcp_options(std::string(40, '\1')).packet()).payload().size() == 8);
  CHECK(decode(base.ip_options("\x9e\x01").packet()).malformed == Drop::bad_ip_option);
}

TEST_CASE("raw options replace all others and are padded by zeros", "[testing][segment]") {
  const auto packet =
      decode(segment(client, server).syn().mss(1460).raw_tcp_options("\3\3\5").packet());
  REQUIRE(packet.tcp);
  CHECK_FALSE(packet.tcp->options.has_mss);
  CHECK(packet.tcp->options.window_scale == 5);
  CHECK(packet.ip.payload[23] == std::byte{0});
}

TEST_CASE("datagrams and ICMP messages are built in one call", "[testing][segment]") {
  CHECK(line(udp(client, server, "abc")) == "10.0.0.1.43210 > 10.0.0.2.7: UDP, length 3");
  CHECK(as_text(decode(udp(client, server, "abc")).udp->payload) == "abc");
  CHECK(line(icmp_echo(client.address, server.address, 1, 2, "ping")) ==
        "10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 12");
  const auto quoted = segment(server, client).seq(77).payload(std::string(1000, 'x')).packet();
  CHECK(line(icmp_error("10.0.0.9"_ip, server.address, IcmpType::time_exceeded, 0, 0, quoted)) ==
        "10.0.0.9 > 10.0.0.2: ICMP time exceeded (in transit), "
        "about 10.0.0.2.7 > 10.0.0.1.43210 TCP seq 77, length 556");
  const auto too_big = icmp_unreachable("10.0.0.9"_ip, server.address,
                                        IcmpUnreachable::fragmentation_needed, quoted, 576);
  CHECK(too_big.size() == 576);
  CHECK(decode(too_big).icmp->next_hop_mtu() == 576);
  CHECK(line(ip_packet({.src = client.address, .dst = server.address, .protocol = IpProtocol{253}},
                       "x")) == "10.0.0.1 > 10.0.0.2: protocol 253, length 1");
}

TEST_CASE("a packet is cut into fragments that give the whole again", "[testing][segment]") {
  const auto packet =
      segment(client, server).df(false).ip_id(9).payload(std::string(3000, 'x')).packet();
  const auto whole = decode(packet);
  for (const std::size_t mtu : {68U, 576U, 1500U, 3000U}) {
    CAPTURE(mtu);
    std::vector<std::byte> joined;
    const auto parts = fragments(packet, mtu);
    CHECK(parts.size() ==
          (whole.ip.payload.size() + (mtu - 20) / 8 * 8 - 1) / ((mtu - 20) / 8 * 8));
    for (const Packet& bytes : parts) {
      const auto part = decode(bytes);
      REQUIRE_FALSE(part.malformed);
      CHECK(bytes.size() <= mtu);
      CHECK(part.ip.header.id == 9);
      CHECK(part.ip.header.fragment_offset_bytes == joined.size());
      CHECK(part.ip.header.more_fragments == (&bytes != &parts.back()));
      joined.insert(joined.end(), part.ip.payload.begin(), part.ip.payload.end());
    }
    CHECK(as_text(joined) == as_text(whole.ip.payload));
  }
  CHECK(fragments(packet, packet.size()) == std::vector<Packet>{packet});
}

TEST_CASE("a fragment may be cut further", "[testing][segment]") {
  const auto packet = segment(client, server).payload(std::string(3000, 'x')).packet();
  const auto first = fragments(packet, 1500).at(0), second = fragments(packet, 1500).at(1);
  const auto again = fragments(second, 576);
  REQUIRE(again.size() > 2);
  CHECK(decode(again[0]).ip.header.fragment_offset_bytes ==
        decode(second).ip.header.fragment_offset_bytes);
  CHECK(decode(again.back()).ip.header.more_fragments);
  CHECK(decode(fragments(first, 576).at(1)).ip.header.fragment_offset_bytes == 552);
}

TEST_CASE("changed packets get right checksums", "[testing][segment]") {
  auto packet = segment(client, server).ack(1).payload("hello").packet();
  packet[8] = std::byte{1};
  packet.back() = std::byte{'p'};
  CHECK(decode(packet).malformed == Drop::bad_ip_checksum);
  repair_checksums(packet);
  CHECK_FALSE(decode(packet).malformed);
  CHECK(as_text(decode(packet).payload()) == "hellp");
  for (Packet other :
       {udp(client, server, "abc"), icmp_echo(client.address, server.address, 1, 2)}) {
    other[9 + 12] ^= std::byte{0xff};
    CHECK(decode(other).malformed.has_value());
    repair_checksums(other);
    CHECK_FALSE(decode(other).malformed);
  }
}

TEST_CASE("any bytes can be given to the repair of checksums", "[testing][segment]") {
  std::mt19937_64 random{17};
  const auto good = segment(client, server).syn().mss(1460).payload("hello").packet();
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = good;
    bytes.resize(random() % (bytes.size() + 1));
    bytes.shrink_to_fit();
    for (int i = 0; i < 3 && !bytes.empty(); ++i) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    repair_checksums(bytes);
    const auto decoded = decode(bytes);
    REQUIRE(decoded.malformed != Drop::bad_ip_checksum);
    if (decoded.malformed != Drop::bad_total_length)
      REQUIRE(decoded.malformed != Drop::bad_tcp_checksum);
  }
}
