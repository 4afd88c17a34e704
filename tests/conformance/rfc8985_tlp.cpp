// SPDX-License-Identifier: BSL-1.0

// Tail loss probes: RFC 8985 7 and 8. The round trip takes 100 ms.
#include "../support/sending.hpp"

using namespace tunic;
using namespace tunic::test;

namespace {

using Segments = Sending::Segments;
using Block = Sending::Block;

/// The last of three segments is lost; the probe that sends it again is on its way.
struct Probed : Sending {
  explicit Probed(bool stamped = false)
      : Sending{{.sack = true, .timestamp = stamped ? std::optional{1U} : std::nullopt},
                patient()} {
    exchange();
    write(3);
    sent();
    until(100ms);
    tell(2);
    until(1s);
    REQUIRE(sent() == Segments{2});
    REQUIRE(stats().tail_probes == 1);
  }
  [[nodiscard]] bool reduced() const { return info().snd_ssthresh != 0xffffffff; }
};

}  // namespace

TEST_CASE("a probe leaves after two round trips, if nothing comes", "[conformance][8985-10]") {
  Sending sending;
  sending.write(2);
  sending.sent();
  sending.until(200ms);
  CHECK(sending.sent().empty());
  sending.until(202ms);
  CHECK(sending.sent() == Segments{1});
  CHECK(sending.stats().tail_probes == 1);
  CHECK(sending.stats().timeouts == 0);
}

TEST_CASE("each segment and each acknowledgement puts the probe off", "[conformance][8985-10]") {
  Sending sending{{.sack = true}, patient()};
  sending.write(1);
  sending.until(60ms);
  sending.write(1);
  sending.until(100ms);
  sending.write(2);
  sending.sent();
  sending.until(160ms);
  sending.tell(1);  // SRTT stays below 110 ms
  const Duration probe = 2 * sending.info().rtt;
  sending.until(160ms + probe);
  CHECK(sending.sent().empty());
  sending.until(160ms + probe + 2ms);
  CHECK(sending.sent() == Segments{3});
}

TEST_CASE("a single segment's acknowledgement may be delayed", "[conformance][8985-10]") {
  const Duration budget = GENERATE(200ms, 50ms);
  StackConfig config = patient();
  config.tcp.max_ack_delay = budget;
  Sending sending{{.sack = true}, config};
  sending.write(1);
  sending.sent();
  sending.until(200ms + budget - 1ns);
  CHECK(sending.sent().empty());
  sending.until(200ms + budget);
  CHECK(sending.sent() == Segments{0});
  CHECK(sending.stats().tail_probes == 1);
}

TEST_CASE("a probe does not leave after the time-out", "[conformance][8985-10]") {
  Sending sending;
  sending.write(1);
  sending.sent();
  REQUIRE(sending.info().rto == 300ms);  // 2 SRTT and the budget are 400
  sending.until(300ms - 1ns);
  CHECK(sending.sent().empty());
  sending.until(300ms);
  CHECK(sending.sent() == Segments{0});
  CHECK(sending.stats().tail_probes == 1);
  CHECK(sending.stats().timeouts == 0);
}

TEST_CASE("without SRTT a probe leaves after a second", "[conformance][8985-10]") {
  Sending sending{{.sack = true}, host_config(), 1500ms};  // the SYN+ACK was sent twice
  REQUIRE(sending.info().rtt == 0s);
  REQUIRE(sending.info().rto == 3s);
  sending.begin = sending.host.clock.now();
  sending.write(2);
  sending.sent();
  sending.until(1s - 1ns);
  CHECK(sending.sent().empty());
  sending.until(1s);
  CHECK(sending.sent() == Segments{1});
  CHECK(sending.stats().tail_probes == 1);
}

