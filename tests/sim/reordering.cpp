// SPDX-License-Identifier: BSL-1.0

// Packets that are late and not lost: what is sent again is sent for nothing.

#include "../support/catch.hpp"
#include "scenario.hpp"
#include "targets.hpp"

using namespace tunic;
using namespace tunic::sim;

TEST_CASE("a twentieth of all packets is late by up to a quarter RTT", "[sim][reordering]") {
  GoldenTable table = outcome_table("reordering");
  BulkPlan plan = path(100, 40ms, 1);
  plan.there.reorder = 0.05;
  plan.there.reorder_delay = 0ms;
  plan.there.reorder_jitter = 10ms;
  const Scenario scenario{.name = "reorder_5%", .plan = plan, .random = true};
  const Outcome outcome = run(scenario, table);
  const Outcome in_order = simulate({.name = "in_order", .plan = path(100, 40ms, 1)});
  UNSCOPED_INFO("without reordering: " << in_order.goodput);
  CHECK(outcome.goodput >= (1 - reordering_cost.today) * in_order.goodput);
  CHECK(outcome.least_goodput >= (1 - reordering_cost.today) * in_order.goodput);
  // Of all that is sent, not only after the path is known.
  const double segments = in_order.goodput * payload_rate(100e6) / 8 / mss_bytes *
                          static_cast<double>(scenario.length().count());
  CHECK(scenario.per_seed(outcome.spurious) <= reordering_spurious.today * segments);
  CHECK(outcome.lost == 0);
  CHECK(outcome.timeouts == 0);
  CHECK(outcome.longest_gap <= no_stall(80ms));
  table.check();
}

TEST_CASE("neighbours that change places are not taken for losses", "[sim][reordering]") {
  GoldenTable table = outcome_table("small_reordering");
  BulkPlan plan = path(100, 40ms, 1);
  plan.there.reorder = 0.01;
  plan.there.reorder_delay = 0ms;
  plan.there.reorder_jitter = 240us;  // the time of two packets
  const Scenario scenario{.name = "reorder_by_2_packets", .plan = plan, .random = true};
  const Outcome outcome = run(scenario, table);
  CHECK(scenario.per_seed(outcome.spurious) <= small_reordering_spurious.today);
  CHECK(outcome.goodput >= small_reordering_goodput.today);
  // One seed in ten sees a time-out when slow start overflows the queue.
  CHECK(outcome.longest_gap <= TcpConfig{}.min_rto + 80ms);
  table.check();
}

TEST_CASE("copies are not taken for losses", "[sim][reordering]") {
  GoldenTable table = outcome_table("duplication");
  BulkPlan plan = path(20, 40ms, 8);  // nothing is lost in the queue at first
  plan.there.duplicate = 0.05;
  const Outcome outcome =
      run({.name = "duplicate_5%", .plan = plan, .random = true, .quick = 5s}, table);
  CHECK(outcome.goodput > 0.95);
  CHECK(outcome.longest_gap <= no_stall(360ms));
  table.check();
}
