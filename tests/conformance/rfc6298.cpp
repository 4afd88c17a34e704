// SPDX-License-Identifier: BSL-1.0

// The retransmission timer: RFC 6298.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

/// A connection whose handshake took `rtt`.
struct Measured {
  Host host;
  TcpListener listener = host.stack.listen({.port = 80});
  Peer peer;
  TcpConnection connection;

  explicit Measured(Duration rtt, PeerOptions options = {}, StackConfig config = host_config())
      : host{std::move(config)}, peer{host, options} {
    peer.send_syn();
    host.advance(rtt);
    peer.finish();
    connection = std::move(*listener.accept());
  }

  void send(std::string_view text) {
    connection.send(as_bytes(text));
    host.turn();
  }
  /// Data that is acknowledged after `rtt`.
  void exchange(Duration rtt) {
    send("data");
    peer.receive();
    host.advance(rtt);
    peer.acknowledge();
  }
};

/// How long after now each of the next `count` packets leaves.
std::vector<Duration> times_of_next(Host& host, std::size_t count) {
  std::vector<Duration> times;
  const Instant begin = host.clock.now();
  while (times.size() < count) {
    const Instant next = host.stack.next_deadline();
    REQUIRE(next != never);
    host.advance(next - host.clock.now());
    for (; !host.silent(); host.take()) times.push_back(host.clock.now() - begin);
  }
  return times;
}

}  // namespace

TEST_CASE("the time-out is 1 s before any sample", "[conformance][6298-01]") {
  Host host;
  Peer peer{host};
  auto connection = peer.receive_syn();
  host.advance(999ms);
  CHECK(host.silent());
  host.advance(1ms);
  CHECK(matches(host.take(), expect.flags("S")));
}

TEST_CASE("the first sample R makes SRTT R, RTTVAR R/2 and the time-out 3 R",
          "[conformance][6298-02]") {
  Measured measured{500ms};
  const TcpInfo info = measured.connection.info();
  CHECK(info.rtt == 500ms);
  CHECK(info.rttvar == 250ms);
  CHECK(info.rto == 1500ms);
  measured.send("data");
  CHECK(measured.host.take().payload().size() == 4);
  CHECK(times_of_next(measured.host, 1) == std::vector<Duration>{1500ms});
}

