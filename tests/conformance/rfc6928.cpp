// SPDX-License-Identifier: BSL-1.0

// The initial window: RFC 6928 2.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

using namespace tunic;
using namespace tunic::test;

namespace {

// How many segments of full size leave before anything is acknowledged.
template <class Connection>
std::size_t burst(Host& host, Connection& connection, std::size_t mss) {
  connection.send(as_bytes(std::string(60'000, 'x')));
  host.turn();
  const auto packets = host.take_all();
  for (const Decoded& packet : packets) CHECK(packet.tcp->payload.size() == mss);
  return packets.size();
}

}  // namespace

TEST_CASE("the initial window is ten segments, at most 14600 bytes unless that is less than two",
          "[conformance][6928-01]") {
  const auto [mss, setting, segments] = GENERATE(table<std::uint16_t, std::uint8_t, std::size_t>(
      {{1460, 10, 10}, {536, 10, 10}, {9000, 10, 2}, {1460, 2, 2}, {1460, 1, 1}, {9000, 1, 1}}));
  CAPTURE(mss, setting);
  StackConfig config = host_config();
  config.tcp.initial_window = setting;
  Host host{config};
  host.stack.device().set_mtu_bytes(9040);
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host, {.mss = mss}};
  auto connection = peer.connect_to(listener);
  CHECK(connection.info().snd_cwnd == segments * mss);
  CHECK(burst(host, connection, mss) == segments);
}

TEST_CASE("a window after an idle time is the initial one for large segments too",
          "[conformance][6928-01]") {
  struct Restarting : DefaultTraits {
    using Congestion = BasicNewReno<StandardSlowStart, RestartAfterIdle>;
  };
  BasicHost<Restarting> host;
  host.stack.device().set_mtu_bytes(9040);
  auto listener = host.stack.listen({.port = 80});
  BasicPeer<Restarting> peer{host, {.mss = std::uint16_t{9000}}};
  auto connection = peer.connect_to(listener);
  for (int i = 0; i < 5; ++i) {
    connection.send(as_bytes(std::string(60'000, 'x')));
    host.turn();
    while (host.stack.device().sent() != 0) {
      peer.receive();
      peer.acknowledge();
    }
  }
  REQUIRE(connection.info().snd_cwnd > 18'000);
  host.advance(1min);
  connection.send(as_bytes(std::string(60'000, 'x')));
  host.turn();
  CHECK(host.take_all().size() == 2);
}

TEST_CASE("the acknowledgement of the handshake does not make it larger",
          "[conformance][6928-01]") {
  const bool passive = GENERATE(false, true);
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  auto connection = passive ? peer.connect_to(listener) : peer.accept_from();
  CHECK(connection.info().snd_cwnd == 14'600);
  peer.acknowledge();
  CHECK(connection.info().snd_cwnd == 14'600);
  CHECK(burst(host, connection, 1460) == 10);
}

TEST_CASE("one lost SYN or SYN+ACK keeps the initial window, two leave one segment",
          "[conformance][6928-02]") {
  const bool passive = GENERATE(false, true);
  const auto [lost, segments] =
      GENERATE(table<int, std::size_t>({{0, 10}, {1, 10}, {2, 1}, {3, 1}}));
  CAPTURE(passive, lost);
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  TcpConnection connection;
  if (passive) {
    peer.send_syn();
  } else {
    connection = peer.receive_syn();
  }
  for (int i = 0; i < lost; ++i) {
    while (host.silent()) host.advance(100ms);
    peer.receive();
  }
  if (passive) {
    peer.finish();
    connection = std::move(*listener.accept());
  } else {
    host.inject(peer.syn().ack(peer.ack));
    peer.seq = SeqNum{peer.options.isn} + 1;
    host.forget_sent();
  }
  CHECK(burst(host, connection, 1460) == segments);
}

TEST_CASE("after a time-out the window is one segment, whatever the initial one",
          "[conformance][6928-02]") {
  StackConfig config = host_config();
  config.tcp.initial_window = GENERATE(std::uint8_t{10}, std::uint8_t{30});
  Server server{{}, config};
  auto& [host, listener, peer, connection] = server;
  burst(host, connection, 1460);
  while (host.stack.stats().tcp.timeouts == 0) host.advance(10ms);
  CHECK(connection.info().snd_cwnd == 1460);
  CHECK(host.take_all().size() == 1);
}
