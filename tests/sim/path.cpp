// SPDX-License-Identifier: BSL-1.0

// Paths that do not stay as they are, or do not let everything through.

#include "../support/catch.hpp"
#include "scenario.hpp"
#include "targets.hpp"

using namespace tunic;
using namespace tunic::sim;

namespace {

// After a third of the run the path changes, after two thirds it is as before.
Scenario changing(std::string name, const BulkPlan& first, const BulkPlan& other) {
  Scenario scenario{.name = std::move(name), .plan = first};
  scenario.prepare = [=, third = scenario.length() / 3](Transfer& transfer) {
    auto& link = transfer.link();
    link.a_to_b().change_at(transfer.now() + third, other.there);
    link.b_to_a().change_at(transfer.now() + third, other.back);
    link.a_to_b().change_at(transfer.now() + 2 * third, first.there);
    link.b_to_a().change_at(transfer.now() + 2 * third, first.back);
  };
  return scenario;
}

}  // namespace

TEST_CASE("the path changes under a transfer", "[sim][path]") {
  GoldenTable table = outcome_table("path_change");
  const BulkPlan usual = path(50, 40ms, 1);
  BulkPlan longer = path(50, 120ms, 1);
  BulkPlan slower = path(10, 40ms, 5);
  const Outcome long_way = run(changing("longer_path", usual, longer), table);
  CHECK(long_way.goodput >= path_change_goodput.today);
  CHECK(static_cast<double>(long_way.spurious) <= path_change_spurious.today);
  const Outcome slow_way = run(changing("slower_path", usual, slower), table);
  // Of what the usual path carries it carries 11/15.
  CHECK(slow_way.goodput >= path_change_goodput.today * 11 / 15);
  CHECK(static_cast<double>(slow_way.spurious) <= path_change_spurious.today);
  table.check();
}

TEST_CASE("a smaller MTU on the way is learnt from the router", "[sim][path]") {
  GoldenTable table = outcome_table("path_mtu");
  BulkPlan plan = path(10, 20ms, 4);
  plan.there.mtu_bytes = 1400;
  plan.there.router = "10.9.9.9"_ip;
  const Outcome told = run({.name = "mtu_1400_told", .plan = plan}, table);
  CHECK(told.goodput > 0.9);
  CHECK(told.timeouts == 0);

  // Told in the middle of a transfer.
  Scenario later{.name = "mtu_1400_later", .plan = path(10, 20ms, 4)};
  later.prepare = [&plan](Transfer& transfer) {
    transfer.link().a_to_b().change_at(transfer.now() + 2s, plan.there);
  };
  CHECK(run(later, table).goodput > 0.85);

  // A black hole: nothing is told. It takes two time-outs to find out, 0.7 s of the ten that a
  // short run has.
  plan.there.router.reset();
  const Outcome silent = run({.name = "mtu_1400_silent", .plan = plan}, table);
  CHECK(silent.goodput > 0.88);
  CHECK(silent.timeouts == 2);

  // The same in the middle of a transfer, whose round trip is five times as long by then.
  Scenario vanishes{.name = "mtu_1400_vanishes", .plan = path(10, 20ms, 4)};
  vanishes.prepare = [&plan](Transfer& transfer) {
    transfer.link().a_to_b().change_at(transfer.now() + 2s, plan.there);
  };
  const Outcome vanished = run(vanishes, table);
  CHECK(vanished.goodput > 0.8);
  CHECK(vanished.timeouts == 2);
  table.check();
}

TEST_CASE("a connection that starts later loses nothing to the MTU that another has learnt",
          "[sim][path]") {
  const bool told = GENERATE(true, false);
  BulkPlan plan = path(10, 20ms, 4);
  plan.there.mtu_bytes = 1400;
  if (told) plan.there.router = "10.9.9.9"_ip;
  plan.flows = {{}, {.start = 3s}};
  Transfer transfer{plan};
  transfer.run_for(3s);
  const std::uint64_t oversized = transfer.link().a_to_b().counters().oversized;
  CHECK(oversized >= 10);
  transfer.run_for(5s);
  CHECK(transfer.link().a_to_b().counters().oversized == oversized);
  CHECK(transfer.flows()[1].delivered > 1'000'000);
  CHECK(transfer.flows()[1].source.info().path_mtu == (told ? 1400 : 1200));
}
