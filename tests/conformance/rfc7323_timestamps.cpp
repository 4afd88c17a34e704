// SPDX-License-Identifier: BSL-1.0

// Timestamps, what they measure, and PAWS: RFC 7323 3 to 5.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

constexpr PeerOptions stamping{.timestamp = 5000};

/// The TSval of the next packet.
std::uint32_t next_tsval(Host& host) {
  const TcpSegment segment = host.take_tcp();
  REQUIRE(segment.options.has_timestamps);
  return segment.options.timestamps.value;
}

}  // namespace

TEST_CASE("all segments have timestamps if both SYNs had them, and none otherwise",
          "[conformance][7323-06]") {
  const bool on = GENERATE(true, false);
  CAPTURE(on);
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host, on ? stamping : PeerOptions{}};
  host.inject(peer.syn());
  const Decoded answer = host.take();
  CHECK(matches(answer, expect.flags("SA").has_timestamps(on)));
  peer.learn(*answer.tcp);
  peer.seq += 1;
  auto connection = [&] {
    peer.finish();
    return std::move(*listener.accept());
  }();
  connection.set_options({.user_timeout = {}, .keepalive = {.enabled = true, .idle = 1h}});
  std::size_t seen = 0;
  const auto look = [&] {
    host.turn();
    for (const Decoded& packet : host.take_all()) {
      CHECK(matches(packet, expect.has_timestamps(on)));
      ++seen;
    }
  };
  peer.send("data");
  host.advance(1s);  // a delayed ACK
  connection.send(as_bytes("data"));
  host.advance(1s);  // data, and that again
  peer.ack += 4;
  host.inject(peer.segment().window(0));
  connection.send(as_bytes("more"));
  host.advance(10s);  // probes
  peer.acknowledge();
  peer.ack += 4;
  peer.acknowledge();
  host.advance(1h);                              // a keep-alive
  host.inject(peer.bare().syn().seq(peer.seq));  // a challenge
  host.inject(peer.segment().seq(peer.seq + 1).payload("above a hole"));
  connection.shutdown_send();  // FIN
  look();
  connection.abort();  // RST
  look();
  const TcpStats& stats = host.stack.stats().tcp;
  CHECK(stats.segments_out == 1 + seen);
  CHECK(stats.retransmissions != 0);
  CHECK(stats.zero_window_probes != 0);
  CHECK(stats.keepalive_probes != 0);
  CHECK(stats.challenge_acks == 1);
  CHECK(stats.resets_out == 1);
}

TEST_CASE("the ACKs of TIME-WAIT have timestamps", "[conformance][7323-06]") {
  Server server{stamping};
  reach(server, TcpState::time_wait);
  server.host.inject(server.peer.segment().seq(server.peer.seq - 1).fin());
  CHECK(matches(server.host.take(), expect.flags("A").timestamp_echo(5000)));
}

// Deviation: 7323-07: the segment is taken as it is. Middleboxes strip the option, and a stalled
// stream helps nobody; a segment that carries it is checked as ever.
TEST_CASE("a segment that lacks an expected timestamp is processed and counted",
          "[conformance][7323-07]") {
  Server server{stamping};
  auto& [host, listener, peer, connection] = server;
  const auto bare = peer.bare().seq(peer.seq).ack(peer.ack);
  SECTION("data") {
    host.inject(bare.payload("data"));
    CHECK(read_all(connection) == "data");
    CHECK(host.stack.stats().tcp.timestamps_missing == 1);
    host.advance(1s);
    CHECK(matches(host.take(), expect.flags("A").timestamp_echo(5000)));
    host.inject(bare.seq(peer.seq + 4).timestamps(4999, 0).payload("old"));
    CHECK(connection.readable_bytes() == 0);
    CHECK(connection.state() == TcpState::established);
  }
  SECTION("a RST that is not exact") {
    host.inject(bare.rst().seq(peer.seq + 1));
    CHECK(matches(host.take(), expect.flags("A")));
    CHECK(connection.state() == TcpState::established);
  }
  SECTION("a SYN") {
    host.inject(bare.syn());
    CHECK(matches(host.take(), expect.flags("A")));
    CHECK(connection.state() == TcpState::established);
  }
  SECTION("an exact RST") {
    host.inject(bare.rst());
    CHECK(connection.error() == Errc::connection_reset);
  }
}

