// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/testing/expect.hpp>
#include <tunic/testing/segment.hpp>

#include <cstddef>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

using namespace tunic;
using namespace tunic::testing;

namespace {

constexpr Endpoint client{"10.0.0.1"_ip, 43'210}, server{"10.0.0.2"_ip, 7};

Packet syn_ack() {
  return segment(server, client)
      .syn()
      .seq(500)
      .ack(101)
      .window(502)
      .mss(1460)
      .sack_permitted()
      .timestamps(7, 1)
      .window_scale(8)
      .packet();
}

// What differs, without the line of the packet.
std::string difference(const Packet& packet, const Expectation& expectation) {
  const Match match = matches(packet, expectation);
  const std::string text = match.message();
  CHECK(static_cast<bool>(match) == text.starts_with("as expected\n"));
  return text.substr(0, text.find('\n'));
}

}  // namespace

TEST_CASE("a packet matches what it is", "[testing][expect]") {
  CHECK(matches(syn_ack(), expect));
  CHECK(matches(syn_ack(), expect.flags("SA")
                               .has_flags("S")
                               .without_flags("FRPU")
                               .seq(500)
                               .ack(101)
                               .window(502)
                               .window_at_least(502)
                               .mss(1460)
                               .window_scale(8)
                               .sack_permitted()
                               .timestamps(7, 1)
                               .timestamp_echo(1)
                               .has_timestamps()
                               .no_sack()
                               .no_payload()
                               .from(server)
                               .to(client)
                               .from(server.address)
                               .to(client.address)
                               .protocol(IpProtocol::tcp)
                               .ttl(64)
                               .tos(0)
                               .ecn(0)
                               .ip_id(0)
                               .df(false)
                               .fragment(0, false)));
  const auto data = segment(client, server)
                        .ack(1)
                        .urgent(3)
                        .sack({{1, 5}, {7, 9}})
                        .tos(0x2e << 2 | 3)
                        .payload("hello")
                        .df();
  CHECK(matches(data.packet(), expect.flags("A.U")
                                   .urgent(3)
                                   .sack({{1, 5}, {SeqNum{7}, SeqNum{9}}})
                                   .no_mss()
                                   .no_window_scale()
                                   .sack_permitted(false)
                                   .has_timestamps(false)
                                   .payload("hello")
                                   .payload(as_bytes("hello"))
                                   .payload_size(5)
                                   .ecn(3)
                                   .df()));
}

TEST_CASE("every difference is told with both values", "[testing][expect]") {
  const auto packet = syn_ack();
  CHECK(difference(packet, expect.flags("S")) == "flags is S., not S");
  CHECK(difference(packet, expect.has_flags("SF")) == "of the flags is S, not FS");
  CHECK(difference(packet, expect.without_flags("A")) == "of the flags is ., not none");
  CHECK(difference(packet, expect.seq(501)) == "seq is 500, not 501");
  CHECK(difference(packet, expect.ack(5)) == "ack is 101, not 5");
  CHECK(difference(packet, expect.window(5)) == "window is 502, not 5");
  CHECK(difference(packet, expect.window_at_least(503)) == "not so: window at least 503");
  CHECK(difference(packet, expect.urgent(5)) == "no urgent pointer, expected 5");
  CHECK(difference(packet, expect.mss(536)) == "mss is 1460, not 536");
  CHECK(difference(packet, expect.no_mss()) == "presence of mss is yes, not no");
  CHECK(difference(packet, expect.window_scale(7)) == "window scale is 8, not 7");
  CHECK(difference(packet, expect.no_window_scale()) == "presence of window scale is yes, not no");
  CHECK(difference(packet, expect.sack_permitted(false)) == "SACK permitted is yes, not no");
  CHECK(difference(packet, expect.timestamps(7, 2)) == "timestamps is 7 echo 1, not 7 echo 2");
  CHECK(difference(packet, expect.timestamp_echo(2)) == "timestamp echo is 1, not 2");
  CHECK(difference(packet, expect.has_timestamps(false)) ==
        "presence of timestamps is yes, not no");
  CHECK(difference(packet, expect.sack({{1, 2}, {3, 4}})) == "sack is none, not 1:2 3:4");
  CHECK(difference(packet, expect.payload("x")) == "payload is \"\", not \"x\"");
  CHECK(difference(packet, expect.payload_size(1)) == "payload size is 0, not 1");
  CHECK(difference(packet, expect.from(client)) == "source is 10.0.0.2:7, not 10.0.0.1:43210");
  CHECK(difference(packet, expect.to(server.address)) == "destination is 10.0.0.1, not 10.0.0.2");
  CHECK(difference(packet, expect.protocol(IpProtocol::udp)) == "protocol is 6, not 17");
  CHECK(difference(packet, expect.ttl(1)) == "ttl is 64, not 1");
  CHECK(difference(packet, expect.tos(2)) == "tos is 0, not 2");
  CHECK(difference(packet, expect.ecn(2)) == "ecn is 0, not 2");
  CHECK(difference(packet, expect.ip_id(2)) == "ip id is 0, not 2");
  CHECK(difference(packet, expect.df()) == "df is no, not yes");
  CHECK(difference(packet, expect.fragment(8, true)) ==
        "fragment offset is 0, not 8; more fragments is no, not yes");
  CHECK(difference(packet, expect.icmp(IcmpType::echo_reply)) ==
        "no icmp type, expected 0; no icmp code, expected 0");
  CHECK(difference(packet, expect.that("is small", [](const Decoded& p) {
          return p.bytes->size() < 20;
        })) == "not so: is small");
}

TEST_CASE("what is not there is a difference", "[testing][expect]") {
  const auto packet = segment(client, server).seq(1).packet();
  CHECK(difference(packet, expect.ack(0)) == "no ack, expected 0");
  CHECK(difference(packet, expect.mss(0).window_scale(0).timestamps(0, 0)) ==
        "no mss, expected 0; no window scale, expected 0; no timestamps, expected 0 echo 0");
  CHECK(difference(udp(client, server, "x"), expect.seq(1).payload("x")) == "no seq, expected 1");
  const Match nothing = matches(std::optional<Packet>{}, expect.flags("SA").seq(5));
  CHECK_FALSE(nothing);
  CHECK(nothing.message() ==
        "no packet, expected a well-formed packet, flags S., seq 5\n  in nothing");
  CHECK(matches(std::optional{packet}, expect.seq(1)));
}

TEST_CASE("a malformed packet matches nothing", "[testing][expect]") {
  CHECK(difference(segment(client, server).seq(1).corrupt_checksum().packet(), expect) ==
        "malformed: bad_tcp_checksum");
  CHECK(difference({}, expect) == "malformed: too_short");
}

TEST_CASE("long and binary payloads differ at a byte", "[testing][expect]") {
  std::string wanted(1000, 'x');
  const auto packet = segment(client, server).payload(wanted).packet();
  CHECK(matches(packet, expect.payload(wanted)));
  wanted[17] = 'y';
  CHECK(difference(packet, expect.payload(wanted)) ==
        "payload of 1000 bytes, not 1000, differs at byte 17");
  CHECK(difference(segment(client, server).payload("abc").packet(), expect.payload("ab\n")) ==
        "payload of 3 bytes, not 3, differs at byte 2");
  CHECK(difference(segment(client, server).payload(std::string(80, 'x')).packet(),
                   expect.payload(std::string(79, 'x'))) ==
        "payload of 80 bytes, not 79, differs at byte 79");
}

TEST_CASE("ICMP is matched by type, code and the rest of its header", "[testing][expect]") {
  const auto packet = icmp_unreachable(server.address, client.address,
                                       IcmpUnreachable::fragmentation_needed, syn_ack(), 1400);
  CHECK(matches(packet, expect.icmp(IcmpUnreachable::fragmentation_needed).icmp_rest(1400)));
  CHECK(matches(packet, expect.icmp(IcmpType::destination_unreachable, 4)));
  CHECK(difference(packet, expect.icmp(IcmpUnreachable::port)) == "icmp code is 4, not 3");
  CHECK(difference(packet, expect.icmp_rest(0)) == "icmp rest is 1400, not 0");
}

TEST_CASE("an expectation is a template that calls do not change", "[testing][expect]") {
  const auto from_server = expect.from(server);
  const auto reset = from_server.flags("R");
  CHECK(matches(syn_ack(), from_server));
  CHECK_FALSE(matches(syn_ack(), reset));
  CHECK(from_server.describe() == "a well-formed packet, source 10.0.0.2:7");
  CHECK(reset.describe() == "a well-formed packet, source 10.0.0.2:7, flags R");
}

TEST_CASE("results write themselves to a stream", "[testing][expect]") {
  std::ostringstream out;
  out << matches(syn_ack(), expect.seq(1).no_mss()) << '\n'
      << expect.seq(1) << '\n'
      << decode(syn_ack());
  CHECK(out.str() ==
        "seq is 500, not 1; presence of mss is yes, not no\n"
        "  in 10.0.0.2.7 > 10.0.0.1.43210: Flags [S.], seq 500, ack 101, win 502, "
        "options [mss 1460,sackOK,TS val 7 ecr 1,nop,wscale 8], length 0\n"
        "a well-formed packet, seq 1\n"
        "10.0.0.2.7 > 10.0.0.1.43210: Flags [S.], seq 500, ack 101, win 502, "
        "options [mss 1460,sackOK,TS val 7 ecr 1,nop,wscale 8], length 0");
}

TEST_CASE("flags are named by letters", "[testing][expect]") {
  CHECK(flags_of("") == TcpFlags::none);
  CHECK(flags_of("FSRPAUEC") == TcpFlags{0xff});
  CHECK(flags_of(".W") == (TcpFlags::ack | TcpFlags::cwr));
  CHECK(flags_of("SA") == (TcpFlags::syn | TcpFlags::ack));
}
