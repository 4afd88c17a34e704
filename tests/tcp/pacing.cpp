// SPDX-License-Identifier: BSL-1.0

// When bytes leave a paced connection, to the nanosecond. Ten segments of 1000 bytes may be in
// flight and the round trip takes 100 ms, so slow start leaves at 200 kB/s: two segments, the least
// burst, every 10 ms.
#include "../support/sending.hpp"

#include <cstdint>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

using Segments = Sending::Segments;

struct Burst {
  Duration at;  // since the numbers began
  Segments segments;
  friend bool operator==(const Burst&, const Burst&) = default;
};
using Bursts = std::vector<Burst>;

std::ostream& operator<<(std::ostream& out, const Burst& burst) {
  out << burst.at.count() << "ns:";
  for (const std::uint32_t number : burst.segments) out << ' ' << number;
  return out;
}

struct Paced : Sending {
  explicit Paced(std::uint64_t cap = 0, StackConfig config = host_config())
      : Sending{{.window = 65'000, .window_scale = std::uint8_t{4}, .sack = true},
                std::move(config)} {
    set(true, cap);
  }
  void set(bool pacing, std::uint64_t cap = 0) {
    ConnectionOptions options = connection.options();
    options.pacing = pacing;
    options.max_pacing_rate = cap;
    REQUIRE(connection.set_options(options) == Errc::none);
    host.turn();
  }
  /// What leaves from now to so long after the start, served at every deadline.
  Bursts run(Duration after) {
    Bursts bursts;
    const auto look = [&] {
      Segments segments = sent();
      if (!segments.empty()) bursts.push_back({now(), std::move(segments)});
    };
    look();
    for (Instant next = host.stack.next_deadline(); next <= begin + after;
         next = host.stack.next_deadline()) {
      host.clock.set(next);
      host.turn();
      look();
    }
    until(after);
    return bursts;
  }
  /// One turn, so late.
  Segments turn_at(Duration after) {
    host.clock.set(begin + after);
    host.turn();
    return sent();
  }
  [[nodiscard]] Duration now() const { return host.clock.now() - begin; }
  [[nodiscard]] Duration deadline() const { return host.stack.next_deadline() - begin; }
};

StackConfig wide(std::uint8_t initial_window = 40) {
  StackConfig config = patient();
  config.tcp.initial_window = initial_window;
  return config;
}

}  // namespace