TEST_CASE("a timestamp that was not negotiated is ignored", "[conformance][7323-08]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  for (const std::uint32_t value : {9000U, 1U}) {  // PAWS would reject the second
    host.inject(peer.segment().timestamps(value, 77).payload("data"));
    peer.seq += 4;
    CHECK(read_all(connection) == "data");
    host.advance(1s);
    CHECK(matches(host.take(), expect.flags("A").ack(peer.seq).has_timestamps(false)));
  }
}

TEST_CASE("the echo of a segment without ACK is zero when sent and ignored when received",
          "[conformance][7323-09]") {
  Host host;
  Peer peer{host, stamping};
  auto connection = host.stack.connect({.remote = peer.here(), .local_port = 80});
  host.turn();
  const Decoded syn = host.take();
  CHECK(matches(syn, expect.flags("S").timestamp_echo(0)));
  // Simultaneous open: the peer's SYN can't have seen ours, whatever its echo says.
  host.advance(500ms);
  host.inject(peer.syn().timestamps(5000, syn.tcp->options.timestamps.value));
  CHECK(matches(host.take(), expect.flags("SA").timestamp_echo(5000)));
  CHECK(connection.info().rtt == 0ms);
  CHECK(connection.info().rto == 1s);
}

TEST_CASE("the echo gives an RTT only when SND.UNA advances", "[conformance][7323-10]") {
  Server server{stamping};
  auto& [host, listener, peer, connection] = server;
  const SeqNum una = peer.ack;
  connection.send(as_bytes(std::string(4 * 1448, 'x')));
  host.turn();
  for (int i = 0; i < 4; ++i) peer.receive();
  const TcpInfo before = connection.info();
  host.advance(100ms);
  host.inject_all({peer.segment().ack(una).packet(), peer.segment().ack(una).packet()});
  CHECK(connection.info().rtt == before.rtt);
  CHECK(connection.info().rto == before.rto);
  host.inject(peer.segment().ack(una + 1448));
  CHECK(connection.info().rtt > before.rtt);
}

TEST_CASE("a hundred ACKs in a round trip move SRTT as far as one", "[conformance][7323-11]") {
  StackConfig config = host_config();
  config.tcp.initial_window = 100;
  Host host{config};
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host, {.mss = std::uint16_t{112}, .timestamp = 5000}};
  peer.send_syn();
  host.advance(100ms);
  peer.finish();
  auto connection = std::move(*listener.accept());
  REQUIRE(connection.info().rtt == 100ms);
  connection.send(as_bytes(std::string(100 * 100, 'x')));
  host.turn();
  const std::vector<Decoded> flight = host.take_all();
  REQUIRE(flight.size() == 100);
  host.advance(180ms);
  for (const Decoded& packet : flight) {
    peer.learn(*packet.tcp);
    peer.acknowledge();
  }
  CHECK(connection.info().rtt == 110ms);  // 7/8 100 ms + 1/8 180 ms
}

TEST_CASE("TS.Recent follows segments at or before Last.ACK.sent", "[conformance][7323-12]") {
  Server server{stamping};
  auto& [host, listener, peer, connection] = server;
  const auto segment = [&sender = peer](std::uint32_t offset, std::uint32_t tsval) {
    return sender.segment().seq(sender.seq + offset).timestamps(tsval, 0).payload("data").packet();
  };
  SECTION("a delayed ACK echoes the earlier of two segments") {
    host.inject(segment(0, 5010));
    host.inject(segment(4, 5020));
    host.advance(1s);
    CHECK(matches(host.take(), expect.ack(peer.seq + 8).timestamp_echo(5010)));
    host.inject(segment(8, 5030));
    host.advance(1s);
    CHECK(matches(host.take(), expect.ack(peer.seq + 12).timestamp_echo(5030)));
  }
  SECTION("so it does if both come in one turn") {
    host.inject_all({segment(0, 5010), segment(4, 5020)});
    host.advance(1s);
    CHECK(matches(host.take(), expect.ack(peer.seq + 8).timestamp_echo(5010)));
  }
  SECTION("an out-of-order segment does not change the echo, the one that fills the gap does") {
    host.inject(segment(4, 5020));
    CHECK(matches(host.take(), expect.ack(peer.seq).timestamp_echo(5000)));
    host.inject(segment(0, 5010));
    CHECK(matches(host.take(), expect.ack(peer.seq + 8).timestamp_echo(5010)));
  }
  SECTION("a segment with an unacceptable ACK does not change it") {
    host.inject(peer.segment().ack(peer.ack + 1).timestamps(6000, 0).payload("data"));
    CHECK(matches(host.take(), expect.ack(peer.seq).timestamp_echo(5000)));
  }
}

