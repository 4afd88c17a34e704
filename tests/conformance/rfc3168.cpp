// SPDX-License-Identifier: BSL-1.0

// Explicit congestion notification: RFC 3168 6.1, RFC 8311.
#include "../support/sending.hpp"
#include <tunic/device/router.hpp>
#include <tunic/testing/expect.hpp>

#include <initializer_list>
#include <string>
#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::Expectation;
using testing::matches;

namespace {

constexpr std::uint8_t not_ect = 0, ect1 = 1, ect0 = 2, ce = 3;

StackConfig with(Ecn setting) {
  StackConfig config = host_config();
  config.tcp.ecn = setting;
  return config;
}

/// What a peer asks with.
SegmentBuilder asking(const SegmentBuilder& syn) { return syn.ece().cwr(); }

/// A host that has sent a SYN which asks.
struct Client {
  Host host;
  Peer peer{host};
  TcpConnection connection;

  explicit Client(Ecn setting = Ecn::always)
      : host{with(setting)},
        connection{host.stack.connect({.remote = peer.here(), .local_port = 80})} {
    host.turn();
  }
  TcpSegment take_syn() {
    const TcpSegment syn = host.take_tcp();
    peer.learn(syn);
    return syn;
  }
  /// The peer's SYN+ACK with more flags, and the ACK of it.
  void answer(TcpFlags more) {
    host.inject(peer.syn().ack(peer.ack).flags(TcpFlags::syn | TcpFlags::ack | more));
    peer.seq = SeqNum{peer.options.isn} + 1;
    REQUIRE(matches(host.take(), expect.flags(".").ecn(not_ect)));
    REQUIRE(connection.state() == TcpState::established);
  }
  Decoded send(std::string_view text) {
    connection.send(as_bytes(text));
    host.turn();
    return host.take();
  }
};

/// A sender in units of 1000 bytes whose peer has asked.
struct Marked : Sending {
  explicit Marked(PeerOptions options = {.sack = true}, StackConfig config = patient())
      : Sending{asks(options), std::move(config)} {
    REQUIRE(info().ecn);
  }
  using Sending::tell;
  /// Acknowledges with ECE.
  void echo(std::uint32_t number) { host.inject(ack(number).ece()); }
  void echo(std::uint32_t number, Block block) { host.inject(ack(number, block).ece()); }
  /// The numbers of those that left with CWR since the last look; all are new data, and ECT.
  Segments sent_with_cwr() {
    Segments numbers;
    for (const Decoded& packet : host.take_all()) {
      CHECK(matches(packet, expect.ecn(ect0)));
      if (packet.tcp->has(TcpFlags::cwr))
        numbers.push_back(static_cast<std::uint32_t>(packet.tcp->seq - first) / unit);
    }
    return numbers;
  }

 private:
  static PeerOptions asks(PeerOptions options) {
    options.ecn = true;
    return options;
  }
};

/// A host that listens, and a connection whose peer has asked.
Server receiver(PeerOptions options = {}, StackConfig config = host_config()) {
  options.ecn = true;
  return Server{options, std::move(config)};
}

}  // namespace

TEST_CASE("a SYN asks with ECE and CWR, and only ECE alone agrees", "[conformance][3168-01]") {
  struct Answer {
    TcpFlags flags;
    bool agrees;
  };
  const auto answer =
      GENERATE(Answer{TcpFlags::ece, true}, Answer{TcpFlags::none, false},
               Answer{TcpFlags::ece | TcpFlags::cwr, false}, Answer{TcpFlags::cwr, false});
  CAPTURE(to_text(answer.flags));
  Client client;
  CHECK(client.take_syn().flags == (TcpFlags::syn | TcpFlags::ece | TcpFlags::cwr));
  client.answer(answer.flags);
  CHECK(client.connection.info().ecn == answer.agrees);
  CHECK(matches(client.send("data"), expect.flags("P.").ecn(answer.agrees ? ect0 : not_ect)));
}

