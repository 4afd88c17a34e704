// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include "counting_source.hpp"
#include <tunic/base/block_pool.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using tunic::Block;
using tunic::BlockPool;

constexpr std::size_t mib = 1024 * 1024;

TEST_CASE("a block is of the smallest class that holds what was asked for", "[base][block_pool]") {
  BlockPool pool{mib};
  std::size_t smaller = 0;
  for (std::size_t i = 0; i < BlockPool::class_bytes.size(); ++i) {
    const std::size_t capacity = BlockPool::class_capacity(i);
    for (const std::size_t wanted : {smaller, smaller + 1, capacity}) {
      if (wanted == smaller && i != 0) continue;
      CAPTURE(i, wanted);
      Block* block = pool.allocate(wanted);
      REQUIRE(block != nullptr);
      CHECK(block->capacity == capacity);
      CHECK(pool.used_bytes() == BlockPool::class_bytes[i]);
      pool.release(block);
    }
    smaller = capacity;
  }
  Block* largest = pool.allocate(10 * BlockPool::largest_capacity);
  REQUIRE(largest != nullptr);
  CHECK(largest->capacity == BlockPool::largest_capacity);
  pool.release(largest);
}

TEST_CASE("the largest IP packet with a device header fits one block", "[base][block_pool]") {
  BlockPool pool{mib};
  Block* block = pool.allocate(65535 + 64);
  REQUIRE(block != nullptr);
  CHECK(block->capacity >= 65535 + 64);
  pool.release(block);
}

TEST_CASE("a fresh block is empty and all of its storage is room", "[base][block_pool]") {
  BlockPool pool{mib};
  for (int round = 0; round < 2; ++round) {  // the second time it is one that was kept
    Block* block = pool.allocate(100);
    REQUIRE(block != nullptr);
    CHECK(block->size() == 0);
    CHECK(block->bytes().empty());
    CHECK(block->room().size() == block->capacity);
    CHECK(block->next == nullptr);
    std::memset(block->data(), 0x5a, block->capacity);
    block->begin = 10;
    block->end = 30;
    CHECK(block->bytes().data() == block->data() + 10);
    CHECK(block->bytes().size() == 20);
    CHECK(block->room().data() == block->data() + 30);
    CHECK(block->room().size() == block->capacity - 30);
    block->next = block;
    pool.release(block);
  }
  CHECK(pool.cached_bytes() == BlockPool::class_bytes[0]);
}

TEST_CASE("blocks are aligned and begin right behind their header", "[base][block_pool]") {
  CountingSource source;
  BlockPool pool{mib, &source};
  Block* block = pool.allocate(1);
  REQUIRE(block != nullptr);
  CHECK(static_cast<void*>(block->data()) == static_cast<void*>(block + 1));
  CHECK(source.live_bytes() == sizeof(Block) + block->capacity);
  pool.release(block);
}

