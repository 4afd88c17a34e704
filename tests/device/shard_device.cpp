// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/device/mock_device.hpp>
#include <tunic/device/shard_device.hpp>
#include <tunic/testing/segment.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <poll.h>
#include <system_error>
#include <vector>

using namespace tunic;
using testing::Packet;

namespace {

constexpr SipKey key{3, 5};
constexpr IpAddress our_ip = "10.0.0.2"_ip;
constexpr IpAddress peer_ip = "10.0.0.1"_ip;

using Shard = ShardDevice<MockDevice>;
static_assert(FlowOwner<Shard> && SeededDevice<Shard> && !FlowOwner<MockDevice>);

std::vector<Shard> shards_of(std::size_t count) {
  std::error_code ec;
  auto shards = make_shards(std::vector<MockDevice>(count), key, ec);
  REQUIRE_FALSE(ec);
  REQUIRE(shards.size() == count);
  return shards;
}

// A peer's port whose flow with our port 7 belongs to the shard.
Endpoint peer_of(const Shard& shard) {
  std::uint16_t port = 40'000;
  while (!shard.owns({our_ip, 7}, {peer_ip, port})) ++port;
  return {peer_ip, port};
}

Packet from_peer_of(const Shard& shard, std::string_view text = "x") {
  return testing::segment(peer_of(shard), {our_ip, 7}).seq(1).ack(1).payload(text).packet();
}

struct Received {
  std::vector<Packet> packets;
  DeviceStatus status;
};
Received receive(Shard& shard, std::size_t most = 64) {
  BlockPool pool{0};  // a mock takes none
  std::vector<RxPacket> batch(most);
  const RxResult result = shard.receive(batch, pool);
  Received received{.packets = {}, .status = result.status};
  batch.resize(result.count);
  for (const RxPacket& packet : batch)
    received.packets.emplace_back(packet.bytes.begin(), packet.bytes.end());
  return received;
}

bool woken(const Shard& shard) {
  pollfd wanted{.fd = shard.wake_handle(), .events = POLLIN, .revents = 0};
  return poll(&wanted, 1, 0) == 1;
}

using Packets = std::vector<Packet>;

}  // namespace

TEST_CASE("a shard receives its own flows, and gives strays to their owners", "[device][shard]") {
  auto shards = shards_of(3);
  const Packet own = from_peer_of(shards[0]);
  const Packet stray = from_peer_of(shards[2]);
  for (const Packet& packet : {own, stray, own}) shards[0].inner().inject(packet);
  CHECK(receive(shards[0]).packets == Packets{own, own});
  CHECK(shards[0].counters().strays_sent == 1);

  CHECK_FALSE(woken(shards[1]));
  CHECK(receive(shards[1]).packets.empty());
  CHECK(woken(shards[2]));
  shards[2].inner().inject(from_peer_of(shards[2], "later"));
  CHECK(receive(shards[2]).packets == Packets{stray, from_peer_of(shards[2], "later")});
  CHECK_FALSE(woken(shards[2]));
  CHECK(shards[2].counters().strays_received == 1);
  CHECK(receive(shards[2]).packets.empty());
}

TEST_CASE("strays of a flow stay in order, with their offloads",
          "[device][shard][conformance][VNH-26]") {
  auto shards = shards_of(2);
  const Offload offload{.checksum = ChecksumState::partial, .checksum_offset = 16};
  Packets sent;
  for (int i = 0; i < 100; ++i) {
    sent.push_back(from_peer_of(shards[1], "number " + std::to_string(i)));
    shards[0].inner().inject(sent.back(), offload);
  }
  while (receive(shards[0]).status == DeviceStatus::ok) continue;
  Packets received;
  BlockPool pool{0};
  for (DeviceStatus status = DeviceStatus::ok; status == DeviceStatus::ok;) {
    std::vector<RxPacket> batch(16);
    const RxResult result = shards[1].receive(batch, pool);
    status = result.status;
    CHECK(result.count <= 8);  // half of it
    batch.resize(result.count);
    for (const RxPacket& packet : batch) {
      received.emplace_back(packet.bytes.begin(), packet.bytes.end());
      CHECK(packet.offload == offload);
    }
  }
  CHECK(received == sent);
}

