// SPDX-License-Identifier: BSL-1.0

// What the stack costs without a kernel: two of them in memory, beside copying and summing the same
// bytes in the same run. See usage below and README.md.

#include "in_memory.hpp"

#include <tunic/wire/checksum.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>

namespace {

constexpr const char* usage = R"(usage: in_memory [option...]
  --seconds S            of a run (0.5)
  --repeats N            of each; medians (5)
  --count SCENARIO N     only that much of segments, large, requests or connections, untimed
)";

struct Settings {
  double seconds = 0.5;
  int repeats = 5;
};

// Copies, and sums if wanted, as many bytes as a connection's buffer holds, piece by piece: what a
// stack can't do without. It sums as tunic does, whose own sum has a benchmark (micro.cpp).
class Chores {
 public:
  Chores(std::size_t piece_bytes, bool sums, std::size_t buffer_bytes)
      : piece_{piece_bytes}, sums_{sums}, bytes_(buffer_bytes / piece_bytes * piece_bytes) {}

  std::size_t step() {
    for (std::size_t at = 0; at < bytes_.size(); at += piece_) {
      std::memcpy(&copied_[at], &bytes_[at], piece_);
      if (sums_) {
        for (int i = 0; i < 2; ++i)
          sum_ = sum_ + tunic::checksum(tunic::Bytes{copied_}.subspan(at, piece_));
      }
      std::memcpy(&again_[at], &copied_[at], piece_);
    }
    keep(again_.data());
    return bytes_.size();
  }

 private:
  // The compiler must not drop what nobody reads.
  static void keep(void* bytes) { asm volatile("" : : "r"(bytes) : "memory"); }

  std::size_t piece_;
  bool sums_;
  std::vector<std::byte> bytes_;
  std::vector<std::byte> copied_ = bytes_;
  std::vector<std::byte> again_ = bytes_;
  volatile unsigned sum_ = 0;
};

template <class Scenario>
double ns_per_unit(Scenario& scenario, double seconds) {
  using std::chrono::steady_clock;
  const auto begin = steady_clock::now();
  const auto end = begin + std::chrono::duration<double>{seconds};
  std::size_t units = 0;
  auto now = begin;
  for (; now < end; now = steady_clock::now()) {
    for (int i = 0; i < 16; ++i) units += scenario.step();
  }
  return std::chrono::duration<double, std::nano>{now - begin}.count() / static_cast<double>(units);
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Both by turns, so that whatever slows the machine down slows both. The ratio claimed; true if it
// is kept.
template <class D>
bool compare(const Settings& settings, const char* title, std::size_t segment_bytes, bool sums,
             const char* chores_title, double claimed) {
  bench::Bulk<D> stacks;
  Chores chores{segment_bytes, sums, D::buffer_bytes};
  ns_per_unit(stacks, 0.05);
  ns_per_unit(chores, 0.05);
  std::vector<double> of_stacks, of_chores, ratios;
  for (int i = 0; i < settings.repeats; ++i) {
    of_stacks.push_back(ns_per_unit(stacks, settings.seconds));
    of_chores.push_back(ns_per_unit(chores, settings.seconds));
    ratios.push_back(of_stacks.back() / of_chores.back());
  }
  const double ratio = median(ratios);
  const double ns = median(of_stacks);
  const auto size = static_cast<double>(segment_bytes);
  std::printf("| %s | %.1f Gbit/s | %.0f ns | %s %.0f ns | %.2f (at most %.1f) |\n", title, 8 / ns,
              ns * size, chores_title, median(of_chores) * size, ratio, claimed);
  return ratio <= claimed;
}

template <class Scenario>
void tell(const Settings& settings, const char* title) {
  Scenario scenario;
  ns_per_unit(scenario, 0.05);
  std::vector<double> all;
  for (int i = 0; i < settings.repeats; ++i) all.push_back(ns_per_unit(scenario, settings.seconds));
  std::printf("| %s | %.0f /s | %.0f ns | | |\n", title, 1e9 / median(all), median(all));
}

bool run_all(const Settings& settings) {
  std::printf("| two stacks in one thread | | each | the same bytes | ratio |\n");
  std::printf("|---|---:|---:|---:|---:|\n");
  bool kept = compare<bench::Wire>(settings, "segments of 1460 bytes, summed twice", 1460, true,
                                   "copy, sum, sum, copy", 1.5);
  kept = compare<bench::LargeWire>(settings, "segments of 64 KiB, not summed", 65'536, false,
                                   "copy, copy", 1.6) &&
         kept;
  tell<bench::Requests>(settings, "a byte there and back");
  tell<bench::Connections>(settings, "connect, a byte there and back, close");
  if (!kept) std::puts("ABOVE THE CLAIM");
  return kept;
}

template <class Scenario>
void repeat(std::size_t count) {
  Scenario scenario;
  for (std::size_t done = 0; done < count;) done += scenario.step();
}

void run_one(std::string_view scenario, std::size_t count) {
  if (scenario == "segments") return repeat<bench::Bulk<bench::Wire>>(count * 1460);
  if (scenario == "large") return repeat<bench::Bulk<bench::LargeWire>>(count * 65'536);
  if (scenario == "requests") return repeat<bench::Requests>(count);
  if (scenario == "connections") return repeat<bench::Connections>(count);
  throw std::invalid_argument{usage};
}

}  // namespace

int main(int argc, char** argv) try {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--count" && i + 2 < argc)
      return run_one(argv[i + 1], std::stoul(argv[i + 2])), 0;
    if (option == "--seconds" && i + 1 < argc) {
      settings.seconds = std::atof(argv[++i]);
    } else if (option == "--repeats" && i + 1 < argc) {
      settings.repeats = std::max(std::atoi(argv[++i]), 1);
    } else {
      throw std::invalid_argument{usage};
    }
  }
  return run_all(settings) ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
