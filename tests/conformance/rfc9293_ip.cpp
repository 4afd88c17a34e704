// SPDX-License-Identifier: BSL-1.0
// The interface to IP: RFC 9293 3.9.2 (Diffserv, TTL, options, ICMP, addresses).

#include "../support/host.hpp"

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

const IpAddress router = IpAddress::v4(10, 0, 0, 254);

}  // namespace

TEST_CASE("soft errors reach the user, unless they are not wanted",
          "[conformance][MUST-47][SHLD-20][SHLD-25]") {
  const auto code = GENERATE(std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{5});
  const bool wanted = GENERATE(true, false);
  Server server;
  ConnectionOptions options;
  options.report_soft_errors = wanted;
  server.connection.set_options(options);
  server.connection.send(as_bytes("data"));
  server.host.turn();
  while (server.host.stack.next_event()) {
  }
  server.host.inject(testing::icmp_error(router, host_ip, IcmpType::destination_unreachable, code,
                                         0, *server.host.take().bytes));
  const auto event = server.host.stack.next_event();
  CHECK((event && has(event->flags, EventFlags::soft_error)) == wanted);
  CHECK(server.connection.soft_error() ==
        (code == 0 ? Errc::network_unreachable : Errc::host_unreachable));
  CHECK(server.connection.state() == TcpState::established);
}

TEST_CASE("the Diffserv field is the user's, from the start and later",
          "[conformance][MUST-48][SHLD-21][SHLD-22][SHLD-23]") {
  const auto dscp = static_cast<std::uint8_t>(GENERATE(0, 10, 46, 63));
  ConnectionOptions options;
  options.dscp = dscp;
  Server server{{}, host_config(), options};
  const auto send = [&] {
    server.connection.send(as_bytes("x"));
    server.host.turn();
    const Decoded packet = server.host.take();
    server.peer.learn(*packet.tcp);
    server.peer.acknowledge();
    return packet;
  };
  CHECK(matches(send(), expect.tos(static_cast<std::uint8_t>(dscp << 2))));  // ECN bits untouched
  CHECK(
      matches(send(), expect.tos(static_cast<std::uint8_t>(dscp << 2))));  // and nothing changes it
  options.dscp = static_cast<std::uint8_t>(63 - dscp);
  CHECK(server.connection.set_options(options) == Errc::none);
  CHECK(matches(send(), expect.tos(static_cast<std::uint8_t>((63 - dscp) << 2))));
  options.dscp = 64;
  CHECK(server.connection.set_options(options) == Errc::invalid_argument);
}

TEST_CASE("the TTL is 64 or what the user sets", "[conformance][MUST-49]") {
  Server server;
  server.connection.send(as_bytes("x"));
  server.host.turn();
  CHECK(matches(server.host.take(), expect.ttl(64)));
  ConnectionOptions options;
  options.ttl = 5;
  options.no_delay = true;
  server.connection.set_options(options);
  server.connection.send(as_bytes("y"));
  server.host.turn();
  CHECK(matches(server.host.take(), expect.ttl(5).payload("y")));
}

TEST_CASE("IP options that TCP does not know are ignored",
          "[conformance][MUST-50][MAY-10][MAY-11]") {
  const auto kind = GENERATE(0x9e, 68, 7);  // unknown, time stamp, record route
  Host host;
  auto listener = host.stack.listen({.port = 80});
  const Packet option{static_cast<std::byte>(kind),
                      std::byte{7},
                      std::byte{5},
                      std::byte{0},
                      std::byte{0},
                      std::byte{0},
                      std::byte{0}};
  host.inject(Peer{host}.syn().ip_options(option));
  CHECK(matches(host.take(), expect.flags("SA")));
}

// Deviation: MUST-51: source routes are not built (RFC 7126 4.3 and 4.4 advise to drop them); there
// is no way to set one.

// Deviation: MUST-52: no source route of the user's exists to win.

// Deviation: SHLD-24: a received route is never used, so a later one replaces none.

