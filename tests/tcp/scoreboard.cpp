// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include <tunic/tcp/scoreboard.hpp>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

using namespace tunic;

namespace {

constexpr SeqNum start{0xffffff00};  // the numbers wrap round soon

// What the scoreboard should say, one letter a byte: f, l or s; a segment begins at a capital.
// Bytes that were acknowledged are gone from its front.
struct Oracle {
  SeqNum una = start;
  std::string bytes;

  [[nodiscard]] static char small(char c) { return static_cast<char>(c | 0x20); }
  [[nodiscard]] std::uint32_t count(char state) const {
    return static_cast<std::uint32_t>(
        std::count_if(bytes.begin(), bytes.end(), [&](char c) { return small(c) == state; }));
  }
  [[nodiscard]] std::uint32_t segments() const {
    return static_cast<std::uint32_t>(
        std::count_if(bytes.begin(), bytes.end(), [](char c) { return c < 'a'; }));
  }
  [[nodiscard]] std::size_t end_of(std::size_t at) const {
    for (++at; at < bytes.size() && bytes[at] >= 'a';) ++at;
    return at;
  }
  void set(std::size_t at, char state) {
    const std::size_t end = end_of(at);
    for (std::size_t i = at; i < end; ++i) bytes[i] = state;
    bytes[at] = static_cast<char>(state & ~0x20);
  }
  void send(std::uint32_t length) {
    bytes += 'F';
    bytes.append(length - 1, 'f');
  }
  // Returns what was news.
  std::uint32_t acknowledge(std::uint32_t count) {
    std::uint32_t fresh = 0;
    for (std::size_t i = 0; i < count; ++i) fresh += small(bytes[i]) != 's';
    bytes.erase(0, count);
    if (!bytes.empty()) bytes[0] = static_cast<char>(bytes[0] & ~0x20);
    una += count;
    return fresh;
  }
  std::uint32_t sack(std::size_t from, std::size_t to) {
    std::uint32_t fresh = 0;
    for (std::size_t at = 0; at < bytes.size(); at = end_of(at)) {
      if (at < from || to < end_of(at) || small(bytes[at]) == 's') continue;
      fresh += static_cast<std::uint32_t>(end_of(at) - at);
      set(at, 's');
    }
    return fresh;
  }
};

struct Checked {
  BlockPool pool{std::size_t{64} << 20};
  Scoreboard board;
  Oracle oracle;

  Checked() = default;
  Checked(const Checked&) = delete;
  Checked& operator=(const Checked&) = delete;
  ~Checked() { board.clear(pool); }

  [[nodiscard]] SeqNum nxt() const {
    return oracle.una + static_cast<std::uint32_t>(oracle.bytes.size());
  }
  void send(std::uint16_t length) { send_run(length, 1, length); }
  // So many segments at once, of which the last may be shorter.
  void send_run(std::uint16_t length, std::uint32_t segments, std::uint16_t last) {
    REQUIRE(board.reserve(segments, pool));
    const SentSegment first{.begin = nxt(), .length = segments == 1 ? last : length};
    board.sent(first, segments, length * (segments - 1) + last);
    for (std::uint32_t i = 1; i < segments; ++i) oracle.send(length);
    oracle.send(last);
  }
  void acknowledge(std::uint32_t count) {
    std::uint32_t whole = 0;
    const std::uint32_t fresh = board.acknowledge(
        oracle.una + count, [&](const SentSegment& segment) { whole += segment.length; });
    REQUIRE(fresh == oracle.acknowledge(count));
    REQUIRE(whole <= fresh);
  }
  std::uint32_t sack(std::uint32_t from, std::uint32_t to) {
    std::uint32_t visited = 0;
    const std::uint32_t fresh =
        board.sack({oracle.una + from, oracle.una + to},
                   [&](const SentSegment& segment) { visited += segment.length; });
    REQUIRE(fresh == oracle.sack(from, to));
    REQUIRE(visited == fresh);
    return fresh;
  }
  [[nodiscard]] std::size_t offset(Scoreboard::Number number) const {
    return static_cast<std::uint32_t>(board[number].begin - oracle.una);
  }