TEST_CASE("PAWS answers and drops a segment with an older timestamp", "[conformance][7323-13]") {
  SECTION("older by one") {
    Server server{stamping};
    auto& [host, listener, peer, connection] = server;
    host.inject(peer.segment().timestamps(4999, 0).payload("data"));
    CHECK(matches(host.take(), expect.flags("A").ack(peer.seq).timestamp_echo(5000)));
    CHECK(connection.readable_bytes() == 0);
    CHECK(host.stack.stats().dropped(Drop::paws) == 1);
    host.inject(peer.segment().timestamps(5000, 0).payload("data"));
    CHECK(read_all(connection) == "data");
  }
  SECTION("the comparison is modular") {
    Server server{{.timestamp = 0xffffffff}};
    auto& [host, listener, peer, connection] = server;
    host.inject(peer.segment().timestamps(0, 0).payload("data"));
    CHECK(read_all(connection) == "data");
    host.inject(peer.segment().seq(peer.seq + 4).timestamps(0xffffffff, 0).payload("data"));
    CHECK(connection.readable_bytes() == 0);
  }
  SECTION("unless others have overtaken it: it lies in a hole, and is as old as its window") {
    Server server{stamping};
    auto& [host, listener, peer, connection] = server;
    const auto segment = [&peer = server.peer](std::uint32_t offset, std::uint32_t tsval) {
      return peer.segment().seq(peer.seq + offset).timestamps(tsval, 0).payload("data");
    };
    host.inject(segment(12, 5020));
    host.inject(segment(0, 5050));  // sent again, past 4 and 8
    REQUIRE(read_all(connection) == "data");
    host.forget_sent();
    SECTION("at the edge") {
      host.inject(segment(4, 5010));
      CHECK(read_all(connection) == "data");
      CHECK(host.stack.stats().dropped(Drop::paws) == 0);
      CHECK(matches(host.take(), expect.ack(peer.seq + 8).timestamp_echo(5050)));
    }
    SECTION("above it") {
      host.inject(segment(8, 5010));
      CHECK(matches(host.take(), expect.ack(peer.seq + 4).timestamp_echo(5050)));
      CHECK(connection.info().out_of_order_ranges == 1);
      host.inject(segment(4, 5010));
      CHECK(read_all(connection) == "datadatadata");
    }
    SECTION("not without data behind it") {
      host.inject(segment(16, 5010));
      host.inject(segment(12, 5010).payload("longer"));
      CHECK(host.stack.stats().dropped(Drop::paws) == 2);
    }
    SECTION("not from before the window") {
      host.inject(segment(4, 4999));
      CHECK(host.stack.stats().dropped(Drop::paws) == 1);
    }
    SECTION("nor without data, nor what is here already") {
      host.inject(peer.segment().timestamps(5010, 0));
      host.inject(segment(0, 5010));
      CHECK(host.stack.stats().dropped(Drop::paws) == 2);
    }
  }
  SECTION("a window later nothing as old as that is in order") {
    Server server{stamping, host_config(), {.receive_buffer = 4000}};
    auto& [host, listener, peer, connection] = server;
    const std::string piece(1000, 'x');
    for (std::uint32_t i = 0; i < 20; ++i) {
      host.inject(peer.segment().timestamps(5001 + i, 0).payload(piece));
      peer.seq += 1000;
      REQUIRE(read_all(connection) == piece);
    }
    host.inject(peer.segment().seq(peer.seq + 1000).timestamps(5030, 0).payload(piece));
    for (const std::uint32_t stamp : {5001U, 5010U}) {
      host.inject(peer.segment().timestamps(stamp, 0).payload(piece));
      CHECK(connection.readable_bytes() == 0);
    }
    CHECK(host.stack.stats().dropped(Drop::paws) == 2);
    host.inject(peer.segment().timestamps(5019, 0).payload(piece));
    CHECK(connection.readable_bytes() == 2000);
  }
}

