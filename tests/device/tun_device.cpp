// SPDX-License-Identifier: BSL-1.0

// The packet path of a TUN device, against a kernel whose reads and writes answer as scripted.

#include "catch.hpp"
#include "fake_system.hpp"
#include <tunic/device/tun_device.hpp>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

using namespace tunic;
using test::FakeInterface;
using test::FakeKernel;
using test::FakeSystem;
using Packet = std::vector<std::byte>;

namespace {

// Looks like IP as far as a device looks at all; the rest tells packets apart.
Packet packet(std::size_t size, int mark, int version = 4) {
  Packet bytes(size, static_cast<std::byte>(mark));
  bytes[0] = static_cast<std::byte>(version << 4 | 5);
  return bytes;
}

Packet information(int protocol, int flags, const Packet& behind) {
  Packet bytes{static_cast<std::byte>(flags), std::byte{0}, static_cast<std::byte>(protocol >> 8),
               static_cast<std::byte>(protocol & 0xff)};
  bytes.insert(bytes.end(), behind.begin(), behind.end());
  return bytes;
}

Packet bytes_of(const RxPacket& received) { return {received.bytes.begin(), received.bytes.end()}; }

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

// A device that is open, with a pool and room for a batch.
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

}  // namespace

TEST_CASE("packets are read until the queue is empty, one behind the other", "[device][tun]") {
  Fixture fixture;
  for (int i = 1; i <= 40; ++i) fixture.kernel.reads.push_back({packet(1500, i)});
  const RxResult result = fixture.receive();
  CHECK(result.count == 40);
  CHECK(result.status == DeviceStatus::would_block);
  for (std::size_t i = 0; i < 40; ++i) {
    REQUIRE(bytes_of(fixture.batch[i]) == packet(1500, static_cast<int>(i) + 1));
  }
  CHECK(fixture.source.given == 1);  // all in one block
  CHECK(fixture.device.counters().rx_packets == 40);
  CHECK(fixture.device.counters().rx_bytes == 40 * 1500);
}

TEST_CASE("a full batch says that there may be more", "[device][tun]") {
  Fixture fixture;
  for (int i = 1; i <= 5; ++i) fixture.kernel.reads.push_back({packet(100, i)});
  CHECK(fixture.receive(0).count == 0);
  const RxResult first = fixture.receive(3);
  CHECK(first.count == 3);
  CHECK(first.status == DeviceStatus::ok);
  const RxResult rest = fixture.receive(3);
  CHECK(rest.count == 2);
  CHECK(rest.status == DeviceStatus::would_block);
  CHECK(bytes_of(fixture.batch[1]) == packet(100, 5));
}

TEST_CASE("a full block ends the batch and says that there may be more", "[device][tun]") {
  Fixture fixture{{.mtu_bytes = 65535}};
  fixture.kernel.reads = {{packet(65535, 1)}, {packet(65535, 2)}};
  for (int i = 1; i <= 2; ++i) {
    const RxResult result = fixture.receive();
    CHECK(result.count == 1);
    CHECK(result.status == DeviceStatus::ok);
    CHECK(bytes_of(fixture.batch[0]) == packet(65535, i));
  }
  CHECK(fixture.receive().status == DeviceStatus::would_block);
  CHECK(fixture.source.given == 1);
}

TEST_CASE("the block is kept between calls and given back at the end", "[device][tun]") {
  Fixture fixture;
  for (int i = 0; i < 1000; ++i) {
    fixture.kernel.reads.push_back({packet(1500, i & 0x7f)});
    REQUIRE(fixture.receive().count == 1);
  }
  CHECK(fixture.source.asked == 1);
  const std::size_t used = fixture.pool.used_bytes();
  CHECK(used == BlockPool::class_bytes.back());

  BasicTunDevice<FakeSystem> moved{std::move(fixture.device)};
  CHECK(fixture.pool.used_bytes() == used);
  moved.close();
  CHECK(fixture.pool.used_bytes() == 0);
}

TEST_CASE("a stack over its budget still receives", "[device][tun]") {
  Fixture fixture;
  CHECK(fixture.receive().count == 0);
  REQUIRE(fixture.pool.try_charge(fixture.pool.budget_bytes() - fixture.pool.used_bytes()));
  fixture.kernel.reads.push_back({packet(1500, 1)});
  CHECK(fixture.receive().count == 1);
  fixture.pool.uncharge(fixture.pool.budget_bytes() - BlockPool::class_bytes.back());
}

