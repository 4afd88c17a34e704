// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/tcp/time_wait.hpp>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

TimeWaitEntry entry(std::uint16_t port) {
  TimeWaitEntry made;
  made.key = {IpAddress::v4(10, 0, 0, 2), IpAddress::v4(10, 0, 0, 1), 80, port};
  return made;
}

}  // namespace

TEST_CASE("entries go when their time has come, restarted ones later", "[tcp][time_wait]") {
  BlockPool pool{1 << 20};
  TimeWaitTable table{pool, SipKey{1, 2}, 16};
  const Instant start{5s};
  CHECK(table.next_expiry() == never);
  table.add(entry(1), start + 60s);
  table.add(entry(2), start + 61s);
  CHECK(table.next_expiry() == start + 60s);
  table.restart(*table.find(entry(1).key), start + 100s);
  CHECK(table.next_expiry() == start + 61s);
  table.expire(start + 61s);
  CHECK(table.find(entry(2).key) == nullptr);
  REQUIRE(table.find(entry(1).key) != nullptr);
  table.expire(start + 99s);
  CHECK(table.size() == 1);
  table.expire(start + 100s);
  CHECK(table.size() == 0);
  CHECK(table.next_expiry() == never);
}

TEST_CASE("a full table lets the oldest entry go", "[tcp][time_wait]") {
  BlockPool pool{1 << 20};
  TimeWaitTable table{pool, SipKey{1, 2}, 4};
  for (std::uint16_t port = 1; port <= 6; ++port) table.add(entry(port), Instant{} + port * 1s);
  CHECK(table.size() == 4);
  CHECK(table.find(entry(2).key) == nullptr);
  CHECK(table.find(entry(3).key) != nullptr);
  CHECK(table.find(entry(6).key) != nullptr);
}

TEST_CASE("expiries far from the epoch are right", "[tcp][time_wait]") {
  BlockPool pool{1 << 20};
  TimeWaitTable table{pool, SipKey{1, 2}, 4};
  const Instant late{std::chrono::hours{24 * 365 * 10}};
  table.add(entry(1), late);
  table.add(entry(2), late + 1s);
  CHECK(table.next_expiry() == late);
}
