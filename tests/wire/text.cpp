// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "exact.hpp"
#include <tunic/wire/text.hpp>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace tunic;
using test::Exact;

namespace {

constexpr IpAddress client = "10.0.0.1"_ip, server = "10.0.0.2"_ip;

std::vector<std::byte> ip_packet(IpProtocol protocol, Bytes payload, Ipv4Header header = {}) {
  header.src = client;
  header.dst = server;
  header.protocol = protocol;
  header.total_length = static_cast<std::uint16_t>(20 + payload.size());
  std::vector<std::byte> bytes(20 + payload.size());
  write_ipv4(bytes, header);
  copy(MutableBytes{bytes}.subspan(20), payload);
  return bytes;
}

// `options` replaces the segment's own ones by raw bytes.
std::vector<std::byte> tcp_packet(const TcpSegment& segment, std::string_view options = {}) {
  std::vector<std::byte> bytes(tcp_max_header_bytes);
  std::size_t size = write_tcp_header(bytes, segment);
  if (const auto raw = test::hex(options); !raw.empty()) {
    copy(MutableBytes{bytes}.subspan(20), raw);
    size = 20 + raw.size();
    bytes[12] = static_cast<std::byte>(size / 4 << 4);
  }
  bytes.resize(size);
  finish_tcp_checksum(bytes, client, server, {&segment.payload, 1});
  bytes.insert(bytes.end(), segment.payload.begin(), segment.payload.end());
  return ip_packet(IpProtocol::tcp, bytes);
}

std::vector<std::byte> icmp_packet(const IcmpMessage& message) {
  std::vector<std::byte> bytes(icmp_header_bytes + message.body.size());
  write_icmpv4(bytes, message);
  return ip_packet(IpProtocol::icmp, bytes);
}

TcpSegment segment(TcpFlags flags, std::string_view payload = {}) {
  return {.src_port = 43'210,
          .dst_port = 7,
          .seq = SeqNum{100},
          .ack = SeqNum{500},
          .flags = flags,
          .window = 64'240,
          .payload = as_bytes(payload)};
}

}  // namespace

TEST_CASE("a SYN is shown with its options in their order", "[wire][text]") {
  CHECK(to_text(
            tcp_packet(segment(TcpFlags::syn), "020405b4 0402 080a 00000001 00000000 01 030307")) ==
        "10.0.0.1.43210 > 10.0.0.2.7: Flags [S], seq 100, win 64240, "
        "options [mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7], length 0");
}

TEST_CASE("data is shown with its range", "[wire][text]") {
  CHECK(to_text(tcp_packet(segment(TcpFlags::psh | TcpFlags::ack, "hello"))) ==
        "10.0.0.1.43210 > 10.0.0.2.7: Flags [P.], seq 100:105, ack 500, win 64240, length 5");
}

TEST_CASE("flags and urgent pointers are shown as tcpdump does", "[wire][text]") {
  CHECK(to_text(TcpFlags{}) == "none");
  CHECK(to_text(TcpFlags{0xff}) == "FSRP.UEW");
  CHECK(to_text(TcpFlags::rst) == "R");
  auto urgent = segment(TcpFlags::urg | TcpFlags::ack, "x");
  urgent.urgent = 1;
  CHECK(
      to_text(tcp_packet(urgent)) ==
      "10.0.0.1.43210 > 10.0.0.2.7: Flags [.U], seq 100:101, ack 500, win 64240, urg 1, length 1");
}

TEST_CASE("what routers may mark, or have marked, is shown", "[wire][text]") {
  const auto marked = [](std::uint8_t ecn, IpProtocol protocol, Ipv4Header header = {}) {
    header.tos = static_cast<std::uint8_t>(46 << 2 | ecn);
    const auto ack = tcp_packet(segment(TcpFlags::ack | TcpFlags::ece));
    return to_text(ip_packet(protocol, Bytes{ack}.subspan(20), header));
  };
  const std::string before = "10.0.0.1.43210 > 10.0.0.2.7: Flags [.E]";
  const std::string rest = ", seq 100, ack 500, win 64240, length 0";
  CHECK(marked(0, IpProtocol::tcp) == before + rest);
  CHECK(marked(1, IpProtocol::tcp) == before + ", ECT(1)" + rest);
  CHECK(marked(2, IpProtocol::tcp) == before + ", ECT(0)" + rest);
  CHECK(marked(3, IpProtocol::tcp) == before + ", CE" + rest);
  CHECK(marked(3, IpProtocol::udp, {.id = 7, .fragment_offset_bytes = 8}) ==
        "10.0.0.1 > 10.0.0.2: UDP fragment, CE, id 7, offset 8, length 20");
}

TEST_CASE("unusual options are shown as they are", "[wire][text]") {
  CHECK(
      to_text(tcp_packet(
          segment(TcpFlags::ack),
          "0512 00000001 00000005 00000009 ffffffff 0303ff fd04 0000 0203 05 00 777777")) ==
      "10.0.0.1.43210 > 10.0.0.2.7: Flags [.], seq 100, ack 500, win 64240, "
      "options [sack 1:5 9:4294967295,wscale 255,kind 253 length 4,kind 2 length 3,eol], length 0");
}

TEST_CASE("a wrong checksum is told beside the fields", "[wire][text]") {
  auto bytes = tcp_packet(segment(TcpFlags::ack));
  bytes.back() ^= std::byte{1};
  CHECK(to_text(bytes) ==
        "10.0.0.1.43210 > 10.0.0.2.7: Flags [.], bad checksum, seq 100, ack 500, win 64240, length "
        "0");
}

