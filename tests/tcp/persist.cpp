// SPDX-License-Identifier: BSL-1.0
#include "../support/host.hpp"

using namespace tunic;
using namespace tunic::test;

// The probe of a first shut window is held back by the device until the window has opened and shut
// again: it used to start a probing that nobody's patience ended.
TEST_CASE("probing a window that shut twice while the device was full ends with an orphan's time",
          "[tcp][persist]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  host.inject(peer.segment().window(0));
  connection.send(as_bytes("waits"));
  host.turn();
  host.forget_sent();
  host.stack.device().set_capacity(0);
  host.advance(2s);  // the probe is due
  host.inject_all({peer.segment().window(1000).packet(), peer.segment().window(0).packet()});
  connection = {};
  host.stack.device().set_capacity(1000);
  host.turn();
  host.advance(10min);
  CHECK(host.stack.stats().gauges.connections == 0);
}
