// SPDX-License-Identifier: BSL-1.0

// How connections end: RFC 9293 3.6, and steps five, seven and eight of 3.10.7.4 in the states that
// follow a FIN. TIME-WAIT itself is in rfc9293_time_wait.cpp.

#include "../support/pair.hpp"

#include <string>
#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

// An ACK that says where the host is.
testing::Expectation ack_of(const Peer& peer) {
  return expect.flags("A").seq(peer.ack).ack(peer.seq).no_payload();
}

// What the host sends by itself, and when, counted from now.
std::vector<Duration> repetitions(Host& host, const testing::Expectation& expected,
                                  std::size_t count) {
  const Instant start = host.clock.now();
  std::vector<Duration> times;
  while (times.size() < count && host.stack.next_deadline() != never) {
    host.advance(host.stack.next_deadline() - host.clock.now());
    for (const Decoded& packet : host.take_all()) {
      CHECK(matches(packet, expected));
      times.push_back(host.clock.now() - start);
    }
  }
  return times;
}

// Four time-outs, each twice the one before.
void check_doubling(const std::vector<Duration>& times) {
  REQUIRE(times.size() == 4);
  for (std::size_t i = 1; i < 4; ++i) CHECK(times[i] - times[0] == times[0] * ((2 << i) - 2));
}

}  // namespace

TEST_CASE("FIN-WAIT-1: the ACK of the FIN leads to FIN-WAIT-2, a FIN to CLOSING, both to TIME-WAIT",
          "[conformance][FSM-40]") {
  Server server;
  reach(server, TcpState::fin_wait_1);
  auto& [host, listener, peer, connection] = server;
  SECTION("ACK") {
    peer.acknowledge();
    CHECK(host.silent());
    CHECK(connection.state() == TcpState::fin_wait_2);
  }
  SECTION("FIN") {
    host.inject(peer.segment().ack(peer.ack - 1).fin());
    CHECK(matches(host.take(), expect.flags("A").seq(peer.ack).ack(peer.seq + 1)));
    CHECK(connection.state() == TcpState::closing);
  }
  SECTION("both") {
    host.inject(peer.segment().fin());
    CHECK(matches(host.take(), expect.flags("A").seq(peer.ack).ack(peer.seq + 1)));
    CHECK(connection.state() == TcpState::time_wait);
  }
  CHECK(host.silent());
}

