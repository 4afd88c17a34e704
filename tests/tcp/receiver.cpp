// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/tcp/receiver.hpp>

#include <algorithm>
#include <random>
#include <span>
#include <string>

using namespace tunic;

namespace {

struct Fixture {
  BlockPool pool{1 << 22};
  Receiver receiver;
  explicit Fixture(std::uint32_t limit, std::uint8_t scale = 0) {
    receiver.start(SeqNum{999}, limit, scale);
  }
  ~Fixture() { receiver.clear(pool); }

  auto accept(std::uint32_t seq, std::string_view text) {
    return receiver.accept(SeqNum{seq}, as_bytes(text), pool, 16);
  }
  // Sends an ACK: what the peer then knows.
  std::uint16_t acknowledge() {
    SeqNum edge;
    const std::uint16_t field = receiver.window_field(edge);
    receiver.acknowledged(receiver.nxt, edge);
    return field;
  }
};

}  // namespace

TEST_CASE("the window is what the buffer has left", "[tcp][receiver]") {
  Fixture f{4000};
  CHECK(f.acknowledge() == 4000);
  f.accept(1000, std::string(1000, 'x'));
  CHECK(f.acknowledge() == 3000);
}

TEST_CASE("a lent block is taken while there is another one for it", "[tcp][receiver]") {
  BlockPool pool{200'000};  // three blocks of the largest class
  Receiver receiver;
  receiver.start(SeqNum{999}, 1 << 20, 8);
  SeqNum edge;
  (void)receiver.window_field(edge);
  receiver.acknowledged(receiver.nxt, edge);  // beyond the window of a SYN
  Block* lent = pool.allocate(BlockPool::largest_capacity);
  const auto receive = [&](SeqNum seq, std::size_t size, char fill) {
    const MutableBytes place = lent->room().first(size);
    std::ranges::fill(place, static_cast<std::byte>(fill));
    Block* const before = lent;
    (void)receiver.accept(seq, place, pool, 16, 0, &lent);
    return lent != before;
  };
  CHECK(receive(SeqNum{1000}, 60'000, 'a'));
  CHECK_FALSE(receive(SeqNum{61'000}, 10, 'b'));  // behind the first, by copying
  CHECK(receive(SeqNum{61'010}, 40'000, 'c'));
  CHECK_FALSE(receive(SeqNum{101'010}, 60'000, 'd'));  // the last stays where it is
  CHECK(receiver.queue.size() == 100'010);             // nor is there memory for a copy
  std::string text(receiver.queue.size(), '\0');
  receiver.queue.copy_out(0, std::as_writable_bytes(std::span{text}));
  CHECK((text == std::string(60'000, 'a') + std::string(10, 'b') + std::string(40'000, 'c')));
  receiver.clear(pool);
  SECTION("not from a hole") { CHECK_FALSE(receive(receiver.nxt + 1, 60'000, 'x')); }
  SECTION("not bytes that lie elsewhere") {
    const std::string other(60'000, 'x');
    Block* const before = lent;
    (void)receiver.accept(receiver.nxt, as_bytes(other), pool, 16, 0, &lent);
    CHECK(lent == before);
  }
  receiver.clear(pool);
  pool.release(lent);
}

TEST_CASE("a window that closed opens by a segment at least", "[tcp][receiver]") {
  Fixture f{4000};
  f.accept(1000, std::string(4000, 'x'));
  CHECK(f.acknowledge() == 0);
  f.receiver.queue.consume(535, f.pool);
  CHECK_FALSE(f.receiver.update_due());
  CHECK(f.acknowledge() == 0);
  f.receiver.queue.consume(1465, f.pool);  // half of the buffer is less than the segment of 4000
  CHECK(f.receiver.update_due());
  CHECK(f.acknowledge() == 2000);
}

TEST_CASE(
    "the right edge retreats only by rounding when the buffer is full, and what was promised is "
    "taken, within the buffer and eight units of scale",
    "[tcp][receiver]") {
  const auto seed = GENERATE(range(0U, 40U));
  CAPTURE(seed);
  std::mt19937 random{seed};
  const auto scale = static_cast<std::uint8_t>(seed % 9);
  const auto limit = static_cast<std::uint32_t>(1000 + random() % 100'000);
  Fixture f{limit, scale};
  SeqNum edge = f.receiver.nxt;
  for (int i = 0; i < 2000; ++i) {
    const std::uint32_t window = f.receiver.window();
    if (window != 0) {
      const std::size_t size = 1 + random() % std::min<std::uint32_t>(window, 1460);
      CHECK_FALSE(f.accept(f.receiver.nxt.value(), std::string(size, 'x')).refused);
    }
    if (random() % 3 == 0)
      f.receiver.queue.consume(random() % (f.receiver.queue.size() + 1), f.pool);
    if (random() % 50 == 0)
      f.receiver.limit = static_cast<std::uint32_t>(500 + random() % (limit - 500));
    const std::uint16_t field = f.acknowledge();
    const SeqNum promised = f.receiver.nxt + (std::uint32_t{field} << scale);
    const std::size_t unit = std::size_t{1} << scale;
    if (promised < edge) {
      REQUIRE(edge - promised < static_cast<std::int32_t>(unit));
      REQUIRE(f.receiver.queue.size() + f.receiver.window() > limit);
    }
    edge = std::max(edge, promised);
    REQUIRE(f.receiver.edge == edge);
    REQUIRE(f.receiver.queue.size() <= limit + 8 * unit);
  }
}

TEST_CASE("what is acceptable follows the table of RFC 9293 3.10.7.4", "[tcp][receiver]") {
  Fixture f{1000};
  const Receiver& r = f.receiver;  // RCV.NXT 1000, RCV.WND 1000
  CHECK(r.acceptable(SeqNum{1000}, 0));
  CHECK(r.acceptable(SeqNum{1999}, 0));
  CHECK_FALSE(r.acceptable(SeqNum{2000}, 0));
  CHECK_FALSE(r.acceptable(SeqNum{999}, 0));
  CHECK(r.acceptable(SeqNum{999}, 2));
  CHECK_FALSE(r.acceptable(SeqNum{999}, 1));
  CHECK(r.acceptable(SeqNum{1999}, 100));
  CHECK(r.acceptable(SeqNum{900}, 5000));  // covers all of it
  f.accept(1000, std::string(1000, 'x'));  // RCV.WND 0
  CHECK(r.acceptable(SeqNum{2000}, 0));
  CHECK_FALSE(r.acceptable(SeqNum{2001}, 0));
  CHECK_FALSE(r.acceptable(SeqNum{2000}, 1));
}

TEST_CASE("SACK blocks start with the run that grew last", "[tcp][receiver]") {
  Fixture f{10'000};
  f.accept(3000, "aaa");
  f.accept(5000, "bbb");
  f.accept(7000, "ccc");
  f.accept(3003, "ddd");
  std::array<SackBlock, 4> blocks{};
  REQUIRE(f.receiver.sack_blocks(blocks, {}, 4) == 3);
  CHECK(blocks[0] == SackBlock{SeqNum{3000}, SeqNum{3006}});
  CHECK(blocks[1] == SackBlock{SeqNum{7000}, SeqNum{7003}});
  CHECK(blocks[2] == SackBlock{SeqNum{5000}, SeqNum{5003}});
}

TEST_CASE("when memory is nearly used up, only who holds next to nothing is given some",
          "[tcp][receiver]") {
  Fixture f{100'000};
  f.acknowledge();
  const std::size_t charge = f.pool.budget_bytes() - f.pool.budget_bytes() / 16 + 1;
  REQUIRE(f.pool.try_charge(charge));
  const auto ahead = f.accept(6000, "behind a hole");
  CHECK(ahead.out_of_order);
  CHECK(ahead.refused);
  const auto first = f.accept(1000, std::string(5000, 'x'));
  CHECK(first.refused);
  CHECK(first.in_order == BlockPool::least_share);
  CHECK(f.accept(f.receiver.nxt.value(), "more").in_order == 0);
  f.receiver.consume(100, f.pool);
  CHECK(f.accept(f.receiver.nxt.value(), "more").in_order == 4);
  f.pool.uncharge(charge);
  CHECK(f.accept(f.receiver.nxt.value(), std::string(5000, 'x')).in_order == 5000);
}

TEST_CASE("a buffer takes every second of its segments, and not many more that are smaller",
          "[tcp][receiver]") {
  const auto runs = [](std::uint32_t limit, std::uint32_t size) {
    Fixture f{limit, 9};
    f.acknowledge();
    const std::string piece(size, 'x');
    for (std::uint32_t at = size; at + size <= f.receiver.window(); at += 2 * size)
      f.receiver.accept(SeqNum{1000 + at}, as_bytes(piece), f.pool, 65536);
    return f.receiver.out_of_order.runs();
  };
  CHECK(runs(1024 * 1024, 1024) == 512);
  CHECK(runs(1024 * 1024, 100) == 1024 * 1024 / (2 * 536));
  CHECK(runs(64 * 1024, 100) == 256);
}