TEST_CASE("a SYN that asks is answered with ECE, any other with neither flag",
          "[conformance][3168-01]") {
  const auto flags =
      GENERATE(TcpFlags::none, TcpFlags::ece, TcpFlags::cwr, TcpFlags::ece | TcpFlags::cwr);
  const auto setting = GENERATE(Ecn::off, Ecn::when_asked, Ecn::always);
  const bool agrees = flags == (TcpFlags::ece | TcpFlags::cwr) && setting != Ecn::off;
  CAPTURE(to_text(flags), int(setting));
  Host host{with(setting)};
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  host.inject(peer.syn().flags(TcpFlags::syn | flags));
  const TcpSegment answer = host.take_tcp();
  CHECK(answer.flags ==
        (TcpFlags::syn | TcpFlags::ack | (agrees ? TcpFlags::ece : TcpFlags::none)));
  peer.learn(answer);
  peer.seq += 1;
  peer.finish();
  auto connection = listener.accept();
  REQUIRE(connection);
  CHECK(connection->info().ecn == agrees);
}

TEST_CASE("a SYN does not ask unless it is told to", "[conformance][3168-01]") {
  const auto setting = GENERATE(Ecn::off, Ecn::when_asked);
  Client client{setting};
  CHECK(client.take_syn().flags == TcpFlags::syn);
  client.answer(TcpFlags::ece);  // which nobody has asked for
  CHECK_FALSE(client.connection.info().ecn);
  CHECK(matches(client.send("data"), expect.ecn(not_ect)));
}

TEST_CASE("of two SYNs that cross both have to ask", "[conformance][3168-01]") {
  const bool we_ask = GENERATE(true, false);
  const bool peer_asks = GENERATE(true, false);
  CAPTURE(we_ask, peer_asks);
  Client client{we_ask ? Ecn::always : Ecn::when_asked};
  Peer& peer = client.peer;
  client.take_syn();
  client.host.inject(peer_asks ? asking(peer.syn()) : peer.syn());
  const bool both = we_ask && peer_asks;
  CHECK(matches(client.host.take(), expect.flags(both ? "SE." : "S.").ecn(not_ect)));
  peer.seq = SeqNum{peer.options.isn} + 1;
  SECTION("and then to agree") {
    const bool agrees = GENERATE(true, false);
    CAPTURE(agrees);
    const auto answer = peer.syn().ack(peer.ack);
    client.host.inject(agrees ? answer.ece() : answer);
    CHECK(client.connection.state() == TcpState::established);
    CHECK(client.connection.info().ecn == (both && agrees));
    CHECK(client.host.stack.stats().tcp.ecn_reductions == 0);
  }
  SECTION("a mere ACK ends it too") {
    peer.finish();
    CHECK(client.connection.info().ecn == both);
  }
}

TEST_CASE("a SYN cookie keeps ECN in the timestamp, and refuses it without one",
          "[conformance][3168-01][4987-02]") {
  const bool stamped = GENERATE(true, false);
  CAPTURE(stamped);
  Host host;
  auto listener = host.stack.listen({.port = 80, .syn_backlog = 0});
  Peer peer{host, {.timestamp = stamped ? std::optional{5000U} : std::nullopt}};
  host.inject(asking(peer.syn()));
  const Decoded answer = host.take();
  CHECK(matches(answer, expect.flags(stamped ? "SE." : "S.").ecn(not_ect)));
  CHECK(host.stack.stats().tcp.cookies_sent == 1);
  peer.learn(*answer.tcp);
  peer.seq += 1;
  peer.finish();
  auto connection = listener.accept();
  REQUIRE(connection);
  CHECK(connection->info().ecn == stamped);
  connection->send(as_bytes("data"));
  host.turn();
  CHECK(matches(host.take(), expect.payload("data").ecn(stamped ? ect0 : not_ect)));
}

