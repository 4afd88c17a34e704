// SPDX-License-Identifier: BSL-1.0

// Blind attacks from off the path: RFC 5961.
#include "../support/host.hpp"
#include <tunic/device/random.hpp>
#include <tunic/testing/expect.hpp>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

TEST_CASE("a RST resets if it is exact, is challenged in the window, and is dropped outside of it",
          "[conformance][5961-01]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  const std::uint32_t window = connection.info().rcv_wnd;
  SECTION("exact") {
    host.inject(peer.segment().rst());
    CHECK(connection.error() == Errc::connection_reset);
    CHECK(host.silent());
  }
  SECTION("in the window") {
    const std::uint32_t offset = GENERATE_COPY(1U, window / 2, window - 1);
    host.inject(peer.segment().rst().seq(peer.seq + offset));
    CHECK(matches(host.take(), expect.flags("A").ack(peer.seq)));
    CHECK(connection.state() == TcpState::established);
  }
  SECTION("outside") {
    const std::uint32_t offset = GENERATE_COPY(0U - 1, window, window + 1);
    host.inject(peer.segment().rst().seq(peer.seq + offset));
    CHECK(host.silent());
    CHECK(connection.state() == TcpState::established);
  }
}

TEST_CASE("of 100,000 random RSTs only an exact one closes", "[conformance][5961-01]") {
  const std::uint64_t seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  Random random{seed};
  Server server;
  auto& [host, listener, peer, connection] = server;
  std::size_t exact = 0;
  for (int i = 0; i < 50'000 && exact == 0; ++i) {
    // Every second one falls near the window.
    const auto number =
        static_cast<std::uint32_t>(i % 2 == 0 ? random.next() : random.below(70'000));
    const SeqNum seq = i % 2 == 0 ? SeqNum{number} : peer.seq + number;
    if (seq == peer.seq) ++exact;
    host.stack.device().inject(peer.segment().rst().seq(seq).packet());
    host.turn();
  }
  CHECK((connection.state() == TcpState::established) == (exact == 0));
  CHECK(host.stack.stats().dropped(Drop::rst_ignored) > 20'000);
  host.inject(peer.segment().rst());
  CHECK(connection.error() == Errc::connection_reset);
}

TEST_CASE("a SYN on a synchronized connection is only challenged", "[conformance][5961-02]") {
  const auto state = GENERATE(TcpState::established, TcpState::fin_wait_1, TcpState::fin_wait_2,
                              TcpState::close_wait, TcpState::closing, TcpState::last_ack);
  const std::uint32_t offset = GENERATE(0U, 100U, 0U - 100, 1U << 30);
  const bool with_ack = GENERATE(false, true);
  CAPTURE(name(state), offset, with_ack);
  Server server;
  reach(server, state);
  auto& [host, listener, peer, connection] = server;
  const auto syn = peer.bare().syn().seq(peer.seq + offset);
  host.inject(with_ack ? syn.ack(peer.ack) : syn);
  CHECK(matches(host.take(), expect.flags("A").ack(peer.seq)));
  CHECK(host.silent());
  CHECK(connection.state() == state);
}

TEST_CASE("an ACK more than the largest window ever below SND.UNA is challenged",
          "[conformance][5961-03]") {
  Server server{{.window = 10, .window_scale = std::uint8_t{7}}};
  auto& [host, listener, peer, connection] = server;
  host.inject(peer.segment().window(100));  // 12,800 bytes, the largest
  host.inject(peer.segment().window(20));
  const SeqNum bound = peer.ack - (100U << 7);
  SECTION("at the bound it is just old") {
    host.inject(peer.segment().ack(bound).payload("data"));
    CHECK(read_all(connection) == "data");
  }
  SECTION("below it the segment is dropped") {
    host.inject(peer.segment().ack(bound - 1).payload("data"));
    CHECK(matches(host.take(), expect.flags("A").ack(peer.seq)));
    CHECK(connection.readable_bytes() == 0);
    CHECK(host.stack.stats().tcp.challenge_acks == 1);
  }
}

TEST_CASE("a challenge says where both directions stand and carries no data",
          "[conformance][5961-04]") {
  Server server{{.timestamp = 5000}};
  auto& [host, listener, peer, connection] = server;
  peer.send("data");
  connection.send(as_bytes("in flight"));
  host.turn();
  peer.receive();
  const auto challenge = expect.flags("A")
                             .seq(peer.ack)
                             .ack(peer.seq)
                             .no_payload()
                             .timestamp_echo(5000)
                             .window_at_least(1);
  SECTION("a SYN") { host.inject(peer.segment().syn()); }
  SECTION("a RST in the window") { host.inject(peer.segment().rst().seq(peer.seq + 1)); }
  SECTION("an ACK of what was not sent") { host.inject(peer.segment().ack(peer.ack + 1)); }
  CHECK(matches(host.take(), challenge));
  CHECK(host.silent());
}

TEST_CASE("a peer that has restarted answers the challenge with a RST and can connect again",
          "[conformance][5961-05]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  Peer restarted{host, {.isn = 900'000}};
  host.inject(restarted.syn());
  const Decoded challenge = host.take();
  CHECK(matches(challenge, expect.flags("A")));
  host.inject(restarted.bare().rst().seq(challenge.tcp->ack));
  CHECK(connection.error() == Errc::connection_reset);
  auto next = restarted.connect_to(listener);
  CHECK(next.state() == TcpState::established);
}

TEST_CASE("challenges are few, and those of one connection cost another none",
          "[conformance][5961-06]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer flooded{host, {.port = 40000}};
  Peer other{host, {.port = 40001}};
  auto first = flooded.connect_to(listener);
  auto second = other.connect_to(listener);
  const auto bad = [&](const Peer& peer, int kind) {
    switch (kind) {
      case 0:
        return peer.segment().rst().seq(peer.seq + 1);
      case 1:
        return peer.segment().syn();
      case 2:
        return peer.segment().ack(peer.ack + 1);
      case 3:
        return peer.segment().seq(peer.seq + 100'000).payload("far");
      default:
        return peer.segment().seq(peer.seq - 1);  // a pure ACK left of the window
    }
  };
  for (int i = 0; i < 1000; ++i) {
    host.inject(bad(flooded, i % 5));
    host.advance(999us);
  }
  const std::size_t answers = host.take_all().size();
  CHECK(answers >= 5);
  CHECK(answers <= 20);  // ten a second
  for (int kind = 0; kind < 5; ++kind) {
    CAPTURE(kind);
    host.inject(bad(other, kind));
    CHECK(matches(host.take(), expect.flags("A").ack(other.seq)));
  }
  host.advance(1s);
  host.inject(bad(flooded, 0));
  CHECK(matches(host.take(), expect.flags("A").ack(flooded.seq)));
  flooded.send("data");  // what is good is served as ever
  CHECK(read_all(first) == "data");
}
