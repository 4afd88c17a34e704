// SPDX-License-Identifier: BSL-1.0

// Ends that disagree about a connection: RFC 9293 3.5.1 (half-open connections, figures 9 to 11),
// 3.5 (old duplicates, figure 8), and appendix A.2.

#include "../support/pair.hpp"

#include <string>
#include <system_error>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

TEST_CASE(
    "a peer that has rebooted recovers: its SYN is challenged, its RST ends the old "
    "connection, its next SYN connects",
    "[conformance][FSM-49]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  const auto new_syn = peer.syn().seq(400);
  host.inject(new_syn);
  const TcpSegment challenge = host.take_tcp();
  CHECK(matches(*host.last, expect.flags("A").seq(peer.ack).ack(peer.seq)));
  CHECK(connection.state() == TcpState::established);

  host.inject(peer.bare().rst().seq(challenge.ack));
  CHECK(host.silent());
  CHECK(connection.state() == TcpState::closed);
  CHECK(connection.error() == Errc::connection_reset);
  bool told = false;
  while (const auto event = host.stack.next_event())
    told = told || has(event->flags, EventFlags::error);
  CHECK(told);

  host.inject(new_syn);
  const TcpSegment answer = host.take_tcp();
  CHECK(matches(*host.last, expect.flags("SA").ack(401)));
  host.inject(peer.bare().seq(401).ack(answer.seq + 1));
  CHECK(listener.accept().has_value());
}

TEST_CASE("after we have rebooted, the peer's data draws RST", "[conformance][FSM-50]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  for (const std::uint16_t port : {std::uint16_t{80}, std::uint16_t{81}}) {
    const Endpoint there{host_ip, port};
    host.inject(testing::segment(peer.here(), there).seq(300).ack(100).payload("data"));
    CHECK(matches(host.take(), expect.flags("R").seq(100).from(there)));
    CHECK(host.silent());
  }
}

TEST_CASE("an old duplicate of a SYN is undone by the peer's RST", "[conformance][FSM-51]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host, {.isn = 100}};
  host.inject(peer.syn().seq(90));
  CHECK(matches(host.take(), expect.flags("SA").ack(91)));
  host.inject(peer.bare().rst().seq(91));
  CHECK(host.silent());
  CHECK(host.stack.stats().gauges.half_open == 0);
  CHECK(peer.connect_to(listener).state() == TcpState::established);
}

namespace {

std::size_t fill(TcpConnection& connection) {
  const std::string block(64 * 1024, 'x');
  std::size_t total = 0;
  for (;;) {
    const std::size_t taken = connection.send(as_bytes(block)).bytes;
    total += taken;
    if (taken < block.size()) return total;
  }
}

}  // namespace

TEST_CASE("window probes that cross do not keep two stacks from resuming",
          "[conformance][FSM-55]") {
  Pair pair;
  ConnectionOptions options;
  options.receive_buffer = 8 * 1024;
  auto listener = pair.b.stack.listen({.port = 80, .connection = options});
  auto a = pair.a.stack.connect({.remote = {peer_ip, 80}, .connection = options});
  pair.a.turn();
  pair.run(100ms);
  auto b = *listener.accept();
  const std::size_t from_a = fill(a);
  const std::size_t from_b = fill(b);
  pair.a.turn();
  pair.b.turn();
  pair.run(300s);  // nobody reads: both windows are closed, both probe
  CHECK(a.readable_bytes() == options.receive_buffer.initial);
  CHECK(b.readable_bytes() == options.receive_buffer.initial);
  CHECK(pair.a.stack.stats().tcp.zero_window_probes > 3);
  CHECK(pair.b.stack.stats().tcp.zero_window_probes > 3);

  std::size_t at_a = 0;
  std::size_t at_b = 0;
  for (int i = 0; i < 1000 && (at_a < from_b || at_b < from_a); ++i) {
    at_a += read_all(a).size();
    at_b += read_all(b).size();
    pair.a.turn();
    pair.b.turn();
    pair.run(10ms);
  }
  CHECK(at_a == from_b);
  CHECK(at_b == from_a);
}

TEST_CASE("a window probe with data counts as an ACK while our window is closed too",
          "[conformance][FSM-55]") {
  ConnectionOptions options;
  options.receive_buffer = 1000;
  Server server{{.window = 1000}, host_config(), options};
  auto& [host, listener, peer, connection] = server;
  peer.send(std::string(1000, 'x'));
  connection.send(as_bytes(std::string(1500, 'y')));
  host.turn();
  peer.receive();
  host.inject(peer.segment().window(0));
  host.advance(1s);
  CHECK(matches(host.take(), expect.flags("A").no_payload().window(0)));  // our probe
  host.forget_sent();
  // The peer's crosses it: a byte at RCV.NXT, that is sent again later, and its window opens.
  host.inject(peer.segment().payload("z").window(1000));
  CHECK(matches(host.take(), expect.ack(peer.seq).payload_size(500)));
  CHECK(connection.readable_bytes() == 1000);
}

TEST_CASE("connecting to our own address and port is refused at once", "[conformance][FSM-55]") {
  Host host;
  std::error_code error;
  auto connection = host.stack.connect({.remote = {host_ip, 1234}, .local_port = 1234}, error);
  CHECK(error == make_error_code(Errc::address_not_available));
  CHECK_FALSE(connection);
  host.turn();
  CHECK(host.silent());
  CHECK(host.stack.stats().gauges.connections == 0);
}
