// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/device/impairment.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

constexpr Instant start{1s};

struct Arrival {
  Duration after;  // since start
  std::string text;
  friend bool operator==(const Arrival&, const Arrival&) = default;
};
std::ostream& operator<<(std::ostream& out, const Arrival& arrival) {
  return out << arrival.text << " after " << arrival.after.count() << " ns";
}

// Lets everything arrive, each at its time.
std::vector<Arrival> arrivals(Impairment& link) {
  std::vector<Arrival> all;
  StoredPacket packet;
  while (link.next_due() != never) {
    const Instant due = link.next_due();
    REQUIRE_FALSE(link.pop_due(due - 1ns, packet));
    REQUIRE(link.pop_due(due, packet));
    all.push_back({due - start, std::string{as_text(packet.bytes)}});
  }
  return all;
}

std::vector<std::string> texts(Impairment& link) {
  std::vector<std::string> all;
  for (const Arrival& arrival : arrivals(link)) all.push_back(arrival.text);
  return all;
}

// Pushes packets named by their number, one a millisecond.
void push_numbered(Impairment& link, int count) {
  for (int i = 0; i < count; ++i) link.push(as_bytes(std::to_string(i)), start + i * 1ms);
}

}  // namespace

TEST_CASE("a perfect link delivers at once and in order", "[device][impairment]") {
  Impairment link;
  CHECK(link.next_due() == never);
  const std::vector pieces{as_bytes("a"), as_bytes("b")};
  link.push({.pieces = pieces, .size_bytes = 2, .reason = TxReason::probe}, start);
  link.push(as_bytes("c"), start, TxReason::icmp);
  CHECK(link.size() == 2);
  StoredPacket packet;
  CHECK_FALSE(link.pop_due(start - 1ns, packet));
  REQUIRE(link.pop_due(start, packet));
  CHECK(as_text(packet.bytes) == "ab");
  CHECK(packet.reason == TxReason::probe);
  REQUIRE(link.pop_due(start, packet));
  CHECK(as_text(packet.bytes) == "c");
  CHECK(packet.reason == TxReason::icmp);
  CHECK_FALSE(link.pop_due(start + 1h, packet));
  CHECK(link.counters().pushed == 2);
  CHECK(link.counters().delivered == 2);
}

TEST_CASE("delay moves every packet alike", "[device][impairment]") {
  Impairment link{{.delay = 30ms}};
  link.push(as_bytes("a"), start);
  link.push(as_bytes("b"), start + 5ms);
  CHECK(arrivals(link) == std::vector<Arrival>{{30ms, "a"}, {35ms, "b"}});
}

TEST_CASE("a rate makes packets follow each other", "[device][impairment]") {
  // 8000 bits a second: a byte takes a millisecond.
  Impairment link{{.delay = 10ms, .rate_bits_per_second = 8000}};
  link.push(as_bytes("abc"), start);
  link.push(as_bytes("de"), start);
  link.push(as_bytes("f"), start + 100ms);
  CHECK(arrivals(link) == std::vector<Arrival>{{13ms, "abc"}, {15ms, "de"}, {111ms, "f"}});
}