  // The lists from either walk: each segment in the state that it should have, each once.
  [[nodiscard]] std::uint32_t walk(std::uint64_t head, char state) const {
    std::uint32_t bytes = 0;
    for (std::uint64_t at = head; at != Scoreboard::none;) {
      const auto number = static_cast<Scoreboard::Number>(at);
      REQUIRE(Oracle::small(oracle.bytes[offset(number)]) == state);
      bytes += board[number].length;
      REQUIRE(bytes <= oracle.bytes.size());
      at = board.after(number);
    }
    return bytes;
  }
  void compare() {
    compare_sums();
    board.tell_apart();
    compare_sums();
    compare_segments();
  }
  void compare_sums() const {
    REQUIRE(board.in_flight() == oracle.count('f'));
    REQUIRE(board.lost_bytes() == oracle.count('l'));
    REQUIRE(board.sacked_bytes() == oracle.count('s'));
    REQUIRE(board.segments() == oracle.segments());
    if (!board.empty()) REQUIRE(board[board.first()].begin == oracle.una);
    if (!board.empty()) REQUIRE(board[board.first()].length == oracle.end_of(0));
  }
  void compare_segments() const {
    REQUIRE(walk(board.oldest(), 'f') == oracle.count('f'));
    REQUIRE(walk(board.first_lost(), 'l') == oracle.count('l'));
    Scoreboard::Number number = board.first();
    std::uint32_t sacked = 0;
    for (std::size_t at = 0; at < oracle.bytes.size(); at = oracle.end_of(at), ++number) {
      REQUIRE(offset(number) == at);
      REQUIRE(board[number].length == oracle.end_of(at) - at);
      sacked += Oracle::small(oracle.bytes[at]) == 's';
    }
    REQUIRE(board.sacked_segments() == sacked);
  }
};

// The order of a walk, as offsets from `start`.
std::vector<std::uint32_t> order(const Scoreboard& board, std::uint64_t head) {
  std::vector<std::uint32_t> found;
  for (std::uint64_t at = head; at != Scoreboard::none;
       at = board.after(static_cast<Scoreboard::Number>(at)))
    found.push_back(
        static_cast<std::uint32_t>(board[static_cast<Scoreboard::Number>(at)].begin - start));
  return found;
}

}  // namespace

