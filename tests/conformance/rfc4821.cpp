// SPDX-License-Identifier: BSL-1.0

// Packets that vanish because of their size, and no router says so: RFC 4821 7.7, RFC 2923 2.1.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

// A server on a path that swallows what is larger than it carries. Its peer acknowledges at once
// what arrives in order, and has SACK and timestamps or neither.
struct Hole : Server {
  std::size_t carries;
  std::vector<std::size_t> sizes{};  // of the packets with data that were sent
  SeqNum first = peer.ack;           // byte of all that was written
  bool dead = false;                 // nothing arrives

  explicit Hole(std::size_t bytes, bool modern = true, StackConfig config = host_config())
      : Server{modern ? PeerOptions{.sack = true, .timestamp = 5000U} : PeerOptions{}, config},
        carries{bytes} {}

  void write(std::size_t bytes) {
    connection.send(as_bytes(std::string(bytes, 'x')));
    host.turn();
  }
  /// Nothing arrives from now on, and what is written times out so often.
  void write_in_vain(std::size_t bytes, std::uint64_t timeouts) {
    dead = true;
    write(bytes);
    while (stats().timeouts < timeouts) run(10ms);
  }
  /// Time passes, and what is sent meanwhile arrives at once or never.
  void run(Duration time) {
    const Instant end = host.clock.now() + time;
    for (;;) {
      while (exchange()) {
      }
      const Instant next = std::min(host.stack.next_deadline(), end);
      host.advance(next - host.clock.now());
      if (next == end && !exchange()) return;
    }
  }
  bool exchange() {
    const auto packets = host.take_all();
    const SeqNum before = peer.ack;
    for (const Decoded& packet : packets) {
      if (packet.tcp->payload.empty()) continue;
      sizes.push_back(packet.bytes->size());
      if (dead || packet.bytes->size() > carries || peer.ack < packet.tcp->seq) continue;
      peer.learn(*packet.tcp);
      peer.tsval += 1;
      peer.acknowledge();
    }
    return peer.ack != before;
  }
  [[nodiscard]] std::uint32_t arrived() const {
    return static_cast<std::uint32_t>(peer.ack - first);
  }
  [[nodiscard]] std::uint16_t path_mtu() const { return connection.info().path_mtu; }
  [[nodiscard]] const TcpStats& stats() { return host.stack.stats().tcp; }
};

}  // namespace

