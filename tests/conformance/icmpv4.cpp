// SPDX-License-Identifier: BSL-1.0
// ICMPv4: RFC 792, RFC 1122 3.2.2, RFC 1812 4.3, RFC 5927.

#include "../support/host.hpp"

#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

const IpAddress router = IpAddress::v4(10, 0, 0, 254);

Packet error_about(const Decoded& packet, IcmpType type, std::uint8_t code = 0,
                   std::uint32_t rest = 0) {
  return testing::icmp_error(router, host_ip, type, code, rest, *packet.bytes);
}

// The host has a full segment in flight, which is returned.
Decoded data_in_flight(Server& server, std::size_t bytes = 5000) {
  server.connection.send(as_bytes(std::string(bytes, 'x')));
  server.host.turn();
  return server.host.take();
}

}  // namespace

TEST_CASE("an echo request is answered with its own bytes", "[conformance][IC4-01]") {
  const auto size = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{56}, std::size_t{1472});
  Host host;
  const std::string payload(size, 'p');
  host.inject(testing::icmp_echo(peer_ip, host_ip, 77, 88, payload));
  CHECK(matches(host.take(), expect.from(host_ip)
                                 .to(peer_ip)
                                 .icmp(IcmpType::echo_reply)
                                 .icmp_rest(77U << 16 | 88)
                                 .payload(payload)));
}

TEST_CASE("an echo request in fragments is answered in fragments", "[conformance][IC4-01]") {
  Host host;
  const Packet request = testing::icmp_echo(peer_ip, host_ip, 77, 88, std::string(4000, 'p'));
  host.inject_all(testing::fragments(request, 1500));
  std::string body;
  for (const Decoded& part : host.take_all()) {
    CHECK(part.bytes->size() <= 1500);
    CHECK(part.ip.header.fragment_offset_bytes == body.size());
    body.append(as_text(part.ip.payload));
  }
  CHECK(body.substr(8) == std::string(4000, 'p'));
}

TEST_CASE("an echo request to a group is ignored", "[conformance][IC4-02]") {
  const char* group = GENERATE("255.255.255.255", "10.0.0.255", "224.0.0.1");
  Host host;
  host.inject(testing::icmp_echo(peer_ip, *IpAddress::parse(group), 1, 1));
  CHECK(host.silent());
}

TEST_CASE("a ping goes out, and its reply or its time-out is reported", "[conformance][IC4-03]") {
  Host host;
  std::error_code error;
  const auto sequence = host.stack.ping(peer_ip, as_bytes("hello"), 2s, error);
  REQUIRE(sequence.has_value());
  host.turn();
  const Decoded request = host.take();
  CHECK(matches(request, expect.to(peer_ip).icmp(IcmpType::echo_request).payload("hello")));
  IcmpMessage reply = *request.icmp;
  reply.type = IcmpType::echo_reply;
  SECTION("reply") {
    host.clock.advance(30ms);
    host.inject(testing::icmp(peer_ip, host_ip, reply));
    const auto result = host.stack.next_echo();
    REQUIRE(result.has_value());
    CHECK(result->error == Errc::none);
    CHECK(result->sequence == *sequence);
    CHECK(result->rtt == 30ms);
  }
  SECTION("the reply of somebody else, then none") {
    host.inject(testing::icmp(router, host_ip, reply));
    CHECK_FALSE(host.stack.next_echo().has_value());
    host.advance(2s);
    const auto result = host.stack.next_echo();
    REQUIRE(result.has_value());
    CHECK(result->error == Errc::timed_out);
  }
  CHECK_FALSE(host.stack.next_echo().has_value());
}

TEST_CASE("unknown, damaged and truncated messages are dropped silently", "[conformance][IC4-04]") {
  Host host;
  host.inject(testing::icmp(peer_ip, host_ip, {.type = IcmpType{200}}));
  Packet damaged = testing::icmp_echo(peer_ip, host_ip, 1, 1, "x");
  damaged[22] ^= std::byte{1};
  host.inject(damaged);
  host.inject(
      testing::ip_packet({.src = peer_ip, .dst = host_ip, .protocol = IpProtocol::icmp}, "1234"));
  CHECK(host.silent());
  const Stats& stats = host.stack.stats();
  CHECK(stats.dropped(Drop::icmp_unknown_type) == 1);
  CHECK(stats.dropped(Drop::bad_icmp_checksum) == 1);
  CHECK(stats.dropped(Drop::icmp_too_short) == 1);
}

