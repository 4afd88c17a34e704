// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/testing/middlebox.hpp>

#include <string>
#include <vector>

using namespace tunic;
using namespace tunic::testing;

namespace {

constexpr Endpoint a{"10.0.0.1"_ip, 1000}, b{"10.0.0.2"_ip, 80};
constexpr Instant now{};

const auto syn = segment(a, b).syn().mss(1460).timestamps(1, 0).window_scale(7);
const auto data = segment(a, b).ack(1).timestamps(2, 3).payload("data");

Decoded through(const PacketFilter& filter, const SegmentBuilder& built) {
  Packet packet = built.packet();
  REQUIRE(filter(packet, now));
  Decoded decoded = decode(packet);
  REQUIRE_FALSE(decoded.malformed);  // the checksums are right
  return decoded;
}

}  // namespace

TEST_CASE("chosen data segments are swallowed", "[testing][middlebox]") {
  const PacketFilter filter = drop_data({2, 3});
  std::string passed;
  for (int i = 0; i < 5; ++i) {
    Packet ack = segment(a, b).ack(1).packet();
    CHECK(filter(ack, now));  // not counted
    Packet packet = data.packet();
    passed += filter(packet, now) ? 'y' : 'n';
  }
  CHECK(passed == "ynnyy");
}

TEST_CASE("an option is removed where it is told", "[testing][middlebox]") {
  const auto strip = [](Edited which) { return strip_option(TcpOptionKind::timestamps, which); };
  CHECK_FALSE(through(strip(Edited::all), syn).tcp->options.has_timestamps);
  CHECK_FALSE(through(strip(Edited::all), data).tcp->options.has_timestamps);
  CHECK_FALSE(through(strip(Edited::syn), syn).tcp->options.has_timestamps);
  CHECK(through(strip(Edited::syn), data).tcp->options.has_timestamps);
  CHECK(through(strip(Edited::others), syn).tcp->options.has_timestamps);
  CHECK_FALSE(through(strip(Edited::others), data).tcp->options.has_timestamps);

  const Decoded stripped = through(strip(Edited::all), syn);
  CHECK(matches(stripped, expect.mss(1460).window_scale(7)));
  CHECK(as_text(through(strip(Edited::all), data).payload()) == "data");
}

TEST_CASE("the window scale of SYNs is rewritten", "[testing][middlebox]") {
  CHECK(through(rewrite_window_scale(2), syn).tcp->options.window_scale == 2);
  CHECK(through(rewrite_window_scale(2), syn.ack(5)).tcp->options.window_scale == 2);
  CHECK(through(rewrite_window_scale(2), data.window_scale(7)).tcp->options.window_scale == 7);
  CHECK_FALSE(through(rewrite_window_scale(2), segment(a, b).syn()).tcp->options.has_window_scale);
}

TEST_CASE("what is no TCP segment passes untouched", "[testing][middlebox]") {
  const PacketFilter all =
      in_turn({drop_data({1}), strip_option(TcpOptionKind::timestamps), rewrite_window_scale(0)});
  for (const Packet& packet :
       {udp(a, b, "datagram"), data.fragment(0, true).packet(), data.fragment(8, false).packet(),
        Packet(3), data.data_offset_words(4).packet(), data.raw_tcp_options("\x08\x29").packet()}) {
    Packet passed = packet;
    CHECK(all(passed, now));
    CHECK(passed == packet);
  }
}

TEST_CASE("middleboxes follow each other", "[testing][middlebox]") {
  const PacketFilter both = in_turn({drop_data({1}), drop_data({1})});
  std::string passed;
  for (int i = 0; i < 4; ++i) {
    Packet packet = data.packet();
    passed += both(packet, now) ? 'y' : 'n';
  }
  CHECK(passed == "nnyy");
}
