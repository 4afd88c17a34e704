// SPDX-License-Identifier: BSL-1.0
// Retransmission limits (RFC 9293 3.8.3), keep-alive (3.8.4), congestion control at a glance
// (3.8.2).

#include "../support/host.hpp"

#include <string>
#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

// Waits for packets that nobody answers, until `limit` has passed; when they came, seen from now.
std::vector<Duration> departures(Host& host, Duration limit) {
  std::vector<Duration> times;
  const Instant start = host.clock.now();
  while (host.stack.next_deadline() <= start + limit) {
    host.clock.set(host.stack.next_deadline());
    host.turn();
    if (!host.silent()) times.push_back(host.clock.now() - start);
    host.forget_sent();
  }
  host.advance(start + limit - host.clock.now());
  return times;
}

ConnectionOptions with_keepalive(Duration idle, Duration interval = 10s, std::uint8_t count = 3) {
  ConnectionOptions options;
  options.keepalive = {.enabled = true, .idle = idle, .interval = interval, .count = count};
  return options;
}

ConnectionOptions with_user_timeout(Duration timeout) {
  ConnectionOptions options;
  options.user_timeout = timeout;
  return options;
}

void send_unanswered(Server& server) {
  server.connection.send(as_bytes("data"));
  server.host.turn();
  server.host.forget_sent();
}

}  // namespace

TEST_CASE("the time-out follows Karn's rule", "[conformance][MUST-18]") {
  Server server;
  server.connection.send(as_bytes("data"));
  server.host.turn();
  const Duration srtt = server.connection.info().rtt;
  server.host.advance(3s);  // resent
  REQUIRE(server.connection.info().total_retransmissions > 0);
  server.host.forget_sent();
  server.peer.ack += 4;
  server.peer.acknowledge();
  CHECK(server.connection.info().rtt == srtt);
}

TEST_CASE("the window doubles below ssthresh and grows by a segment above it; time-outs double",
          "[conformance][MUST-19]") {
  Server server;
  const auto round = [&] {  // sends a window, acknowledges each segment
    server.connection.send(as_bytes(std::string(server.connection.send_room(), 'x')));
    server.host.turn();
    for (const Decoded& packet : server.host.take_all()) {
      server.peer.learn(*packet.tcp);
      server.host.inject(server.peer.segment());
    }
    return server.connection.info().snd_cwnd;
  };
  const auto first = round();
  CHECK(round() >= 2 * first - 2 * 1460);
  server.host.forget_sent();
  const auto gaps = departures(server.host, 10s);  // everything is lost
  REQUIRE(gaps.size() >= 4);
  CHECK(gaps[2] - gaps[1] == 2 * (gaps[1] - gaps[0]));
  CHECK(server.connection.info().snd_cwnd == 1460);
  const auto threshold = server.connection.info().snd_ssthresh;
  server.peer.ack = server.peer.ack + server.connection.info().in_flight;
  server.peer.acknowledge();
  for (int i = 0; i < 10 && server.connection.info().snd_cwnd < threshold; ++i) round();
  const auto before = round();
  const auto after = round();
  CHECK(after > before);
  CHECK(after <= before + 2 * 1460);
}

TEST_CASE("at R1 the user is warned, at R2 the connection ends",
          "[conformance][MUST-20][SHLD-9][SHLD-10]") {
  Server server;
  while (server.host.stack.next_event()) {
  }
  send_unanswered(server);
  int retransmissions = 0;
  bool warned = false;
  while (server.connection.state() == TcpState::established) {
    server.host.clock.set(server.host.stack.next_deadline());
    server.host.turn();
    if (!server.host.silent()) ++retransmissions;
    server.host.forget_sent();
    if (const auto event = server.host.stack.next_event();
        event && has(event->flags, EventFlags::soft_error)) {
      CHECK(retransmissions >= 3);
      CHECK(server.connection.soft_error() == Errc::timed_out);
      CHECK(server.connection.error() == Errc::none);
      warned = true;
    }
  }
  CHECK(warned);
  CHECK(server.connection.error() == Errc::timed_out);
}

TEST_CASE("R2 is the user's choice", "[conformance][MUST-21][FSM-53]") {
  SECTION("ten seconds") {
    Server server{{}, host_config(), with_user_timeout(10s)};
    send_unanswered(server);
    server.host.advance(9999ms);
    CHECK(server.connection.state() == TcpState::established);
    server.host.advance(2ms);
    CHECK(server.connection.state() == TcpState::closed);
    CHECK(server.connection.error() == Errc::timed_out);
  }
  SECTION("for ever") {
    Server server{{}, host_config(), with_user_timeout(Duration{0})};
    send_unanswered(server);
    server.host.advance(1h);
    server.host.forget_sent();
    CHECK_FALSE(departures(server.host, 2min).empty());
    CHECK(server.connection.state() == TcpState::established);
  }
}

