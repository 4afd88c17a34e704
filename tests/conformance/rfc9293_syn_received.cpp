// SPDX-License-Identifier: BSL-1.0

// SYN-RECEIVED, RFC 9293 3.10.7.4, whether it came from LISTEN (passive) or from SYN-SENT (active).

#include "../support/host.hpp"

#include <algorithm>
#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

// A listener that has answered a SYN. `peer.seq` is RCV.NXT, `peer.ack` is ISS+1.
struct Passive {
  Host host;
  Host::Listener listener;
  Peer peer;

  explicit Passive(PeerOptions options = {})
      : listener{host.stack.listen({.port = options.host_port})}, peer{host, options} {
    peer.send_syn();
  }
  [[nodiscard]] bool half_open() { return host.stack.stats().gauges.half_open == 1; }
};

// A host whose SYN has crossed the peer's.
struct Active {
  Host host;
  Peer peer;
  TcpConnection connection;

  Active() : peer{host}, connection{peer.receive_syn()} {
    host.inject(peer.syn());
    peer.seq += 1;
    host.forget_sent();
    REQUIRE(connection.state() == TcpState::syn_received);
  }
};

}  // namespace

TEST_CASE("the last ACK makes one connection with the peer's scaled window",
          "[conformance][FSM-17]") {
  Passive half{{.window = 500, .window_scale = 7}};
  half.host.inject(half.peer.segment().window(10));
  half.host.inject(half.peer.segment().window(10));
  CHECK(half.host.silent());
  auto connection = half.listener.accept();
  REQUIRE(connection.has_value());
  CHECK_FALSE(half.listener.accept().has_value());
  const auto event = half.host.stack.next_event();
  REQUIRE(event.has_value());
  CHECK(has(event->flags, EventFlags::connected));
  CHECK_FALSE(half.host.stack.next_event().has_value());
  CHECK(connection->info().snd_wnd == 10 << 7);
  // WL1 and WL2 are those of that ACK: the same numbers update the window again.
  half.host.inject(half.peer.segment().window(11));
  CHECK(connection->info().snd_wnd == 11 << 7);
}

