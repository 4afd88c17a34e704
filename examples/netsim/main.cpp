// SPDX-License-Identifier: BSL-1.0
// What TCP connections carry over an imperfect link: two stacks in virtual time. One scenario by
// its name, with a report and, if wanted, a picture; or a table of goodput over loss and delay. No
// root, no sockets; the same options give the same result.

#include "picture.hpp"
#include "recording.hpp"
#include "scenarios.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace netsim;

namespace {

constexpr const char* usage = R"(usage: netsim [SCENARIO] [option...]
       netsim list       the scenarios
       netsim [table]    goodput in Mbit/s: one row for each one-way delay, one column for each
                         rate of loss
Options, with what they are if the scenario does not say otherwise:
  --seconds N   how long it lasts, in virtual time (10)
  --rate N      of the link, in Mbit/s (20)
  --delay N     one way, in ms (20)
  --queue N     what waits for the link at most, in ms of its rate (100)
  --loss N      packets lost at random, in percent (0)
  --reorder N   packets that are late by up to a quarter of the round trip, in percent (0)
  --flows N     connections, each a tenth of the time after the one before (1)
  --size N      of each flow, in kB (0: as much as goes)
  --seed N      of what is lost and late (1)
  --svg FILE    draws the first flow: time-sequence graph, windows, round-trip time
  --from N      what the picture shows, in seconds: from here
  --to N        and to here
)";

// Bits of payload in a full packet, of its bits on the link.
constexpr double payload_share = 1448.0 / 1500;

struct CommandLine {
  std::string scenario = "table";
  Settings settings{};
};

[[noreturn]] void refuse(const std::string& option, const std::string& value) {
  throw std::invalid_argument{option + " can't be '" + value + "', see --help"};
}

CommandLine parse(const std::vector<std::string>& arguments) {
  CommandLine line;
  std::size_t at = 0;
  if (!arguments.empty() && !arguments[0].starts_with("--")) line.scenario = arguments[at++];
  for (const Scenario& scenario : scenarios) {
    if (scenario.name == line.scenario) scenario.change(line.settings);
  }
  Settings& s = line.settings;
  const std::map<std::string, std::pair<double*, double>> numbers{
      // with the least allowed
      {"--seconds", {&s.seconds, 0.001}},
      {"--rate", {&s.rate_mbit, 0.001}},
      {"--delay", {&s.delay_ms, 0}},
      {"--queue", {&s.queue_ms, 0.001}},
      {"--loss", {&s.loss_percent, 0}},
      {"--reorder", {&s.reorder_percent, 0}},
      {"--flows", {&s.flows, 1}},
      {"--size", {&s.size_kb, 0}},
      {"--seed", {&s.seed, 0}},
      {"--from", {&s.from, 0}},
      {"--to", {&s.to, 0}}};
  for (; at < arguments.size(); at += 2) {
    const std::string& option = arguments[at];
    const std::string value = at + 1 < arguments.size() ? arguments[at + 1] : "";
    const auto found = numbers.find(option);
    if (option == "--svg" && !value.empty()) {
      s.svg = value;
      continue;
    }
    if (option != "--svg" && found == numbers.end()) {
      throw std::invalid_argument{"there is no option " + option + ", see --help"};
    }
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    if (option == "--svg" || value.empty() || *end != '\0' || !(number >= found->second.second) ||
        number > 1e6) {
      refuse(option, value);
    }
    *found->second.first = number;
  }
  if (s.flows > 60) throw std::invalid_argument{"--flows: 60 at most"};
  return line;
}

double megabits(std::uint64_t bytes) { return static_cast<double>(bytes) * 8 / 1e6; }

// How much one transfer carries, as fast as it goes, in Mbit/s.
double goodput(const Settings& settings) {
  Transfer transfer{plan_for(settings)};
  transfer.run_for(seconds(settings.seconds));
  return megabits(transfer.flows().front().delivered) / settings.seconds;
}

// False when a transfer carried nothing at all.
bool print_table(Settings settings) {
  constexpr std::array losses_percent{0.0, 0.1, 0.5, 1.0, 2.0, 5.0};
  constexpr std::array delays_ms{1, 5, 20, 50, 100};
  std::printf("%11s", "delay, loss");
  for (const double loss : losses_percent) std::printf("%8.1f %%", loss);
  bool all_carried = true;
  for (const int delay : delays_ms) {
    std::printf("\n%8d ms", delay);
    for (const double loss : losses_percent) {
      settings.delay_ms = delay;
      settings.loss_percent = loss;
      const double carried = goodput(settings);
      std::printf("%10.2f", carried);
      std::fflush(stdout);
      all_carried = all_carried && carried > 0;
    }
  }
  std::printf("\n");
  return all_carried;
}

void print_list() {
  std::printf("%-17s%s\n", "table", "goodput of one flow over delay and loss");
  for (const Scenario& scenario : scenarios) {
    std::printf("%-17.*s%.*s\n", static_cast<int>(scenario.name.size()), scenario.name.data(),
                static_cast<int>(scenario.what.size()), scenario.what.data());
  }
}

