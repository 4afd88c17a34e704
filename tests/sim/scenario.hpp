// SPDX-License-Identifier: BSL-1.0
#pragma once

// A scenario: a bulk transfer over a described path, run for some seeds, and its line in a table.

#include "../support/hostile.hpp"
#include "claims.hpp"
#include "golden.hpp"
#include <tunic/testing/bulk_transfer.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace tunic::sim {

using namespace std::chrono_literals;
using testing::BulkPlan;
using testing::FlowPlan;
using Transfer = testing::BulkTransfer<>;

/// A path both ways: its rate for data, its round trip, and its queue in products of the two.
inline BulkPlan path(double megabits_per_second, Duration rtt, double queue_bdp) {
  const double bits_per_second = megabits_per_second * 1e6;
  const double bdp_bytes = bits_per_second / 8 * std::chrono::duration<double>(rtt).count();
  BulkPlan plan;
  plan.there = {.delay = rtt / 2,
                .rate_bits_per_second = static_cast<std::uint64_t>(bits_per_second),
                .queue_bytes = static_cast<std::size_t>(bdp_bytes * queue_bdp)};
  plan.back = {.delay = rtt / 2};
  return plan;
}

struct Scenario {
  std::string name;  ///< One word.
  BulkPlan plan{};
  bool random = false;  ///< Whether seeds make a difference.
  std::chrono::seconds quick = 10s;
  std::chrono::seconds full = 60s;
  std::function<void(Transfer&)> prepare{};                   ///< Filters, changes of the path.
  std::function<void(BulkPlan&, std::uint64_t seed)> vary{};  ///< What else a seed changes.

  [[nodiscard]] std::chrono::seconds length() const {
    return std::chrono::seconds{test::cases(static_cast<std::uint64_t>(quick.count()),
                                            static_cast<std::uint64_t>(full.count()))};
  }
  [[nodiscard]] std::uint64_t seeds() const { return random ? test::cases(2, 20) : 1; }
  /// A sum over all seeds, for each of them.
  [[nodiscard]] double per_seed(std::uint64_t count) const {
    return static_cast<double>(count) / static_cast<double>(seeds());
  }
};

/// Sums over seeds, but for goodput and fairness.
struct Outcome {
  double goodput = 0;        ///< Mean ratio of all flows' to the link's payload rate.
  double least_goodput = 2;  ///< Of the worst seed.
  double fairness = 2;       ///< Jain's index over the time in which all flows run, the worst.
  double mean_fairness = 0;  ///< The same of all seeds.
  Duration longest_gap{};    ///< In which a flow that had begun delivered nothing.
  std::uint64_t resent = 0;
  std::uint64_t spurious = 0;  ///< Segments that brought the receiver nothing new.
  std::uint64_t timeouts = 0;
  std::uint64_t overflowed = 0;  ///< Lost in the queue.
  std::uint64_t lost = 0;        ///< Lost otherwise.
};

/// For how long a flow has delivered nothing, at most, since its first byte came.
class Gaps {
 public:
  explicit Gaps(std::size_t flows) : seen_(flows) {}

  /// At every instant at which something happens.
  void look(const Transfer& transfer) {
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      const std::uint64_t delivered = transfer.flows()[i].delivered;
      if (seen_[i].delivered != 0) longest_ = std::max(longest_, transfer.elapsed() - seen_[i].at);
      if (seen_[i].delivered != delivered) seen_[i] = {delivered, transfer.elapsed()};
    }
  }
  [[nodiscard]] Duration longest() const { return longest_; }

 private:
  struct Seen {
    std::uint64_t delivered = 0;
    Duration at{};
  };
  std::vector<Seen> seen_;
  Duration longest_{};
};

/// The shares of all flows from a sixth of the run to its end.
inline double fairness(const Transfer& transfer, std::size_t intervals) {
  std::vector<double> shares;
  for (const auto& flow : transfer.flows()) {
    shares.push_back(delivered_between(flow.delivered_at, intervals / 6, intervals));
  }
  return jain_index(shares);
}

inline Outcome simulate(const Scenario& scenario) {
  Outcome outcome;
  const auto seconds = scenario.length();
  for (std::uint64_t seed = 1; seed <= scenario.seeds(); ++seed) {
    BulkPlan plan = scenario.plan;
    plan.there.seed = 2 * seed;
    plan.back.seed = 2 * seed + 1;
    if (scenario.vary) scenario.vary(plan, seed);
    Transfer transfer{plan};
    if (scenario.prepare) scenario.prepare(transfer);
    Gaps gaps{plan.flows.size()};
    transfer.run_for(seconds, [&] { gaps.look(transfer); });
    gaps.look(transfer);
    outcome.longest_gap = std::max(outcome.longest_gap, gaps.longest());

    std::uint64_t delivered = 0;
    for (const auto& flow : transfer.flows()) delivered += flow.delivered;
    const auto rate = static_cast<double>(plan.there.rate_bits_per_second);
    const double goodput = static_cast<double>(delivered) * 8 / payload_rate(rate) /
                           static_cast<double>(seconds.count());
    outcome.goodput += goodput / static_cast<double>(scenario.seeds());
    outcome.least_goodput = std::min(outcome.least_goodput, goodput);
    const double even = fairness(transfer, static_cast<std::size_t>(seconds.count()));
    outcome.fairness = std::min(outcome.fairness, even);
    outcome.mean_fairness += even / static_cast<double>(scenario.seeds());
    const TcpStats& tcp = transfer.sender().stats().tcp;
    const LinkCounters& link = transfer.link().a_to_b().counters();
    outcome.resent += tcp.retransmissions;
    outcome.timeouts += tcp.timeouts;
    outcome.spurious += transfer.receiver().stats().tcp.duplicates;
    outcome.overflowed += link.overflowed;
    outcome.lost += link.lost + link.oversized;
  }
  return outcome;
}

inline constexpr const char* outcome_columns =
    "scenario                runs  goodput  least  fair  resent  spurious  timeouts   queue    "
    "lost";

/// How long, and how often: a part of a line's key.
inline std::string runs(const Scenario& scenario) {
  return std::to_string(scenario.seeds()) + 'x' + std::to_string(scenario.length().count()) + 's';
}

inline std::string line(const Scenario& scenario, const Outcome& outcome) {
  char text[160];
  std::snprintf(text, sizeof text, "%-22s %7s  %7.2f %6.2f %5.2f %7llu %9llu %9llu %7llu %7llu",
                scenario.name.c_str(), runs(scenario).c_str(), outcome.goodput,
                outcome.least_goodput, outcome.fairness,
                static_cast<unsigned long long>(outcome.resent),
                static_cast<unsigned long long>(outcome.spurious),
                static_cast<unsigned long long>(outcome.timeouts),
                static_cast<unsigned long long>(outcome.overflowed),
                static_cast<unsigned long long>(outcome.lost));
  return text;
}

/// Runs the scenario and enters its line.
inline Outcome run(const Scenario& scenario, GoldenTable& table) {
  const Outcome outcome = simulate(scenario);
  table.add(line(scenario, outcome));
  UNSCOPED_INFO(line(scenario, outcome));
  return outcome;
}

/// A table whose lines are those of `run`.
inline GoldenTable outcome_table(const std::string& name) {
  GoldenTable table = GoldenTable::named(name);
  table.heading(outcome_columns);
  return table;
}

}  // namespace tunic::sim
