// SPDX-License-Identifier: BSL-1.0

// When a receiver acknowledges: RFC 5681 4.2.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

const std::string segment(1000, 'x');

// A connection to whose host segments of 1000 bytes come, known by their numbers.
struct Receiving : Server {
  SeqNum first = peer.seq;

  explicit Receiving(PeerOptions options = {}) : Server{options} {}
  void come(std::uint32_t number) {
    host.inject(peer.segment().seq(first + number * 1000).payload(segment));
  }
  // What was sent without time going on acknowledges all below this segment, and is the only one.
  void expect_ack(std::uint32_t number) {
    CHECK(matches(host.take(), expect.flags(".").ack(first + number * 1000).no_payload()));
    CHECK(host.silent());
  }
};

}  // namespace

TEST_CASE("each segment above a hole is acknowledged at once", "[conformance][5681-08]") {
  Receiving host{{.sack = GENERATE(false, true)}};
  for (std::uint32_t number = 1; number < 6; ++number) {
    host.come(number);
    host.expect_ack(0);
  }
}

TEST_CASE("what fills a gap, or a part of it, is acknowledged at once", "[conformance][5681-08]") {
  Receiving host{{.sack = GENERATE(false, true)}};
  host.come(2);
  host.expect_ack(0);
  host.come(4);
  host.expect_ack(0);
  SECTION("from below") {
    host.come(0);
    host.expect_ack(1);
    host.come(1);
    host.expect_ack(3);
  }
  SECTION("from above") {
    host.come(1);
    host.expect_ack(0);
    host.come(0);
    host.expect_ack(3);
  }
  host.come(3);
  host.expect_ack(5);
  // With no gap left an acknowledgement may wait again.
  host.come(5);
  CHECK(host.host.silent());
}