TEST_CASE("a SYN that waits for the user's verdict has asked", "[conformance][3168-01]") {
  const bool repeated = GENERATE(false, true);  // without asking
  CAPTURE(repeated);
  Host host;
  auto listener = host.stack.listen({.port = 80, .decide_syns = true});
  Peer peer{host};
  host.inject(asking(peer.syn()));
  if (repeated) host.inject(peer.syn());
  const auto waiting = listener.next_syn();
  REQUIRE(waiting);
  CHECK(waiting->info.ecn == !repeated);
  CHECK(listener.decide(waiting->id, SynVerdict::accept));
  host.turn();
  CHECK(matches(host.take(), expect.flags(repeated ? "S." : "SE.")));
}

TEST_CASE("SYN, SYN+ACK, RST and a bare FIN are not ECT", "[conformance][3168-02]") {
  Client client;
  const Decoded syn = client.host.take();
  CHECK(matches(syn, expect.flags("SEW").ecn(not_ect)));
  client.peer.learn(*syn.tcp);
  SECTION("nor is the SYN+ACK of a simultaneous open") {
    client.host.inject(asking(client.peer.syn()));
    CHECK(matches(client.host.take(), expect.flags("SE.").ecn(not_ect)));
  }
  SECTION("nor is what ends it") {
    client.answer(TcpFlags::ece);
    client.connection.shutdown_send();
    client.host.turn();
    CHECK(matches(client.host.take(), expect.flags("F.").ecn(not_ect)));
    client.connection.abort();
    client.host.turn();
    CHECK(matches(client.host.take(), expect.flags("R.").ecn(not_ect)));
  }
  SECTION("nor is the SYN+ACK of a listener, sent again or not") {
    Host host;
    auto listener = host.stack.listen({.port = 80});
    host.inject(asking(Peer{host}.syn()));
    CHECK(matches(host.take(), expect.flags("SE.").ecn(not_ect)));
    host.advance(1s);
    CHECK(matches(host.take(), expect.flags("SE.").ecn(not_ect)));
  }
}

TEST_CASE("a SYN that asks and is lost is sent again without asking", "[conformance][3168-03]") {
  Client client;
  const TcpSegment syn = client.take_syn();
  client.host.advance(1s);
  CHECK(matches(client.host.take(), expect.flags("S").seq(syn.seq)));
  SECTION("then nothing is sent ECT") {
    client.answer(TcpFlags::none);
    CHECK_FALSE(client.connection.info().ecn);
  }
  SECTION("also when the first is answered after all; but marks are echoed (6.1.1)") {
    client.answer(TcpFlags::ece);
    CHECK(matches(client.send("data"), expect.ecn(not_ect)));
    client.host.inject(client.peer.segment().payload("marked").tos(ce));
    CHECK(matches(client.host.take(), expect.flags("E.")));
  }
}

TEST_CASE("a reset in answer to a SYN that asks is followed by one that does not",
          "[conformance][3168-03]") {
  Client client;
  const TcpSegment syn = client.take_syn();
  const auto reset = client.peer.bare().rst().ack(client.peer.ack);
  client.host.inject(reset);
  CHECK(matches(client.host.take(), expect.flags("S").seq(syn.seq)));
  CHECK(client.connection.state() == TcpState::syn_sent);
  SECTION("which connects") {
    client.answer(TcpFlags::none);
    CHECK(matches(client.send("data"), expect.ecn(not_ect)));
  }
  SECTION("or is refused too") {
    client.host.inject(reset);
    CHECK(client.connection.error() == Errc::connection_refused);
  }
  SECTION("and so is one that is no answer to it ignored") {
    client.host.inject(client.peer.bare().rst().ack(client.peer.ack + 1));
    CHECK(client.connection.state() == TcpState::syn_sent);
  }
}

