// SPDX-License-Identifier: BSL-1.0

// The virtio-net header: what the stack asks a device with offloads to do, and that what goes on a
// wire is what it would have sent segment by segment.
#include "../support/offload.hpp"

using namespace tunic;
using namespace tunic::test;

namespace {

Packet bytes_of(const Decoded& packet) { return *packet.bytes; }

std::string text_of(Bytes bytes) { return std::string{as_text(bytes)}; }

}  // namespace

TEST_CASE("on a TUN a checksum starts behind the IP header", "[conformance][VNH-03][VNH-16]") {
  OffloadServer server{{.timestamp = 1U}};
  // Taken from the device as it is: its place holds the sum of the pseudo-header.
  REQUIRE(server.connection.send(as_bytes("hello")).bytes == 5);
  server.host.turn();
  const Bytes raw = server.host.stack.device().front();
  const Offload offload = server.host.stack.device().front_offload();
  CHECK(offload.checksum == ChecksumState::partial);
  CHECK(offload.checksum_start == 20);
  CHECK(offload.checksum_offset == 16);
  InternetSum sum = pseudo_header_sum(host_ip, peer_ip, IpProtocol::tcp,
                                      static_cast<std::uint32_t>(raw.size() - 20));
  const auto field = static_cast<std::uint16_t>(std::to_integer<unsigned>(raw[36]) << 8 |
                                                std::to_integer<unsigned>(raw[37]));
  CHECK(field == static_cast<std::uint16_t>(~sum.finish()));
  CHECK(server.sent().size() == 1);  // and finished as the header says it is right
}

TEST_CASE("what belongs to no connection has a partial checksum too", "[conformance][VNH-16]") {
  Host host{host_config(), with_offloads};
  host.inject(Peer{host, {.host_port = 81}}.syn());
  CHECK(host.take_tcp().has(TcpFlags::rst));
  CHECK(host.offload.checksum == ChecksumState::partial);
}

TEST_CASE("without offloads checksums are complete and packets as large as the MTU",
          "[conformance][VNH-15]") {
  OffloadServer server{{}, MockOptions{}};
  server.open_window(30);
  for (const Decoded& packet : server.write(pattern_text(20 * 1460))) {
    CHECK(packet.tcp->payload.size() == 1460);
  }
  for (const Offload& offload : server.offloads) CHECK(offload == Offload{});
}

TEST_CASE("consecutive full segments leave as one packet", "[conformance][VNH-17][VNH-20]") {
  OffloadServer server{{.timestamp = 1U}};
  server.open_window(60);
  const std::string text = pattern_text(20 * 1448);
  const auto packets = server.write(text);
  REQUIRE(packets.size() == 1);
  CHECK(packets[0].ip.header.total_length == 20 + 32 + text.size());
  const Offload& offload = server.offloads[0];
  CHECK(offload.segmentation == Segmentation::tcp_v4);
  CHECK(offload.segment_bytes == 1448);
  CHECK(offload.header_bytes == 52);
  CHECK(offload.checksum == ChecksumState::partial);
  CHECK_FALSE(offload.ecn);

  const auto segments = on_wire(bytes_of(packets[0]), offload);
  REQUIRE(segments.size() == 20);
  std::string arrived;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Decoded& segment = segments[i];
    REQUIRE_FALSE(segment.malformed.has_value());  // both checksums are right
    CHECK(segment.ip.header.total_length == 1500);
    CHECK(segment.ip.header.id == i);
    CHECK(segment.tcp->seq == packets[0].tcp->seq + static_cast<std::uint32_t>(1448 * i));
    CHECK(segment.tcp->options == packets[0].tcp->options);
    CHECK(segment.tcp->has(TcpFlags::psh) == (i == 19));
    arrived += as_text(segment.tcp->payload);
  }
  CHECK(arrived == text);
}

