// SPDX-License-Identifier: BSL-1.0

#include "golden.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

using tunic::sim::GoldenTable;

namespace {

struct TemporaryTable {
  std::filesystem::path path = std::filesystem::temp_directory_path() /
                               ("tunic_golden_" + std::to_string(::getpid()) + ".txt");
  TemporaryTable() {
    std::ofstream{path} << "# columns\nbulk    10s  0.97\nbulk    60s  0.99\nloss    10s  0.50\n";
  }
  TemporaryTable(const TemporaryTable&) = delete;
  TemporaryTable& operator=(const TemporaryTable&) = delete;
  ~TemporaryTable() { std::filesystem::remove(path); }
};

}  // namespace

TEST_CASE("a table that is the same has no differences", "[sim][golden]") {
  const TemporaryTable file;
  GoldenTable table{file.path};
  table.heading("columns");
  table.add("loss    10s  0.50");
  table.add("bulk    60s  0.99");
  CHECK(table.differences().empty());
}

TEST_CASE("a difference shows what was expected and what was found", "[sim][golden]") {
  const TemporaryTable file;
  GoldenTable table{file.path};
  table.add("bulk    60s  0.98");
  table.add("bulk    10s  0.97");
  table.add("new     10s  1.00");
  CHECK(table.differences() ==
        "  expected: bulk    60s  0.99\n  found:    bulk    60s  0.98\n"
        "  expected: no such line\n  found:    new     10s  1.00\n");
}

TEST_CASE("new lines take the place of the old ones of the same run", "[sim][golden]") {
  const TemporaryTable file;
  GoldenTable table{file.path};
  table.heading("other columns");
  table.add("bulk    60s  0.98");
  table.add("new     10s  1.00");
  CHECK(table.merged() ==
        "# other columns\nbulk    10s  0.97\nbulk    60s  0.98\nloss    10s  0.50\n"
        "new     10s  1.00\n");
}

TEST_CASE("without a table every line is a difference", "[sim][golden]") {
  GoldenTable table{"no/such/table.txt"};
  table.add("bulk    60s  0.98");
  CHECK(table.differences() == "  expected: no such line\n  found:    bulk    60s  0.98\n");
}