TEST_CASE("transmission times are rounded up, and large ones do not overflow",
          "[device][impairment]") {
  Impairment link{{.rate_bits_per_second = 3'000'000'000}};
  link.push(as_bytes("a"), start);
  CHECK(link.next_due() == start + 3ns);  // 2.67
  Impairment slow{{.rate_bits_per_second = 1}};
  slow.push(std::vector<std::byte>(65535), start);
  CHECK(slow.next_due() == start + 65535 * 8s);
}

TEST_CASE("what exceeds the queue is dropped", "[device][impairment]") {
  Impairment link{{.rate_bits_per_second = 8000, .queue_bytes = 5}};
  for (const char* text : {"abc", "de", "f"}) link.push(as_bytes(text), start);
  CHECK(link.counters().overflowed == 1);
  link.push(as_bytes("g"), start + 1ms);  // one byte has left
  link.push(as_bytes("h"), start + 1ms);
  CHECK(link.counters().overflowed == 2);
  CHECK(texts(link) == std::vector<std::string>{"abc", "de", "g"});

  link.push(as_bytes("larger than the queue"), start + 1s);  // an idle link takes it
  CHECK(texts(link).size() == 1);
}

TEST_CASE("loss is as frequent as told, and the same for the same seed", "[device][impairment]") {
  const double loss = GENERATE(0.0, 0.01, 0.3, 1.0);
  std::vector<std::vector<std::string>> runs;
  for (const std::uint64_t seed : {7U, 7U, 8U}) {
    Impairment link{{.loss = loss, .seed = seed}};
    push_numbered(link, 10000);
    runs.push_back(texts(link));
    const auto lost = static_cast<double>(link.counters().lost);
    CHECK(std::abs(lost - 10000 * loss) <= 5 * std::sqrt(10000 * loss * (1 - loss)));
    CHECK(link.counters().lost + link.counters().delivered == 10000);
  }
  CHECK(runs[0] == runs[1]);
  if (loss > 0 && loss < 1) CHECK(runs[0] != runs[2]);
}

TEST_CASE("one kind of fault does not change the pattern of another", "[device][impairment]") {
  Impairment plain{{.loss = 0.1, .seed = 3}};
  Impairment busy{{.delay = 10ms,
                   .jitter = 5ms,
                   .loss = 0.1,
                   .reorder = 0.2,
                   .corrupt = 0,
                   .reorder_delay = 20ms,
                   .burst = {.enter = 0},
                   .seed = 3}};
  push_numbered(plain, 1000);
  push_numbered(busy, 1000);
  auto expected = texts(plain);
  auto found = texts(busy);
  CHECK(expected != found);
  std::ranges::sort(expected);
  std::ranges::sort(found);
  CHECK(expected == found);
}

TEST_CASE("bursts are as long and as frequent as Gilbert's model says", "[device][impairment]") {
  Impairment link{{.burst = {.enter = 0.01, .leave = 0.25}, .seed = 5}};
  constexpr int count = 100000;
  push_numbered(link, count);
  std::vector<bool> arrived(count);
  for (const std::string& text : texts(link)) arrived[std::stoul(text)] = true;
  int bursts = 0, lost = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (arrived[i]) continue;
    ++lost;
    if (i == 0 || arrived[i - 1]) ++bursts;
  }
  CHECK(lost == static_cast<int>(link.counters().lost));
  CHECK(std::abs(lost / double{count} - 0.01 / 0.26) < 0.004);
  CHECK(std::abs(double(lost) / bursts - 4) < 0.4);
}

TEST_CASE("a burst may let some packets through", "[device][impairment]") {
  Impairment link{{.burst = {.enter = 1, .leave = 0, .loss = 0.5}}};
  push_numbered(link, 10000);
  CHECK(link.counters().lost > 4700);
  CHECK(link.counters().lost < 5300);
}

TEST_CASE("duplicates follow their originals", "[device][impairment]") {
  Impairment link{{.delay = 1ms, .duplicate = 1}};
  link.push(as_bytes("a"), start);
  link.push(as_bytes("b"), start);
  CHECK(texts(link) == std::vector<std::string>{"a", "a", "b", "b"});
  CHECK(link.counters().duplicated == 2);
  CHECK(link.counters().delivered == 4);
}

TEST_CASE("packets held back are overtaken", "[device][impairment]") {
  Impairment link{{.delay = 10ms, .reorder = 0.3, .reorder_delay = 2500us, .seed = 11}};
  push_numbered(link, 100);
  const auto found = arrivals(link);
  REQUIRE(found.size() == 100);
  std::uint64_t held_back = 0;
  for (const Arrival& arrival : found) {
    const Duration travelled = arrival.after - std::stoi(arrival.text) * 1ms;
    CHECK((travelled == 10ms || travelled == 12500us));
    if (travelled != 10ms) ++held_back;
  }
  CHECK(held_back == link.counters().reordered);
  CHECK(held_back > 15);
  CHECK(held_back < 45);
}

TEST_CASE("jitter stays within its bound and never reorders", "[device][impairment]") {
  Impairment link{{.delay = 10ms, .jitter = 8ms}};
  push_numbered(link, 1000);
  const auto found = arrivals(link);
  std::set<Duration> times;
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i].text == std::to_string(i));
    const Duration travelled = found[i].after - static_cast<int>(i) * 1ms;
    CHECK(travelled >= 10ms);
    CHECK(travelled <= 18ms);
    times.insert(travelled);
  }
  CHECK(times.size() > 500);
}