TEST_CASE("no error is sent about what must not be answered", "[conformance][IC4-05]") {
  Host host;
  const Packet closed = testing::udp({peer_ip, 1}, {host_ip, 9}, "x");
  SECTION("an ICMP error") {
    host.inject(testing::icmp_unreachable(peer_ip, host_ip, IcmpUnreachable::port, closed));
  }
  SECTION("a broadcast") {
    host.inject(testing::udp({peer_ip, 1}, {IpAddress::v4(255, 255, 255, 255), 9}, "x"));
  }
  SECTION("a subnet broadcast") {
    host.inject(testing::udp({peer_ip, 1}, {IpAddress::v4(10, 0, 0, 255), 9}, "x"));
  }
  SECTION("multicast") {
    host.inject(testing::udp({peer_ip, 1}, {IpAddress::v4(224, 0, 0, 1), 9}, "x"));
  }
  SECTION("a source that is no host") {
    host.inject(testing::udp({IpAddress::v4(224, 0, 0, 1), 1}, {host_ip, 9}, "x"));
  }
  SECTION("a later fragment") {
    host.inject(testing::ip_packet(
        {.src = peer_ip, .dst = host_ip, .protocol = IpProtocol::udp, .fragment_offset_bytes = 80},
        "12345678"));
  }
  SECTION("a bad header") {
    Packet bad = closed;
    bad[10] ^= std::byte{1};
    host.inject(bad);
  }
  CHECK(host.silent());
  host.inject(closed);
  CHECK(
      matches(host.take(), expect.icmp(IcmpUnreachable::port)));  // and one that may be answered is
}

TEST_CASE("errors and echo replies are limited, and leave other traffic alone",
          "[conformance][IC4-06]") {
  Server server;
  Host& host = server.host;
  const Packet closed = testing::udp({peer_ip, 1}, {host_ip, 9}, "x");
  for (int i = 0; i < 20'000; ++i) {
    host.stack.device().inject(closed);
    if (i % 200 == 0) {
      host.clock.advance(10ms);
      host.turn();
    }
  }
  host.turn();
  // One second: ten to one peer, and the ten of the first burst.
  const auto errors = host.take_all().size();
  CHECK(errors >= 10);
  CHECK(errors <= 21);
  CHECK(host.stack.stats().dropped(Drop::icmp_rate_limited) == 20'000 - errors);
  server.peer.send("still here");
  CHECK(read_all(server.connection) == "still here");
  for (int i = 0; i < 3000; ++i)
    host.stack.device().inject(testing::icmp_echo(peer_ip, host_ip, 1, 1));
  for (int i = 0; i < 20; ++i) host.turn();
  CHECK(host.stack.stats().ip.echo_replies <= 1001);
}

TEST_CASE("many peers share one limit of errors", "[conformance][IC4-06]") {
  Host host;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    host.stack.device().inject(
        testing::udp({IpAddress::v4(0x0b000000U + i), 1}, {host_ip, 9}, "x"));
  }
  for (int i = 0; i < 10; ++i) host.turn();
  CHECK(host.stack.stats().ip.icmp_errors_out <= 100);
  CHECK(host.stack.stats().ip.icmp_errors_out >= 50);
}

TEST_CASE("an error quotes the packet as it came, within 576 bytes", "[conformance][IC4-07]") {
  const auto size = GENERATE(std::size_t{0}, std::size_t{100}, std::size_t{1400});
  Host host;
  const Packet packet = testing::udp({peer_ip, 1}, {host_ip, 9}, std::string(size, 'u'));
  host.inject(packet);
  const Decoded error = host.take();
  CHECK(error.bytes->size() <= 576);
  const std::string_view quoted = as_text(error.icmp->body);
  CHECK(quoted == as_text(packet).substr(0, quoted.size()));
  CHECK(quoted.size() >= std::min<std::size_t>(packet.size(), 28));
}

TEST_CASE("a closed UDP port is unreachable", "[conformance][IC4-08]") {
  Host host;
  Packet packet = testing::udp({peer_ip, 1}, {host_ip, 9}, "x");
  packet[1] = std::byte{46 << 2};
  testing::repair_checksums(packet);
  host.inject(packet);
  CHECK(matches(host.take(),
                expect.from(host_ip).to(peer_ip).icmp(IcmpUnreachable::port).tos(0).ttl(64)));
}

TEST_CASE("an error that quotes somebody else's packet, or none, is ignored",
          "[conformance][IC4-09]") {
  Server server;
  const Decoded sent = data_in_flight(server);
  SECTION("another source") {
    Packet quoted = *sent.bytes;
    quoted[15] = std::byte{99};
    server.host.inject(testing::icmp_error(router, host_ip, IcmpType::time_exceeded, 0, 0, quoted));
    CHECK(server.host.stack.stats().dropped(Drop::icmp_unmatched) == 1);
  }
  SECTION("a header longer than the message") {
    Packet quoted(sent.bytes->begin(), sent.bytes->begin() + 28);
    quoted[0] = std::byte{0x4f};
    server.host.inject(testing::icmp_error(router, host_ip, IcmpType::time_exceeded, 0, 0, quoted));
    CHECK(server.host.stack.stats().dropped(Drop::icmp_bad_quote) == 1);
  }
  CHECK(server.connection.soft_error() == Errc::none);
}

