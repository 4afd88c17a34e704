// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/ip/path_mtu.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

const IpAddress one = IpAddress::v4(192, 0, 2, 1);
const IpAddress other = IpAddress::v4(192, 0, 2, 2);
constexpr Instant begin{1h};

std::uint16_t known(const PathMtuCache& cache, const IpAddress& destination, Instant now = begin) {
  const PathMtuEntry* entry = cache.find(destination, now);
  return entry == nullptr ? std::uint16_t{0} : entry->mtu_bytes;
}

}  // namespace

TEST_CASE("a path MTU is known for its destination alone, until it expires", "[ip][path_mtu]") {
  PathMtuCache cache{16, SipKey{1, 2}};
  CHECK(known(cache, one) == 0);
  cache.lower(one, 1400, begin, begin + 10min);
  CHECK(known(cache, one) == 1400);
  CHECK(known(cache, other) == 0);
  CHECK(known(cache, IpAddress{}) == 0);
  CHECK(known(cache, one, begin + 10min - 1ns) == 1400);
  CHECK(known(cache, one, begin + 10min) == 0);
}

TEST_CASE("a path MTU is never raised while it is believed", "[ip][path_mtu]") {
  PathMtuCache cache{16, SipKey{1, 2}};
  cache.lower(one, 1300, begin, begin + 10min);
  const auto version = cache.version();
  cache.lower(one, 1400, begin + 1min, begin + 11min);
  CHECK(known(cache, one, begin + 1min) == 1300);
  CHECK(known(cache, one, begin + 10min) == 0);  // nor kept longer
  CHECK(cache.version() == version);
  cache.lower(one, 1200, begin + 2min, begin + 12min);
  CHECK(known(cache, one, begin + 11min) == 1200);
  cache.lower(one, 1400, begin + 12min, begin + 22min);
  CHECK(known(cache, one, begin + 12min) == 1400);
}

TEST_CASE("the same path MTU again is believed longer", "[ip][path_mtu]") {
  PathMtuCache cache{16, SipKey{1, 2}};
  cache.lower(one, 1300, begin, begin + 10min);
  cache.lower(one, 1300, begin + 5min, begin + 15min);
  CHECK(known(cache, one, begin + 14min) == 1300);
}

TEST_CASE("whoever has seen the version has missed nothing", "[ip][path_mtu]") {
  PathMtuCache cache{16, SipKey{1, 2}};
  std::uint32_t before = cache.version();
  const auto changed = [&] { return std::exchange(before, cache.version()) != before; };
  cache.lower(one, 1300, begin, begin + 10min);
  CHECK(changed());
  cache.lower(one, 1300, begin, begin + 11min);
  CHECK(changed());
  cache.lower(other, 1300, begin, begin + 10min);
  CHECK(changed());
  CHECK(known(cache, one) == 1300);
  CHECK_FALSE(changed());
}

TEST_CASE("addresses of both families are destinations", "[ip][path_mtu]") {
  PathMtuCache cache{16, SipKey{1, 2}};
  const auto six = *IpAddress::parse("2001:db8::1");
  cache.lower(six, 1280, begin, begin + 10min);
  CHECK(known(cache, six) == 1280);
  CHECK(known(cache, *IpAddress::parse("2001:db8::2")) == 0);
  CHECK(known(cache, *IpAddress::parse("2001:db9::1")) == 0);
}

TEST_CASE("a full cache forgets what would expire first, and holds no more than it may",
          "[ip][path_mtu]") {
  constexpr std::uint32_t capacity = 64;
  PathMtuCache cache{capacity, SipKey{1, 2}};
  const auto numbered = [](std::uint32_t i) { return IpAddress::v4(0x0a000000 + i); };
  const auto count = [&](std::uint32_t from, std::uint32_t to) {
    std::uint32_t found = 0;
    for (; from < to; ++from) found += known(cache, numbered(from), begin + 1s) == 1400;
    return found;
  };
  for (std::uint32_t i = 0; i < 10'000; ++i)
    cache.lower(numbered(i), 1400, begin, begin + 10min + i * 1ms);
  CHECK(count(0, 10'000) == capacity);
  CHECK(count(10'000 - 4 * capacity, 10'000) > capacity * 9 / 10);
  CHECK(count(9'999, 10'000) == 1);
  // One bucket is all there is: it holds the last eight.
  PathMtuCache small{1, SipKey{1, 2}};
  for (std::uint32_t i = 0; i < 20; ++i)
    small.lower(numbered(i), 1400, begin, begin + 10min + i * 1s);
  for (std::uint32_t i = 0; i < 20; ++i) CHECK((known(small, numbered(i)) == 1400) == (i >= 12));
}

TEST_CASE("an expired entry makes room before one that is believed", "[ip][path_mtu]") {
  PathMtuCache cache{8, SipKey{1, 2}};
  const auto numbered = [](std::uint32_t i) { return IpAddress::v4(0x0a000000 + i); };
  for (std::uint32_t i = 0; i < 8; ++i)
    cache.lower(numbered(i), 1400, begin, begin + (i == 5 ? 5min : 10min));
  cache.lower(one, 1300, begin + 6min, begin + 16min);
  for (std::uint32_t i = 0; i < 8; ++i) {
    CAPTURE(i);
    CHECK(known(cache, numbered(i), begin + 6min) == (i == 5 ? 0 : 1400));
  }
  CHECK(known(cache, one, begin + 6min) == 1300);
}

TEST_CASE("a cache without room remembers nothing", "[ip][path_mtu]") {
  PathMtuCache cache{0, SipKey{1, 2}};
  cache.lower(one, 1400, begin, begin + 10min);
  CHECK(known(cache, one) == 0);
}