TEST_CASE("a super-segment has at most 65535 bytes, and the rest is the next",
          "[conformance][VNH-17]") {
  OffloadServer server;
  server.open_window(100);
  const std::string text = pattern_text(90 * 1460);
  const auto packets = server.write(text);
  REQUIRE(packets.size() == 3);
  CHECK(packets[0].ip.header.total_length == 40 + 44 * 1460);
  CHECK(packets[1].ip.header.total_length == 40 + 44 * 1460);
  CHECK(packets[2].ip.header.total_length == 40 + 2 * 1460);
  CHECK(server.host.stack.stats().ip.super_segments_out >= 3);
}

TEST_CASE("a payload that fits one segment is no super-segment", "[conformance][VNH-18]") {
  OffloadServer server;
  for (const std::size_t size : {std::size_t{1}, std::size_t{1459}, std::size_t{1460}}) {
    CHECK(server.write(pattern_text(size)).size() == 1);
    CHECK(server.offloads[0].segmentation == Segmentation::none);
    CHECK(server.offloads[0].segment_bytes == 0);
    server.peer.acknowledge();
  }
}

TEST_CASE("the last segment may be shorter, and has the PSH and the FIN", "[conformance][VNH-19]") {
  OffloadServer server;
  server.open_window(30);
  REQUIRE(server.connection.send(as_bytes(pattern_text(3 * 1460 + 7))).bytes != 0);
  server.connection.shutdown_send();
  server.host.turn();
  const auto packets = server.sent();
  REQUIRE(packets.size() == 1);
  const auto segments = on_wire(bytes_of(packets[0]), server.offloads[0]);
  REQUIRE(segments.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(segments[i].tcp->has(TcpFlags::fin) == (i == 3));
    CHECK(segments[i].tcp->has(TcpFlags::psh) == (i == 3));
  }
  CHECK(segments[3].tcp->payload.size() == 7);
}

TEST_CASE("urgent data leaves segment by segment", "[conformance][VNH-19]") {
  OffloadServer server;
  server.open_window(30);
  REQUIRE(server.connection.send_urgent(as_bytes(pattern_text(5 * 1460))).bytes == 5 * 1460);
  server.host.turn();
  CHECK(server.sent().size() == 5);
  for (const Offload& offload : server.offloads) CHECK(offload.segmentation == Segmentation::none);
}

TEST_CASE("a path of a smaller MTU gets smaller segments at once", "[conformance][VNH-22]") {
  OffloadServer server;
  server.open_window(40);
  const auto before = server.write(pattern_text(20 * 1460));
  REQUIRE(before.size() == 1);
  server.host.inject(testing::icmp_unreachable(
      peer_ip, host_ip, IcmpUnreachable::fragmentation_needed, bytes_of(before[0]), 1400));
  server.host.advance(2s);
  std::string again;
  const auto after = server.sent();
  REQUIRE_FALSE(after.empty());
  for (std::size_t i = 0; i < after.size(); ++i) {
    for (const Decoded& segment : on_wire(bytes_of(after[i]), server.offloads[i])) {
      CHECK(segment.ip.header.total_length <= 1400);
      if (again.empty() && segment.tcp->seq == before[0].tcp->seq)
        again = text_of(segment.tcp->payload);
    }
  }
  CHECK(again == pattern_text(1360));
}

TEST_CASE("of a super-segment only the hole is sent again", "[conformance][VNH-23]") {
  OffloadServer server{{.sack = true}};
  server.open_window(60);
  const auto packets = server.write(pattern_text(20 * 1460));
  REQUIRE(packets.size() == 1);
  const SeqNum first = packets[0].tcp->seq;
  server.host.advance(10ms);
  server.host.inject(
      server.peer.segment().ack(first + 2 * 1460).sack({{first + 3 * 1460, first + 20 * 1460}}));
  server.host.advance(5ms);
  const auto again = server.sent();
  REQUIRE(again.size() == 1);
  CHECK(again[0].tcp->seq == first + 2 * 1460);
  CHECK(again[0].tcp->payload.size() == 1460);
  CHECK(server.offloads[0].segmentation == Segmentation::none);
  CHECK(server.host.stack.stats().tcp.retransmissions == 1);

  // Holes that lie together are one packet again.
  server.host.advance(5ms);
  server.peer.acknowledge();
  server.sent();
  const SeqNum second = server.peer.ack;
  REQUIRE(server.write(pattern_text(10 * 1460)).size() == 1);
  server.host.advance(10ms);
  server.host.inject(
      server.peer.segment().ack(second + 2 * 1460).sack({{second + 5 * 1460, second + 10 * 1460}}));
  server.host.advance(5ms);
  const auto holes = server.sent();
  REQUIRE_FALSE(holes.empty());
  CHECK(holes[0].tcp->seq == second + 2 * 1460);
  CHECK(holes[0].tcp->payload.size() == 3 * 1460);
  CHECK(server.offloads[0].segment_bytes == 1460);
}

