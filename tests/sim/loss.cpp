// SPDX-License-Identifier: BSL-1.0

// Random loss, in single packets and in bursts, against the response functions.

#include "../support/catch.hpp"
#include "scenario.hpp"
#include "targets.hpp"

#include <string>

using namespace tunic;
using namespace tunic::sim;

namespace {

BulkPlan losing(double loss) {
  BulkPlan plan = path(100, 40ms, 1);
  plan.there.loss = loss;
  return plan;
}

}  // namespace

TEST_CASE("random loss leaves what the response function says", "[sim][loss]") {
  GoldenTable table = outcome_table("random_loss");
  for (const auto& [name, loss] :
       {std::pair{"loss_0.01%", 1e-4}, {"loss_0.1%", 1e-3}, {"loss_1%", 1e-2}}) {
    const Scenario scenario{.name = name, .plan = losing(loss), .random = true};
    const Outcome outcome = run(scenario, table);
    const double expected = cubic_rate(loss, 40ms, 100e6) / payload_rate(100e6);
    UNSCOPED_INFO("the response function: " << expected);
    CHECK(outcome.goodput >= random_loss_response.today * expected);
    CHECK(scenario.per_seed(outcome.timeouts) <= random_loss_timeouts.today);
  }
  table.check();
}

TEST_CASE("losses in bursts do not stop a transfer", "[sim][loss]") {
  GoldenTable table = outcome_table("burst_loss");
  BulkPlan plan = path(20, 40ms, 1);
  plan.there.burst = {.enter = 0.0005, .leave = 0.2};  // five packets in a row, every two thousand
  CHECK(run({.name = "bursts_of_5", .plan = plan, .random = true}, table).goodput > 0.01);
  plan = path(20, 40ms, 1);
  plan.there.loss = 0.01;
  plan.back.loss = 0.1;
  CHECK(run({.name = "loss_1%_acks_10%", .plan = plan, .random = true}, table).goodput > 0.01);
  table.check();
}