TEST_CASE("a pool that refuses the largest block gives a lesser one, until it can",
          "[device][tun]") {
  Fixture fixture;
  const std::size_t lesser = GENERATE(0, 1, 2);  // one of the classes below
  if (BlockPool::class_capacity(lesser) <= 1500) return;
  fixture.source.largest = BlockPool::class_bytes[lesser];
  for (int i = 1; i <= 12; ++i) fixture.kernel.reads.push_back({packet(1500, i)});
  const RxResult result = fixture.receive();
  CHECK(result.count == BlockPool::class_capacity(lesser) / 1501);
  CHECK(result.status == DeviceStatus::ok);
  CHECK(bytes_of(fixture.batch[0]) == packet(1500, 1));

  fixture.source.largest = BlockPool::class_bytes.back();
  CHECK(fixture.receive().count == 12 - result.count);
  CHECK(fixture.pool.used_bytes() == BlockPool::class_bytes.back());  // the lesser one went back
}

TEST_CASE("without memory for one packet the queue is emptied and its packets are counted",
          "[device][tun]") {
  Fixture fixture;
  fixture.source.largest = 0;
  fixture.kernel.reads = {{packet(1500, 1)}, {{}, -EINTR}, {packet(1500, 2)}};
  const RxResult drained = fixture.receive();
  CHECK(drained.count == 0);
  CHECK(drained.status == DeviceStatus::would_block);  // and not readable: no loop spins
  CHECK(fixture.kernel.reads.empty());
  CHECK(fixture.device.counters().rx_no_memory == 2);

  fixture.kernel.reads = {{packet(1500, 1)}, {packet(1500, 2)}, {packet(1500, 3)}};
  CHECK(fixture.receive(2).status == DeviceStatus::ok);  // bounded by the batch
  CHECK(fixture.kernel.reads.size() == 1);

  fixture.source.largest = 1 << 20;
  CHECK(fixture.receive().count == 1);
  CHECK(bytes_of(fixture.batch[0]) == packet(1500, 3));
}

TEST_CASE("a read that fails ends the batch with its packets", "[device][tun]") {
  struct Row {
    int answer;
    DeviceStatus expected;
  };
  const auto row = GENERATE(Row{-EAGAIN, DeviceStatus::would_block}, Row{-EIO, DeviceStatus::down},
                            Row{-EBADFD, DeviceStatus::failed}, Row{-EBADF, DeviceStatus::failed},
                            Row{-EFAULT, DeviceStatus::failed}, Row{0, DeviceStatus::failed});
  CAPTURE(row.answer);
  Fixture fixture;
  SECTION("after a packet") {
    fixture.kernel.reads = {{packet(100, 1)}, {{}, -EINTR}, {{}, row.answer}, {packet(100, 2)}};
    const RxResult result = fixture.receive();
    CHECK(result.count == 1);
    CHECK(result.status == row.expected);
    CHECK(bytes_of(fixture.batch[0]) == packet(100, 1));
  }
  SECTION("without memory") {
    fixture.source.largest = 0;
    fixture.kernel.reads = {{packet(100, 1)}, {{}, row.answer}};
    const RxResult result = fixture.receive();
    CHECK(result.count == 0);
    CHECK(result.status == row.expected);
  }
}

TEST_CASE("a packet larger than the MTU makes the device ask for it", "[device][tun]") {
  Fixture fixture{{.name = "tun0"}};
  fixture.kernel.interfaces["tun0"].mtu = 9000;  // behind our back
  fixture.kernel.reads = {{packet(1500, 1)}, {packet(4000, 2)}, {packet(9000, 3)}};
  SECTION("while there is room it is received") {
    CHECK(fixture.receive().count == 3);
    CHECK(bytes_of(fixture.batch[2]) == packet(9000, 3));
    CHECK(fixture.device.counters().rx_truncated == 0);
  }
  SECTION("without room it is lost, and the next is not") {
    fixture.source.largest = BlockPool::class_bytes[1];  // 2 KiB
    fixture.kernel.reads.pop_front();
    CHECK(fixture.receive().count == 0);
    CHECK(fixture.device.counters().rx_truncated == 2);
    fixture.source.largest = 1 << 20;
    fixture.kernel.reads = {{packet(9000, 4)}};
    CHECK(fixture.receive().count == 1);
    CHECK(bytes_of(fixture.batch[0]) == packet(9000, 4));
  }
  CHECK(fixture.device.caps().mtu_bytes == 9000);
  CHECK(fixture.kernel.descriptors.size() == 1);

  const TxResult told = fixture.send({packet(100, 1)});
  CHECK(told.accepted == 0);
  CHECK(told.status == DeviceStatus::replan);
  CHECK(fixture.kernel.written.empty());
  CHECK(fixture.send({packet(100, 1)}).accepted == 1);
}

