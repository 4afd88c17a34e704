// SPDX-License-Identifier: BSL-1.0
// The urgent mechanism: RFC 9293 3.8.5 with RFC 6093's meaning of the pointer.

#include "../support/host.hpp"

#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

bool told_urgent(Host& host) {
  bool told = false;
  while (const auto event = host.stack.next_event())
    told = told || has(event->flags, EventFlags::urgent);
  return told;
}

}  // namespace

TEST_CASE("urgent data is sent with URG and received as a mark", "[conformance][MUST-30]") {
  Server server;
  server.connection.send_urgent(as_bytes("u"));
  server.host.turn();
  CHECK(matches(server.host.take(), expect.has_flags("UA").payload("u")));
  CHECK_FALSE(told_urgent(server.host));
  server.host.inject(server.peer.segment().urgent(1).payload("x"));
  CHECK(told_urgent(server.host));
  CHECK(read_all(server.connection) == "x");  // in line
}

TEST_CASE("the pointer names the byte after the urgent data", "[conformance][MUST-62]") {
  Server server;
  server.connection.send_urgent(as_bytes("u"));
  server.connection.send(as_bytes("more"));
  server.host.turn();
  CHECK(matches(server.host.take(), expect.has_flags("U").urgent(1).payload("umore")));
}

TEST_CASE("urgent data may have any length", "[conformance][MUST-31]") {
  Server server{{.window_scale = std::uint8_t{7}},
                host_config(),
                {.send_buffer = 1 << 18, .receive_buffer = 1 << 18}};
  SECTION("sent") {
    server.connection.send_urgent(as_bytes(std::string(70'000, 'u')));
    server.connection.send(as_bytes(std::string(5000, 'n')));
    server.host.turn();
    SeqNum mark = server.peer.ack;
    const SeqNum start = server.peer.ack;
    while (!server.host.silent()) {
      for (const Decoded& packet : server.host.take_all()) {
        const TcpSegment& segment = *packet.tcp;
        if (segment.has(TcpFlags::urg)) mark = std::max(mark, segment.seq + segment.urgent);
        CHECK(segment.has(TcpFlags::urg) == (segment.seq < start + 70'000));
        server.peer.learn(segment);
        server.host.inject(server.peer.segment());
      }
    }
    CHECK(mark == start + 70'000);
  }
  SECTION("received") {
    std::size_t left = 70'000;
    while (left > 0) {
      const std::size_t size = std::min<std::size_t>(left, 1400);
      server.host.inject(
          server.peer.segment()
              .urgent(static_cast<std::uint16_t>(std::min<std::size_t>(left, 65'535)))
              .payload(std::string(size, 'u')));
      server.peer.seq += static_cast<std::uint32_t>(size);
      left -= size;
    }
    server.peer.send("normal");
    CHECK(server.connection.urgent_remaining() == 70'000);
    server.connection.consume(69'999);
    CHECK(server.connection.urgent_remaining() == 1);
    server.connection.consume(1);
    CHECK(server.connection.urgent_remaining() == 0);
    CHECK(read_all(server.connection) == "normal");
  }
}

TEST_CASE("the user is told of a new and of an advanced pointer", "[conformance][MUST-32]") {
  Server server;
  told_urgent(server.host);
  server.host.inject(server.peer.segment().urgent(10));  // before any of its data
  CHECK(told_urgent(server.host));
  server.host.inject(server.peer.segment().urgent(10));
  CHECK_FALSE(told_urgent(server.host));
  server.host.inject(server.peer.segment().urgent(20));
  CHECK(told_urgent(server.host));
}

TEST_CASE("the user can ask how much urgent data remains", "[conformance][MUST-33]") {
  Server server;
  server.host.inject(server.peer.segment().urgent(4).payload("urgent"));
  CHECK(server.connection.urgent_remaining() == 4);
  server.connection.consume(3);
  CHECK(server.connection.urgent_remaining() == 1);
  server.connection.consume(1);
  CHECK(server.connection.urgent_remaining() == 0);
}

TEST_CASE("nothing is urgent unless a program asks for it", "[conformance][SHLD-13]") {
  Server server;
  server.connection.send(as_bytes("plain"));
  server.connection.shutdown_send();
  server.host.turn();
  for (const Decoded& packet : server.host.take_all())
    CHECK(matches(packet, expect.without_flags("U")));
}
