// SPDX-License-Identifier: BSL-1.0

// RACK: what is lost, and when that is seen (RFC 8985 3 to 6). The round trip takes 100 ms, so the
// reordering window is 25 ms. Tail loss probes are in rfc8985_tlp.cpp.
#include "../support/sending.hpp"

using namespace tunic;
using namespace tunic::test;

namespace {

using Segments = Sending::Segments;
using Block = Sending::Block;

/// The path is known, and `count` segments have left at the start.
struct Known : Sending {
  explicit Known(std::uint32_t count, PeerOptions options = {.sack = true}) : Sending{options} {
    exchange();
    write(count);
    REQUIRE(sent().size() == count);
  }
};

/// The path was seen to reorder.
struct Reordering : Sending {
  Reordering() {
    exchange();
    write(2);
    sent();
    until(100ms);
    tell(0, {1, 2});
    tell(2);
    REQUIRE(info().reord_seen);
    REQUIRE(sent().empty());
    first += 2 * unit;
    begin = host.clock.now();
  }
};

}  // namespace

TEST_CASE("without SACK duplicates count, not time", "[conformance][8985-01]") {
  Sending sending{{}};
  sending.exchange();
  sending.write(5);
  sending.sent();
  sending.until(100ms);
  sending.tell(0);
  sending.tell(0);
  sending.until(190ms);
  CHECK(sending.sent().empty());
  sending.tell(0);
  CHECK(sending.sent() == Segments{0});
}

TEST_CASE("segments are told apart that leave within a quarter of the round trip",
          "[conformance][8985-01]") {
  Sending sending{{.sack = true}, host_config(), 1ms};
  sending.exchange(1, 1ms);
  for (int i = 0; i < 3; ++i) {
    sending.write(1);
    sending.until((i + 1) * 100us);
  }
  sending.sent();
  sending.until(1200us);
  sending.tell(0, {2, 3});  // it took 1 ms
  sending.until(1249us);
  CHECK(sending.sent().empty());
  sending.until(1250us);
  CHECK(sending.sent() == Segments{0});
  sending.until(1349us);
  CHECK(sending.sent().empty());
  CHECK(sending.info().lost == 0);
  sending.until(1350us);
  CHECK(sending.info().total_lost == 2);
}

TEST_CASE(
    "a segment is lost when a later one came, a round trip and the reordering window after "
    "it left",
    "[conformance][8985-02]") {
  Sending sending;
  sending.exchange();
  for (int i = 0; i < 4; ++i) {
    sending.write(1);
    sending.until((i + 1) * 10ms);
  }
  sending.sent();
  sending.until(120ms);
  sending.tell(0, {2, 3});  // it left at 20 ms
  sending.until(125ms - 1ns);
  CHECK(sending.sent().empty());
  sending.until(125ms);
  CHECK(sending.sent() == Segments{0});
  sending.until(135ms);
  CHECK(sending.sent() == Segments{1});
  sending.until(240ms);
  CHECK(sending.sent().empty());  // nothing later than the last has come
  CHECK(sending.stats().timeouts == 0);
}

TEST_CASE("also in the first flight, when only the handshake was measured",
          "[conformance][8985-02][8985-05]") {
  Sending sending;
  sending.write(4);
  sending.sent();
  sending.until(100ms);
  sending.tell(0, {1, 2});
  CHECK(sending.sent().empty());
  sending.until(125ms - 1ns);
  CHECK(sending.sent().empty());
  sending.until(125ms);
  CHECK(sending.sent() == Segments{0});
}

