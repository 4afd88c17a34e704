// SPDX-License-Identifier: BSL-1.0

// Recoveries that turn out to have been for nothing: what proves it, and what is then restored.
// Spurious time-outs by F-RTO are in tests/conformance/rfc5682.cpp.
#include "../support/sending.hpp"

using namespace tunic;
using namespace tunic::test;

namespace {

using Segments = Sending::Segments;

/// Ten segments are in flight and 0 was sent again; it was late, not lost.
struct Reduced : Sending {
  std::uint32_t first_echo = 0;

  explicit Reduced(bool stamped)
      : Sending{{.window = 10'000,
                 .sack = true,
                 .timestamp = stamped ? std::optional{1U} : std::nullopt},
                patient()} {
    write(30);
    sent();
    first_echo = peer.tsecr;
    until(100ms);
    tell(0, {1, 4});
    REQUIRE(sent() == Segments{0});
    REQUIRE(ssthresh() == 5);
  }
  [[nodiscard]] bool undone() {
    return cwnd() >= 10 && info().snd_ssthresh == 0xffffffff && !info().in_recovery &&
           stats().spurious_recoveries == 1;
  }
};

}  // namespace

TEST_CASE("an echo of the first copy undoes a recovery", "[tcp][undo][rfc3522]") {
  Reduced sending{true};
  const std::uint32_t second_echo = sending.peer.tsecr;
  sending.until(110ms);
  SECTION("of the first") {
    sending.peer.tsecr = sending.first_echo;
    sending.tell(4);
    CHECK(sending.undone());
    CHECK(sending.info().lost == 0);
  }
  SECTION("of the second copy it does not") {
    sending.peer.tsecr = second_echo;
    sending.tell(4);
    CHECK_FALSE(sending.undone());
  }
}

TEST_CASE("a report that both copies came undoes a recovery", "[tcp][undo][rfc3708]") {
  Reduced sending{false};
  sending.until(110ms);
  sending.tell(4);  // of the first copy
  CHECK_FALSE(sending.undone());
  SECTION("of that segment") {
    sending.tell(4, {0, 1});
    CHECK(sending.undone());
  }
  SECTION("also after the end of the recovery") {
    sending.tell(10);
    REQUIRE_FALSE(sending.info().in_recovery);
    sending.tell(10, {0, 1});
    CHECK(sending.undone());
  }
  SECTION("not of one that was sent once, which the network has doubled") {
    sending.tell(4, {2, 3});
    CHECK_FALSE(sending.undone());
    CHECK(sending.info().dsack_dups == 1);
  }
}

TEST_CASE("of several that were sent again all have to be reported", "[tcp][undo][rfc3708]") {
  Sending sending{{.window = 10'000, .sack = true}, patient()};
  sending.write(30);
  sending.sent();
  sending.until(100ms);
  sending.tell(0, {3, 10});
  REQUIRE(sending.sent() == Segments{0, 1, 2});
  sending.until(110ms);
  sending.tell(10);
  sending.until(210ms);
  sending.tell(10, {0, 1});
  sending.tell(10, {1, 2});
  CHECK(sending.stats().spurious_recoveries == 0);
  sending.tell(10, {2, 3});
  CHECK(sending.stats().spurious_recoveries == 1);
  CHECK(sending.cwnd() >= 10);
}

TEST_CASE("a recovery that was for nothing shows that the path reorders", "[tcp][undo][rack]") {
  const bool stamped = GENERATE(true, false);
  Reduced sending{stamped};
  REQUIRE_FALSE(sending.info().reord_seen);
  sending.until(110ms);
  if (stamped) {
    sending.peer.tsecr = sending.first_echo;
    sending.tell(4);
  } else {
    sending.tell(4, {0, 1});
  }
  REQUIRE(sending.undone());
  CHECK(sending.info().reord_seen);
  // From now on three reports are no reason to hurry.
  sending.sent();
  sending.tell(4, {5, 8});
  CHECK(sending.sent().empty());
}

TEST_CASE("without SACK a time-out that cuts a recovery short stands", "[tcp][undo][recovery]") {
  Sending sending{{.window = 10'000, .timestamp = 1}};
  sending.write(30);
  REQUIRE(sending.sent().size() == 10);
  sending.until(100ms);
  for (int i = 0; i < 7; ++i) sending.tell(0);
  REQUIRE(sending.sent() == Segments{0});
  REQUIRE(sending.ssthresh() == 5);
  // Two partial acknowledgements: the timer runs since the first. What the second has sent again is
  // on its way when it expires, and arrives.
  sending.until(200ms);
  sending.peer.options.window = 7'000;
  sending.tell(3);
  REQUIRE(sending.sent() == Segments{3});
  sending.until(350ms);
  sending.peer.options.window = 4'000;
  sending.tell(6);
  REQUIRE(sending.sent() == Segments{6});
  const std::uint32_t echo = sending.peer.tsecr;
  sending.until(200ms + sending.info().rto);
  REQUIRE(sending.stats().timeouts == 1);
  REQUIRE(sending.sent() == Segments{6});
  CHECK(sending.ssthresh() == 2);
  sending.until(450ms);
  sending.peer.tsecr = echo;
  sending.tell(7);
  CHECK(sending.stats().spurious_timeouts == 0);
  CHECK(sending.ssthresh() == 2);
  CHECK(sending.sent() == Segments{7, 8});
}

TEST_CASE("an echo from before undoes a time-out", "[tcp][undo][rfc4015]") {
  Sending sending{{.window = 6000, .timestamp = 1}, patient()};
  sending.write(30);
  REQUIRE(sending.sent().size() == 6);
  const std::uint32_t echo = sending.peer.tsecr;
  sending.until(1s);
  REQUIRE(sending.sent() == Segments{0});
  REQUIRE(sending.cwnd() == 1);
  sending.until(1050ms);
  sending.peer.tsecr = echo;
  sending.tell(1);
  CHECK(sending.stats().spurious_timeouts == 1);
  CHECK(sending.cwnd() >= 10);
  CHECK(sending.info().snd_ssthresh == 0xffffffff);
  CHECK(sending.info().lost == 0);
  CHECK(sending.sent() == Segments{6});
}
