// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/tcp/receive_tuning.hpp>

#include <chrono>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

constexpr Instant at(Duration time) { return Instant{} + time; }

// Of a connection that was established at 0 s, on a path of 100 ms.
ReceiveTuning established(Duration rtt = 100ms) {
  ReceiveTuning tuning;
  tuning.start(rtt, 1000, at(0s));
  return tuning;
}

// Reads that much in each of some round trips that follow `from`; what it last asked for.
std::uint32_t read_rounds(ReceiveTuning& tuning, Duration from, int rounds, std::uint32_t bytes) {
  std::uint32_t wanted = 0;
  for (int i = 1; i <= rounds; ++i) {
    tuning.read(bytes);
    wanted = tuning.measure(at(from + i * tuning.rtt()));
  }
  return wanted;
}

}  // namespace

TEST_CASE("the round trip is the least that was seen", "[tcp][tuning]") {
  ReceiveTuning tuning = established(100ms);
  CHECK(tuning.rtt() == 100ms);
  tuning.acknowledged(1001, at(1s));
  tuning.echoed(1001, 1121, at(1120ms));
  CHECK(tuning.rtt() == 100ms);
  tuning.acknowledged(1200, at(2s));
  tuning.echoed(1200, 1280, at(2080ms));
  CHECK(tuning.rtt() == 80ms);
}

TEST_CASE("the time from an ACK to its echo is known to the microsecond", "[tcp][tuning]") {
  ReceiveTuning tuning = established(0s);
  CHECK(tuning.rtt() == 0s);
  SECTION("when the ACK is the first of its tick") {
    tuning.acknowledged(1001, at(1s));
    tuning.acknowledged(1001, at(1s + 30us));
    tuning.echoed(1001, 1001, at(1s + 70us));
    CHECK(tuning.rtt() == 70us);
    tuning.acknowledged(1001, at(1s + 80us));  // its echo can't be told from the first one's
    tuning.echoed(1001, 1001, at(1s + 90us));
    CHECK(tuning.rtt() == 70us);
  }
  SECTION("and what echoes an older one does not count") {
    tuning.acknowledged(1005, at(1s));
    tuning.echoed(1004, 1005, at(1s + 1us));
    CHECK(tuning.rtt() == 0s);
  }
  SECTION("across the end of the numbers") {
    tuning.acknowledged(0xffffffff, at(1s));
    tuning.echoed(1, 2, at(1s + 20ms));
    CHECK(tuning.rtt() == 20ms);
  }
}

TEST_CASE("without timestamps data beyond the edge answers a later ACK", "[tcp][tuning]") {
  ReceiveTuning tuning = established(0s);
  tuning.advanced(SeqNum{5000}, SeqNum{9000}, at(1s));
  tuning.advanced(SeqNum{9000}, SeqNum{13000}, at(1s + 1ms));
  CHECK(tuning.rtt() == 0s);
  tuning.advanced(SeqNum{9001}, SeqNum{13000}, at(1s + 50ms));
  CHECK(tuning.rtt() == 50ms);
}

TEST_CASE("nothing is asked for before a round trip is known and over", "[tcp][tuning]") {
  ReceiveTuning unknown = established(0s);
  unknown.read(1'000'000);
  CHECK(unknown.measure(at(10s)) == 0);
  ReceiveTuning tuning = established(100ms);
  tuning.read(1'000'000);
  CHECK(tuning.measure(at(99ms)) == 0);
  CHECK(tuning.measure(at(100ms)) != 0);
}

TEST_CASE("a rising flow is offered four times what was read, a steady one twice",
          "[tcp][tuning]") {
  ReceiveTuning tuning = established();
  CHECK(read_rounds(tuning, 0s, 1, 40'000) == 160'000);
  CHECK(read_rounds(tuning, 100ms, 1, 80'000) == 320'000);
  CHECK(read_rounds(tuning, 200ms, 1, 80'000) == 160'000);
  CHECK(read_rounds(tuning, 300ms, 1, 90'000) == 180'000);  // noise is no rise
  CHECK(tuning.space() == 90'000);
}

TEST_CASE("a queue on the path asks for no larger window", "[tcp][tuning]") {
  ReceiveTuning tuning = established(10ms);
  read_rounds(tuning, 0s, 10, 50'000);
  // Twice as much is under way, and each takes twice as long.
  Instant now = at(100ms);
  for (int i = 0; i < 10; ++i) {
    tuning.acknowledged(2000 + static_cast<std::uint32_t>(i) * 20, now);
    tuning.read(100'000);
    now += 20ms;
    tuning.echoed(2000 + static_cast<std::uint32_t>(i) * 20, 0, now);
    CHECK(tuning.measure(now) == 100'000);
  }
  CHECK(tuning.rtt() == 10ms);
}

TEST_CASE("what waits behind a hole counts when it comes, not when it can be read",
          "[tcp][tuning]") {
  ReceiveTuning tuning = established();
  read_rounds(tuning, 0s, 3, 80'000);
  tuning.set_aside(80'000);
  CHECK(tuning.measure(at(400ms)) == 160'000);
  tuning.joined(80'000);
  tuning.read(160'000);
  CHECK(tuning.measure(at(500ms)) == 160'000);
  CHECK(tuning.space() == 80'000);
}

TEST_CASE("a path that has become longer is measured anew", "[tcp][tuning]") {
  ReceiveTuning tuning = established(10ms);
  read_rounds(tuning, 0s, 10, 100'000);
  // As much as before is under way, but it takes ten times as long.
  Instant now = at(100ms);
  std::uint32_t wanted = 0;
  for (std::uint32_t tick = 2000; tick < 3000; tick += 100) {
    tuning.acknowledged(tick, now);
    tuning.read(100'000);
    now += 100ms;
    tuning.echoed(tick, tick + 100, now);
    wanted = tuning.measure(now);
  }
  CHECK(tuning.rtt() == 100ms);
  CHECK(wanted == 200'000);
}

TEST_CASE("a pause of the application is no longer path", "[tcp][tuning]") {
  ReceiveTuning tuning = established(10ms);
  read_rounds(tuning, 0s, 10, 100'000);
  Instant now = at(100ms);
  for (std::uint32_t tick = 2000; tick < 4000; tick += 100) {
    const bool pauses = tick % 500 == 0;
    tuning.acknowledged(tick, now);
    tuning.read(pauses ? 10'000 : 200'000);
    now += pauses ? 10ms : 20ms;  // a queue of as much again
    tuning.echoed(tick, tick + 100, now);
    CHECK(tuning.measure(now) == (pauses ? 20'000 : 200'000));
  }
  CHECK(tuning.rtt() == 10ms);
}

TEST_CASE("an application that reads nothing asks for nothing", "[tcp][tuning]") {
  ReceiveTuning tuning = established();
  CHECK(read_rounds(tuning, 0s, 5, 0) == 0);
}

TEST_CASE("what is asked for stays within what a window can be", "[tcp][tuning]") {
  ReceiveTuning tuning = established();
  for (int i = 0; i < 8; ++i) tuning.read(1U << 30);
  CHECK(tuning.measure(at(100ms)) == 1U << 30);
}