TEST_CASE("a listener that sees a SYN again without the flags gives ECN up",
          "[conformance][3168-03]") {
  const bool asked_first = GENERATE(true, false);
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  host.inject(asked_first ? asking(peer.syn()) : peer.syn());
  CHECK(matches(host.take(), expect.flags(asked_first ? "SE." : "S.")));
  host.inject(asked_first ? peer.syn() : asking(peer.syn()));
  const TcpSegment answer = host.take_tcp();
  CHECK(answer.flags == (TcpFlags::syn | TcpFlags::ack));
  peer.learn(answer);
  peer.seq += 1;
  peer.finish();
  CHECK_FALSE(listener.accept()->info().ecn);
}

TEST_CASE("new data is ECT(0), beside the user's DSCP", "[conformance][3168-04][SHLD-8]") {
  const bool agreed = GENERATE(true, false);
  const std::uint8_t dscp = 46;
  ConnectionOptions options;
  options.dscp = dscp;
  Server server{{.ecn = agreed}, host_config(), options};
  server.connection.send(as_bytes("data"));
  server.host.turn();
  CHECK(matches(server.host.take(), expect.payload("data").tos(static_cast<std::uint8_t>(
                                        dscp << 2 | (agreed ? ect0 : not_ect)))));
}

TEST_CASE("a mark is echoed on every ACK until CWR comes", "[conformance][3168-05]") {
  Server server = receiver();
  auto& [host, listener, peer, connection] = server;
  const auto segment = [&peer = peer](std::uint8_t ecn) {
    const auto built = peer.segment().payload("data").tos(ecn);
    peer.seq += 4;
    return built;
  };
  const auto answer = [&host = host](const SegmentBuilder& arrives) {
    host.inject(arrives);
    host.advance(40ms);
    const Decoded packet = host.take();
    CHECK(host.silent());
    return packet;
  };
  CHECK(matches(answer(segment(ect0)), expect.flags(".")));
  CHECK(matches(answer(segment(ect1)), expect.flags(".")));
  CHECK(matches(answer(segment(ce)), expect.flags("E.")));
  for (int i = 0; i < 3; ++i) CHECK(matches(answer(segment(ect0)), expect.flags("E.")));
  SECTION("data carries it too, and a retransmission") {
    connection.send(as_bytes("reply"));
    host.turn();
    CHECK(matches(host.take(), expect.flags("PE.").payload("reply")));
    host.advance(1s);
    CHECK(matches(host.take(), expect.flags("PE.").payload("reply").ecn(not_ect)));
  }
  SECTION("CWR ends it") {
    CHECK(matches(answer(segment(ect0).cwr()), expect.flags(".")));
    CHECK(matches(answer(segment(ect0)), expect.flags(".")));
  }
  SECTION("CWR on a mark does not") {
    CHECK(matches(answer(segment(ce).cwr()), expect.flags("E.")));
    CHECK(matches(answer(segment(ect0)), expect.flags("E.")));
    CHECK(matches(answer(segment(ect0).cwr()), expect.flags(".")));
  }
  SECTION("CWR without new data does not either") {
    host.inject(peer.segment().cwr());
    CHECK(matches(answer(segment(ect0)), expect.flags("E.")));
  }
  SECTION("a mark and a later CWR that are read in one turn are both told") {
    CHECK(matches(answer(segment(ect0).cwr()), expect.flags(".")));
    host.inject_all({segment(ce).packet(), segment(ect0).cwr().packet()});
    CHECK(matches(host.take(), expect.flags("E.").ack(peer.seq)));
    CHECK(host.silent());
    CHECK(matches(answer(segment(ect0)), expect.flags(".")));
  }
  CHECK(host.stack.stats().tcp.ce_in == connection.info().received_ce);
  CHECK(connection.info().received_ce >= 1);
}

