// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include "counting_source.hpp"
#include <tunic/base/slab.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

namespace {

using tunic::BlockPool;
using tunic::Slab;

constexpr std::size_t mib = 1024 * 1024;

// An object that can neither be copied nor moved and counts how many of it live.
class Pinned {
 public:
  explicit Pinned(int& live, int number = 0) noexcept : value{number}, live_{&live} { ++live; }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  ~Pinned() { --*live_; }

  int value;

 private:
  int* live_;
};

TEST_CASE("a new slab has no memory and no objects", "[base][slab]") {
  CountingSource source;
  BlockPool pool{mib, &source};
  const Slab<int> slab{pool, 100};
  CHECK(slab.empty());
  CHECK(slab.size() == 0);
  CHECK(slab.capacity() == 0);
  CHECK(slab.limit() == 100);
  CHECK(slab.find(0, 0) == nullptr);
  CHECK(slab.find(0, 1) == nullptr);
  CHECK(source.requests() == 0);
}

TEST_CASE("an object is found by index and generation until it is erased", "[base][slab]") {
  BlockPool pool{mib};
  int live = 0;
  Slab<Pinned> slab{pool, 100};
  Pinned* object = slab.emplace(live, 7);
  REQUIRE(object != nullptr);
  const std::uint32_t index = slab.index_of(*object);
  const std::uint32_t generation = slab.generation_of(*object);
  CHECK(generation != 0);
  CHECK(&slab.at(index) == object);
  CHECK(&std::as_const(slab).at(index) == object);
  CHECK(slab.find(index, generation) == object);
  CHECK(std::as_const(slab).find(index, generation) == object);
  CHECK(slab.find(index, generation + 1) == nullptr);
  CHECK(slab.find(index, 0) == nullptr);
  CHECK(slab.find(index + 1, generation) == nullptr);
  CHECK(slab.find(0xffffffff, generation) == nullptr);
  CHECK(live == 1);

  slab.erase(index);
  CHECK(live == 0);
  CHECK(slab.empty());
  for (std::uint32_t g = 0; g < 8; ++g) CHECK(slab.find(index, g) == nullptr);

  Pinned* next = slab.emplace(live, 8);  // takes the same slot
  REQUIRE(next != nullptr);
  CHECK(slab.index_of(*next) == index);
  CHECK(slab.generation_of(*next) != generation);
  CHECK(slab.find(index, generation) == nullptr);
  CHECK(slab.find(index, slab.generation_of(*next)) == next);
}

TEST_CASE("the slot that became free last is used first", "[base][slab]") {
  BlockPool pool{mib};
  Slab<int> slab{pool, 100};
  for (int i = 0; i < 10; ++i)
    CHECK(slab.index_of(*slab.emplace(i)) == static_cast<std::uint32_t>(i));
  for (const std::uint32_t index : {3U, 7U, 5U}) slab.erase(index);
  for (const std::uint32_t index : {5U, 7U, 3U, 10U})
    CHECK(slab.index_of(*slab.emplace(0)) == index);
}

TEST_CASE("a slab destroys what is left and gives all memory back", "[base][slab]") {
  CountingSource source;
  BlockPool pool{mib, &source};
  int live = 0;
  {
    Slab<Pinned> slab{pool, 5000};
    for (int i = 0; i < 5000; ++i) REQUIRE(slab.emplace(live) != nullptr);
    for (std::uint32_t i = 0; i < 5000; i += 3) slab.erase(i);
    CHECK(live == static_cast<int>(slab.size()));
    CHECK(pool.used_bytes() == source.live_bytes());
  }
  CHECK(live == 0);
  CHECK(pool.used_bytes() == 0);
  CHECK(source.live() == 0);
}

TEST_CASE("a slab holds exactly its limit", "[base][slab]") {
  const auto limit = GENERATE(0U, 1U, 2U, 1000U, 4096U, 4097U);
  CAPTURE(limit);
  CountingSource source;
  BlockPool pool{mib, &source};
  Slab<std::uint64_t> slab{pool, limit};
  for (std::uint32_t i = 0; i < limit; ++i) REQUIRE(slab.emplace(i) != nullptr);
  CHECK(slab.size() == limit);
  CHECK(slab.capacity() == limit);  // no slot that could not be used
  CHECK(slab.emplace(0U) == nullptr);
  for (std::uint32_t i = 0; i < limit; ++i) REQUIRE(slab.at(i) == i);
  if (limit != 0) {
    slab.erase(limit / 2);
    CHECK(slab.emplace(1U) != nullptr);
    CHECK(slab.emplace(1U) == nullptr);
  }
  CHECK(source.live_bytes() <= limit * 16 + 64);
}

TEST_CASE("objects stay where they are while the slab grows", "[base][slab]") {
  BlockPool pool{64 * mib};
  Slab<std::uint64_t> slab{pool, 100'000};
  std::vector<std::uint64_t*> objects;
  for (std::uint64_t i = 0; i < 100'000; ++i) objects.push_back(slab.emplace(i));
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    REQUIRE(objects[i] == &slab.at(i));
    REQUIRE(*objects[i] == i);
    REQUIRE(slab.index_of(*objects[i]) == i);
  }
}

template <std::size_t alignment>
struct alignas(alignment) Aligned {
  char text[3];
};

TEMPLATE_TEST_CASE_SIG("objects are aligned as their type asks", "[base][slab]",
                       ((std::size_t alignment), alignment), 1, 2, 8, 16, 32, 64) {
  CountingSource source;
  BlockPool pool{mib, &source};
  Slab<Aligned<alignment>> slab{pool, 300};
  for (int i = 0; i < 300; ++i) {
    auto* object = slab.emplace();
    REQUIRE(object != nullptr);
    REQUIRE(reinterpret_cast<std::uintptr_t>(object) % alignment == 0);
  }
}

TEST_CASE("a large object has chunks of its own size", "[base][slab]") {
  struct Large {
    std::byte bytes[50'000];
  };
  BlockPool pool{4 * mib};
  Slab<Large> slab{pool, 20};
  for (int i = 0; i < 20; ++i) REQUIRE(slab.emplace() != nullptr);
  CHECK(slab.emplace() == nullptr);
}

TEST_CASE("the budget bounds a slab, which goes on with what it has", "[base][slab]") {
  BlockPool pool{200'000};
  Slab<std::uint64_t> slab{pool, 1'000'000};
  std::uint32_t count = 0;
  while (slab.emplace(count) != nullptr) ++count;
  CHECK(count > 4096);
  CHECK(count == slab.capacity());
  CHECK(pool.used_bytes() <= 200'000);
  slab.erase(17);
  CHECK(slab.emplace(1U) != nullptr);
  CHECK(slab.emplace(1U) == nullptr);
  const std::size_t used = pool.used_bytes();
  CHECK(!slab.reserve(count + 1));
  CHECK(pool.used_bytes() == used);
}

TEST_CASE("a source that refuses the first, second, third ... request harms nothing",
          "[base][slab]") {
  constexpr std::uint32_t wanted = 30'000;
  bool refused = true;
  for (std::size_t grants = 0; refused; ++grants) {
    CAPTURE(grants);
    REQUIRE(grants < 30);
    CountingSource source{grants};
    BlockPool pool{64 * mib, &source};
    {
      Slab<std::uint64_t> slab{pool, wanted};
      refused = false;
      while (slab.size() < wanted && !refused) refused = slab.emplace(slab.size()) == nullptr;
      CHECK(pool.used_bytes() == source.live_bytes());
      CHECK(slab.size() == slab.capacity());
      for (std::uint32_t i = 0; i < slab.size(); ++i) REQUIRE(slab.at(i) == i);

      source.grant(CountingSource::unlimited);  // and what was refused is granted later
      while (slab.size() < wanted) REQUIRE(slab.emplace(slab.size()) != nullptr);
      for (std::uint32_t i = 0; i < wanted; ++i) REQUIRE(slab.at(i) == i);
    }
    CHECK(pool.used_bytes() == 0);
  }
}

TEST_CASE("reserved slots need no memory later", "[base][slab]") {
  CountingSource source;
  BlockPool pool{64 * mib, &source};
  Slab<std::uint64_t> slab{pool, 10'000};
  CHECK(slab.reserve(9'000));
  CHECK(slab.capacity() >= 9'000);
  CHECK(slab.empty());
  source.grant(0);
  for (std::uint32_t i = 0; i < 9'000; ++i) REQUIRE(slab.emplace(i) != nullptr);
  CHECK(slab.reserve(100));
  CHECK(!slab.reserve(10'001));
  source.grant(CountingSource::unlimited);
  CHECK(slab.reserve(10'000));
  CHECK(slab.capacity() == 10'000);
}

TEST_CASE("all objects are visited in order, and may be erased meanwhile", "[base][slab]") {
  BlockPool pool{mib};
  Slab<std::uint32_t> slab{pool, 10'000};
  for (std::uint32_t i = 0; i < 10'000; ++i) REQUIRE(slab.emplace(i) != nullptr);
  for (std::uint32_t i = 0; i < 10'000; i += 2) slab.erase(i);
  std::uint32_t expected = 1;
  slab.for_each([&](std::uint32_t& value) {
    REQUIRE(value == expected);
    expected += 2;
    if (value % 4 == 1) slab.erase(slab.index_of(value));
  });
  CHECK(expected == 10'001);
  CHECK(slab.size() == 2'500);
  std::uint32_t sum = 0;
  std::as_const(slab).for_each([&](const std::uint32_t& value) { sum += value % 4; });
  CHECK(sum == 3 * 2'500);
}

TEST_CASE("a slab is a map from handles to objects", "[base][slab]") {
  const auto seed = GENERATE(range(1U, 7U));
  CAPTURE(seed);
  auto random = [engine = std::mt19937{seed}]() mutable {
    return static_cast<std::uint32_t>(engine());
  };
  using Handle = std::pair<std::uint32_t, std::uint32_t>;
  BlockPool pool{mib};
  int live = 0;
  Slab<Pinned> slab{pool, 3000};
  std::map<Handle, std::pair<Pinned*, int>> model;
  std::vector<Handle> gone;
  for (int i = 0; i < 20'000; ++i) {
    const bool grow = random() % 4000 > model.size();  // hovers about half full, with excursions
    if (grow) {
      Pinned* object = slab.emplace(live, i);
      REQUIRE((object == nullptr) == (model.size() == 3000));
      if (object == nullptr) continue;
      const Handle handle{slab.index_of(*object), slab.generation_of(*object)};
      REQUIRE(model.emplace(handle, std::pair{object, i}).second);
    } else if (!model.empty()) {
      auto victim = model.lower_bound({random() % 3000, 0});
      if (victim == model.end()) victim = model.begin();
      slab.erase(victim->first.first);
      gone.push_back(victim->first);
      model.erase(victim);
    }
    REQUIRE(slab.size() == model.size());
    REQUIRE(live == static_cast<int>(model.size()));
    if (!gone.empty()) {
      const Handle old = gone[random() % gone.size()];
      REQUIRE(slab.find(old.first, old.second) == nullptr);
    }
  }
  for (const auto& [handle, entry] : model) {
    REQUIRE(slab.find(handle.first, handle.second) == entry.first);
    REQUIRE(&slab.at(handle.first) == entry.first);
    REQUIRE(entry.first->value == entry.second);
  }
}

TEST_CASE("a million objects", "[base][slab]") {
  BlockPool pool{256 * mib};
  Slab<std::uint64_t> slab{pool, 1'000'000};
  bool all = true;
  for (std::uint32_t i = 0; i < 1'000'000; ++i) all = all && slab.emplace(i) != nullptr;
  CHECK(all);
  CHECK(slab.emplace(0U) == nullptr);
  CHECK(pool.used_bytes() < 1'000'000 * 17);
  for (std::uint32_t i = 0; i < 1'000'000; ++i) all = all && slab.at(i) == i;
  CHECK(all);
}

}  // namespace
