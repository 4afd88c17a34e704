// SPDX-License-Identifier: BSL-1.0

// Forward RTO-recovery: a time-out that was spurious is undone (RFC 5682). Six segments of thirty
// are in flight when the time-out comes, a second after they left; there are no timestamps that
// would tell it sooner.
#include "../support/sending.hpp"

#include <algorithm>

using namespace tunic;
using namespace tunic::test;

namespace {

using Segments = Sending::Segments;
using Block = Sending::Block;

StackConfig six_segments() {
  StackConfig config = with_initial_window(6);
  config.tcp.black_hole_detection = false;  // or a second time-out sends a copy too
  return config;
}

struct TimedOut : Sending {
  explicit TimedOut(std::uint16_t window = 20'000) : Sending{{.window = window}, six_segments()} {
    write(30);
    REQUIRE(sent() == Segments{0, 1, 2, 3, 4, 5});
    until(1s);
    REQUIRE(stats().timeouts == 1);
    REQUIRE(sent() == Segments{0});
    REQUIRE(cwnd() == 1);
    REQUIRE(ssthresh() == 3);
  }
  [[nodiscard]] bool undone() {
    return cwnd() >= 6 && info().snd_ssthresh == 0xffffffff && stats().spurious_timeouts == 1;
  }
};

/// With SACK a tail loss probe comes before the time-out.
struct TimedOutWithSack : Sending {
  double cwnd_before = 0;

  TimedOutWithSack() : Sending{{.window = 6000, .sack = true}, patient()} {
    write(30);
    sent();
    cwnd_before = cwnd();
    until(202ms);
    REQUIRE(sent() == Segments{5});
    until(1202ms);
    REQUIRE(stats().timeouts == 1);
    REQUIRE(sent() == Segments{0});
    REQUIRE(ssthresh() == 3);
    peer.options.window = 20'000;
  }
  [[nodiscard]] bool undone() {
    return cwnd() >= cwnd_before && info().snd_ssthresh == 0xffffffff &&
           stats().spurious_timeouts == 1;
  }
};

// The probe's segment aside, which had been sent again before.
bool without_resends(const Segments& segments) {
  return std::all_of(segments.begin(), segments.end(), [](auto number) { return number >= 5; });
}

}  // namespace

TEST_CASE("a time-out sends the first segment again and waits for two acknowledgements",
          "[conformance][5682-01][5682-02]") {
  TimedOut sending;
  sending.until(1010ms);
  sending.tell(1);  // late, of the first copy
  CHECK(sending.sent() == Segments{6, 7});
}

TEST_CASE("a second time-out is not examined", "[conformance][5682-01]") {
  TimedOut sending;
  sending.until(3s);
  REQUIRE(sending.stats().timeouts == 2);
  REQUIRE(sending.sent() == Segments{0});
  sending.tell(1);
  CHECK(sending.sent() == Segments{1, 2});
  sending.tell(2);
  CHECK(sending.stats().spurious_timeouts == 0);
}

TEST_CASE("nor is one in the recovery of a loss that was found out before",
          "[conformance][5682-01]") {
  Sending sending{{.window = 6000}, patient()};
  sending.write(30);
  sending.sent();
  sending.until(100ms);
  for (int i = 0; i < 3; ++i) sending.tell(0);
  REQUIRE(sending.sent() == Segments{0});
  sending.until(1s);
  REQUIRE(sending.stats().timeouts == 1);
  REQUIRE(sending.sent() == Segments{0});
  sending.peer.options.window = 20'000;
  sending.tell(1);
  CHECK(sending.sent() == Segments{1, 2});
  sending.tell(2);
  CHECK(sending.stats().spurious_timeouts == 0);
}

TEST_CASE("without new data, or room for it, what is lost is sent again",
          "[conformance][5682-02]") {
  TimedOut sending{6000};
  sending.peer.options.window = 5000;  // its edge stays
  sending.tell(1);
  CHECK(sending.sent() == Segments{1, 2});
  sending.tell(2);
  CHECK(sending.stats().spurious_timeouts == 0);
}

TEST_CASE("an acknowledgement of a part of the first segment is no proof",
          "[conformance][5682-02]") {
  TimedOut sending;
  sending.host.inject(sending.ack(0).ack(sending.at(0) + 500));
  sending.host.inject(sending.ack(1));
  CHECK(sending.stats().spurious_timeouts == 0);
}

TEST_CASE("an acknowledgement of all is no proof", "[conformance][5682-02]") {
  TimedOut sending;
  sending.tell(6);
  CHECK(sending.stats().spurious_timeouts == 0);
  CHECK(sending.ssthresh() == 3);
}

TEST_CASE("a second acknowledgement that advances shows that the time-out was spurious",
          "[conformance][5682-03]") {
  TimedOut sending;
  sending.until(1010ms);
  sending.tell(1);
  REQUIRE(sending.sent() == Segments{6, 7});
  sending.until(1020ms);
  sending.tell(2);
  CHECK(sending.undone());
  CHECK(sending.info().lost == 0);
  CHECK(sending.in_flight() + static_cast<double>(sending.sent().size()) >= 6);
  sending.until(1030ms);
  for (std::uint32_t number = 3; number <= 6; ++number) {
    sending.tell(number);
    CHECK(without_resends(sending.sent()));
  }
  CHECK(sending.stats().retransmissions == 1);
}

TEST_CASE("a duplicate means a loss", "[conformance][5682-03]") {
  TimedOut sending;
  SECTION("as the first") {
    sending.tell(0);
    sending.tell(1);
    CHECK(sending.sent() == Segments{1, 2});
  }
  SECTION("as the second") {
    sending.tell(1);
    REQUIRE(sending.sent() == Segments{6, 7});
    sending.tell(1);
    const auto again = sending.sent();
    REQUIRE_FALSE(again.empty());
    CHECK(again[0] == 1);
    CHECK(sending.cwnd() <= 3);
  }
  sending.tell(2);
  CHECK(sending.stats().spurious_timeouts == 0);
  CHECK(sending.ssthresh() == 3);
}

TEST_CASE("with SACK the arrival of what was sent once shows it", "[conformance][5682-04]") {
  TimedOutWithSack sending;
  sending.until(1210ms);
  SECTION("in order") {
    sending.tell(1);
    CHECK(without_resends(sending.sent()));
    sending.tell(2);
  }
  SECTION("out of order") {
    sending.tell(1);
    CHECK(without_resends(sending.sent()));
    sending.tell(1, {2, 3});
  }
  CHECK(sending.undone());
  CHECK(without_resends(sending.sent()));
}

TEST_CASE("with SACK the arrival of what was sent again or later shows nothing",
          "[conformance][5682-04]") {
  TimedOutWithSack sending;
  sending.until(1302ms);
  sending.tell(1);
  const auto fresh = sending.sent();
  REQUIRE(fresh == Segments{6, 7});
  sending.until(1402ms);
  SECTION("sent again") { sending.tell(1, {5, 6}); }
  SECTION("sent later") { sending.tell(1, {6, 7}); }
  CHECK(sending.stats().spurious_timeouts == 0);
  const auto again = sending.sent();
  REQUIRE_FALSE(again.empty());
  CHECK(again[0] == 1);
  CHECK(sending.ssthresh() == 3);
}
