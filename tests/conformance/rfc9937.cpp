// SPDX-License-Identifier: BSL-1.0

// Proportional rate reduction: RFC 9937. Ten segments are in flight and the window is halved, so
// ssthresh is five. The numbers are those of the RFC's formulas.
#include "../support/sending.hpp"

#include <algorithm>

using namespace tunic;
using namespace tunic::test;

namespace {

using Segments = Sending::Segments;
using Block = Sending::Block;

/// Ten segments of thirty are in flight, and no more fit the peer's window before `open()`.
struct Ten : Sending {
  explicit Ten(bool sack = true) : Sending{{.window = 10'000, .sack = sack}, patient()} {
    write(30);
    REQUIRE(sent().size() == 10);
    until(100ms);
  }
  void open() { peer.options.window = 60'000; }
};

/// Forty are in flight, and ssthresh will be twenty.
struct Forty : Sending {
  Forty() : Sending{{.sack = true}, wide()} {
    write(100);
    REQUIRE(sent().size() == 40);
    until(100ms);
  }
  static StackConfig wide() {
    StackConfig config = patient();
    config.tcp.initial_window = 40;
    return config;
  }
};

}  // namespace

TEST_CASE("RecoverFS is what no acknowledgement had covered before that which began the recovery",
          "[conformance][9937-01]") {
  Ten sending;
  SECTION("two were reported before") {
    sending.tell(0, {1, 2});
    sending.tell(0, {1, 3});
    sending.tell(0, {1, 4});
    REQUIRE(sending.sent() == Segments{0});
    REQUIRE(sending.ssthresh() == 5);
    // RecoverFS is 8. Two delivered: ceil(2000 * 5 / 8) - 1000 beyond the six in flight less one.
    sending.tell(0, {1, 5});
    CHECK(sending.in_flight() == 6);
    CHECK(sending.info().snd_cwnd == 6000 + 250);
  }
  SECTION("all at once") {
    sending.tell(0, {1, 4});
    REQUIRE(sending.sent() == Segments{0});
    sending.tell(0, {1, 5});  // RecoverFS is 10: four delivered
    CHECK(sending.info().snd_cwnd == 6000 + 1000);
  }
}

TEST_CASE("RecoverFS holds what the acknowledgement that begins the recovery acknowledges",
          "[conformance][9937-01]") {
  Forty sending;
  sending.tell(2, {3, 6});  // five of forty: two and a half of twenty may leave
  CHECK(sending.sent() == Segments{2, 40});
  CHECK(sending.ssthresh() == 20);
  CHECK(sending.in_flight() == 36);
  CHECK(sending.info().snd_cwnd == 36'000 + 500);
}

TEST_CASE("above ssthresh one leaves for every two that arrive", "[conformance][9937-02]") {
  Forty sending;
  sending.tell(0, {1, 4});
  CHECK(sending.ssthresh() == 20);
  std::size_t sent = sending.sent().size();
  CHECK(sent == 1);
  for (std::uint32_t reported = 4; reported <= 18; ++reported) {
    CAPTURE(reported);
    sending.tell(0, {1, reported + 1});
    sent += sending.sent().size();
    const std::uint32_t expected = (reported * 1000 * 20 + 39) / 40;  // in bytes, of which
    CHECK(sent == expected / 1000);                                   // whole segments leave
    CHECK(sending.info().snd_cwnd == sending.info().in_flight + expected % 1000);
  }
}

TEST_CASE("below ssthresh as much leaves as has arrived, and one more when all is safe",
          "[conformance][9937-03]") {
  Ten sending;
  sending.tell(0, {7, 10});
  CHECK(sending.info().total_lost == 7);
  CHECK(sending.ssthresh() == 5);
  CHECK(sending.sent() == Segments{0, 1, 2});  // three have arrived
  sending.until(200ms);
  SECTION("the acknowledgement advances: one more, up to ssthresh") {
    sending.tell(1, {7, 10});
    CHECK(sending.sent() == Segments{3, 4});
    sending.tell(2, {7, 10});
    CHECK(sending.sent() == Segments{5, 6});
    CHECK(sending.in_flight() == 5);
    sending.open();
    sending.tell(3, {7, 10});
    CHECK(sending.sent() == Segments{10});
    CHECK(sending.cwnd() == 5);
  }
  SECTION("it does not advance, and tells of a further loss") {
    sending.tell(0, {1, 2}, {7, 10});
    CHECK(sending.info().total_lost == 8);  // 0 once more
    CHECK(sending.sent() == Segments{0});
  }
}

TEST_CASE("an acknowledgement that advances and tells of a further loss is not safe",
          "[conformance][9937-03]") {
  Ten sending;
  sending.tell(0, {7, 10});
  REQUIRE(sending.sent() == Segments{0, 1, 2});
  sending.until(200ms);
  sending.tell(1, {2, 3}, {7, 10});  // 2 came, which left after 1: 1 is lost once more
  CHECK(sending.info().total_lost == 8);
  CHECK(sending.sent() == Segments{1, 3});  // two arrived, two leave
}

TEST_CASE("an acknowledgement that delivers nothing changes nothing", "[conformance][9937-03]") {
  Ten sending;
  sending.tell(0, {7, 10});
  sending.until(200ms);
  sending.tell(1, {7, 10});
  sending.tell(2, {7, 10});
  REQUIRE(sending.sent() == Segments{0, 1, 2, 3, 4, 5, 6});
  sending.peer.options.window = 7000;  // no room for more
  sending.tell(3, {7, 10});
  REQUIRE(sending.in_flight() == 4);
  REQUIRE(sending.cwnd() == 5);
  sending.tell(3, {7, 10});
  CHECK(sending.cwnd() == 5);
  sending.open();
  sending.tell(3, {7, 10});
  CHECK(sending.sent() == Segments{10});
}

TEST_CASE("a retransmission leaves at once, whatever is in flight", "[conformance][9937-04]") {
  Ten sending;
  SECTION("as much as ssthresh: SndCnt would be none") {
    sending.tell(0, {1, 5});
    CHECK(sending.sent() == Segments{0});
    CHECK(sending.in_flight() == 6);
  }
  SECTION("more than ssthresh: SndCnt would be less than a segment") {
    sending.tell(0, {1, 2});
    sending.tell(0, {1, 3});
    sending.tell(0, {1, 4});
    CHECK(sending.sent() == Segments{0});
  }
  SECTION("found out by the timer") {
    sending.tell(0, {1, 2});
    sending.until(130ms);
    CHECK(sending.sent() == Segments{0});
  }
}

TEST_CASE("in flight is what is neither acknowledged, reported nor lost, and what was sent again",
          "[conformance][9937-05]") {
  Ten sending;
  CHECK(sending.in_flight() == 10);
  sending.tell(0, {5, 6}, {8, 10});  // 0 to 4, 6 and 7 are lost
  CHECK(sending.info().lost + sending.info().in_flight == 7 * sending.unit);
  const auto again = sending.sent();
  CHECK(again == Segments{0, 1, 2});
  CHECK(sending.in_flight() == 3);
  CHECK(sending.info().sacked == 3 * sending.unit);
}

TEST_CASE("without SACK duplicates are worth a segment each, RecoverFS in all",
          "[conformance][9937-05]") {
  Ten sending{false};
  sending.tell(0);
  sending.tell(0);
  CHECK(sending.in_flight() == 8);
  sending.tell(0);
  REQUIRE(sending.sent() == Segments{0});
  CHECK(sending.in_flight() == 7);  // ten less three, less the lost one, and that again
  std::size_t sent = 1;
  for (int i = 0; i < 100; ++i) sending.tell(0);
  CHECK(sending.info().in_flight <= sending.ssthresh() * sending.unit);
  sending.open();
  for (int i = 0; i < 100; ++i) {
    sending.tell(0);
    sent += sending.sent().size();
    CHECK(sending.in_flight() <= 5);
  }
  CHECK(sent > 5);
  CHECK(sent <= 10);
}

TEST_CASE("a recovery ends with a window of ssthresh", "[conformance][9937-06]") {
  const bool sack = GENERATE(true, false);
  CAPTURE(sack);
  Ten sending{sack};
  if (sack) {
    sending.tell(0, {1, 10});
  } else {
    for (int i = 0; i < 9; ++i) sending.tell(0);
  }
  CHECK(sending.sent() == Segments{0});
  CHECK(sending.info().in_recovery);
  sending.until(200ms);
  sending.open();
  sending.tell(10);
  CHECK_FALSE(sending.info().in_recovery);
  CHECK(sending.cwnd() == 5);
  CHECK(sending.ssthresh() == 5);
  CHECK(sending.sent() == Segments{10, 11, 12, 13, 14});
}