TEST_CASE("a RST is exempt from PAWS and changes no timestamp", "[conformance][7323-14]") {
  Server server{stamping};
  auto& [host, listener, peer, connection] = server;
  SECTION("exact and stale") {
    host.inject(peer.segment().rst().timestamps(1, 0));
    CHECK(connection.error() == Errc::connection_reset);
  }
  SECTION("inexact and new") {
    host.inject(peer.segment().rst().seq(peer.seq + 1).timestamps(9000, 0));
    CHECK(matches(host.take(), expect.flags("A").timestamp_echo(5000)));
    host.inject(peer.segment().timestamps(5001, 0).payload("data"));
    CHECK(read_all(connection) == "data");
  }
}

TEST_CASE("a segment outside of the window does not touch TS.Recent", "[conformance][7323-15]") {
  Server server{stamping};
  auto& [host, listener, peer, connection] = server;
  const std::int32_t offset = GENERATE(-100, 70000);
  CAPTURE(offset);
  host.inject(peer.segment()
                  .seq(peer.seq + static_cast<std::uint32_t>(offset))
                  .timestamps(5000 + 0x7fffffffU, 0)
                  .payload("far"));
  CHECK(matches(host.take(), expect.flags("A").timestamp_echo(5000)));
  host.inject(peer.segment().timestamps(5001, 0).payload("data"));
  CHECK(read_all(connection) == "data");
}

TEST_CASE("TS.Recent is no longer believed after 24 idle days", "[conformance][7323-16]") {
  Server server{stamping};
  auto& [host, listener, peer, connection] = server;
  const auto old = peer.segment().timestamps(4000, 0).payload("data");
  host.advance(24h * 23);
  host.inject(old);
  CHECK(connection.readable_bytes() == 0);
  host.advance(24h * 2);
  host.forget_sent();
  host.inject(old);
  CHECK(read_all(connection) == "data");
  host.advance(1s);
  CHECK(matches(host.take(), expect.ack(peer.seq + 4).timestamp_echo(4000)));
}

TEST_CASE("the timestamp clock ticks once a millisecond and never runs backwards",
          "[conformance][7323-17]") {
  Server server{stamping};
  auto& [host, listener, peer, connection] = server;
  const auto tsval = [&server] {
    server.host.inject(
        server.peer.segment().seq(server.peer.seq + 1).payload("x"));  // draws an ACK at once
    return next_tsval(server.host);
  };
  const std::uint32_t first = tsval();
  host.advance(10s);
  CHECK(tsval() - first == 10'000);
  host.advance(20 * 24h);
  CHECK(tsval() - first == 10'000 + 20U * 24 * 3600 * 1000);
  host.clock.set(host.clock.now() - 5s);  // the program's clock stumbles
  CHECK(tsval() - first == 10'000 + 20U * 24 * 3600 * 1000);
}

TEST_CASE("each connection's timestamps start at random, and go on for the next on the same ports",
          "[conformance][7323-18]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  std::vector<std::uint32_t> values;
  for (std::uint16_t port = 40000; port < 40010; ++port) {
    host.inject(Peer{host, {.port = port, .timestamp = 5000}}.syn());
    values.push_back(next_tsval(host));
  }
  for (std::size_t i = 1; i < values.size(); ++i) {
    const auto step = static_cast<std::int32_t>(values[i] - values[i - 1]);
    CHECK(std::abs(std::int64_t{step}) > 1 << 16);
  }

  Server server{stamping};
  reach(server, TcpState::time_wait);
  server.host.advance(10s);
  Peer again{server.host, {.timestamp = 6000, .isn = 500'000}};
  server.host.inject(again.syn());
  const std::uint32_t value = next_tsval(server.host);
  CHECK(value - server.peer.tsecr == 10'000);
}
