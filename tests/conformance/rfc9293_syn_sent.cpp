// SPDX-License-Identifier: BSL-1.0

// Active opens: RFC 9293 3.10.7.3 (SYN-SENT), 3.5 (simultaneous open) and 3.10.4 (CLOSE).

#include "../support/pair.hpp"

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

// A host that has sent its SYN. `peer.ack` is ISS+1.
struct Opening {
  Host host;
  Peer peer;
  TcpConnection connection;

  explicit Opening(PeerOptions options = {})
      : peer{host, options}, connection{peer.receive_syn()} {}
  SegmentBuilder syn_ack() const { return peer.syn().ack(peer.ack); }
};

}  // namespace

TEST_CASE("in SYN-SENT an ACK of nothing that was sent draws RST and changes nothing",
          "[conformance][FSM-08]") {
  Opening opening;
  auto& host = opening.host;
  for (const SeqNum bad : {opening.peer.ack - 1, opening.peer.ack + 1, opening.peer.ack - 1000}) {
    host.inject(opening.peer.syn().ack(bad));
    CHECK(matches(host.take(), expect.flags("R").seq(bad)));
    host.inject(opening.peer.bare().ack(bad));
    CHECK(matches(host.take(), expect.flags("R").seq(bad)));
    host.inject(opening.peer.bare().rst().ack(bad));
    CHECK(host.silent());
    CHECK(opening.connection.state() == TcpState::syn_sent);
  }
  host.inject(opening.syn_ack());
  CHECK(opening.connection.state() == TcpState::established);
}

TEST_CASE("in SYN-SENT a RST with an acceptable ACK refuses the connection",
          "[conformance][FSM-09]") {
  Opening opening;
  opening.host.inject(opening.peer.bare().rst().ack(opening.peer.ack));
  CHECK(opening.connection.state() == TcpState::closed);
  CHECK(opening.connection.error() == Errc::connection_refused);
  CHECK(opening.host.silent());
  CHECK(opening.host.stack.next_deadline() == never);
}

TEST_CASE("in SYN-SENT a RST without ACK is ignored and the SYN is sent again",
          "[conformance][FSM-09]") {
  Opening opening;
  const auto reset = opening.peer.bare().rst();
  for (const auto& segment : {reset, reset.seq(opening.peer.ack), reset.syn()}) {
    opening.host.inject(segment);
    CHECK(opening.host.silent());
    CHECK(opening.connection.state() == TcpState::syn_sent);
  }
  opening.host.advance(1s);
  CHECK(matches(opening.host.take(), expect.flags("S").seq(opening.peer.ack - 1)));
}

TEST_CASE("a good SYN+ACK establishes, is acknowledged, and its options hold from then on",
          "[conformance][FSM-10]") {
  Opening opening{{.mss = 1000, .window = 500, .window_scale = 7, .sack = true, .timestamp = 77}};
  opening.host.inject(opening.syn_ack());
  const auto ack = expect.flags("A").seq(opening.peer.ack).ack(1001).no_payload();
  CHECK(matches(opening.host.take(), ack.timestamp_echo(77)));
  CHECK(opening.host.silent());
  CHECK(opening.connection.state() == TcpState::established);
  const TcpInfo info = opening.connection.info();
  CHECK(info.snd_wnd == 500);  // the window of a SYN is not scaled
  CHECK(info.snd_wscale == 7);
  CHECK(info.snd_mss == 1000 - 12);
  CHECK(info.sack);
}

TEST_CASE("data and FIN on a SYN+ACK are processed after the step into ESTABLISHED",
          "[conformance][FSM-11]") {
  Opening opening;
  opening.host.inject(opening.syn_ack().fin().payload("12345"));
  CHECK(matches(opening.host.take(), expect.flags("A").ack(1007)));
  CHECK(opening.host.silent());
  CHECK(opening.connection.state() == TcpState::close_wait);
  CHECK_FALSE(opening.connection.at_end());
  CHECK(read_all(opening.connection) == "12345");
  CHECK(opening.connection.at_end());
}

TEST_CASE("in SYN-SENT an acceptable ACK without SYN is dropped", "[conformance][FSM-12]") {
  Opening opening;
  const auto ack = opening.peer.bare().seq(1001).ack(opening.peer.ack);
  for (const auto& segment : {ack, ack.payload("data"), ack.fin()}) {
    opening.host.inject(segment);
    CHECK(opening.host.silent());
    CHECK(opening.connection.state() == TcpState::syn_sent);
  }
  opening.host.inject(opening.syn_ack());
  CHECK(opening.connection.state() == TcpState::established);
  CHECK(opening.connection.readable_bytes() == 0);
}

TEST_CASE("closing in SYN-SENT deletes the connection without a packet", "[conformance][FSM-13]") {
  Opening opening;
  opening.connection.close();
  opening.host.turn();
  CHECK(opening.host.silent());
  CHECK(opening.connection.state() == TcpState::closed);
  CHECK(opening.connection.error() == Errc::none);
  CHECK(opening.host.stack.next_deadline() == never);
  opening.host.inject(opening.syn_ack());
  CHECK(matches(opening.host.take(), expect.flags("R").seq(opening.peer.ack)));
}

