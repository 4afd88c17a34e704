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

// How long a burst of ten segments takes, of which some are swallowed.
struct Burst {
  Duration time{};
  TcpStats stats;

  explicit Burst(std::vector<std::uint64_t> lost) {
    BulkPlan plan = path(100, rtt, 10);
    plan.flows = {{.bytes = 10 * static_cast<std::uint64_t>(mss_bytes)}};
    Transfer transfer{plan};
    transfer.link().set_filter_a_to_b(testing::drop_data(std::move(lost)));
    REQUIRE(transfer.run_for(60s));
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
    CHECK(repair <= tail_loss_repair.today);
    CHECK(burst.stats.retransmissions >= count);
  }
  table.check();
}