TEST_CASE("corruption flips one bit, anywhere", "[device][impairment]") {
  Impairment link{{.corrupt = 1}};
  const std::string zeros(20, '\0');
  std::set<std::pair<std::size_t, char>> places;
  StoredPacket packet;
  for (int i = 0; i < 3000; ++i) {
    link.push(as_bytes(zeros), start);
    REQUIRE(link.pop_due(start, packet));
    REQUIRE(packet.bytes.size() == zeros.size());
    int bits = 0;
    for (std::size_t at = 0; at < zeros.size(); ++at) {
      const char value = as_text(packet.bytes)[at];
      bits += std::popcount(static_cast<unsigned char>(value));
      if (value != 0) places.emplace(at, value);
    }
    REQUIRE(bits == 1);
  }
  CHECK(places.size() == 160);
  link.push(Bytes{}, start);
  CHECK(link.counters().corrupted == 3000);  // there is nothing to flip in an empty packet
}

TEST_CASE("conditions change under way", "[device][impairment]") {
  Impairment link{{.delay = 10ms}};
  link.push(as_bytes("slow"), start);
  link.set_conditions({.delay = 1ms, .loss = 1});
  link.push(as_bytes("lost"), start);
  CHECK(link.conditions().loss == 1);
  link.set_conditions({});
  link.push(as_bytes("behind the slow one"), start);  // in order still
  CHECK(arrivals(link) == std::vector<Arrival>{{10ms, "slow"}, {10ms, "behind the slow one"}});
}

TEST_CASE("buffers circulate", "[device][impairment]") {
  Impairment link{{.delay = 3ms, .duplicate = 0.2}};
  std::set<const std::byte*> buffers;
  StoredPacket packet;
  for (int i = 0; i < 2000; ++i) {
    const std::string text = "as long as the others are " + std::to_string(10000 + i);
    link.push(as_bytes(text), start + i * 1ms);
    while (link.pop_due(start + i * 1ms, packet)) buffers.insert(packet.bytes.data());
  }
  CHECK(buffers.size() <= 16);
}

TEST_CASE("everything pushed is accounted for", "[device][impairment]") {
  Impairment link{{.delay = 2ms,
                   .jitter = 1ms,
                   .loss = 0.1,
                   .duplicate = 0.1,
                   .reorder = 0.1,
                   .corrupt = 0.1,
                   .rate_bits_per_second = 15000,
                   .queue_bytes = 40,
                   .burst = {.enter = 0.05, .leave = 0.5},
                   .seed = 99}};
  push_numbered(link, 5000);
  texts(link);
  const LinkCounters& counters = link.counters();
  CHECK(counters.pushed == 5000);
  CHECK(counters.lost > 0);
  CHECK(counters.overflowed > 0);
  CHECK(counters.duplicated > 0);
  CHECK(counters.reordered > 0);
  CHECK(counters.corrupted > 0);
  CHECK(counters.delivered ==
        counters.pushed - counters.lost - counters.overflowed + counters.duplicated);
}
