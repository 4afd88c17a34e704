// SPDX-License-Identifier: BSL-1.0

// The virtio-net header on a TUN descriptor, against a fake kernel: how it is agreed on, and a
// kernel that refuses later what it granted.
#include "../support/virtio_net.hpp"

using namespace tunic;
using namespace tunic::device_test;

TEST_CASE("the header stands before each packet, behind the packet information",
          "[conformance][VNH-01]") {
  const bool with_information = GENERATE(false, true);
  const std::size_t size = GENERATE(10U, 12U, 24U);
  FakeKernel kernel = modern();
  kernel.vnet_header = static_cast<int>(size);
  if (size != 10) kernel.refused = {"TUNSETVNETHDRSZ"};  // so it stays as it was
  Offloading tun{{.packet_information = with_information}, kernel};
  CHECK((tun.kernel.interfaces["tun0"].mode & IFF_VNET_HDR) != 0);

  const Packet first = tcp_packet(10), second = packet(60, 3, 6);
  const Packet framed = put({.flags = 2}, first, size);
  tun.kernel.reads = {{with_information ? information(0x0800, 0, framed) : framed}};
  REQUIRE(tun.receive().count == 1);
  CHECK(bytes_of(tun.batch[0]) == first);
  CHECK(tun.batch[0].offload.checksum == ChecksumState::verified);
  CHECK(tun.device.counters().rx_bytes == first.size());

  CHECK(tun.send(first).accepted == 1);
  CHECK(tun.send(second).accepted == 1);
  const Packet plain = put({}, first, size), plain_v6 = put({}, second, size);
  CHECK(tun.kernel.written[0] == (with_information ? information(0x0800, 0, plain) : plain));
  CHECK(tun.kernel.written[1] == (with_information ? information(0x86dd, 0, plain_v6) : plain_v6));
  CHECK(tun.device.counters().tx_bytes == first.size() + second.size());
}

TEST_CASE("a kernel that knows only one size of the header has ten bytes",
          "[conformance][VNH-01]") {
  FakeKernel kernel = modern();
  kernel.refused = {"TUNSETVNETHDRSZ", "TUNGETVNETHDRSZ"};
  Offloading tun{{}, kernel};
  tun.kernel.reads = {{put({}, tcp_packet(10))}};
  REQUIRE(tun.receive().count == 1);
  CHECK(bytes_of(tun.batch[0]) == tcp_packet(10));
}

TEST_CASE("an adopted descriptor has the header if it says so", "[conformance][VNH-01]") {
  FakeKernel kernel = modern();
  const bool wanted = GENERATE(true, false);
  kernel.interfaces["vpn0"] = {.mode = IFF_NO_PI | IFF_VNET_HDR, .offload = TUN_F_CSUM};
  const int fd = kernel.attach_elsewhere("vpn0");
  Offloading tun{{.fd = fd, .offload = wanted}, kernel};
  CHECK(tun.kernel.interfaces["vpn0"].offload == static_cast<int>(wanted ? every_offload : 0));
  CHECK(tun.device.caps().partial_checksums == wanted);
  CHECK(tun.send(tcp_packet(10)).accepted == 1);
  CHECK(tun.kernel.written[0] == put({}, tcp_packet(10)));
}

