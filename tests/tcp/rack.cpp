// SPDX-License-Identifier: BSL-1.0

// RACK's steps, one by one (RFC 8985 6.2). How they work together with the rest of a connection is
// in tests/conformance/rfc8985.cpp.
#include "catch.hpp"
#include <tunic/tcp/rack.hpp>

#include <cstdint>
#include <vector>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

constexpr SeqNum start{0xfffffe00};
constexpr Instant zero{1h};
constexpr Duration min_rtt = 80ms;

struct Path {
  BlockPool pool{1 << 20};
  Scoreboard board;
  Rack rack;
  SeqNum nxt = start;

  Path() { rack.start(start); }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  ~Path() { board.clear(pool); }

  [[nodiscard]] SeqNum at(std::uint32_t i) const { return start + i * 100; }
  void send(Duration when) {
    REQUIRE(board.reserve(1, pool));
    board.sent({.begin = nxt, .length = 100, .sent_at = zero + when}, 1, 100);
    nxt += 100;
  }
  void send_again(std::uint32_t i, Duration when) {
    SentSegment stamp;
    stamp.sent_at = zero + when;
    board.sent_again(board.first() + i, stamp);
  }
  /// Segment `i` is reported.
  void sack(std::uint32_t i, Duration when, bool ambiguous = false) {
    board.sack({at(i), at(i + 1)}, [&](const SentSegment& segment) {
      rack.delivered(segment, ambiguous, min_rtt, zero + when);
    });
  }
  std::vector<std::uint32_t> lost;
  /// When the next is to be judged, since `zero`; marks what is lost.
  Duration detect(Duration window, Duration when) {
    const Instant next = rack.detect(board, window, zero + when, [&](Scoreboard::Number number) {
      lost.push_back(static_cast<std::uint32_t>(board[number].begin - start) / 100);
    });
    return next == never ? Duration::max() : next - zero;
  }
};

using List = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("a segment is lost when a later one came, and a round trip and the window have passed",
          "[tcp][rack][rfc8985-6.2]") {
  Path path;
  path.send(0ms);
  path.send(1ms);
  path.send(2ms);
  path.send(3ms);
  CHECK(path.detect(20ms, 50s) == Duration::max());  // nothing was delivered
  path.sack(2, 102ms);                               // its round trip was 100 ms
  CHECK(path.detect(20ms, 102ms) == 120ms);
  CHECK(path.lost.empty());
  CHECK(path.detect(20ms, 120ms) == 121ms);
  CHECK(path.lost == List{0});
  CHECK(path.detect(20ms, 121ms) == Duration::max());
  CHECK(path.lost == List{0, 1});
  CHECK(path.detect(20ms, 10s) == Duration::max());  // the last was sent later
  CHECK(path.lost == List{0, 1});
}

TEST_CASE("of segments that left together the higher counts as later", "[tcp][rack][rfc8985-6.2]") {
  Path path;
  for (int i = 0; i < 4; ++i) path.send(0ms);
  path.sack(2, 100ms);
  path.detect(0ms, 100ms);
  CHECK(path.lost == List{0, 1});
}

TEST_CASE("a segment that was sent again is judged by its last sending",
          "[tcp][rack][rfc8985-6.2]") {
  Path path;
  for (int i = 0; i < 3; ++i) path.send(0ms);
  path.sack(1, 100ms);
  path.detect(0ms, 100ms);
  REQUIRE(path.lost == List{0});
  path.send_again(0, 100ms);
  path.sack(2, 101ms);
  CHECK(path.detect(0ms, 150ms) == Duration::max());
  path.send(150ms);
  path.sack(3, 250ms);
  path.lost.clear();
  path.detect(0ms, 250ms);
  CHECK(path.lost == List{0});
}

TEST_CASE("the delivery of what was sent again counts only if it can't be that of the first",
          "[tcp][rack][rfc8985-6.2]") {
  const bool ambiguous = GENERATE(false, true);
  const Duration round_trip = GENERATE(79ms, 81ms);
  CAPTURE(ambiguous, round_trip.count());
  Path path;
  for (int i = 0; i < 3; ++i) path.send(0ms);
  path.board.lose(path.board.first() + 1);
  path.send_again(1, 200ms);
  path.sack(1, 200ms + round_trip, ambiguous);
  path.detect(0ms, 10s);
  CHECK(path.lost.empty() == (ambiguous || round_trip < min_rtt));
}