TEST_CASE("a scoreboard says of each byte what a table of bytes says", "[tcp][scoreboard]") {
  const unsigned seed = GENERATE(range(1U, 9U));
  CAPTURE(seed);
  std::mt19937 random{seed};
  Checked checked;
  auto& [pool, board, oracle] = checked;
  const auto below = [&](std::size_t n) {
    return static_cast<std::uint32_t>(random() % std::max<std::size_t>(n, 1));
  };
  for (int i = 0; i < 10'000; ++i) {
    const auto size = oracle.bytes.size();
    const bool quiet = i % 500 < 300;  // nothing is lost
    switch (random() % (quiet ? 4U : 10U)) {
      case 0:
      case 1:
      case 2: {
        if (size >= 600) break;
        const auto length = static_cast<std::uint16_t>(1 + below(20));
        checked.send_run(length, 1 + below(5), static_cast<std::uint16_t>(1 + below(length)));
        break;
      }
      case 3:
        if (random() % 3 == 0)
          checked.acknowledge(quiet ? static_cast<std::uint32_t>(size) : below(size + 1));
        break;
      case 4:
      case 5: {
        const std::uint32_t from = below(size);
        checked.sack(from, from + below(std::min<std::size_t>(size - from + 1, 60)));
        break;
      }
      case 6:
      case 7: {  // one in flight is lost
        if (board.empty()) break;
        board.tell_apart();
        const Scoreboard::Number number = board.first() + below(board.segments());
        if (board[number].where != Whereabouts::flight) break;
        oracle.set(checked.offset(number), 'l');
        board.lose(number);
        break;
      }
      case 8: {  // the first that is lost is sent again
        if (board.first_lost() == Scoreboard::none) break;
        const auto number = static_cast<Scoreboard::Number>(board.first_lost());
        oracle.set(checked.offset(number), 'f');
        board.sent_again(number, {});
        break;
      }
      default:
        switch (random() % 20) {
          case 0: {
            const bool reneged = random() % 2 == 0;
            for (std::size_t at = 0; at < size; at = oracle.end_of(at))
              if (reneged || Oracle::small(oracle.bytes[at]) != 's') oracle.set(at, 'l');
            board.lose_all(reneged);
            break;
          }
          case 1:
            board.order_lost();
            break;
          case 2:
            board.tell_apart();
            for (Scoreboard::Number n = board.first(); n != board.first() + board.segments(); ++n)
              if (board[n].where == Whereabouts::lost && !board[n].again)
                oracle.set(checked.offset(n), 'f');
            board.find_lost();
            break;
          case 3: {
            const std::uint32_t payload = 5 + below(10);
            for (std::size_t at = 0, begin = 0; at < size; ++at) {
              if (Oracle::small(oracle.bytes[at]) == 's') {
                begin = at + 1;
              } else {
                oracle.bytes[at] = (at - begin) % payload == 0 ? 'L' : 'l';
              }
            }
            REQUIRE(board.recut(payload, pool));
            break;
          }
          case 4:
            if (board.empty() || board.front().where != Whereabouts::lost ||
                board.front().length < 2)
              break;
            oracle.bytes[1 + below(board.front().length - 1U)] = 'L';
            REQUIRE(board.split_front(static_cast<std::uint32_t>(oracle.end_of(0)), pool));
            break;
          default:
            break;
        }
    }
    checked.compare_sums();
    if (random() % 8 == 0 || !quiet) checked.compare();
  }
}

TEST_CASE("only whole segments count as reported, as RFC 2018's blocks have them",
          "[tcp][scoreboard]") {
  Checked checked;
  for (int i = 0; i < 4; ++i) checked.send(100);
  CHECK(checked.sack(50, 250) == 100);
  CHECK(checked.sack(101, 199) == 0);
  CHECK(checked.sack(100, 300) == 100);
  CHECK(checked.board.sacked_segments() == 2);
  checked.compare();
  checked.acknowledge(150);
  checked.compare();
  CHECK(checked.board.sacked_bytes() == 150);
}

TEST_CASE("segments in flight stand in the order of sending, lost ones in that of their numbers",
          "[tcp][scoreboard]") {
  Checked checked;
  auto& board = checked.board;
  for (int i = 0; i < 5; ++i) checked.send(100);
  const auto number = [&](std::uint32_t i) { return board.first() + i; };
  board.lose(number(3));
  board.lose(number(0));
  board.lose(number(2));
  CHECK(order(board, board.first_lost()) == std::vector<std::uint32_t>{0, 200, 300});
  CHECK(order(board, board.oldest()) == std::vector<std::uint32_t>{100, 400});
  board.sent_again(number(0), {});
  CHECK(order(board, board.oldest()) == std::vector<std::uint32_t>{100, 400, 0});
  CHECK(board[number(0)].again);
  board.find_lost();  // two were never lost, and have been there before all others
  CHECK(order(board, board.oldest()) == std::vector<std::uint32_t>{200, 300, 100, 400, 0});
}

TEST_CASE("a time-out gathers what is lost in order", "[tcp][scoreboard]") {
  Checked checked;
  auto& board = checked.board;
  for (int i = 0; i < 200; ++i) checked.send(10);
  std::mt19937 random{1};
  std::vector<std::uint32_t> numbers(200);
  for (std::uint32_t i = 0; i < 200; ++i) numbers[i] = i;
  std::shuffle(numbers.begin(), numbers.end(), random);
  for (const std::uint32_t i : numbers) board.lose(board.first() + i);
  board.order_lost();
  const auto lost = order(board, board.first_lost());
  REQUIRE(lost.size() == 200);
  CHECK(std::is_sorted(lost.begin(), lost.end()));
}

