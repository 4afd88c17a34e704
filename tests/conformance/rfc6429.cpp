// SPDX-License-Identifier: BSL-1.0

// A peer that keeps its window shut: RFC 6429.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

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
