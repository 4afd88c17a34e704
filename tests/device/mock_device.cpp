// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "packets.hpp"
#include <tunic/device/mock_device.hpp>

#include <array>
#include <limits>
#include <utility>

using namespace tunic;
using device_test::receive;
using device_test::send;
using device_test::Texts;

TEST_CASE("what is injected is received, in order and at most a batch at once", "[device][mock]") {
  MockDevice device;
  CHECK(receive(device).status == DeviceStatus::would_block);
  for (const char* text : {"one", "two", "three"}) device.inject(as_bytes(text));
  CHECK(device.pending() == 3);

  const auto first = receive(device, 2);
  CHECK(first.texts == Texts{"one", "two"});
  CHECK(first.status == DeviceStatus::ok);
  CHECK(device.pending() == 1);
  const auto rest = receive(device, 2);
  CHECK(rest.texts == Texts{"three"});
  CHECK(rest.status == DeviceStatus::would_block);
  CHECK(receive(device).texts.empty());
}

TEST_CASE("a batch that is filled exactly says that there is nothing more", "[device][mock]") {
  MockDevice device;
  device.inject(as_bytes("one"));
  CHECK(receive(device, 1).status == DeviceStatus::would_block);
}

TEST_CASE("received packets live until the next receive, whatever is injected", "[device][mock]") {
  MockDevice device;
  BlockPool pool{0};
  std::array<RxPacket, 4> batch{};
  device.inject(as_bytes("lent"));
  REQUIRE(device.receive(batch, pool).count == 1);
  const Bytes lent = batch[0].bytes;
  for (int i = 0; i < 100; ++i) device.inject(as_bytes("next"));
  CHECK(as_text(lent) == "lent");
  REQUIRE(device.receive(batch, pool).count == 4);
  CHECK(as_text(batch[0].bytes) == "next");
}

TEST_CASE("what is sent is taken, whole and in order", "[device][mock]") {
  MockDevice device;
  const std::array pieces{as_bytes("head"), as_bytes("body")};
  const TxPacket gathered{.pieces = pieces, .size_bytes = 8, .reason = TxReason::reset};
  CHECK(device.send({&gathered, 1}).accepted == 1);
  CHECK(send(device, {"second"}).accepted == 1);
  CHECK(device.sent() == 2);
  CHECK(device.accepted() == 2);

  CHECK(as_text(device.front()) == "headbody");
  CHECK(device.front_reason() == TxReason::reset);
  device.drop_front();
  const auto taken = device.take();
  REQUIRE(taken);
  CHECK(as_text(*taken) == "second");
  CHECK_FALSE(device.take());
  CHECK(device.accepted() == 2);

  send(device, {"a", "b"});
  device.drop_sent();
  CHECK(device.sent() == 0);
}

TEST_CASE("a full device blocks until something is taken", "[device][mock]") {
  MockDevice device{{.capacity = 2}};
  const TxResult result = send(device, {"a", "b", "c"});
  CHECK(result.accepted == 2);
  CHECK(result.status == DeviceStatus::would_block);
  CHECK(device.wants_write());
  device.drop_front();
  CHECK(send(device, {"c"}).status == DeviceStatus::ok);
  CHECK_FALSE(device.wants_write());
  device.set_capacity(1);
  CHECK(send(device, {"d"}).accepted == 0);
  CHECK(device.sent() == 2);
}

TEST_CASE("a device fails for good after the packets it was told", "[device][mock]") {
  MockDevice device;
  send(device, {"before"});
  device.fail_after(2);
  device.inject(as_bytes("in"));
  CHECK(receive(device).texts == Texts{"in"});
  const TxResult result = send(device, {"a", "b", "c"});
  CHECK(result.accepted == 2);
  CHECK(result.status == DeviceStatus::failed);
  device.inject(as_bytes("in"));
  CHECK(receive(device).status == DeviceStatus::failed);
  CHECK(receive(device).texts.empty());

  MockDevice broken;
  broken.fail_after(0);
  CHECK(send(broken, {"a"}).status == DeviceStatus::failed);
  MockDevice lasting;
  send(lasting, {"a"});
  lasting.fail_after(std::numeric_limits<std::uint64_t>::max());
  CHECK(send(lasting, {"a"}).status == DeviceStatus::ok);
}