TEST_CASE("what was sent earlier than something delivered leaves the round trip alone",
          "[tcp][rack][rfc8985-6.2]") {
  Path path;
  path.send(0ms);
  path.send(50ms);
  path.sack(1, 150ms);
  CHECK(path.rack.rtt() == 100ms);
  path.sack(0, 151ms);
  CHECK(path.rack.rtt() == 100ms);
}

TEST_CASE("reordering is a segment, sent once, that comes below the highest that came",
          "[tcp][rack][rfc8985-6.2]") {
  Path path;
  for (int i = 0; i < 4; ++i) path.send(0ms);
  path.sack(1, 100ms);
  path.sack(2, 100ms);
  CHECK_FALSE(path.rack.reordering());
  SECTION("it is") {
    path.sack(0, 101ms);
    CHECK(path.rack.reordering());
  }
  SECTION("one that was sent again is none") {
    path.board.lose(path.board.first());
    path.send_again(0, 100ms);
    path.sack(0, 200ms);
    CHECK_FALSE(path.rack.reordering());
  }
}

TEST_CASE("the window follows what is known of reordering", "[tcp][rack][rfc8985-6.2]") {
  Rack rack;
  CHECK(rack.window(false, 2, 80ms, 100ms) == 20ms);
  CHECK(rack.window(false, 3, 80ms, 100ms) == 0ms);
  CHECK(rack.window(true, 0, 80ms, 100ms) == 0ms);
  SentSegment segment{.begin = start + 100, .length = 100};
  rack.start(start);
  rack.delivered(segment, false, 80ms, zero);
  segment.begin = start;
  rack.delivered(segment, false, 80ms, zero);
  CHECK(rack.window(false, 3, 80ms, 100ms) == 20ms);
  CHECK(rack.window(true, 9, 80ms, 100ms) == 20ms);
  CHECK(rack.window(false, 0, 80ms, 15ms) == 15ms);  // SRTT bounds it
}

TEST_CASE("each round with duplicates widens the window, sixteen recoveries without make it small",
          "[tcp][rack][rfc8985-6.2]") {
  Rack rack;
  rack.duplicate(start, start + 1000);
  CHECK(rack.window(false, 0, 80ms, 1s) == 40ms);
  rack.duplicate(start + 999, start + 2000);  // the same round
  CHECK(rack.multiple() == 2);
  rack.duplicate(start + 1000, start + 2000);
  CHECK(rack.window(false, 0, 80ms, 1s) == 60ms);
  for (int i = 0; i < 15; ++i) rack.recovered();
  CHECK(rack.multiple() == 3);
  SECTION("to one") {
    rack.recovered();
    CHECK(rack.window(false, 0, 80ms, 1s) == 20ms);
  }
  SECTION("unless one more is reported before") {
    rack.duplicate(start + 2000, start + 3000);
    for (int i = 0; i < 15; ++i) rack.recovered();
    CHECK(rack.multiple() == 4);
    rack.recovered();
    CHECK(rack.multiple() == 1);
  }
}

TEST_CASE("a time-out takes the first, and what was sent a round trip and the window ago",
          "[tcp][rack][rfc8985-6.3]") {
  Path path;
  path.send(0ms);
  path.sack(0, 100ms);
  path.board.acknowledge(path.at(1), [](const SentSegment&) {});
  for (const Duration when : {200ms, 250ms, 380ms, 381ms, 400ms}) path.send(when);
  path.rack.time_out(path.board, 20ms, zero + 500ms);
  CHECK(path.board.lost_bytes() == 300);  // sent at 380 ms or before
  CHECK(path.board.in_flight() == 200);
}

TEST_CASE("a time-out takes the first, whenever it was sent", "[tcp][rack][rfc8985-6.3]") {
  Path path;
  path.send(0ms);
  path.send(0ms);
  path.sack(0, 100ms);
  path.board.acknowledge(path.at(1), [](const SentSegment&) {});
  path.send_again(0, 490ms);
  path.send(490ms);
  path.rack.time_out(path.board, 20ms, zero + 500ms);
  CHECK(path.board.front().where == Whereabouts::lost);
  CHECK(path.board.lost_bytes() == 100);
}
