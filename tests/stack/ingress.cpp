// SPDX-License-Identifier: BSL-1.0

// Packets that come together are taken in as if each came alone.
#include "../support/host.hpp"
#include <tunic/device/random.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

// Hands over one packet at a time, so that none continues another.
struct OneByOne : MockDevice {
  using MockDevice::MockDevice;
  RxResult receive(std::span<RxPacket> batch, BlockPool& pool) noexcept {
    const std::size_t before = pending();
    const RxResult result = MockDevice::receive(batch.first(1), pool);
    return {result.count, before > 1 ? DeviceStatus::ok : result.status};
  }
};

// A server that reads and writes as it is told.
template <class D>
struct Side {
  ManualClock clock;
  Stack<D> stack{D{}, host_config()};
  TcpListener listener =
      stack.listen({.port = 80, .connection = {.no_delay = true, .receive_buffer = 20'000}});
  TcpConnection connection;
  std::string received;

  void turn(const std::vector<Packet>& packets, bool reads, std::size_t writes) {
    for (const Packet& packet : packets) stack.device().inject(packet);
    stack.poll(clock.now());
    if (auto accepted = listener.accept()) connection = std::move(*accepted);
    while (stack.next_event()) {
    }
    if (reads) received += read_all(connection);
    if (writes != 0) (void)connection.send(as_bytes(pattern_text(writes)));
    stack.flush(clock.now());
  }
  std::vector<Packet> sent() {
    std::vector<Packet> packets;
    while (auto packet = stack.device().take()) packets.push_back(std::move(*packet));
    return packets;
  }
};

// What a peer may send, and what others may make of it.
class Peers {
 public:
  Peers(std::uint64_t seed, PeerOptions options) : random_{seed}, peer_{nowhere_, options} {}

  Packet syn() {
    auto packet = peer_.syn().packet();
    peer_.seq = SeqNum{peer_.options.isn} + 1;
    return packet;
  }
  void learn(const Packet& sent) {
    const Decoded packet = testing::decode(sent);
    if (!packet.tcp) return;
    peer_.learn(*packet.tcp);
    expected_ = packet.tcp->ack;
  }
  // What got lost is sent again.
  void repair() { peer_.seq = expected_; }
  // One segment; most are the next in order.
  Packet next() {
    const std::size_t size = random_.chance(0.95) ? 1000 : random_.below(1400);
    if (random_.chance(0.05)) tos_ = static_cast<std::uint8_t>(random_.below(4));
    if (random_.chance(0.05)) reports_ = !reports_;
    SegmentBuilder segment = peer_.segment().payload(pattern_text(size)).tos(tos_);
    if (reports_) segment = segment.sack({{peer_.ack - 100, peer_.ack - 50}});
    peer_.seq += static_cast<std::uint32_t>(size);
    if (random_.chance(0.3)) segment = segment.psh();
    if (random_.chance(0.2)) segment = strange(segment);
    Packet packet = segment.packet();
    if (random_.chance(0.01)) packet.resize(packet.size() + random_.below(8));  // padded
    if (random_.chance(0.01)) packet[10] ^= std::byte{1};                       // IP's checksum
    if (random_.chance(0.01)) packet.resize(20 + random_.below(packet.size() - 20));
    return packet;
  }
  std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }

 private:
  SegmentBuilder strange(const SegmentBuilder& segment) {
    const auto some = static_cast<std::uint32_t>(random_.below(3000));
    switch (random_.below(20)) {
      case 0:
        return segment.seq(peer_.seq - some);
      case 1:
        return segment.seq(peer_.seq + some);
      case 2:
        return segment.ack(peer_.ack - some);
      case 3:
        return segment.ack(peer_.ack + some);
      case 4:
        return segment.window(static_cast<std::uint16_t>(some));
      case 5:
        return segment.corrupt_checksum();
      case 6:
        return segment.tos(static_cast<std::uint8_t>(random_.below(4)));
      case 7:
        return segment.ttl(static_cast<std::uint8_t>(1 + random_.below(255)));
      case 8:
        return segment.ece();
      case 9:
        return segment.cwr();
      case 10:
        return segment.urgent(static_cast<std::uint16_t>(some));
      case 11:
        peer_.tsval += static_cast<std::uint32_t>(random_.below(3));
        return segment.timestamps(peer_.tsval, peer_.tsecr);
      case 12:
        return segment.sack({{peer_.ack - some, peer_.ack}});
      case 13:
        return segment.payload("");
      case 14:
        return segment.ip_options(pattern_text(4));
      case 15:
        return segment.df(false).ip_id(static_cast<std::uint16_t>(some));
      case 16:
        return segment.fragment(0, true);
      case 17:
        return some < 100 ? segment.fin() : segment;
      case 18:
        return some < 100 ? segment.rst() : segment.rst().seq(peer_.seq + some);
      default:
        return some < 100 ? segment.syn() : segment;
    }
  }

  Random random_;
  Host nowhere_;
  Peer peer_;
  SeqNum expected_;       // by the server
  std::uint8_t tos_ = 0;  // for some time
  bool reports_ = false;  // a duplicate, for some time
};

}  // namespace

TEST_CASE("what comes together is judged as what comes alone", "[stack][ingress]") {
  std::uint64_t coalesced = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    PeerOptions options{.sack = seed % 2 == 0, .ecn = seed % 3 == 0};
    if (seed % 5 < 3) options.timestamp = 7U;
    Peers peers{seed, options};
    Side<MockDevice> together;
    Side<OneByOne> alone;
    std::vector<Packet> packets{peers.syn()};
    for (int turn = 0; turn < 40; ++turn) {
      const bool reads = peers.below(seed % 4 == 0 ? 12 : 2) == 0;
      const std::size_t writes = peers.below(3) == 0 ? peers.below(4000) : 0;
      together.turn(packets, reads, writes);
      alone.turn(packets, reads, writes);
      const auto sent = together.sent();
      REQUIRE(sent == alone.sent());
      for (const Packet& packet : sent) peers.learn(packet);
      packets.clear();
      if (peers.below(3) == 0) peers.repair();
      for (std::uint64_t count = peers.below(20); count > 0; --count)
        packets.push_back(peers.next());
      const Duration pause = std::chrono::microseconds{peers.below(3000)};
      together.clock.advance(pause);
      alone.clock.advance(pause);
    }
    REQUIRE(together.received == alone.received);
    REQUIRE(together.connection.info() == alone.connection.info());
    Stats a = together.stack.stats();
    const Stats& b = alone.stack.stats();
    REQUIRE(b.ip.packets_coalesced == 0);
    coalesced += std::exchange(a.ip.packets_coalesced, 0);
    REQUIRE(a.ip == b.ip);
    REQUIRE(a.tcp == b.tcp);
    REQUIRE(a.drops == b.drops);
  }
  CHECK(coalesced > 3000);
}

TEST_CASE("the rest of a burst continues its first packet", "[stack][ingress]") {
  Server server;
  std::vector<Packet> burst;
  for (int i = 0; i < 10; ++i) {
    burst.push_back(server.peer.segment().payload(pattern_text(1000)).packet());
    server.peer.seq += 1000;
  }
  server.host.inject_all(burst);
  CHECK(server.host.stack.stats().ip.packets_coalesced == 9);
  CHECK(server.connection.readable_bytes() == 10'000);
  CHECK(server.connection.info().segs_in == 12);
}
