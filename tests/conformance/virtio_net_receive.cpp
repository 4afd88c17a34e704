// SPDX-License-Identifier: BSL-1.0

// The virtio-net header: what the stack makes of packets whose checksum is not finished, or vouched
// for, and of several segments in one packet.
#include "../support/offload.hpp"

#include <algorithm>

using namespace tunic;
using namespace tunic::test;

namespace {

// A packet whose checksum is left to be finished: its place holds the sum of the pseudo-header.
Packet with_partial_checksum(const SegmentBuilder& segment) {
  Packet packet = segment.packet();
  const auto ip = Ipv4Parser{}(packet);
  const std::size_t tcp_bytes =
      (std::to_integer<std::size_t>(packet[ip->header.header_length + 12]) >> 4) * 4;
  start_tcp_checksum(MutableBytes{packet}.subspan(ip->header.header_length, tcp_bytes),
                     ip->header.src, ip->header.dst, ip->payload.size() - tcp_bytes);
  return packet;
}

constexpr Offload partial{
    .checksum = ChecksumState::partial, .checksum_start = 20, .checksum_offset = 16};
constexpr Offload verified{.checksum = ChecksumState::verified};

}  // namespace

TEST_CASE("a SYN with a partial checksum is answered", "[conformance][VNH-06]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  const Packet syn = with_partial_checksum(Peer{host}.syn());
  SECTION("by a SYN of our own") {
    host.stack.device().inject(syn, partial);
    host.turn();
    CHECK(host.take_tcp().flags == (TcpFlags::syn | TcpFlags::ack));
  }
  SECTION("behind options of IP") {
    const Packet packet = with_partial_checksum(Peer{host}.syn().ip_options(std::string(4, '\1')));
    host.stack.device().inject(
        packet, {.checksum = ChecksumState::partial, .checksum_start = 24, .checksum_offset = 16});
    host.turn();
    CHECK(host.take_tcp().flags == (TcpFlags::syn | TcpFlags::ack));
  }
  SECTION("but not without the word of the device") {
    host.inject(syn);
    CHECK(host.silent());
    CHECK(host.stack.stats().dropped(Drop::bad_tcp_checksum) == 1);
  }
  SECTION("nor where the word is about another checksum") {
    const auto [start, offset] = GENERATE(std::pair{40, 16}, std::pair{20, 6}, std::pair{0, 10});
    host.stack.device().inject(syn, {.checksum = ChecksumState::partial,
                                     .checksum_start = static_cast<std::uint16_t>(start),
                                     .checksum_offset = static_cast<std::uint16_t>(offset)});
    host.turn();
    CHECK(host.silent());
    CHECK(host.stack.stats().dropped(Drop::bad_tcp_checksum) == 1);
  }
}

TEST_CASE("a checksum that was verified is not verified again, any other is",
          "[conformance][VNH-07]") {
  Server server;
  const Packet wrong = server.peer.segment().payload("hello").corrupt_checksum().packet();
  server.host.stack.device().inject(wrong);
  server.host.turn();
  CHECK(server.connection.readable_bytes() == 0);
  CHECK(server.host.stack.stats().dropped(Drop::bad_tcp_checksum) == 1);
  server.host.stack.device().inject(wrong, verified);
  server.host.turn();
  CHECK(read_all(server.connection) == "hello");
}

TEST_CASE("the word of a device is about a packet, not about fragments", "[conformance][VNH-07]") {
  Server server;
  Packet whole = server.peer.segment().payload(std::string(200, 'x')).corrupt_checksum().packet();
  for (const Packet& part : testing::fragments(whole, 100)) {
    server.host.stack.device().inject(part, verified);
  }
  server.host.turn();
  CHECK(server.host.stack.stats().dropped(Drop::bad_tcp_checksum) == 1);
}

TEST_CASE("the largest super-segment arrives whole and is acknowledged once",
          "[conformance][VNH-08]") {
  OffloadServer server;
  const std::string text = pattern_text(65535 - 40);
  const std::uint64_t before = server.host.stack.stats().tcp.segments_in;
  server.inject(server.peer.segment().psh().payload(text), received(1448));
  const TcpSegment ack = server.host.take_tcp();
  CHECK(ack.ack == server.peer.seq + static_cast<std::uint32_t>(text.size()));
  CHECK(server.host.silent());
  CHECK(read_all(server.connection) == text);
  CHECK(server.host.stack.stats().tcp.segments_in - before == 46);
  CHECK(server.host.stack.stats().ip.super_segments_in == 1);
}

