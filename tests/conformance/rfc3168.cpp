// SPDX-License-Identifier: BSL-1.0

// Explicit congestion notification, what is received: RFC 3168 6.1.3, 6.1.5, RFC 8311 3. What is
// sent is in rfc3168_sending.cpp, how it begins in rfc3168_negotiation.cpp.
#include "../support/host.hpp"
#include <tunic/device/router.hpp>
#include <tunic/testing/expect.hpp>

#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

constexpr std::uint8_t not_ect = 0, ect1 = 1, ect0 = 2, ce = 3;

}  // namespace

TEST_CASE("new data is ECT(0), beside the user's DSCP", "[conformance][3168-04][SHLD-8]") {
  const bool agreed = GENERATE(true, false);
  const std::uint8_t dscp = 46;
  ConnectionOptions options;
  options.dscp = dscp;
  Server server{{.ecn = agreed}, host_config(), options};
  server.connection.send(as_bytes("data"));
  server.host.turn();
  CHECK(matches(server.host.take(), expect.payload("data").tos(static_cast<std::uint8_t>(
                                        dscp << 2 | (agreed ? ect0 : not_ect)))));
}

TEST_CASE("a mark is echoed on every ACK until CWR comes", "[conformance][3168-05]") {
  Server server{{.ecn = true}};
  auto& [host, listener, peer, connection] = server;
  const auto segment = [&peer = peer](std::uint8_t ecn) {
    const auto built = peer.segment().payload("data").tos(ecn);
    peer.seq += 4;
    return built;
  };
  const auto answer = [&host = host](const SegmentBuilder& arrives) {
    host.inject(arrives);
    host.advance(40ms);
    const Decoded packet = host.take();
    CHECK(host.silent());
    return packet;
  };
  CHECK(matches(answer(segment(ect0)), expect.flags(".")));
  CHECK(matches(answer(segment(ect1)), expect.flags(".")));
  CHECK(matches(answer(segment(ce)), expect.flags("E.")));
  for (int i = 0; i < 3; ++i) CHECK(matches(answer(segment(ect0)), expect.flags("E.")));
  SECTION("data carries it too, and a retransmission") {
    connection.send(as_bytes("reply"));
    host.turn();
    CHECK(matches(host.take(), expect.flags("PE.").payload("reply")));
    host.advance(1s);
    CHECK(matches(host.take(), expect.flags("PE.").payload("reply").ecn(not_ect)));
  }
  SECTION("CWR ends it") {
    CHECK(matches(answer(segment(ect0).cwr()), expect.flags(".")));
    CHECK(matches(answer(segment(ect0)), expect.flags(".")));
  }
  SECTION("CWR on a mark does not") {
    CHECK(matches(answer(segment(ce).cwr()), expect.flags("E.")));
    CHECK(matches(answer(segment(ect0)), expect.flags("E.")));
    CHECK(matches(answer(segment(ect0).cwr()), expect.flags(".")));
  }
  SECTION("CWR without new data does not either") {
    host.inject(peer.segment().cwr());
    CHECK(matches(answer(segment(ect0)), expect.flags("E.")));
  }
  SECTION("a mark and a later CWR that are read in one turn are both told") {
    CHECK(matches(answer(segment(ect0).cwr()), expect.flags(".")));
    host.inject_all({segment(ce).packet(), segment(ect0).cwr().packet()});
    CHECK(matches(host.take(), expect.flags("E.").ack(peer.seq)));
    CHECK(host.silent());
    CHECK(matches(answer(segment(ect0)), expect.flags(".")));
  }
  CHECK(host.stack.stats().tcp.ce_in == connection.info().received_ce);
  CHECK(connection.info().received_ce >= 1);
}

