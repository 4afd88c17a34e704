// SPDX-License-Identifier: BSL-1.0
#pragma once

// Tables of results that are kept in the repository (tests/sim/golden/), one line for each scenario
// and kind of run. A run that gives another line fails and prints both. Nothing is ever accepted by
// itself: with TUNIC_NEW_GOLDEN set in the environment the new table is written beside the old one,
// with `.new` behind its name, to be compared and, if right, renamed.

#include "../support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tunic::sim {

class GoldenTable {
 public:
  /// The first two words of a line, the scenario and the kind of run, are its key.
  explicit GoldenTable(std::filesystem::path file) : file_{std::move(file)} {
    std::ifstream in{file_};
    for (std::string line; std::getline(in, line);) old_.push_back(line);
  }
  /// The table of that name in the repository.
  static GoldenTable named(const std::string& name) {
    return GoldenTable{std::filesystem::path{__FILE__}.parent_path() / "golden" / (name + ".txt")};
  }

  /// A line that starts with # and stands above those that follow.
  void heading(std::string_view columns) { add("# " + std::string{columns}); }
  void add(std::string line) { new_.push_back(std::move(line)); }

  /// What differs, for a person; empty when nothing does.
  [[nodiscard]] std::string differences() const {
    std::string text;
    for (const std::string& line : new_) {
      const auto old = find(old_, key(line));
      if (old != old_.end() && *old == line) continue;
      text +=
          "  expected: " + (old == old_.end() ? "no such line" : *old) + "\n  found:    " + line;
      text += '\n';
    }
    return text;
  }

  /// The old table with the new lines in place of those with their keys, or at its end.
  [[nodiscard]] std::string merged() const {
    std::vector<std::string> lines = old_;
    for (const std::string& line : new_) {
      const auto old = find(lines, key(line));
      if (old == lines.end()) {
        lines.push_back(line);
      } else {
        lines[static_cast<std::size_t>(old - lines.begin())] = line;
      }
    }
    std::string text;
    for (const std::string& line : lines) text += line + '\n';
    return text;
  }

  /// Fails the test case when something differs.
  void check() const {
    const std::string text = differences();
    if (text.empty()) {
      SUCCEED();
      return;
    }
    std::string advice =
        "To look at a transfer: examples/netsim with the name of a scenario, and --svg FILE.\n"
        "If the new results are better or as good: run this test with TUNIC_NEW_GOLDEN=1, "
        "compare\n";
    advice += file_.string() + ".new with the old table, and rename it.";
    if (std::getenv("TUNIC_NEW_GOLDEN") != nullptr) {
      std::ofstream{file_.string() + ".new"} << merged();
      advice = "Written: " + file_.string() + ".new; compare it and rename it.";
    }
    // Catch2 would break the lines.
    std::fprintf(stderr, "%s differs:\n%s%s\n\n", file_.filename().c_str(), text.c_str(),
                 advice.c_str());
    FAIL_CHECK(file_.filename().string() << " differs, see above");
  }

 private:
  using Lines = std::vector<std::string>;

  static Lines::const_iterator find(const Lines& lines, const std::string& wanted) {
    return std::ranges::find(lines, wanted, key);
  }
  static std::string key(const std::string& line) {
    std::istringstream words{line};
    std::string scenario, run;
    words >> scenario >> run;
    return scenario == "#" ? scenario : scenario + ' ' + run;
  }

  std::filesystem::path file_;
  Lines old_;
  Lines new_;
};

}  // namespace tunic::sim
