// SPDX-License-Identifier: BSL-1.0
// Windows: RFC 9293 3.8.6 (zero windows, shrinking, silly windows), appendix A.2.

#include "../support/host.hpp"

#include <algorithm>
#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

// How many payload bytes left since the last look.
std::size_t sent_bytes(Host& host) {
  std::size_t sum = 0;
  for (const Decoded& packet : host.take_all()) sum += packet.tcp->payload.size();
  return sum;
}

ConnectionOptions small_buffer(std::uint32_t bytes) {
  ConnectionOptions options;
  options.receive_buffer = bytes;
  return options;
}

// The peer's window closes with everything acknowledged and data waiting.
void close_window(Server& server, std::size_t waiting = 5000) {
  server.peer.options.window = 0;
  server.peer.acknowledge();
  server.connection.send(as_bytes(std::string(waiting, 'x')));
  server.host.turn();
}

}  // namespace

TEST_CASE("a window field is unsigned", "[conformance][MUST-1]") {
  Server server{{.window = 0xffff}};
  for (int i = 0; i < 60; ++i) {  // until congestion allows more than the window
    server.connection.send(as_bytes(std::string(100'000, 'x')));
    server.host.turn();
    server.peer.receive();
    server.peer.acknowledge();
  }
  CHECK(server.connection.info().snd_cwnd > 65'535);
  CHECK(server.connection.info().in_flight > 65'535 - 1460);
  CHECK(server.connection.info().in_flight <= 65'535);
  CHECK(server.connection.info().snd_wnd == 65'535);
}

TEST_CASE("windows are computed in 32 bits", "[conformance][REC-1]") {
  Server server{{.window = 0xffff, .window_scale = std::uint8_t{14}}};
  CHECK(server.connection.info().snd_wnd == 1'073'725'440);
}

TEST_CASE("a sender survives a window that shrinks below what is in flight",
          "[conformance][MUST-34][SHLD-15]") {
  Server server;
  server.connection.send(as_bytes(std::string(10'220, 'x')));
  server.host.turn();
  CHECK(sent_bytes(server.host) == 10'220);
  server.peer.ack += 2920;
  server.peer.options.window = 1024;
  server.peer.acknowledge();
  server.connection.send(as_bytes(std::string(5000, 'y')));
  server.host.turn();
  CHECK(server.host.silent());  // nothing beyond SND.NXT
  server.peer.ack += 7300;
  server.peer.options.window = 60'000;
  server.peer.acknowledge();
  CHECK(sent_bytes(server.host) >= 4380);
}

TEST_CASE("what is retransmitted lies within the shrunken window",
          "[conformance][SHLD-16][MAY-7]") {
  Server server;
  server.connection.send(as_bytes(std::string(10'220, 'x')));
  server.host.turn();
  const SeqNum una = server.host.take_tcp().seq;
  server.host.forget_sent();
  server.peer.options.window = 1000;
  server.peer.acknowledge();
  server.host.advance(10s);
  const auto packets = server.host.take_all();
  REQUIRE_FALSE(packets.empty());
  for (const Decoded& packet : packets) {
    CHECK(packet.tcp->seq + packet.tcp->length() <= una + 1000);
  }
}

TEST_CASE("a window that shrinks to zero below SND.NXT is probed", "[conformance][MUST-35]") {
  Server server;
  server.connection.send(as_bytes(std::string(2920, 'x')));
  server.host.turn();
  server.host.forget_sent();
  server.peer.options.window = 0;
  server.peer.acknowledge();
  server.host.advance(3s);
  CHECK(server.host.stack.stats().tcp.zero_window_probes >= 1);
  const auto probes = server.host.take_all();
  REQUIRE_FALSE(probes.empty());
  for (const Decoded& probe : probes) CHECK(matches(probe, expect.flags("A").no_payload()));
}

TEST_CASE("a zero window is probed, and the transfer goes on when it opens",
          "[conformance][MUST-36]") {
  Server server;
  close_window(server);
  CHECK(server.host.silent());
  server.host.advance(2s);
  const auto probe = server.host.take();
  CHECK(matches(probe, expect.flags("A").seq(server.peer.ack - 1).no_payload()));
  server.host.forget_sent();
  server.peer.options.window = 65'535;
  server.peer.acknowledge();
  CHECK(sent_bytes(server.host) ==
        5000 - 620);  // Nagle keeps the end until the rest is acknowledged
}

TEST_CASE("a zero window may last for ever while probes are answered",
          "[conformance][MUST-37][6429-01]") {
  Server server;
  close_window(server);
  for (int i = 0; i < 24 * 60; ++i) {
    server.host.advance(1min);
    if (server.host.silent()) continue;
    server.host.forget_sent();
    server.peer.acknowledge();
    server.host.forget_sent();
  }
  CHECK(server.connection.state() == TcpState::established);
  CHECK(server.host.stack.stats().tcp.zero_window_probes > 1000);
}

TEST_CASE("a sender waits for more than a silly window", "[conformance][MUST-38]") {
  Server server{{.mss = std::uint16_t{1000}, .window = 4000}};
  close_window(server, 10'000);
  for (std::uint16_t window = 1; window < 1000; window = static_cast<std::uint16_t>(window + 99)) {
    server.peer.options.window = window;
    server.peer.acknowledge();
  }
  CHECK(sent_bytes(server.host) == 0);
  server.peer.options.window = 1000;
  server.peer.acknowledge();
  CHECK(sent_bytes(server.host) == 1000);
}

TEST_CASE("a window that stays small is used after a while", "[conformance][MUST-38]") {
  Server server{{.mss = std::uint16_t{1000}, .window = 4000}};
  close_window(server, 10'000);
  server.peer.options.window = 300;
  server.peer.acknowledge();
  CHECK(sent_bytes(server.host) == 0);
  server.host.advance(5s);
  CHECK(server.host.take_tcp().payload.size() == 300);
}

TEST_CASE("a receiver announces no silly window", "[conformance][MUST-39]") {
  const std::uint32_t buffer = GENERATE(2000U, 20'000U);
  Server server{{}, host_config(), small_buffer(buffer)};
  for (std::size_t left = buffer; left > 0;) {
    const std::size_t size = std::min<std::size_t>(left, 1000);
    server.peer.send(std::string(size, 'x'));
    left -= size;
  }
  server.host.advance(1s);
  CHECK(server.connection.info().rcv_wnd == 0);
  server.host.forget_sent();
  const std::size_t worth_it = std::min<std::size_t>(buffer / 2, 1000);
  for (std::size_t read = 1; read < worth_it; ++read) {
    server.connection.consume(1);
    server.host.turn();
    REQUIRE(server.host.silent());
  }
  server.connection.consume(1);
  server.host.turn();
  CHECK(server.host.take_tcp().window == worth_it);
}

TEST_CASE("RST and URG count at a zero window", "[conformance][MUST-66]") {
  Server server{{}, host_config(), small_buffer(1000)};
  server.peer.send(std::string(1000, 'x'));
  server.host.advance(1s);
  REQUIRE(server.connection.info().rcv_wnd == 0);
  while (server.host.stack.next_event()) {
  }
  server.host.inject(server.peer.segment().urgent(1).payload("u"));
  const auto event = server.host.stack.next_event();
  REQUIRE(event.has_value());
  CHECK(has(event->flags, EventFlags::urgent));
  server.host.inject(server.peer.segment().rst());
  CHECK(server.connection.state() == TcpState::closed);
  CHECK(server.connection.error() == Errc::connection_reset);
}

TEST_CASE("the right edge that is announced never moves left", "[conformance][SHLD-14]") {
  Server server{{.window_scale = std::uint8_t{7}}, host_config(), small_buffer(300'000)};
  const std::uint8_t shift = server.connection.info().rcv_wscale;
  std::uint32_t chance = 1;
  SeqNum edge = server.peer.seq;
  for (int i = 0; i < 500; ++i) {
    chance = chance * 1'664'525 + 1'013'904'223;
    server.peer.send(std::string(1 + (chance >> 8) % 1400, 'x'));
    if ((chance >> 20) % 3 == 0) server.connection.consume((chance >> 4) % 5000);
    if (i == 250) {
      ConnectionOptions options = server.connection.options();
      options.receive_buffer = 20'000;
      server.connection.set_options(options);
    }
    server.host.advance(50ms);
    for (const Decoded& packet : server.host.take_all()) {
      const SeqNum promised = packet.tcp->ack + (std::uint32_t{packet.tcp->window} << shift);
      REQUIRE(edge <= promised);
      edge = promised;
    }
  }
}

TEST_CASE("data beyond a shrunken edge does not time out while probes are answered",
          "[conformance][SHLD-17]") {
  Server server;
  server.connection.send(as_bytes(std::string(2920, 'x')));
  server.host.turn();
  server.peer.options.window = 0;
  server.peer.acknowledge();
  for (int i = 0; i < 60; ++i) {
    server.host.advance(1min);
    server.host.forget_sent();
    server.peer.acknowledge();
  }
  CHECK(server.connection.state() == TcpState::established);
}

TEST_CASE("the first probe comes after one RTO, the next ones at doubling intervals",
          "[conformance][SHLD-29][SHLD-30]") {
  Server server;
  close_window(server);
  const Duration rto = server.connection.info().rto;
  const Instant start = server.host.clock.now();
  std::vector<Duration> gaps;
  Instant last = start;
  while (server.host.clock.now() < start + 10min) {
    server.host.clock.set(std::max(server.host.stack.next_deadline(), server.host.clock.now()));
    server.host.turn();
    if (server.host.silent()) continue;
    server.host.forget_sent();
    gaps.push_back(server.host.clock.now() - last);
    last = server.host.clock.now();
    server.peer.acknowledge();
    server.host.forget_sent();
  }
  REQUIRE(gaps.size() > 8);
  CHECK(gaps[0] == rto);
  for (std::size_t i = 1; i < gaps.size(); ++i) {
    CHECK(gaps[i] == std::min<Duration>(2 * gaps[i - 1], 60s));
  }
}

TEST_CASE("a receiver may keep its window closed", "[conformance][MAY-8]") {
  Server server{{}, host_config(), small_buffer(1000)};
  server.peer.send(std::string(1000, 'x'));
  server.host.advance(1s);
  server.host.forget_sent();
  for (int i = 0; i < 10; ++i) {
    server.host.advance(1min);
    server.host.inject(server.peer.segment().payload("p"));  // a probe
    CHECK(matches(server.host.take(), expect.flags("A").ack(server.peer.seq).window(0)));
  }
}
