// SPDX-License-Identifier: BSL-1.0

// How a TUN device receives, against a kernel whose reads answer as scripted.

#include "catch.hpp"
#include "tun_fixture.hpp"

#include <cerrno>
#include <cstddef>
#include <utility>

using namespace tunic;
using namespace tunic::device_test;

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

TEST_CASE("room for a packet and not a byte more is not used", "[device][tun]") {
  // It could not be told from the beginning of a larger packet.
  constexpr std::size_t rest = BlockPool::largest_capacity - 1600;
  Fixture fixture{{.mtu_bytes = rest}};
  fixture.kernel.reads = {{packet(1600, 1)}, {packet(rest, 2)}};
  const RxResult first = fixture.receive();
  CHECK(first.count == 1);
  CHECK(first.status == DeviceStatus::ok);
  CHECK(fixture.receive().count == 1);
  CHECK(bytes_of(fixture.batch[0]) == packet(rest, 2));
  CHECK(fixture.device.counters().rx_truncated == 0);
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

TEST_CASE("a packet that lies alone may be taken with its block, for another one",
          "[device][tun]") {
  Fixture fixture{{.mtu_bytes = 65535}};
  fixture.kernel.reads = {{packet(60'000, 1)}};
  REQUIRE(fixture.receive().count == 1);
  REQUIRE(fixture.batch[0].block != nullptr);
  Block* const other = fixture.pool.allocate(BlockPool::largest_capacity);
  Block* const taken = std::exchange(*fixture.batch[0].block, other);
  CHECK(taken->offset_of(fixture.batch[0].bytes) < taken->capacity);
  fixture.kernel.reads.push_back({packet(60'000, 2)});
  REQUIRE(fixture.receive().count == 1);
  CHECK(other->offset_of(fixture.batch[0].bytes) < other->capacity);
  CHECK(taken->data()[100] == std::byte{1});
  fixture.pool.release(taken);
}

TEST_CASE("a block that holds several packets is not to be taken", "[device][tun]") {
  Fixture fixture;
  fixture.kernel.reads = {{packet(1000, 1)}, {packet(1000, 2)}};
  REQUIRE(fixture.receive().count == 2);
  CHECK(fixture.batch[0].block == nullptr);
  CHECK(fixture.batch[1].block == nullptr);
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
  const auto lesser = GENERATE(std::size_t{1}, std::size_t{2});  // a class below the largest
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