// Goodput of every flow in every interval, and of all as a bar.
void print_intervals(const Transfer& transfer, double interval, double link_mbit) {
  std::size_t count = 0;
  for (const auto& flow : transfer.flows()) count = std::max(count, flow.delivered_at.size());
  if (count == 0) return;
  std::printf("%8s  %-*s  all\n", "until s", static_cast<int>(8 * transfer.flows().size()),
              "  Mbit/s of each flow");
  for (std::size_t i = 0; i < count; ++i) {
    std::printf("%8.2f  ", interval * static_cast<double>(i + 1));
    double all = 0;
    for (const auto& flow : transfer.flows()) {
      const std::uint64_t before = i == 0 ? 0 : flow.delivered_at[i - 1];
      const double rate = megabits(flow.delivered_at[i] - before) / interval;
      std::printf("%8.2f", rate);
      all += rate;
    }
    const auto length = static_cast<std::size_t>(std::max(0.0, all / link_mbit * 50 + 0.5));
    std::printf("  %8.2f %s\n", all, std::string(std::min<std::size_t>(length, 60), '#').c_str());
  }
}

void print_summary(Transfer& transfer, const Settings& settings) {
  std::uint64_t delivered = 0;
  for (const auto& flow : transfer.flows()) delivered += flow.delivered;
  const double time = std::chrono::duration<double>(transfer.elapsed()).count();
  const double carried = megabits(delivered) / time;
  const double possible = settings.rate_mbit * payload_share;
  const tunic::TcpStats& tcp = transfer.sender().stats().tcp;
  const tunic::LinkCounters& link = transfer.link().a_to_b().counters();
  const auto print = [](const char* what, std::uint64_t count) {
    std::printf("%10llu %s\n", static_cast<unsigned long long>(count), what);
  };
  std::printf("goodput %.2f Mbit/s of %.2f (%.0f %%) in %.2f s\n", carried, possible,
              100 * carried / possible, time);
  print("segments sent again", tcp.retransmissions);
  print("segments that brought the receiver nothing new",
        transfer.receiver().stats().tcp.duplicates);
  print("retransmission time-outs", tcp.timeouts);
  print("packets dropped by the full queue", link.overflowed);
  print("packets lost otherwise", link.lost + link.oversized);
  if (transfer.flows().size() == 1) {
    const tunic::TcpInfo info = transfer.flows().front().source.info();
    std::printf("at the end: cwnd %.0f kB, smoothed round trip %.1f ms, MSS %u\n",
                info.snd_cwnd / 1e3, std::chrono::duration<double, std::milli>(info.rtt).count(),
                info.snd_mss);
  }
}

std::string title(const Scenario& scenario) {
  return std::string{scenario.name} + ": " + std::string{scenario.what};
}

std::string path(const Settings& settings) {
  char text[200];
  std::snprintf(text, sizeof text,
                "%g Mbit/s, %g ms one way, a queue of %g ms, %g %% lost, %g %% late, seed %g",
                settings.rate_mbit, settings.delay_ms, settings.queue_ms, settings.loss_percent,
                settings.reorder_percent, settings.seed);
  return text;
}

// False when nothing was carried.
bool run(const Scenario& scenario, const Settings& settings) {
  tunic::testing::BulkPlan plan = plan_for(settings);
  const double interval = settings.seconds / 10;
  plan.interval = seconds(interval);
  Transfer transfer{plan};
  scenario.prepare(transfer, settings);
  std::printf("%s\n%s\n", title(scenario).c_str(), path(settings).c_str());
  if (settings.svg.empty()) {
    transfer.run_for(seconds(settings.seconds));
  } else {
    Recording recording{transfer};
    transfer.run_for(seconds(settings.seconds), [&] { recording.sample(); });
    const double end = std::chrono::duration<double>(transfer.elapsed()).count();
    const Range times{settings.from, settings.to > settings.from ? settings.to : end};
    if (times.size() <= 0) throw std::invalid_argument{"there is nothing to draw"};
    std::ofstream file{settings.svg};
    file << Picture{recording, title(scenario), path(settings), times}.document();
    file.close();
    if (!file) throw std::runtime_error{"can't write " + settings.svg};
  }
  print_intervals(transfer, interval, settings.rate_mbit);
  print_summary(transfer, settings);
  return transfer.flows().front().delivered > 0 || settings.mtu != 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments{argv + 1, argv + argc};
  if (std::ranges::find(arguments, "--help") != arguments.end()) {
    return std::fputs(usage, stdout) < 0;
  }
  const auto [name, settings] = parse(arguments);
  if (name == "list") return print_list(), 0;
  if (name == "table") return print_table(settings) ? 0 : 1;
  for (const Scenario& scenario : scenarios) {
    if (scenario.name == name) return run(scenario, settings) ? 0 : 1;
  }
  throw std::invalid_argument{"there is no scenario " + name + ", see netsim list"};
} catch (const std::exception& error) {
  std::fprintf(stderr, "netsim: %s\n", error.what());
  return 2;
}