TEST_CASE("a path that swallows large packets is found out at the second time-out",
          "[conformance][4821-01]") {
  const bool modern = GENERATE(false, true);
  const auto [carries, learnt, timeouts] =
      GENERATE(table<std::size_t, std::uint16_t, std::uint64_t>(
          {{1400, 1200, 2}, {1200, 1200, 2}, {1199, 552, 3}, {552, 552, 3}}));
  CAPTURE(modern, carries);
  Hole hole{carries, modern};
  hole.write(30'000);
  hole.run(5s);
  CHECK(hole.arrived() == 30'000);
  CHECK(hole.path_mtu() == learnt);
  CHECK(hole.stats().timeouts == timeouts);
  CHECK(hole.stats().black_holes == 1);
  CHECK(hole.stats().path_mtu_reports == 0);
  const TcpInfo info = hole.connection.info();
  CHECK(info.total_retransmissions == hole.stats().retransmissions);
  CHECK(info.bytes_sent == 30'000 + info.bytes_retrans);
  // From then on nothing is lost.
  const auto resent = hole.stats().retransmissions;
  hole.write(30'000);
  hole.run(5s);
  CHECK(hole.arrived() == 60'000);
  CHECK(hole.stats().retransmissions == resent);
}

TEST_CASE("a single segment is enough to find it out", "[conformance][4821-01]") {
  Hole hole{1400};
  hole.write(1448);
  hole.run(5s);
  CHECK(hole.arrived() == 1448);
  CHECK(hole.path_mtu() == 1200);
}

TEST_CASE("a path that shrinks under a transfer is found out too", "[conformance][4821-01]") {
  Hole hole{1500};
  hole.write(60'000);
  hole.run(1s);
  REQUIRE(hole.arrived() == 60'000);
  hole.carries = 1300;
  hole.write(60'000);
  hole.run(5s);
  CHECK(hole.arrived() == 120'000);
  CHECK(hole.path_mtu() == 1200);
}

TEST_CASE("what was found out serves the next connection to the destination",
          "[conformance][4821-01]") {
  Hole hole{1400};
  hole.write(30'000);
  hole.run(5s);
  REQUIRE(hole.stats().black_holes == 1);
  Peer next{hole.host, {.port = 40001}};
  auto connection = next.connect_to(hole.listener);
  CHECK(connection.info().path_mtu == 1200);
  // And after ten minutes the full size is tried again.
  hole.run(10min);
  CHECK(connection.info().path_mtu == 1500);
  hole.write(1448);
  CHECK(matches(hole.host.take(), expect.payload_size(1448)));
}

TEST_CASE("it costs no congestion window but that of the time-out",
          "[conformance][4821-01][8899-03]") {
  Hole hole{1400};
  hole.write(30'000);
  const auto mss = hole.connection.info().snd_mss;
  while (hole.stats().black_holes == 0) {
    hole.host.advance(hole.host.stack.next_deadline() - hole.host.clock.now());
    hole.exchange();
  }
  // RFC 5681 3.1: one segment, and slow start's share of what was acknowledged.
  CHECK(hole.connection.info().snd_cwnd == mss + 1148U);
  CHECK(hole.connection.info().snd_ssthresh <= 10U * mss);
}

TEST_CASE("a dead peer is no black hole", "[conformance][4821-01]") {
  Hole hole{1500};
  hole.dead = true;
  hole.write(30'000);
  hole.run(2min);
  CHECK(hole.stats().timeouts > 5);
  CHECK(hole.stats().black_holes == 0);
  CHECK(hole.path_mtu() == 1500);
  // When it lives again, the full size is what arrives.
  hole.dead = false;
  hole.sizes.clear();
  hole.run(2min);
  CHECK(hole.arrived() == 30'000);
  CHECK(hole.stats().black_holes == 0);
  CHECK(hole.path_mtu() == 1500);
  Peer next{hole.host, {.port = 40001}};
  auto connection = next.connect_to(hole.listener);
  CHECK(connection.info().path_mtu == 1500);
}

TEST_CASE("the first time-out, and one of small segments, send no copy", "[conformance][4821-01]") {
  const auto [bytes, copies] =
      GENERATE(table<std::size_t, std::size_t>({{1448, 1}, {1000, 1}, {500, 0}}));
  Hole hole{1500};
  hole.write_in_vain(bytes, 1);
  const auto whole = [full = bytes + 52](std::size_t size) { return size == full; };
  CHECK(std::ranges::all_of(hole.sizes, whole));
  while (hole.stats().timeouts < 2) hole.run(10ms);
  CHECK(hole.sizes.size() - static_cast<std::size_t>(std::ranges::count_if(hole.sizes, whole)) ==
        copies);
}

TEST_CASE(
    "the whole segment goes first, then copies by turns as large as nearly all paths carry "
    "and as small as we go",
    "[conformance][4821-01]") {
  Hole hole{1500, false};
  hole.write_in_vain(1460, 4);
  CHECK(hole.sizes == std::vector<std::size_t>{1500, 1500, 1500, 1200, 1500, 552, 1500, 1200});
}

TEST_CASE("a copy that arrives late tells as much", "[conformance][4821-01]") {
  const std::uint32_t payload = GENERATE(1160U, 512U);
  Hole hole{1500, false};
  hole.write_in_vain(30'000, 4);
  hole.host.inject(hole.peer.segment().ack(hole.first + payload));
  CHECK(hole.path_mtu() == payload + 40);
  CHECK(hole.stats().black_holes == 1);
}

TEST_CASE("an acknowledgement of anything else is no proof", "[conformance][4821-01]") {
  const std::uint32_t payload = GENERATE(1U, 500U, 1159U, 1161U, 1460U, 2920U);
  Hole hole{1500, false};
  hole.write_in_vain(30'000, 3);
  hole.host.inject(hole.peer.segment().ack(hole.first + payload));
  CHECK(hole.path_mtu() == 1500);
  CHECK(hole.stats().black_holes == 0);
  // And what was sent before it is no proof afterwards.
  hole.host.inject(hole.peer.segment().ack(hole.first + payload + 1160));
  CHECK(hole.path_mtu() == 1500);
}

TEST_CASE("a shut window is no black hole", "[conformance][4821-01]") {
  Hole hole{1500, false};
  hole.write_in_vain(30'000, 1);
  hole.host.inject(hole.peer.segment().window(0));
  hole.sizes.clear();
  hole.run(1min);
  CHECK(hole.stats().zero_window_probes > 3);
  CHECK(hole.sizes.empty());
  CHECK(hole.stats().black_holes == 0);
  hole.dead = false;
  hole.peer.acknowledge();
  hole.run(1s);
  CHECK(hole.arrived() == 30'000);
  CHECK(hole.path_mtu() == 1500);
}

TEST_CASE("a copy keeps within a window that has shrunk", "[conformance][4821-01]") {
  Hole hole{1500, false};
  hole.write_in_vain(30'000, 1);
  hole.host.inject(hole.peer.segment().window(1000));
  hole.sizes.clear();
  hole.run(10s);
  CHECK(hole.stats().timeouts > 3);
  REQUIRE_FALSE(hole.sizes.empty());
  CHECK(std::ranges::max(hole.sizes) <= 1040);
  CHECK(hole.stats().black_holes == 0);
}

TEST_CASE("a copy that the device had no room for keeps within a window that has shrunk since",
          "[conformance][4821-01]") {
  const auto [window, copies] = GENERATE(table<std::uint16_t, std::size_t>({{1200, 1}, {1000, 0}}));
  Hole hole{1500, false};
  hole.dead = true;
  hole.write(30'000);
  while (hole.stats().timeouts < 1) hole.run(10ms);
  hole.host.stack.device().set_capacity(1);
  while (hole.stats().timeouts < 2) hole.host.advance(10ms);
  CHECK(matches(hole.host.take(), expect.payload_size(1460)));
  hole.host.stack.device().set_capacity(0);
  hole.host.inject(hole.peer.segment().window(window));
  hole.host.stack.device().set_capacity(1000);
  hole.host.turn();
  const auto packets = hole.host.take_all();
  CHECK(packets.size() == copies);
  for (const Decoded& packet : packets) CHECK(matches(packet, expect.payload_size(1160)));
}

TEST_CASE("finding out can be switched off", "[conformance][4821-01]") {
  StackConfig config = host_config();
  config.tcp.black_hole_detection = false;
  Hole hole{1400, true, config};
  hole.write(30'000);
  hole.run(1min);
  CHECK(hole.arrived() == 0);
  CHECK(std::ranges::all_of(hole.sizes, [](std::size_t size) { return size == 1500; }));
}