TEST_CASE("a further sample moves RTTVAR by 1/4 from the old SRTT, then SRTT by 1/8",
          "[conformance][6298-03]") {
  Measured measured{500ms};
  measured.exchange(700ms);
  TcpInfo info = measured.connection.info();
  CHECK(info.rttvar == 237'500us);
  CHECK(info.rtt == 525ms);
  CHECK(info.rto == 1475ms);
  measured.exchange(325ms);  // shorter than SRTT
  info = measured.connection.info();
  CHECK(info.rttvar == 228'125us);
  CHECK(info.rtt == 500ms);
}

// Deviation: 6298-04: the floor is 200 ms instead of 1 s, as in Linux, to repair losses on short
// paths in time. It is a setting.
TEST_CASE("the time-out has a floor that can be set", "[conformance][6298-04]") {
  StackConfig config = host_config();
  const Duration floor = GENERATE(Duration{200ms}, Duration{1s});
  if (floor == 1s) config.tcp.min_rto = 1s;
  Measured measured{20ms, {}, config};
  CHECK(measured.connection.info().rto == floor);
  measured.send("data");
  measured.host.take();
  CHECK(times_of_next(measured.host, 1) == std::vector<Duration>{floor});
}

TEST_CASE("the time-out is doubled up to a cap of 60 s", "[conformance][6298-05]") {
  Server server{{}, host_config(), {.user_timeout = {}}};
  server.connection.send(as_bytes("data"));
  server.host.turn();
  server.host.take();
  const auto times = times_of_next(server.host, 20);
  std::vector<Duration> gaps{times[0]};
  for (std::size_t i = 1; i < times.size(); ++i) gaps.push_back(times[i] - times[i - 1]);
  CHECK(gaps[8] == 51'200ms);
  CHECK(std::all_of(gaps.begin() + 9, gaps.end(), [](Duration gap) { return gap == 60s; }));
}

TEST_CASE("what was sent twice gives a sample only by timestamps, and once a round trip",
          "[conformance][6298-06]") {
  SECTION("without timestamps the ACK of a retransmission says nothing") {
    Measured measured{100ms};
    measured.send("data");
    measured.peer.receive();
    measured.host.advance(400ms);  // sent again at 300 ms
    REQUIRE(measured.connection.info().total_retransmissions == 1);
    measured.peer.acknowledge();
    CHECK(measured.connection.info().in_flight == 0);
    CHECK(measured.connection.info().rtt == 100ms);
  }
  SECTION("with timestamps it is known which one has arrived") {
    const bool second = GENERATE(false, true);
    Measured measured{100ms, {.timestamp = 5000}};
    measured.send("data");
    measured.peer.receive();
    measured.host.advance(300ms);
    REQUIRE(measured.connection.info().total_retransmissions == 1);
    if (second) measured.peer.receive();
    measured.host.advance(60ms);
    measured.peer.acknowledge();
    CHECK(measured.connection.info().rtt == (second ? 95ms : 132'500us));  // of 60 or 360 ms
  }
  SECTION("one segment of a flight is timed") {
    Measured measured{100ms};
    measured.send(std::string(3 * 1460, 'x'));
    for (int i = 0; i < 3; ++i) {
      measured.peer.receive();
      measured.host.advance(20ms);
      measured.peer.acknowledge();
    }
    CHECK(measured.connection.info().rtt == 90ms);  // of 20 ms; the other two are not timed
  }
}

TEST_CASE("the variance counts for at least the clock's granularity", "[conformance][6298-07]") {
  Measured measured{500ms};
  for (int i = 0; i < 60; ++i) measured.exchange(500ms);
  CHECK(measured.connection.info().rttvar < 1us);
  CHECK(measured.connection.info().rto == 501ms);  // timestamps tick once a millisecond
}

TEST_CASE("the timer starts with data, starts anew with each new ACK, and stops with the last",
          "[conformance][6298-08]") {
  Measured measured{500ms};  // RTO 1.5 s
  auto& [host, listener, peer, connection] = measured;
  const SeqNum una = peer.ack;
  measured.send(std::string(2 * 1460, 'x'));
  SECTION("more data and old ACKs do not move it") {
    host.advance(500ms);
    measured.send(std::string(1460, 'x'));
    host.advance(500ms);
    host.inject(peer.segment().ack(una));
    host.forget_sent();
    CHECK(times_of_next(host, 1) == std::vector<Duration>{500ms});
  }
  SECTION("a new ACK starts it anew") {
    host.advance(1s);
    host.inject(peer.segment().ack(una + 1460));
    host.forget_sent();
    const Duration rto = connection.info().rto;
    CHECK(rto > 1500ms);
    CHECK(times_of_next(host, 1) == std::vector<Duration>{rto});
  }
  SECTION("the last one stops it") {
    host.advance(1s);
    host.inject(peer.segment().ack(una + 2 * 1460));
    host.forget_sent();
    host.advance(100s);
    CHECK(host.silent());
    CHECK(host.stack.next_deadline() == never);
    const Duration rto = connection.info().rto;
    measured.send("data");
    host.take();
    CHECK(times_of_next(host, 1) == std::vector<Duration>{rto});
  }
}

TEST_CASE("each expiry sends the earliest segment again, doubles the time-out and starts it",
          "[conformance][6298-09]") {
  StackConfig config = host_config();
  config.tcp.min_rto = 1s;
  config.tcp.black_hole_detection = false;  // or a copy follows
  Measured measured{20ms, {}, config};
  measured.send(std::string(3 * 1460, 'x'));
  const SeqNum first = measured.peer.ack;
  measured.host.forget_sent();
  for (const Duration gap : {1s, 2s, 4s, 8s, 16s}) {
    measured.host.advance(gap - 1ms);
    CHECK(measured.host.silent());
    measured.host.advance(1ms);
    CHECK(matches(measured.host.take(), expect.seq(first).payload_size(1460)));
    CHECK(measured.host.silent());
  }
  CHECK(measured.connection.info().backoff == 5);
}

TEST_CASE("after a lost SYN the time-out for data is 3 s", "[conformance][6298-10]") {
  SECTION("ours") {
    Host host;
    Peer peer{host, {.timestamp = 5000}};
    auto connection = peer.receive_syn();
    host.advance(1s);
    peer.receive();
    host.inject(peer.syn().timestamps(5000, peer.tsecr).ack(peer.ack));
    connection.send(as_bytes("data"));
    host.turn();
    CHECK(connection.info().rto == 3s);
    host.forget_sent();
    CHECK(times_of_next(host, 1) == std::vector<Duration>{3s});
  }
  SECTION("our SYN+ACK") {
    Measured measured{1s};  // sent again at 1 s
    CHECK(measured.connection.info().rto == 3s);
  }
  SECTION("a longer initial time-out stays") {
    StackConfig config = host_config();
    config.tcp.initial_rto = 5s;
    Measured measured{5s, {}, config};
    CHECK(measured.connection.info().rto == 5s);
  }
}

TEST_CASE("a doubled time-out stays until there is a new sample", "[conformance][6298-11]") {
  Measured measured{500ms};
  auto& [host, listener, peer, connection] = measured;
  measured.send("data");
  peer.receive();
  host.advance(1500ms + 3000ms);
  host.forget_sent();
  peer.acknowledge();
  CHECK(connection.info().in_flight == 0);
  CHECK(connection.info().rto == 4 * 1500ms);
  measured.send("more");
  peer.receive();
  CHECK(times_of_next(host, 1) == std::vector<Duration>{6s});
  peer.acknowledge();
  CHECK(connection.info().rto == 8 * 1500ms);
  measured.exchange(500ms);
  CHECK(connection.info().rto == 1250ms);  // RTTVAR is 187.5 ms now
}
