// SPDX-License-Identifier: BSL-1.0

// The text renderer on any bytes: one line of printable characters.

#include "../support/invariants.hpp"
#include "script.hpp"
#include <tunic/testing/segment.hpp>
#include <tunic/wire/text.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace tunic;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Script script{data, size};
  const bool repaired = script.flag();
  std::vector<std::byte> bytes = script.copy(size);
  if (repaired) testing::repair_checksums(bytes);
  const std::string text = to_text(bytes);
  const auto printable = [](char c) { return ' ' <= c && c <= '~'; };
  test::demand(!text.empty() && std::all_of(text.begin(), text.end(), printable),
               "a packet is one line");
  test::demand(text.size() < 1000, "the line has an end");
  return 0;
}
