// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "exact.hpp"
#include <tunic/wire/tcp_options.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace tunic;
using test::Exact;

namespace {

Parsed<TcpOptions> parse(std::string_view digits) {
  return parse_tcp_options(Exact{test::hex(digits)}.bytes());
}

TcpOptions random_options(std::mt19937_64& random) {
  TcpOptions options;
  const auto bits = random();
  if ((bits & 1) != 0) {
    options.has_mss = true;
    options.mss = static_cast<std::uint16_t>(random());
  }
  if ((bits & 2) != 0) {
    options.has_window_scale = true;
    options.window_scale = static_cast<std::uint8_t>(random() % 15);
  }
  if ((bits & 4) != 0) {
    options.has_timestamps = true;
    options.timestamps = {static_cast<std::uint32_t>(random()),
                          static_cast<std::uint32_t>(random())};
  }
  options.sack_permitted = (bits & 8) != 0;
  options.sack_count = static_cast<std::uint8_t>(random() % 5);
  for (std::size_t i = 0; i < options.sack_count; ++i) {
    options.sack[i] = {SeqNum{static_cast<std::uint32_t>(random())},
                       SeqNum{static_cast<std::uint32_t>(random())}};
  }
  return options;
}

// The options as others see them: each but EOL and NOP is kind, length, value.
bool is_well_formed(Bytes bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const auto kind = static_cast<unsigned>(bytes[i]);
    if (kind == 0) {
      const auto zero = [](std::byte byte) { return byte == std::byte{0}; };
      return std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(i), bytes.end(), zero);
    }
    if (kind == 1) {
      ++i;
      continue;
    }
    if (i + 1 >= bytes.size() || static_cast<unsigned>(bytes[i + 1]) < 2) return false;
    i += static_cast<std::size_t>(bytes[i + 1]);
    if (i > bytes.size()) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("the options of a SYN are all read, in any order", "[wire][tcp_options][MUST-4]") {
  for (const char* bytes : {"020405b4 0402 080a 00000001 00000002 01 030307",
                            "030307 080a 00000001 00000002 01 0402 020405b4",
                            "01 080a 00000001 00000002 020405b4 01 030307 01 0402 01 00"}) {
    CAPTURE(bytes);
    const auto options = parse(bytes);
    REQUIRE(options);
    CHECK(options->has_mss);
    CHECK(options->mss == 1460);
    CHECK(options->has_window_scale);
    CHECK(options->window_scale == 7);
    CHECK_FALSE(options->window_scale_was_excessive);
    CHECK(options->sack_permitted);
    CHECK(options->has_timestamps);
    CHECK(options->timestamps == TcpTimestamps{1, 2});
    CHECK(options->sack_count == 0);
  }
}

TEST_CASE("no options and padding are no options", "[wire][tcp_options]") {
  const std::string forty_nops = [] {
    std::string digits;
    for (int i = 0; i < 40; ++i) digits += "01";
    return digits;
  }();
  for (const std::string& bytes : {std::string{}, std::string{"00"}, std::string{"01010101"},
                                   std::string{"00000000"}, forty_nops}) {
    CAPTURE(bytes);
    const auto options = parse(bytes);
    REQUIRE(options);
    CHECK(*options == TcpOptions{});
  }
}

TEST_CASE("nothing counts behind the end of the list", "[wire][tcp_options]") {
  const auto options = parse("01 00 020405b4 fe00");
  REQUIRE(options);
  CHECK(*options == TcpOptions{});
}

TEST_CASE("aligned timestamps take the short way to the same value", "[wire][tcp_options]") {
  const auto fast = parse("0101080a fffefdfc 01020304");
  const auto slow = parse("080a fffefdfc 01020304 0101");
  REQUIRE(fast);
  REQUIRE(slow);
  CHECK(fast->has_timestamps);
  CHECK(fast->timestamps == TcpTimestamps{0xfffefdfc, 0x01020304});
  CHECK(*fast == *slow);
}

TEST_CASE("what only looks like aligned timestamps is walked", "[wire][tcp_options]") {
  CHECK(parse("0101080b fffefdfc 01020304").has_value() == false);
  const auto other = parse("0101050a 00000001 00000002");
  REQUIRE(other);
  CHECK_FALSE(other->has_timestamps);
  CHECK(other->sack_count == 1);
  const auto longer = parse("0101080a 00000001 00000002 020405b4");
  REQUIRE(longer);
  CHECK(longer->has_timestamps);
  CHECK(longer->has_mss);
}

TEST_CASE("options are read at every alignment", "[wire][tcp_options][MUST-64]") {
  for (std::size_t offset = 0; offset < 8; ++offset) {
    auto bytes = test::hex("080a 01020304 05060708 050a 11121314 21222324 020405b4");
    bytes.insert(bytes.begin(), offset, std::byte{1});
    CAPTURE(offset);
    const auto options = parse_tcp_options(Exact{bytes}.bytes());
    REQUIRE(options);
    CHECK(options->timestamps == TcpTimestamps{0x01020304, 0x05060708});
    CHECK(options->mss == 1460);
    REQUIRE(options->sack_blocks().size() == 1);
    CHECK(options->sack_blocks()[0] == SackBlock{SeqNum{0x11121314}, SeqNum{0x21222324}});
  }
}

TEST_CASE("unknown TCP options are skipped by their length", "[wire][tcp_options][MUST-6]") {
  const auto options = parse("020405b4 fd08 010203040506 0303 0a 1e02");
  REQUIRE(options);
  CHECK(options->mss == 1460);
  CHECK(options->window_scale == 10);
}

TEST_CASE("impossible lengths of TCP options are refused", "[wire][tcp_options][MUST-7]") {
  for (const char* bytes : {"fe00", "fe00 0000", "fe01", "fe01 0000", "fe29", "fe03", "fe", "01 fe",
                            "0101 02", "0204", "020405", "080a 00000001 000000", "02ff 05b4",
                            "0200 05b4", "0201 05b4", "0500", "050a 01"}) {
    CAPTURE(bytes);
    const auto options = parse(bytes);
    REQUIRE_FALSE(options);
    CHECK(options.drop() == Drop::bad_tcp_option);
  }
}

TEST_CASE("a known kind with a length that it does not have is skipped", "[wire][tcp_options]") {
  for (const char* bytes : {"0203 05", "0205 05b400", "0202", "0302", "0304 0707", "0403 00",
                            "0809 00000001 000000", "080b 00000001 00000002 00"}) {
    CAPTURE(bytes);
    const auto options = parse(std::string{bytes} + " 01 fd04 0000");
    REQUIRE(options);
    CHECK(*options == TcpOptions{});
  }
}

TEST_CASE("SACK blocks are read only from lengths of 8n + 2", "[wire][tcp_options][2018-08]") {
  for (std::size_t length = 2; length <= 40; ++length) {
    std::vector<std::byte> bytes(length, std::byte{0x11});
    bytes[0] = std::byte{5};
    bytes[1] = static_cast<std::byte>(length);
    CAPTURE(length);
    const auto options = parse_tcp_options(Exact{bytes}.bytes());
    REQUIRE(options);
    CHECK(options->sack_blocks().size() ==
          ((length - 2) % 8 == 0 && length <= 34 ? (length - 2) / 8 : 0));
  }
}

TEST_CASE("SACK blocks keep their order, whatever they say", "[wire][tcp_options]") {
  const auto options = parse(
      "0522 00000005 00000009 00000001 00000001 00000009 00000002"
      "ffffffff 00000000");
  REQUIRE(options);
  REQUIRE(options->sack_count == 4);
  CHECK(options->sack[0] == SackBlock{SeqNum{5}, SeqNum{9}});
  CHECK(options->sack[1] == SackBlock{SeqNum{1}, SeqNum{1}});
  CHECK(options->sack[2] == SackBlock{SeqNum{9}, SeqNum{2}});
  CHECK(options->sack[3] == SackBlock{SeqNum{0xffffffff}, SeqNum{0}});
}

TEST_CASE("a window scale above 14 is read as 14, and told", "[wire][tcp_options][7323-03]") {
  const auto check = [](const char* bytes, unsigned scale, bool excessive) {
    CAPTURE(bytes);
    const auto options = parse(bytes);
    REQUIRE(options);
    CHECK(options->has_window_scale);
    CHECK(options->window_scale == scale);
    CHECK(options->window_scale_was_excessive == excessive);
  };
  check("030300", 0, false);
  check("03030e", 14, false);
  check("03030f", 14, true);
  check("0303ff", 14, true);
}

TEST_CASE("the last of several options of one kind counts", "[wire][tcp_options]") {
  const auto options = parse("02040100 02040200 0303ff 030302");
  REQUIRE(options);
  CHECK(options->mss == 0x200);
  CHECK(options->window_scale == 2);
  CHECK_FALSE(options->window_scale_was_excessive);
}

TEST_CASE("random TCP options neither crash nor loop nor give impossible values",
          "[wire][tcp_options][MUST-7]") {
  std::mt19937_64 random{11};
  int good = 0;
  for (int round = 0; round < 100'000; ++round) {
    auto bytes = test::random_bytes(random, random() % 41);
    for (std::byte& byte : bytes) {
      if (random() % 2 == 0) byte &= std::byte{0x0f};
    }
    const Exact exact{bytes};
    const auto options = parse_tcp_options(exact.bytes());
    if (!options) continue;
    ++good;
    REQUIRE(options->sack_count <= 4);
    REQUIRE(options->window_scale <= 14);
  }
  CHECK(good > 1000);
}

TEST_CASE("options are written aligned and in Linux's order", "[wire][tcp_options]") {
  const auto written = [](const TcpOptions& options) {
    std::vector<std::byte> bytes(options.encoded_bytes());
    CHECK(write_tcp_options(bytes, options) == bytes.size());
    return bytes;
  };
  TcpOptions options;
  CHECK(written(options).empty());
  options.has_mss = true;
  options.mss = 1460;
  CHECK(written(options) == test::hex("020405b4"));
  options.has_window_scale = true;
  options.window_scale = 7;
  CHECK(written(options) == test::hex("020405b4 01030307"));
  options.sack_permitted = true;
  CHECK(written(options) == test::hex("020405b4 01010402 01030307"));
  options.has_timestamps = true;
  options.timestamps = {1, 0x01020304};
  CHECK(written(options) == test::hex("020405b4 0402080a 00000001 01020304 01030307"));
  options = {};
  options.has_timestamps = true;
  CHECK(written(options) == test::hex("0101080a 00000000 00000000"));
  options.sack_count = 1;
  options.sack[0] = {SeqNum{1}, SeqNum{0xfffffffe}};
  CHECK(written(options) == test::hex("0101080a 00000000 00000000 0101050a 00000001 fffffffe"));
}

TEST_CASE("as many SACK blocks are written as find room", "[wire][tcp_options]") {
  TcpOptions options;
  options.sack_count = 4;
  for (std::uint32_t i = 0; i < 4; ++i) options.sack[i] = {SeqNum{10 * i}, SeqNum{10 * i + 5}};
  CHECK(options.encoded_bytes() == 36);
  CHECK(options.fitting_sack_blocks() == 4);
  options.has_timestamps = true;
  CHECK(options.encoded_bytes() == 40);
  CHECK(options.fitting_sack_blocks() == 3);
  std::array<std::byte, 40> bytes{};
  REQUIRE(write_tcp_options(bytes, options) == 40);
  const auto parsed = parse_tcp_options(bytes);
  REQUIRE(parsed);
  REQUIRE(parsed->sack_count == 3);
  CHECK(parsed->sack[0] == options.sack[0]);
  CHECK(parsed->sack[2] == options.sack[2]);
}

TEST_CASE("options that are written are well-formed and parsed again",
          "[wire][tcp_options][MUST-68][MUST-69]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  for (int round = 0; round < 50; ++round) {
    TcpOptions options = random_options(random);
    std::vector<std::byte> bytes(options.encoded_bytes());
    REQUIRE(write_tcp_options(bytes, options) == bytes.size());
    REQUIRE(bytes.size() % 4 == 0);
    REQUIRE(bytes.size() <= 40);
    REQUIRE(is_well_formed(bytes));
    const auto parsed = parse_tcp_options(Exact{bytes}.bytes());
    REQUIRE(parsed);
    const std::size_t fitting = options.fitting_sack_blocks();
    for (std::size_t i = fitting; i < 4; ++i) options.sack[i] = {};
    options.sack_count = static_cast<std::uint8_t>(fitting);
    REQUIRE(*parsed == options);
  }
}
