// SPDX-License-Identifier: BSL-1.0

// Acknowledgements that come rarely, or many at once.

#include "../support/catch.hpp"
#include "scenario.hpp"
#include "targets.hpp"

using namespace tunic;
using namespace tunic::sim;

TEST_CASE("one acknowledgement in sixteen arrives", "[sim][acks]") {
  GoldenTable table = outcome_table("thinned_acks");
  BulkPlan plan = path(100, 40ms, 1);
  plan.back.ack_every = 16;
  const Outcome outcome = run({.name = "acks_1_in_16", .plan = plan}, table);
  CHECK(outcome.goodput >= thinned_acks_goodput.today);
  CHECK(outcome.longest_gap <= no_stall(80ms));
  table.check();
}

TEST_CASE("acknowledgements arrive in bunches", "[sim][acks]") {
  GoldenTable table = outcome_table("compressed_acks");
  BulkPlan plan = path(100, 40ms, 1);
  plan.back.ack_hold = 10ms;
  const Outcome outcome = run({.name = "acks_held_10ms", .plan = plan}, table);
  CHECK(outcome.goodput >= compressed_acks_goodput.today);
  CHECK(outcome.longest_gap <= no_stall(90ms));
  table.check();
}
