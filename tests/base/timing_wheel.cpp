// SPDX-License-Identifier: BSL-1.0
// Tests of the wheel as an ordered map: more than 400 lines because one oracle serves all ranges of
// time.
#include "catch.hpp"
#include <tunic/base/timing_wheel.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <vector>

namespace {

using tunic::Duration;
using tunic::Instant;
using tunic::never;
using tunic::TimerNode;
using tunic::TimingWheel;
using namespace std::chrono_literals;

constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
constexpr Duration tick{1 << 17};
constexpr Instant start{1s};

// Fires what is due and returns it in order.
std::vector<TimerNode*> expire(TimingWheel& wheel, Instant now, std::size_t max = all) {
  std::vector<TimerNode*> fired;
  const std::size_t count = wheel.expire(now, max, [&](TimerNode& node) {
    CHECK(!node.linked());
    CHECK(node.deadline <= now);
    fired.push_back(&node);
  });
  CHECK(count == fired.size());
  return fired;
}

TEST_CASE("an empty wheel has nothing to do", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  CHECK(wheel.next_deadline() == never);
  CHECK(expire(wheel, start).empty());
  CHECK(expire(wheel, start + 1000h).empty());
  CHECK(wheel.next_deadline() == never);
}

TEST_CASE("a timer fires at its deadline, not before, and once", "[base][timing_wheel]") {
  const auto delay = GENERATE(Duration{1}, Duration{1000}, tick - 1ns, tick, tick + 1ns, tick * 63,
                              tick * 64, tick * 64 + 1ns, Duration{1s}, tick * 4096, Duration{1min},
                              Duration{2h}, Duration{24h * 365}, Duration{24h * 365 * 200});
  CAPTURE(delay.count());
  TimingWheel wheel{start};
  TimerNode timer;
  CHECK(!timer.linked());
  CHECK(timer.deadline == never);
  wheel.schedule(timer, start + delay);
  CHECK(timer.linked());
  CHECK(timer.deadline == start + delay);
  CHECK(wheel.next_deadline() == start + delay);
  CHECK(expire(wheel, start + delay - 1ns).empty());
  CHECK(wheel.next_deadline() == start + delay);
  CHECK(expire(wheel, start + delay) == std::vector{&timer});
  CHECK(timer.deadline == start + delay);
  CHECK(!timer.linked());
  CHECK(wheel.next_deadline() == never);
  CHECK(expire(wheel, start + delay + 1h).empty());
}

TEST_CASE("one that is later in the same tick stays", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  TimerNode early;
  TimerNode late;
  wheel.schedule(late, start + 10 * tick + 200ns);
  wheel.schedule(early, start + 10 * tick + 100ns);
  CHECK(expire(wheel, start + 10 * tick + 99ns).empty());
  CHECK(wheel.next_deadline() == start + 10 * tick + 100ns);
  CHECK(expire(wheel, start + 10 * tick + 199ns) == std::vector{&early});
  CHECK(wheel.next_deadline() == start + 10 * tick + 200ns);
  CHECK(expire(wheel, start + 10 * tick + 200ns) == std::vector{&late});
}

TEST_CASE("a deadline in the past fires at the next turn", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  TimerNode past;
  TimerNode before_start;
  TimerNode now;
  expire(wheel, start + 1h);
  wheel.schedule(now, start + 1h);
  wheel.schedule(past, start + 1min);
  wheel.schedule(before_start, Instant{});
  CHECK(wheel.next_deadline() <= Instant{});
  CHECK(past.linked());
  CHECK(expire(wheel, start + 1h).size() == 3);
  CHECK(wheel.next_deadline() == never);
}

TEST_CASE("time does not run backwards", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  TimerNode timer;
  expire(wheel, start + 1h);
  wheel.schedule(timer, start + 30min);
  CHECK(wheel.expire(start, all, [](TimerNode&) {}) == 1);
}

TEST_CASE("a timer that is set again has only its last deadline", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  TimerNode timer;
  wheel.schedule(timer, start + 1s);
  wheel.schedule(timer, start + 3s);
  CHECK(expire(wheel, start + 2s).empty());
  wheel.schedule(timer, start + 2500ms);
  CHECK(wheel.next_deadline() <= start + 2500ms);
  CHECK(expire(wheel, start + 2500ms).size() == 1);
  CHECK(expire(wheel, start + 4s).empty());
}

TEST_CASE("a cancelled timer does not fire", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  TimerNode timer;
  TimerNode other;
  wheel.cancel(timer);  // not set: nothing happens
  wheel.schedule(timer, start + 1s);
  wheel.schedule(other, start + 2s);
  wheel.cancel(timer);
  CHECK(!timer.linked());
  CHECK(timer.deadline == never);
  CHECK(wheel.next_deadline() == start + 2s);
  CHECK(expire(wheel, start + 5s) == std::vector{&other});

  wheel.schedule(timer, start);  // overdue
  wheel.cancel(timer);
  CHECK(wheel.next_deadline() == never);
  CHECK(expire(wheel, start + 6s).empty());

  wheel.schedule(timer, start + 7s);
  wheel.schedule(timer, never);
  CHECK(!timer.linked());
  CHECK(wheel.next_deadline() == never);
}

TEST_CASE("a timer may die while it is set, and so may the wheel", "[base][timing_wheel]") {
  TimerNode survivor;
  TimerNode overdue;
  {
    TimingWheel wheel{start};
    wheel.schedule(survivor, start + 2s);
    wheel.schedule(overdue, start);
    {
      TimerNode timer;
      wheel.schedule(timer, start + 1s);
    }
    CHECK(wheel.next_deadline() == start);
    CHECK(expire(wheel, start + 1s) == std::vector{&overdue});
    CHECK(wheel.next_deadline() == start + 2s);
    wheel.schedule(overdue, start);
  }
  CHECK(!survivor.linked());
  CHECK(!overdue.linked());
}

TEST_CASE("timers fire tick by tick, and in one tick as they were set", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  std::vector<TimerNode> timers(100);
  for (std::size_t i = 0; i < timers.size(); ++i) {
    wheel.schedule(timers[i], start + 1ns + (i % 10) * 700 * tick);
  }
  const auto fired = expire(wheel, start + 1h);
  REQUIRE(fired.size() == timers.size());
  for (std::size_t i = 0; i < fired.size(); ++i) {
    CHECK(fired[i] ==
          &timers[i % 10 * 10 + i / 10] - (i % 10 * 10 + i / 10) + (i / 10 + i % 10 * 10));
  }
}

TEST_CASE("no more fire at once than asked for", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  std::vector<TimerNode> timers(10);
  for (auto& timer : timers) wheel.schedule(timer, start + 1s);
  CHECK(expire(wheel, start + 1s, 0).empty());
  CHECK(expire(wheel, start + 1s, 4).size() == 4);
  CHECK(wheel.next_deadline() <= start + 1s);
  CHECK(wheel.next_deadline() > start + 900ms);
  wheel.cancel(timers[9]);  // one that is due and was left
  CHECK(expire(wheel, start + 1s, 4).size() == 4);
  CHECK(expire(wheel, start + 1s, 4).size() == 1);
  CHECK(wheel.next_deadline() == never);
}

TEST_CASE("a callback that sets its own timer to now does not loop", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  TimerNode timer;
  wheel.schedule(timer, start + 1s);
  const auto again = [&](TimerNode& node) { wheel.schedule(node, start + 1s); };
  CHECK(wheel.expire(start + 1s, all, again) == 1);
  CHECK(timer.linked());
  CHECK(wheel.next_deadline() <= start + 1s);
  CHECK(wheel.expire(start + 1s, all, again) == 1);
  wheel.cancel(timer);
}

TEST_CASE("a callback may cancel and destroy timers that are due in the same turn",
          "[base][timing_wheel]") {
  TimingWheel wheel{start};
  TimerNode first;
  TimerNode second;
  auto third = std::make_unique<TimerNode>();
  wheel.schedule(first, start + 1s);
  wheel.schedule(second, start + 1s);
  wheel.schedule(*third, start + 1s);
  CHECK(wheel.expire(start + 2s, all, [&](TimerNode& node) {
    CHECK(&node == &first);
    wheel.cancel(second);
    third.reset();
  }) == 1);
  CHECK(wheel.next_deadline() == never);
}

TEST_CASE("a callback may set another timer that is due to later", "[base][timing_wheel]") {
  TimingWheel wheel{start};
  TimerNode first;
  TimerNode second;
  wheel.schedule(first, start + 1s);
  wheel.schedule(second, start + 1s);
  CHECK(wheel.expire(start + 2s, all, [&](TimerNode&) { wheel.schedule(second, start + 3s); }) ==
        1);
  CHECK(wheel.next_deadline() == start + 3s);
  CHECK(expire(wheel, start + 3s) == std::vector{&second});
}

TEST_CASE("any epoch and any deadline will do", "[base][timing_wheel]") {
  const auto from =
      GENERATE(Instant::min(), Instant{-24h * 365 * 100}, Instant{}, Instant::max() - 1s);
  CAPTURE(from.time_since_epoch().count());
  TimingWheel wheel{from};
  TimerNode soon;
  TimerNode late;
  wheel.schedule(soon, from + 100ms);
  wheel.schedule(late, never - 1ns);
  CHECK(wheel.next_deadline() == from + 100ms);
  CHECK(expire(wheel, from + 100ms) == std::vector{&soon});
  CHECK(wheel.next_deadline() == never - 1ns);
  CHECK(expire(wheel, never - 2ns).empty());
  CHECK(expire(wheel, never - 1ns) == std::vector{&late});
}

TEST_CASE("waking up when the wheel says so reaches a far deadline in few steps",
          "[base][timing_wheel]") {
  TimingWheel wheel{start};
  std::vector<TimerNode> crowd(100);  // too many for the wheel to look at each
  for (auto& timer : crowd) wheel.schedule(timer, start + 24h * 365 * 10 + 12345ns);
  int steps = 0;
  Instant now = start;
  std::size_t fired = 0;
  while (wheel.next_deadline() != never) {
    REQUIRE(wheel.next_deadline() > now);
    now = wheel.next_deadline();
    fired += expire(wheel, now).size();
    ++steps;
  }
  CHECK(fired == crowd.size());
  CHECK(now == start + 24h * 365 * 10 + 12345ns);
  CHECK(steps <= 9);
}

// The wheel beside an ordered multimap that does the same, and random deeds on both.
class Oracle {
 public:
  Oracle(std::uint32_t seed, std::size_t timers)
      : engine_{seed}, timers_(timers), entries_(timers) {}