TEST_CASE("offloads are asked for after the interface is there, less and less",
          "[conformance][VNH-04]") {
  struct Row {
    unsigned kernel_knows, granted;
    bool checksums, segmentation, ecn;
  };
  const auto row = GENERATE(Row{every_offload, every_offload, true, true, true},
                            Row{0x4f, 0x0f, true, true, true},  // never USO6 without USO4
                            Row{0x0f, 0x0f, true, true, true}, Row{0x07, 0x07, true, true, false},
                            Row{0x01, 0x01, true, false, false}, Row{0, 0, false, false, false});
  CAPTURE(row.kernel_knows);
  FakeKernel kernel = modern();
  kernel.knows_offloads = row.kernel_knows;
  {
    Offloading tun{{}, kernel};
    CHECK(tun.kernel.interfaces["tun0"].offload == static_cast<int>(row.granted));
    const DeviceCaps caps = tun.device.caps();
    CHECK(caps.partial_checksums == row.checksums);
    CHECK(caps.tcp_v4_segmentation == row.segmentation);
    CHECK(caps.tcp_v6_segmentation == row.segmentation);
    CHECK(caps.ecn_segmentation == row.ecn);
    const auto& calls = tun.kernel.calls;
    CHECK(std::ranges::find(calls, "TUNSETOFFLOAD") > std::ranges::find(calls, "TUNSETIFF"));
  }
  Talk talk{kernel};
  talk.connect();
  talk.transfer(300'000);
  CHECK((talk.largest > 1500) == row.segmentation);
}

TEST_CASE("a kernel without the header, or without an answer, carries packets as ever",
          "[conformance][VNH-04]") {
  FakeKernel kernel = modern();
  SECTION("it does not know the header") { kernel.features = IFF_TUN | IFF_TAP | IFF_NO_PI; }
  SECTION("it does not tell") { kernel.refused = {"TUNGETFEATURES"}; }
  SECTION("it knows nothing beside it") {
    kernel.refused = {"TUNSETVNETHDRSZ", "TUNGETVNETHDRSZ", "TUNSETVNETLE"};
    kernel.knows_offloads = 0;
  }
  Talk talk{kernel};
  talk.connect();
  talk.transfer(300'000);
  CHECK(talk.largest == 1040);
}

TEST_CASE("whichever call of the agreement fails, packets pass or nothing is open",
          "[conformance][VNH-04]") {
  const int error_number = GENERATE(EPERM, EINVAL, ENOTTY, ENOMEM);
  for (std::size_t fail_at = 1;; ++fail_at) {
    CAPTURE(error_number, fail_at);
    REQUIRE(fail_at < 100);
    FakeKernel kernel = modern();
    kernel.fail_at = fail_at;
    kernel.fail_with = error_number;
    std::error_code ec;
    {
      FakeTun device = FakeTun::open({.name = "tun0"}, ec, FakeSystem{&kernel});
      CHECK(device.is_open() == !ec);
      if (device) {
        const bool header = (kernel.interfaces["tun0"].mode & IFF_VNET_HDR) != 0;
        BlockPool pool{1 << 20};
        std::array<RxPacket, 4> batch{};
        kernel.reads = {{header ? put({}, tcp_packet(10)) : tcp_packet(10)}};
        REQUIRE(device.receive(batch, pool).count == 1);
        CHECK(bytes_of(batch[0]) == tcp_packet(10));
        device.close();
      }
    }
    CHECK(kernel.descriptors.empty());
    if (kernel.calls.size() < fail_at) break;
  }
}

TEST_CASE("switched off, no offload is asked for and no header stands before a packet",
          "[conformance][VNH-05]") {
  Offloading tun{{.offload = false}};
  CHECK(tun.kernel.interfaces["tun0"].offload == 0);
  CHECK((tun.kernel.interfaces["tun0"].mode & IFF_VNET_HDR) == 0);
  CHECK_FALSE(tun.device.caps().partial_checksums);
  CHECK_FALSE(tun.device.caps().tcp_v4_segmentation);
  CHECK(tun.send(tcp_packet(10)).accepted == 1);
  CHECK(tun.kernel.written[0] == tcp_packet(10));
}

TEST_CASE("without a granted offload the header is all zero", "[conformance][VNH-15]") {
  FakeKernel kernel = modern();
  kernel.knows_offloads = 0;
  Talk talk{kernel};
  talk.connect();
  REQUIRE(talk.connection.send(as_bytes("hello")).bytes == 5);
  talk.turn();
  REQUIRE(talk.kernel.written.size() == 2);
  for (const Packet& written : talk.kernel.written) {
    CHECK(Packet{written.begin(), written.begin() + 10} == Packet(10));
  }
  talk.hear();  // which looks at the checksums
}

TEST_CASE("a kernel that refuses what it granted gets the rest without, and nothing is lost",
          "[conformance][VNH-25]") {
  const int error_number = GENERATE(EINVAL, EMSGSIZE);
  const int refusals = GENERATE(1, 2);  // first of super-segments, then of partial checksums
  Talk talk;
  talk.connect();
  talk.transfer(100'000);
  CHECK(talk.largest > 9'000);
  for (int i = 0; i < refusals; ++i) talk.kernel.writes.push_back(-error_number);
  talk.largest = 0;
  talk.transfer(100'000);
  CHECK(talk.largest == 1040);
  const DeviceCaps caps = talk.stack.device().caps();
  CHECK_FALSE(caps.tcp_v4_segmentation);
  CHECK(caps.partial_checksums == (refusals == 1));
  CHECK(talk.stack.device().counters().tx_offloads_lost == static_cast<unsigned>(refusals));
  CHECK(talk.stack.device().counters().tx_refused == 0);
  CHECK(talk.stack.stats().tcp.retransmissions == 0);
}

TEST_CASE("each kind of offload is lost by itself", "[conformance][VNH-25]") {
  Offloading tun;
  Offload offload = super;
  const auto lose = [&] {
    tun.kernel.writes = {-EINVAL};
    const TxResult result = tun.send(tcp_packet(3000), offload);
    CHECK(result.accepted == 0);
    CHECK(result.status == DeviceStatus::replan);
    return tun.device.caps();
  };
  offload.ecn = true;
  DeviceCaps caps = lose();
  CHECK_FALSE(caps.ecn_segmentation);
  CHECK(caps.tcp_v4_segmentation);
  offload.ecn = false;
  caps = lose();
  CHECK_FALSE(caps.tcp_v4_segmentation);
  CHECK(caps.tcp_v6_segmentation);
  offload.segmentation = Segmentation::tcp_v6;
  caps = lose();
  CHECK_FALSE(caps.tcp_v6_segmentation);
  CHECK(caps.partial_checksums);
  offload.segmentation = Segmentation::none;
  caps = lose();
  CHECK_FALSE(caps.partial_checksums);
  // Without any it is the packet's own fault.
  tun.kernel.writes = {-EINVAL};
  CHECK(tun.send(tcp_packet(10)).accepted == 1);
  CHECK(tun.device.counters().tx_refused == 1);
}

TEST_CASE("whichever write fails, and however, the transfer completes", "[conformance][VNH-25]") {
  const int answer = GENERATE(-EAGAIN, -ENOBUFS, -ENOMEM, -EINTR, -EINVAL, -EIO, 17);
  for (std::size_t at = 0; at < 12; ++at) {
    CAPTURE(answer, at);
    Talk talk;
    talk.connect();
    talk.transfer(40'000);
    talk.kernel.writes.clear();
    const std::size_t before = talk.kernel.written.size();
    // Whole writes up to the one that fails: their sizes are known once the same run was made.
    Talk trial;
    trial.connect();
    trial.transfer(40'000);
    trial.transfer(200'000);
    for (std::size_t i = 0; i < at && before + i < trial.kernel.written.size(); ++i) {
      talk.kernel.writes.push_back(static_cast<ssize_t>(trial.kernel.written[before + i].size()));
    }
    talk.kernel.writes.push_back(answer);
    talk.transfer(200'000);
  }
}
