// SPDX-License-Identifier: BSL-1.0

// Peers with habits: one takes back what it has selectively acknowledged (RFC 2018 8 allows it),
// one shrinks its window (RFC 9293 3.8.6), one delays acknowledgements on a path of microseconds.

#include "../support/catch.hpp"
#include "../support/host.hpp"
#include "golden.hpp"
#include "scenario.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>

using namespace tunic;
using namespace tunic::sim;
using tunic::test::pattern_text;
using tunic::test::Server;

namespace {

/// A receiver of small habits: it takes what is in order, forgets what is not, and asks
/// `acknowledge` for the answer to each segment. 20 ms from the host, one way.
struct ScriptedReceiver {
  Server& server;
  std::function<testing::SegmentBuilder(const TcpSegment&)> acknowledge;
  std::function<bool(std::uint64_t)> lost = [](std::uint64_t) { return false; };
  std::string received{};
  std::uint64_t segments = 0;

  /// Until the host has nothing outstanding; false when that takes longer than a minute.
  bool run() {
    auto& [host, listener, peer, connection] = server;
    const Instant end = host.clock.now() + 60s;
    host.turn();
    while (connection.unacknowledged_bytes() != 0 && host.clock.now() < end) {
      if (host.silent()) {
        const Instant next = std::min(host.stack.next_deadline(), end);
        host.advance(std::max(next - host.clock.now(), Duration{}));
        continue;
      }
      host.advance(40ms);
      std::vector<testing::Packet> answers;
      for (const testing::Decoded& packet : host.take_all()) {
        const TcpSegment segment = *packet.tcp;
        const bool probe = segment.payload.empty() && segment.seq < peer.ack;
        if (segment.payload.empty() && !probe) continue;
        if (lost(++segments)) continue;
        if (segment.seq == peer.ack) {
          received += as_text(segment.payload);
          peer.learn(segment);
        }
        answers.push_back(acknowledge(segment).packet());
      }
      host.inject_all(answers);
    }
    return connection.unacknowledged_bytes() == 0;
  }
};

std::string peer_line(const char* name, const ScriptedReceiver& receiver, Instant begin) {
  const TcpStats& tcp = receiver.server.host.stack.stats().tcp;
  const auto time = std::chrono::duration<double>(receiver.server.host.clock.now() - begin);
  char text[100];
  std::snprintf(text, sizeof text, "%-22s 1 %8.2f %9llu %8llu %9llu", name, time.count(),
                static_cast<unsigned long long>(receiver.segments),
                static_cast<unsigned long long>(tcp.retransmissions),
                static_cast<unsigned long long>(tcp.timeouts));
  return text;
}

constexpr const char* peer_columns =
    "scenario             run  seconds  segments   resent  timeouts";

}  // namespace

TEST_CASE("a peer that reneges gets everything again", "[sim][peers]") {
  GoldenTable table = GoldenTable::named("reneging");
  table.heading(peer_columns);
  Server server{{.mss = 1000, .sack = true}};
  const Instant begin = server.host.clock.now();
  const std::string sent = pattern_text(30'000);
  ScriptedReceiver receiver{
      .server = server, .acknowledge = [&](const TcpSegment& segment) {
        const auto ack = server.peer.segment();
        const SeqNum end = segment.seq + segment.length();
        // Out of order: reported, and forgotten.
        return server.peer.ack < end ? ack.sack({{segment.seq.value(), end.value()}}) : ack;
      }};
  receiver.lost = [](std::uint64_t number) { return number == 1; };
  REQUIRE(server.connection.send(as_bytes(sent)).bytes == sent.size());
  CHECK(receiver.run());
  CHECK((receiver.received == sent));
  // No more than what one time-out and the round trips of thirty segments take.
  CHECK(server.host.clock.now() - begin <= 1s);
  table.add(peer_line("reneging", receiver, begin));
  table.check();
}

TEST_CASE("a peer that takes its window back is waited for", "[sim][peers]") {
  GoldenTable table = GoldenTable::named("shrinking_window");
  table.heading(peer_columns);
  Server server{{.mss = 1000, .window = 20'000}};
  const Instant begin = server.host.clock.now();
  const std::string sent = pattern_text(60'000);
  // The fifth and all later acknowledgements take the right edge back, until five seconds have
  // passed; what was sent beyond it is dropped.
  ScriptedReceiver receiver{.server = server, .acknowledge = {}};
  receiver.acknowledge = [&](const TcpSegment&) {
    const bool closed = receiver.segments >= 5 && server.host.clock.now() - begin < 5s;
    return server.peer.segment().window(closed ? 0 : 20'000);
  };
  receiver.lost = [&](std::uint64_t number) {
    return number > 5 && server.host.clock.now() - begin < 4s;
  };
  REQUIRE(server.connection.send(as_bytes(sent)).bytes == sent.size());
  CHECK(receiver.run());
  CHECK((receiver.received == sent));
  CHECK(server.connection.error() == Errc::none);
  // The probes back off, so the last wait is no longer than the window was shut.
  CHECK(server.host.clock.now() - begin <= 2 * 5s);
  table.add(peer_line("shrinking_window", receiver, begin));
  table.check();
}

TEST_CASE("delayed acknowledgements on a path of microseconds are not losses", "[sim][peers]") {
  GoldenTable table = GoldenTable::named("delayed_acks");
  table.heading("scenario             run  exchanges  resent  timeouts");
  for (const Duration delayed : {Duration{40ms}, Duration{150ms}}) {
    BulkPlan plan = path(1000, 200us, 50);
    plan.receiver_tcp.delayed_ack = delayed;
    plan.sender.no_delay = true;
    plan.flows = {};
    Transfer world{plan};
    // One segment, and nothing more before it is acknowledged.
    auto listener = world.receiver().listen({.port = 80});
    auto source =
        world.sender().connect({.remote = {"10.0.0.2"_ip, 80}, .connection = plan.sender});
    std::optional<Transfer::Connection> sink;
    const std::string piece = pattern_text(1000);
    std::uint64_t exchanges = 0, read = 0;
    world.link().run_until(
        [&] {
          if (!sink) sink = listener.accept();
          if (sink) {
            read += sink->readable_bytes();
            sink->consume(sink->readable_bytes());
          }
          if (source.unacknowledged_bytes() == 0 && source.state() == TcpState::established) {
            exchanges += source.send(as_bytes(piece)).bytes / piece.size();
          }
          return false;
        },
        10s);
    const TcpStats& tcp = world.sender().stats().tcp;
    CHECK(exchanges >= static_cast<std::uint64_t>(10s / (delayed + 1ms)));
    CHECK(read == exchanges * piece.size());
    CHECK(tcp.retransmissions == 0);
    char text[100];
    std::snprintf(text, sizeof text, "delayed_by_%lldms       1 %10llu %7llu %9llu",
                  static_cast<long long>(delayed / 1ms), static_cast<unsigned long long>(exchanges),
                  static_cast<unsigned long long>(tcp.retransmissions),
                  static_cast<unsigned long long>(tcp.timeouts));
    table.add(text);
  }
  table.check();
}
