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

namespace {

// What is lost in the queue by slow starts that begin with windows from 8 to 15 segments: between
// two doublings they meet the end of the queue everywhere.
template <class Traits>
std::uint64_t lost_in_slow_start(double queue_bdp) {
  std::uint64_t lost = 0;
  for (std::uint8_t window = 8; window < 16; ++window) {
    BulkPlan plan = path(100, 40ms, queue_bdp);
    plan.sender_tcp.initial_window = window;
    testing::BulkTransfer<Traits> transfer{plan};
    transfer.run_for(2s);
    lost += transfer.link().a_to_b().counters().overflowed;
  }
  return lost;
}

// HyStart++'s growth, to the end.
struct Headlong : StandardSlowStart {
  [[nodiscard]] std::uint32_t growth(const AckSample& sample) const noexcept {
    return std::min(sample.bytes_acked, 8 * sample.mss);
  }
};
struct HeadlongTraits : DefaultTraits {
  using Congestion = BasicCubic<Headlong>;
};

}  // namespace

TEST_CASE("slow start ends before it loses much", "[sim][bulk]") {
  const auto ratio = [](double queue_bdp) {
    return static_cast<double>(lost_in_slow_start<DefaultTraits>(queue_bdp)) /
           static_cast<double>(lost_in_slow_start<HeadlongTraits>(queue_bdp));
  };
  CHECK(ratio(1) <= slow_start_loss.today);
  CHECK(ratio(0.25) <= shallow_slow_start_loss.today);
}

TEST_CASE("tuned buffers fill a long fat link within twenty round trips", "[sim][bulk]") {
  constexpr Duration rtt = 100ms;
  BulkPlan plan = path(1000, rtt, 1);
  plan.sender = plan.receiver = {};
  plan.memory_budget = StackConfig{}.memory_budget;
  plan.interval = rtt;
  Transfer transfer{plan};
  std::size_t most = 0;
  transfer.run_for(26 * rtt, [&] {
    for (auto* stack : {&transfer.sender(), &transfer.receiver()})
      most = std::max(most, stack->stats().gauges.buffer_bytes);
    const auto& flow = transfer.flows().front();
    REQUIRE(flow.sink.info().receive_buffer <= tuned_buffer.largest);
    REQUIRE(flow.source.info().send_buffer <= tuned_buffer.largest);
  });
  CHECK(most <= plan.memory_budget);
  const double bits = 8 * delivered_between(transfer.flows().front().delivered_at, 20, 25);
  const double used = bits / payload_rate(1e9) / std::chrono::duration<double>(5 * rtt).count();
  UNSCOPED_INFO("used: " << used << ", memory: " << most);
  CHECK(used >= filled_path.today);
  CHECK(transfer.sender().stats().tcp.timeouts == 0);
  CHECK(transfer.receiver().stats().dropped(Drop::out_of_order_limit) == 0);
  CHECK(transfer.receiver().stats().dropped(Drop::no_memory) == 0);
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
