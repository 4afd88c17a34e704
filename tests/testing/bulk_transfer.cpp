// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/testing/bulk_transfer.hpp>

#include <chrono>
#include <cstdint>
#include <vector>

using namespace tunic;
using namespace tunic::testing;
using namespace std::chrono_literals;

namespace {

// 1.2 Mbit/s: a packet of 1500 bytes takes 10 ms. A long queue, so that nothing is lost.
BulkPlan slow_link() {
  BulkPlan plan;
  plan.there = {.delay = 5ms, .rate_bits_per_second = 1'200'000};
  plan.back = {.delay = 5ms};
  return plan;
}

}  // namespace

TEST_CASE("a bulk transfer carries what the link does", "[testing][bulk]") {
  BulkTransfer<> transfer{slow_link()};
  CHECK_FALSE(transfer.run_for(10s));
  const auto& flow = transfer.flows().front();
  CHECK(flow.delivered > 990 * 1448);
  CHECK(flow.delivered <= 1000 * 1448);
  REQUIRE(flow.delivered_at.size() == 10);
  CHECK(flow.delivered_at.back() == flow.delivered);
  for (std::size_t i = 1; i < 10; ++i) {
    const auto bytes = flow.delivered_at[i] - flow.delivered_at[i - 1];
    CHECK(bytes >= 99 * 1448);
    CHECK(bytes <= 101 * 1448);
  }
  CHECK(flow.source.info().snd_mss == 1448);
}

TEST_CASE("a transfer in two runs is the one of a single run", "[testing][bulk]") {
  BulkPlan plan = slow_link();
  plan.there.loss = 0.01;
  BulkTransfer<> whole{plan}, parts{plan};
  whole.run_for(10s);
  parts.run_for(3500ms);
  CHECK(parts.elapsed() == 3500ms);
  parts.run_for(6500ms);
  CHECK(whole.flows().front().delivered_at == parts.flows().front().delivered_at);
  CHECK(whole.flows().front().delivered > 0);
}

TEST_CASE("flows start when they are told and end with their last byte", "[testing][bulk]") {
  BulkPlan plan = slow_link();
  plan.flows = {{.bytes = 100'000}, {.start = 2500ms, .bytes = 50'000}};
  BulkTransfer<> transfer{plan};
  CHECK_FALSE(transfer.run_for(2s));
  CHECK(transfer.flows()[0].finished);
  CHECK(transfer.flows()[0].delivered == 100'000);
  CHECK_FALSE(transfer.flows()[1].source);
  int turns = 0;
  CHECK(transfer.run_for(10s, [&] { ++turns; }));
  CHECK(turns > 35);
  REQUIRE(transfer.flows()[1].finished);
  CHECK(*transfer.flows()[1].finished > 2500ms + 350ms);
  CHECK(*transfer.flows()[1].finished < 3s);
  CHECK(transfer.elapsed() == *transfer.flows()[1].finished);
  CHECK(transfer.flows()[1].delivered_at == std::vector<std::uint64_t>{0, 0});
}

TEST_CASE("both ends have the settings of the plan", "[testing][bulk]") {
  BulkPlan plan = slow_link();
  plan.sender_tcp.timestamps = false;
  plan.receiver_tcp.sack = false;
  plan.receiver.receive_buffer = 5000;
  BulkTransfer<> transfer{plan};
  transfer.run_for(1s);
  const auto info = transfer.flows().front().source.info();
  CHECK_FALSE(info.timestamps);
  CHECK_FALSE(info.sack);
  CHECK(info.snd_wnd <= 5000);

  BulkTransfer<MinimalTraits> minimal{slow_link()};
  minimal.run_for(1s);
  CHECK(minimal.flows().front().source.info().snd_mss == 1460);
}