TEST_CASE("where the MTU can't be asked for, larger packets are received all the same",
          "[device][tun]") {
  Fixture fixture{{.name = "tun0"}};
  SECTION("no socket") { fixture.kernel.fail_with = EMFILE; }
  SECTION("no answer") { fixture.kernel.fail_with = EPERM, ++fixture.kernel.fail_at; }
  fixture.kernel.fail_at += fixture.kernel.calls.size() + 1;
  for (int i = 0; i < 20; ++i) fixture.kernel.reads.push_back({packet(4000, i)});
  std::size_t received = 0;
  for (int i = 0; i < 20; ++i) received += fixture.receive().count;
  CHECK(received == 20);
  CHECK(fixture.device.caps().mtu_bytes == 1500);
  CHECK(fixture.send({packet(100, 1)}).status == DeviceStatus::ok);
  CHECK(fixture.kernel.descriptors.size() == 1);
}

TEST_CASE("packet information is read and skipped", "[device][tun]") {
  Fixture fixture{{.name = "tun0", .packet_information = true}};
  CHECK((fixture.kernel.interfaces["tun0"].mode & IFF_NO_PI) == 0);
  fixture.kernel.reads = {
      {information(0x0800, 0, packet(100, 1))},
      {information(0x8847, 0, packet(100, 2))},              // MPLS that begins like IPv4
      {information(0x86dd, 0, packet(100, 3, 6))},           // IPv6
      {information(0x0800, TUN_PKT_STRIP, packet(100, 4))},  // cut short, says the kernel
      {{std::byte{0}, std::byte{0}, std::byte{8}}},          // less than the information itself
      {information(0x0800, 0, {})},
      {information(0x0800, 0, packet(1500, 5))},
  };
  const RxResult result = fixture.receive();
  REQUIRE(result.count == 3);
  CHECK(result.status == DeviceStatus::would_block);
  CHECK(bytes_of(fixture.batch[0]) == packet(100, 1));
  CHECK(bytes_of(fixture.batch[1]) == packet(100, 3, 6));
  CHECK(bytes_of(fixture.batch[2]) == packet(1500, 5));
  CHECK(fixture.device.counters().rx_not_ip == 1);
  CHECK(fixture.device.counters().rx_truncated == 3);
  CHECK(fixture.device.mtu_bytes() == 1500);
}

TEST_CASE("a flood of packets to be skipped does not hold up the caller", "[device][tun]") {
  Fixture fixture{{.packet_information = true}};
  for (int i = 0; i < 100; ++i) {
    fixture.kernel.reads.push_back({information(0x8847, 0, packet(100, i))});
  }
  const RxResult result = fixture.receive();
  CHECK(result.count == 0);
  CHECK(result.status == DeviceStatus::ok);
  CHECK(fixture.kernel.reads.size() == 36);
}

TEST_CASE("packet information is written as the packet's version says", "[device][tun]") {
  Fixture fixture{{.packet_information = true}};
  CHECK(fixture.send({packet(40, 1), packet(60, 2, 6)}).accepted == 2);
  CHECK(fixture.kernel.written[0] == information(0x0800, 0, packet(40, 1)));
  CHECK(fixture.kernel.written[1] == information(0x86dd, 0, packet(60, 2, 6)));
  CHECK(fixture.device.counters().tx_bytes == 100);

  const Packet whole = packet(40, 3, 6);
  const std::array pieces{Bytes{}, Bytes{whole}};
  const TxPacket gathered{.pieces = pieces, .size_bytes = 40};
  CHECK(fixture.device.send({&gathered, 1}).accepted == 1);
  CHECK(fixture.kernel.written[2] == information(0x86dd, 0, whole));
}

