// SPDX-License-Identifier: BSL-1.0
#pragma once

// What can be simulated: settings that the command line may change, and named scenarios that start
// from other ones.

#include <tunic/testing/bulk_transfer.hpp>
#include <tunic/testing/middlebox.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace netsim {

using Transfer = tunic::testing::BulkTransfer<>;

/// Numbers as a person gives them.
struct Settings {
  double seconds = 10;
  double rate_mbit = 20;
  double delay_ms = 20;  // one way
  double queue_ms = 100;
  double loss_percent = 0;
  double reorder_percent = 0;
  double seed = 1;
  double flows = 1;
  double size_kb = 0;  // of each flow; 0: as much as goes
  double from = 0;     // what a picture shows, in seconds
  double to = 0;       // 0: to the end
  std::string svg{};

  // For scenarios only.
  double back_rate_mbit = 0;
  double reorder_ms = 0;  // 0: a quarter of the round trip
  std::uint32_t ack_every = 0;
  double ack_hold_ms = 0;
  std::optional<tunic::BurstLoss> burst{};
  std::uint16_t mtu = 0;
  bool router = false;
  std::uint32_t receive_buffer = 48U << 20;
};

inline tunic::Duration milliseconds(double count) {
  return std::chrono::duration_cast<tunic::Duration>(
      std::chrono::duration<double, std::milli>{count});
}
inline tunic::Duration seconds(double count) { return milliseconds(count * 1e3); }

inline tunic::testing::BulkPlan plan_for(const Settings& settings) {
  const double bits_per_second = settings.rate_mbit * 1e6;
  tunic::testing::BulkPlan plan;
  tunic::LinkConditions& there = plan.there;
  there.delay = milliseconds(settings.delay_ms);
  there.loss = settings.loss_percent / 100;
  there.reorder = settings.reorder_percent / 100;
  there.reorder_delay = {};
  there.reorder_jitter =
      milliseconds(settings.reorder_ms > 0 ? settings.reorder_ms : settings.delay_ms / 2);
  there.rate_bits_per_second = static_cast<std::uint64_t>(bits_per_second);
  there.queue_bytes = static_cast<std::size_t>(bits_per_second / 8e3 * settings.queue_ms);
  there.mtu_bytes = settings.mtu;
  if (settings.router) there.router = tunic::IpAddress::v4(10, 9, 9, 9);
  if (settings.burst) there.burst = *settings.burst;
  there.seed = static_cast<std::uint64_t>(settings.seed);
  tunic::LinkConditions& back = plan.back;
  back.delay = there.delay;
  back.rate_bits_per_second = static_cast<std::uint64_t>(settings.back_rate_mbit * 1e6);
  back.queue_bytes = 30'000;
  back.ack_every = settings.ack_every;
  back.ack_hold = milliseconds(settings.ack_hold_ms);
  back.seed = there.seed * 2 + 1;
  plan.receiver.receive_buffer = settings.receive_buffer;
  plan.flows.clear();
  for (int i = 0; i < static_cast<int>(settings.flows); ++i) {
    tunic::testing::FlowPlan flow{.start = i * seconds(settings.seconds / 10)};
    if (settings.size_kb > 0) flow.bytes = static_cast<std::uint64_t>(settings.size_kb * 1000);
    plan.flows.push_back(flow);
  }
  return plan;
}

struct Scenario {
  std::string_view name;
  std::string_view what;
  void (*change)(Settings&) = [](Settings&) {};
  void (*prepare)(Transfer&, const Settings&) = [](Transfer&, const Settings&) {};
};

inline constexpr std::array scenarios{
    Scenario{"bulk", "one flow over a link without losses of its own"},
    Scenario{"shallow-queue", "slow start into a queue of a quarter of what the path holds",
             [](Settings& s) { s.queue_ms = 10; }},
    Scenario{"long-fat", "1 Gbit/s over 100 ms, a queue of the same size",
             [](Settings& s) {
               s.rate_mbit = 1000;
               s.delay_ms = 50;
             }},
    Scenario{"loss", "one packet in a hundred is lost at random",
             [](Settings& s) { s.loss_percent = 1; }},
    Scenario{"bursts", "losses of five packets in a row, every thousand",
             [](Settings& s) { s.burst = tunic::BurstLoss{.enter = 0.001, .leave = 0.2}; }},
    Scenario{"reorder", "one packet in twenty is late by up to a quarter of the round trip",
             [](Settings& s) { s.reorder_percent = 5; }},
    Scenario{"tail-loss", "a burst of ten segments whose last two are lost",
             [](Settings& s) {
               s.size_kb = 14.48;
               s.seconds = 5;
             },
             [](Transfer& transfer, const Settings&) {
               transfer.link().set_filter_a_to_b(tunic::testing::drop_data({9, 10}));
             }},
    Scenario{"flows", "four flows that start one after the other",
             [](Settings& s) {
               s.flows = 4;
               s.seconds = 30;
             }},
    Scenario{"thin-acks", "one acknowledgement in sixteen comes back",
             [](Settings& s) { s.ack_every = 16; }},
    Scenario{"compressed-acks", "acknowledgements come back in bunches, every 10 ms",
             [](Settings& s) { s.ack_hold_ms = 10; }},
    Scenario{"asymmetric", "the way back has a hundredth of the rate",
             [](Settings& s) { s.back_rate_mbit = 0.2; }},
    Scenario{"path-change", "in the middle third of the run the path is three times as long",
             [](Settings&) {},
             [](Transfer& transfer, const Settings& settings) {
               auto& link = transfer.link();
               for (tunic::Impairment* way : {&link.a_to_b(), &link.b_to_a()}) {
                 tunic::LinkConditions longer = way->conditions();
                 longer.delay *= 3;
                 const tunic::Duration third = seconds(settings.seconds / 3);
                 way->change_at(transfer.now() + third, longer);
                 way->change_at(transfer.now() + 2 * third, way->conditions());
               }
             }},
    Scenario{"small-mtu", "a hop with an MTU of 1400 that says so",
             [](Settings& s) {
               s.mtu = 1400;
               s.router = true;
             }},
    Scenario{"black-hole", "a hop with an MTU of 1400 that says nothing",
             [](Settings& s) { s.mtu = 1400; }},
    Scenario{"small-window", "the receiver's buffer is smaller than what the path holds",
             [](Settings& s) { s.receive_buffer = 64 * 1024; }},
    Scenario{"no-timestamps", "a middlebox takes the timestamps out of all segments",
             [](Settings&) {},
             [](Transfer& transfer, const Settings&) {
               transfer.link().set_filter_a_to_b(
                   tunic::testing::strip_option(tunic::TcpOptionKind::timestamps));
             }},
};

}  // namespace netsim