TEST_CASE("the congestion window bounds a super-segment", "[conformance][VNH-24]") {
  StackConfig config = host_config();
  config.tcp.initial_window = 2;
  OffloadServer server{{}, with_offloads, config};
  const auto packets = server.write(pattern_text(60 * 1460));
  REQUIRE(packets.size() == 1);
  CHECK(packets[0].tcp->payload.size() == 2 * 1460);
}

TEST_CASE("so does the peer's window", "[conformance][VNH-24]") {
  OffloadServer server;
  server.open_window(40);
  server.peer.options.window = 100;  // 6400 bytes
  server.peer.acknowledge();
  const auto packets = server.write(pattern_text(20 * 1460));
  REQUIRE(packets.size() == 1);
  CHECK(packets[0].tcp->payload.size() == 4 * 1460);
}

TEST_CASE("a device that loses its offloads gets the same bytes without them, at once",
          "[conformance][VNH-25]") {
  OffloadServer server;
  server.open_window(100);
  const bool checksums = GENERATE(false, true);
  const bool mid_batch = GENERATE(false, true);
  MockDevice& device = server.host.stack.device();
  const std::string text = pattern_text(90 * 1460);
  REQUIRE(server.connection.send(as_bytes(text)).bytes == text.size());
  if (mid_batch) device.set_capacity(1);  // one super-segment has left
  if (mid_batch) server.host.turn();
  device.set_capacity(1000);
  checksums ? device.end_partial_checksums() : device.end_segmentation();
  server.host.turn();

  std::string arrived;
  SeqNum expected = server.peer.ack;
  for (const Decoded& packet : server.sent()) {
    REQUIRE(packet.tcp->seq == expected);
    expected = packet.tcp->seq + packet.tcp->length();
    arrived += as_text(packet.tcp->payload);
  }
  CHECK(arrived == text);
  CHECK(server.host.stack.stats().tcp.retransmissions == 0);
  CHECK(server.offloads.back().segmentation == Segmentation::none);
  CHECK((server.offloads.back().checksum == ChecksumState::complete) == checksums);
}

TEST_CASE("a reset that meets a lost offload is sent all the same", "[conformance][VNH-25]") {
  Host host{host_config(), with_offloads};
  host.stack.device().end_partial_checksums();
  host.inject(Peer{host, {.host_port = 81}}.syn());
  CHECK(host.take_tcp().has(TcpFlags::rst));
  CHECK(host.offload == Offload{});
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::device_refused) == 0);
}

TEST_CASE("segments of two connections are never one packet", "[conformance][VNH-27]") {
  Host host{host_config(), with_offloads};
  auto listener = host.stack.listen({.port = 80, .connection = {.no_delay = true}});
  Peer one{host, {.port = 40000}}, two{host, {.port = 40001}};
  auto a = one.connect_to(listener);
  auto b = two.connect_to(listener);
  ConnectionOptions marked = b.options();
  marked.dscp = 10;
  CHECK(b.set_options(marked) == Errc::none);
  for (int i = 0; i < 2; ++i) {
    for (auto* connection : {&a, &b}) {
      REQUIRE(connection->send(as_bytes(pattern_text(1460))).bytes == 1460);
    }
  }
  host.turn();
  const auto packets = host.take_all();
  REQUIRE(packets.size() == 2);
  for (const Decoded& packet : packets) {
    CHECK(packet.tcp->payload.size() == 2 * 1460);
    CHECK(packet.ip.header.tos == (packet.tcp->dst_port == 40001 ? 40 : 0));
  }
}
