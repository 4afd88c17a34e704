// SPDX-License-Identifier: BSL-1.0

// Several queues of one TUN interface of the real kernel.

#include "catch.hpp"
#include "own_namespace.hpp"
#include <tunic/device/flow_hash.hpp>
#include <tunic/device/tun_queues.hpp>
#include <tunic/wire/ipv4.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <netinet/in.h>
#include <span>
#include <sys/socket.h>
#include <thread>
#include <vector>

using namespace tunic;
using namespace tunic::device_test;

namespace {

constexpr Endpoint ours{"10.9.0.2"_ip, 9};
constexpr IpAddress kernel = "10.9.0.1"_ip;

sockaddr* as_sockaddr(sockaddr_in& address) {
  return static_cast<sockaddr*>(static_cast<void*>(&address));
}

// A socket of the kernel on a port of its choice, connected to us.
struct Flow {
  int socket;
  std::uint16_t port;
};
Flow open_flow() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(ours.port);
  address.sin_addr.s_addr = htonl(ours.address.v4_bits());
  const int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT(connect(socket, as_sockaddr(address), sizeof address) == 0);
  socklen_t size = sizeof address;
  EXPECT(getsockname(socket, as_sockaddr(address), &size) == 0);
  return {socket, ntohs(address.sin_port)};
}

// Sends one datagram in each flow; the queue on which each came, by the kernel's port.
std::map<std::uint16_t, std::size_t> arrivals(const std::vector<Flow>& flows,
                                              std::span<TunDevice> devices, BlockPool& pool) {
  for (const Flow& flow : flows) EXPECT(send(flow.socket, "x", 1, 0) == 1);
  std::map<std::uint16_t, std::size_t> queues;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    std::array<RxPacket, 16> batch{};
    for (RxResult result{}; result.status == DeviceStatus::ok;) {
      result = devices[i].receive(batch, pool);
      for (const RxPacket& packet : std::span{batch}.first(result.count)) {
        const auto ip = Ipv4Parser{}(packet.bytes);
        if (!ip || ip->header.protocol != IpProtocol::udp) continue;
        const auto ports = detail::load<detail::PortsLayout>(ip->payload);
        EXPECT(queues.emplace(ports.src.value(), i).second);
      }
    }
  }
  return queues;
}

void reply(const Flow& flow, TunDevice& device) {
  std::array<std::byte, ipv4_min_header_bytes + 8> packet{};
  write_ipv4(packet, {.src = ours.address,
                      .dst = kernel,
                      .protocol = IpProtocol::udp,
                      .total_length = packet.size()});
  detail::PortsLayout ports;
  ports.src = ours.port;
  ports.dst = flow.port;
  detail::store(MutableBytes{packet}.subspan(ipv4_min_header_bytes), ports);
  packet[25] = std::byte{8};  // its length; the checksum may be 0
  const Bytes piece{packet};
  const TxPacket sent{.pieces = {&piece, 1}, .size_bytes = piece.size()};
  EXPECT(device.send({&sent, 1}).accepted == 1);
  char byte = 0;
  EXPECT(recv(flow.socket, &byte, 1, MSG_DONTWAIT) == 0);
}

}  // namespace

TEST_CASE("a steered flow has its queue, whatever was written where, also after 10 s of quiet",
          "[device][tun][live]") {
  run_in_namespace([] {
    std::error_code ec;
    TunQueues queues = TunQueues::open({.host_address = IpCidr{kernel, 24}}, 4, ec);
    EXPECT(!ec && queues.devices.size() == 4);
    if (!queues.steered) {
      std::fprintf(stderr, "SKIPPED: the kernel does not steer: %s\n", queues.failure.call);
      return;
    }
    const IpAddress host = queues.devices[3].host_address()->address;
    EXPECT(host == kernel);
    std::vector<Flow> flows;
    std::map<std::uint16_t, std::size_t> wanted;
    while (flows.size() < 64) {
      flows.push_back(open_flow());
      wanted[flows.back().port] =
          flow_hash(queues.key, ours, {kernel, flows.back().port}) % queues.devices.size();
    }
    BlockPool pool{1 << 22};
    EXPECT(arrivals(flows, queues.devices, pool) == wanted);
    for (const Flow& flow : flows) reply(flow, queues.devices[flow.port % 4]);
    EXPECT(arrivals(flows, queues.devices, pool) == wanted);
    std::this_thread::sleep_for(std::chrono::seconds{10});  // the driver forgets within 3
    EXPECT(arrivals(flows, queues.devices, pool) == wanted);
    queues.devices.clear();
  });
}

TEST_CASE("queues are added to an interface of several queues only", "[device][tun][live]") {
  run_in_namespace([] {
    const TunDevice single = open({.name = "one0"});
    std::error_code ec;
    EXPECT(TunQueues::open({.name = "one0"}, 2, ec).devices.empty());
    EXPECT(ec == Errc::tun_not_tun);
    const TunDevice first = open({.name = "many0", .multi_queue = true});
    const TunDevice second = open({.name = "many0", .multi_queue = true});
    EXPECT(second.name() == "many0");
    EXPECT(TunQueues::open({.name = "other0"}, 257, ec).devices.empty());
    EXPECT(ec == Errc::tun_setup_failed);
  });
}