  void run(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      const std::uint64_t dice = random(100);
      if (dice < 60) {
        schedule(any_timer(), any_deadline());
      } else if (dice < 75) {
        cancel(any_timer());
      } else {
        expire(dice < 90 ? all : random(8));
      }
      check();
    }
  }

 private:
  using Entries = std::multimap<Instant, std::size_t>;

  std::uint64_t random(std::uint64_t below) { return engine_() % below; }
  std::size_t any_timer() { return random(timers_.size()); }

  // Of any magnitude from nanoseconds to centuries.
  Duration any_delay() {
    return Duration{static_cast<std::int64_t>(random(std::uint64_t{1} << (1 + random(61))))};
  }
  // The same, but rarely more than hours, lest time run out.
  Duration any_step() {
    return Duration{static_cast<std::int64_t>(
        random(std::uint64_t{1} << (1 + random(random(20) == 0 ? 53 : 42))))};
  }
  Instant any_deadline() {
    switch (random(8)) {
      case 0:
        return now_ - std::min(any_delay(), now_.time_since_epoch());
      case 1:
        return now_;
      case 2:  // near another one
        if (!pending_.empty())
          return std::max(Instant{},
                          pending_.begin()->first + Duration{static_cast<int>(random(5))} - 2ns);
        [[fallthrough]];
      default:
        return now_ + std::min(any_delay(), never - 1ns - now_);
    }
  }