TEST_CASE("what may be the delivery of the first copy says nothing of the second",
          "[conformance][8985-03]") {
  const bool stamped = GENERATE(false, true);
  CAPTURE(stamped);
  Known sending{
      5, {.sack = true, .timestamp = stamped ? std::optional<std::uint32_t>{1} : std::nullopt}};
  const std::uint32_t first_echo = sending.peer.tsecr;
  sending.until(90ms);
  sending.write(1);
  sending.until(100ms);
  sending.sent();
  sending.peer.tsecr = first_echo;
  sending.tell(0, {1, 4});
  REQUIRE(sending.sent() == Segments{0});
  sending.peer.tsecr = first_echo;
  // Sooner than a round trip, or with the echo of the first copy. Taken for the second copy's it
  // would have that of 90 ms look lost.
  sending.until(stamped ? 210ms : 150ms);
  sending.tell(5);
  CHECK(sending.sent().empty());
  sending.until(250ms);
  CHECK(sending.sent().empty());
  CHECK(sending.info().total_lost == 1);
}

TEST_CASE("the delivery of the second copy counts", "[conformance][8985-03]") {
  Known sending{5};
  sending.until(90ms);
  sending.write(1);
  sending.until(100ms);
  sending.sent();
  sending.tell(0, {1, 4});
  REQUIRE(sending.sent() == Segments{0});
  sending.until(200ms);
  sending.tell(5);
  CHECK(sending.sent() == Segments{5});
}

TEST_CASE("reordering is seen when a segment, sent once, comes below the highest reported",
          "[conformance][8985-04]") {
  Known sending{4};
  sending.until(100ms);
  SECTION("in order") {
    sending.tell(1);
    sending.tell(4);
    CHECK_FALSE(sending.info().reord_seen);
  }
  SECTION("by a block") {
    sending.tell(0, {2, 3});
    CHECK_FALSE(sending.info().reord_seen);
    sending.tell(0, {1, 3});
    CHECK(sending.info().reord_seen);
  }
  SECTION("by the acknowledgement") {
    sending.tell(0, {2, 3});
    sending.tell(3);
    CHECK(sending.info().reord_seen);
  }
  SECTION("blocks of one option are in no order") {
    sending.tell(0, {3, 4}, {1, 2});
    CHECK_FALSE(sending.info().reord_seen);
  }
  SECTION("one that was sent again does not count") {
    sending.tell(0, {1, 4});
    REQUIRE(sending.sent() == Segments{0});
    sending.until(200ms);
    sending.tell(4);
    CHECK_FALSE(sending.info().reord_seen);
  }
}

TEST_CASE("while no reordering was seen, three reports or a recovery leave no window",
          "[conformance][8985-05]") {
  Known sending{8};
  sending.until(100ms);
  sending.tell(0, {1, 2});
  sending.tell(0, {1, 3});
  CHECK(sending.sent().empty());
  SECTION("three") {
    sending.tell(0, {1, 4});
    CHECK(sending.sent() == Segments{0});
    SECTION("in recovery") {
      sending.tell(0, {5, 6}, {1, 4});
      CHECK(sending.info().total_lost == 2);
    }
  }
  SECTION("two") {
    sending.until(124ms);
    CHECK(sending.sent().empty());
    sending.until(125ms);
    CHECK(sending.sent() == Segments{0});
  }
}

TEST_CASE("each round with a duplicate adds a quarter of the shortest round trip, to SRTT at most",
          "[conformance][8985-05][8985-06]") {
  Reordering sending;
  const auto duplicate = [&] {  // in a round of its own
    sending.write(2);
    sending.sent();
    sending.until(100ms);
    sending.tell(1, {0, 1});
    sending.tell(1, {0, 1});  // once a round
    sending.tell(2);
    sending.first += 2 * sending.unit;
    sending.begin = sending.host.clock.now();
  };
  const int rounds = GENERATE(0, 1, 2, 3, 4);
  CAPTURE(rounds);
  for (int i = 0; i < rounds; ++i) duplicate();
  CHECK(sending.info().reordering_steps == 1 + rounds);
  sending.write(4);
  sending.sent();
  sending.until(100ms);
  sending.tell(0, {1, 4});
  const Duration window = std::min<Duration>((1 + rounds) * 25ms, 100ms);
  sending.until(100ms + window - 1ns);
  CHECK(sending.sent().empty());
  sending.until(100ms + window);
  CHECK(sending.sent() == Segments{0});
}

