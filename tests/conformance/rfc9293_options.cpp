// SPDX-License-Identifier: BSL-1.0
// Options, checksums and sizes of segments: RFC 9293 3.1, 3.2, 3.7.

#include "../support/host.hpp"

#include <algorithm>
#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

Packet bytes_of(std::initializer_list<int> values) {
  Packet bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

// Sends more than one segment holds and returns the largest payload that comes.
std::size_t largest_payload(Server& server) {
  server.connection.send(as_bytes(std::string(30'000, 'x')));
  server.host.turn();
  std::size_t largest = 0;
  for (const Decoded& packet : server.host.take_all())
    largest = std::max(largest, packet.tcp->payload.size());
  return largest;
}

}  // namespace

TEST_CASE("every segment of a transfer has a right checksum", "[conformance][MUST-2]") {
  Server server{{.sack = true, .timestamp = 1}};
  for (std::size_t size = 1; size < 60; ++size) {  // odd and even payloads
    server.connection.send(as_bytes(std::string(size, 'x')));
    server.host.turn();
    for (const Decoded& packet : server.host.take_all()) {  // `next` verifies
      CHECK_FALSE(packet.malformed.has_value());
      server.peer.learn(*packet.tcp);
    }
    server.peer.acknowledge();
  }
  CHECK(server.host.stack.stats().tcp.segments_out >= 60);
}

TEST_CASE("a segment with a wrong checksum changes nothing", "[conformance][MUST-3]") {
  Server server;
  const auto data = server.peer.segment().psh().payload("hello");
  server.host.inject(data.corrupt_checksum());
  CHECK(server.host.silent());
  CHECK(server.connection.readable_bytes() == 0);
  CHECK(server.host.stack.stats().dropped(Drop::bad_tcp_checksum) == 1);
  server.host.inject(data);
  CHECK(read_all(server.connection) == "hello");
}

TEST_CASE("end of list, no operation and MSS are understood in any order",
          "[conformance][MUST-4]") {
  const auto options =
      GENERATE(bytes_of({1, 2, 4, 3, 132, 0, 0, 0}), bytes_of({2, 4, 3, 132, 1, 0, 0, 0}),
               bytes_of({1, 1, 1, 2, 4, 3, 132, 0}), bytes_of({2, 4, 3, 132}));
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  host.inject(peer.bare().syn().seq(1000).raw_tcp_options(options));
  peer.learn(host.take_tcp());
  peer.seq += 1;
  peer.finish();
  auto connection = listener.accept();
  REQUIRE(connection.has_value());
  CHECK(connection->info().snd_mss == 900);
}

TEST_CASE("options may come on any segment", "[conformance][MUST-5]") {
  Server server;
  server.host.inject(server.peer.segment().raw_tcp_options(std::string(40, '\1')).payload("nops"));
  server.peer.seq += 4;
  server.host.inject(server.peer.segment().timestamps(1, 2).payload("stamp"));
  CHECK(read_all(server.connection) == "nopsstamp");
}

TEST_CASE("an unknown option with a length is skipped", "[conformance][MUST-6]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  host.inject(peer.bare().syn().seq(1000).raw_tcp_options(
      bytes_of({2, 4, 3, 132, 253, 8, 1, 2, 3, 4, 5, 6, 3, 3, 7, 0})));
  peer.learn(host.take_tcp());
  peer.seq += 1;
  peer.finish();
  auto connection = listener.accept();
  REQUIRE(connection.has_value());
  CHECK(connection->info().snd_mss == 900);
  CHECK(connection->info().snd_wscale == 7);
}

TEST_CASE("an illegal option length drops the segment", "[conformance][MUST-7]") {
  const auto options = GENERATE(bytes_of({254, 0, 0, 0}), bytes_of({254, 1, 0, 0}),
                                bytes_of({254, 41, 0, 0}), bytes_of({1, 1, 1, 2}));
  Server server;
  server.host.inject(server.peer.segment().raw_tcp_options(options).payload("hello"));
  CHECK(server.connection.readable_bytes() == 0);
  server.host.inject(
      testing::segment({peer_ip, 50000}, {host_ip, 80}).syn().raw_tcp_options(options));
  CHECK(server.host.silent());
  CHECK(server.host.stack.stats().dropped(Drop::bad_tcp_option) == 2);
  server.peer.send("fine");
  CHECK(read_all(server.connection) == "fine");
}

TEST_CASE("MSS is sent and obeyed", "[conformance][MUST-14]") {
  Host host;
  Peer other{host};
  auto connection = host.stack.connect({.remote = other.here()});
  host.turn();
  CHECK(matches(host.take(), expect.flags("S").mss(1460)));
  Server server{{.mss = std::uint16_t{900}, .timestamp = 1}};
  CHECK(largest_payload(server) == 888);
}

TEST_CASE("a peer that announces no MSS gets 536 bytes", "[conformance][MUST-15]") {
  Server server{{.mss = std::nullopt}};
  CHECK(largest_payload(server) == 536);
}

TEST_CASE("the effective MSS is bounded by the path, less options", "[conformance][MUST-16]") {
  Server server{{.mss = std::uint16_t{9000}, .timestamp = 1}};
  CHECK(largest_payload(server) == 1448);
}

TEST_CASE("options are found at any alignment", "[conformance][MUST-64]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host, {.timestamp = 5}};
  host.inject(peer.bare().syn().seq(1000).raw_tcp_options(
      bytes_of({1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 0, 2, 4, 3, 132})));
  const Decoded answer = host.take();
  CHECK(matches(answer, expect.flags("SA").timestamp_echo(5)));
}

TEST_CASE("MSS is on SYNs alone, and ignored elsewhere", "[conformance][MUST-65]") {
  Server server;
  server.host.inject(server.peer.segment().mss(200).payload("x"));
  server.peer.seq += 1;
  CHECK(server.connection.info().snd_mss == 1460);
  server.connection.send(as_bytes(std::string(5000, 'x')));
  server.connection.shutdown_send();
  server.host.advance(1s);
  for (const Decoded& packet : server.host.take_all()) CHECK(matches(packet, expect.no_mss()));
}

TEST_CASE("the MSS announced is not more than can be reassembled", "[conformance][MUST-67]") {
  StackConfig config = host_config();
  config.ip.max_datagram_bytes = 1000;
  Host host{config};
  auto listener = host.stack.listen({.port = 80});
  host.inject(Peer{host}.syn());
  CHECK(matches(host.take(), expect.flags("SA").mss(960)));
}

TEST_CASE("every option that is sent but 0 and 1 has a length, and padding is zero",
          "[conformance][MUST-68][MUST-69]") {
  TcpOptions options;
  for (unsigned bits = 0; bits < 64; ++bits) {
    options.has_mss = (bits & 1) != 0;
    options.has_window_scale = (bits & 2) != 0;
    options.sack_permitted = (bits & 4) != 0;
    options.has_timestamps = (bits & 8) != 0;
    options.sack_count = static_cast<std::uint8_t>(bits >> 4);
    Packet bytes(40, std::byte{0xee});
    bytes.resize(write_tcp_options(bytes, options));
    REQUIRE(bytes.size() % 4 == 0);
    std::size_t at = 0;
    while (at < bytes.size() && bytes[at] != std::byte{0}) {
      if (bytes[at] == std::byte{1}) {
        ++at;
        continue;
      }
      REQUIRE(at + 1 < bytes.size());
      const auto length = static_cast<std::size_t>(bytes[at + 1]);
      REQUIRE(length >= 2);
      at += length;
      REQUIRE(at <= bytes.size());
    }
    CHECK(std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(),
                      [](std::byte b) { return b == std::byte{0}; }));
  }
}

TEST_CASE("MSS is in SYN and SYN+ACK, whatever the MTU", "[conformance][SHLD-5][MAY-3]") {
  const auto mtu = GENERATE(std::size_t{576}, std::size_t{1500}, std::size_t{9000});
  ManualClock clock;
  StackConfig config = host_config();
  Stack<MockDevice> stack{MockDevice{{.mtu_bytes = mtu}}, config};
  auto listener = stack.listen({.port = 80});
  auto connection = stack.connect({.remote = {peer_ip, 9}});
  stack.device().inject(testing::segment({peer_ip, 1}, {host_ip, 80}).syn().packet());
  stack.poll(clock.now());
  stack.flush(clock.now());
  for (int i = 0; i < 2; ++i) {
    CHECK(matches(stack.device().take(), expect.mss(static_cast<std::uint16_t>(mtu - 40))));
  }
}

TEST_CASE("the MSS announced can be set for links whose MTU varies", "[conformance][SHLD-6]") {
  Host host;
  auto listener = host.stack.listen({.port = 80, .connection = {.max_segment_size = 1260}});
  Peer peer{host};
  host.inject(peer.syn());
  CHECK(matches(host.take(), expect.flags("SA").mss(1260)));
}