TEST_CASE("no probe leaves in a recovery, or when something was reported, or without SACK",
          "[conformance][8985-11]") {
  SECTION("recovery") {
    Sending sending;
    sending.write(3);
    sending.sent();
    sending.until(100ms);
    sending.tell(0, {1, 2});
    sending.until(125ms);
    CHECK(sending.sent() == Segments{0});
    CHECK(sending.info().in_recovery);
    sending.until(20s);
    CHECK(sending.stats().tail_probes == 0);
    CHECK(sending.stats().timeouts > 0);
  }
  SECTION("reports, after a recovery that was undone") {
    Sending sending{{.sack = true, .timestamp = 1}, patient()};
    sending.write(10);
    REQUIRE(sending.sent().size() == 10);
    const std::uint32_t echo = sending.peer.tsecr;
    sending.until(100ms);
    sending.tell(0, {1, 5}, {6, 10});
    REQUIRE(sending.sent() == Segments{0, 5});
    sending.until(110ms);
    sending.peer.tsecr = echo;
    sending.tell(5, {6, 10});
    REQUIRE_FALSE(sending.info().in_recovery);
    REQUIRE(sending.in_flight() == 1);
    sending.until(20s);
    CHECK(sending.stats().tail_probes == 0);
    CHECK(sending.stats().timeouts > 0);
  }
  SECTION("no SACK") {
    Sending sending{{}};
    sending.write(2);
    sending.until(20s);
    CHECK(sending.stats().tail_probes == 0);
    CHECK(sending.stats().timeouts > 0);
  }
}

TEST_CASE("a second probe does not leave before the first is settled", "[conformance][8985-12]") {
  Sending sending{{.sack = true}, patient()};
  sending.write(2);
  sending.sent();
  sending.until(202ms);
  REQUIRE(sending.sent() == Segments{1});
  sending.write(1);  // while the probe is out
  REQUIRE(sending.sent() == Segments{2});
  sending.until(1202ms - 1ns);
  CHECK(sending.sent().empty());
  sending.until(1202ms);
  CHECK(sending.stats().timeouts == 1);
  CHECK(sending.stats().tail_probes == 1);
}

TEST_CASE("nor while it is not known which of the copies has come", "[conformance][8985-12]") {
  Probed sending{true};
  sending.tell(3);
  sending.write(2);
  REQUIRE(sending.sent() == Segments{3, 4});
  sending.host.advance(20s);
  CHECK(sending.stats().tail_probes == 1);
  CHECK(sending.stats().timeouts > 0);
}

TEST_CASE("between two probes there is a measurement of the round trip", "[conformance][8985-12]") {
  Probed sending;
  sending.tell(3);  // of one of the two: no measurement
  sending.tell(3);
  sending.write(2);
  REQUIRE(sending.sent() == Segments{3, 4});
  sending.begin = sending.host.clock.now();
  SECTION("there is none") {
    sending.until(20s);
    CHECK(sending.stats().tail_probes == 1);
    CHECK(sending.stats().timeouts > 0);
  }
  SECTION("there is one") {
    sending.until(100ms);
    sending.tell(5);
    sending.write(2);
    sending.sent();
    sending.until(400ms);
    CHECK(sending.stats().tail_probes == 2);
  }
}

TEST_CASE("a probe is new data beyond the congestion window, if the peer's window allows",
          "[conformance][8985-13]") {
  SECTION("new data") {
    Sending sending{{.sack = true}, with_initial_window(2, host_config())};
    sending.write(4);
    REQUIRE(sending.sent() == Segments{0, 1});
    sending.until(202ms);
    CHECK(sending.sent() == Segments{2});
    CHECK(sending.in_flight() == 3);
  }
  SECTION("the window is full") {
    Sending sending{{.window = 2000, .sack = true}};
    sending.write(4);
    REQUIRE(sending.sent() == Segments{0, 1});
    sending.until(202ms);
    CHECK(sending.sent() == Segments{1});
  }
  SECTION("there is no more") {
    Sending sending;
    sending.write(3);
    sending.sent();
    sending.until(202ms);
    CHECK(sending.sent() == Segments{2});
    CHECK(sending.in_flight() == 3);
  }
}

TEST_CASE("after a probe the time-out starts anew", "[conformance][8985-14]") {
  Sending sending;
  sending.write(2);
  sending.sent();
  REQUIRE(sending.info().rto == 300ms);
  sending.until(202ms);
  REQUIRE(sending.sent() == Segments{1});
  sending.until(502ms - 1ns);
  CHECK(sending.sent().empty());
  CHECK(sending.stats().timeouts == 0);
  sending.until(502ms);
  CHECK(sending.sent() == Segments{0});
  CHECK(sending.stats().timeouts == 1);
}

