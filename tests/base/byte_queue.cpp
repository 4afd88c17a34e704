// SPDX-License-Identifier: BSL-1.0
// Tests of the queue as a string: more than 400 lines because one oracle serves every operation.
#include "catch.hpp"
#include "counting_source.hpp"
#include <tunic/base/byte_queue.hpp>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using tunic::as_bytes;
using tunic::as_text;
using tunic::Block;
using tunic::BlockPool;
using tunic::ByteQueue;
using tunic::Bytes;

constexpr std::size_t mib = 1024 * 1024;

// Text that is the same at no two nearby places.
std::string numbered_text(std::size_t size, std::size_t from = 0) {
  std::string text;
  for (; text.size() < size; ++from) text += std::to_string(from) + ' ';
  text.resize(size);
  return text;
}

std::string text_of(const ByteQueue& queue, std::size_t offset, std::size_t length) {
  std::string text;
  while (length != 0) {
    std::array<Bytes, 3> pieces;
    const std::size_t count = queue.views(offset, length, pieces);
    if (count == 0) break;
    for (const Bytes piece : std::span{pieces}.first(count)) {
      text += as_text(piece);
      offset += piece.size();
      length -= piece.size();
    }
  }
  return text;
}

std::string text_of(const ByteQueue& queue) { return text_of(queue, 0, queue.size()); }

Block* block_with(BlockPool& pool, std::string_view text, std::uint32_t begin) {
  Block* block = pool.allocate(text.size() + begin);
  REQUIRE(block != nullptr);
  block->begin = block->end = begin;
  tunic::copy(block->room(), as_bytes(text));
  block->end += static_cast<std::uint32_t>(text.size());
  return block;
}

