// SPDX-License-Identifier: BSL-1.0

// How a TUN device sends, against a kernel whose writes answer as scripted.

#include "catch.hpp"
#include "tun_fixture.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

using namespace tunic;
using namespace tunic::device_test;

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
  fixture.kernel.writes = {with_information ? 43 : 39, 2};
  const TxResult result = fixture.send({packet(40, 1), packet(40, 2), packet(40, 3)});
  CHECK(result.accepted == 3);
  CHECK(fixture.kernel.written.size() == 3);
  CHECK(fixture.device.counters().tx_short == 2);
  CHECK(fixture.device.counters().tx_packets == 1);
  CHECK(fixture.device.counters().tx_bytes == (with_information ? 39 + 0 + 40 : 39 + 2 + 40));
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