TEST_CASE("where marks begin and end, and at a CWR, the ACK is not delayed",
          "[conformance][3168-05]") {
  Server server = receiver();
  auto& [host, listener, peer, connection] = server;
  struct Row {
    std::uint8_t ecn;
    bool cwr, at_once;
  };
  for (const Row& row : {Row{ect0, false, false}, Row{ce, false, true}, Row{ce, false, false},
                         Row{ect0, false, true}, Row{ect0, false, false}, Row{ect0, true, true}}) {
    const auto built = peer.segment().payload("data").tos(row.ecn);
    host.inject(row.cwr ? built.cwr() : built);
    peer.seq += 4;
    CHECK(host.silent() == !row.at_once);
    host.advance(40ms);
    CHECK(host.take_all().size() == 1);
  }
}

TEST_CASE("a mark on one fragment is a mark on the segment", "[conformance][3168-05]") {
  const bool marked = GENERATE(true, false);
  Server server = receiver();
  auto fragments = testing::fragments(
      server.peer.segment().payload(std::string(100, 'x')).tos(ect0).packet(), 68);
  REQUIRE(fragments.size() > 1);
  if (marked) REQUIRE(router::mark_congestion(fragments.back()));
  server.host.inject_all(fragments);
  server.host.advance(40ms);
  CHECK(matches(server.host.take(), expect.flags(marked ? "E." : ".").ack(server.peer.seq + 100)));
}

TEST_CASE("nobody echoes marks who has not agreed to", "[conformance][3168-05]") {
  Server server;
  server.host.inject(server.peer.segment().payload("data").tos(ce));
  server.host.advance(40ms);
  CHECK(matches(server.host.take(), expect.flags(".")));
  CHECK(server.host.stack.stats().tcp.ce_in == 0);
}

TEST_CASE("ECE reduces the window once a round trip, and CWR says so on the next new data",
          "[conformance][3168-06][SHLD-8]") {
  Marked sending;
  sending.write(40);
  REQUIRE(sending.sent().size() == 10);
  sending.until(100ms);
  sending.echo(1);
  CHECK(sending.cwnd() == 5);
  CHECK(sending.ssthresh() == 5);
  for (std::uint32_t i = 2; i <= 10; ++i) sending.echo(i);
  CHECK(sending.cwnd() == 5);  // it does not grow either
  CHECK(sending.info().ecn_reductions == 1);
  CHECK(sending.stats().ecn_reductions == 1);
  CHECK(sending.sent_with_cwr() == Sending::Segments{10});
  SECTION("the next round trip may bring another") {
    sending.until(200ms);
    sending.tell(11);
    CHECK(sending.sent_with_cwr().empty());
    sending.echo(12);
    CHECK(sending.info().ecn_reductions == 2);
    CHECK(sending.cwnd() == 2.5);
    sending.tell(15);
    CHECK(sending.sent_with_cwr().size() == 1);
  }
  SECTION("and without one the window grows again") {
    sending.until(200ms);
    sending.tell(15);
    sending.tell(20);
    CHECK(sending.info().ecn_reductions == 1);
    CHECK(sending.cwnd() > 5);
  }
  CHECK(sending.stats().retransmissions == 0);
}

TEST_CASE("an ECE that comes late, or from a peer that has not agreed, is ignored",
          "[conformance][3168-06]") {
  SECTION("in an old segment") {
    Marked sending;
    sending.write(40);
    sending.until(100ms);
    sending.tell(5);
    sending.echo(4);
    CHECK(sending.info().ecn_reductions == 0);
  }
  SECTION("while nothing is outstanding") {
    Marked sending;
    sending.echo(0);
    CHECK(sending.info().ecn_reductions == 0);
  }
  SECTION("without agreement") {
    Sending sending;
    sending.write(40);
    sending.until(100ms);
    sending.host.inject(sending.ack(5).ece());
    CHECK(sending.cwnd() > 10);
  }
}

