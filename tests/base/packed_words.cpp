// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include <tunic/base/packed_words.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace {

using tunic::Bytes;
using Words = std::vector<std::uint32_t>;

Bytes bytes_of(const Words& words) { return std::as_bytes(std::span{words}); }

// Packs, checks that what comes back is the same, and returns how many bytes it took.
std::size_t packed_size(const Words& state, const Words& blank) {
  std::vector<std::byte> packed(tunic::packed_bound(4 * state.size()));
  const std::size_t size = tunic::pack_words(bytes_of(state), bytes_of(blank), packed);
  REQUIRE(size <= packed.size());
  Words back(state.size());
  tunic::unpack_words(Bytes{packed}.first(size), bytes_of(blank),
                      std::as_writable_bytes(std::span{back}));
  CHECK(back == state);
  return size;
}

TEST_CASE("what is as in the blank takes two bits a word", "[base][packed_words]") {
  const Words blank{0, 7, 0xffffffff, 0x80000000, 1, 2, 3, 4};
  CHECK(packed_size(blank, blank) == 2);
  CHECK(packed_size({}, {}) == 0);
}

TEST_CASE("what was seen before takes few bits", "[base][packed_words]") {
  const Words blank(4, 0);
  CHECK(packed_size({0x12345678, 0, 0, 0}, blank) == 5);           // 34 + 3 x 2 bits
  CHECK(packed_size({0x12345678, 0x12345678, 0, 0}, blank) == 6);  // 34 + 6 + 2 x 2
  CHECK(packed_size({0x12345678, 0x12345679, 0, 0}, blank) == 7);  // 34 + 16 + 2 x 2
  CHECK(packed_size({1, 2, 3, 1023}, blank) == 8);                 // 4 x 16: small numbers
}

TEST_CASE("nothing takes more than the bound", "[base][packed_words]") {
  std::mt19937 random{1};
  Words state(100);
  std::generate(state.begin(), state.end(), std::ref(random));
  CHECK(packed_size(state, Words(100, 0)) <= tunic::packed_bound(400));
}

TEST_CASE("whatever is packed comes back", "[base][packed_words]") {
  std::mt19937 random{2};
  for (int round = 0; round < 2000; ++round) {
    CAPTURE(round);
    const auto draw = [&random] { return static_cast<std::uint32_t>(random()); };
    Words blank(draw() % 40);
    for (std::uint32_t& word : blank) word = draw() % 3 == 0 ? draw() : 0;
    Words state = blank;
    for (std::uint32_t& word : state) {
      switch (draw() % 5) {
        case 0:
          word = draw();
          break;
        case 1:
          word = 0xabcd0000 + draw() % 4096;
          break;
        case 2:
          word = draw() % 4096;
          break;
        case 3:
          word = state[draw() % state.size()];
          break;
        default:
          break;
      }
    }
    packed_size(state, blank);
  }
}

}  // namespace