TEST_CASE("malformed packets are shown by the reason", "[wire][text]") {
  const auto good = tcp_packet(segment(TcpFlags::ack));
  CHECK(to_text(Bytes{}) == "IP, malformed (too_short), length 0");
  CHECK(to_text(Bytes{good}.first(30)) == "IP, malformed (bad_total_length), length 30");
  auto bytes = good;
  bytes[0] = std::byte{0x65};
  CHECK(to_text(bytes) == "IP, malformed (bad_version), length 40");
  bytes = good;
  bytes[8] ^= std::byte{1};
  CHECK(to_text(bytes) == "IP, malformed (bad_ip_checksum), length 40");
  CHECK(to_text(ip_packet(IpProtocol::tcp, as_bytes("short"))) ==
        "10.0.0.1 > 10.0.0.2: TCP, malformed (tcp_too_short), length 5");
  CHECK(to_text(tcp_packet(segment(TcpFlags::ack), "fe00 0000")) ==
        "10.0.0.1 > 10.0.0.2: TCP, malformed (bad_tcp_option), length 24");
  CHECK(to_text(ip_packet(IpProtocol::udp, as_bytes("short"))) ==
        "10.0.0.1 > 10.0.0.2: UDP, malformed (udp_too_short), length 5");
  CHECK(to_text(ip_packet(IpProtocol::icmp, as_bytes("12345678"))) ==
        "10.0.0.1 > 10.0.0.2: ICMP, malformed (bad_icmp_checksum), length 8");
}

TEST_CASE("datagrams, fragments and unknown protocols have a line each", "[wire][text]") {
  std::vector<std::byte> datagram(8);
  write_udp_header(datagram, {53, 54, as_bytes("abc")}, client, server);
  datagram.insert(datagram.end(), 3, std::byte{'a'});
  datagram[9] = std::byte{'b'};
  datagram[10] = std::byte{'c'};
  CHECK(to_text(ip_packet(IpProtocol::udp, datagram)) ==
        "10.0.0.1.53 > 10.0.0.2.54: UDP, length 3");
  CHECK(to_text(ip_packet(IpProtocol{253}, as_bytes("abc"))) ==
        "10.0.0.1 > 10.0.0.2: protocol 253, length 3");
  CHECK(to_text(ip_packet(IpProtocol::tcp, as_bytes("12345678"),
                          {.id = 7, .fragment_offset_bytes = 1480, .more_fragments = true})) ==
        "10.0.0.1 > 10.0.0.2: TCP fragment, id 7, offset 1480, more to come, length 8");
  CHECK(
      to_text(ip_packet(IpProtocol::udp, as_bytes("123"), {.id = 7, .fragment_offset_bytes = 8})) ==
      "10.0.0.1 > 10.0.0.2: UDP fragment, id 7, offset 8, length 3");
}

TEST_CASE("ICMP is shown with what it is about", "[wire][text]") {
  CHECK(to_text(icmp_packet(
            {.type = IcmpType::echo_request, .rest = 0x0001'0002, .body = as_bytes("12345678")})) ==
        "10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 16");
  CHECK(to_text(icmp_packet({.type = IcmpType::echo_reply})) ==
        "10.0.0.1 > 10.0.0.2: ICMP echo reply, id 0, seq 0, length 8");
  const auto quoted = tcp_packet(segment(TcpFlags::ack));
  const auto error = [&quoted](IcmpType type, std::uint8_t code, std::uint32_t rest = 0) {
    return to_text(icmp_packet({.type = type, .code = code, .rest = rest, .body = quoted}));
  };
  const std::string about = ", about 10.0.0.1.43210 > 10.0.0.2.7 TCP seq 100, length 48";
  CHECK(error(IcmpType::destination_unreachable, 3) ==
        "10.0.0.1 > 10.0.0.2: ICMP unreachable (port)" + about);
  CHECK(error(IcmpType::destination_unreachable, 4, 1400) ==
        "10.0.0.1 > 10.0.0.2: ICMP unreachable (fragmentation needed, mtu 1400)" + about);
  CHECK(error(IcmpType::destination_unreachable, 200) ==
        "10.0.0.1 > 10.0.0.2: ICMP unreachable (code 200)" + about);
  CHECK(error(IcmpType::time_exceeded, 0) ==
        "10.0.0.1 > 10.0.0.2: ICMP time exceeded (in transit)" + about);
  CHECK(error(IcmpType::redirect, 1) == "10.0.0.1 > 10.0.0.2: ICMP type 5 code 1" + about);
  CHECK(to_text(icmp_packet({.type = IcmpType::timestamp_request})) ==
        "10.0.0.1 > 10.0.0.2: ICMP type 13 code 0, length 8");
  CHECK(
      to_text(icmp_packet({.type = IcmpType::time_exceeded, .code = 1, .body = as_bytes("no")})) ==
      "10.0.0.1 > 10.0.0.2: ICMP time exceeded (in reassembly), about a malformed quote, length "
      "10");
}

TEST_CASE("any bytes have a text", "[wire][text]") {
  std::mt19937_64 random{5};
  const auto good =
      tcp_packet(segment(TcpFlags::syn, "hi"), "020405b4 0402 080a 00000001 00000000 01 030307");
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = good;
    bytes.resize(random() % (bytes.size() + 1));
    for (int i = 0; i < 3 && bytes.size() > 20; ++i) {
      bytes[20 + random() % (bytes.size() - 20)] = static_cast<std::byte>(random());
    }
    if (bytes.size() >= 20) {
      // A right IP header, so that what follows is looked at.
      const auto protocol = IpProtocol{static_cast<std::uint8_t>(round % 2 == 0 ? 6 : round % 40)};
      bytes = ip_packet(protocol, Bytes{bytes}.subspan(20));
    }
    const Exact exact{bytes};
    REQUIRE_FALSE(to_text(exact.bytes()).empty());
  }
}
