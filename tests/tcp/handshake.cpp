// SPDX-License-Identifier: BSL-1.0
#include "../support/host.hpp"

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

TEST_CASE("a SYN to a listener makes a connection that is accepted after the last ACK",
          "[tcp][handshake][FSM-05]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  host.inject(peer.syn());
  const Decoded answer = host.take();
  CHECK(matches(answer, expect.flags("SA").ack(1001)));
  CHECK_FALSE(listener.accept().has_value());
  peer.learn(*answer.tcp);
  peer.seq += 1;
  peer.finish();
  auto connection = listener.accept();
  REQUIRE(connection.has_value());
  CHECK(connection->state() == TcpState::established);
}

TEST_CASE("every state of an accepted connection can be reached", "[tcp][support]") {
  const auto state =
      GENERATE(TcpState::established, TcpState::fin_wait_1, TcpState::fin_wait_2,
               TcpState::close_wait, TcpState::closing, TcpState::last_ack, TcpState::time_wait);
  CAPTURE(name(state));
  Server server;
  reach(server, state);
}

TEST_CASE("a host connects to a peer", "[tcp][handshake]") {
  Host host;
  Peer peer{host};
  auto connection = peer.accept_from();
  CHECK(connection.state() == TcpState::established);
}

TEST_CASE("options out of their bounds are refused and change nothing", "[tcp][options]") {
  Server server;
  const auto refused = [&](auto change) {
    ConnectionOptions options;
    change(options);
    return server.connection.set_options(options) == Errc::invalid_argument;
  };
  CHECK(refused([](auto& options) { options.ttl = 0; }));
  CHECK(refused([](auto& options) { options.dscp = 64; }));
  CHECK(refused([](auto& options) { options.receive_buffer = 0; }));
  CHECK(refused([](auto& options) { options.user_timeout = Duration::max(); }));
  CHECK(refused([](auto& options) { options.user_timeout = -1ns; }));
  CHECK(refused([](auto& options) { options.linger = Duration::max(); }));
  CHECK(refused([](auto& options) { options.keepalive.interval = Duration{0}; }));
  CHECK(server.connection.options().ttl == 64);
}
