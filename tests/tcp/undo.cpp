// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include <tunic/tcp/undo.hpp>

using namespace tunic;

namespace {

constexpr SeqNum una{1000};

Undo after(int retransmissions, bool answers_pending = false) {
  Undo undo;
  undo.start(una, answers_pending);
  for (int i = 0; i < retransmissions; ++i)
    undo.sent_again(una + 100 * static_cast<std::uint32_t>(i + 1),
                    400 + static_cast<std::uint32_t>(i), 500 + static_cast<std::uint32_t>(i));
  return undo;
}

}  // namespace

TEST_CASE("an echo from before the first retransmission shows that it was needless",
          "[tcp][undo][rfc3522]") {
  CHECK(after(2).older(499));
  CHECK_FALSE(after(2).older(500));  // of the retransmission itself
  CHECK_FALSE(after(2).older(501));
  CHECK(after(2).older(400));
  CHECK_FALSE(after(2).older(399));  // a path that strips timestamps: the echo stands still
  CHECK_FALSE(after(0).older(499));  // nothing was sent again
  Undo undo = after(2);
  undo.stop();
  CHECK_FALSE(undo.older(499));
  CHECK_FALSE(Undo{}.older(499));
  Undo wrapped;
  wrapped.start(una, false);
  wrapped.sent_again(una + 100, 0xffffffe0, 5);
  CHECK(wrapped.older(0xfffffff0));
}

TEST_CASE("duplicates that account for all that was sent again show that it was needless",
          "[tcp][undo][rfc3708]") {
  Undo undo = after(2);
  CHECK_FALSE(undo.all_duplicates());
  undo.duplicate(una + 100, 1);
  CHECK_FALSE(undo.all_duplicates());
  SECTION("one by one") {
    undo.duplicate(una + 200, 1);
    CHECK(undo.all_duplicates());
  }
  SECTION("not when one more is sent again") {
    undo.sent_again(una + 100, 402, 502);
    undo.duplicate(una + 200, 1);
    CHECK_FALSE(undo.all_duplicates());
  }
  SECTION("not by duplicates of older data") {
    undo.duplicate(una, 1);
    CHECK_FALSE(undo.all_duplicates());
  }
  SECTION("not by duplicates of what was sent once") {
    undo.duplicate(una + 300, 1);
    CHECK_FALSE(undo.all_duplicates());
  }
  SECTION("in one report, and not by more than there were") {
    undo.duplicate(una + 200, 5);
    CHECK(undo.all_duplicates());
    undo.sent_again(una + 100, 403, 503);
    CHECK_FALSE(undo.all_duplicates());
  }
}

TEST_CASE("without a retransmission, or when older ones may be meant, duplicates prove nothing",
          "[tcp][undo][rfc3708]") {
  CHECK_FALSE(after(0).all_duplicates());
  Undo mixed = after(1, true);
  mixed.duplicate(una + 100, 1);
  CHECK_FALSE(mixed.all_duplicates());
  Undo stopped = after(1);
  stopped.stop();
  stopped.duplicate(una + 100, 1);
  CHECK_FALSE(stopped.all_duplicates());
}

TEST_CASE("a new reduction forgets what was known of the last", "[tcp][undo]") {
  Undo undo = after(1, true);
  undo.start(una + 5000, false);
  CHECK_FALSE(undo.older(0));
  undo.sent_again(una + 5100, 800, 900);
  CHECK(undo.older(899));
  undo.duplicate(una + 100, 1);
  CHECK_FALSE(undo.all_duplicates());
  undo.duplicate(una + 5100, 1);
  CHECK(undo.all_duplicates());
}