TEST_CASE("the budget bounds blocks and charges together", "[base][block_pool]") {
  BlockPool pool{4096};
  CHECK(pool.budget_bytes() == 4096);
  REQUIRE(pool.try_charge(2000));
  CHECK(pool.used_bytes() == 2000);
  CHECK(pool.allocate(2000) == nullptr);  // a block of 2112 would make 4112
  CHECK(pool.used_bytes() == 2000);
  CHECK(!pool.try_charge(2097));
  CHECK(pool.used_bytes() == 2000);
  pool.uncharge(16);
  Block* block = pool.allocate(2000);
  REQUIRE(block != nullptr);
  CHECK(pool.used_bytes() == 4096);
  CHECK(!pool.try_charge(1));
  CHECK(pool.try_charge(0));
  CHECK(!pool.try_charge(std::numeric_limits<std::size_t>::max()));
  pool.release(block);
  pool.uncharge(1984);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("a smaller block is found when the budget refuses the larger", "[base][block_pool]") {
  BlockPool pool{BlockPool::class_bytes[1] + BlockPool::class_bytes[0]};
  Block* second = pool.allocate_or_smaller(60000);
  REQUIRE(second != nullptr);
  CHECK(second->capacity == BlockPool::class_capacity(1));
  Block* first = pool.allocate_or_smaller(60000);
  REQUIRE(first != nullptr);
  CHECK(first->capacity == BlockPool::class_capacity(0));
  CHECK(pool.allocate_or_smaller(60000) == nullptr);
  pool.release(first);
  pool.release(second);
}

TEST_CASE("pressure begins above seven eighths of the budget", "[base][block_pool]") {
  BlockPool pool{8000};
  CHECK(!pool.under_pressure());
  REQUIRE(pool.try_charge(7000));
  CHECK(!pool.under_pressure());
  REQUIRE(pool.try_charge(1));
  CHECK(pool.under_pressure());
  pool.uncharge(7001);
  CHECK(!pool.under_pressure());
}

TEST_CASE("it is nearly used up above fifteen sixteenths", "[base][block_pool]") {
  BlockPool pool{16'000};
  REQUIRE(pool.try_charge(15'000));
  CHECK(!pool.nearly_used_up());
  REQUIRE(pool.try_charge(1));
  CHECK(pool.nearly_used_up());
  pool.uncharge(15'001);
  CHECK(!pool.nearly_used_up());
}

TEST_CASE("a budget without limit works", "[base][block_pool]") {
  BlockPool pool{std::numeric_limits<std::size_t>::max()};
  Block* block = pool.allocate(1);
  REQUIRE(block != nullptr);
  CHECK(!pool.under_pressure());
  CHECK(pool.try_charge(std::numeric_limits<std::size_t>::max() / 2));
  CHECK(!pool.try_charge(std::numeric_limits<std::size_t>::max() / 2));
  pool.uncharge(std::numeric_limits<std::size_t>::max() / 2);
  pool.release(block);
}

TEST_CASE("a steady flow takes nothing from the source", "[base][block_pool]") {
  CountingSource source;
  BlockPool pool{mib, &source};
  CHECK(&pool.source() == &source);
  std::vector<Block*> blocks(20);
  for (int round = 0; round < 10; ++round) {
    for (Block*& block : blocks) block = pool.allocate(1500);
    CHECK(pool.cached_bytes() == 0);
    for (Block* block : blocks) pool.release(block);
    CHECK(pool.used_bytes() == 0);
    CHECK(pool.cached_bytes() == blocks.size() * BlockPool::class_bytes[1]);
  }
  CHECK(source.requests() == blocks.size());
  pool.trim(0);
  CHECK(pool.cached_bytes() == 0);
  CHECK(source.live() == 0);
}

TEST_CASE("a chain goes back as a whole", "[base][block_pool]") {
  CountingSource source;
  BlockPool pool{mib, &source};
  Block* chain = nullptr;
  for (const std::size_t wanted : {100U, 2000U, 16000U, 100U}) {
    Block* block = pool.allocate(wanted);
    REQUIRE(block != nullptr);
    block->next = chain;
    chain = block;
  }
  pool.release_chain(chain);
  CHECK(pool.used_bytes() == 0);
  CHECK(pool.cached_bytes() == 2 * 512 + 2112 + 16384);
  pool.release_chain(nullptr);
}

TEST_CASE("no more than an eighth of the budget is kept", "[base][block_pool]") {
  CountingSource source;
  BlockPool pool{mib, &source};
  std::vector<Block*> blocks;
  while (Block* block = pool.allocate(500)) blocks.push_back(block);
  for (Block* block : blocks) {
    pool.release(block);
    REQUIRE(pool.cached_bytes() <= mib / 8);
    REQUIRE(source.live_bytes() == pool.used_bytes() + pool.cached_bytes());
  }
  CHECK(pool.cached_bytes() > mib / 8 - BlockPool::class_bytes[1]);
}

TEST_CASE("blocks of a class that fell out of use make room for another's", "[base][block_pool]") {
  const bool large_first = GENERATE(false, true);
  CAPTURE(large_first);
  CountingSource source;
  BlockPool pool{8 * mib, &source};
  const auto take_and_release = [&](bool large, std::size_t count) {
    std::vector<Block*> blocks(count);
    for (Block*& block : blocks) block = pool.allocate(large ? 60000 : 1500);
    for (Block* block : blocks) pool.release(block);
  };
  take_and_release(large_first, large_first ? 20 : 600);  // more than what may be kept
  const std::size_t count = large_first ? 200 : 7;        // less than half of it
  take_and_release(!large_first, count);
  const std::size_t requests = source.requests();
  take_and_release(!large_first, count);
  CHECK(source.requests() == requests);
}

TEST_CASE("kept blocks give way so that the budget bounds all memory", "[base][block_pool]") {
  CountingSource source;
  BlockPool pool{mib, &source};
  std::vector<Block*> small;
  for (int i = 0; i < 60; ++i) small.push_back(pool.allocate(2000));
  for (Block* block : small) pool.release(block);
  REQUIRE(pool.cached_bytes() > mib / 9);

  SECTION("for blocks of another class") {
    std::vector<Block*> large;
    while (Block* block = pool.allocate(16000)) {
      large.push_back(block);
      REQUIRE(source.live_bytes() <= mib);
    }
    CHECK(large.size() == mib / BlockPool::class_bytes[2]);
    CHECK(pool.cached_bytes() == 0);
    for (Block* block : large) pool.release(block);
  }
  SECTION("for charges") {
    REQUIRE(pool.try_charge(mib));
    CHECK(pool.cached_bytes() == 0);
    CHECK(source.live() == 0);
    pool.uncharge(mib);
  }
}

TEST_CASE("a source that refuses is no more than a missing block", "[base][block_pool]") {
  CountingSource source{2};
  BlockPool pool{mib, &source};
  Block* first = pool.allocate(10);
  Block* second = pool.allocate(10);
  REQUIRE(first != nullptr);
  REQUIRE(second != nullptr);
  CHECK(pool.allocate(10) == nullptr);
  CHECK(pool.used_bytes() == 2 * 512);
  pool.release(first);
  first = pool.allocate(10);  // a kept one needs no source
  CHECK(first != nullptr);
  pool.release(first);
  pool.release(second);
}

TEST_CASE("the books balance over random traffic", "[base][block_pool]") {
  const auto seed = GENERATE(range(1U, 9U));
  CAPTURE(seed);
  auto random = [engine = std::mt19937{seed}]() mutable {
    return static_cast<std::uint32_t>(engine());
  };
  CountingSource source;
  const std::size_t budget = std::size_t{1} << (12 + seed * 2);
  BlockPool pool{budget, &source};
  std::vector<Block*> held;
  std::size_t charged = 0;
  for (int i = 0; i < 5000; ++i) {
    const auto dice = random() % 8;
    if (dice < 4) {
      if (Block* block = pool.allocate(random() % 3 == 0 ? random() % 70000 : random() % 3000))
        held.push_back(block);
    } else if (dice < 6 && !held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      pool.release(held.back());
      held.pop_back();
    } else if (dice == 6) {
      const std::size_t bytes = random() % (budget / 16 + 1);
      if (pool.try_charge(bytes)) charged += bytes;
    } else if (charged != 0) {
      const std::size_t bytes = random() % (charged + 1);
      pool.uncharge(bytes);
      charged -= bytes;
    }
    std::size_t used = charged;
    for (const Block* block : held) used += sizeof(Block) + block->capacity;
    REQUIRE(pool.used_bytes() == used);
    REQUIRE(source.live_bytes() == used - charged + pool.cached_bytes());
    REQUIRE(pool.used_bytes() + pool.cached_bytes() <= budget);
  }
  for (Block* block : held) pool.release(block);
  pool.uncharge(charged);
}

TEST_CASE("the default source aligns as it is asked to", "[base][block_pool]") {
  tunic::NewMemorySource source;
  for (std::size_t align = 1; align <= 4096; align *= 2) {
    void* memory = source.try_allocate(3 * align, align);
    CAPTURE(align);
    CHECK(reinterpret_cast<std::uintptr_t>(memory) % align == 0);
    source.deallocate(memory, 3 * align, align);
  }
}

TEST_CASE("wrapped bytes are not copied, and told of when they are released",
          "[base][block_pool]") {
  BlockPool pool{1 << 16};
  const std::string text(10'000, 'x');
  Block* const first = pool.wrap(tunic::as_bytes(text), 1);
  Block* const second = pool.wrap(tunic::as_bytes(text).first(5), 2);
  REQUIRE(first != nullptr);
  CHECK(first->bytes().data() == tunic::as_bytes(text).data());
  CHECK(first->size() == text.size());
  CHECK(first->room().empty());
  CHECK(second->size() == 5);
  CHECK(pool.used_bytes() == 2 * BlockPool::class_bytes[0]);
  CHECK_FALSE(pool.next_released());
  pool.release(second);
  pool.release(first);
  CHECK(pool.next_released() == 2);
  CHECK(pool.next_released() == 1);
  CHECK_FALSE(pool.next_released());
  CHECK(pool.used_bytes() == 0);
  Block* const again = pool.allocate(1);  // an ordinary block again
  CHECK(again->capacity == BlockPool::class_capacity(0));
  CHECK(again->room().size() == again->capacity);
  pool.release(again);
}

TEST_CASE("tokens that nobody asked for go with the pool", "[base][block_pool]") {
  BlockPool pool{1 << 16};
  pool.release(pool.wrap(tunic::as_bytes("text"), 1));
  CHECK(pool.used_bytes() == BlockPool::class_bytes[0]);
}

TEST_CASE("without memory nothing is wrapped", "[base][block_pool]") {
  BlockPool pool{BlockPool::class_bytes[0] - 1};
  CHECK(pool.wrap(tunic::as_bytes("text"), 1) == nullptr);
}

}  // namespace
