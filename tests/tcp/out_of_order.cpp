// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/tcp/out_of_order.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

using namespace tunic;

namespace {

constexpr std::size_t budget = 1 << 22;

// Everything that `queue` holds, as text.
std::string drain(ByteQueue& queue, BlockPool& pool) {
  std::string text;
  while (!queue.empty()) {
    text.append(as_text(queue.front()));
    queue.consume(queue.front().size(), pool);
  }
  return text;
}

}  // namespace

TEST_CASE("segments in any order and with any overlap come out as the stream",
          "[tcp][out_of_order]") {
  const auto seed = GENERATE(range(0U, 50U));
  CAPTURE(seed);
  std::mt19937 random{seed};
  BlockPool pool{budget};
  // Across the wrap of sequence numbers.
  const SeqNum start{0xffffff00U + seed};
  constexpr std::size_t size = 3000;
  std::string stream(size, '\0');
  for (char& c : stream) c = static_cast<char>(random());
  std::vector<bool> held(size, false);
  OutOfOrderQueue queue;
  for (int i = 0; i < 200; ++i) {
    // The first byte never comes: everything stays out of order.
    const std::size_t from = 1 + random() % (size - 1);
    const std::size_t length = 1 + random() % std::min<std::size_t>(size - from, 200);
    const auto result = queue.insert(start + static_cast<std::uint32_t>(from),
                                     as_bytes(stream).subspan(from, length), pool, 256);
    REQUIRE_FALSE(result.refused);
    std::size_t fresh = 0;
    for (std::size_t k = from; k < from + length; ++k) {
      fresh += held[k] ? 0 : 1;
      held[k] = true;
    }
    REQUIRE(result.stored == fresh);
    REQUIRE((fresh == length) == (result.duplicate.left == result.duplicate.right));
  }
  for (std::size_t k = 1; k < size; ++k) {
    const SackBlock run = queue.run_at(start + static_cast<std::uint32_t>(k));
    REQUIRE((run.left != run.right) == held[k]);
  }
  ByteQueue in_order;
  REQUIRE(in_order.append(as_bytes(stream).first(1), pool) == 1);
  std::size_t end = 1;
  while (end < size && held[end]) ++end;
  CHECK(queue.take(start + 1, in_order, pool) == end - 1);
  CHECK(drain(in_order, pool) == stream.substr(0, end));
  queue.clear(pool);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("a byte that is held is not replaced by another copy of it", "[tcp][out_of_order]") {
  BlockPool pool{budget};
  OutOfOrderQueue queue;
  queue.insert(SeqNum{10}, as_bytes("first"), pool, 8);
  const auto again = queue.insert(SeqNum{8}, as_bytes("xxOTHERyy"), pool, 8);
  CHECK(again.stored == 4);
  CHECK(again.duplicate == SackBlock{SeqNum{10}, SeqNum{15}});
  ByteQueue in_order;
  queue.take(SeqNum{8}, in_order, pool);
  CHECK(drain(in_order, pool) == "xxfirstyy");
}

TEST_CASE("bytes below the point of joining are dropped", "[tcp][out_of_order]") {
  BlockPool pool{budget};
  OutOfOrderQueue queue;
  queue.insert(SeqNum{10}, as_bytes("abcdef"), pool, 8);
  queue.insert(SeqNum{20}, as_bytes("later"), pool, 8);
  ByteQueue in_order;
  CHECK(queue.take(SeqNum{13}, in_order, pool) == 3);
  CHECK(drain(in_order, pool) == "def");
  CHECK(queue.runs() == 1);
  CHECK(queue.take(SeqNum{30}, in_order, pool) == 0);  // all of it is old
  CHECK(queue.empty());
}

TEST_CASE("what is here may reach beyond a byte", "[tcp][out_of_order]") {
  BlockPool pool{budget};
  OutOfOrderQueue queue;
  CHECK_FALSE(queue.reaches(SeqNum{0}));
  queue.insert(SeqNum{10}, as_bytes("ab"), pool, 8);
  queue.insert(SeqNum{20}, as_bytes("cd"), pool, 8);
  CHECK(queue.reaches(SeqNum{0}));
  CHECK(queue.reaches(SeqNum{21}));
  CHECK_FALSE(queue.reaches(SeqNum{22}));
  queue.clear(pool);
}

TEST_CASE("too many runs are refused, what joins a run is not", "[tcp][out_of_order]") {
  BlockPool pool{budget};
  OutOfOrderQueue queue;
  for (std::uint32_t i = 0; i < 4; ++i) queue.insert(SeqNum{10 * i}, as_bytes("x"), pool, 4);
  CHECK(queue.insert(SeqNum{100}, as_bytes("x"), pool, 4).refused);
  CHECK(queue.insert(SeqNum{31}, as_bytes("x"), pool, 4).stored == 1);
  queue.clear(pool);
}

TEST_CASE("without memory nothing is taken and nothing leaks", "[tcp][out_of_order]") {
  BlockPool pool{1024};  // two of the smallest blocks
  OutOfOrderQueue queue;
  CHECK(queue.insert(SeqNum{10}, as_bytes("x"), pool, 8).stored == 1);
  const auto refused = queue.insert(SeqNum{20}, as_bytes("x"), pool, 8);
  CHECK(refused.refused);
  CHECK(refused.stored == 0);
  CHECK(queue.runs() == 1);
  queue.clear(pool);
  CHECK(pool.used_bytes() == 0);
}