TEST_CASE("cutting anew keeps each byte, the FIN and what was reported", "[tcp][scoreboard]") {
  Checked checked;
  auto& board = checked.board;
  checked.send(1000);
  checked.send(1000);
  REQUIRE(board.reserve(1, checked.pool));
  SentSegment last{.begin = checked.nxt(), .length = 701};
  last.fin = true;
  board.sent(last, 1, 701);
  checked.oracle.send(701);
  checked.sack(1000, 2000);
  CHECK(board.largest() == 1000);
  SECTION("into smaller ones") {
    REQUIRE(board.recut(700, checked.pool));
    CHECK(order(board, board.first_lost()) == std::vector<std::uint32_t>{0, 700, 2000});
    CHECK(board[board.last()].fin);
    CHECK(board[board.last()].payload() == 700);
    CHECK(board.lost_bytes() == 1701);
    CHECK(board.sacked_bytes() == 1000);
  }
  SECTION("so that the FIN is in the last alone") {
    REQUIRE(board.recut(400, checked.pool));
    CHECK(order(board, board.first_lost()) == std::vector<std::uint32_t>{0, 400, 800, 2000, 2400});
    int fins = 0;
    for (auto n = board.first(); n != board.last() + 1; ++n) fins += board[n].fin;
    CHECK(fins == 1);
    CHECK(board[board.last()].length == 301);
  }
}

TEST_CASE("without memory a scoreboard is cut neither anew nor in two", "[tcp][scoreboard]") {
  BlockPool pool{2112};
  Scoreboard board;
  REQUIRE(board.reserve(10, pool));
  for (std::uint32_t i = 0; i < 10; ++i)
    board.sent({.begin = start + i * 1000, .length = 1000}, 1, 1000);
  board.lose(board.first());
  while (board.reserve(1, pool))
    board.sent({.begin = board[board.last()].end(), .length = 1000}, 1, 1000);
  const std::uint32_t segments = board.segments();
  CHECK_FALSE(board.recut(100, pool));
  CHECK_FALSE(board.split_front(100, pool));
  CHECK(board.segments() == segments);
  CHECK(board.lost_bytes() == 1000);
  CHECK(board.in_flight() == (segments - 1) * 1000);
  board.clear(pool);
}

namespace {

// How many hops lead from a reported segment over all that are reported behind it.
std::uint32_t hops(const Scoreboard& board, Scoreboard::Number number) {
  std::uint32_t count = 0;
  for (; number != board.last() + 1 && board[number].where == Whereabouts::sacked; ++count)
    number = board[number].next;
  return count;
}

}  // namespace

TEST_CASE("a hundred thousand options that repeat what was said are cheap",
          "[tcp][scoreboard][2018-09]") {
  constexpr std::uint32_t segments = 64 * 1024;
  Checked checked;
  auto& [pool, board, oracle] = checked;
  REQUIRE(board.reserve(segments, pool));
  for (std::uint32_t i = 0; i < segments; ++i)
    board.sent({.begin = start + i * 100, .length = 100}, 1, 100);
  std::uint32_t visits = 0;
  const auto visit = [&](const SentSegment&) { ++visits; };
  const SeqNum end = start + segments * 100;
  board.sack({start + 100, end}, visit);
  REQUIRE(visits == segments - 1);
  std::mt19937 random{1};
  std::uint64_t steps = 0;
  for (int i = 0; i < 100'000; ++i) {
    for (int block = 0; block < 4; ++block) {
      const auto number = 1 + static_cast<std::uint32_t>(random() % (segments - 1));
      steps += hops(board, board.first() + number);
      board.sack({start + number * 100, end}, visit);
    }
  }
  CHECK(visits == segments - 1);
  CHECK(steps / 400'000 < 64);  // 32 Ki if each had to be walked over
}