TEST_CASE("after sixteen recoveries without a duplicate the window is as at first",
          "[conformance][8985-06]") {
  Sending sending{{.sack = true}, patient()};
  sending.exchange();
  sending.write(1);
  sending.sent();
  sending.until(100ms);
  sending.tell(1, {0, 1});
  sending.first += sending.unit;
  for (int i = 0; i < 16; ++i) {
    CAPTURE(i);
    CHECK(sending.info().reordering_steps == 2);
    sending.begin = sending.host.clock.now();
    sending.write(2);
    sending.sent();
    sending.until(100ms);
    sending.tell(0, {1, 2});
    sending.until(150ms);
    REQUIRE(sending.info().in_recovery);
    sending.until(250ms);
    sending.tell(2);
    REQUIRE_FALSE(sending.info().in_recovery);
    sending.sent();
    sending.first += 2 * sending.unit;
  }
  CHECK(sending.info().reordering_steps == 1);
}

TEST_CASE("a timer judges when no more acknowledgements come", "[conformance][8985-07]") {
  Known sending{3};
  sending.until(100ms);
  sending.tell(0, {1, 2});
  CHECK(sending.host.stack.next_deadline() == sending.begin + 125ms);
  sending.until(125ms);
  CHECK(sending.sent() == Segments{0});
  CHECK(sending.info().in_recovery);
}

TEST_CASE("a retransmission that is lost is sent again without a time-out",
          "[conformance][8985-08]") {
  Known sending{4};
  sending.until(100ms);
  sending.tell(0, {1, 4});
  REQUIRE(sending.sent() == Segments{0});
  sending.until(110ms);
  sending.tell(0, {1, 4});
  sending.write(1);
  REQUIRE(sending.sent() == Segments{4});
  sending.until(210ms);
  sending.tell(0, {1, 5});
  CHECK(sending.sent() == Segments{0});
  CHECK(sending.stats().timeouts == 0);
  CHECK(sending.stats().fast_retransmits == 1);
}

TEST_CASE("a time-out takes for lost what is first, and what left a round trip and the window ago",
          "[conformance][8985-09]") {
  Known sending{3};
  const Duration rto = sending.info().rto;
  const Duration probe = 202ms;
  sending.until(probe);
  REQUIRE(sending.sent() == Segments{2});  // the tail loss probe, from which the time-out runs anew
  sending.until(probe + rto - 50ms);
  sending.write(1);
  REQUIRE(sending.sent() == Segments{3});
  sending.until(probe + rto);
  CHECK(sending.stats().timeouts == 1);
  CHECK(sending.sent() == Segments{0});
  CHECK(sending.info().lost == 2 * sending.unit);  // 1 and 2
  CHECK(sending.in_flight() == 2);                 // 0 again, and 3
}

TEST_CASE("no count of blocks or bytes makes a segment lost", "[conformance][8985-17][6675-01]") {
  // Deviation: 6675-01: RACK judges by time instead (RFC 8985 9.2).
  Reordering sending;
  sending.write(10);
  sending.sent();
  sending.until(100ms);
  sending.tell(0, {1, 2});
  sending.tell(0, {3, 4}, {1, 2});
  sending.tell(0, {5, 10}, {3, 4});
  CHECK(sending.info().total_lost == 0);
  CHECK(sending.sent().empty());
  sending.until(125ms);
  CHECK(sending.info().total_lost == 3);
}

TEST_CASE("what is lost is sent as congestion control allows", "[conformance][8985-17]") {
  Known sending{10};
  sending.until(100ms);
  sending.tell(0, {9, 10});
  sending.until(125ms);
  CHECK(sending.info().total_lost == 9);
  CHECK(sending.sent() == Segments{0});  // one was delivered, one leaves
  sending.until(225ms);
  sending.tell(1, {9, 10});
  CHECK(sending.sent() == Segments{1, 2});
}
