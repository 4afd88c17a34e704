// SPDX-License-Identifier: BSL-1.0

// Flows that share a bottleneck and do not start together.

#include "../support/catch.hpp"
#include "scenario.hpp"
#include "targets.hpp"

using namespace tunic;
using namespace tunic::sim;

namespace {

Scenario flows(std::string name, int count, Duration between) {
  Scenario scenario{.name = std::move(name), .plan = path(100, 40ms, 1), .quick = 20s};
  scenario.plan.flows.clear();
  for (int i = 0; i < count; ++i) scenario.plan.flows.push_back({.start = i * between});
  return scenario;
}

}  // namespace

TEST_CASE("a second flow gets its share", "[sim][fairness]") {
  GoldenTable table = outcome_table("two_flows");
  const Outcome outcome = run(flows("2_flows", 2, 2s), table);
  CHECK(outcome.goodput >= two_flows_goodput.today);
  CHECK(outcome.fairness >= two_flows_fairness.today);
  table.check();
}

TEST_CASE("eight flows share a link", "[sim][fairness]") {
  GoldenTable table = outcome_table("eight_flows");
  const Outcome outcome = run(flows("8_flows", 8, 400ms), table);
  CHECK(outcome.goodput >= eight_flows_goodput.today);
  CHECK(outcome.fairness >= eight_flows_fairness.today);
  table.check();
}
