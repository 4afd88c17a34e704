// SPDX-License-Identifier: BSL-1.0

// The last segments of a burst are lost: nothing that arrives later tells about them.

#include "../support/catch.hpp"
#include "scenario.hpp"
#include "targets.hpp"
#include <tunic/testing/middlebox.hpp>

#include <cstdint>
#include <vector>

using namespace tunic;
using namespace tunic::sim;

namespace {

constexpr Duration rtt = 40ms;

// How long a burst of ten segments takes, of which some are swallowed, and when the sender does
// something about it. Times count from the beginning.
struct Burst {
  Duration time{};
  Duration last_ack{};  // before anything is sent again
  TcpInfo then{};       // what the sender knew when it came
  std::vector<Duration> again{};
  TcpStats stats;

  explicit Burst(std::vector<std::uint64_t> lost) {
    BulkPlan plan = path(100, rtt, 10);
    plan.flows = {{.bytes = 10 * static_cast<std::uint64_t>(mss_bytes)}};
    Transfer transfer{plan};
    transfer.link().set_filter_a_to_b(testing::drop_data(std::move(lost)));
    transfer.link().set_watcher([&](const testing::PassingPacket& packet) {
      if (packet.from_a && !packet.arrived &&
          (packet.reason == TxReason::probe || packet.reason == TxReason::retransmission))
        again.push_back(transfer.elapsed());
      if (!packet.from_a && packet.arrived && again.empty()) last_ack = transfer.elapsed();
    });
    REQUIRE(transfer.run_for(60s, [&] {
      if (transfer.elapsed() == last_ack) then = transfer.flows().front().source.info();
    }));
    time = *transfer.flows().front().finished;
    stats = transfer.sender().stats().tcp;
  }
};

}  // namespace

TEST_CASE("the loss of a burst's end is repaired", "[sim][tail_loss]") {
  GoldenTable table = GoldenTable::named("tail_loss");
  table.heading("scenario             run  repair_in_rtts  resent  timeouts");
  const Duration undisturbed = Burst{{}}.time;
  for (std::uint64_t count = 1; count <= 3; ++count) {
    std::vector<std::uint64_t> lost;
    for (std::uint64_t number = 11 - count; number <= 10; ++number) lost.push_back(number);
    const Burst burst{lost};
    const double repair = std::chrono::duration<double>(burst.time - undisturbed) / rtt;
    char text[100];
    std::snprintf(text, sizeof text, "last_%llu_of_10          1 %15.2f %7llu %9llu",
                  static_cast<unsigned long long>(count), repair,
                  static_cast<unsigned long long>(burst.stats.retransmissions),
                  static_cast<unsigned long long>(burst.stats.timeouts));
    table.add(text);
    INFO(text);
    CHECK(repair > 0.5);  // they were lost
    REQUIRE(burst.again.size() == count);
    // RFC 8985 7.2: the probe, from the last acknowledgement on; never later than the time-out.
    const Duration probe =
        2 * burst.then.rtt + (count == 1 ? TcpConfig{}.max_ack_delay : Duration{2ms});
    CHECK(burst.again.front() - burst.last_ack <= std::min(probe, burst.then.rto));
    // A round trip later it is known that more is lost. RFC 9937 6.2 lets one segment leave for
    // each that arrives, so a third waits for one more.
    constexpr Duration round = rtt + 2 * 120us;  // a segment needs 120 us
    CHECK(burst.again.back() - burst.last_ack <= probe + 2 * round);
    CHECK(burst.stats.timeouts == 0);
  }
  table.check();
}
