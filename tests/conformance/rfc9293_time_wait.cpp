// SPDX-License-Identifier: BSL-1.0

// TIME-WAIT: RFC 9293 3.6.1 and 3.10.7.4, and how it makes way for a new connection (MAY-2, RFC
// 6191). That a RST does not end it is RFC 1337's: see 1337-01.

#include "../support/host.hpp"

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

constexpr PeerOptions stamped{.timestamp = 5000};

struct Waiting : Server {
  explicit Waiting(PeerOptions options = {}, StackConfig config = host_config())
      : Server{options, config} {
    reach(*this, TcpState::time_wait);
  }
  [[nodiscard]] Duration two_msl() { return 2 * host.stack.config().tcp.msl; }
  [[nodiscard]] std::size_t entries() { return host.stack.stats().gauges.time_wait; }
};

}  // namespace

TEST_CASE("a repeated FIN is acknowledged and lets TIME-WAIT begin anew", "[conformance][FSM-47]") {
  Waiting wait;
  wait.host.advance(wait.two_msl() * 9 / 10);
  wait.host.inject(wait.peer.segment().seq(wait.peer.seq - 1).fin());
  CHECK(matches(wait.host.take(), expect.flags("A").seq(wait.peer.ack).ack(wait.peer.seq)));
  CHECK(wait.host.stack.next_deadline() == wait.host.clock.now() + wait.two_msl());
  wait.host.advance(wait.two_msl() - 1ms);
  CHECK(wait.connection.state() == TcpState::time_wait);
  wait.host.advance(1ms);
  CHECK(wait.connection.state() == TcpState::closed);
  CHECK(wait.host.silent());
}

TEST_CASE("a plain ACK in TIME-WAIT is not answered and moves nothing", "[conformance][FSM-47]") {
  Waiting wait;
  const Instant expiry = wait.host.stack.next_deadline();
  wait.host.advance(10s);
  wait.peer.acknowledge();
  CHECK(wait.host.silent());
  CHECK(wait.host.stack.next_deadline() == expiry);
}

TEST_CASE("a SYN with a greater sequence number ends TIME-WAIT with a new connection",
          "[conformance][FSM-48]") {
  Waiting wait;
  const SeqNum old_snd_nxt = wait.peer.ack;
  const SeqNum isn = wait.peer.seq + 1;
  wait.host.inject(wait.peer.syn().seq(isn));
  const TcpSegment answer = wait.host.take_tcp();
  CHECK(matches(*wait.host.last, expect.flags("SA").ack(isn + 1)));
  CHECK(old_snd_nxt < answer.seq);
  CHECK(wait.entries() == 0);
  CHECK(wait.connection.state() == TcpState::closed);
  wait.host.inject(wait.peer.bare().seq(isn + 1).ack(answer.seq + 1));
  CHECK(wait.listener.accept().has_value());
}

TEST_CASE("a SYN with a newer timestamp ends TIME-WAIT whatever its sequence number",
          "[conformance][FSM-48]") {
  Waiting wait{stamped};
  const SeqNum isn = wait.peer.seq - 100'000;
  wait.host.inject(wait.peer.syn().seq(isn).timestamps(5001, 0));
  const TcpSegment answer = wait.host.take_tcp();
  CHECK(matches(*wait.host.last, expect.flags("SA").ack(isn + 1).timestamp_echo(5001)));
  CHECK(wait.peer.ack < answer.seq);
  CHECK(wait.entries() == 0);
}

TEST_CASE("a stale SYN in TIME-WAIT makes no connection", "[conformance][FSM-48]") {
  const bool with_timestamps = GENERATE(true, false);
  CAPTURE(with_timestamps);
  Waiting wait{with_timestamps ? stamped : PeerOptions{}};
  const Instant expiry = wait.host.stack.next_deadline();
  const auto syn = wait.peer.syn();
  const SeqNum next = wait.peer.seq;
  const SeqNum later = next + 1000;
  for (const auto& stale :
       {with_timestamps ? syn.seq(later).timestamps(4999, 0) : syn.seq(next - 1000),
        with_timestamps ? syn.seq(next - 1000).timestamps(5000, 0) : syn.seq(next - 1)}) {
    wait.host.inject(stale);
    CHECK(matches(wait.host.take(), expect.flags("A").seq(wait.peer.ack).ack(next)));
    CHECK(wait.host.silent());
  }
  CHECK(wait.host.stack.stats().gauges.half_open == 0);
  CHECK(wait.entries() == 1);
  CHECK(wait.host.stack.next_deadline() == expiry);
}

TEST_CASE("a new connection out of TIME-WAIT gets no cookie, which its entry would swallow",
          "[conformance][FSM-48]") {
  Waiting wait;
  Host& host = wait.host;
  wait.listener.close();
  auto listener = host.stack.listen({.port = 80, .syn_backlog = 1});
  Peer other{host, {.port = 50'000}};
  other.send_syn();  // fills the backlog
  const auto syn = wait.peer.syn().seq(wait.peer.seq + 1);
  host.inject(syn);
  CHECK(host.silent());
  CHECK(wait.entries() == 1);
  other.finish();
  host.inject(syn);  // the peer tries again
  CHECK(matches(host.take(), expect.flags("SA").ack(wait.peer.seq + 2)));
}
