// SPDX-License-Identifier: BSL-1.0
// The Internet layer of a host: RFC 791, RFC 1122 3.2.1 and 3.3, RFC 6864.

#include "../support/host.hpp"

#include <set>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

// A packet of a protocol that nobody speaks, which draws an ICMP error if it is accepted at all.
Packet unknown_protocol(const IpAddress& src, const IpAddress& dst) {
  return testing::ip_packet({.src = src, .dst = dst, .protocol = IpProtocol{253}}, "12345678");
}

}  // namespace

TEST_CASE("another host's packets are discarded silently", "[conformance][IP4-05]") {
  Host host;
  host.inject(unknown_protocol(peer_ip, IpAddress::v4(10, 0, 0, 3)));
  host.inject(testing::icmp_echo(peer_ip, IpAddress::v4(192, 168, 1, 1), 1, 1));
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::not_for_us) == 2);
}

TEST_CASE("nothing answers a martian source", "[conformance][IP4-06]") {
  const char* source = GENERATE("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1",
                                "255.255.255.255", "10.0.0.255", "10.0.0.2");
  CAPTURE(source);
  const IpAddress from = *IpAddress::parse(source);
  Host host;
  auto listener = host.stack.listen({.port = 80});
  host.inject(testing::segment({from, 40000}, {host_ip, 80}).syn().seq(1));
  host.inject(testing::udp({from, 40000}, {host_ip, 80}, "x"));
  host.inject(testing::icmp_echo(from, host_ip, 1, 1));
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::martian_source) == 3);
  CHECK(host.stack.stats().gauges.connections == 0);
}

TEST_CASE("a connection starts from an address of ours only", "[conformance][IP4-07]") {
  Host host;
  std::error_code error;
  const Endpoint remote{peer_ip, 80};
  CHECK_FALSE(
      host.stack.connect({.remote = remote, .local_address = IpAddress::v4(10, 0, 0, 9)}, error));
  CHECK(error == std::errc::address_not_available);
  CHECK_FALSE(
      host.stack.connect({.remote = remote, .local_address = IpAddress::v4(127, 0, 0, 1)}, error));
  CHECK(error == std::errc::address_not_available);
  CHECK_FALSE(host.stack.listen({.address = IpAddress::v4(10, 0, 0, 9), .port = 80}, error));
  CHECK(error == std::errc::address_not_available);
  host.turn();
  CHECK(host.silent());
}

TEST_CASE("with any_address a connection may start from any unicast address",
          "[conformance][IP4-07]") {
  StackConfig config = host_config();
  config.any_address = true;
  Host host{config};
  std::error_code error;
  const IpAddress foreign = IpAddress::v4(8, 8, 8, 8);
  auto connection = host.stack.connect({.remote = {peer_ip, 80}, .local_address = foreign}, error);
  REQUIRE_FALSE(error);
  host.turn();
  CHECK(matches(host.take(), expect.flags("S").from(foreign)));
}

TEST_CASE("a TTL of 0 or 1 does not matter to the destination, and is never sent as 0",
          "[conformance][IP4-08]") {
  const auto ttl = GENERATE(std::uint8_t{0}, std::uint8_t{1});
  Host host;
  auto listener = host.stack.listen({.port = 80});
  host.inject(Peer{host}.syn().ttl(ttl));
  CHECK(matches(host.take(), expect.flags("SA").ttl(64)));
  std::error_code error;
  ConnectOptions options{.remote = {peer_ip, 80}};
  options.connection.ttl = 0;
  CHECK_FALSE(host.stack.connect(options, error));
  CHECK(error == std::errc::invalid_argument);
  options.connection.ttl = 7;
  auto connection = host.stack.connect(options, error);
  host.turn();
  CHECK(matches(host.take(), expect.flags("S").ttl(7)));
}

TEST_CASE("source-routed packets are dropped", "[conformance][IP4-10]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  const Packet route{std::byte{131}, std::byte{7}, std::byte{4}, std::byte{10},
                     std::byte{0},   std::byte{0}, std::byte{9}};
  host.inject(Peer{host}.syn().ip_options(route));
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::source_routed) == 1);
}

TEST_CASE("an unknown protocol draws protocol unreachable that quotes the packet",
          "[conformance][IP4-12]") {
  Host host;
  const Packet packet = unknown_protocol(peer_ip, host_ip);
  host.inject(packet);
  const Decoded error = host.take();
  CHECK(
      matches(error, expect.to(peer_ip).icmp(IcmpUnreachable::protocol).payload(as_text(packet))));
}