TEST_CASE("after a half-close the peer's data is received to its end", "[conformance][FSM-41]") {
  const TcpState state = GENERATE(TcpState::fin_wait_1, TcpState::fin_wait_2);
  CAPTURE(name(state));
  Server server;
  reach(server, state);
  auto& [host, listener, peer, connection] = server;
  if (state == TcpState::fin_wait_1) peer.ack -= 1;  // our FIN has not arrived
  std::string received;
  for (int i = 0; i < 100; ++i) {
    peer.send(std::string(1000, static_cast<char>('a' + i % 26)));
    CHECK(connection.readable_bytes() == 1000);
    received += read_all(connection);
  }
  CHECK(received.size() == 100'000);
  CHECK(connection.state() == state);
  if (state == TcpState::fin_wait_1) peer.ack += 1;
  host.advance(100ms);
  host.forget_sent();
  peer.send_fin();
  CHECK(matches(host.take(), ack_of(peer)));
  CHECK(connection.at_end());
  CHECK(connection.state() == TcpState::time_wait);
}

TEST_CASE("FIN-WAIT-1: the FIN is repeated with back-off until the user's time is up",
          "[conformance][FSM-42]") {
  Server server;
  reach(server, TcpState::fin_wait_1);
  auto& [host, listener, peer, connection] = server;
  check_doubling(repetitions(host, expect.has_flags("FA").seq(peer.ack - 1), 4));
  host.advance(connection.options().user_timeout);
  CHECK(connection.state() == TcpState::closed);
  CHECK(connection.error() == Errc::timed_out);
  host.forget_sent();
  CHECK(host.stack.next_deadline() == never);
}

TEST_CASE("FIN-WAIT-2: a FIN leads to TIME-WAIT", "[conformance][FSM-43]") {
  Server server;
  reach(server, TcpState::fin_wait_2);
  server.peer.send_fin();
  CHECK(matches(server.host.take(), ack_of(server.peer)));
  CHECK(server.connection.state() == TcpState::time_wait);
}

TEST_CASE("FIN-WAIT-2 lasts while the application reads, and a bounded time without it",
          "[conformance][FSM-43]") {
  Server server;
  reach(server, TcpState::fin_wait_2);
  auto& [host, listener, peer, connection] = server;
  host.advance(24h);
  CHECK(connection.state() == TcpState::fin_wait_2);
  CHECK(host.silent());
  connection = {};
  host.advance(59s);
  CHECK(host.stack.stats().gauges.connections == 1);
  host.advance(1s);
  CHECK(host.stack.stats().gauges.connections == 0);
  CHECK(host.stack.next_deadline() == never);
}

TEST_CASE("the bound of FIN-WAIT-2 holds for an application that has gone before",
          "[conformance][FSM-43]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  connection = {};
  host.turn();
  peer.receive();
  host.advance(50ms);
  host.forget_sent();
  peer.acknowledge();
  host.advance(60s);
  CHECK(host.stack.stats().gauges.connections == 0);
}

TEST_CASE("CLOSE-WAIT: sending goes on, a repeated FIN is acknowledged, close sends FIN",
          "[conformance][FSM-44]") {
  Server server;
  reach(server, TcpState::close_wait);
  auto& [host, listener, peer, connection] = server;
  host.inject(peer.segment().seq(peer.seq - 1).fin());
  CHECK(matches(host.take(), ack_of(peer)));
  CHECK(connection.state() == TcpState::close_wait);

  const std::string data(50'000, 'x');
  CHECK(connection.send(as_bytes(data)).bytes == data.size());
  connection.close();
  host.turn();
  std::size_t received = 0;
  bool fin = false;
  while (!fin) {
    REQUIRE_FALSE(host.silent());
    while (!host.silent()) {
      const TcpSegment segment = peer.receive();
      CHECK(segment.ack == peer.seq);
      received += segment.payload.size();
      fin = segment.has(TcpFlags::fin);
    }
    CHECK(connection.state() == TcpState::last_ack);
    if (!fin) peer.acknowledge();
  }
  CHECK(received == data.size());
  peer.acknowledge();
  CHECK(connection.state() == TcpState::closed);
  CHECK(connection.error() == Errc::none);
}

TEST_CASE("CLOSING: only the ACK of the FIN leads to TIME-WAIT", "[conformance][FSM-45]") {
  Server server;
  reach(server, TcpState::closing);
  auto& [host, listener, peer, connection] = server;
  host.inject(peer.segment().ack(peer.ack - 1));
  CHECK(host.silent());
  CHECK(connection.state() == TcpState::closing);
  host.inject(peer.segment().seq(peer.seq - 1).ack(peer.ack - 1).fin());
  CHECK(matches(host.take(), ack_of(peer)));
  CHECK(connection.state() == TcpState::closing);
  peer.acknowledge();
  CHECK(connection.state() == TcpState::time_wait);
  CHECK(host.silent());
}

TEST_CASE("a simultaneous close ends in TIME-WAIT on both sides, whichever packet is lost",
          "[conformance][FSM-45]") {
  const auto lost = GENERATE(as<std::optional<std::size_t>>{}, std::nullopt, 0U, 1U, 2U, 3U);
  CAPTURE(lost.value_or(9999));
  Pair pair;
  auto listener = pair.b.stack.listen({.port = 80});
  auto a = pair.a.stack.connect({.remote = {peer_ip, 80}});
  pair.a.turn();
  pair.run(100ms);
  auto b = *listener.accept();
  pair.lost = lost;
  if (lost) *pair.lost += pair.passed;
  a.shutdown_send();
  b.shutdown_send();
  pair.a.turn();
  pair.b.turn();
  pair.run(10s);
  CHECK(a.at_end());
  CHECK(b.at_end());
  CHECK(a.state() == TcpState::time_wait);
  CHECK(b.state() == TcpState::time_wait);
}

TEST_CASE("LAST-ACK: the ACK of the FIN closes, and what comes then draws RST",
          "[conformance][FSM-46]") {
  Server server;
  reach(server, TcpState::last_ack);
  auto& [host, listener, peer, connection] = server;
  peer.acknowledge();
  CHECK(host.silent());
  CHECK(connection.state() == TcpState::closed);
  CHECK(connection.error() == Errc::none);
  CHECK(host.stack.next_deadline() == never);
  host.inject(peer.segment());
  CHECK(matches(host.take(), expect.flags("R").seq(peer.ack)));
}

TEST_CASE("LAST-ACK: a repeated FIN is acknowledged", "[conformance][FSM-46]") {
  Server server;
  reach(server, TcpState::last_ack);
  auto& [host, listener, peer, connection] = server;
  host.inject(peer.segment().seq(peer.seq - 1).ack(peer.ack - 1).fin());
  CHECK(matches(host.take(), ack_of(peer)));
  host.inject(peer.segment().ack(peer.ack - 1));  // an old ACK
  CHECK(host.silent());
  CHECK(connection.state() == TcpState::last_ack);
}

TEST_CASE("LAST-ACK: the FIN is repeated with back-off", "[conformance][FSM-46]") {
  Server server;
  reach(server, TcpState::last_ack);
  check_doubling(repetitions(
      server.host, expect.has_flags("FA").seq(server.peer.ack - 1).ack(server.peer.seq), 4));
}
