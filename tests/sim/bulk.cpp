// SPDX-License-Identifier: BSL-1.0

// Transfers that lose packets only in the queue that they fill themselves.

#include "../support/catch.hpp"
#include "scenario.hpp"
#include "targets.hpp"

using namespace tunic;
using namespace tunic::sim;

TEST_CASE("one flow fills a link with a queue of one BDP", "[sim][bulk]") {
  GoldenTable table = outcome_table("bulk");
  const Outcome outcome = run({.name = "bulk", .plan = path(100, 40ms, 1)}, table);
  CHECK(outcome.goodput >= bulk_goodput.today);
  CHECK(outcome.timeouts == 0);
  CHECK(static_cast<double>(outcome.spurious) <= bulk_spurious.today);
  CHECK(run({.name = "bulk_no_sack",
             .plan =
                 [] {
                   BulkPlan plan = path(100, 40ms, 1);
                   plan.receiver_tcp.sack = false;
                   return plan;
                 }()},
            table)
            .goodput >= bulk_no_sack_goodput.today);
  table.check();
}

TEST_CASE("slow start ends in a queue of a quarter BDP", "[sim][bulk]") {
  GoldenTable table = outcome_table("slow_start");
  const Outcome outcome = run({.name = "slow_start", .plan = path(100, 40ms, 0.25)}, table);
  CHECK(outcome.goodput >= shallow_queue_goodput.today);
  CHECK(outcome.timeouts == 0);
  table.check();
}

TEST_CASE("one flow fills a long fat link", "[sim][bulk]") {
  GoldenTable table = outcome_table("long_fat");
  const Outcome outcome =
      run({.name = "long_fat", .plan = path(1000, 100ms, 1), .quick = 6s, .full = 60s}, table);
  CHECK(outcome.goodput >= long_fat_goodput.today);
  table.check();
}

TEST_CASE("acknowledgements have a slower way back", "[sim][bulk]") {
  GoldenTable table = outcome_table("asymmetric");
  BulkPlan plan = path(50, 40ms, 1);
  plan.back.rate_bits_per_second = 1'000'000;  // a third of what they would need
  plan.back.queue_bytes = 20'000;
  const Outcome outcome = run({.name = "asymmetric_50:1", .plan = plan}, table);
  CHECK(outcome.goodput >= asymmetric_goodput.today);
  table.check();
}