TEST_CASE("data written in SYN-SENT leaves once the SYN alone is acknowledged",
          "[conformance][FSM-14]") {
  Opening opening;
  const std::string data(100, 'x');
  CHECK(opening.connection.send(as_bytes(data)).bytes == 100);
  opening.host.turn();
  CHECK(opening.host.silent());  // it does not ride on a SYN
  opening.host.inject(opening.syn_ack());
  CHECK(opening.connection.state() == TcpState::established);
  CHECK(matches(opening.host.take(), expect.seq(opening.peer.ack).ack(1001).payload(data)));
}

TEST_CASE("a SYN that nobody answers is repeated with the same ISS until the user hears of it",
          "[conformance][FSM-15]") {
  Opening opening;
  const SeqNum iss = opening.peer.ack - 1;
  unsigned repeated = 0;
  while (opening.connection.state() == TcpState::syn_sent) {
    REQUIRE(opening.host.clock.now() < Instant{600s});
    opening.host.advance(1s);
    for (const Decoded& packet : opening.host.take_all()) {
      CHECK(matches(packet, expect.flags("S").seq(iss)));
      ++repeated;
    }
  }
  CHECK(repeated == opening.host.stack.config().tcp.syn_retries);
  CHECK(opening.connection.error() == Errc::timed_out);
  const auto event = opening.host.stack.next_event();
  REQUIRE(event.has_value());
  CHECK(has(event->flags, EventFlags::error));
}

TEST_CASE("a repeated SYN offers what the first one did, whatever the user changes meanwhile",
          "[conformance][FSM-15]") {
  Host host;
  Peer peer{host, {.window_scale = 7}};
  auto connection = host.stack.connect({.remote = peer.here(), .local_port = 80});
  host.turn();
  const TcpOptions offered = host.take_tcp().options;
  ConnectionOptions options = connection.options();
  options.receive_buffer = 16 * 1024 * 1024;
  connection.set_options(options);
  host.advance(1s);
  const TcpSegment again = host.take_tcp();
  CHECK(again.options.window_scale == offered.window_scale);
  host.inject(peer.syn().ack(again.seq + 1));
  CHECK(connection.info().rcv_wscale == offered.window_scale);
}

TEST_CASE("a SYN in SYN-SENT is answered with SYN+ACK and the same ISS: simultaneous open",
          "[conformance][FSM-16]") {
  const bool with_syn = GENERATE(true, false);
  CAPTURE(with_syn);
  Opening opening;
  auto& host = opening.host;
  host.inject(opening.peer.syn());
  CHECK(matches(host.take(), expect.flags("SA").seq(opening.peer.ack - 1).ack(1001)));
  CHECK(opening.connection.state() == TcpState::syn_received);
  host.inject(with_syn ? opening.syn_ack() : opening.syn_ack().flags(TcpFlags::ack).seq(1001));
  CHECK(opening.connection.state() == TcpState::established);
  CHECK(host.stack.stats().gauges.connections == 1);
  host.advance(10s);
  host.forget_sent();

  opening.peer.seq = SeqNum{1001};
  opening.peer.send("hello");
  CHECK(read_all(opening.connection) == "hello");
  opening.connection.send(as_bytes("hi"));
  host.turn();
  CHECK(matches(host.take(), expect.seq(opening.peer.ack).ack(1006).payload("hi")));
}

TEST_CASE("data on the SYN+ACK of a simultaneous open is read from its first byte",
          "[conformance][FSM-16]") {
  Opening opening;
  opening.host.inject(opening.peer.syn());
  opening.host.forget_sent();
  opening.host.inject(opening.syn_ack().fin().payload("hello"));
  CHECK(read_all(opening.connection) == "hello");
  CHECK(opening.connection.at_end());
  CHECK(matches(opening.host.take(), expect.flags("A").ack(1007)));
}

TEST_CASE("crossing SYNs make one connection, whichever packet of the handshake is lost",
          "[conformance][FSM-25]") {
  const auto lost = GENERATE(as<std::optional<std::size_t>>{}, std::nullopt, 0U, 1U, 2U, 3U);
  CAPTURE(lost.value_or(9999));
  Pair pair;
  pair.lost = lost;
  const Endpoint at_a{host_ip, 1111};
  const Endpoint at_b{peer_ip, 2222};
  auto a = pair.a.stack.connect({.remote = at_b, .local_port = at_a.port});
  auto b = pair.b.stack.connect({.remote = at_a, .local_port = at_b.port});
  pair.a.turn();
  pair.b.turn();
  pair.run(10s);
  CHECK(a.state() == TcpState::established);
  CHECK(b.state() == TcpState::established);
  CHECK(pair.a.stack.stats().gauges.connections == 1);
  CHECK(pair.b.stack.stats().gauges.connections == 1);

  a.send(as_bytes("to b"));
  b.send(as_bytes("to a"));
  pair.a.turn();
  pair.b.turn();
  pair.run(1s);
  CHECK(read_all(a) == "to a");
  CHECK(read_all(b) == "to b");
}