TEST_CASE("an empty queue holds nothing", "[base][byte_queue]") {
  BlockPool pool{mib};
  ByteQueue queue;
  CHECK(queue.empty());
  CHECK(queue.size() == 0);
  CHECK(queue.capacity_bytes() == 0);
  CHECK(queue.front().empty());
  std::array<Bytes, 2> pieces;
  CHECK(queue.views(0, 100, pieces) == 0);
  CHECK(queue.append({}, pool) == 0);
  queue.consume(0, pool);
  queue.clear(pool);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("what goes in comes out in order", "[base][byte_queue]") {
  BlockPool pool{mib};
  ByteQueue queue;
  CHECK(queue.append(as_bytes("hello, "), pool) == 7);
  CHECK(queue.append(as_bytes("world"), pool) == 5);
  CHECK(queue.size() == 12);
  CHECK(as_text(queue.front()) == "hello, world");
  queue.consume(3, pool);
  CHECK(as_text(queue.front()) == "lo, world");
  queue.consume(9, pool);
  CHECK(queue.empty());
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("a short message takes a small block and a stream large ones", "[base][byte_queue]") {
  BlockPool pool{16 * mib};
  ByteQueue queue;
  queue.append(as_bytes("GET / HTTP/1.1\r\n\r\n"), pool);
  CHECK(pool.used_bytes() == BlockPool::class_bytes[0]);
  queue.clear(pool);

  const std::string piece(1460, 'x');
  std::vector<std::size_t> classes;
  std::size_t before = 0;
  while (queue.size() < mib) {
    REQUIRE(queue.append(as_bytes(piece), pool) == piece.size());
    if (pool.used_bytes() != before) classes.push_back(pool.used_bytes() - before);
    before = pool.used_bytes();
    REQUIRE(queue.capacity_bytes() <= std::max<std::size_t>(2112, 5 * queue.size()));
  }
  CHECK(std::is_sorted(classes.begin(), classes.end()));
  CHECK(classes.front() == BlockPool::class_bytes[1]);
  CHECK(classes.back() == BlockPool::class_bytes[3]);
  CHECK(std::count(classes.begin(), classes.end(), BlockPool::class_bytes[2]) >= 3);
  CHECK(classes.size() < 25);
  CHECK(queue.capacity_bytes() < mib + 2 * BlockPool::largest_capacity);
  queue.clear(pool);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("a large append takes blocks that fit it", "[base][byte_queue]") {
  BlockPool pool{16 * mib};
  ByteQueue queue;
  for (const std::size_t size : {17'000U, 33'000U, 50'000U, 100'000U, 1'000'000U}) {
    const std::string text = numbered_text(size);
    CHECK(queue.append(as_bytes(text), pool) == size);
    CAPTURE(size, pool.used_bytes());
    CHECK(pool.used_bytes() <= 2 * size);
    CHECK((text_of(queue) == text));
    queue.clear(pool);
  }
}

TEST_CASE("consumed blocks go back to the pool at once", "[base][byte_queue]") {
  BlockPool pool{16 * mib};
  ByteQueue queue;
  const std::string text = numbered_text(200'000);
  queue.append(as_bytes(text), pool);
  std::size_t blocks = 0;
  while (!queue.empty()) {
    const std::size_t used = pool.used_bytes();
    const std::size_t first = queue.front().size();
    queue.consume(first - 1, pool);
    CHECK(pool.used_bytes() == used);
    queue.consume(1, pool);
    CHECK(pool.used_bytes() < used);
    ++blocks;
  }
  CHECK(blocks > 2);
  CHECK(queue.capacity_bytes() == 0);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("an append that the pool refuses takes what fits", "[base][byte_queue]") {
  const std::string text = numbered_text(100'000);

  SECTION("by the budget, in ever smaller blocks") {
    BlockPool pool{20'000};
    ByteQueue queue;
    const std::size_t taken = queue.append(as_bytes(text), pool);
    CHECK(taken == queue.size());
    CHECK(taken == queue.capacity_bytes());
    CHECK(pool.budget_bytes() - pool.used_bytes() < BlockPool::class_bytes[0]);
    CHECK((text_of(queue) == text.substr(0, taken)));
    CHECK(queue.append(as_bytes("x"), pool) == 0);
    queue.consume(17'000, pool);
    CHECK(queue.append(as_bytes("x"), pool) == 1);
    queue.clear(pool);
  }
  SECTION("by the source, at the first, second, third ... block") {
    for (std::size_t grants = 0;; ++grants) {
      CountingSource source{grants};
      BlockPool pool{mib, &source};
      ByteQueue queue;
      const std::size_t taken = queue.append(as_bytes(text), pool);
      CAPTURE(grants, taken);
      CHECK(source.live() == std::min(grants, source.live()));
      CHECK(queue.size() == taken);
      CHECK((text_of(queue) == text.substr(0, taken)));
      queue.clear(pool);
      CHECK(pool.used_bytes() == 0);
      if (taken == text.size()) break;
      REQUIRE(grants < 10);
    }
  }
}

TEST_CASE("an adopted block is neither copied nor lost", "[base][byte_queue]") {
  BlockPool pool{mib};
  ByteQueue queue;
  queue.append(as_bytes("one "), pool);
  Block* block = block_with(pool, "two ", 40);
  const std::byte* data = block->bytes().data();
  queue.append_block(block);
  queue.append(as_bytes("three"), pool);  // goes behind, into the adopted block's room
  CHECK(queue.size() == 13);
  std::array<Bytes, 4> pieces;
  REQUIRE(queue.views(0, 100, pieces) == 2);
  CHECK(as_text(pieces[0]) == "one ");
  CHECK(as_text(pieces[1]) == "two three");
  CHECK(pieces[1].data() == data);
  queue.consume(4, pool);
  CHECK(queue.front().data() == data);
  queue.consume(9, pool);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("queues are joined in constant time", "[base][byte_queue]") {
  BlockPool pool{mib};
  ByteQueue first;
  ByteQueue second;
  const std::string text = numbered_text(40'000);
  second.append(as_bytes(text), pool);
  const std::byte* data = second.front().data();

  first.splice(std::move(second));  // onto an empty one
  CHECK(second.empty());
  CHECK(second.capacity_bytes() == 0);
  CHECK(first.front().data() == data);

  second.append(as_bytes("tail"), pool);
  first.splice(std::move(second));
  first.splice(std::move(second));  // an empty one
  first.splice(std::move(first));   // itself
  CHECK((text_of(first) == text + "tail"));
  CHECK(second.empty());

  second.append(as_bytes("again"), pool);  // still of use
  CHECK(as_text(second.front()) == "again");
  second.clear(pool);
  first.clear(pool);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("a queue moves and leaves an empty one behind", "[base][byte_queue]") {
  BlockPool pool{mib};
  ByteQueue first;
  first.append(as_bytes("text"), pool);
  const Bytes view = first.front();
  ByteQueue second{std::move(first)};
  CHECK(first.empty());
  CHECK(first.capacity_bytes() == 0);
  CHECK(second.front().data() == view.data());
  first = std::move(second);
  CHECK(second.empty());
  CHECK(first.front().data() == view.data());
  first.clear(pool);
}

TEST_CASE("a block that is taken out goes with its bytes", "[base][byte_queue]") {
  BlockPool pool{mib};
  ByteQueue queue;
  for (const std::string_view text : {"alpha", "beta", "gamma"})
    queue.append_block(block_with(pool, text, 0));
  CHECK(text_of(queue, 5, 9) == "betagamma");  // moves the cursor on
  CHECK(as_text(queue.front_block().bytes()) == "alpha");
  Block* const first = queue.pop_block();
  CHECK(as_text(first->bytes()) == "alpha");
  CHECK(queue.size() == 9);
  CHECK(text_of(queue) == "betagamma");
  pool.release(first);
  pool.release(queue.pop_block());
  pool.release(queue.pop_block());
  CHECK(queue.empty());
  CHECK(queue.capacity_bytes() == 0);
  CHECK(queue.append(as_bytes("more"), pool) == 4);
  CHECK(text_of(queue) == "more");
  queue.clear(pool);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("views stop where the output is full", "[base][byte_queue]") {
  BlockPool pool{mib};
  ByteQueue queue;
  for (const std::string_view text : {"alpha", "beta", "gamma"})
    queue.append_block(block_with(pool, text, 0));
  std::array<Bytes, 2> pieces;
  CHECK(queue.views(0, 14, {}) == 0);
  REQUIRE(queue.views(1, 13, pieces) == 2);
  CHECK(as_text(pieces[0]) == "lpha");
  CHECK(as_text(pieces[1]) == "beta");
  REQUIRE(queue.views(9, 100, pieces) == 1);  // exactly at a block's start, and cut at the end
  CHECK(as_text(pieces[0]) == "gamma");
  CHECK(queue.views(14, 1, pieces) == 0);
  CHECK(queue.views(5, 0, pieces) == 0);
  queue.clear(pool);
}

TEST_CASE("bytes are copied out from any offset", "[base][byte_queue]") {
  BlockPool pool{mib};
  ByteQueue queue;
  const std::string text = numbered_text(70'000);
  queue.append(as_bytes(text), pool);
  std::string out(20'000, '\0');
  const tunic::MutableBytes room = std::as_writable_bytes(std::span{out});
  CHECK(queue.copy_out(55'000, room) == 15'000);
  CHECK((out.substr(0, 15'000) == text.substr(55'000)));
  CHECK(queue.copy_out(10, room) == 20'000);
  CHECK((out == text.substr(10, 20'000)));
  CHECK(queue.copy_out(70'000, room) == 0);
  CHECK(queue.copy_out(0, {}) == 0);
  CHECK(queue.size() == text.size());
  queue.clear(pool);
}

TEST_CASE("views stay where they are while the queue grows and moves", "[base][byte_queue]") {
  BlockPool pool{16 * mib};
  ByteQueue queue;
  queue.append(as_bytes("first"), pool);
  const Bytes view = queue.front();
  queue.append(as_bytes(numbered_text(300'000)), pool);
  ByteQueue other;
  other.append(as_bytes("other"), pool);
  queue.splice(std::move(other));
  const ByteQueue moved{std::move(queue)};
  CHECK(as_text(view) == "first");
  CHECK(moved.front().data() == view.data());
  const_cast<ByteQueue&>(moved).clear(pool);
}

TEST_CASE("a queue is a string with a front that goes", "[base][byte_queue]") {
  const auto seed = GENERATE(range(1U, 13U));
  CAPTURE(seed);
  auto random = [engine = std::mt19937{seed}]() mutable {
    return static_cast<std::uint32_t>(engine());
  };
  CountingSource source;
  BlockPool pool{std::size_t{1} << (15 + seed % 6), &source};
  ByteQueue queue;
  std::string model;
  const auto any_size = [&] {
    return static_cast<std::size_t>(random()) % (std::size_t{1} << (random() % 17));
  };
  const auto append = [&](ByteQueue& to, std::string& to_model) {
    const std::string text = numbered_text(any_size(), random());
    if (random() % 8 == 0 && !text.empty() && text.size() < 30'000) {
      Block* block = pool.allocate(text.size() + 100);
      if (block == nullptr) return;
      block->begin = block->end = 100;
      tunic::copy(block->room(), as_bytes(text));
      block->end += static_cast<std::uint32_t>(text.size());
      to.append_block(block);
      to_model += text;
      return;
    }
    const std::size_t taken = to.append(as_bytes(text), pool);
    REQUIRE(taken <= text.size());
    if (taken < text.size()) {
      REQUIRE(pool.budget_bytes() - pool.used_bytes() < BlockPool::class_bytes[0]);
    }
    to_model += text.substr(0, taken);
  };
  for (int i = 0; i < 4000; ++i) {
    switch (random() % 10) {
      case 0:
      case 1:
      case 2:
        append(queue, model);
        break;
      case 3:
      case 4: {
        const std::size_t count = std::min(any_size(), model.size());
        queue.consume(count, pool);
        model.erase(0, count);
        break;
      }
      case 5: {
        if (queue.empty() || random() % 8 != 0) break;
        Block* const block = queue.pop_block();
        REQUIRE((as_text(block->bytes()) == model.substr(0, block->size())));
        model.erase(0, block->size());
        pool.release(block);
        break;
      }
      case 6: {
        ByteQueue other;
        std::string other_model;
        append(other, other_model);
        append(other, other_model);
        queue.splice(std::move(other));
        model += other_model;
        break;
      }
      case 7:
        if (random() % 100 == 0) {
          queue.clear(pool);
          model.clear();
        } else if (random() % 4 == 0) {
          ByteQueue moved{std::move(queue)};
          queue = std::move(moved);
        }
        break;
      case 8: {  // segments one after the other, as a sender takes them
        std::size_t offset = model.empty() ? 0 : random() % model.size();
        for (int n = 0; n < 20 && offset < model.size(); ++n, offset += 1460) {
          REQUIRE((text_of(queue, offset, 1460) == model.substr(offset, 1460)));
        }
        break;
      }
      default: {
        const std::size_t offset = random() % (model.size() + 1);
        std::string out(any_size(), '\0');
        const std::size_t copied = queue.copy_out(offset, std::as_writable_bytes(std::span{out}));
        out.resize(copied);
        REQUIRE((out == model.substr(offset, copied)));
        REQUIRE(copied == std::min(out.size(), model.size() - offset));
      }
    }
    REQUIRE(queue.size() == model.size());
    REQUIRE(queue.empty() == model.empty());
    REQUIRE(queue.capacity_bytes() >= model.size());
    REQUIRE((queue.capacity_bytes() == 0) == model.empty());
    REQUIRE((pool.used_bytes() == 0) == model.empty());
    REQUIRE(queue.front().empty() == model.empty());
    REQUIRE((as_text(queue.front()) == model.substr(0, queue.front().size())));
    if (i % 16 == 0) REQUIRE((text_of(queue) == model));
  }
  queue.clear(pool);
  CHECK(pool.used_bytes() == 0);
}

}  // namespace
