// SPDX-License-Identifier: BSL-1.0

// The same transfers unpaced and paced, through queues that hold less than a window.

#include "../support/catch.hpp"
#include "scenario.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::sim;

namespace {

/// What the packets that come to a queue find there.
struct QueueWatch {
  std::size_t longest = 0;             // bytes
  std::optional<double> first_loss{};  // segments in flight then
  std::uint64_t lost = 0;

  template <class InFlight>
  void attach(Transfer& transfer, InFlight in_flight) {
    auto& way = transfer.link().a_to_b();
    transfer.link().set_watcher([this, &way, in_flight](const testing::PassingPacket& packet) {
      if (!packet.from_a || packet.arrived) return;
      longest = std::max(longest, way.queued_bytes(packet.at));
      lost = way.counters().overflowed;  // before this one
      if (lost != 0 && !first_loss) first_loss = in_flight() / mss_bytes;
    });
  }
};

BulkPlan short_queue(bool paced, std::size_t packets) {
  BulkPlan plan = path(100, 40ms, 0);
  plan.there.queue_bytes = packets * 1500;
  plan.sender.pacing = paced;
  return plan;
}

constexpr std::size_t quarter_bdp = 83;  // of 333 packets

std::string name_of(const char* kind, std::size_t packets, bool paced) {
  return std::string{kind} + '_' + std::to_string(packets) + (paced ? "_paced" : "");
}

struct Bulk {
  QueueWatch queue;
  double goodput = 0;
  std::uint64_t timeouts = 0;

  Bulk(std::size_t packets, bool paced, std::chrono::seconds seconds, GoldenTable& table) {
    Transfer transfer{short_queue(paced, packets)};
    queue.attach(transfer, [&] {
      return static_cast<double>(transfer.flows().front().source.info().in_flight);
    });
    transfer.run_for(seconds);
    goodput = static_cast<double>(transfer.flows().front().delivered) * 8 / payload_rate(100e6) /
              static_cast<double>(seconds.count());
    timeouts = transfer.sender().stats().tcp.timeouts;
    char text[120];
    std::snprintf(text, sizeof text, "%-22s %7s  %8.3f %6llu %16.0f %9llu",
                  name_of("bulk", packets, paced).c_str(),
                  ("1x" + std::to_string(seconds.count()) + 's').c_str(), goodput,
                  static_cast<unsigned long long>(queue.lost), queue.first_loss.value_or(0),
                  static_cast<unsigned long long>(timeouts));
    table.add(text);
  }
};

/// A program that writes 150 kB five times a second: each time there is a window, and nothing in
/// flight.
struct Messages {
  static constexpr std::size_t size = 150'000;
  static constexpr std::uint64_t count = 50;

  QueueWatch queue;
  double mean_ms = 0;  // from the write to the last byte
  double worst_ms = 0;

  Messages(std::size_t packets, bool paced, GoldenTable& table) {
    BulkPlan plan = short_queue(paced, packets);
    plan.flows = {};
    Transfer world{plan};
    queue.attach(world, [] { return 0.0; });
    auto listener = world.receiver().listen({.port = 80, .connection = plan.receiver});
    auto source =
        world.sender().connect({.remote = {"10.0.0.2"_ip, 80}, .connection = plan.sender});
    std::optional<Transfer::Connection> sink;
    const std::vector<std::byte> message(size);
    for (std::uint64_t i = 0; i < count; ++i) {
      const Instant written = world.now();
      REQUIRE(source.send(message).bytes == size);
      std::size_t read = 0;
      const auto all_read = [&] {
        if (!sink) sink = listener.accept();
        if (!sink) return false;
        read += sink->readable_bytes();
        sink->consume(sink->readable_bytes());
        return read == size;
      };
      REQUIRE(world.link().run_until(all_read, 10s));
      const double took = std::chrono::duration<double, std::milli>(world.now() - written).count();
      mean_ms += took / count;
      worst_ms = std::max(worst_ms, took);
      world.link().run_for(std::max(written + 200ms - world.now(), Duration{0}));
    }
    char text[120];
    std::snprintf(text, sizeof text, "%-22s %7s  %8.1f %9.1f %6llu %14zu",
                  name_of("messages", packets, paced).c_str(), "1x50", mean_ms, worst_ms,
                  static_cast<unsigned long long>(queue.lost), queue.longest);
    table.add(text);
  }
};

}  // namespace

// More is lost in all than without pacing: slow start goes on until the path is full, and HyStart++
// does not see it coming, for the queue is empty again when a round begins; nor do acknowledgements
// of what was paced come in trains. Those keep bursts out of a queue of a quarter BDP as well as
// pacing does, but a queue of 20 packets is too short for them.
TEST_CASE("a paced window fills the path before it overflows a short queue", "[sim][pacing]") {
  GoldenTable table = GoldenTable::named("pacing_bulk");
  table.heading("scenario                runs   goodput   lost  first_at_flight  timeouts");
  const std::chrono::seconds seconds{test::cases(10, 60)};
  for (const std::size_t packets : {quarter_bdp, std::size_t{20}}) {
    CAPTURE(packets);
    const Bulk unpaced{packets, false, seconds, table};
    const Bulk paced{packets, true, seconds, table};
    CHECK(paced.goodput >= unpaced.goodput);
    if (packets != quarter_bdp) CHECK(*paced.queue.first_loss > *unpaced.queue.first_loss);
    CHECK(paced.timeouts == 0);
  }
  table.check();
}

TEST_CASE("paced messages do not overflow a queue that their bursts would", "[sim][pacing]") {
  GoldenTable table = GoldenTable::named("pacing_messages");
  table.heading("scenario                runs   mean_ms  worst_ms   lost  longest_queue");
  for (const std::size_t packets : {quarter_bdp, std::size_t{20}}) {
    CAPTURE(packets);
    const Messages unpaced{packets, false, table};
    const Messages paced{packets, true, table};
    CHECK(paced.queue.lost <= unpaced.queue.lost);
    CHECK(paced.queue.longest < unpaced.queue.longest);
  }
  table.check();
}
