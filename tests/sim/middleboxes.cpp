// SPDX-License-Identifier: BSL-1.0

// Middleboxes that edit what they pass on.

#include "../support/catch.hpp"
#include "scenario.hpp"
#include "targets.hpp"
#include <tunic/testing/middlebox.hpp>

using namespace tunic;
using namespace tunic::sim;
using namespace tunic::testing;

namespace {

// Ten packets wait at most: a path that NewReno fills well enough to see a change.
Scenario edited(std::string name, PacketFilter there, PacketFilter back = {}) {
  Scenario scenario{.name = std::move(name), .plan = path(10, 20ms, 4)};
  scenario.prepare = [=](Transfer& transfer) {
    transfer.link().set_filter_a_to_b(there);
    transfer.link().set_filter_b_to_a(back);
  };
  return scenario;
}

constexpr Duration queued = 5 * 20ms;  // the round trip with a full queue

PacketFilter stripped(Edited which) { return strip_option(TcpOptionKind::timestamps, which); }

}  // namespace

TEST_CASE("a transfer does without timestamps that a middlebox takes away", "[sim][middlebox]") {
  GoldenTable table = outcome_table("stripped_timestamps");
  for (const Scenario& scenario :
       {edited("untouched", {}), edited("timestamps_refused", stripped(Edited::all)),
        // Negotiated, and then gone: from data, from acknowledgements.
        edited("timestamps_lost", stripped(Edited::others)),
        edited("echoes_lost", {}, stripped(Edited::others))}) {
    const Outcome outcome = run(scenario, table);
    CHECK(outcome.goodput > 0.9);
    CHECK(outcome.timeouts == 0);
    CHECK(outcome.longest_gap <= no_stall(queued));
  }
  table.check();
}

TEST_CASE("a transfer survives a rewritten window scale", "[sim][middlebox]") {
  GoldenTable table = outcome_table("rewritten_scale");
  // The receiver's shift looks smaller than it is: its window too.
  const Outcome smaller = run(edited("scale_made_2", {}, rewrite_window_scale(2)), table);
  CHECK(smaller.goodput > 0.5);
  CHECK(smaller.timeouts == 0);
  CHECK(smaller.longest_gap <= no_stall(queued));
  // And larger: the sender believes in room that is not there.
  Scenario larger = edited("scale_made_14", {}, rewrite_window_scale(14));
  larger.plan.receiver.receive_buffer = 256 * 1024;
  const Outcome outcome = run(larger, table);
  CHECK(outcome.goodput > 0.5);
  CHECK(outcome.longest_gap <= no_stall(queued));
  table.check();
}
