// SPDX-License-Identifier: BSL-1.0
// When data and acknowledgements leave: RFC 9293 3.7.4 (Nagle), 3.8.6.3 (delayed ACK), 3.9.1.2
// (PUSH).

#include "../support/host.hpp"

#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

void write(Server& server, std::string_view text) {
  server.connection.send(as_bytes(text));
  server.host.turn();
}

}  // namespace

TEST_CASE("Nagle's algorithm holds a small segment while data is in flight",
          "[conformance][SHLD-7]") {
  Server server;
  write(server, "a");
  CHECK(matches(server.host.take(), expect.payload("a")));
  write(server, "b");
  write(server, "c");
  CHECK(server.host.silent());
  SECTION("until it is acknowledged") {
    server.peer.ack += 1;
    server.peer.acknowledge();
    CHECK(matches(server.host.take(), expect.payload("bc")));
  }
  SECTION("or a full segment is there") {
    write(server, std::string(1460, 'x'));
    CHECK(matches(server.host.take(), expect.payload_size(1460)));
    CHECK(server.host.silent());
  }
}

TEST_CASE("Nagle's algorithm can be switched off", "[conformance][MUST-17]") {
  Server server;
  server.connection.set_no_delay(true);
  write(server, "a");
  write(server, "b");
  CHECK(matches(server.host.take(), expect.payload("a")));
  CHECK(matches(server.host.take(), expect.payload("b")));
}

TEST_CASE("a write on an idle connection leaves at once", "[conformance][MUST-60]") {
  Server server;
  write(server, std::string(100, 'x'));
  CHECK(matches(server.host.take(), expect.payload_size(100)));
}

TEST_CASE("PSH is on the last segment of what was written", "[conformance][MUST-61][MAY-15]") {
  Server server;
  server.connection.set_no_delay(true);
  write(server, std::string(3 * 1460 + 1, 'x'));
  for (int i = 0; i < 3; ++i)
    CHECK(matches(server.host.take(), expect.without_flags("P").payload_size(1460)));
  CHECK(matches(server.host.take(), expect.has_flags("P").payload_size(1)));
}

TEST_CASE("small writes that waited leave together", "[conformance][SHLD-27]") {
  Server server;
  write(server, "first");
  server.host.forget_sent();
  for (int i = 0; i < 10; ++i) write(server, "push ");
  server.peer.ack += 5;
  server.peer.acknowledge();
  CHECK(matches(server.host.take(), expect.has_flags("P").payload_size(50)));
  CHECK(server.host.silent());
}

TEST_CASE("bulk data leaves in full segments", "[conformance][SHLD-28]") {
  Server server;
  write(server, std::string(10 * 1460, 'x'));
  const auto packets = server.host.take_all();
  REQUIRE(packets.size() == 10);
  for (const Decoded& packet : packets) CHECK(matches(packet, expect.payload_size(1460)));
}

TEST_CASE("a corked connection holds what does not fill a segment, for a while",
          "[conformance][MAY-16]") {
  Server server;
  server.connection.set_cork(true);
  write(server, "held");
  CHECK(server.host.silent());
  SECTION("uncorked") {
    server.connection.set_cork(false);
    server.host.turn();
    CHECK(matches(server.host.take(), expect.payload("held")));
  }
  SECTION("after 200 ms") {
    server.host.advance(199ms);
    CHECK(server.host.silent());
    server.host.advance(1ms);
    CHECK(matches(server.host.take(), expect.payload("held")));
  }
  SECTION("before a FIN") {
    server.connection.shutdown_send();
    server.host.turn();
    CHECK(matches(server.host.take(), expect.has_flags("F").payload("held")));
  }
}

TEST_CASE("unsent data is dropped by an abort alone", "[conformance][MAY-14]") {
  Server server;
  write(server, "a");
  write(server, "held by Nagle");
  server.host.forget_sent();
  server.connection.abort();
  server.host.turn();
  CHECK(matches(server.host.take(), expect.has_flags("R").seq(server.peer.ack + 1)));
}

TEST_CASE("the PSH of received data is shown", "[conformance][MAY-17]") {
  Server server;
  server.host.inject(server.peer.segment().payload("a"));
  CHECK_FALSE(server.connection.pushed());
  server.peer.seq += 1;
  server.peer.send("b");
  CHECK(server.connection.pushed());
}

TEST_CASE("an ACK is delayed, but below half a second", "[conformance][MUST-40][SHLD-18]") {
  Server server;
  server.peer.send("small");
  CHECK(server.host.silent());
  SECTION("alone") {
    server.host.advance(499ms);
    CHECK(matches(server.host.take(), expect.flags("A").ack(server.peer.seq).no_payload()));
  }
  SECTION("with data") {
    write(server, "reply");
    CHECK(matches(server.host.take(), expect.ack(server.peer.seq).payload("reply")));
    server.host.advance(1s);
    CHECK(server.host.stack.stats().tcp.retransmissions >
          0);  // of the reply; no ACK of its own came
  }
}

TEST_CASE("with a delay of zero every segment is acknowledged at once", "[conformance][SHLD-18]") {
  StackConfig config = host_config();
  config.tcp.delayed_ack = Duration{0};
  Server server{{}, config};
  server.peer.send("small");
  CHECK(matches(server.host.take(), expect.flags("A").ack(server.peer.seq)));
}

TEST_CASE("segments that come together are acknowledged together", "[conformance][MUST-58]") {
  Server server;
  std::vector<Packet> batch;
  for (int i = 0; i < 10; ++i) {
    batch.push_back(server.peer.segment().payload(std::string(1460, 'x')).packet());
    server.peer.seq += 1460;
  }
  server.host.inject_all(batch);
  CHECK(matches(server.host.take(), expect.flags("A").ack(server.peer.seq)));
  CHECK(server.host.silent());
}

TEST_CASE("a filled gap is acknowledged once, for all of it", "[conformance][MUST-59][SHLD-31]") {
  Server server;
  const SeqNum start = server.peer.seq;
  for (std::uint32_t i = 1; i <= 20; ++i) {
    server.host.inject(server.peer.segment().seq(start + 100 * i).payload(std::string(100, 'x')));
  }
  server.host.forget_sent();
  server.host.inject(server.peer.segment().payload(std::string(100, 'x')));
  CHECK(matches(server.host.take(), expect.flags("A").ack(start + 2100)));
  CHECK(server.host.silent());
  CHECK(server.connection.readable_bytes() == 2100);
}

TEST_CASE("every second full segment is acknowledged", "[conformance][SHLD-19]") {
  Server server;
  for (int i = 0; i < 20; ++i) server.peer.send(std::string(1460, 'x'));
  CHECK(server.host.take_all().size() >= 10);
}

TEST_CASE("an out-of-order segment is acknowledged at once", "[conformance][MAY-13]") {
  Server server;
  server.host.inject(server.peer.segment().seq(server.peer.seq + 10).payload("later"));
  CHECK(matches(server.host.take(), expect.flags("A").ack(server.peer.seq).no_payload()));
}