TEST_CASE("a window of one segment is not reduced: new data waits for the timer",
          "[conformance][3168-06]") {
  StackConfig config = patient();
  config.tcp.initial_window = 1;
  Marked sending{{.sack = true}, config};
  sending.write(3);
  REQUIRE(sending.sent() == Sending::Segments{0});
  sending.until(100ms);
  sending.echo(1);
  CHECK(sending.cwnd() == 1);
  sending.until(1099ms);
  CHECK(sending.sent().empty());
  sending.until(1100ms);
  CHECK(sending.sent_with_cwr() == Sending::Segments{1});
  CHECK(sending.stats().timeouts == 0);
  sending.until(1200ms);
  SECTION("as long as marks come") {
    sending.echo(2);
    CHECK(sending.cwnd() == 1);
    sending.until(2199ms);
    CHECK(sending.sent().empty());
    sending.until(2200ms);
    CHECK(sending.sent_with_cwr() == Sending::Segments{2});
  }
  SECTION("and no longer") {
    sending.tell(2);
    CHECK(sending.sent() == Sending::Segments{2});
    CHECK(sending.cwnd() == 2);
  }
}

TEST_CASE("data that is written, and a FIN, while the sender waits for the timer wait too",
          "[conformance][3168-06]") {
  StackConfig config = patient();
  config.tcp.initial_window = 1;
  Marked sending{{.sack = true}, config};
  sending.write(1);
  sending.sent();
  sending.until(100ms);
  sending.echo(1);
  sending.until(500ms);
  sending.write(1);
  sending.connection.shutdown_send();
  sending.until(1099ms);
  CHECK(sending.host.silent());
  sending.until(1100ms);
  CHECK(matches(sending.host.take(), expect.flags("FPW.").ecn(ect0).payload_size(1000)));
}

TEST_CASE("a sender that waits for the timer does not probe before", "[conformance][3168-06]") {
  StackConfig config = patient();
  config.tcp.initial_window = 1;
  Marked sending{{.sack = true}, config};
  sending.write(3);
  sending.sent();
  sending.until(100ms);
  sending.host.inject(sending.peer.segment().ack(sending.first + 500).ece());
  sending.until(1099ms);
  CHECK(sending.host.silent());
  sending.until(1100ms);
  CHECK(matches(sending.host.take(), expect.seq(sending.first + 500).ecn(not_ect)));
}

TEST_CASE("a loss and a mark in one window reduce once", "[conformance][3168-06]") {
  Marked sending;
  sending.write(40);
  sending.sent();
  sending.until(100ms);
  SECTION("the mark first") {
    sending.echo(1);
    REQUIRE(sending.cwnd() == 5);
    sending.echo(1, {2, 6});
    CHECK(sending.info().in_recovery);
    CHECK(sending.ssthresh() == 5);
  }
  SECTION("the loss first") {
    sending.tell(0, {1, 5});
    REQUIRE(sending.info().in_recovery);
    REQUIRE(sending.ssthresh() == 5);
    sending.echo(0, {1, 6});
    CHECK(sending.ssthresh() == 5);
    CHECK(sending.info().ecn_reductions == 0);
  }
  SECTION("both in one acknowledgement") {
    sending.echo(0, {1, 5});
    CHECK(sending.info().in_recovery);
    CHECK(sending.ssthresh() == 5);
    CHECK(sending.info().ecn_reductions == 0);
  }
  sending.until(150ms);
  sending.echo(10);
  CHECK_FALSE(sending.info().in_recovery);
  CHECK(sending.ssthresh() == 5);
  CHECK(sending.stats().fast_retransmits == 1);
}