TEST_CASE("two segments in one are acknowledged at once, like two", "[conformance][VNH-08]") {
  OffloadServer server;
  server.inject(server.peer.segment().payload(pattern_text(1448 + 1448)), received(1448));
  CHECK(server.host.take_tcp().ack == server.peer.seq + 2 * 1448);
  // And the size of a full segment is what each of them carried.
  server.peer.seq += 2 * 1448;
  server.peer.send(pattern_text(1448));
  CHECK(server.host.silent());
  server.peer.send(pattern_text(1448));
  CHECK(server.host.take_tcp().ack == server.peer.seq);
}

TEST_CASE("a single segment with a segment size may wait, like any", "[conformance][VNH-08]") {
  OffloadServer server;
  server.inject(server.peer.segment().payload(pattern_text(1448)), received(1448));
  CHECK(server.host.silent());
  server.host.advance(41ms);
  CHECK(server.host.take_tcp().ack == server.peer.seq + 1448);
}

TEST_CASE("a super-segment beyond a hole owes an ACK for each of its segments",
          "[conformance][VNH-08]") {
  OffloadServer server{{.sack = true}};
  const SeqNum hole = server.peer.seq;
  server.inject(server.peer.segment().seq(hole + 100).payload(pattern_text(4 * 1000 + 1)),
                received(1000));
  const auto acks = server.host.take_all();
  CHECK(acks.size() == 5);
  for (const Decoded& ack : acks) {
    CHECK(ack.tcp->ack == hole);
    REQUIRE(ack.tcp->options.sack_count == 1);
    CHECK(ack.tcp->options.sack[0] == SackBlock{hole + 100, hole + 4101});
  }
  // So does one that came before, but there are not more than can be.
  server.inject(server.peer.segment().payload(std::string(100, 'x')), {});
  server.host.forget_sent();
  server.inject(server.peer.segment().seq(hole + 100).payload(pattern_text(4 * 1000 + 1)),
                received(1000));
  CHECK(server.host.take_all().size() == 5);
  server.inject(server.peer.segment().seq(hole + 100).payload(pattern_text(4 * 1000 + 1)),
                received(1));
  CHECK(server.host.take_all().size() == 64);
  CHECK(read_all(server.connection) == std::string(100, 'x') + pattern_text(4001));
}

TEST_CASE("a super-segment that is in part old or beyond the window is cut to what is new",
          "[conformance][VNH-08]") {
  StackConfig config = host_config();
  OffloadServer server{{}, with_offloads, config};
  const SeqNum start = server.peer.seq;
  const std::string text = pattern_text(5000);
  server.inject(server.peer.segment().payload(text.substr(0, 1500)), {});
  server.inject(server.peer.segment().seq(start).payload(text), received(1000));
  CHECK(read_all(server.connection) == text);
  CHECK(server.host.stack.stats().tcp.duplicates == 1);
}

TEST_CASE("a FIN behind a super-segment counts when all is here", "[conformance][VNH-08]") {
  OffloadServer server;
  server.inject(server.peer.segment().fin().payload(pattern_text(3000)), received(1000));
  CHECK(server.host.take_tcp().ack == server.peer.seq + 3001);
  CHECK(read_all(server.connection) == pattern_text(3000));
  CHECK(server.connection.at_end());
}

TEST_CASE("segments of a batch share an ACK in order, and none beyond a hole",
          "[stack][conformance][VNH-27]") {
  Server server{{.sack = true}};
  std::vector<Packet> batch;
  for (std::uint32_t i = 0; i < 20; ++i) {
    batch.push_back(
        server.peer.segment().seq(server.peer.seq + 1000 * i).payload(pattern_text(1000)).packet());
  }
  SECTION("all of them") {
    server.host.inject_all(batch);
    CHECK(server.host.take_tcp().ack == server.peer.seq + 20'000);
    CHECK(server.host.silent());
  }
  SECTION("but for one that is damaged") {
    batch[4].back() ^= std::byte{1};
    server.host.inject_all(batch);
    const auto acks = server.host.take_all();
    CHECK(acks.size() == 15);
    for (const Decoded& ack : acks) CHECK(ack.tcp->ack == server.peer.seq + 4000);
  }
}
