// SPDX-License-Identifier: BSL-1.0

// The virtio-net header as values. What it looks like on a descriptor and which ones are refused is
// in tests/conformance/virtio_net_device.cpp.

#include "catch.hpp"
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/virtio_net.hpp>

#include <array>
#include <cstddef>
#include <vector>

using namespace tunic;

TEST_CASE("an offload that is written is read back", "[wire][virtio]") {
  std::vector<std::byte> packet(100);
  packet[0] = std::byte{0x45};
  packet[9] = std::byte{6};
  for (const auto how : {Segmentation::none, Segmentation::tcp_v4}) {
    for (const bool partial : {false, true}) {
      Offload offload{.segmentation = how, .header_bytes = 40};
      if (how != Segmentation::none) offload.segment_bytes = 7, offload.ecn = true;
      if (partial) {
        offload.checksum = ChecksumState::partial;
        offload.checksum_start = 20;
        offload.checksum_offset = 16;
      }
      std::array<std::byte, 10> header{};
      write_virtio_net(header, offload);
      CHECK(parse_virtio_net(header, packet) == offload);
    }
  }
}

TEST_CASE("flags that are not known are ignored, and the need of a checksum goes first",
          "[wire][virtio]") {
  const std::vector<std::byte> packet(40);
  const auto state = [&](int flags) {
    const std::array<std::byte, 10> header{std::byte(flags)};
    return parse_virtio_net(header, packet)->checksum;
  };
  CHECK(state(0) == ChecksumState::complete);
  CHECK(state(1) == ChecksumState::partial);
  CHECK(state(2) == ChecksumState::verified);
  CHECK(state(3) == ChecksumState::partial);
  CHECK(state(4) == ChecksumState::complete);
  CHECK(state(0xf8) == ChecksumState::complete);
}

TEST_CASE("a partial checksum becomes right by adding what it stands for", "[wire][virtio]") {
  const IpAddress src = IpAddress::v4(10, 0, 0, 1), dst = IpAddress::v4(192, 168, 255, 254);
  for (std::size_t payload = 0; payload < 40; ++payload) {
    std::vector<std::byte> segment(20 + payload, std::byte{0xa5});
    write_tcp_header(segment, {.src_port = 1, .dst_port = 2});
    auto finished = segment;
    const Bytes rest = Bytes{finished}.subspan(20);
    finish_tcp_checksum(MutableBytes{finished}.first(20), src, dst, {&rest, 1});
    start_tcp_checksum(MutableBytes{segment}.first(20), src, dst, payload);
    const std::uint16_t sum = checksum(segment);
    segment[16] = static_cast<std::byte>(sum >> 8);
    segment[17] = static_cast<std::byte>(sum & 0xff);
    CHECK(segment == finished);
  }
}