TEST_CASE("an unacceptable ACK in SYN-RECEIVED draws RST and changes nothing",
          "[conformance][FSM-18]") {
  Passive half;
  const SeqNum iss = half.peer.ack - 1;
  for (const SeqNum bad : {iss, iss + 2, iss + 100'000, iss - 1}) {
    half.host.inject(half.peer.segment().ack(bad).payload("data"));
    CHECK(matches(half.host.take(), expect.flags("R").seq(bad).no_payload()));
    CHECK(half.host.silent());
    CHECK(half.half_open());
  }
  half.peer.finish();
  auto connection = half.listener.accept();
  REQUIRE(connection.has_value());
  CHECK(connection->readable_bytes() == 0);
}

TEST_CASE("an exact RST takes a passive SYN-RECEIVED back to LISTEN without a word",
          "[conformance][FSM-19]") {
  const bool with_ack = GENERATE(true, false);
  Passive half;
  const auto reset = half.peer.bare().rst().seq(half.peer.seq);
  half.host.inject(with_ack ? reset.ack(half.peer.ack) : reset);
  CHECK(half.host.silent());
  CHECK(half.host.stack.stats().gauges.half_open == 0);
  CHECK(half.host.stack.stats().gauges.connections == 0);
  CHECK(half.host.stack.next_deadline() == never);
  CHECK_FALSE(half.listener.accept().has_value());
  half.peer.seq = SeqNum{half.peer.options.isn};
  CHECK(half.peer.connect_to(half.listener).state() == TcpState::established);
}

TEST_CASE("an exact RST refuses an active open that is in SYN-RECEIVED", "[conformance][FSM-19]") {
  Active half;
  half.host.inject(half.peer.bare().rst().seq(half.peer.seq));
  CHECK(half.host.silent());
  CHECK(half.connection.state() == TcpState::closed);
  CHECK(half.connection.error() == Errc::connection_refused);
  CHECK(half.host.stack.next_deadline() == never);
}

TEST_CASE("a RST that is not exact leaves SYN-RECEIVED as it is", "[conformance][FSM-20]") {
  Passive half;
  const auto reset = half.peer.bare().rst();
  half.host.inject(reset.seq(half.peer.seq + 1));
  CHECK(matches(half.host.take(), expect.flags("A").seq(half.peer.ack).ack(half.peer.seq)));
  for (const std::uint32_t far : {65'535U, 1'000'000U, 0xffff'ffffU}) {
    half.host.inject(reset.seq(half.peer.seq + far));
    CHECK(half.host.silent());
  }
  CHECK(half.half_open());
  half.peer.finish();
  CHECK(half.listener.accept().has_value());
}

TEST_CASE("a repeated SYN is answered with the same SYN+ACK and makes no second connection",
          "[conformance][FSM-21]") {
  Passive half;
  for (int i = 0; i < 3; ++i) {
    half.host.inject(half.peer.syn());
    CHECK(matches(half.host.take(), expect.flags("SA").seq(half.peer.ack - 1).ack(1001)));
    CHECK(half.host.silent());
  }
  CHECK(half.half_open());
  CHECK(half.host.stack.stats().gauges.connections == 1);
  half.peer.finish();
  CHECK(half.listener.accept().has_value());
  CHECK_FALSE(half.listener.accept().has_value());
}

TEST_CASE("a new SYN within the window takes a passive SYN-RECEIVED back to LISTEN",
          "[conformance][FSM-22]") {
  Passive half;
  const auto new_syn = half.peer.syn().seq(half.peer.seq + 5);
  half.host.inject(new_syn);
  CHECK(half.host.silent());
  CHECK(half.host.stack.stats().gauges.connections == 0);
  half.host.inject(new_syn);
  CHECK(matches(half.host.take(), expect.flags("SA").ack(half.peer.seq + 6)));
}

TEST_CASE("a new SYN within the window draws a challenge from an active SYN-RECEIVED",
          "[conformance][FSM-22]") {
  Active half;
  half.host.inject(half.peer.syn().seq(half.peer.seq + 5));
  CHECK(matches(half.host.take(), expect.flags("A").seq(half.peer.ack).ack(half.peer.seq)));
  CHECK(half.host.silent());
  CHECK(half.connection.state() == TcpState::syn_received);
}

TEST_CASE("SYN-RECEIVED drops segments without ACK, and acknowledges those outside the window",
          "[conformance][FSM-23]") {
  Passive half;
  half.host.inject(half.peer.bare().seq(half.peer.seq).payload("data"));
  CHECK(half.host.silent());
  CHECK(half.half_open());
  const auto where_we_are = expect.flags("A").seq(half.peer.ack).ack(half.peer.seq);
  for (const SeqNum outside : {half.peer.seq - 1, half.peer.seq - 70'000, half.peer.seq + 70'000}) {
    half.host.inject(half.peer.segment().seq(outside).payload("x"));
    CHECK(matches(half.host.take(), where_we_are));
    half.host.inject(half.peer.segment().seq(outside));
    CHECK(matches(half.host.take(), where_we_are));
    CHECK(half.host.silent());
    CHECK(half.half_open());
  }
}

TEST_CASE("data and FIN on the last ACK are processed with it", "[conformance][FSM-24]") {
  Passive half;
  half.host.inject(half.peer.segment().fin().payload("0123456789"));
  CHECK(matches(half.host.take(), expect.flags("A").seq(half.peer.ack).ack(half.peer.seq + 11)));
  CHECK(half.host.silent());
  auto connection = half.listener.accept();
  REQUIRE(connection.has_value());
  CHECK(connection->state() == TcpState::close_wait);
  CHECK(read_all(*connection) == "0123456789");
  CHECK(connection->at_end());
}

TEST_CASE("a SYN+ACK that nobody acknowledges is repeated with back-off and then forgotten",
          "[conformance][FSM-26]") {
  Passive half;
  const Instant start = half.host.clock.now();
  std::vector<Duration> sent;
  while (half.half_open()) {
    const Instant due = half.host.stack.next_deadline();
    REQUIRE(due < Instant{300s});
    half.host.advance(due - half.host.clock.now());
    for (const Decoded& packet : half.host.take_all()) {
      CHECK(matches(packet, expect.flags("SA").seq(half.peer.ack - 1).ack(1001)));
      sent.push_back(half.host.clock.now() - start);
    }
  }
  CHECK(sent == std::vector<Duration>{1s, 3s, 7s, 15s, 31s});
  CHECK(half.host.clock.now() - start == 63s);
  CHECK(half.host.stack.stats().gauges.connections == 0);
  CHECK(half.host.stack.stats().gauges.buffer_bytes == 0);
  CHECK(half.host.stack.next_deadline() == never);
  CHECK_FALSE(half.listener.accept().has_value());
  CHECK_FALSE(half.host.stack.next_event().has_value());
}