TEST_CASE("a reduction for a loss is told by CWR as well", "[conformance][3168-06]") {
  Marked sending;
  sending.write(40);
  sending.sent();
  SECTION("found by acknowledgements") {
    sending.until(100ms);
    sending.tell(0, {1, 5});
  }
  SECTION("by the timer") {
    sending.until(3s);
    sending.sent();
    sending.tell(10);
  }
  bool told = false;
  for (const Decoded& packet : sending.host.take_all()) {
    if (packet.tcp->seq < sending.at(10)) {  // sent again
      CHECK(matches(packet, expect.without_flags("W").ecn(not_ect)));
    } else {
      told = told || packet.tcp->has(TcpFlags::cwr);
    }
  }
  if (!told) {
    sending.tell(10);
    told = !sending.sent_with_cwr().empty();
  }
  CHECK(told);
}

TEST_CASE("what was reduced for a mark stays so when a loss turns out to have been none",
          "[conformance][3168-06]") {
  Marked sending{{.sack = true, .timestamp = 1}};
  sending.write(30);
  sending.sent();
  const std::uint32_t first_echo = sending.peer.tsecr;
  sending.until(100ms);
  SECTION("a mark before the loss") {
    sending.echo(1);
    sending.tell(1, {2, 6});
    REQUIRE(sending.info().in_recovery);
    sending.sent();
    sending.until(110ms);
    sending.peer.tsecr = first_echo;
    sending.tell(6);
    sending.tell(10);
    CHECK(sending.ssthresh() == 5);
  }
  SECTION("a mark in the recovery") {
    sending.tell(0, {1, 4});
    REQUIRE(sending.info().in_recovery);
    sending.echo(0, {1, 5});
    sending.sent();
    sending.until(110ms);
    sending.peer.tsecr = first_echo;
    sending.tell(5);
    REQUIRE(sending.stats().spurious_recoveries == 1);
    CHECK(sending.info().ecn_reductions == 1);
    CHECK(sending.ssthresh() <= 5);
  }
  SECTION("a mark in a recovery that is found out after its end") {
    sending.peer.tsecr = 0;  // no echo
    sending.tell(0, {1, 4});
    sending.echo(0, {1, 5});
    REQUIRE(sending.ssthresh() == 5);
    sending.until(110ms);
    sending.tell(10);
    sending.tell(10, {0, 1});
    CHECK(sending.info().dsack_dups == 1);
    CHECK(sending.ssthresh() == 5);
  }
  SECTION("and without a mark it is restored") {
    sending.tell(0, {1, 4});
    sending.sent();
    sending.until(110ms);
    sending.peer.tsecr = first_echo;
    sending.tell(4);
    CHECK(sending.info().snd_ssthresh == 0xffffffff);
  }
}

TEST_CASE("pure ACKs, retransmissions and probes are not ECT", "[conformance][3168-07]") {
  SECTION("an ACK") {
    Server server = receiver();
    server.peer.send("data");
    server.host.advance(40ms);
    CHECK(matches(server.host.take(), expect.flags(".").ecn(not_ect)));
  }
  SECTION("a fast retransmission and one by the timer") {
    Marked sending;
    sending.write(40);
    sending.sent();
    sending.until(100ms);
    sending.tell(0, {1, 5});
    CHECK(matches(sending.host.take(), expect.seq(sending.at(0)).ecn(not_ect)));
    sending.host.forget_sent();
    sending.until(5s);
    for (const Decoded& packet : sending.host.take_all())
      CHECK(matches(packet, expect.ecn(packet.tcp->seq < sending.at(10) ? not_ect : ect0)));
  }
  SECTION("a tail loss probe, unless it is new data") {
    const bool more = GENERATE(false, true);
    CAPTURE(more);
    Marked sending;
    sending.exchange();
    sending.write(more ? 30 : 4);
    const auto last = static_cast<std::uint32_t>(sending.sent().back());
    sending.until(300ms);
    CHECK(sending.stats().tail_probes == 1);
    CHECK(matches(sending.host.take(),
                  expect.seq(sending.at(more ? last + 1 : last)).ecn(more ? ect0 : not_ect)));
  }
  SECTION("a window probe") {
    Server server = receiver();
    server.host.inject(server.peer.segment().window(0));
    server.connection.send(as_bytes("data"));
    server.host.advance(2s);
    CHECK(server.host.stack.stats().tcp.zero_window_probes > 0);
    CHECK(matches(server.host.take(), expect.no_payload().ecn(not_ect)));
  }
  SECTION("a keep-alive") {
    ConnectionOptions options;
    options.keepalive = {.enabled = true, .garbage_byte = GENERATE(false, true)};
    Server server{{.ecn = true}, host_config(), options};
    server.host.advance(2h);
    CHECK(matches(server.host.take(), expect.ecn(not_ect)));
  }
}

