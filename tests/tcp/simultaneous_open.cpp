// SPDX-License-Identifier: BSL-1.0
#include "../support/host.hpp"

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

TEST_CASE("a simultaneous open that ends before our SYN+ACK has left sends no SYN any more",
          "[tcp][handshake]") {
  Host host;
  Peer peer{host};
  auto connection = peer.receive_syn();
  const auto crossing = peer.syn().packet();
  peer.seq = SeqNum{peer.options.isn} + 1;
  host.inject_all({crossing, peer.segment().packet()});
  CHECK(connection.state() == TcpState::established);
  CHECK(host.silent());
  host.advance(2min);
  CHECK(host.silent());
}

TEST_CASE("a SYN+ACK that is sent again offers no smaller window than the first one",
          "[tcp][handshake]") {
  Host host;
  Peer peer{host};
  auto connection = peer.receive_syn();
  host.inject(peer.syn());
  const std::uint16_t offered = host.take_tcp().window;
  ConnectionOptions smaller = connection.options();
  smaller.receive_buffer = 3000;
  REQUIRE(connection.set_options(smaller) == Errc::none);
  host.advance(3s);
  CHECK(matches(host.take(), expect.flags("SA").window(offered)));
}