  void schedule(std::size_t index, Instant deadline) {
    forget(index);
    entries_[index] = pending_.emplace(deadline, index);
    wheel_.schedule(timers_[index], deadline);
  }
  void cancel(std::size_t index) {
    forget(index);
    wheel_.cancel(timers_[index]);
  }
  void forget(std::size_t index) {
    due_.erase(index);
    if (entries_[index]) pending_.erase(*entries_[index]);
    entries_[index].reset();
  }

  void expire(std::size_t max) {
    now_ += any_step();
    for (auto i = pending_.begin(); i != pending_.upper_bound(now_); ++i) due_.insert(i->second);
    const std::size_t count = wheel_.expire(now_, max, [&](TimerNode& node) {
      const auto index = static_cast<std::size_t>(&node - timers_.data());
      REQUIRE(!node.linked());
      REQUIRE(due_.contains(index));
      REQUIRE(node.deadline == (*entries_[index])->first);
      forget(index);
      // One of four does something in return, to itself or to another.
      const std::uint64_t dice = random(16);
      if (dice < 2) schedule(index, any_deadline());
      if (dice == 2) schedule(any_timer(), any_deadline());
      if (dice == 3) cancel(any_timer());
    });
    REQUIRE(count <= max);
    complete_ = count < max;
    if (complete_) REQUIRE(due_.empty());
    due_.clear();
  }

