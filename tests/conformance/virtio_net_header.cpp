// SPDX-License-Identifier: BSL-1.0

// The virtio-net header on a TUN descriptor: what it looks like, and that what it says is believed
// only where it can be so.
#include "../support/virtio_net.hpp"

using namespace tunic;
using namespace tunic::device_test;

TEST_CASE("the header's layout, byte for byte", "[conformance][VNH-02]") {
  const Packet behind = tcp_packet(3000);
  const Header header{.flags = 1,
                      .gso_type = 0x81,
                      .hdr_len = 40,
                      .gso_size = 0x03e8,
                      .csum_start = 20,
                      .csum_offset = 16};
  const Offload offload{.checksum = ChecksumState::partial,
                        .segmentation = Segmentation::tcp_v4,
                        .ecn = true,
                        .header_bytes = 40,
                        .segment_bytes = 1000,
                        .checksum_start = 20,
                        .checksum_offset = 16};
  const std::endian order = GENERATE(std::endian::little, std::endian::big);
  const Packet golden = put(header, {}, 12, order);
  if (order == std::endian::little) {
    CHECK(golden == Packet{std::byte{1}, std::byte{0x81}, std::byte{40}, std::byte{0},
                           std::byte{0xe8}, std::byte{3}, std::byte{20}, std::byte{0},
                           std::byte{16}, std::byte{0}, std::byte{0}, std::byte{0}});
  }
  CHECK(parse_virtio_net(golden, behind, order) == offload);
  Packet written(12, std::byte{0xee});
  write_virtio_net(written, offload, order);
  CHECK(written == golden);
  if (order == std::endian::native) {
    CHECK(parse_virtio_net(golden, behind) == offload);
  } else {
    CHECK(parse_virtio_net(golden, behind) != offload);
  }
  for (const auto how : {Segmentation::none, Segmentation::tcp_v6, Segmentation::udp}) {
    constexpr std::uint8_t types[] = {0, 1, 4, 5};
    write_virtio_net(written, {.segmentation = how}, order);
    CHECK(written[1] == std::byte{types[static_cast<std::size_t>(how)]});
  }
}

TEST_CASE("the header is little-endian where the kernel can say so, else as the machine is",
          "[conformance][VNH-02]") {
  FakeKernel kernel = modern();
  const bool refused = GENERATE(false, true);
  if (refused) kernel.refused = {"TUNSETVNETLE"};
  Offloading tun{{}, kernel};
  CHECK(tun.kernel.little_endian == !refused);
  const std::endian order = refused ? std::endian::native : std::endian::little;
  CHECK(tun.send(tcp_packet(3000), super).accepted == 1);
  CHECK(tun.kernel.written[0] == put({.flags = 1,
                                      .gso_type = 1,
                                      .hdr_len = 40,
                                      .gso_size = 1000,
                                      .csum_start = 20,
                                      .csum_offset = 16},
                                     tcp_packet(3000), 10, order));
}

TEST_CASE("the header's length of headers is only a hint", "[conformance][VNH-10]") {
  const auto hint = static_cast<std::uint16_t>(GENERATE(0, 1, 40, 3040, 65535));
  Talk talk;
  talk.connect();
  const Packet whole = talk.segment().payload(std::string(3000, 'x')).packet();
  talk.kernel.reads = {{put({.flags = 1,
                             .gso_type = 1,
                             .hdr_len = hint,
                             .gso_size = 1000,
                             .csum_start = 20,
                             .csum_offset = 16},
                            whole)}};
  talk.turn();
  CHECK(talk.connection.readable_bytes() == 3000);
}

TEST_CASE("a header that contradicts itself or its packet is counted, and the packet dropped",
          "[conformance][VNH-11][VNH-13]") {
  struct Row {
    const char* what;
    Header header;
    Packet behind;
  };
  const Header good{
      .flags = 1, .gso_type = 1, .gso_size = 1000, .csum_start = 20, .csum_offset = 16};
  const auto but = [&](auto change) {
    Header header = good;
    change(header);
    return header;
  };
  const Packet v4 = tcp_packet(3000), v6 = packet(3000, 6, 6);
  const std::vector<Row> rows{
      {"no segment size", but([](Header& h) { h.gso_size = 0; }), v4},
      {"TCP over IPv6 in IPv4", but([](Header& h) { h.gso_type = 4; }), v4},
      {"TCP over IPv4 in IPv6", good, v6},
      {"UDP in TCP", but([](Header& h) { h.gso_type = 5; }), v4},
      {"neither IPv4 nor IPv6", good, packet(3000, 1, 7)},
      {"checksum at the end", but([](Header& h) { h.csum_start = 3039 - 16; }), v4},
      {"checksum far beyond", but([](Header& h) { h.csum_start = 65535; }), v4},
      {"its offset too", but([](Header& h) { h.csum_start = h.csum_offset = 65535; }), v4},
      {"less than an IP header", good, {v4.begin(), v4.begin() + 19}},
      {"ECN without TCP", but([](Header& h) { h.gso_type = 0x80; }), v4},
      {"UFO", but([](Header& h) { h.gso_type = 3; }), v4},
      {"types that are not known", but([](Header& h) { h.gso_type = 2; }), v4},
      {"", but([](Header& h) { h.gso_type = 7; }), v4},
      {"", but([](Header& h) { h.gso_type = 0x20; }), v4},
      {"", but([](Header& h) { h.gso_type = 0x83; }), v4},
  };
  Offloading tun;
  std::uint64_t dropped = 0;
  for (const Row& row : rows) {
    CAPTURE(row.what, int{row.header.gso_type});
    tun.kernel.reads = {{put(row.header, row.behind)}, {put(good, v4)}};
    std::size_t count = 0;
    while (tun.receive(1).status == DeviceStatus::ok) ++count;
    CHECK(count == 2);  // one of which gave a packet
    CHECK(tun.device.counters().rx_bad_offload == ++dropped);
    CHECK(tun.device.counters().rx_packets == dropped);
  }
}

