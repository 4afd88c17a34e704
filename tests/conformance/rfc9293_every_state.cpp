// SPDX-License-Identifier: BSL-1.0

// What holds in each of the eleven states: no RST in answer to a RST (RFC 9293 3.5.2), and what the
// user's ABORT (3.10.5) and the user time-out (3.10.8) do.

#include "../support/host.hpp"

#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

TcpState any_state() {
  return GENERATE(TcpState::closed, TcpState::listen, TcpState::syn_sent, TcpState::syn_received,
                  TcpState::established, TcpState::fin_wait_1, TcpState::fin_wait_2,
                  TcpState::close_wait, TcpState::closing, TcpState::last_ack, TcpState::time_wait);
}

// Drives what the peer's and the host's port make up into any state. SYN-SENT and SYN-RECEIVED come
// from an active open, so that there is a handle to look at.
void enter(Server& server, TcpState state) {
  auto& [host, listener, peer, connection] = server;
  if (synchronized(state)) return reach(server, state);
  connection.abort();
  connection = {};
  if (state != TcpState::listen) listener.close();
  host.turn();
  host.forget_sent();
  peer.seq = SeqNum{peer.options.isn};
  peer.ack = SeqNum{};
  if (state == TcpState::closed || state == TcpState::listen) return;
  connection = peer.receive_syn();
  if (state == TcpState::syn_received) {
    host.inject(peer.syn());
    peer.seq += 1;
    host.forget_sent();
  }
  REQUIRE(connection.state() == state);
}

}  // namespace

TEST_CASE("no state answers a RST with a RST", "[conformance][FSM-03]") {
  const TcpState state = any_state();
  CAPTURE(name(state));
  Server server;
  enter(server, state);
  auto& [host, listener, peer, connection] = server;
  // Not at RCV.NXT at first, for that would end the connection.
  for (const std::uint32_t off : {100'000U, 1U, 0xffff'ffffU, 0U}) {
    const auto reset = peer.bare().rst().seq(peer.seq + off);
    for (const auto& segment :
         {reset, reset.ack(peer.ack - 1), reset.ack(peer.ack + 1), reset.payload("data"),
          reset.syn(), reset.fin(), reset.syn().ack(peer.ack + 1000), reset.ack(peer.ack)}) {
      host.inject(segment);
      for (const Decoded& packet : host.take_all()) CHECK(matches(packet, expect.flags("A")));
    }
  }
  CHECK(host.stack.stats().tcp.resets_out <= 1);  // that of `enter`
}

// Deviation: FSM-52: in TIME-WAIT RFC 9293 3.10.5 deletes all of the connection. Here its control
// block goes, but the entry that keeps old segments from a new incarnation waits for its time.
TEST_CASE("aborting sends RST where the peer may still wait for us, and nothing elsewhere",
          "[conformance][FSM-52]") {
  const TcpState state = any_state();
  CAPTURE(name(state));
  Server server;
  enter(server, state);
  auto& [host, listener, peer, connection] = server;
  connection.abort();
  host.turn();
  const bool resets =
      state == TcpState::syn_received || can_receive(state) || state == TcpState::close_wait;
  if (resets) CHECK(matches(host.take(), expect.has_flags("R").seq(peer.ack).no_payload()));
  CHECK(host.silent());
  CHECK(connection.state() == TcpState::closed);
  const bool waits = state == TcpState::time_wait;
  CHECK(host.stack.stats().gauges.time_wait == (waits ? 1 : 0));
  if (!waits) CHECK(host.stack.next_deadline() == never);
  if (connection) {
    CHECK(connection.error() == Errc::connection_aborted);
    std::byte buffer[1];
    CHECK(connection.receive(buffer).error == Errc::connection_aborted);
    CHECK(connection.send(as_bytes("x")).error == Errc::connection_aborted);
  }
  connection = {};
  CHECK(host.stack.stats().gauges.connections == 0);
  CHECK(host.stack.stats().gauges.buffer_bytes == 0);
}

TEST_CASE("aborting drops what is queued both ways", "[conformance][FSM-52]") {
  Server server{{.window = 10}};
  auto& [host, listener, peer, connection] = server;
  peer.send("unread");
  connection.send(as_bytes(std::string(1000, 'x')));
  host.turn();
  const SeqNum snd_nxt = peer.receive().seq + 10;
  connection.abort();
  host.turn();
  CHECK(matches(host.take(), expect.has_flags("R").seq(snd_nxt)));
  CHECK(connection.readable_bytes() == 0);
  CHECK(host.stack.stats().gauges.buffer_bytes == 0);
}

TEST_CASE("aborting after close resets the peer as long as the FIN has not left",
          "[conformance][FSM-52]") {
  const bool peer_closed = GENERATE(true, false);  // LAST-ACK or CLOSING
  CAPTURE(peer_closed);
  Server server{{.window = 10}};
  auto& [host, listener, peer, connection] = server;
  if (peer_closed) peer.send_fin();
  connection.send(as_bytes(std::string(1000, 'x')));
  connection.shutdown_send();
  host.turn();
  if (!peer_closed) peer.send_fin();
  host.forget_sent();
  connection.abort();
  host.turn();
  CHECK(matches(host.take(), expect.has_flags("R").seq(peer.ack + 10)));
}

TEST_CASE("the user time-out ends a connection in any state that waits for the peer",
          "[conformance][FSM-53]") {
  const TcpState state =
      GENERATE(TcpState::syn_sent, TcpState::syn_received, TcpState::established,
               TcpState::fin_wait_1, TcpState::close_wait, TcpState::closing, TcpState::last_ack);
  CAPTURE(name(state));
  Server server;
  auto& [host, listener, peer, connection] = server;
  Instant start = host.clock.now();
  enter(server, state);
  ConnectionOptions options = connection.options();
  options.user_timeout = 5s;
  connection.set_options(options);
  if (can_send(state)) {
    host.advance(20s);  // with nothing outstanding it does not run
    CHECK(connection.state() == state);
    start = host.clock.now();
    connection.send(as_bytes("never acknowledged"));
    host.turn();
  }
  host.advance(start + 5s - 1ns - host.clock.now());
  CHECK(connection.state() == state);
  host.advance(1ns);
  CHECK(connection.state() == TcpState::closed);
  CHECK(connection.error() == Errc::timed_out);
  CHECK(connection.send(as_bytes("x")).error == Errc::timed_out);
  CHECK(host.stack.next_deadline() == never);
  CHECK(host.stack.stats().gauges.buffer_bytes == 0);
}

TEST_CASE("a user time-out counts from the data that waits, also when it is set later",
          "[conformance][FSM-53]") {
  ConnectionOptions options;
  options.user_timeout = 0s;  // for ever
  Server server{{}, host_config(), options};
  auto& [host, listener, peer, connection] = server;
  connection.send(as_bytes("never acknowledged"));
  host.turn();
  const Instant start = host.clock.now();
  host.advance(3500ms);  // the retransmission after that of 3 s comes after the time-out
  options.user_timeout = 5s;
  connection.set_options(options);
  host.turn();
  host.advance(start + 5s - 1ns - host.clock.now());
  CHECK(connection.state() == TcpState::established);
  host.advance(1ns);
  CHECK(connection.error() == Errc::timed_out);
}
