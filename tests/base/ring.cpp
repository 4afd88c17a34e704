// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include "counting_source.hpp"
#include <tunic/base/ring.hpp>

#include <cstdint>
#include <deque>
#include <random>

using namespace tunic;

namespace {

struct Value {
  std::uint64_t a = 0;
  std::uint32_t b = 0;
};

// A ring, what it has to hold, and the number that its first value has to have.
struct Checked {
  CountingSource source;
  BlockPool pool{1 << 20, &source};
  Ring<Value> ring;
  std::deque<std::uint64_t> values;
  std::uint32_t first = 0;

  Checked() = default;
  Checked(const Checked&) = delete;
  Checked& operator=(const Checked&) = delete;
  ~Checked() { ring.clear(pool); }

  void push_back(std::uint64_t value) {
    CHECK(ring.push_back({value, 7}) == first + static_cast<std::uint32_t>(values.size()));
    values.push_back(value);
  }
  void push_front(std::uint64_t value) {
    CHECK(ring.push_front({value, 7}) == --first);
    values.push_front(value);
  }
  void pop_front() {
    ring.pop_front();
    values.pop_front();
    ++first;
  }
  void compare() {
    REQUIRE(ring.size() == values.size());
    REQUIRE(ring.empty() == values.empty());
    REQUIRE(ring.first() == first);
    REQUIRE(ring.end() == first + ring.size());
    REQUIRE_FALSE(ring.contains(first - 1));
    REQUIRE_FALSE(ring.contains(ring.end()));
    bool same = true;
    for (std::uint32_t i = 0; i < values.size(); ++i)
      same = same && ring.contains(first + i) && ring[first + i].a == values[i] &&
             ring[first + i].b == 7;
    REQUIRE(same);
    if (values.empty()) return;
    REQUIRE(ring.front().a == values.front());
    REQUIRE(ring.back().a == values.back());
  }
};

}  // namespace

TEST_CASE("a value of a ring keeps its number while others come and go", "[base][ring]") {
  const unsigned seed = GENERATE(1U, 2U, 3U);
  CAPTURE(seed);
  std::mt19937 random{seed};
  Checked checked;
  for (int i = 0; i < 3000; ++i) {
    const unsigned what = random() % 8;
    if (what < 4) {
      REQUIRE(checked.ring.reserve(1, checked.pool));
      checked.push_back(random());
    } else if (what == 4) {
      REQUIRE(checked.ring.reserve(1, checked.pool));
      checked.push_front(random());
    } else if (!checked.values.empty()) {
      checked.pop_front();
    }
    if (i % 700 == 699) {
      checked.first += checked.ring.size();
      checked.values.clear();
      checked.ring.clear(checked.pool);
      CHECK(checked.ring.capacity_bytes() == 0);
    }
    checked.compare();
  }
}

TEST_CASE("the numbers of a ring wrap round", "[base][ring]") {
  Checked checked;
  REQUIRE(checked.ring.reserve(2, checked.pool));
  for (std::uint64_t i = 0; i < 3; ++i) checked.push_front(i);  // from 0 down
  CHECK(checked.ring.first() == 0xfffffffd);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    REQUIRE(checked.ring.reserve(1, checked.pool));
    checked.push_back(i);
  }
  CHECK(checked.ring.end() == 2000);
  checked.compare();
}

TEST_CASE("a ring holds one value without memory, and more with it", "[base][ring]") {
  Checked checked;
  checked.source.grant(0);
  REQUIRE(checked.ring.reserve(1, checked.pool));
  checked.push_back(42);
  CHECK_FALSE(checked.ring.reserve(1, checked.pool));
  CHECK(checked.ring.capacity_bytes() == 0);
  checked.compare();
  checked.source.grant(1);
  std::uint64_t count = 1;
  for (; checked.ring.reserve(1, checked.pool); ++count) checked.push_back(count);
  CHECK(count * sizeof(Value) <= checked.ring.capacity_bytes());
  CHECK(count * sizeof(Value) * 2 > checked.ring.capacity_bytes());
  checked.compare();
  checked.pop_front();
  CHECK(checked.ring.reserve(1, checked.pool));
  CHECK_FALSE(checked.ring.reserve(2, checked.pool));
  checked.compare();
}

TEST_CASE("a ring gives its memory back, also to another ring", "[base][ring]") {
  CountingSource source;
  BlockPool pool{1 << 20, &source};
  {
    Ring<Value> a;
    REQUIRE(a.reserve(5, pool));
    const auto number = a.push_back({42, 0});
    Ring<Value> b{std::move(a)};
    CHECK(a.empty());  // NOLINT: what a moved-from ring promises
    CHECK(a.capacity_bytes() == 0);
    CHECK(b[number].a == 42);
    a.swap(b);
    CHECK(b.empty());
    CHECK(a[number].a == 42);
    a.clear(pool);
    CHECK(a.end() == number + 1);  // no number is given twice
    REQUIRE(a.reserve(1, pool));
    CHECK(a.push_back({}) == number + 1);
    a.clear(pool);
  }
  CHECK(pool.used_bytes() == 0);
}
