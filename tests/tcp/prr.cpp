// SPDX-License-Identifier: BSL-1.0

// Proportional rate reduction against the formulas of RFC 9937 6, written once more and in the
// RFC's words.
#include "catch.hpp"
#include <tunic/tcp/prr.hpp>

#include <algorithm>
#include <cstdint>
#include <random>

using namespace tunic;

namespace {

constexpr std::uint32_t mss = 1000;

// RFC 9937 6.1 and 6.2.
struct ByTheBook {
  std::int64_t recover_fs, ssthresh;
  std::int64_t prr_delivered = 0, prr_out = 0, cwnd = 0;

  void ack(std::int64_t delivered_data, std::int64_t inflight, bool safe_ack) {
    if (delivered_data == 0) return;
    prr_delivered += delivered_data;
    std::int64_t snd_cnt = 0;
    if (inflight > ssthresh) {
      snd_cnt = (prr_delivered * ssthresh + recover_fs - 1) / recover_fs - prr_out;
    } else {
      snd_cnt = std::max(prr_delivered - prr_out, delivered_data);
      if (safe_ack) snd_cnt += mss;
      snd_cnt = std::min(ssthresh - inflight, snd_cnt);
    }
    if (prr_out == 0 && snd_cnt == 0) snd_cnt = mss;
    cwnd = inflight + snd_cnt;
  }
};

}  // namespace

TEST_CASE("above the threshold as much leaves as arrives times ssthresh over RecoverFS",
          "[tcp][prr][rfc9937-6.2]") {
  Prr prr;
  prr.start(10 * mss, 7 * mss);
  prr.acknowledged(mss, 9 * mss, mss, false);
  CHECK(prr.window() == 9 * mss + mss);  // at least the fast retransmission
  prr.sent(mss);
  prr.acknowledged(mss, 9 * mss, mss, false);
  CHECK(prr.window() == 9 * mss + 400);  // 2 * 0.7 less the one
  prr.acknowledged(1, 9 * mss - 1, mss, false);
  CHECK(prr.window() == 9 * mss - 1 + 401);  // rounded up: 1400.7
}

TEST_CASE("below the threshold what was not yet sent of what arrived leaves",
          "[tcp][prr][rfc9937-6.2]") {
  Prr prr;
  prr.start(20 * mss, 10 * mss);
  prr.acknowledged(3 * mss, 4 * mss, mss, false);
  CHECK(prr.window() == 7 * mss);
  prr.sent(mss);
  SECTION("and one more when an acknowledgement advances and tells of no loss") {
    prr.acknowledged(mss, 4 * mss, mss, true);
    CHECK(prr.window() == 4 * mss + 3 * mss + mss);
  }
  SECTION("never less than what arrives") {
    prr.sent(9 * mss);
    prr.acknowledged(2 * mss, 5 * mss, mss, false);
    CHECK(prr.window() == 7 * mss);
  }
  SECTION("never beyond the threshold") {
    prr.acknowledged(6 * mss, 9 * mss, mss, true);
    CHECK(prr.window() == 10 * mss);
  }
}

TEST_CASE("the window in recovery is what the book says", "[tcp][prr][rfc9937-6.2]") {
  const unsigned seed = GENERATE(range(1U, 6U));
  CAPTURE(seed);
  std::mt19937 random{seed};
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  for (int episode = 0; episode < 50; ++episode) {
    const std::uint32_t flight = (2 + below(200)) * mss;
    const std::uint32_t ssthresh = 2 * mss + below(flight);
    ByTheBook book{flight, ssthresh};
    Prr prr;
    prr.start(flight, ssthresh);
    std::uint32_t in_flight = flight - below(flight);
    for (int i = 0; i < 200; ++i) {
      const std::uint32_t delivered = std::min(in_flight, 1 + below(3 * mss));
      if (delivered == 0) break;
      in_flight -= delivered;
      const bool safe = random() % 2 == 0;
      prr.acknowledged(delivered, in_flight, mss, safe);
      book.ack(delivered, in_flight, safe);
      CAPTURE(episode, i, in_flight, ssthresh, delivered, safe);
      // A negative allowance is none; the first retransmission has room for all of a segment.
      const std::int64_t expected = book.prr_out == 0
                                        ? std::max<std::int64_t>(book.cwnd, in_flight + mss)
                                        : std::max<std::int64_t>(book.cwnd, in_flight);
      REQUIRE(prr.window() == expected);
      const std::uint32_t room = prr.window() - in_flight;
      const std::uint32_t sent = random() % 4 == 0 ? below(room + 1) : room;
      prr.sent(sent);
      book.prr_out += sent;
      in_flight += sent;
    }
  }
}

TEST_CASE("duplicates of a peer without SACK are credited up to RecoverFS",
          "[tcp][prr][rfc9937-6.2]") {
  Prr prr;
  prr.start(3 * mss, 2 * mss);
  CHECK(prr.credit_left() == 3 * mss);
  prr.acknowledged(2 * mss, mss, mss, false);
  CHECK(prr.credit_left() == mss);
  prr.acknowledged(2 * mss, mss, mss, false);
  CHECK(prr.credit_left() == 0);
}
