// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/wire/seq.hpp>

#include <cstdint>
#include <limits>

using namespace tunic;

namespace {

constexpr std::uint32_t top = std::numeric_limits<std::uint32_t>::max();

}  // namespace

TEST_CASE("sequence numbers wrap at 2^32", "[wire][seq]") {
  const SeqNum last{top};
  CHECK((last + 1).value() == 0);
  CHECK((SeqNum{0} - 1).value() == top);
  CHECK(SeqNum{5} - last == 6);
  CHECK(last - SeqNum{5} == -6);
  SeqNum seq = last;
  seq += 10;
  CHECK(seq == SeqNum{9});
  seq -= 10;
  CHECK(seq == last);
}

TEST_CASE("comparisons of sequence numbers hold across the wrap", "[wire][seq]") {
  for (const std::uint32_t base : {0U, 1U, 0x7fff'ffffU, 0x8000'0000U, 0xffff'fffeU, top}) {
    for (const std::uint32_t distance : {1U, 2U, 65'535U, 0x4000'0000U, 0x7fff'ffffU}) {
      CAPTURE(base, distance);
      const SeqNum a{base}, b{base + distance};
      CHECK(a < b);
      CHECK(a <= b);
      CHECK(b > a);
      CHECK(b >= a);
      CHECK_FALSE(b < a);
      CHECK_FALSE(b <= a);
      CHECK_FALSE(a > b);
      CHECK(a != b);
      CHECK(min(a, b) == a);
      CHECK(min(b, a) == a);
      CHECK(max(a, b) == b);
      CHECK(max(b, a) == b);
    }
    CHECK(SeqNum{base} <= SeqNum{base});
    CHECK(SeqNum{base} >= SeqNum{base});
    CHECK_FALSE(SeqNum{base} < SeqNum{base});
  }
}

TEST_CASE("a window of sequence numbers may have any length", "[wire][seq]") {
  for (const std::uint32_t start : {0U, 1000U, 0x8000'0000U, 0xffff'fff0U}) {
    for (const std::uint32_t length : {1U, 100U, 0x7fff'ffffU, 0x8000'0001U, top}) {
      CAPTURE(start, length);
      CHECK(SeqNum{start}.in_window(SeqNum{start}, length));
      CHECK(SeqNum{start + length - 1}.in_window(SeqNum{start}, length));
      CHECK_FALSE(SeqNum{start + length}.in_window(SeqNum{start}, length));
      CHECK_FALSE(SeqNum{start - 1}.in_window(SeqNum{start}, length));
    }
    CHECK_FALSE(SeqNum{start}.in_window(SeqNum{start}, 0));
  }
}