TEST_CASE("a device answers what it was set to, and nothing is lost by it", "[device][mock]") {
  const auto status = GENERATE(DeviceStatus::down, DeviceStatus::failed, DeviceStatus::would_block);
  MockDevice device;
  device.inject(as_bytes("in"));
  device.set_status(status);
  CHECK(receive(device).status == status);
  const TxResult refused = send(device, {"out"});
  CHECK(refused.accepted == 0);
  CHECK(refused.status == status);
  CHECK(device.wants_write() == (status == DeviceStatus::would_block));
  CHECK(device.pending() == 1);
  device.set_status(DeviceStatus::ok);
  CHECK(receive(device).texts == Texts{"in"});
  CHECK(send(device, {"out"}).accepted == 1);
}

TEST_CASE("a changed MTU is found by the next send", "[device][mock]") {
  MockDevice device{{.mtu_bytes = 9000, .tx_batch = 3}};
  CHECK(device.caps().mtu_bytes == 9000);
  CHECK(device.caps().tx_batch == 3);
  device.set_mtu_bytes(4);
  CHECK(device.caps().mtu_bytes == 9000);
  CHECK(send(device, {}).status == DeviceStatus::ok);
  CHECK(device.caps().mtu_bytes == 9000);
  const TxResult told = send(device, {"abcd", "abcde"});
  CHECK(told.accepted == 0);
  CHECK(told.status == DeviceStatus::replan);
  CHECK(device.caps().mtu_bytes == 4);
  CHECK(send(device, {"abcd", "abcde"}).accepted == 2);
  CHECK(device.oversized() == 1);
}

TEST_CASE("offloads are kept with a packet, and end when told", "[device][mock]") {
  MockDevice device{{.mtu_bytes = 50, .partial_checksums = true, .segmentation = true}};
  const Offload partial{.checksum = ChecksumState::partial};
  const Offload several{.checksum = ChecksumState::partial,
                        .segmentation = Segmentation::tcp_v4,
                        .header_bytes = 40,
                        .segment_bytes = 10};
  const std::string text(200, 'x');
  const Bytes piece = as_bytes(text);
  const auto offer = [&](const Offload& offload) {
    const TxPacket packet{.pieces = {&piece, 1}, .size_bytes = 200, .offload = offload};
    return device.send({&packet, 1}).status;
  };
  CHECK(offer(several) == DeviceStatus::ok);
  CHECK(device.front_offload() == several);
  CHECK(device.oversized() == 0);
  CHECK(device.not_offered() == 0);
  device.end_segmentation();
  CHECK(offer(partial) == DeviceStatus::ok);
  CHECK(device.oversized() == 1);
  CHECK(offer(several) == DeviceStatus::replan);
  CHECK(device.caps().partial_checksums);
  CHECK_FALSE(device.caps().tcp_v4_segmentation);
  CHECK(offer(several) == DeviceStatus::ok);
  CHECK(device.not_offered() == 1);
  device.end_partial_checksums();
  CHECK(offer({}) == DeviceStatus::ok);
  CHECK(offer(partial) == DeviceStatus::replan);
  CHECK_FALSE(device.caps().partial_checksums);

  device.inject(as_bytes("in"), partial);
  std::array<RxPacket, 2> batch{};
  BlockPool pool{0};
  REQUIRE(device.receive(batch, pool).count == 1);
  CHECK(batch[0].offload == partial);
}

TEST_CASE("a mock device keeps its packets when it moves", "[device][mock]") {
  MockDevice device;
  device.inject(as_bytes("in"));
  send(device, {"out"});
  MockDevice moved{std::move(device)};
  CHECK(receive(moved).texts == Texts{"in"});
  CHECK(as_text(moved.front()) == "out");
}
