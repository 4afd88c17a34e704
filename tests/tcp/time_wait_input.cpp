// SPDX-License-Identifier: BSL-1.0
#include "../support/host.hpp"

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

// The right edge of the window that a segment of the host offers.
SeqNum edge_of(const TcpSegment& segment, const Host::Connection& connection) {
  return segment.ack + (std::uint32_t{segment.window} << connection.info().rcv_wscale);
}

}  // namespace

TEST_CASE("the ACK out of TIME-WAIT takes back nothing of the window", "[tcp][time_wait]") {
  Server server{{.window_scale = std::uint8_t{0}}};
  auto& [host, listener, peer, connection] = server;
  reach(server, TcpState::fin_wait_2);
  peer.send("odd");  // the window is a multiple of the scale no more
  host.advance(1s);
  const SeqNum promised = edge_of(host.take_tcp(), connection);
  peer.send_fin();
  REQUIRE(connection.state() == TcpState::time_wait);
  CHECK(promised <= edge_of(host.take_tcp(), connection));
}

TEST_CASE("a SYN that nobody may open TIME-WAIT for is acknowledged and counted",
          "[tcp][time_wait]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  reach(server, TcpState::time_wait);
  listener.close();
  host.inject(peer.bare().syn().seq(peer.seq + 1));
  CHECK(matches(host.take(), expect.flags("A").seq(peer.ack).ack(peer.seq)));
  CHECK(host.stack.stats().dropped(Drop::syn_in_synchronized) == 1);
}
