// SPDX-License-Identifier: BSL-1.0
#pragma once

// TUN devices over a fake kernel: how the tests open them, and one that is open with all that
// `receive` and `send` need.

#include "catch.hpp"
#include "fake_system.hpp"
#include <tunic/device/tun_device.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <system_error>
#include <vector>

namespace tunic::device_test {

using FakeTun = BasicTunDevice<FakeSystem>;
using Packet = std::vector<std::byte>;

inline FakeTun open(FakeKernel& kernel, const TunOptions& options, std::error_code& ec) {
  return FakeTun::open(options, ec, FakeSystem{&kernel});
}

/// Opens what must not open, and looks for what is left behind.
inline std::error_code refusal(FakeKernel& kernel, const TunOptions& options) {
  const std::size_t before = kernel.descriptors.size();
  std::error_code ec;
  const FakeTun device = open(kernel, options, ec);
  CHECK_FALSE(device.is_open());
  CHECK_FALSE(device);
  CHECK(kernel.descriptors.size() == before);
  return ec;
}

/// Options that need every call, and the interface that they make.
inline TunOptions everything() {
  return {.name = "tun5",
          .mtu_bytes = 1400,
          .host_address = "10.0.0.1/24"_cidr,
          .persist = true,
          .owner_uid = 1000,
          .group_gid = 100,
          .queue_packets = 2000};
}
inline FakeInterface prepared() {
  return {.mode = IFF_PERSIST,
          .mtu = 1400,
          .queue = 2000,
          .flags = IFF_UP,
          .address = 0x0a000001,
          .mask = 0xffffff00,
          .owner = 1000};
}

/// Looks like IP as far as a device looks at all; the rest tells packets apart.
inline Packet packet(std::size_t size, int mark, int version = 4) {
  Packet bytes(size, static_cast<std::byte>(mark));
  bytes[0] = static_cast<std::byte>(version << 4 | 5);
  return bytes;
}

inline Packet information(int protocol, int flags, const Packet& behind) {
  Packet bytes{static_cast<std::byte>(flags), std::byte{0}, static_cast<std::byte>(protocol >> 8),
               static_cast<std::byte>(protocol & 0xff)};
  bytes.insert(bytes.end(), behind.begin(), behind.end());
  return bytes;
}

inline Packet bytes_of(const RxPacket& received) {
  return {received.bytes.begin(), received.bytes.end()};
}

class CountingSource final : public MemorySource {
 public:
  void* try_allocate(std::size_t size, std::size_t align) noexcept override {
    ++asked;
    if (size > largest) return nullptr;
    ++given;
    return inner_.try_allocate(size, align);
  }
  void deallocate(void* memory, std::size_t size, std::size_t align) noexcept override {
    inner_.deallocate(memory, size, align);
  }

  int asked = 0;
  int given = 0;
  std::size_t largest = 1 << 20;

 private:
  NewMemorySource inner_;
};

/// A device that is open, with a pool and room for a batch.
struct Fixture {
  explicit Fixture(const TunOptions& options = {}) {
    std::error_code ec;
    device = BasicTunDevice<FakeSystem>::open(options, ec, FakeSystem{&kernel});
    REQUIRE(device);
  }

  RxResult receive(std::size_t most = 64) {
    return device.receive(std::span{batch}.first(most), pool);
  }

  TxResult send(const std::vector<Packet>& packets) {
    std::vector<Bytes> pieces{packets.begin(), packets.end()};
    std::vector<TxPacket> gathered;
    for (const Bytes& piece : pieces) {
      gathered.push_back({.pieces = {&piece, 1}, .size_bytes = piece.size()});
    }
    return device.send(gathered);
  }

  FakeKernel kernel{};
  CountingSource source;
  BlockPool pool{1 << 20, &source};
  BasicTunDevice<FakeSystem> device;
  std::array<RxPacket, 64> batch{};
};

}  // namespace tunic::device_test