TEST_CASE("time exceeded, parameter problem and unreachable are soft errors",
          "[conformance][IC4-10]") {
  const auto type = GENERATE(IcmpType::time_exceeded, IcmpType::parameter_problem,
                             IcmpType::destination_unreachable);
  Server server;
  const Decoded sent = data_in_flight(server);
  while (server.host.stack.next_event()) {
  }
  server.host.inject(error_about(sent, type));
  const auto event = server.host.stack.next_event();
  REQUIRE(event.has_value());
  CHECK(has(event->flags, EventFlags::soft_error));
  CHECK(server.connection.soft_error() != Errc::none);
  CHECK(server.connection.state() == TcpState::established);
}

TEST_CASE("in SYN-SENT a soft error is kept for the end", "[conformance][IC4-11]") {
  Host host;
  Peer peer{host};
  auto connection = host.stack.connect({.remote = peer.here(), .local_port = 80});
  host.turn();
  const Decoded syn = host.take();
  host.inject(error_about(syn, IcmpType::destination_unreachable, 1));
  CHECK(connection.state() == TcpState::syn_sent);
  SECTION("the peer answers after all") {
    peer.learn(*syn.tcp);
    host.inject(peer.syn().ack(peer.ack));
    CHECK(connection.state() == TcpState::established);
  }
  SECTION("nobody answers") {
    host.advance(10min);
    CHECK(connection.state() == TcpState::closed);
    CHECK(connection.error() == Errc::host_unreachable);
  }
}

TEST_CASE("an error counts only if it quotes a sequence number in flight",
          "[conformance][IC4-12]") {
  const auto type = GENERATE(IcmpType::time_exceeded, IcmpType::destination_unreachable);
  const auto code = static_cast<std::uint8_t>(type == IcmpType::time_exceeded ? 0 : GENERATE(3, 4));
  Server server;
  const Decoded sent = data_in_flight(server);
  const SeqNum una = sent.tcp->seq;
  const SeqNum nxt = una + server.connection.info().in_flight;
  server.host.take_all();
  const auto quote = [&](SeqNum seq) {
    return error_about(testing::decode(testing::segment(server.peer.there(), server.peer.here())
                                           .seq(seq)
                                           .payload("12345678")
                                           .packet()),
                       type, code, 1000);
  };
  server.host.inject(quote(una - 1));
  server.host.inject(quote(nxt));
  CHECK(server.host.stack.stats().dropped(Drop::icmp_out_of_window) == 2);
  CHECK(server.connection.soft_error() == Errc::none);
  CHECK(server.connection.info().path_mtu == 1500);
  server.host.inject(quote(nxt - 1));
  CHECK(
      (server.connection.soft_error() != Errc::none || server.connection.info().path_mtu == 1000));
}

TEST_CASE("hard errors do not end a synchronized connection", "[conformance][IC4-13]") {
  const auto code = GENERATE(std::uint8_t{2}, std::uint8_t{3});
  Server server;
  const Decoded sent = data_in_flight(server);
  server.host.inject(error_about(sent, IcmpType::destination_unreachable, code));
  CHECK(server.connection.state() == TcpState::established);
  server.peer.send("alive");
  CHECK(read_all(server.connection) == "alive");
}

TEST_CASE("a report below what was acknowledged waits until there is no progress",
          "[conformance][IC4-14]") {
  Server server;
  data_in_flight(server, 3000);
  for (const Decoded& packet : server.host.take_all()) server.peer.learn(*packet.tcp);
  server.peer.ack = SeqNum{server.peer.ack};
  server.peer.acknowledge();  // 1500-byte packets have arrived
  server.host.forget_sent();
  const Decoded sent = data_in_flight(server, 3000);
  server.host.inject(testing::icmp_unreachable(
      router, host_ip, IcmpUnreachable::fragmentation_needed, *sent.bytes, 1000));
  CHECK(server.connection.info().path_mtu == 1500);
  SECTION("acknowledgements go on") {
    server.peer.learn(*sent.tcp);
    server.peer.acknowledge();
    CHECK(server.connection.info().path_mtu == 1500);
  }
  SECTION("nothing more is acknowledged") {
    server.host.advance(2s);
    CHECK(server.connection.info().path_mtu == 1000);
  }
}

TEST_CASE("redirects and queries are not answered or acted on", "[conformance][IC4-15][IC4-16]") {
  const auto type = GENERATE(5, 13, 15, 17);
  Host host;
  host.inject(testing::icmp(peer_ip, host_ip,
                            {.type = static_cast<IcmpType>(type),
                             .code = 0,
                             .rest = 0,
                             .body = as_bytes("12345678901234567890123456789")}));
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::icmp_unknown_type) == 1);
}

TEST_CASE("source quench changes nothing", "[conformance][IC4-17][MUST-55]") {
  Server server;
  const Decoded sent = data_in_flight(server);
  const auto cwnd = server.connection.info().snd_cwnd;
  server.host.forget_sent();
  server.host.inject(error_about(sent, IcmpType::source_quench));
  CHECK(server.host.silent());
  CHECK(server.connection.info().snd_cwnd == cwnd);
  CHECK(server.connection.soft_error() == Errc::none);
  CHECK(server.connection.state() == TcpState::established);
}