TEST_CASE("a SYN is repeated for three minutes, then the failure is reported",
          "[conformance][MUST-22][MUST-23][FSM-15]") {
  Host host;
  Peer peer{host};
  auto connection = host.stack.connect({.remote = peer.here()});
  host.turn();
  const TcpSegment syn = host.take_tcp();
  const SeqNum isn = syn.seq;
  std::vector<Duration> times;
  const Instant start = host.clock.now();
  while (connection.state() == TcpState::syn_sent) {
    host.clock.set(host.stack.next_deadline());
    host.turn();
    if (host.silent()) continue;
    times.push_back(host.clock.now() - start);
    CHECK(host.take_tcp().seq == isn);
  }
  REQUIRE(times.size() == 8);
  CHECK(times[0] == 1s);
  CHECK(times[1] == 3s);
  CHECK(times[2] == 7s);
  CHECK(times.back() >= 180s);
  CHECK(connection.error() == Errc::timed_out);
}

TEST_CASE("by default R2 is at least 100 s", "[conformance][SHLD-11]") {
  Server server;
  send_unanswered(server);
  server.host.advance(100s);
  CHECK(server.connection.state() == TcpState::established);
  server.host.advance(10min);
  CHECK(server.connection.error() == Errc::timed_out);
}

TEST_CASE("keep-alive is switched per connection", "[conformance][MUST-24]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer first{host, {.port = 1}}, second{host, {.port = 2}};
  auto with = first.connect_to(listener);
  auto without = second.connect_to(listener);
  with.set_options(with_keepalive(1min));
  host.advance(61s);
  const auto packets = host.take_all();
  REQUIRE(packets.size() == 1);
  CHECK(matches(packets[0], expect.to(first.here())));
}

TEST_CASE("keep-alive is off by default", "[conformance][MUST-25]") {
  Server server;
  server.host.advance(24h);
  CHECK(server.host.silent());
  CHECK(server.connection.state() == TcpState::established);
}

TEST_CASE("keep-alive waits for an idle connection with nothing outstanding",
          "[conformance][MUST-26]") {
  Server server{{}, host_config(), with_keepalive(60s)};
  SECTION("something comes just before it is due") {
    server.host.advance(59s);
    server.peer.send("x");
    server.host.advance(1s);
    server.host.forget_sent();
    server.host.advance(57s);
    CHECK(server.host.silent());
    server.host.advance(3s);
    CHECK_FALSE(server.host.silent());
  }
  SECTION("data is outstanding") {
    send_unanswered(server);
    server.host.advance(100s);
    CHECK(server.host.stack.stats().tcp.keepalive_probes == 0);
  }
}

TEST_CASE("the keep-alive interval is what was set", "[conformance][MUST-27][SHLD-12][MAY-5]") {
  Server server{{}, host_config(), with_keepalive(60s)};
  CHECK(departures(server.host, 59'999ms).empty());
  server.host.advance(1ms);
  CHECK(matches(server.host.take(), expect.flags("A").seq(server.peer.ack - 1).no_payload()));
}

TEST_CASE("without a value keep-alive waits two hours", "[conformance][MUST-28]") {
  ConnectionOptions options;
  options.keepalive.enabled = true;
  Server server{{}, host_config(), options};
  CHECK(departures(server.host, 7199s).empty());
  CHECK(departures(server.host, 2s).size() == 1);
}

TEST_CASE("unanswered probes end a connection when there were enough of them",
          "[conformance][MUST-29]") {
  Server server{{}, host_config(), with_keepalive(60s, 10s, 3)};
  server.host.advance(65s);  // one probe, lost
  server.host.forget_sent();
  CHECK(server.connection.state() == TcpState::established);
  server.host.advance(6s);  // the second
  server.peer.acknowledge();
  server.host.advance(30s);
  CHECK(server.connection.state() == TcpState::established);
  server.host.advance(2min);
  CHECK(server.connection.state() == TcpState::closed);
  CHECK(server.connection.error() == Errc::timed_out);
}

TEST_CASE("a probe may carry one byte of garbage", "[conformance][MAY-6]") {
  ConnectionOptions options = with_keepalive(60s);
  options.keepalive.garbage_byte = true;
  Server server{{}, host_config(), options};
  server.host.advance(60s);
  CHECK(matches(server.host.take(), expect.flags("A").seq(server.peer.ack - 1).payload_size(1)));
  server.peer.acknowledge();
  server.host.advance(59s);
  CHECK(server.host.silent());
  server.connection.send(as_bytes("z"));  // and took no sequence number
  server.host.turn();
  CHECK(matches(server.host.take(), expect.seq(server.peer.ack).payload("z")));
}