TEST_CASE("where marks begin and end, and at a CWR, the ACK is not delayed",
          "[conformance][3168-05]") {
  Server server{{.ecn = true}};
  auto& [host, listener, peer, connection] = server;
  struct Row {
    std::uint8_t ecn;
    bool cwr, at_once;
  };
  for (const Row& row : {Row{ect0, false, false}, Row{ce, false, true}, Row{ce, false, false},
                         Row{ect0, false, true}, Row{ect0, false, false}, Row{ect0, true, true}}) {
    const auto built = peer.segment().payload("data").tos(row.ecn);
    host.inject(row.cwr ? built.cwr() : built);
    peer.seq += 4;
    CHECK(host.silent() == !row.at_once);
    host.advance(40ms);
    CHECK(host.take_all().size() == 1);
  }
}

TEST_CASE("a mark on one fragment is a mark on the segment", "[conformance][3168-05]") {
  const bool marked = GENERATE(true, false);
  Server server{{.ecn = true}};
  auto fragments = testing::fragments(
      server.peer.segment().payload(std::string(100, 'x')).tos(ect0).packet(), 68);
  REQUIRE(fragments.size() > 1);
  if (marked) REQUIRE(router::mark_congestion(fragments.back()));
  server.host.inject_all(fragments);
  server.host.advance(40ms);
  CHECK(matches(server.host.take(), expect.flags(marked ? "E." : ".").ack(server.peer.seq + 100)));
}

TEST_CASE("nobody echoes marks who has not agreed to", "[conformance][3168-05]") {
  Server server;
  server.host.inject(server.peer.segment().payload("data").tos(ce));
  server.host.advance(40ms);
  CHECK(matches(server.host.take(), expect.flags(".")));
  CHECK(server.host.stack.stats().tcp.ce_in == 0);
}

TEST_CASE("a mark outside of the window is ignored", "[conformance][3168-08]") {
  Server server{{.ecn = true}};
  auto& [host, listener, peer, connection] = server;
  peer.send("data");
  const auto old = peer.segment().seq(peer.seq - 4).payload("data");
  const auto beyond = peer.segment().seq(peer.seq + 70'000).payload("data");
  const auto data = GENERATE_COPY(old, beyond);
  host.inject(data.tos(ce));
  CHECK(matches(host.take(), expect.flags(".").ack(peer.seq)));
  CHECK(host.stack.stats().tcp.ce_in == 0);
  host.inject(data.cwr().tos(ce));
  CHECK(matches(host.take(), expect.flags(".")));
  SECTION("and so is a CWR") {
    host.inject(peer.segment().payload("new").tos(ce));
    peer.seq += 3;
    CHECK(matches(host.take(), expect.flags("E.")));
    host.inject(peer.segment().seq(peer.seq - 3).payload("new").cwr());
    CHECK(matches(host.take(), expect.flags("E.")));
  }
}

TEST_CASE("the nonce bit is ignored, and never sent", "[conformance][8311-01]") {
  const bool asks = GENERATE(true, false);
  CAPTURE(asks);
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  const auto with_nonce_bit = [](const SegmentBuilder& built) {
    Packet packet = built.packet();
    packet[20 + 12] |= std::byte{1};
    testing::repair_checksums(packet);
    return packet;
  };
  const auto nonce_bit_of = [](const Decoded& packet) {
    return ((*packet.bytes)[20 + 12] & std::byte{1}) != std::byte{0};
  };
  host.inject(with_nonce_bit(asks ? peer.syn().ece().cwr() : peer.syn()));
  const Decoded answer = host.take();
  CHECK(matches(answer, expect.flags(asks ? "SE." : "S.")));
  CHECK_FALSE(nonce_bit_of(answer));
  peer.learn(*answer.tcp);
  peer.seq += 1;
  host.inject(with_nonce_bit(peer.segment()));
  auto connection = listener.accept();
  REQUIRE(connection);
  CHECK(connection->info().ecn == asks);
  host.inject(with_nonce_bit(peer.segment().payload("data").tos(ect1)));
  CHECK(read_all(*connection) == "data");
  connection->send(as_bytes("reply"));
  host.turn();
  const Decoded reply = host.take();
  CHECK(matches(reply, expect.flags("P.").payload("reply")));
  CHECK_FALSE(nonce_bit_of(reply));
}