TEST_CASE("who does not keep up loses strays, which are counted", "[device][shard]") {
  auto shards = shards_of(2);
  const Packet stray = from_peer_of(shards[1], std::string(1000, 'x'));
  for (int i = 0; i < 1000; ++i) shards[0].inner().inject(stray);
  while (receive(shards[0]).status == DeviceStatus::ok) continue;
  const ShardCounters& counters = shards[0].counters();
  CHECK(counters.strays_sent > 400);  // of 512 KiB
  CHECK(counters.strays_sent + counters.strays_dropped == 1000);
  std::size_t received = 0;
  for (Received some{{}, DeviceStatus::ok}; some.status == DeviceStatus::ok;) {
    some = receive(shards[1]);
    received += some.packets.size();
  }
  CHECK(received == counters.strays_sent);
}

TEST_CASE("an ICMP error belongs to the flow that it quotes", "[device][shard]") {
  auto shards = shards_of(4);
  for (Shard& shard : shards) {
    const Packet quoted =
        testing::segment({our_ip, 7}, peer_of(shard)).seq(1).ack(1).payload("data").packet();
    const Packet error = testing::icmp_unreachable("10.0.0.77"_ip, our_ip,
                                                   IcmpUnreachable::fragmentation_needed, quoted);
    shards[0].inner().inject(error);
    Packets got = receive(shards[0]).packets;
    if (&shard != &shards[0]) {
      CHECK(got.empty());
      got = receive(shard).packets;
    }
    CHECK(got == Packets{error});
  }
}

TEST_CASE("an echo belongs to its addresses, whatever it carries", "[device][shard]") {
  auto shards = shards_of(4);
  for (std::uint16_t id = 0; id < 8; ++id)
    shards[0].inner().inject(testing::icmp_echo(peer_ip, our_ip, id, 1, from_peer_of(shards[1])));
  std::size_t owners = 0;
  Packets got = receive(shards[0]).packets;
  for (Shard& shard : shards) {
    if (&shard != &shards[0]) got = receive(shard).packets;
    CHECK((got.size() == 8) == shard.owns({our_ip}, {peer_ip}));
    owners += got.empty() ? 0 : 1;
  }
  CHECK(owners == 1);
}

TEST_CASE("any bytes whatever are somebody's", "[device][shard]") {
  auto shards = shards_of(3);
  Packet bytes =
      testing::icmp_unreachable(peer_ip, our_ip, IcmpUnreachable::port, from_peer_of(shards[0]));
  std::size_t sent = 0;
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    for (const std::byte first : {std::byte{0x45}, std::byte{0x4f}, std::byte{0x60}}) {
      bytes[0] = first;
      shards[0].inner().inject(Bytes{bytes}.first(size));
      ++sent;
    }
  }
  std::size_t received = 0;
  for (Shard& shard : shards) {
    Received some{{}, DeviceStatus::ok};
    for (; some.status == DeviceStatus::ok; received += some.packets.size()) some = receive(shard);
  }
  CHECK(received == sent);
}

TEST_CASE("a device that is gone is told of, strays or not", "[device][shard]") {
  auto shards = shards_of(2);
  for (int i = 0; i < 3; ++i) shards[0].inner().inject(from_peer_of(shards[1]));
  CHECK(receive(shards[0]).packets.empty());
  shards[1].inner().set_status(DeviceStatus::down);
  CHECK(receive(shards[1], 2).status == DeviceStatus::ok);  // more strays
  shards[1].inner().set_status(DeviceStatus::failed);
  CHECK(receive(shards[1], 2).status == DeviceStatus::failed);
}

namespace {

struct NoEvents {
  int eventfd(unsigned, int) noexcept { return -EMFILE; }
  int close(int) noexcept { return 0; }
  ssize_t read(int, MutableBytes) noexcept { return -EBADF; }
  ssize_t writev(int, std::span<const iovec>) noexcept { return -EBADF; }
};

}  // namespace

TEST_CASE("no shards where there is no descriptor for a wake-up", "[device][shard]") {
  std::error_code ec;
  CHECK(make_shards(std::vector<MockDevice>(2), key, ec, 0, NoEvents{}).empty());
  CHECK(ec == std::errc::too_many_files_open);
  CHECK(make_shards(std::vector<MockDevice>{}, key).empty());
}
