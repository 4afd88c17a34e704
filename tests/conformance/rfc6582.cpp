// SPDX-License-Identifier: BSL-1.0

// Fast retransmit and fast recovery for peers without SACK: RFC 5681 2 and 3.2, RFC 6582. Ten
// segments of thirty are in flight.
#include "../support/sending.hpp"

using namespace tunic;
using namespace tunic::test;

namespace {

using Segments = Sending::Segments;

struct Ten : Sending {
  explicit Ten(std::uint16_t window = 10'000) : Sending{{.window = window}, patient()} {
    write(30);
    REQUIRE(sent() == Segments{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    until(100ms);
  }
  void duplicates(int count) {
    for (int i = 0; i < count; ++i) tell(0);
  }
};

}  // namespace

TEST_CASE("what is a duplicate acknowledgement without SACK", "[conformance][5681-06]") {
  Ten sending;
  sending.duplicates(2);
  REQUIRE(sending.sent().empty());
  SECTION("not one with payload") {
    sending.host.inject(sending.ack(0).payload("data"));
    sending.peer.seq += 4;
  }
  SECTION("not one with a FIN") {
    sending.host.inject(sending.ack(0).fin());
    sending.peer.seq += 1;
  }
  SECTION("not one with a SYN") { sending.host.inject(sending.ack(0).syn()); }
  SECTION("not one with another window") {
    sending.host.inject(sending.ack(0).window(9'999));
    sending.peer.options.window = 9'999;
  }
  SECTION("not an older one") {
    sending.host.inject(sending.peer.segment().ack(sending.at(0) - 1));
  }
  CHECK(sending.sent().empty());
  CHECK_FALSE(sending.info().in_recovery);
  sending.tell(0);
  CHECK(sending.sent() == Segments{0});
}

TEST_CASE("nothing is a duplicate while nothing is outstanding", "[conformance][5681-06]") {
  Sending sending{{}, patient()};
  sending.exchange();
  for (int i = 0; i < 5; ++i) sending.tell(0);
  sending.write(3);
  CHECK(sending.sent() == Segments{0, 1, 2});
  sending.tell(0);
  sending.tell(0);
  CHECK(sending.sent().empty());
  CHECK_FALSE(sending.info().in_recovery);
}

TEST_CASE("an acknowledgement that advances starts the count anew", "[conformance][5681-06]") {
  Ten sending;
  sending.duplicates(2);
  sending.tell(1);
  sending.sent();
  sending.tell(1);
  sending.tell(1);
  CHECK_FALSE(sending.info().in_recovery);
  sending.tell(1);
  CHECK(sending.info().in_recovery);
}

TEST_CASE("the third duplicate sends the first segment again at once", "[conformance][5681-07]") {
  Ten sending;
  sending.duplicates(2);
  CHECK(sending.sent().empty());
  sending.duplicates(1);
  CHECK(sending.sent() == Segments{0});
  CHECK(sending.info().in_recovery);
  CHECK(sending.ssthresh() == 5);
  CHECK(sending.stats().fast_retransmits == 1);
  CHECK(sending.stats().timeouts == 0);
  SECTION("and no further one once more") {
    sending.duplicates(6);
    CHECK(sending.sent().empty());  // the peer's window is full
    CHECK(sending.stats().retransmissions == 1);
  }
}

TEST_CASE("a partial acknowledgement sends the next hole, a full one ends the recovery",
          "[conformance][6582-01]") {
  Ten sending;
  sending.duplicates(7);
  REQUIRE(sending.sent() == Segments{0});
  sending.until(200ms);
  sending.peer.options.window = 7'000;  // ends at 10
  sending.tell(3);
  CHECK(sending.info().in_recovery);
  CHECK(sending.sent() == Segments{3});
  sending.until(300ms);
  sending.peer.options.window = 4'000;
  sending.tell(6);
  CHECK(sending.info().in_recovery);
  CHECK(sending.sent() == Segments{6});
  sending.until(400ms);
  sending.peer.options.window = 20'000;
  sending.tell(10);
  CHECK_FALSE(sending.info().in_recovery);
  CHECK(sending.cwnd() <= 5);
  CHECK(sending.ssthresh() == 5);
  CHECK(sending.stats().fast_retransmits == 1);
  CHECK(sending.sent() == Segments{10, 11, 12, 13, 14});
}

TEST_CASE("the holes of a partial acknowledgement are one loss", "[conformance][6582-01]") {
  Ten sending;
  sending.duplicates(5);
  sending.sent();
  for (std::uint32_t hole = 1; hole < 5; ++hole) {
    CAPTURE(hole);
    sending.until(100ms + hole * 50ms);
    sending.peer.options.window = static_cast<std::uint16_t>(10'000 - hole * 1000);
    sending.tell(hole);
    CHECK(sending.sent() == Segments{hole});
    CHECK(sending.ssthresh() == 5);
  }
  CHECK(sending.stats().timeouts == 0);
}

TEST_CASE("after a time-out duplicates of what was outstanding start no fast retransmit",
          "[conformance][6582-02]") {
  Ten sending;
  sending.until(1s);
  REQUIRE(sending.stats().timeouts == 1);
  REQUIRE(sending.sent() == Segments{0});
  sending.until(1100ms);
  SECTION("while it is repaired") {
    sending.duplicates(5);
    CHECK(sending.sent().empty());
    sending.tell(4);
    sending.sent();
    for (int i = 0; i < 5; ++i) sending.tell(4);
    CHECK(sending.stats().fast_retransmits == 0);
  }
  SECTION("at the recorded point") {
    sending.tell(10);
    REQUIRE(sending.sent().size() >= 1);
    // Echoes of what was sent again for nothing.
    for (int i = 0; i < 3; ++i) sending.tell(10);
    CHECK(sending.stats().fast_retransmits == 0);
  }
  SECTION("above it they do") {
    sending.tell(10);
    sending.sent();
    sending.until(1200ms);
    sending.tell(11);
    sending.sent();
    for (int i = 0; i < 3; ++i) sending.tell(11);
    CHECK(sending.stats().fast_retransmits == 1);
    CHECK(sending.sent().back() == 11);
  }
}
