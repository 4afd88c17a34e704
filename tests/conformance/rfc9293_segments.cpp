// SPDX-License-Identifier: BSL-1.0

// Segments that meet a synchronized connection: the checks of RFC 9293 3.10.7.4 in their order, and
// those of RFC 5961. What a FIN or an ACK of one does to the state is in rfc9293_close.cpp.

#include "../support/host.hpp"

#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

// A server in any of the synchronized states, or in all but TIME-WAIT.
TcpState any_but_time_wait() {
  return GENERATE(TcpState::established, TcpState::fin_wait_1, TcpState::fin_wait_2,
                  TcpState::close_wait, TcpState::closing, TcpState::last_ack);
}
TcpState any_synchronized() {
  return GENERATE(TcpState::established, TcpState::fin_wait_1, TcpState::fin_wait_2,
                  TcpState::close_wait, TcpState::closing, TcpState::last_ack, TcpState::time_wait);
}

// An ACK that says where the host is.
testing::Expectation ack_of(const Peer& peer) {
  return expect.flags("A").seq(peer.ack).ack(peer.seq).no_payload();
}

ConnectionOptions with_receive_buffer(std::uint32_t bytes) {
  ConnectionOptions options;
  options.receive_buffer = bytes;
  return options;
}

}  // namespace

TEST_CASE("old bytes are acknowledged and not delivered twice, and an overlap is trimmed",
          "[conformance][FSM-27]") {
  Server server{{.sack = true}};
  auto& [host, listener, peer, connection] = server;
  std::string text;
  for (int i = 0; i < 150; ++i) text += static_cast<char>('0' + i % 64);
  const auto part = [&, &from = server.peer](std::size_t first, std::size_t size) {
    return from.segment()
        .seq(from.options.isn + 1 + static_cast<std::uint32_t>(first))
        .payload(text.substr(first, size));
  };
  host.inject(part(0, 100));
  host.inject(part(0, 100));
  CHECK(matches(host.take(), expect.flags("A").ack(1101).sack({{1001, 1101}})));  // RFC 2883
  host.inject(part(50, 100));
  CHECK(matches(host.take(), expect.flags("A").ack(1151).sack({{1051, 1101}})));
  CHECK(host.silent());
  CHECK(read_all(connection) == text);
}

TEST_CASE("a segment wholly outside the window is dropped and acknowledged once",
          "[conformance][FSM-28]") {
  const TcpState state = any_synchronized();
  CAPTURE(name(state));
  Server server;
  reach(server, state);
  auto& [host, listener, peer, connection] = server;
  const SeqNum beyond = peer.seq + connection.info().rcv_wnd;
  for (const SeqNum outside : {beyond, beyond + 100'000, peer.seq - 1, peer.seq - 100'000}) {
    host.inject(peer.segment().seq(outside).payload("x"));
    CHECK(matches(host.take(), ack_of(peer)));
    CHECK(host.silent());
    CHECK(connection.state() == state);
    CHECK(connection.readable_bytes() == 0);
  }
}

TEST_CASE("a flood from outside the window gets few answers", "[conformance][FSM-28][FSM-33]") {
  const bool syns = GENERATE(true, false);
  CAPTURE(syns);
  Server server;
  auto& [host, listener, peer, connection] = server;
  const SeqNum beyond = peer.seq + connection.info().rcv_wnd;
  const auto outside = syns ? peer.syn() : peer.segment().seq(beyond).payload("x");
  for (int i = 0; i < 1000; ++i) host.inject(outside);
  CHECK(host.take_all().size() == host.stack.config().tcp.challenge_ack_limit);
  host.advance(1s);
  host.inject(outside);
  CHECK(matches(host.take(), ack_of(peer)));
}

TEST_CASE("with a closed window data is refused, but its ACK and urgent pointer count",
          "[conformance][FSM-29]") {
  Server server{{}, host_config(), with_receive_buffer(1000)};
  auto& [host, listener, peer, connection] = server;
  peer.send(std::string(1000, 'x'));
  connection.send(as_bytes("hello"));
  host.turn();
  CHECK(matches(host.take(), expect.ack(peer.seq).window(0).payload("hello")));
  while (host.stack.next_event()) {
  }

  peer.ack += 5;
  host.inject(peer.segment().urgent(1).payload("p"));
  CHECK(matches(host.take(), ack_of(peer).window(0)));
  CHECK(host.silent());
  CHECK(connection.unacknowledged_bytes() == 0);
  CHECK(connection.readable_bytes() == 1000);
  const auto event = host.stack.next_event();
  REQUIRE(event.has_value());
  CHECK(has(event->flags, EventFlags::urgent));
}

TEST_CASE("with a closed window an exact RST still ends the connection", "[conformance][FSM-29]") {
  Server server{{}, host_config(), with_receive_buffer(1000)};
  server.peer.send(std::string(1000, 'x'));
  server.host.inject(server.peer.bare().rst().seq(server.peer.seq));
  CHECK(server.connection.state() == TcpState::closed);
  CHECK(server.connection.error() == Errc::connection_reset);
}

