// SPDX-License-Identifier: BSL-1.0

// A peer that keeps its window shut: RFC 6429.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

/// A connection whose peer has shut its window while data waits.
struct Stalled : Server {
  explicit Stalled(ConnectionOptions options = {}, StackConfig config = host_config())
      : Server{{}, config, options} {
    host.inject(peer.segment().window(0));
    connection.send(as_bytes(std::string(100'000, 'x')));
    host.turn();
    REQUIRE(host.silent());
  }
  /// Time passes; the peer acknowledges every probe with window 0. Returns their number.
  std::size_t answer_for(Duration time) {
    std::size_t probes = 0;
    const Instant end = host.clock.now() + time;
    while (host.clock.now() < end && connected()) {
      host.advance(1s);
      while (auto packet = host.next()) {
        if (packet->tcp->has(TcpFlags::rst)) {
          last_reset = packet->tcp->seq;
          return probes;
        }
        ++probes;
        host.inject(peer.segment().window(0));
      }
    }
    return probes;
  }
  [[nodiscard]] bool connected() { return host.stack.stats().gauges.connections != 0; }

  std::optional<SeqNum> last_reset;
};

}  // namespace

TEST_CASE("a peer that acknowledges probes keeps the connection for a day",
          "[conformance][6429-01]") {
  Stalled stalled;  // R2 is five minutes
  const std::size_t probes = stalled.answer_for(24h);
  CHECK(probes > 24 * 60 - 10);
  CHECK(probes < 24 * 60 + 20);
  CHECK(stalled.connection.state() == TcpState::established);
  stalled.peer.acknowledge();
  CHECK(matches(stalled.host.take(), expect.seq(stalled.peer.ack).payload_size(1460)));
}

TEST_CASE("a connection with a shut window can be aborted at any time", "[conformance][6429-02]") {
  Stalled stalled;
  auto& [host, listener, peer, connection] = static_cast<Server&>(stalled);
  stalled.answer_for(1h);
  connection.abort();
  host.turn();
  CHECK(matches(host.take(), expect.flags("RA").seq(peer.ack)));
  CHECK(host.stack.stats().gauges.buffer_bytes == 0);
  connection = {};
  CHECK_FALSE(stalled.connected());
  host.advance(10min);
  CHECK(host.silent());
}

TEST_CASE("a connection with a shut window is aborted some time after its application has gone",
          "[conformance][6429-02]") {
  const bool patient = GENERATE(false, true);
  StackConfig config = host_config();
  config.tcp.orphan_timeout = 10min;  // many probes
  Stalled stalled{{.user_timeout = patient ? Duration{} : Duration{15min}}, config};
  auto& [host, listener, peer, connection] = static_cast<Server&>(stalled);
  stalled.answer_for(1h);
  connection = {};
  CHECK(host.stack.stats().gauges.orphans == 1);
  const Instant left = host.clock.now();
  stalled.answer_for(1h);
  CHECK(host.clock.now() - left == 10min);
  CHECK(stalled.last_reset == peer.ack);
  CHECK_FALSE(stalled.connected());
  CHECK(host.stack.stats().gauges.buffer_bytes == 0);
}

TEST_CASE("ten thousand peers with shut windows do not use up the memory for good",
          "[conformance][6429-03]") {
  const std::string block(2000, 'x');
  StackConfig config = host_config();
  config.memory_budget = std::size_t{32} << 20;
  Host host{config};
  auto listener = host.stack.listen({.port = 80, .connection = {.send_buffer = 4000}});
  std::vector<TcpConnection> stalled;
  const auto within_budget = [&] {
    return host.stack.stats().gauges.buffer_bytes <= config.memory_budget;
  };
  for (std::uint16_t i = 0; i < 10'000; ++i) {
    Peer peer{host, {.port = static_cast<std::uint16_t>(10'000 + i)}};
    host.inject(peer.syn());
    if (host.silent()) break;
    peer.learn(host.take_tcp());
    peer.seq = SeqNum{peer.options.isn} + 1;
    host.inject(peer.segment().window(0));
    stalled.push_back(std::move(*listener.accept()));
    while (stalled.back().send(as_bytes(block)).error == Errc::none) REQUIRE(within_budget());
    host.turn();
  }
  REQUIRE(stalled.size() > 5'000);
  CHECK(stalled.back().send(as_bytes(block)).error == Errc::no_memory);
  while (host.stack.next_event()) {
  }

  // There is no memory for another connection, until the windows have been shut for long enough.
  Peer peer{host, {.port = 50'000}};
  host.inject(peer.syn());
  CHECK(host.silent());
  host.advance(1min);
  host.forget_sent();
  CHECK(host.stack.stats().tcp.stalled_aborts == 0);
  const auto answered = [&] {  // the other segments are resets
    bool any = false;
    for (const Decoded& packet : host.take_all()) {
      if (packet.tcp->dst_port != peer.options.port) continue;
      peer.learn(*packet.tcp);
      any = true;
    }
    return any;
  };
  for (int i = 0; i < 100 && !answered(); ++i) host.inject(peer.syn());
  peer.seq = SeqNum{peer.options.isn} + 1;
  peer.finish();
  auto connection = std::move(*listener.accept());
  std::size_t sent = 0;
  for (int i = 0; i < 100; ++i) {
    sent += connection.send(as_bytes(block)).bytes;
    host.turn();
    answered();
    for (int tries = 0; connection.readable_bytes() == 0; ++tries) {
      REQUIRE(tries < 3);
      host.inject(peer.segment().payload(std::string(1000, 'y')));
    }
    peer.seq += static_cast<std::uint32_t>(read_all(connection).size());
    CHECK(within_budget());
  }
  CHECK(sent > 100'000);

  // The longest stalled have gone, and their program hears of it.
  const auto aborted = host.stack.stats().tcp.stalled_aborts;
  CHECK(aborted > 0);
  CHECK(aborted < 500);
  std::uint64_t told = 0;
  while (const auto event = host.stack.next_event()) told += has(event->flags, EventFlags::error);
  CHECK(told == aborted);
  for (std::size_t i = 0; i < 1'000; ++i) {
    CAPTURE(i);
    CHECK(stalled[i].error() == (i < aborted ? Errc::no_memory : Errc::none));
  }
}

TEST_CASE("who has stalled itself takes no memory from others that have",
          "[conformance][6429-03]") {
  StackConfig config = host_config();
  config.memory_budget = std::size_t{1} << 20;
  Stalled stalled{{.send_buffer = 1 << 20, .user_timeout = Duration{}}, config};
  auto& [host, listener, peer, connection] = static_cast<Server&>(stalled);
  Peer other{host, {.port = 40'001}};
  auto second = other.connect_to(listener);
  host.inject(other.segment().window(0));
  second.send(as_bytes(std::string(1 << 20, 'x')));
  host.turn();
  stalled.answer_for(5min);
  CHECK(second.send(as_bytes(std::string(1 << 20, 'x'))).error == Errc::no_memory);
  CHECK(connection.error() == Errc::none);
  CHECK(host.stack.stats().tcp.stalled_aborts == 0);
}