  void check() {
    const Instant next = wheel_.next_deadline();
    if (pending_.empty()) {
      REQUIRE(next == never);
      return;
    }
    const Instant earliest = pending_.begin()->first;
    REQUIRE(next <= earliest);
    if (earliest > now_) {
      if (complete_) REQUIRE(next > now_);
      const auto ticks = [](Instant t) { return t.time_since_epoch() / tick; };
      if (complete_ && (ticks(earliest) ^ ticks(now_)) < 64) REQUIRE(next == earliest);
    }
  }

  std::mt19937_64 engine_;
  Instant now_{};
  TimingWheel wheel_{Instant{}};
  std::vector<TimerNode> timers_;
  Entries pending_;
  std::vector<std::optional<Entries::iterator>> entries_;
  std::set<std::size_t> due_;  // what the present turn has yet to fire
  bool complete_ = true;       // whether the last turn fired all that was due
};

TEST_CASE("the wheel does what an ordered multimap does", "[base][timing_wheel]") {
  const auto seed = GENERATE(range(1U, 17U));
  const auto timers = GENERATE(std::size_t{1}, std::size_t{5}, std::size_t{200});
  CAPTURE(seed, timers);
  Oracle{seed, timers}.run(4000);
}

TEST_CASE("a million timers of one moment are moved and fired in bounded turns",
          "[base][timing_wheel]") {
  constexpr std::size_t count = 1'000'000;
  TimingWheel wheel{start};
  std::vector<TimerNode> timers(count);
  const Instant base = start + 2h;
  for (std::size_t i = 0; i < count; ++i)
    wheel.schedule(timers[i], base + Duration{static_cast<int>(i)});
  REQUIRE(wheel.next_deadline() <= base);

  std::size_t fired = 0;
  int turns = 0;
  const auto run_at = [&](Instant now) {
    do {
      fired += wheel.expire(now, 1000, [&](TimerNode& node) {
        if (node.deadline > now) FAIL("too early");
      });
      REQUIRE(++turns < 10'000);
    } while (wheel.next_deadline() <= now);
  };
  run_at(base - 1ns);
  CHECK(fired == 0);
  CHECK(turns > 50);  // moving a million down could not be one turn's work
  run_at(base + 499'999ns);
  CHECK(fired == 500'000);
  TimerNode meanwhile;
  wheel.schedule(meanwhile, base + 600us);
  run_at(base + 1s);
  CHECK(fired == count + 1);
  CHECK(wheel.next_deadline() == never);
}

TEST_CASE("timers can be set and cancelled while others are being moved down",
          "[base][timing_wheel]") {
  constexpr std::size_t count = 50'000;
  TimingWheel wheel{start};
  std::vector<TimerNode> timers(count);
  const Instant base = start + 2h;
  for (std::size_t i = 0; i < count; ++i) {
    wheel.schedule(timers[i], base + (i % 2 == 0 ? Duration{0} : Duration{1h}) +
                                  Duration{static_cast<int>(i)});
  }
  const Instant now = base + 30min;
  std::vector<bool> expected(count);
  for (std::size_t i = 0; i < count; i += 2) expected[i] = true;

  std::vector<bool> fired(count);
  std::mt19937 engine{5};
  TimerNode near;
  wheel.schedule(near, now + 1ms);
  int turns = 0;
  do {
    wheel.expire(now, 700, [&](TimerNode& node) {
      if (&node == &near) FAIL("too early");
      fired[static_cast<std::size_t>(&node - timers.data())] = true;
    });
    const std::size_t index = engine() % count;
    if (!fired[index]) {
      expected[index] = index % 3 == 0;
      if (expected[index]) {
        wheel.schedule(timers[index], now - Duration{static_cast<int>(index)});
      } else {
        wheel.cancel(timers[index]);
      }
    }
    ++turns;
  } while (wheel.next_deadline() <= now);
  CHECK((fired == expected));
  CHECK(turns > 30);
  CHECK(wheel.next_deadline() == now + 1ms);
}

}  // namespace