TEST_CASE("an exact RST ends the connection, with an error unless both sides had closed",
          "[conformance][FSM-30]") {
  const TcpState state = any_but_time_wait();
  CAPTURE(name(state));
  Server server;
  auto& [host, listener, peer, connection] = server;
  ConnectionOptions options = connection.options();
  options.keepalive.enabled = true;
  connection.set_options(options);
  reach(server, state);
  if (can_send(state)) connection.send(as_bytes("in flight"));
  host.turn();
  host.forget_sent();

  host.inject(peer.bare().rst().seq(peer.seq));
  CHECK(host.silent());
  CHECK(connection.state() == TcpState::closed);
  const bool quiet = state == TcpState::closing || state == TcpState::last_ack;
  CHECK(connection.error() == (quiet ? Errc::none : Errc::connection_reset));
  std::byte buffer[1];
  const Errc end = state == TcpState::closing || state == TcpState::last_ack
                       ? Errc::end_of_stream
                       : Errc::connection_reset;
  CHECK(connection.receive(buffer).error == end);
  CHECK(connection.send(as_bytes("x")).error == (quiet ? Errc::broken_pipe : end));
  CHECK(host.stack.next_deadline() == never);
  connection = {};
  CHECK(host.stack.stats().gauges.connections == 0);
  CHECK(host.stack.stats().gauges.buffer_bytes == 0);
}

TEST_CASE("a RST after close is an error as long as data and FIN wait to be sent",
          "[conformance][FSM-30]") {
  Server server{{.window = 10}};
  auto& [host, listener, peer, connection] = server;
  peer.send_fin();
  connection.send(as_bytes(std::string(1000, 'x')));
  connection.shutdown_send();
  host.turn();
  host.inject(peer.bare().rst().seq(peer.seq));
  CHECK(connection.state() == TcpState::closed);
  CHECK(connection.error() == Errc::connection_reset);
}

TEST_CASE("a RST in the window that is not exact draws an ACK and nothing else",
          "[conformance][FSM-31]") {
  const TcpState state = any_but_time_wait();  // TIME-WAIT ignores it: 1337-01
  CAPTURE(name(state));
  Server server;
  reach(server, state);
  auto& [host, listener, peer, connection] = server;
  const SeqNum last = peer.seq + connection.info().rcv_wnd - 1;
  for (const SeqNum inexact : {peer.seq + 1, last}) {
    host.inject(peer.bare().rst().seq(inexact));
    CHECK(matches(host.take(), ack_of(peer)));
    CHECK(host.silent());
    CHECK(connection.state() == state);
  }
}

TEST_CASE("a RST outside the window is ignored in silence", "[conformance][FSM-32]") {
  const TcpState state = any_synchronized();
  CAPTURE(name(state));
  Server server;
  reach(server, state);
  auto& [host, listener, peer, connection] = server;
  const SeqNum beyond = peer.seq + connection.info().rcv_wnd;
  for (const SeqNum outside : {peer.seq - 1, beyond, beyond + 100'000, peer.seq - 100'000}) {
    host.inject(peer.bare().rst().seq(outside));
    host.inject(peer.segment().rst().seq(outside));
    CHECK(host.silent());
    CHECK(connection.state() == state);
  }
}

TEST_CASE("a SYN draws a challenge whatever its number, and nothing else",
          "[conformance][FSM-33]") {
  const TcpState state = any_but_time_wait();
  CAPTURE(name(state));
  Server server;
  reach(server, state);
  auto& [host, listener, peer, connection] = server;
  const SeqNum beyond = peer.seq + connection.info().rcv_wnd;
  for (const SeqNum seq : {SeqNum{peer.options.isn}, peer.seq, peer.seq + 1, beyond}) {
    for (const auto& syn : {peer.syn().seq(seq), peer.syn().seq(seq).ack(peer.ack)}) {
      host.inject(syn);
      CHECK(matches(host.take(), ack_of(peer)));
      CHECK(host.silent());
      CHECK(connection.state() == state);
    }
  }
}

TEST_CASE("a segment without ACK is dropped in silence", "[conformance][FSM-34]") {
  const TcpState state = any_synchronized();
  CAPTURE(name(state));
  Server server;
  reach(server, state);
  auto& [host, listener, peer, connection] = server;
  const auto bare = peer.bare().seq(peer.seq);
  for (const auto& segment :
       {bare, bare.payload("data"), bare.fin(), bare.urgent(1).payload("x")}) {
    host.inject(segment);
    CHECK(host.silent());
    CHECK(connection.state() == state);
    CHECK(connection.readable_bytes() == 0);
    CHECK(connection.urgent_remaining() == 0);
  }
}

