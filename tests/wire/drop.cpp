// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/wire/drop.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

using namespace tunic;

TEST_CASE("every drop reason has a name of its own", "[wire][drop]") {
  std::set<std::string> names;
  for (std::size_t i = 0; i < drop_count; ++i) {
    const std::string text = name(static_cast<Drop>(i));
    CHECK(text != "unknown");
    CHECK(names.insert(text).second);
  }
  CHECK(std::string{name(static_cast<Drop>(drop_count))} == "unknown");
}

TEST_CASE("the names of drop reasons are in the order of the reasons", "[wire][drop]") {
  const auto is = [](Drop reason, const char* text) { return std::string{name(reason)} == text; };
  CHECK(is(Drop::too_short, "too_short"));
  CHECK(is(Drop::bad_fragment, "bad_fragment"));
  CHECK(is(Drop::packet_too_big, "packet_too_big"));
  CHECK(is(Drop::icmp_too_short, "icmp_too_short"));
  CHECK(is(Drop::udp_too_short, "udp_too_short"));
  CHECK(is(Drop::tcp_too_short, "tcp_too_short"));
  CHECK(is(Drop::tcp_to_broadcast, "tcp_to_broadcast"));
  CHECK(is(Drop::paws, "paws"));
  CHECK(is(Drop::no_memory, "no_memory"));
  CHECK(is(Drop::cannot_wake, "cannot_wake"));
  CHECK(is(Drop::device_refused, "device_refused"));
}

TEST_CASE("a parsed value is either the value or the reason", "[wire][drop]") {
  Parsed<int> value{7};
  REQUIRE(value);
  CHECK(value.has_value());
  CHECK(*value == 7);
  *value = 8;
  CHECK(*value == 8);

  const Parsed<int> dropped{Drop::bad_ip_option};
  CHECK_FALSE(dropped);
  CHECK_FALSE(dropped.has_value());
  CHECK(dropped.drop() == Drop::bad_ip_option);
}

TEST_CASE("a value that was begun and then refused is dropped", "[wire][drop]") {
  const auto even = [](int number) {
    return Parsed<int>{[number](int* place) -> Refusal {
      *place = number;
      if (number % 2 != 0) return Drop::bad_version;
      return std::nullopt;
    }};
  };
  REQUIRE(even(4));
  CHECK(*even(4) == 4);
  REQUIRE_FALSE(even(5));
  CHECK(even(5).drop() == Drop::bad_version);
}
