// SPDX-License-Identifier: BSL-1.0

// Who agrees to explicit congestion notification: RFC 3168 6.1.1.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

#include <optional>
#include <string_view>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

constexpr std::uint8_t not_ect = 0, ect0 = 2, ce = 3;

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
  const auto flags = GENERATE(values<TcpFlags>(
      {TcpFlags::none, TcpFlags::ece, TcpFlags::cwr, TcpFlags::ece | TcpFlags::cwr}));
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