TEST_CASE("a probe that repairs a loss costs a reduction", "[conformance][8985-15]") {
  Probed sending;
  const double before = sending.cwnd();
  sending.write(1);
  REQUIRE(sending.sent() == Segments{3});
  SECTION("seen when more is acknowledged") {
    sending.tell(3);
    CHECK_FALSE(sending.reduced());
    sending.tell(4);
    CHECK(sending.reduced());
    CHECK(sending.cwnd() < before);
    const double after = sending.cwnd();
    sending.write(1);
    sending.tell(5);
    CHECK(sending.cwnd() >= after);  // once
  }
  SECTION("at once") {
    sending.tell(4);
    CHECK(sending.reduced());
  }
}

TEST_CASE("a probe that was not needed costs nothing", "[conformance][8985-15]") {
  Probed sending;
  SECTION("a duplicate acknowledgement tells") {
    sending.tell(3);
    sending.tell(3);
  }
  SECTION("a duplicate report tells") { sending.tell(3, {2, 3}); }
  SECTION("both at once") {
    sending.tell(3);
    sending.tell(3, {2, 3});
  }
  sending.write(1);
  sending.tell(4);
  CHECK_FALSE(sending.reduced());
  CHECK(sending.stats().fast_retransmits == 0);
}

TEST_CASE("a probe of new data costs nothing", "[conformance][8985-15]") {
  Sending sending{{.sack = true}, with_initial_window(2, host_config())};
  sending.write(4);
  sending.until(202ms);
  REQUIRE(sending.sent() == Segments{0, 1, 2});
  sending.tell(3);
  sending.sent();
  sending.tell(4);
  CHECK(sending.info().snd_ssthresh == 0xffffffff);
}

TEST_CASE("neither a change of the window nor a report tells that both copies have arrived",
          "[conformance][8985-15]") {
  Probed sending;
  SECTION("a window") {
    sending.tell(3);
    sending.peer.options.window = 60'000;
    sending.tell(3);
    sending.write(1);
  }
  SECTION("a report") {
    sending.write(3);
    sending.tell(3);
    sending.tell(3, {5, 6});
  }
  sending.sent();
  sending.tell(4);
  CHECK(sending.reduced());
}

TEST_CASE("a probe that did not leave before the time-out does not leave after it",
          "[conformance][8985-16]") {
  Sending sending;
  sending.write(2);
  sending.sent();
  sending.host.stack.device().set_status(DeviceStatus::would_block);
  sending.until(202ms);
  REQUIRE(sending.stats().tail_probes == 1);
  sending.until(600ms);
  REQUIRE(sending.stats().timeouts == 1);
  sending.host.stack.device().set_status(DeviceStatus::ok);
  sending.host.turn();
  CHECK(sending.sent() == Segments{0});
}

TEST_CASE("one timer runs at a time", "[conformance][8985-16]") {
  SECTION("reordering before probe and time-out") {
    Sending sending;
    sending.write(3);
    sending.until(10ms);
    sending.write(3);
    sending.sent();
    sending.until(110ms);
    sending.tell(0, {3, 4});  // the probe was due at 212 ms, the time-out at 300 ms
    sending.until(125ms);
    CHECK(sending.sent() == Segments{0});
    sending.until(300ms - 1ns);
    CHECK(sending.sent().empty());
    CHECK(sending.stats().tail_probes + sending.stats().timeouts == 0);
    sending.until(300ms);
    CHECK(sending.stats().timeouts == 1);
  }
  SECTION("persisting alone") {
    Sending sending;
    sending.write(2);
    sending.sent();
    sending.until(100ms);
    sending.peer.options.window = 0;
    sending.tell(2);
    sending.write(2);
    sending.until(20s);
    CHECK(sending.stats().zero_window_probes > 0);
    CHECK(sending.stats().tail_probes + sending.stats().timeouts == 0);
  }
}