TEST_CASE("pieces are gathered in order, as many as a packet may have", "[device][tun]") {
  const bool with_information = GENERATE(false, true);
  Fixture fixture{{.packet_information = with_information}};
  const Packet whole = packet(100, 7);
  std::vector<Bytes> pieces;
  for (std::size_t i = 0; i < 23; ++i) pieces.push_back(Bytes{whole}.subspan(i, 1));
  pieces.push_back(Bytes{whole}.subspan(23));
  REQUIRE(pieces.size() == BasicTunDevice<FakeSystem>::max_pieces);
  TxPacket gathered{.pieces = pieces, .size_bytes = 100};
  CHECK(fixture.device.send({&gathered, 1}).accepted == 1);
  CHECK(fixture.kernel.written.back() ==
        (with_information ? information(0x0800, 0, whole) : whole));

  pieces.insert(pieces.begin(), Bytes{});
  gathered.pieces = pieces;
  const TxResult refused = fixture.device.send({&gathered, 1});
  CHECK(refused.accepted == 1);  // and dropped: it would never go
  CHECK(refused.status == DeviceStatus::ok);
  CHECK(fixture.device.counters().tx_too_many_pieces == 1);
  CHECK(fixture.kernel.written.size() == 1);
}

TEST_CASE("a kernel that takes no more is waited for", "[device][tun]") {
  const int error_number = GENERATE(EAGAIN, ENOBUFS, ENOMEM);
  Fixture fixture;
  fixture.kernel.writes = {40, -EINTR, 40, -error_number};
  const TxResult result =
      fixture.send({packet(40, 1), packet(40, 2), packet(40, 3), packet(40, 4)});
  CHECK(result.accepted == 2);
  CHECK(result.status == DeviceStatus::would_block);
  CHECK(fixture.device.wants_write());
  CHECK(fixture.device.counters().tx_packets == 2);
  CHECK(fixture.device.counters().tx_would_block == 1);
  CHECK(fixture.kernel.written[1] == fixture.kernel.written[2]);  // interrupted, and written again

  CHECK(fixture.send({packet(40, 3), packet(40, 4)}).accepted == 2);
  CHECK_FALSE(fixture.device.wants_write());
}

TEST_CASE("a packet that the kernel will never take does not stop the others", "[device][tun]") {
  const int error_number = GENERATE(EINVAL, EMSGSIZE);
  Fixture fixture;
  fixture.kernel.writes = {-error_number};
  const TxResult result = fixture.send({packet(40, 1), packet(40, 2)});
  CHECK(result.accepted == 2);
  CHECK(result.status == DeviceStatus::ok);
  CHECK(fixture.device.counters().tx_refused == 1);
  CHECK(fixture.device.counters().tx_packets == 1);
}

TEST_CASE("a short write is counted and not repeated", "[device][tun]") {
  const bool with_information = GENERATE(false, true);
  Fixture fixture{{.packet_information = with_information}};
  fixture.kernel.writes = {39, 2};
  const TxResult result = fixture.send({packet(40, 1), packet(40, 2), packet(40, 3)});
  CHECK(result.accepted == 3);
  CHECK(fixture.kernel.written.size() == 3);
  CHECK(fixture.device.counters().tx_short == 2);
  CHECK(fixture.device.counters().tx_packets == 1);
  CHECK(fixture.device.counters().tx_bytes == (with_information ? 35 + 0 + 40 : 39 + 2 + 40));
}

TEST_CASE("an interface that is down says so and can come back", "[device][tun]") {
  Fixture fixture;
  fixture.kernel.writes = {40, -EIO};
  const TxResult result = fixture.send({packet(40, 1), packet(40, 2)});
  CHECK(result.accepted == 1);
  CHECK(result.status == DeviceStatus::down);
  CHECK_FALSE(fixture.device.wants_write());
  CHECK(fixture.send({packet(40, 2)}).status == DeviceStatus::ok);
}

TEST_CASE("an interface that was deleted has failed", "[device][tun]") {
  const int error_number = GENERATE(EBADFD, EBADF, EFAULT);
  Fixture fixture;
  fixture.kernel.writes = {40, -error_number};
  const TxResult result = fixture.send({packet(40, 1), packet(40, 2)});
  CHECK(result.accepted == 1);
  CHECK(result.status == DeviceStatus::failed);
}

TEST_CASE("a closed device fails at once", "[device][tun]") {
  BasicTunDevice<FakeSystem> device;
  BlockPool pool{1 << 20};
  std::array<RxPacket, 4> batch{};
  CHECK(device.receive(batch, pool).status == DeviceStatus::failed);
  CHECK(device.send({}).status == DeviceStatus::failed);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("sending nothing ends the wish to write", "[device][tun]") {
  Fixture fixture;
  fixture.kernel.writes = {-EAGAIN};
  CHECK(fixture.send({packet(40, 1)}).accepted == 0);
  CHECK(fixture.device.wants_write());
  const TxResult result = fixture.send({});
  CHECK(result.accepted == 0);
  CHECK(result.status == DeviceStatus::ok);
  CHECK_FALSE(fixture.device.wants_write());
}