TEST_CASE("a SYN with a source route is dropped by policy", "[conformance][MUST-53]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  const Packet completed{std::byte{131}, std::byte{7}, std::byte{8}, std::byte{10},
                         std::byte{0},   std::byte{0}, std::byte{9}};
  host.inject(Peer{host}.syn().ip_options(completed));
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::source_routed) == 1);
}

TEST_CASE("an ICMP error reaches the connection that it quotes, and no other",
          "[conformance][MUST-54]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer first{host, {.port = 1}}, second{host, {.port = 2}};
  auto one = first.connect_to(listener);
  auto two = second.connect_to(listener);
  one.send(as_bytes("x"));
  host.turn();
  const Decoded sent = host.take();
  host.inject(testing::icmp_unreachable(router, host_ip, IcmpUnreachable::port, *sent.bytes));
  CHECK(one.soft_error() == Errc::host_unreachable);
  CHECK(two.soft_error() == Errc::none);
  const Packet unknown =
      testing::segment({host_ip, 80}, {peer_ip, 3}).seq(1).payload("12345678").packet();
  host.inject(testing::icmp_unreachable(router, host_ip, IcmpUnreachable::port, unknown));
  CHECK(host.stack.stats().dropped(Drop::icmp_unmatched) == 1);
}

TEST_CASE("soft unreachables, time exceeded and parameter problem never abort",
          "[conformance][MUST-56]") {
  struct Error {
    IcmpType type;
    std::uint8_t code;
  };
  const auto error = GENERATE(
      Error{IcmpType::destination_unreachable, 0}, Error{IcmpType::destination_unreachable, 1},
      Error{IcmpType::destination_unreachable, 5}, Error{IcmpType::time_exceeded, 0},
      Error{IcmpType::time_exceeded, 1}, Error{IcmpType::parameter_problem, 0});
  Server server;
  server.connection.send(as_bytes("x"));
  server.host.turn();
  server.host.inject(
      testing::icmp_error(router, host_ip, error.type, error.code, 0, *server.host.take().bytes));
  CHECK(server.connection.state() == TcpState::established);
  server.peer.send("alive");
  CHECK(read_all(server.connection) == "alive");
}

TEST_CASE("a hard error refuses a connection that is being opened, and is soft afterwards",
          "[conformance][SHLD-26]") {
  const auto why = GENERATE(IcmpUnreachable::protocol, IcmpUnreachable::port);
  Host host;
  Peer peer{host};
  auto connection = host.stack.connect({.remote = peer.here()});
  host.turn();
  host.inject(testing::icmp_unreachable(router, host_ip, why, *host.take().bytes));
  CHECK(connection.state() == TcpState::closed);
  CHECK(connection.error() == Errc::connection_refused);
  Server server;
  server.connection.send(as_bytes("x"));
  server.host.turn();
  server.host.inject(testing::icmp_unreachable(router, host_ip, why, *server.host.take().bytes));
  CHECK(server.connection.state() == TcpState::established);
}

TEST_CASE("segments to groups are dropped silently", "[conformance][MUST-57]") {
  const char* group = GENERATE("255.255.255.255", "10.0.0.255", "224.0.0.1");
  Host host;
  auto listener = host.stack.listen({.port = 80});
  host.inject(testing::segment({peer_ip, 40000}, {*IpAddress::parse(group), 80}).syn().seq(1));
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::tcp_to_broadcast) == 1);
  CHECK(host.stack.stats().gauges.connections == 0);
}

TEST_CASE("a SYN from what is no host is ignored", "[conformance][MUST-63]") {
  const char* source =
      GENERATE("127.0.0.1", "0.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.0.255", "10.0.0.2");
  Host host;
  auto listener = host.stack.listen({.port = 80});
  host.inject(testing::segment({*IpAddress::parse(source), 40000}, {host_ip, 80}).syn().seq(1));
  CHECK(host.silent());
  CHECK(host.stack.stats().gauges.connections == 0);
}
