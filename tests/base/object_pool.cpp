// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include "counting_source.hpp"
#include <tunic/base/object_pool.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

namespace {

using tunic::BlockPool;
using Pool = tunic::ObjectPool<1500>;

constexpr std::size_t mib = 1024 * 1024;

TEST_CASE("a new object pool has no memory", "[base][object_pool]") {
  CountingSource source;
  BlockPool budget{mib, &source};
  const Pool pool{budget};
  CHECK(source.requests() == 0);
  CHECK(budget.used_bytes() == 0);
}

TEST_CASE("objects lie apart, aligned, whatever their sizes", "[base][object_pool]") {
  CountingSource source;
  BlockPool budget{mib, &source};
  Pool pool{budget};
  std::mt19937 random{1};
  struct Object {
    std::byte* memory;
    std::size_t size;
    std::byte mark;
  };
  std::vector<Object> live;
  const auto release = [&](std::size_t i) {
    const Object object = std::exchange(live[i], live.back());
    live.pop_back();
    std::size_t right = 0;
    for (std::size_t at = 0; at < object.size; ++at) right += object.memory[at] == object.mark;
    CHECK(right == object.size);
    pool.release(object.memory, object.size);
  };
  for (int step = 0; step < 20'000; ++step) {
    if (live.empty() || (live.size() < 300 && random() % 2 == 0)) {
      const std::size_t size = 1 + random() % 1500;
      auto* const memory = static_cast<std::byte*>(pool.allocate(size));
      REQUIRE(memory != nullptr);
      REQUIRE(reinterpret_cast<std::uintptr_t>(memory) % alignof(std::max_align_t) == 0);
      live.push_back({memory, size, static_cast<std::byte>(step)});
      std::memset(memory, step & 0xff, size);
    } else {
      release(random() % live.size());
    }
  }
  while (!live.empty()) release(live.size() - 1);
}

TEST_CASE("memory goes back with the objects, but for one chunk", "[base][object_pool]") {
  CountingSource source;
  BlockPool budget{mib, &source};
  Pool pool{budget};
  std::vector<void*> objects;
  for (int i = 0; i < 1000; ++i) objects.push_back(pool.allocate(300));
  CHECK(source.live_bytes() == budget.used_bytes());
  CHECK(budget.used_bytes() >= 1000 * 320);
  CHECK(budget.used_bytes() < 1000 * 340);
  while (!objects.empty()) {
    pool.release(objects.back(), 300);
    objects.pop_back();
  }
  CHECK(source.live() == 1);
  const std::size_t requests = source.requests();
  for (std::size_t size = 1; size < 1500; ++size) pool.release(pool.allocate(size), size);
  CHECK(source.requests() == requests);
}

TEST_CASE("an object pool is refused memory by the budget or the source", "[base][object_pool]") {
  CountingSource source;
  BlockPool budget{20'000, &source};
  Pool pool{budget};
  std::vector<void*> objects;
  while (void* memory = pool.allocate(1500)) objects.push_back(memory);
  CHECK(objects.size() >= 8);
  CHECK(budget.used_bytes() <= 20'000);
  pool.release(objects.back(), 1500);
  objects.back() = pool.allocate(1500);
  CHECK(objects.back() != nullptr);
  for (void* memory : objects) pool.release(memory, 1500);

  source.grant(0);
  void* const in_spare_chunk = pool.allocate(200);
  CHECK(in_spare_chunk != nullptr);
  CHECK(pool.allocate(300) == nullptr);
  pool.release(in_spare_chunk, 200);
  CHECK(budget.used_bytes() == source.live_bytes());
}

}  // namespace
