// SPDX-License-Identifier: BSL-1.0

// Flows that share a bottleneck and do not start together.

#include "../support/catch.hpp"
#include "scenario.hpp"
#include "targets.hpp"
#include <tunic/device/random.hpp>

using namespace tunic;
using namespace tunic::sim;

namespace {

// The first flow starts at once, the others when the seed says, within the sixth of the run that is
// not counted.
Scenario flows(std::string name, std::size_t count) {
  Scenario scenario{
      .name = std::move(name), .plan = path(100, 40ms, 1), .random = true, .quick = 20s};
  scenario.plan.flows.resize(count);
  scenario.vary = [latest = scenario.length() / 6](BulkPlan& plan, std::uint64_t seed) {
    Random random{seed};
    for (std::size_t i = 1; i < plan.flows.size(); ++i)
      plan.flows[i].start = std::chrono::milliseconds{
          random.below(static_cast<std::uint64_t>(latest / Duration{1ms}))};
  };
  return scenario;
}

// The sum and the shares of so many flows, in a run of the full length or a short one.
void check_fairness(const Scenario& scenario, const std::string& table_name, const Target& goodput,
                    const Fairness& full, const Fairness& quick) {
  GoldenTable table = outcome_table(table_name);
  const Outcome outcome = run(scenario, table);
  CHECK(outcome.goodput >= goodput.today);
  UNSCOPED_INFO("the mean of all: " << outcome.mean_fairness);
  const Fairness& wanted = scenario.length() == scenario.full ? full : quick;
  CHECK(outcome.mean_fairness >= wanted.mean.today);
  CHECK(outcome.fairness >= wanted.least.today);
  table.check();
}

}  // namespace

TEST_CASE("a second flow gets its share", "[sim][fairness]") {
  check_fairness(flows("2_flows", 2), "two_flows", two_flows_goodput, two_flows_fairness,
                 two_flows_short_fairness);
}

TEST_CASE("eight flows share a link", "[sim][fairness]") {
  check_fairness(flows("8_flows", 8), "eight_flows", eight_flows_goodput, eight_flows_fairness,
                 eight_flows_short_fairness);
}
