// SPDX-License-Identifier: BSL-1.0

// A queue that marks instead of dropping (RFC 3168), and one that could but is not asked to.

#include "../support/catch.hpp"
#include "scenario.hpp"

#include <optional>

using namespace tunic;
using namespace tunic::sim;

namespace {

// It marks from half a BDP on: what CUBIC gives up at 0.7 still fills the link.
BulkPlan marking(Ecn setting) {
  BulkPlan plan = path(20, 40ms, 2);
  plan.there.mark_bytes = plan.there.queue_bytes / 4;
  plan.sender_tcp.ecn = setting;
  return plan;
}

}  // namespace

TEST_CASE("marks keep a queue from losing anything, at no less goodput", "[sim][ecn]") {
  GoldenTable table = outcome_table("marks");
  const Outcome dropped = run({.name = "drops", .plan = marking(Ecn::off)}, table);
  const Outcome marked = run({.name = "marks", .plan = marking(Ecn::always)}, table);
  CHECK(dropped.overflowed > 0);
  CHECK(marked.overflowed == 0);
  CHECK(marked.resent == 0);
  CHECK(marked.timeouts == 0);
  CHECK(marked.goodput >= 0.99 * dropped.goodput);
  table.check();
}

TEST_CASE("eight flows share a marking queue", "[sim][ecn]") {
  GoldenTable table = outcome_table("eight_marked_flows");
  Scenario scenario{.name = "8_marked_flows", .plan = marking(Ecn::always), .quick = 20s};
  scenario.plan.flows.clear();
  for (int i = 0; i < 8; ++i) scenario.plan.flows.push_back({.start = i * 400ms});
  const Outcome outcome = run(scenario, table);
  CHECK(outcome.goodput >= 0.97);
  CHECK(outcome.resent == 0);
  table.check();
}

TEST_CASE("the window is reduced for marks once a round trip at most", "[sim][ecn]") {
  Transfer transfer{marking(Ecn::always)};
  std::uint64_t reductions = 0;
  std::optional<Duration> reduced_at;
  transfer.run_for(10s, [&] {
    const std::uint64_t now = transfer.sender().stats().tcp.ecn_reductions;
    if (now == reductions) return;
    CHECK(now == reductions + 1);
    if (reduced_at) CHECK(transfer.elapsed() - *reduced_at >= 40ms);
    reductions = now;
    reduced_at = transfer.elapsed();
  });
  CHECK(reductions > 2);
  CHECK(transfer.link().a_to_b().counters().marked > 10 * reductions);
}
