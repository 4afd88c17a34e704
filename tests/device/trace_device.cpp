// SPDX-License-Identifier: BSL-1.0

#include "../support/offload.hpp"
#include "catch.hpp"
#include "packets.hpp"
#include <tunic/device/fault_device.hpp>
#include <tunic/device/mock_device.hpp>
#include <tunic/device/trace_device.hpp>
#include <tunic/device/tun_device.hpp>

#include <array>
#include <chrono>
#include <string>

using namespace tunic;
using device_test::receive;
using device_test::send;
using device_test::Texts;

namespace {

struct Ignore {
  void operator()(const TracedPacket&) noexcept {}
};

static_assert(!TimedDevice<TraceDevice<MockDevice, Ignore>>);
static_assert(!PollableDevice<TraceDevice<MockDevice, Ignore>>);
static_assert(PollableDevice<TraceDevice<TunDevice, Ignore>>);
static_assert(AddressedDevice<TraceDevice<TunDevice, Ignore>>);
static_assert(TimedDevice<TraceDevice<FaultDevice<TunDevice>, Ignore>>);

std::string line(const TracedPacket& packet) {
  const std::string direction = packet.direction == Direction::in ? "in " : "out ";
  return direction + std::string{as_text(packet.bytes)};
}

}  // namespace

TEST_CASE("every packet that passes is shown, whole", "[device][trace]") {
  Texts seen;
  TraceDevice device{MockDevice{{.mtu_bytes = 1280}},
                     [&](const TracedPacket& packet) { seen.push_back(line(packet)); }};
  CHECK(device.caps().mtu_bytes == 1280);
  device.inner().inject(as_bytes("one"));
  device.inner().inject(as_bytes("two"));
  CHECK(receive(device).texts == Texts{"one", "two"});
  CHECK(receive(device).status == DeviceStatus::would_block);

  const std::array pieces{as_bytes("head"), as_bytes("body")};
  const TxPacket gathered{.pieces = pieces, .size_bytes = 8};
  CHECK(device.send({&gathered, 1}).accepted == 1);
  send(device, {"x"});
  CHECK(seen == Texts{"in one", "in two", "out headbody", "out x"});
}

TEST_CASE("why a packet was sent is shown, and refused packets are not", "[device][trace]") {
  std::vector<TxReason> reasons;
  TraceDevice device{MockDevice{{.capacity = 2}},
                     [&](const TracedPacket& packet) { reasons.push_back(packet.reason); }};
  const TxResult result = send(device, {"a", "b", "c"}, TxReason::probe);
  CHECK(result.accepted == 2);
  CHECK(result.status == DeviceStatus::would_block);
  CHECK(reasons == std::vector{TxReason::probe, TxReason::probe});
}

TEST_CASE("offloads pass, and what they become on a wire is shown", "[device][trace]") {
  std::vector<testing::Decoded> seen;
  TraceDevice device{MockDevice{test::with_offloads}, [&](const TracedPacket& packet) {
                       seen.push_back(testing::decode({packet.bytes.begin(), packet.bytes.end()}));
                     }};
  CHECK(device.caps().tcp_v4_segmentation);
  const auto whole = testing::segment({test::host_ip, 80}, {test::peer_ip, 40000})
                         .ack(1)
                         .payload(std::string(2500, 'x'))
                         .packet();
  const Offload offload = test::received(1000);
  device.inner().inject(whole, offload);
  std::array<RxPacket, 4> batch{};
  BlockPool pool{0};
  REQUIRE(device.receive(batch, pool).count == 1);
  CHECK(batch[0].bytes.size() == whole.size());
  CHECK(batch[0].offload == offload);
  const Bytes piece{whole};
  const TxPacket packet{.pieces = {&piece, 1}, .size_bytes = whole.size(), .offload = offload};
  CHECK(device.send({&packet, 1}).accepted == 1);
  CHECK(device.inner().front_offload() == offload);
  REQUIRE(seen.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    REQUIRE_FALSE(seen[i].malformed.has_value());
    CHECK(seen[i].tcp->payload.size() == (i % 3 == 2 ? 500 : 1000));
  }
}

TEST_CASE("a trace passes on the time of a device that has timers", "[device][trace]") {
  constexpr Instant start{std::chrono::seconds{1}};
  constexpr Duration delay = std::chrono::milliseconds{10};
  TraceDevice device{FaultDevice{MockDevice{}, {.delay = delay}, {}}, Ignore{}};
  device.poll(start);
  send(device, {"a"});
  CHECK(device.next_timeout() == start + delay);
  device.poll(start + delay);
  CHECK(device.inner().inner().sent() == 1);
}
