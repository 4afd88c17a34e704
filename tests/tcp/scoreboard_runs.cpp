// SPDX-License-Identifier: BSL-1.0

// Runs of segments that stay together as long as all goes well.
#include "catch.hpp"
#include <tunic/tcp/scoreboard.hpp>

using namespace tunic;

namespace {

constexpr SeqNum start{0xffffff00};  // the numbers wrap round soon

struct Runs {
  BlockPool pool{std::size_t{1} << 20};
  Scoreboard board;

  Runs() = default;
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;
  ~Runs() { board.clear(pool); }

  void send(const SentSegment& run, std::uint32_t segments, std::uint32_t length) {
    REQUIRE(board.reserve(segments, pool));
    board.sent(run, segments, length);
  }
};

}  // namespace

TEST_CASE("a run is acknowledged piece by piece", "[tcp][scoreboard]") {
  Runs runs;
  runs.send({.begin = start, .length = 100}, 44, 4330);
  runs.send({.begin = start + 4330, .length = 100}, 2, 200);
  CHECK(runs.board.segments() == 46);
  CHECK(runs.board.last() == runs.board.first() + 1);  // two entries
  struct Step {
    std::uint32_t ack, first_length, segments;
  };
  for (const Step& step : {Step{100, 100, 45}, Step{1100, 100, 35}, Step{4200, 100, 4},
                           Step{4300, 30, 3}, Step{4330, 100, 2}, Step{4430, 100, 1}}) {
    std::uint32_t delivered = 0;
    runs.board.acknowledge(start + step.ack, [&](const SentSegment& last) {
      ++delivered;
      CHECK(last.end() == start + step.ack);
    });
    CHECK(delivered == 1);
    CHECK(runs.board.front().begin == start + step.ack);
    CHECK(runs.board.front().length == step.first_length);
    CHECK(runs.board.segments() == step.segments);
    CHECK(runs.board.in_flight() == 4530 - step.ack);
  }
  CHECK(runs.board.acknowledge(start + 4480, [](auto) {}) == 50);  // within a segment
  CHECK(runs.board.acknowledge(start + 4530, [](auto) {}) == 50);
  CHECK(runs.board.empty());
}

TEST_CASE("segments that are told apart are as if each had left alone", "[tcp][scoreboard]") {
  Runs runs;
  SentSegment run{.begin = start, .length = 100, .in_flight = 500};
  run.fin = true;
  runs.send(run, 3, 251);
  CHECK(runs.board.largest() == 100);
  runs.board.tell_apart();
  for (std::uint32_t i = 0; i < 3; ++i) {
    const SentSegment& segment = runs.board[runs.board.first() + i];
    CHECK(segment.begin == run.begin + 100 * i);
    CHECK(segment.length == (i == 2 ? 51 : 100));
    CHECK(segment.fin == (i == 2));
    CHECK(segment.in_flight == (i == 2 ? 651U : 500U + 100 * i));
  }
}
