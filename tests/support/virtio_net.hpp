// SPDX-License-Identifier: BSL-1.0
#pragma once

// TUN devices of a fake kernel that knows the virtio-net header: one alone, and one under a stack
// that a peer talks to.

#include "../device/tun_fixture.hpp"
#include <tunic/stack/stack.hpp>
#include <tunic/testing/segment.hpp>
#include <tunic/wire/virtio_net.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tunic::device_test {

using namespace std::chrono_literals;

inline constexpr unsigned every_offload = 0x6f;

inline FakeKernel modern() { return {.features = IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_VNET_HDR}; }

/// An open device of a kernel that knows the header.
struct Offloading {
  explicit Offloading(const TunOptions& options = {}, FakeKernel with = modern())
      : kernel{std::move(with)} {
    std::error_code ec;
    device = FakeTun::open(options, ec, FakeSystem{&kernel});
    REQUIRE(device);
  }

  RxResult receive(std::size_t most = 64) {
    return device.receive(std::span{batch}.first(most), pool);
  }
  TxResult send(const Packet& packet, const Offload& offload = {}) {
    const Bytes piece{packet};
    const TxPacket gathered{.pieces = {&piece, 1}, .size_bytes = piece.size(), .offload = offload};
    return device.send({&gathered, 1});
  }

  FakeKernel kernel;
  BlockPool pool{1 << 20};
  FakeTun device;
  std::array<RxPacket, 64> batch{};
};

// The fields of the header as Linux names them.
struct Header {
  std::uint8_t flags = 0, gso_type = 0;
  std::uint16_t hdr_len = 0, gso_size = 0, csum_start = 0, csum_offset = 0;
};

inline Packet put(const Header& header, const Packet& behind, std::size_t size = 10,
                  std::endian order = std::endian::little) {
  Packet bytes{std::byte{header.flags}, std::byte{header.gso_type}};
  for (const std::uint16_t word :
       {header.hdr_len, header.gso_size, header.csum_start, header.csum_offset}) {
    const auto low = static_cast<std::byte>(word & 0xff), high = static_cast<std::byte>(word >> 8);
    bytes.push_back(order == std::endian::little ? low : high);
    bytes.push_back(order == std::endian::little ? high : low);
  }
  bytes.resize(size);
  bytes.insert(bytes.end(), behind.begin(), behind.end());
  return bytes;
}

inline Packet tcp_packet(std::size_t payload) {
  return testing::segment({"10.0.0.1"_ip, 40000}, {"10.0.0.2"_ip, 80})
      .ack(1)
      .payload(std::string(payload, 'x'))
      .packet();
}

inline constexpr Offload super{.checksum = ChecksumState::partial,
                               .segmentation = Segmentation::tcp_v4,
                               .header_bytes = 40,
                               .segment_bytes = 1000,
                               .checksum_start = 20,
                               .checksum_offset = 16};

/// A stack over the fake kernel, and a peer that takes what the kernel took.
struct Talk {
  explicit Talk(FakeKernel with = modern(), const TunOptions& options = {})
      : kernel{std::move(with)},
        stack{FakeTun::open(options, FakeSystem{&kernel}),
              {.addresses = {"10.0.0.2/24"_cidr}, .seed = SipKey{1, 2}}},
        listener{
            stack.listen({.port = 80, .connection = {.no_delay = true, .send_buffer = 1 << 20}})} {}

  void turn() {
    stack.poll(clock.now());
    stack.flush(clock.now());
  }
  [[nodiscard]] std::size_t prefix() const {
    return (kernel.interfaces.begin()->second.mode & IFF_VNET_HDR) != 0 ? 10 : 0;
  }
  void say(const testing::SegmentBuilder& segment) {
    kernel.reads.push_back({prefix() == 0 ? segment.packet() : put({}, segment.packet())});
    turn();
  }
  [[nodiscard]] testing::SegmentBuilder segment() const {
    return testing::segment({"10.0.0.1"_ip, 40000}, {"10.0.0.2"_ip, 80})
        .seq(101)
        .ack(expected)
        .window(65535);
  }
  void connect() {
    say(testing::segment({"10.0.0.1"_ip, 40000}, {"10.0.0.2"_ip, 80})
            .syn()
            .seq(100)
            .mss(1000)
            .window_scale(4)
            .window(65535));
    hear();
    say(segment());
    connection = *listener.accept();
  }
  /// Takes what has been written; data in order only.
  void hear() {
    for (const Packet& written : kernel.taken) {
      const Packet packet{written.begin() + static_cast<std::ptrdiff_t>(prefix()), written.end()};
      const auto ip = Ipv4Parser{}(packet);
      REQUIRE(ip);
      const auto offload = prefix() == 0 ? Offload{} : *parse_virtio_net(written, packet);
      largest = std::max(largest, packet.size());
      if (offload.checksum == ChecksumState::complete) {
        REQUIRE(testing::decode(packet).malformed == std::nullopt);
      }
      const auto tcp = parse_tcp_unverified(ip->payload);
      REQUIRE(tcp);
      if (tcp->has(TcpFlags::syn)) expected = tcp->seq + 1;
      if (tcp->payload.empty() || tcp->seq != expected) continue;
      text += as_text(tcp->payload);
      expected += static_cast<std::uint32_t>(tcp->payload.size());
    }
    kernel.taken.clear();
  }
  /// Writes so many bytes and runs until they have all arrived, at most a minute.
  void transfer(std::size_t bytes) {
    std::string sent(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) sent[i] = static_cast<char>(i % 251);
    REQUIRE(connection.send(as_bytes(sent)).bytes == bytes);
    turn();
    const Instant end = clock.now() + 60s;
    for (text.clear(); text.size() < bytes && clock.now() < end;) {
      const SeqNum before = expected;
      hear();
      clock.set(clock.now() + 1ms);
      expected == before ? turn() : say(segment());
    }
    CHECK(text == sent);
    CHECK(connection.error() == Errc::none);
  }

  ManualClock clock;
  FakeKernel kernel;
  Stack<FakeTun> stack;
  TcpListener listener;
  TcpConnection connection;
  SeqNum expected{};
  std::string text;
  std::size_t largest = 0;
};

}  // namespace tunic::device_test
