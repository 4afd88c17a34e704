// SPDX-License-Identifier: BSL-1.0

// Recovery with selective acknowledgements: what of RFC 6675 RACK leaves in force, limited transmit
// (RFC 3042), and what the sender makes of duplicate reports (RFC 2883). Ten segments of thirty are
// in flight.
#include "../support/sending.hpp"

#include <optional>

using namespace tunic;
using namespace tunic::test;

namespace {

using Segments = Sending::Segments;
using Block = Sending::Block;

struct Ten : Sending {
  explicit Ten(std::uint16_t window = 60'000, bool sack = true, std::uint32_t written = 30)
      : Sending{{.window = window, .sack = sack}, patient()} {
    write(written);
    REQUIRE(sent() == Segments{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    until(100ms);
  }
};

}  // namespace

TEST_CASE("a duplicate report is recognised and is no news", "[conformance][2883-04]") {
  Ten sending;
  SECTION("below the acknowledgement") {
    sending.tell(2, {0, 1});
    CHECK(sending.info().dsack_dups == 1);
    CHECK(sending.info().sacked == 0);
  }
  SECTION("at its edge") {
    sending.tell(2, {1, 2});
    CHECK(sending.info().dsack_dups == 1);
  }
  SECTION("within the second block") {
    sending.tell(1, {4, 5}, {3, 6});
    CHECK(sending.info().dsack_dups == 1);
    CHECK(sending.info().sacked == 3 * sending.unit);
  }
  SECTION("others are none") {
    sending.tell(1, {4, 5}, {2, 3});
    sending.tell(1, {4, 6}, {2, 3});
    CHECK(sending.info().dsack_dups == 0);
    CHECK(sending.info().sacked == 3 * sending.unit);
  }
  SECTION("beside news") {
    sending.tell(2, {0, 1}, {4, 5});
    CHECK(sending.info().dsack_dups == 1);
    CHECK(sending.info().sacked == sending.unit);
  }
  SECTION("alone it is no sign of loss") {
    sending.peer.options.window = 0;  // nothing new may leave
    sending.tell(2, {0, 1});
    sending.sent();
    for (int i = 0; i < 10; ++i) sending.tell(2, {0, 1});
    CHECK(sending.sent().empty());
    CHECK_FALSE(sending.info().in_recovery);
    CHECK(sending.in_flight() == 8);
  }
}

TEST_CASE("the pipe holds what is not reported and not lost, and what was sent again",
          "[conformance][6675-02]") {
  Ten sending{10'000};
  sending.tell(0, {8, 9});
  CHECK(sending.in_flight() == 9);
  sending.until(125ms);  // 0 to 7 are lost, 9 is not
  CHECK(sending.sent() == Segments{0});
  CHECK(sending.in_flight() == 2);
  CHECK(sending.info().lost == 7 * sending.unit);
  sending.until(225ms);
  sending.tell(1, {8, 9});
  REQUIRE(sending.sent() == Segments{1});
  CHECK(sending.in_flight() == 1);  // 9 left before what came now: it is lost
  CHECK(sending.info().lost == 7 * sending.unit);
  sending.tell(1, {2, 3}, {8, 9});  // a lost one is reported after all
  CHECK(sending.info().sacked == 2 * sending.unit);
  CHECK(sending.info().lost + sending.info().in_flight == 7 * sending.unit);
}

TEST_CASE("lost holes are sent first, then new data, and nothing that is not lost",
          "[conformance][6675-03]") {
  // Deviation: 6675-03: what is not lost is not sent again in a recovery (rules 3 and 4): RACK's
  // timer and the time-out judge it (RFC 8985 9.2).
  Ten sending;
  sending.tell(0, {1, 4}, {5, 8});  // 0 and 4 are lost; 8 and 9 are in flight
  CHECK(sending.sent() == Segments{0, 4, 10});
  sending.tell(0, {1, 4}, {5, 9});
  CHECK(sending.sent() == Segments{11});
  SECTION("also without new data") {
    Ten last{60'000, true, 10};
    last.tell(0, {1, 4}, {5, 8});
    CHECK(last.sent() == Segments{0, 4});
    last.tell(0, {1, 4}, {5, 9});
    last.until(190ms);
    CHECK(last.sent().empty());
  }
}

TEST_CASE("with SACK an acknowledgement that repeats itself is no duplicate",
          "[conformance][6675-04][3042-02]") {
  Ten sending;
  SECTION("without blocks") {
    for (int i = 0; i < 10; ++i) sending.tell(0);
    CHECK(sending.in_flight() == 10);
  }
  SECTION("with blocks that are known") {
    sending.tell(0, {1, 2});
    CHECK(sending.sent() == Segments{10});
    for (int i = 0; i < 10; ++i) sending.tell(0, {1, 2});
    CHECK(sending.in_flight() == 10);
  }
  CHECK(sending.sent().empty());
  CHECK_FALSE(sending.info().in_recovery);
}

TEST_CASE("news in a block count whatever else the acknowledgement has", "[conformance][6675-04]") {
  Ten sending;
  sending.host.inject(sending.ack(0, {1, 4}).window(50'000).payload("data"));
  sending.host.advance(1ms);
  CHECK(sending.info().in_recovery);
}

TEST_CASE("a recovery begins with half of FlightSize, and ends where it began",
          "[conformance][6675-05]") {
  SECTION("half of what is not acknowledged, reported or not") {
    Ten sending{10'000};
    const bool slowly = GENERATE(false, true);
    if (slowly) {
      sending.tell(0, {1, 2});
      sending.tell(0, {1, 3});
    }
    sending.tell(0, {1, 4});
    CHECK(sending.ssthresh() == 5);
  }
  SECTION("what limited transmit has sent does not count") {
    Ten sending;
    sending.tell(0, {1, 2});
    sending.tell(0, {1, 3});
    REQUIRE(sending.sent() == Segments{10, 11});
    sending.tell(0, {1, 4});
    CHECK(sending.ssthresh() == 5);
  }
  SECTION("never below two segments") {
    Sending sending;
    sending.write(2);
    sending.until(100ms);
    sending.tell(0, {1, 2});
    sending.until(125ms);
    CHECK(sending.info().in_recovery);
    CHECK(sending.ssthresh() == 2);
  }
  SECTION("up to SND.NXT at the beginning") {
    Ten sending;
    sending.tell(0, {1, 4});
    sending.tell(0, {1, 7});
    const auto more = sending.sent();
    REQUIRE(more.back() >= 10);
    sending.until(200ms);
    sending.tell(9);
    CHECK(sending.info().in_recovery);
    CHECK(sending.ssthresh() == 5);
    sending.tell(10);
    CHECK_FALSE(sending.info().in_recovery);
    CHECK(sending.cwnd() == 5);
  }
}

TEST_CASE("after a time-out no recovery begins below the point where it came, and reports are used",
          "[conformance][6675-06]") {
  Ten sending{10'000};
  sending.tell(0, {8, 9});
  sending.until(125ms);
  REQUIRE(sending.sent() == Segments{0});
  sending.until(1s);
  REQUIRE(sending.stats().timeouts == 1);
  REQUIRE(sending.sent() == Segments{0});
  const double ssthresh = sending.ssthresh();
  const auto recoveries = sending.stats().fast_retransmits;
  sending.until(1100ms);
  sending.tell(1, {8, 9});
  CHECK(sending.sent() == Segments{1, 2});
  sending.until(1200ms);
  sending.tell(1, {2, 3}, {8, 9});  // 1 is lost once more
  CHECK_FALSE(sending.info().in_recovery);
  Segments again = sending.sent();
  REQUIRE(again.front() == 1);
  while (again.back() < 7) {  // all that was sent again arrives
    sending.host.advance(100ms);
    sending.tell(again.back() + 1, {8, 9});
    const auto more = sending.sent();
    REQUIRE_FALSE(more.empty());
    again.insert(again.end(), more.begin(), more.end());
  }
  again.resize(7);
  CHECK(again == Segments{1, 3, 4, 5, 6, 7, 9});  // not 2 and 8, which were reported
  CHECK(sending.stats().fast_retransmits == recoveries);
  CHECK(sending.ssthresh() == ssthresh);
  SECTION("above it one may begin") {
    sending.host.advance(100ms);
    sending.tell(12);
    REQUIRE(sending.sent().size() >= 3);
    sending.host.advance(100ms);
    sending.tell(12, {13, 15});
    sending.host.advance(30ms);
    CHECK(sending.info().in_recovery);
  }
}

TEST_CASE("the first two duplicates release a new segment each", "[conformance][3042-01]") {
  const bool sack = GENERATE(true, false);
  CAPTURE(sack);
  Ten sending{60'000, sack};
  const double cwnd = sending.cwnd();
  const auto duplicate = [&](std::uint32_t number) {
    sack ? sending.tell(0, {1, number + 1}) : sending.tell(0);
  };
  duplicate(1);
  CHECK(sending.sent() == Segments{10});
  duplicate(2);
  CHECK(sending.sent() == Segments{11});
  CHECK(sending.cwnd() == cwnd);
  duplicate(3);
  const auto third = sending.sent();
  REQUIRE_FALSE(third.empty());
  CHECK(third[0] == 0);
  CHECK(sending.info().in_recovery);
}

TEST_CASE("limited transmit keeps within the peer's window", "[conformance][3042-01]") {
  const bool sack = GENERATE(true, false);
  Ten sending{10'500, sack};
  sack ? sending.tell(0, {1, 2}) : sending.tell(0);
  CHECK(sending.sent().empty());
}

TEST_CASE("few segments in flight make no early retransmit", "[conformance][5827-01]") {
  SECTION("RACK takes its time") {
    Sending sending;
    sending.write(3);
    sending.sent();
    sending.until(100ms);
    sending.tell(0, {1, 3});
    sending.until(125ms - 1ns);
    CHECK(sending.sent().empty());
    sending.until(125ms);
    CHECK(sending.sent() == Segments{0});
  }
  SECTION("without SACK three duplicates are needed") {
    Sending sending{{}, patient()};
    sending.write(3);
    sending.sent();
    sending.until(100ms);
    sending.tell(0);
    sending.tell(0);
    sending.until(900ms);
    CHECK(sending.sent().empty());
  }
}
