// SPDX-License-Identifier: BSL-1.0

// Segments that meet no connection: RFC 9293 3.10.7.1 (CLOSED) and 3.10.7.2 (LISTEN).

#include "../support/host.hpp"

#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

TEST_CASE("a segment with ACK to an unused port draws a bare RST from its ACK number",
          "[conformance][FSM-01]") {
  Host host;
  Peer peer{host};
  const auto acked = peer.bare().seq(100).ack(500).window(1000);
  for (const auto& segment :
       {acked, acked.psh().payload("data"), acked.syn(), acked.fin(), acked.syn().fin()}) {
    host.inject(segment);
    const auto reset = expect.flags("R").seq(500).window(0).no_payload();
    CHECK(matches(host.take(), reset.from(peer.there()).to(peer.here())));
    CHECK(host.silent());
  }
  CHECK(host.stack.stats().gauges.connections == 0);
}

TEST_CASE("a segment without ACK to an unused port draws RST and ACK of all that it occupies",
          "[conformance][FSM-02]") {
  Host host;
  Peer peer{host};
  const auto bare = peer.bare().seq(100);
  const auto reset = expect.flags("RA").seq(0).window(0).no_payload();
  host.inject(bare.syn());
  CHECK(matches(host.take(), reset.ack(101)));
  host.inject(bare.syn().fin().payload("12345"));
  CHECK(matches(host.take(), reset.ack(107)));
  host.inject(bare.payload("123"));
  CHECK(matches(host.take(), reset.ack(103)));
  host.inject(bare.fin());
  CHECK(matches(host.take(), reset.ack(101)));
  host.inject(bare);
  CHECK(matches(host.take(), reset.ack(100)));
  CHECK(host.silent());
}

TEST_CASE("a listener ignores RST, resets an ACK, and drops what is neither SYN nor ACK",
          "[conformance][FSM-04]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  const auto bare = peer.bare().seq(100);
  for (const auto& reset :
       {bare.rst(), bare.rst().ack(500), bare.rst().syn(), bare.rst().payload("x")}) {
    host.inject(reset);
    CHECK(host.silent());
  }
  for (const auto& acked :
       {bare.ack(500), bare.ack(500).syn(), bare.ack(500).payload("x"), bare.ack(500).fin()}) {
    host.inject(acked);
    CHECK(matches(host.take(), expect.flags("R").seq(500).window(0)));
  }
  for (const auto& useless : {bare, bare.fin(), bare.urgent(1), bare.psh().payload("x")}) {
    host.inject(useless);
    CHECK(host.silent());
  }
  CHECK(host.stack.stats().gauges.connections == 0);
  CHECK(peer.connect_to(listener).state() == TcpState::established);
}

TEST_CASE("a SYN to a listener is answered, and what it set up shows in the segments that follow",
          "[conformance][FSM-05]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host, {.isn = 7000}};
  host.inject(peer.syn());
  const TcpSegment answer = host.take_tcp();
  CHECK(matches(*host.last, expect.flags("SA").ack(7001).no_payload()));
  CHECK(host.stack.stats().gauges.half_open == 1);
  CHECK_FALSE(listener.accept().has_value());

  const SeqNum iss = answer.seq;
  peer.seq = SeqNum{7001};
  peer.ack = iss + 1;                            // SND.NXT; ISS and ISS+2 are refused: FSM-18
  host.inject(peer.segment().payload("hello"));  // RCV.NXT = 7001
  auto connection = listener.accept();
  REQUIRE(connection.has_value());
  CHECK(connection->state() == TcpState::established);
  CHECK(host.stack.stats().gauges.half_open == 0);
  CHECK(read_all(*connection) == "hello");
  connection->send(as_bytes("x"));
  host.turn();
  CHECK(matches(host.take(), expect.seq(iss + 1).ack(7006).payload("x")));
}

TEST_CASE("payload and FIN on a SYN are not acknowledged, not shown early and not lost",
          "[conformance][FSM-06]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  const bool with_fin = GENERATE(true, false);
  CAPTURE(with_fin);
  const auto syn = peer.syn().payload("0123456789");
  host.inject(with_fin ? syn.fin() : syn);
  const TcpSegment answer = host.take_tcp();
  CHECK(matches(*host.last, expect.flags("SA").ack(1001)));
  CHECK_FALSE(listener.accept().has_value());
  CHECK_FALSE(host.stack.next_event().has_value());
  peer.learn(answer);
  peer.seq += 1;
  peer.finish();
  auto connection = listener.accept();
  REQUIRE(connection.has_value());
  CHECK(connection->state() == TcpState::established);
  CHECK(connection->readable_bytes() == 0);
  // The peer has no ACK of them, so it sends them again.
  host.inject(peer.segment().fin().payload("0123456789"));
  CHECK(matches(host.take(), expect.flags("A").ack(1012)));
  CHECK(read_all(*connection) == "0123456789");
  CHECK(connection->at_end());
}

TEST_CASE("closing a listener resets what nobody accepted and forgets what is half open",
          "[conformance][FSM-07]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  std::vector<Peer> half_open;
  std::vector<Peer> unaccepted;
  for (std::uint16_t port = 1; port <= 5; ++port) {
    auto& peer = (port <= 3 ? half_open : unaccepted).emplace_back(host, PeerOptions{.port = port});
    peer.send_syn();
    if (port > 3) peer.finish();
  }
  CHECK(listener.waiting() == 2);
  listener.close();
  host.turn();
  for (const Peer& peer : unaccepted) {
    CHECK(matches(host.take(), expect.has_flags("R").seq(peer.ack).to(peer.here())));
  }
  CHECK(host.silent());
  CHECK(host.stack.stats().gauges.connections == 0);
  CHECK(host.stack.stats().gauges.half_open == 0);
  CHECK(host.stack.next_deadline() == never);
  for (Peer& peer : half_open) {
    peer.finish();
    CHECK(matches(host.take(), expect.flags("R").seq(peer.ack).to(peer.here())));
  }
}