TEST_CASE("a mark outside of the window is ignored", "[conformance][3168-08]") {
  Server server = receiver();
  auto& [host, listener, peer, connection] = server;
  peer.send("data");
  const auto old = peer.segment().seq(peer.seq - 4).payload("data");
  const auto beyond = peer.segment().seq(peer.seq + 70'000).payload("data");
  const auto data = GENERATE_COPY(old, beyond);
  host.inject(data.tos(ce));
  CHECK(matches(host.take(), expect.flags(".").ack(peer.seq)));
  CHECK(host.stack.stats().tcp.ce_in == 0);
  host.inject(data.cwr().tos(ce));
  CHECK(matches(host.take(), expect.flags(".")));
  SECTION("and so is a CWR") {
    host.inject(peer.segment().payload("new").tos(ce));
    peer.seq += 3;
    CHECK(matches(host.take(), expect.flags("E.")));
    host.inject(peer.segment().seq(peer.seq - 3).payload("new").cwr());
    CHECK(matches(host.take(), expect.flags("E.")));
  }
}

TEST_CASE("the nonce bit is ignored, and never sent", "[conformance][8311-01]") {
  const bool asks = GENERATE(true, false);
  CAPTURE(asks);
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  const auto with_nonce_bit = [](const SegmentBuilder& built) {
    Packet packet = built.packet();
    packet[20 + 12] |= std::byte{1};
    testing::repair_checksums(packet);
    return packet;
  };
  const auto nonce_bit_of = [](const Decoded& packet) {
    return ((*packet.bytes)[20 + 12] & std::byte{1}) != std::byte{0};
  };
  host.inject(with_nonce_bit(asks ? asking(peer.syn()) : peer.syn()));
  const Decoded answer = host.take();
  CHECK(matches(answer, expect.flags(asks ? "SE." : "S.")));
  CHECK_FALSE(nonce_bit_of(answer));
  peer.learn(*answer.tcp);
  peer.seq += 1;
  host.inject(with_nonce_bit(peer.segment()));
  auto connection = listener.accept();
  REQUIRE(connection);
  CHECK(connection->info().ecn == asks);
  host.inject(with_nonce_bit(peer.segment().payload("data").tos(ect1)));
  CHECK(read_all(*connection) == "data");
  connection->send(as_bytes("reply"));
  host.turn();
  const Decoded reply = host.take();
  CHECK(matches(reply, expect.flags("P.").payload("reply")));
  CHECK_FALSE(nonce_bit_of(reply));
}

TEST_CASE("a mark is answered by the controller's factor for losses", "[conformance][8311-02]") {
  SECTION("a half with NewReno") {
    Marked sending;
    sending.write(40);
    sending.until(100ms);
    sending.echo(1);
    CHECK(sending.ssthresh() == 5);
    CHECK(sending.cwnd() == 5);
  }
  SECTION("0.7 with CUBIC") {
    Server server = receiver({.mss = std::uint16_t{1000}});
    server.connection.send(as_bytes(std::string(20'000, 'x')));
    server.host.advance(10ms);
    REQUIRE(server.connection.info().in_flight == 10'000);
    server.host.inject(server.peer.segment().ack(server.peer.ack + 1000).ece());
    CHECK(server.connection.info().snd_ssthresh == 7000);
    CHECK(server.connection.info().snd_cwnd == 7000);
  }
}
