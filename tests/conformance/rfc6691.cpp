// SPDX-License-Identifier: BSL-1.0

// The maximum segment size and options: RFC 6691.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

TEST_CASE("the MSS announced leaves out the fixed headers only", "[conformance][6691-01]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  host.inject(Peer{host, {.sack = true, .timestamp = 5000}}.syn());
  CHECK(matches(host.take(), expect.flags("SA").mss(1460).has_timestamps()));
  auto connection = host.stack.connect({.remote = {peer_ip, 443}});
  host.turn();
  CHECK(matches(host.take(), expect.flags("S").mss(1460).has_timestamps()));
}

TEST_CASE("options take their room from the payload", "[conformance][6691-02]") {
  const std::uint16_t mss = GENERATE(std::uint16_t{1460}, std::uint16_t{536});
  CAPTURE(mss);
  Server server{{.mss = mss, .sack = true, .timestamp = 5000}};
  auto& [host, listener, peer, connection] = server;
  for (const std::uint32_t offset : {100U, 200U, 300U})
    host.inject(peer.segment().seq(peer.seq + offset).payload("above a hole"));
  host.forget_sent();
  connection.send(as_bytes(std::string(3 * std::size_t{mss}, 'x')));
  host.turn();
  const TcpSegment full = host.take_tcp();
  CHECK(full.options.sack_count == 3);
  CHECK(full.options.encoded_bytes() == 40);
  CHECK(full.payload.size() == mss - 40U);
  peer.learn(full);
  peer.send(std::string(312, 'x'));  // fills the holes
  host.forget_sent();
  peer.ack = full.seq + connection.info().in_flight;
  peer.acknowledge();
  connection.send(as_bytes(std::string(mss, 'x')));
  host.turn();
  CHECK(matches(host.take(), expect.no_sack().payload_size(mss - 12U)));
}

TEST_CASE("a tiny MSS is taken for 88", "[conformance][6691-03]") {
  const std::uint16_t offer =
      GENERATE(std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{8}, std::uint16_t{87});
  CAPTURE(offer);
  SECTION("bare") {
    Server server{{.mss = offer}};
    server.connection.send(as_bytes(std::string(500, 'x')));
    server.host.turn();
    CHECK(matches(server.host.take(), expect.payload_size(88)));
  }
  SECTION("with all options a segment still carries something") {
    Server server{{.mss = offer, .sack = true, .timestamp = 5000}};
    auto& [host, listener, peer, connection] = server;
    for (const std::uint32_t offset : {100U, 200U, 300U})
      host.inject(peer.segment().seq(peer.seq + offset).payload("above a hole"));
    host.forget_sent();
    connection.send(as_bytes(std::string(500, 'x')));
    host.turn();
    CHECK(matches(host.take(), expect.payload_size(48)));
  }
  SECTION("in a connection that we open") {
    Host host;
    Peer peer{host, {.mss = offer}};
    auto connection = peer.accept_from();
    CHECK(connection.info().snd_mss == 88);
  }
}