TEST_CASE("no header makes anybody read beyond the packet, or forget it", "[conformance][VNH-11]") {
  Talk talk;
  talk.connect();
  std::uint64_t seen = talk.stack.device().counters().rx_packets;
  std::uint64_t bad = 0;
  for (std::uint32_t draw = 0; draw < 20'000; ++draw) {
    const std::uint64_t random = (draw + 1) * 0x9e3779b97f4a7c15U;
    const auto word = [&](unsigned at) {
      const auto raw = static_cast<std::uint16_t>(random >> at);
      return static_cast<std::uint16_t>((draw >> (at % 7)) % 2 == 0 ? raw % 64 : raw);
    };
    constexpr std::uint8_t types[] = {0, 1, 4, 5, 0x81, 3, 0xff, 0x80};
    // On the heap and no larger than it is: what reads past it is found by a sanitizer.
    Packet behind = talk.segment().seq(50'000'000).payload(std::string(draw % 90, 'x')).packet();
    behind.resize(1 + word(3) % behind.size());
    behind.shrink_to_fit();
    const Header header{.flags = static_cast<std::uint8_t>(word(5) & 7),
                        .gso_type = types[draw % 8],
                        .hdr_len = word(7),
                        .gso_size = word(11),
                        .csum_start = word(17),
                        .csum_offset = word(23)};
    (void)parse_virtio_net(put(header, {}), behind);
    talk.kernel.reads = {{put(header, behind)}};
    talk.turn();
    const TunCounters& counters = talk.stack.device().counters();
    REQUIRE(counters.rx_packets + counters.rx_bad_offload == seen + bad + 1);
    seen = counters.rx_packets;
    bad = counters.rx_bad_offload;
  }
  CHECK(seen > 1000);
  CHECK(bad > 1000);
  CHECK(talk.connection.error() == Errc::none);
}

TEST_CASE("the mark of ECN goes with TCP's super-segments", "[conformance][VNH-12]") {
  Offloading tun;
  tun.kernel.reads = {
      {put({.flags = 1, .gso_type = 0x81, .gso_size = 1000, .csum_start = 20, .csum_offset = 16},
           tcp_packet(3000))}};
  REQUIRE(tun.receive().count == 1);
  CHECK(tun.batch[0].offload.segmentation == Segmentation::tcp_v4);
  CHECK(tun.batch[0].offload.ecn);
  CHECK(tun.device.counters().rx_super_segments == 1);
}

TEST_CASE("the largest super-segment is read whole", "[conformance][VNH-14]") {
  Offloading tun;
  const Packet whole = tcp_packet(65535 - 40);
  const Header header{
      .flags = 1, .gso_type = 1, .gso_size = 1448, .csum_start = 20, .csum_offset = 16};
  for (int i = 0; i < 3; ++i) tun.kernel.reads.push_back({put(header, whole)});
  for (int i = 0; i < 3; ++i) {
    const RxResult result = tun.receive();
    REQUIRE(result.count == 1);
    CHECK(result.status == DeviceStatus::ok);
    CHECK(bytes_of(tun.batch[0]) == whole);
    CHECK(tun.batch[0].offload.segment_bytes == 1448);
  }
  CHECK(tun.receive().status == DeviceStatus::would_block);
  CHECK(tun.device.caps().mtu_bytes == 1500);  // it says nothing of the MTU
  CHECK(tun.send(tcp_packet(1)).status == DeviceStatus::ok);
}

TEST_CASE("without memory for super-segments the kernel is asked to cut them",
          "[conformance][VNH-14]") {
  FakeKernel kernel = modern();
  CountingSource source;
  source.largest = BlockPool::class_bytes[2];
  BlockPool pool{1 << 20, &source};
  std::error_code ec;
  FakeTun device = FakeTun::open({}, ec, FakeSystem{&kernel});
  std::array<RxPacket, 4> batch{};
  const Header header{
      .flags = 1, .gso_type = 1, .gso_size = 1448, .csum_start = 20, .csum_offset = 16};
  kernel.reads = {{put(header, tcp_packet(30'000))}, {put({.flags = 2}, tcp_packet(1448))}};
  CHECK(kernel.interfaces["tun0"].offload == static_cast<int>(every_offload));
  RxResult result = device.receive(batch, pool);
  if (result.count == 0) result = device.receive(batch, pool);
  REQUIRE(result.count == 1);
  CHECK(bytes_of(batch[0]) == tcp_packet(1448));
  CHECK(device.counters().rx_truncated == 1);
  CHECK(kernel.interfaces["tun0"].offload == TUN_F_CSUM);
  CHECK(device.caps().tcp_v4_segmentation);  // ours are welcome
}