TEST_CASE("a broadcast reaches no TCP and draws no error", "[conformance][IP4-13]") {
  const char* group = GENERATE("255.255.255.255", "10.0.0.255");
  Host host;
  auto listener = host.stack.listen({.port = 80});
  const IpAddress to = *IpAddress::parse(group);
  host.inject(testing::segment({peer_ip, 40000}, {to, 80}).syn());
  host.inject(testing::udp({peer_ip, 40000}, {to, 80}, "x"));
  host.inject(unknown_protocol(peer_ip, to));
  CHECK(host.silent());
  CHECK(host.stack.stats().gauges.connections == 0);
}

TEST_CASE("a multicast group that nobody joined is dropped", "[conformance][IP4-14]") {
  Host host;
  host.inject(testing::udp({peer_ip, 5353}, {IpAddress::v4(224, 0, 0, 251), 5353}, "x"));
  host.inject(unknown_protocol(peer_ip, IpAddress::v4(224, 0, 0, 251)));
  CHECK(host.silent());
}

TEST_CASE("a reply comes from the address that was asked", "[conformance][IP4-15]") {
  StackConfig config = host_config();
  const IpAddress second = IpAddress::v4(10, 0, 0, 5);
  config.addresses.push_back({second, 24});
  Host host{config};
  auto listener = host.stack.listen({.port = 80});
  for (const IpAddress& address : {host_ip, second}) {
    host.inject(testing::icmp_echo(peer_ip, address, 1, 1));
    CHECK(matches(host.take(), expect.from(address).icmp(IcmpType::echo_reply)));
    host.inject(testing::udp({peer_ip, 1}, {address, 9}, "x"));
    CHECK(matches(host.take(), expect.from(address).icmp(IcmpUnreachable::port)));
    host.inject(testing::segment({peer_ip, 40000}, {address, 80}).syn().seq(1));
    CHECK(matches(host.take(), expect.from(Endpoint{address, 80}).flags("SA")));
  }
}

TEST_CASE("nothing leaves that is larger than the MTU", "[conformance][IP4-16]") {
  Server server;
  server.connection.send(as_bytes(std::string(20'000, 'x')));
  server.host.turn();
  server.host.inject_all(
      testing::fragments(testing::icmp_echo(peer_ip, host_ip, 1, 1, std::string(4000, 'y')), 1500));
  CHECK(server.host.take_all().size() > 10);
  CHECK(server.host.stack.device().oversized() == 0);
}

TEST_CASE("identifications of whole unfragmentable packets are ignored", "[conformance][IPF-10]") {
  Server server;
  server.host.inject(server.peer.segment().payload("a").ip_id(7).df());
  server.peer.seq += 1;
  server.host.inject(server.peer.segment().payload("b").ip_id(7).df());
  CHECK(read_all(server.connection) == "ab");
}

TEST_CASE("identifications of fragmentable packets do not repeat soon and differ by peer",
          "[conformance][IPF-11]") {
  StackConfig config = host_config();
  config.ip.echo_per_second = 100'000;
  Host host{config};
  std::set<std::uint16_t> seen;
  std::uint16_t first = 0;
  for (std::uint16_t i = 0; i < 1000; ++i) {
    host.inject(testing::icmp_echo(peer_ip, host_ip, 1, i));
    const auto id = host.take().ip.header.id;
    if (i == 0) first = id;
    CHECK(seen.insert(id).second);
  }
  // What another peer sees does not tell how much went to the first.
  host.inject(testing::icmp_echo(IpAddress::v4(10, 0, 0, 77), host_ip, 1, 1));
  const auto other = host.take().ip.header.id;
  CHECK(static_cast<std::uint16_t>(other - first) > 1001);
}

TEST_CASE("a packet with DF is never fragmented", "[conformance][IPF-12][IPF-14][1191-01]") {
  Server server;
  server.connection.send(as_bytes(std::string(20'000, 'x')));
  server.host.turn();
  const Decoded sent = server.host.take();
  // The path shrinks: TCP cuts smaller segments, IP no fragments.
  server.host.inject(testing::icmp_unreachable(IpAddress::v4(10, 0, 0, 254), host_ip,
                                               IcmpUnreachable::fragmentation_needed, *sent.bytes,
                                               1000));
  server.host.advance(5s);
  for (const Decoded& packet : server.host.take_all()) {
    CHECK(matches(packet, expect.df().fragment(0, false)));
  }
  CHECK(server.connection.info().path_mtu == 1000);
}
