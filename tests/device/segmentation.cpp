// SPDX-License-Identifier: BSL-1.0

// What packets with offloads become on a wire.

#include "../support/offload.hpp"

#include <array>

using namespace tunic;
using namespace tunic::test;

namespace {

SegmentBuilder builder() {
  return testing::segment({host_ip, 80}, {peer_ip, 40000}).seq(0xfffffff0).ack(9).ip_id(0xffff);
}

}  // namespace

TEST_CASE("a packet without offloads is shown as it is", "[device][segmentation]") {
  const Packet packet = builder().payload("hello").packet();
  std::vector<std::byte> scratch;
  int calls = 0;
  visit_wire_packets(packet, {}, scratch, [&](Bytes bytes) {
    ++calls;
    CHECK(bytes.data() == packet.data());
  });
  CHECK(calls == 1);
  CHECK(scratch.empty());
}

TEST_CASE("segments wrap around like all numbers, and keep options", "[device][segmentation]") {
  const Packet packet = builder()
                            .timestamps(5, 6)
                            .ip_options(std::string(4, '\1'))
                            .psh()
                            .fin()
                            .ece()
                            .payload(pattern_text(1001))
                            .packet();
  Offload offload = received(100);
  offload.checksum_start = 24;
  const auto segments = on_wire(packet, offload);
  REQUIRE(segments.size() == 11);
  std::string text;
  for (std::size_t i = 0; i < 11; ++i) {
    const Decoded& segment = segments[i];
    REQUIRE_FALSE(segment.malformed.has_value());
    CHECK(segment.ip.options.size() == 4);
    CHECK(segment.ip.header.id == static_cast<std::uint16_t>(0xffff + i));
    CHECK(segment.tcp->seq == SeqNum{0xfffffff0} + static_cast<std::uint32_t>(100 * i));
    CHECK(segment.tcp->options.timestamps == TcpTimestamps{5, 6});
    CHECK(segment.tcp->has(TcpFlags::ece));
    CHECK(segment.tcp->has(TcpFlags::fin) == (i == 10));
    CHECK(segment.tcp->has(TcpFlags::psh) == (i == 10));
    text += as_text(segment.tcp->payload);
  }
  CHECK(text == pattern_text(1001));
}

TEST_CASE("what can't be cut is shown whole, and nothing beyond it is read",
          "[device][segmentation]") {
  const Packet whole = builder().payload(std::string(50, 'x')).packet();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    Packet part{whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)};
    part.shrink_to_fit();
    for (const std::uint16_t segment : std::array<std::uint16_t, 3>{1, 7, 65535}) {
      std::size_t shown = 0;
      std::vector<std::byte> scratch;
      visit_wire_packets(part, received(segment), scratch,
                         [&](Bytes bytes) { shown += bytes.size(); });
      CHECK(shown >= size);
    }
  }
  Packet packet = whole;
  SECTION("an IP header that is longer than the packet") { packet[0] = std::byte{0x4f}; }
  SECTION("a TCP header that is") { packet[32] = std::byte{0xf0}; }
  SECTION("or less than one") { packet[32] = std::byte{0x10}; }
  packet.resize(60);
  CHECK(on_wire(packet, {.segmentation = Segmentation::tcp_v4, .segment_bytes = 10}).size() == 1);
}
