// SPDX-License-Identifier: BSL-1.0

// Super-segments hold what would have left segment by segment.
#include "../support/offload.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

MockOptions offloads(bool ecn) {
  MockOptions options = with_offloads;
  options.ecn_segmentation = ecn;
  return options;
}

// Something that happens to a server whose window is wide open.
struct Story {
  const char* name;
  PeerOptions peer;
  void (*tell)(OffloadServer&);
};

void write(OffloadServer& server, std::size_t bytes) {
  REQUIRE(server.connection.send(as_bytes(pattern_text(bytes))).bytes == bytes);
}

std::vector<Story> stories() {
  return {
      {"a short segment at the end", {}, [](OffloadServer& server) { write(server, 14'607); }},
      {"a FIN behind it",
       {.timestamp = 1U},
       [](OffloadServer& server) {
         write(server, 14'607);
         server.connection.shutdown_send();
       }},
      {"a window that ends within a segment",
       {},
       [](OffloadServer& server) {
         server.peer.options.window = 100;  // 6400 bytes
         server.peer.acknowledge();
         write(server, 14'607);
       }},
      {"data has come behind a hole",
       {.sack = true},
       [](OffloadServer& server) {
         server.host.stack.device().inject(
             server.peer.segment().seq(server.peer.seq + 10).payload("late").packet());
         server.host.stack.poll(server.host.clock.now());
         write(server, 14'607);
       }},
      {"data has come twice",
       {.sack = true},
       [](OffloadServer& server) {
         server.peer.send("twice");
         server.host.stack.device().inject(
             server.peer.segment().seq(server.peer.seq - 5).payload("twice").packet());
         server.host.stack.poll(server.host.clock.now());
         write(server, 14'607);
       }},
      {"a packet was marked on its way",
       {.ecn = true},
       [](OffloadServer& server) {
         server.host.inject(server.peer.segment().tos(3).payload("marked"));
         server.peer.seq += 6;
         write(server, 14'607);
       }},
      {"the peer has seen a mark",
       {.ecn = true},
       [](OffloadServer& server) {
         write(server, std::size_t{20} * 1460);
         server.host.turn();
         server.host.inject(server.peer.segment().ack(server.peer.ack + 20 * 1460).ece());
         write(server, 14'607);
       }},
      {"urgent data between",
       {},
       [](OffloadServer& server) {
         write(server, 3000);
         REQUIRE(server.connection.send_urgent(as_bytes("now")).bytes == 3);
         write(server, 14'607);
       }},
      {"holes, small and large",
       {.sack = true},
       [](OffloadServer& server) {
         write(server, std::size_t{20} * 1460);
         server.host.turn();
         const SeqNum first = server.peer.ack;
         server.host.advance(10ms);
         server.host.inject(server.peer.segment()
                                .ack(first + 2 * 1460)
                                .sack({{first + 9 * 1460, first + 20 * 1460},
                                       {first + 3 * 1460, first + 5 * 1460}}));
         server.host.advance(5ms);
       }},
  };
}

// What a peer sees of it, and in how many packets it left.
struct Told {
  std::size_t packets = 0;
  std::vector<Decoded> segments;
};

Told told(const MockOptions& device, const PeerOptions& peer, void (*tell)(OffloadServer&)) {
  OffloadServer server{peer, device};
  server.open_window(60);
  tell(server);
  server.host.turn();
  Told all;
  for (const Decoded& packet : server.sent()) {
    const Offload& offload = server.offloads[all.packets++];
    CHECK((!offload.ecn || device.ecn_segmentation));
    for (Decoded& segment : on_wire(*packet.bytes, offload))
      all.segments.push_back(std::move(segment));
  }
  return all;
}

}  // namespace

TEST_CASE("what leaves is the same with offloads and without", "[conformance][VNH-19][VNH-27]") {
  const auto& [name, peer, tell] = GENERATE(from_range(stories()));
  const bool knows_ecn = GENERATE(false, true);
  INFO(name);
  const Told expected = told(MockOptions{}, peer, tell);
  const Told got = told(offloads(knows_ecn), peer, tell);
  CHECK(got.packets < expected.packets);
  REQUIRE(got.segments.size() == expected.segments.size());
  for (std::size_t i = 0; i < got.segments.size(); ++i) {
    const Decoded &a = got.segments[i], &b = expected.segments[i];
    INFO(i << ": " << a.describe() << " for " << b.describe());
    REQUIRE_FALSE(a.malformed.has_value());
    CHECK(a.ip.header.tos == b.ip.header.tos);
    CHECK(a.ip.header.total_length == b.ip.header.total_length);
    CHECK(std::ranges::equal(Bytes{*a.bytes}.subspan(20), Bytes{*b.bytes}.subspan(20)));
  }
}

TEST_CASE("CWR begins a super-segment only where the device sends it once",
          "[conformance][VNH-12][VNH-19]") {
  const bool knows_ecn = GENERATE(false, true);
  OffloadServer server{{.ecn = true}, offloads(knows_ecn)};
  server.open_window(40);
  server.write(pattern_text(std::size_t{20} * 1460));
  server.host.inject(server.peer.segment().ece());
  const auto packets = server.write(pattern_text(5 * 1460));
  REQUIRE(packets.size() == (knows_ecn ? 1 : 5));
  CHECK(packets[0].tcp->has(TcpFlags::cwr));
  CHECK(server.offloads[0].ecn == knows_ecn);
  const auto segments = on_wire(*packets[0].bytes, server.offloads[0]);
  for (std::size_t i = 1; i < segments.size(); ++i)
    CHECK_FALSE(segments[i].tcp->has(TcpFlags::cwr));
}
