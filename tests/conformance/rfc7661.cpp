// SPDX-License-Identifier: BSL-1.0

// Windows that are not used: RFC 7661.
#include "../support/ack_trace.hpp"
#include "../support/host.hpp"
#include <tunic/tcp/cubic.hpp>
#include <tunic/tcp/new_reno.hpp>

#include <concepts>

using namespace tunic;
using namespace tunic::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t mss = 1000;

// In congestion avoidance with a window of 100 segments, of which `used` were sent a round trip for
// two seconds.
template <class Controller>
AckTrace<Controller> rate_limited(std::uint32_t used) {
  AckTrace<Controller> trace;
  trace.rounds(4);
  trace.lose(std::same_as<Controller, Cubic> ? 142'858 : 200'000);
  REQUIRE(trace.controller.cwnd() == 100 * mss);
  trace.limited = false;
  for (int i = 0; i < 20; ++i) trace.round_of(used * mss);
  REQUIRE(trace.controller.cwnd() == 100 * mss);
  return trace;
}

}  // namespace

TEMPLATE_TEST_CASE("a window that is used by less than half is kept, and does not grow",
                   "[conformance][7661-01]", NewReno, Cubic) {
  auto trace = rate_limited<TestType>(10);
  for (int i = 0; i < 100; ++i) trace.round_of(10 * mss);
  CHECK(trace.controller.cwnd() == 100 * mss);
  trace.limited = true;
  trace.rounds(3);
  CHECK(trace.controller.cwnd() > 100 * mss);
}

TEMPLATE_TEST_CASE("what a loss leaves of it is half of what was used, less what was lost",
                   "[conformance][7661-02]", NewReno, Cubic) {
  // pipeACK is 30 segments.
  const std::uint32_t flight = GENERATE(20 * mss, 40 * mss);
  auto trace = rate_limited<TestType>(30);
  const std::uint32_t in_use = std::max(30 * mss, flight);
  trace.controller.on_congestion(trace.event(flight));
  CHECK(trace.controller.cwnd() == in_use / 2);
  trace.ack(mss, true, true, 3 * mss);
  trace.ack(mss, false, true, mss);
  trace.controller.on_recovery_end(0, mss);
  CHECK(trace.controller.cwnd() == (in_use - 4 * mss) / 2);
  CHECK(trace.controller.ssthresh() == trace.controller.cwnd());
}

TEMPLATE_TEST_CASE("at least one segment is left", "[conformance][7661-02]", NewReno, Cubic) {
  auto trace = rate_limited<TestType>(4);
  trace.controller.on_congestion(trace.event(4 * mss));
  CHECK(trace.controller.cwnd() == 2 * mss);
  trace.ack(mss, true, true, 3500);
  trace.controller.on_recovery_end(0, mss);
  CHECK(trace.controller.cwnd() == mss);
  CHECK(trace.controller.ssthresh() == 2 * mss);
}

TEMPLATE_TEST_CASE("a time-out in that recovery has the last word", "[conformance][7661-02]",
                   NewReno, Cubic) {
  auto trace = rate_limited<TestType>(30);
  trace.controller.on_congestion(trace.event(30 * mss));
  trace.ack(mss, true, true, mss);
  trace.time_out();
  trace.controller.on_recovery_end(0, mss);
  CHECK(trace.controller.cwnd() == mss);
}

TEMPLATE_TEST_CASE("a loss that was none costs nothing", "[conformance][7661-02]", NewReno, Cubic) {
  auto trace = rate_limited<TestType>(30);
  trace.controller.on_congestion(trace.event(30 * mss));
  trace.controller.on_spurious();
  trace.controller.on_recovery_end(0, mss);
  CHECK(trace.controller.cwnd() == 100 * mss);
}

TEMPLATE_TEST_CASE("a window that is used answers a loss as ever", "[conformance][7661-02]",
                   NewReno, Cubic) {
  auto trace = rate_limited<TestType>(60);
  trace.controller.on_congestion(trace.event(60 * mss));
  const std::uint32_t left = std::same_as<TestType, Cubic> ? 42 * mss : 30 * mss;
  CHECK(trace.controller.cwnd() == left);
  trace.ack(mss, true, true, 3 * mss);
  trace.controller.on_recovery_end(0, mss);
  CHECK(trace.controller.cwnd() == left);
}

TEMPLATE_TEST_CASE("after five minutes half of it is left, and slow start up to three quarters",
                   "[conformance][7661-03]", NewReno, Cubic) {
  auto trace = rate_limited<TestType>(10);
  SECTION("idle") { trace.pause(5min); }
  SECTION("sending little") {
    trace.rtt = 1s;
    for (int i = 0; i < 301; ++i) trace.round_of(10 * mss);
  }
  CHECK(trace.controller.cwnd() == 50 * mss);
  CHECK(trace.controller.ssthresh() == 100 * mss);  // which was higher than three quarters
}

TEST_CASE("a low threshold is raised to three quarters of the window", "[conformance][7661-03]") {
  AckTrace<NewReno> trace{40};
  trace.lose();
  trace.rounds(20);
  REQUIRE(trace.controller.ssthresh() == 20 * mss);
  REQUIRE(trace.controller.cwnd() == 40 * mss);
  trace.pause(5min);
  CHECK(trace.controller.cwnd() == 20 * mss);
  CHECK(trace.controller.ssthresh() == 30 * mss);
  trace.pause(1h);
  CHECK(trace.controller.cwnd() == 10 * mss);  // not below the initial window
}

// The limit is pacing, which is off by default.
TEST_CASE("a large window after a pause leaves in bursts", "[conformance][7661-04]") {
  StackConfig config = host_config();
  config.tcp.initial_window = 100;
  Host host{config};
  ConnectionOptions options;
  options.send_buffer = 1 << 20;
  options.pacing = true;
  auto listener = host.stack.listen({.port = 80, .connection = options});
  Peer peer{host, {.window_scale = std::uint8_t{4}}};
  peer.send_syn();
  host.advance(100ms);
  peer.finish();
  auto connection = std::move(*listener.accept());
  host.advance(10s);
  connection.send(as_bytes(std::string(100 * 1460, 'x')));
  host.turn();
  REQUIRE(connection.info().snd_cwnd == 100 * 1460);
  CHECK(host.stack.device().sent() == 2);
  host.advance(48ms);  // at twice the window in a round trip of 100 ms: two in a millisecond
  CHECK(host.stack.device().sent() == 98);
}
