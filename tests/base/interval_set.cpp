// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include <tunic/base/interval_set.hpp>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

namespace {

using tunic::IntervalSet;

// A number on a circle, as TCP's sequence numbers are.
struct Circular {
  std::uint32_t value = 0;
  friend bool operator==(Circular, Circular) = default;
  friend bool operator<(Circular a, Circular b) { return a - b < 0; }
  friend std::int32_t operator-(Circular a, Circular b) {
    return static_cast<std::int32_t>(a.value - b.value);
  }
};

// How a test's small numbers become values of the set.
template <class T>
T value_of(std::uint32_t number) {
  return static_cast<T>(number);
}
template <>
Circular value_of<Circular>(std::uint32_t number) {
  return {0xffffff80 + number};  // wraps round to 0 in the middle
}

// The maximal ranges of a set of numbers.
template <class Set>
std::vector<typename Set::Range> ranges_of(const std::set<std::uint32_t>& numbers) {
  std::vector<typename Set::Range> ranges;
  for (const std::uint32_t number : numbers) {
    const auto value = value_of<decltype(Set{}[0].first)>;
    if (!ranges.empty() && ranges.back().last == value(number)) {
      ranges.back().last = value(number + 1);
    } else {
      ranges.push_back({value(number), value(number + 1)});
    }
  }
  return ranges;
}

TEST_CASE("ranges that touch or overlap become one", "[base][interval_set]") {
  IntervalSet<> set;
  CHECK(set.empty());
  CHECK(set.insert(10, 20).added == 10);
  CHECK(set.insert(30, 40).added == 10);
  CHECK(set.size() == 2);
  const auto bridge = set.insert(20, 30);
  CHECK(bridge.added == 10);
  CHECK(bridge.overlapped == 0);
  CHECK(bridge.range == IntervalSet<>::Range{10, 40});
  CHECK(set.size() == 1);
  CHECK(set[0] == IntervalSet<>::Range{10, 40});
  CHECK(set.total() == 30);
}

TEST_CASE("an insertion says how much was new and how much was there", "[base][interval_set]") {
  IntervalSet<> set;
  set.insert(10, 20);
  set.insert(30, 40);
  set.insert(50, 60);
  const auto over = set.insert(15, 55);
  CHECK(over.added == 20);
  CHECK(over.overlapped == 20);
  CHECK(over.range == IntervalSet<>::Range{10, 60});
  CHECK(!over.full);
  const auto again = set.insert(12, 50);
  CHECK(again.added == 0);
  CHECK(again.overlapped == 38);
  CHECK(again.range == IntervalSet<>::Range{10, 60});
  CHECK(set.total() == 50);
}

TEST_CASE("empty and reversed ranges add nothing", "[base][interval_set]") {
  IntervalSet<> set;
  CHECK(set.insert(5, 5).added == 0);
  CHECK(set.insert(9, 5).added == 0);
  CHECK(set.empty());
  CHECK(set.contains(7, 7));
  CHECK(set.erase_below(100) == 0);
}

TEST_CASE("a full set takes what joins ranges and refuses one more", "[base][interval_set]") {
  IntervalSet<std::uint32_t, 3> set;
  CHECK(set.capacity() == 3);
  set.insert(10, 20);
  set.insert(30, 40);
  set.insert(50, 60);
  const auto refused = set.insert(70, 80);
  CHECK(refused.full);
  CHECK(refused.added == 0);
  CHECK(set.size() == 3);
  CHECK(set.total() == 30);
  CHECK(set.insert(22, 28).full);
  CHECK(!set.insert(60, 65).full);
  CHECK(!set.insert(15, 35).full);
  CHECK(set.size() == 2);
  CHECK(!set.insert(70, 80).full);
}

TEST_CASE("what lies below a limit is erased", "[base][interval_set]") {
  IntervalSet<> set;
  set.insert(10, 20);
  set.insert(30, 40);
  CHECK(set.erase_below(10) == 0);
  CHECK(set.erase_below(15) == 5);
  CHECK(set[0].first == 15);
  CHECK(set.erase_below(20) == 5);
  CHECK(set.size() == 1);
  CHECK(set.erase_below(25) == 0);
  CHECK(set.total() == 10);
  CHECK(set.erase_below(1000) == 10);
  CHECK(set.empty());
  CHECK(set.total() == 0);
}

TEST_CASE("gaps are found in order", "[base][interval_set]") {
  using Range = IntervalSet<>::Range;
  IntervalSet<> set;
  CHECK(set.next_gap(0, 50) == Range{0, 50});
  set.insert(10, 20);
  set.insert(30, 40);
  CHECK(set.next_gap(0, 50) == Range{0, 10});
  CHECK(set.next_gap(10, 50) == Range{20, 30});
  CHECK(set.next_gap(25, 28) == Range{25, 28});
  CHECK(set.next_gap(35, 50) == Range{40, 50});
  CHECK(set.next_gap(35, 40).empty());
  CHECK(set.next_gap(12, 15) == Range{15, 15});
  CHECK(set.next_gap(45, 45).empty());
}

TEST_CASE("a set can be used at compile time", "[base][interval_set]") {
  constexpr std::uint32_t total = [] {
    IntervalSet<std::uint32_t, 4> set;
    set.insert(10, 20);
    set.insert(0, 5);
    set.insert(15, 30);
    set.erase_below(2);
    return set.total();
  }();
  static_assert(total == 23);
  SUCCEED();
}

TEMPLATE_TEST_CASE("a set of intervals is a set of numbers", "[base][interval_set]", std::uint32_t,
                   std::uint16_t, std::uint64_t, Circular) {
  using Set = IntervalSet<TestType, 6>;
  constexpr auto value = value_of<TestType>;
  const auto seed = GENERATE(range(1U, 7U));
  CAPTURE(seed);
  auto random = [engine = std::mt19937{seed}]() mutable {
    return static_cast<std::uint32_t>(engine());
  };
  constexpr std::uint32_t universe = 256;
  Set set;
  std::set<std::uint32_t> model;
  int refusals = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::uint32_t a = random() % universe;
    const std::uint32_t b =
        std::min<std::uint32_t>(universe, a + random() % (random() % 4 == 0 ? 80 : 12));
    if (const auto dice = random() % 40; dice == 0) {
      set.clear();
      model.clear();
    } else if (dice < 4) {
      const std::uint32_t limit = random() % 2 == 0 ? a : a / 8;
      const std::size_t before = model.size();
      model.erase(model.begin(), model.lower_bound(limit));
      REQUIRE(set.erase_below(value(limit)) == before - model.size());
    } else {
      std::set<std::uint32_t> after = model;
      for (std::uint32_t n = a; n < b; ++n) after.insert(n);
      const auto inserted = set.insert(value(a), value(b));
      if (ranges_of<Set>(after).size() > 6) {
        ++refusals;
        REQUIRE(inserted.full);
        REQUIRE(inserted.added == 0);
      } else {
        REQUIRE(!inserted.full);
        REQUIRE(inserted.added == after.size() - model.size());
        REQUIRE(inserted.added + inserted.overlapped == b - a);
        if (a < b) {
          REQUIRE(set.contains(inserted.range.first, inserted.range.last));
          REQUIRE(std::find(set.begin(), set.end(), inserted.range) != set.end());
          REQUIRE(!(value(a) < inserted.range.first));
          REQUIRE(!(inserted.range.last < value(b)));
        }
        model = after;
      }
    }
    const auto expected = ranges_of<Set>(model);
    REQUIRE(set.size() == expected.size());
    REQUIRE(set.empty() == expected.empty());
    REQUIRE(std::equal(set.begin(), set.end(), expected.begin(), expected.end()));
    REQUIRE(set.total() == model.size());

    const std::uint32_t p = random() % universe;
    const std::uint32_t q = p + random() % 40;
    REQUIRE(set.covers(value(p)) == model.contains(p));
    std::uint32_t gap = p;
    while (gap < q && model.contains(gap)) ++gap;
    std::uint32_t gap_end = gap;
    while (gap_end < q && !model.contains(gap_end)) ++gap_end;
    REQUIRE(set.contains(value(p), value(q)) == (gap == q));
    REQUIRE(set.next_gap(value(p), value(q)) == typename Set::Range{value(gap), value(gap_end)});
  }
  CHECK(refusals > 0);
}

}  // namespace