TEST_CASE("an ACK frees what it covers, and an older one overwrites no newer window",
          "[conformance][FSM-35]") {
  Server server{{.mss = 1000}};
  auto& [host, listener, peer, connection] = server;
  connection.send(as_bytes(std::string(3000, 'x')));
  host.turn();
  host.forget_sent();
  const SeqNum start = peer.ack;
  host.inject(peer.segment().ack(start + 2000).window(3000));
  CHECK(connection.unacknowledged_bytes() == 1000);
  CHECK(connection.info().snd_wnd == 3000);
  host.inject(peer.segment().ack(start + 1000).window(9000));
  CHECK(connection.unacknowledged_bytes() == 1000);
  CHECK(connection.info().snd_wnd == 3000);

  // The same acknowledgement on two segments that change their order: SND.WL1 decides.
  host.inject(peer.segment().seq(peer.seq + 10).ack(start + 2000).window(5000).payload("later"));
  CHECK(connection.info().snd_wnd == 5000);
  host.inject(peer.segment().ack(start + 2000).window(7000).payload("0123456789"));
  CHECK(connection.info().snd_wnd == 5000);
  // Nor does new data behind which an old acknowledgement comes.
  host.inject(peer.segment().seq(peer.seq + 15).ack(start + 1000).window(9000).payload("!"));
  CHECK(connection.info().snd_wnd == 5000);
  CHECK(read_all(connection) == "0123456789later!");
}

TEST_CASE("an ACK from further back than the largest window is answered, its data discarded",
          "[conformance][FSM-36]") {
  Server server{{.mss = 500, .window = 1000}};
  auto& [host, listener, peer, connection] = server;
  for (int i = 0; i < 3; ++i) {
    connection.send(as_bytes(std::string(1000, 'x')));
    host.turn();
    while (!host.silent()) peer.receive();
    peer.acknowledge();
  }
  CHECK(connection.unacknowledged_bytes() == 0);  // SND.UNA is peer.ack, MAX.SND.WND is 1000
  host.inject(peer.segment().ack(peer.ack - 1001).payload("old"));
  CHECK(matches(host.take(), ack_of(peer)));
  CHECK(host.silent());
  CHECK(connection.readable_bytes() == 0);
  host.inject(peer.segment().ack(peer.ack - 1000).payload("good"));
  CHECK(read_all(connection) == "good");
}

TEST_CASE("an ACK of data that was never sent is answered and discarded", "[conformance][FSM-37]") {
  const TcpState state = any_but_time_wait();
  CAPTURE(name(state));
  Server server;
  reach(server, state);
  auto& [host, listener, peer, connection] = server;
  const std::uint32_t cwnd = connection.info().snd_cwnd;
  for (const std::uint32_t ahead : {1U, 1000U, 0x7000'0000U}) {
    host.inject(peer.segment().ack(peer.ack + ahead).window(1).payload("data"));
    CHECK(matches(host.take(), ack_of(peer)));  // RCV.NXT has not moved
    CHECK(host.silent());
    CHECK(connection.state() == state);
    CHECK(connection.readable_bytes() == 0);
    CHECK(connection.info().snd_cwnd == cwnd);
    CHECK(connection.info().snd_wnd == 65'535);
  }
}

TEST_CASE("an in-order FIN is acknowledged, and read after all data", "[conformance][FSM-38]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  host.inject(peer.segment().fin().payload("last words"));
  CHECK(matches(host.take(), expect.flags("A").ack(peer.seq + 11)));
  CHECK(connection.state() == TcpState::close_wait);
  const auto event = host.stack.next_event();
  REQUIRE(event.has_value());
  CHECK(has(event->flags, EventFlags::end));
  CHECK_FALSE(connection.at_end());
  CHECK(read_all(connection) == "last words");
  CHECK(connection.at_end());
  std::byte buffer[1];
  CHECK(connection.receive(buffer).error == Errc::end_of_stream);
}

TEST_CASE("a FIN beyond a gap waits until the gap is filled", "[conformance][FSM-39]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  host.inject(peer.segment().seq(peer.seq + 5).fin().payload("world"));
  CHECK(matches(host.take(), ack_of(peer)));
  CHECK(connection.state() == TcpState::established);
  CHECK_FALSE(connection.at_end());
  // What lies at and beyond that FIN is no data.
  for (const std::uint32_t past : {10U, 11U}) {
    host.inject(peer.segment().seq(peer.seq + past).payload("beyond"));
    CHECK(matches(host.take(), ack_of(peer)));
  }
  host.inject(peer.segment().payload("hello"));
  CHECK(matches(host.take(), expect.flags("A").ack(peer.seq + 11)));
  CHECK(connection.state() == TcpState::close_wait);
  CHECK(read_all(connection) == "helloworld");
  CHECK(connection.at_end());
}

TEST_CASE("bytes past a received FIN are acknowledged and ignored", "[conformance][FSM-39]") {
  const TcpState state =
      GENERATE(TcpState::close_wait, TcpState::closing, TcpState::last_ack, TcpState::time_wait);
  CAPTURE(name(state));
  Server server;
  reach(server, state);
  auto& [host, listener, peer, connection] = server;
  host.inject(peer.segment().ack(peer.ack - 1).payload("beyond"));  // our FIN is not acknowledged
  CHECK(matches(host.take(), ack_of(peer)));
  CHECK(connection.state() == state);
  CHECK(connection.readable_bytes() == 0);
}