TEST_CASE("the initial window is spread over half a round trip", "[tcp][pacing]") {
  Paced sending;
  CHECK(sending.info().pacing_rate == 200'000);
  sending.write(30);
  CHECK(sending.run(99ms) ==
        Bursts{{0ms, {0, 1}}, {10ms, {2, 3}}, {20ms, {4, 5}}, {30ms, {6, 7}}, {40ms, {8, 9}}});
}

TEST_CASE("after a loss the window is spread at 1.2 times its rate", "[tcp][pacing]") {
  Paced sending{0, patient()};
  sending.write(10);
  sending.run(100ms);
  sending.tell(0, {1, 10});
  sending.run(200ms);
  sending.tell(10);
  REQUIRE_FALSE(sending.info().in_recovery);
  REQUIRE(sending.cwnd() == 5);
  const auto rate = static_cast<std::int64_t>(sending.info().pacing_rate);
  CHECK(rate == 5'000'000'000'000 / sending.info().rtt.count() * 6 / 5);
  sending.first = sending.at(10);
  sending.begin = sending.host.clock.now();
  sending.write(5);
  const Duration step{(2'000'000'000'000 + rate - 1) / rate};
  CHECK(sending.run(99ms) == Bursts{{0ms, {0, 1}}, {step, {2, 3}}, {2 * step, {4}}});
}

TEST_CASE("next_deadline is when the next burst may leave, to the nanosecond", "[tcp][pacing]") {
  Paced sending{2'500'000, wide(255)};
  sending.write(10);
  CHECK(sending.sent() == Segments{0, 1});
  CHECK(sending.deadline() == 800us);
  CHECK(sending.host.stack.wait_ms(sending.host.clock.now()) == 1);
  CHECK(sending.turn_at(800us - 1ns).empty());
  CHECK(sending.deadline() == 800us);
  CHECK(sending.turn_at(800us) == Segments{2, 3});
  CHECK(sending.deadline() == 1600us);
  sending.set(true, 2'999'999);
  CHECK(sending.turn_at(1600us) == Segments{4, 5});
  CHECK(sending.deadline() == 800us + Duration{4'000'000'000'000 / 2'999'999 + 1});
}

TEST_CASE("a bound on the rate holds, and bursts grow with it", "[tcp][pacing]") {
  Paced sending{5'000'000, wide()};
  CHECK(sending.info().pacing_rate == 2 * 40'000 * 10);
  sending.set(true, 100'000);
  CHECK(sending.info().pacing_rate == 100'000);
  sending.write(40);
  Bursts expected;
  for (std::uint32_t i = 0; i < 5; ++i)
    expected.push_back({i * Duration{20ms}, {2 * i, 2 * i + 1}});
  CHECK(sending.run(99ms) == expected);

  Paced fast{5'000'000, wide(255)};
  fast.write(255);
  CHECK(fast.run(2ms) ==
        Bursts{{0ms, {0, 1, 2, 3, 4}}, {1ms, {5, 6, 7, 8, 9}}, {2ms, {10, 11, 12, 13, 14}}});
}

TEST_CASE("a bound paces by itself", "[tcp][pacing]") {
  Paced sending;
  sending.set(false, 150'000);
  CHECK(sending.info().pacing_rate == 150'000);
  sending.set(false);
  CHECK(sending.info().pacing_rate == 0);
}

TEST_CASE("options hold from the next turn on", "[tcp][pacing]") {
  Paced sending{0, wide()};
  sending.write(40);
  CHECK(sending.sent() == Segments{0, 1});
  CHECK(sending.deadline() == 2500us);  // 800 kB/s
  SECTION("switched off, all leaves at once") {
    sending.set(false);
    CHECK(sending.sent().size() == 38);
    sending.until(10ms);
    CHECK(sending.deadline() >= 200ms);
    SECTION("and on again, a burst is due at once") {
      sending.until(100ms);
      sending.host.inject(sending.ack(40));
      sending.set(true);
      sending.write(3);
      CHECK(sending.sent().size() == 2);
    }
  }
  SECTION("a lower rate: what has left is paid for at it") {
    sending.set(true, 100'000);
    CHECK(sending.run(20ms) == Bursts{{20ms, {2, 3}}});
  }
  SECTION("a higher rate: the wait is over sooner") {
    sending.set(true, 100'000);
    sending.until(4ms);
    CHECK(sending.deadline() == 20ms);
    sending.set(true, 400'000);
    CHECK(sending.deadline() == 5ms);
    sending.set(true, 500'000);
    CHECK(sending.sent() == Segments{2, 3});
  }
}

TEST_CASE("a pause is followed by one burst", "[tcp][pacing]") {
  Paced sending;
  sending.exchange(2);
  sending.until(10s);
  sending.begin = sending.host.clock.now();
  sending.write(10);
  const Bursts bursts = sending.run(30ms);
  REQUIRE(bursts.size() > 2);
  CHECK(bursts[0] == Burst{0ms, {0, 1}});
  CHECK(bursts[1].at == Duration{1s} * 2000 / sending.info().pacing_rate);
}

TEST_CASE("writes within a burst leave at once, then a whole burst is waited for",
          "[tcp][pacing]") {
  Paced sending;
  sending.write(1);
  sending.write(1);
  CHECK(sending.sent() == Segments{0, 1});
  sending.write(1);
  CHECK(sending.sent().empty());
  CHECK(sending.turn_at(9ms).empty());
  sending.write(5);
  CHECK(sending.run(10ms) == Bursts{{10ms, {2, 3}}});
  SECTION("half of a burst is paid for") {
    sending.run(50ms);
    CHECK(sending.turn_at(55ms).empty());
    sending.write(2);
    CHECK(sending.sent() == Segments{8, 9});  // one had left at 40 ms
  }
}

TEST_CASE("a turn that comes late makes up for what it missed, to a bound", "[tcp][pacing]") {
  Paced sending;
  sending.write(10);
  sending.sent();
  CHECK(sending.turn_at(14'999us) == Segments{2, 3});
  CHECK(sending.deadline() == 20ms);  // as if it had been in time
  CHECK(sending.turn_at(25ms) == Segments{4, 5, 6});
  CHECK(sending.deadline() == 35ms);
  CHECK(sending.turn_at(80ms) == Segments{7, 8, 9});  // four might
}

TEST_CASE("a long absence is worth two bursts", "[tcp][pacing]") {
  Paced sending;
  sending.write(10);
  sending.sent();
  CHECK(sending.turn_at(90ms) == Segments{2, 3, 4, 5});
  CHECK(sending.deadline() == 100ms);
}

TEST_CASE("what is sent again is paced", "[tcp][pacing]") {
  Paced sending{0, wide()};
  sending.write(40);
  sending.run(150ms);
  sending.tell(0, {10, 40});  // ten are lost, and the window is twenty
  sending.begin = sending.host.clock.now();
  const Duration step{Duration{1s} * 2000 / sending.info().pacing_rate + 1ns};
  CHECK(sending.run(4 * step) == Bursts{{0ms, {0, 1}},
                                        {step, {2, 3}},
                                        {2 * step, {4, 5}},
                                        {3 * step, {6, 7}},
                                        {4 * step, {8, 9}}});
}

TEST_CASE("what a device refuses is not charged, and the time it takes is made up for",
          "[tcp][pacing]") {
  Paced sending;
  MockDevice& device = sending.host.stack.device();
  SECTION("in part, at once") {
    device.set_capacity(1);
    sending.write(10);
    CHECK(sending.sent() == Segments{0});
    CHECK(sending.turn_at(0ms) == Segments{1});
    CHECK(sending.deadline() == 10ms);
  }
  SECTION("for some time") {
    sending.write(10);
    sending.sent();
    device.set_status(DeviceStatus::would_block);
    CHECK(sending.turn_at(10ms).empty());
    CHECK(sending.deadline() > 50ms);  // no turn is asked for in vain
    CHECK(sending.turn_at(15ms).empty());
    device.set_status(DeviceStatus::ok);
    CHECK(sending.turn_at(15ms) == Segments{2, 3, 4});
    CHECK(sending.deadline() == 25ms);
  }
}

TEST_CASE("what carries no data is not kept back", "[tcp][pacing]") {
  Paced sending{100};  // a burst in twenty seconds
  auto& [host, listener, peer, connection, first, begin] = static_cast<Sending&>(sending);
  SECTION("an acknowledgement") {
    sending.write(3);
    CHECK(sending.sent() == Segments{0, 1});
    peer.send("a");
    host.advance(40ms);
    CHECK(host.take_tcp().payload.empty());
  }
  SECTION("a FIN that all data is in front of") {
    sending.write(2);
    sending.sent();
    connection.shutdown_send();
    host.turn();
    CHECK(host.take_tcp().has(TcpFlags::fin));
  }
  SECTION("a window probe") {
    sending.write(2);
    sending.sent();
    peer.options.window = 0;
    sending.tell(2);
    sending.write(1);
    host.advance(2s);
    CHECK(host.take_tcp().seq == sending.at(2) - 1);
  }
  SECTION("a tail loss probe, which is charged") {
    sending.write(3);
    CHECK(sending.run(210ms) == Bursts{{0ms, {0, 1}}, {202ms, {2}}});
    sending.tell(3);
    sending.write(3);
    CHECK(sending.run(30s) == Bursts{{30s, {3, 4}}});
  }
}

TEST_CASE("no time-out while what is lost waits for its burst", "[tcp][pacing]") {
  Paced sending{2000};  // a burst in a second
  sending.write(2);
  sending.sent();
  sending.until(100ms);
  sending.tell(0, {1, 2});
  REQUIRE(sending.info().rto < 500ms);
  CHECK(sending.run(999ms).empty());
  CHECK(sending.info().in_flight == 0);
  CHECK(sending.info().lost == 1000);
  CHECK(sending.run(1s) == Bursts{{1s, {0}}});
  CHECK(sending.stats().timeouts == 0);
  sending.run(1s + 2 * sending.info().rto);  // it has one of its own
  CHECK(sending.stats().timeouts == 1);
}

TEST_CASE("a window grows while its pacing holds it back, not while the user's bound does",
          "[tcp][pacing]") {
  Paced sending{0, wide(20)};
  SECTION("its own") {
    sending.write(200);
    const Bursts bursts = sending.run(20ms);
    REQUIRE(sending.in_flight() < 20);  // it waits for a burst
    sending.tell(2);
    CHECK(sending.cwnd() == 21);
  }
  SECTION("its own, with less to send than would fill it") {
    sending.write(15);
    sending.run(20ms);
    REQUIRE(sending.in_flight() < 15);
    sending.tell(2);
    CHECK(sending.cwnd() == 20);
  }
  SECTION("the user's") {
    sending.set(true, 100'000);
    sending.write(200);
    sending.run(50ms);
    sending.tell(2);
    CHECK(sending.cwnd() == 20);
  }
}
