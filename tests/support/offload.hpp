// SPDX-License-Identifier: BSL-1.0
#pragma once

// A server behind a device with offloads, and what the segments of its packets are on a wire.

#include "host.hpp"
#include <tunic/device/segmentation.hpp>

#include <string>
#include <vector>

namespace tunic::test {

inline constexpr MockOptions with_offloads{
    .partial_checksums = true, .segmentation = true, .ecn_segmentation = true};

/// One connection, accepted, with a send buffer for several super-segments and a window for all
/// that is in it.
struct OffloadServer : Server {
  explicit OffloadServer(PeerOptions options = {}, const MockOptions& device = with_offloads,
                         StackConfig config = host_config())
      : Server{
            wide(options), std::move(config), {.no_delay = true, .send_buffer = 1 << 20}, device} {}

  /// The application writes `text`; what leaves.
  std::vector<Decoded> write(const std::string& text) {
    REQUIRE(connection.send(as_bytes(text)).bytes == text.size());
    host.turn();
    return sent();
  }
  /// All packets that left since the last look; `offloads` are theirs.
  std::vector<Decoded> sent() {
    std::vector<Decoded> packets;
    offloads.clear();
    while (auto packet = host.next()) {
      REQUIRE(packet->tcp.has_value());
      peer.learn(*packet->tcp);
      offloads.push_back(host.offload);
      packets.push_back(std::move(*packet));
    }
    CHECK(host.stack.device().not_offered() == 0);
    CHECK(host.stack.device().oversized() == 0);
    return packets;
  }
  /// Makes the congestion window so many segments, at least.
  void open_window(std::uint32_t segments) {
    for (int rounds = 0; connection.info().snd_cwnd < segments * connection.info().snd_mss;) {
      REQUIRE(++rounds < 20);
      write(std::string(std::size_t{2} * connection.info().snd_cwnd, 'w'));
      while (connection.info().in_flight != 0) {
        host.advance(10ms);
        peer.acknowledge();
        sent();
      }
    }
  }
  /// A packet with an offload comes in and is answered.
  void inject(const SegmentBuilder& segment, const Offload& offload) {
    host.stack.device().inject(segment.packet(), offload);
    host.turn();
  }

  std::vector<Offload> offloads;

 private:
  static PeerOptions wide(PeerOptions options) {
    options.window_scale = std::uint8_t{6};
    return options;
  }
};

/// The segments that a packet becomes on a wire, its own checksum being finished.
inline std::vector<Decoded> on_wire(const Packet& packet, const Offload& offload) {
  if (offload.segmentation == Segmentation::none) return {testing::decode(packet)};
  std::vector<Decoded> segments;
  std::vector<std::byte> scratch;
  visit_wire_packets(packet, offload, scratch, [&](Bytes bytes) {
    segments.push_back(testing::decode({bytes.begin(), bytes.end()}));
  });
  return segments;
}

/// How a kernel hands over several segments in one.
inline Offload received(std::uint16_t segment_bytes) {
  return {.checksum = ChecksumState::partial,
          .segmentation = Segmentation::tcp_v4,
          .header_bytes = 40,
          .segment_bytes = segment_bytes,
          .checksum_start = 20,
          .checksum_offset = 16};
}

}  // namespace tunic::test
