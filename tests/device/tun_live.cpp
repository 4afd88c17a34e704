// SPDX-License-Identifier: BSL-1.0

// TUN devices of the real kernel, each in a network namespace of its own.

#include "catch.hpp"
#include "own_namespace.hpp"
#include <tunic/device/tun_device.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ipv4.hpp>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <span>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <vector>

using namespace tunic;
using namespace tunic::device_test;

namespace {

Errc refusal(const TunOptions& options) {
  std::error_code ec;
  const TunDevice device = TunDevice::open(options, ec);
  EXPECT(!device.is_open());
  return static_cast<Errc>(ec.value());
}

// Waits up to two seconds for a packet that `wanted` recognises.
template <class Wanted>
std::vector<std::byte> wait_for(TunDevice& device, BlockPool& pool, Wanted wanted) {
  std::array<RxPacket, 16> batch{};
  for (int tries = 0; tries < 20; ++tries) {
    const RxResult result = device.receive(batch, pool);
    for (const RxPacket& packet : std::span{batch}.first(result.count)) {
      if (wanted(packet.bytes)) return {packet.bytes.begin(), packet.bytes.end()};
    }
    EXPECT(result.status == DeviceStatus::ok || result.status == DeviceStatus::would_block);
    pollfd ready{.fd = device.native_handle(), .events = POLLIN, .revents = 0};
    if (result.status == DeviceStatus::would_block) poll(&ready, 1, 100);
  }
  return {};
}

std::vector<std::byte> echo_request(Bytes body) {
  std::vector<std::byte> packet(ipv4_min_header_bytes + icmp_header_bytes + body.size());
  write_ipv4(packet, {.src = "10.9.0.2"_ip,
                      .dst = "10.9.0.1"_ip,
                      .protocol = IpProtocol::icmp,
                      .total_length = static_cast<std::uint16_t>(packet.size())});
  write_icmpv4(MutableBytes{packet}.subspan(ipv4_min_header_bytes),
               {.type = IcmpType::echo_request, .rest = 0x12345678, .body = body});
  return packet;
}

// The kernel answers a ping that we send through the device.
void ping(TunDevice& device, BlockPool& pool, std::size_t body_bytes) {
  const std::vector<std::byte> body(body_bytes, std::byte{'p'});
  const auto request = echo_request(body);
  // In three pieces, one of them empty.
  const std::array pieces{Bytes{request}.first(20), Bytes{}, Bytes{request}.subspan(20)};
  const TxPacket packet{.pieces = pieces, .size_bytes = request.size()};
  const TxResult sent = device.send({&packet, 1});
  EXPECT(sent.accepted == 1 && sent.status == DeviceStatus::ok);
  const auto reply = wait_for(device, pool, [&](Bytes bytes) {
    const auto ip = Ipv4Parser{}(bytes);
    if (!ip || ip->header.protocol != IpProtocol::icmp) return false;
    const auto icmp = parse_icmpv4(ip->payload);
    return icmp && icmp->type == IcmpType::echo_reply && icmp->rest == 0x12345678 &&
           icmp->body.size() == body_bytes;
  });
  EXPECT(reply.size() == request.size());
}

// A UDP datagram of the kernel towards the device.
void send_udp(std::size_t size) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  to.sin_addr.s_addr = htonl("10.9.0.2"_ip.v4_bits());
  const std::vector<char> bytes(size);
  EXPECT(sendto(socket, bytes.data(), size, 0, static_cast<sockaddr*>(static_cast<void*>(&to)),
                sizeof to) == static_cast<ssize_t>(size));
  close(socket);
}

bool is_udp(Bytes bytes) {
  const auto ip = Ipv4Parser{}(bytes);
  return ip && ip->header.protocol == IpProtocol::udp;
}

template <class Change>
void change(const TunDevice& device, unsigned long get, unsigned long set, Change&& change) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  device.name().copy(request.ifr_name, IFNAMSIZ - 1);
  EXPECT(ioctl(socket, get, &request) == 0);
  change(request);
  EXPECT(ioctl(socket, set, &request) == 0);
  close(socket);
}

void set_up(const TunDevice& device, bool up) {
  change(device, SIOCGIFFLAGS, SIOCSIFFLAGS, [up](ifreq& request) {
    request.ifr_flags =
        static_cast<short>(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  });
}

void drop_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> none{};
  EXPECT(syscall(SYS_capset, &header, none.data()) == 0);
}

constexpr IpCidr host = "10.9.0.1/24"_cidr;

}  // namespace

TEST_CASE("one call makes a device that the kernel answers on", "[device][tun][live]") {
  run_in_namespace([] {
    for (const bool packet_information : {false, true}) {
      BlockPool pool{1 << 20};
      TunDevice device =
          open({.packet_information = packet_information, .mtu_bytes = 1400, .host_address = host});
      EXPECT(device.name() == "tun0");
      EXPECT(device.interface_index() == if_nametoindex("tun0"));
      EXPECT(device.mtu_bytes() == 1400);
      EXPECT(device.host_address() == host);
      ping(device, pool, 0);
      ping(device, pool, 1372);
      EXPECT(device.counters().tx_packets == 2);
      EXPECT(device.counters().rx_not_ip == 0);
      device.close();
      EXPECT(if_nametoindex("tun0") == 0);
    }
  });
}

TEST_CASE("the largest packets pass in both directions", "[device][tun][live]") {
  run_in_namespace([] {
    BlockPool pool{1 << 20};
    TunDevice device = open({.mtu_bytes = 65535, .host_address = host});
    ping(device, pool, 65507);
  });
}

TEST_CASE("the kernel's queue is as long as told", "[device][tun][live]") {
  run_in_namespace([] {
    BlockPool pool{1 << 20};
    std::error_code ec;
    TunDevice device = TunDevice::open({.host_address = host, .queue_packets = 20}, ec);
    if (ec == Errc::tun_permission) return;  // the root of a user namespace may not
    EXPECT(device.is_open());
    for (int i = 0; i < 100; ++i) send_udp(10);
    std::array<RxPacket, 64> batch{};
    std::size_t count = 0;
    for (RxResult result{.status = DeviceStatus::ok}; result.status == DeviceStatus::ok;) {
      result = device.receive(batch, pool);
      count += result.count;
    }
    EXPECT(count >= 20 && count < 30);
  });
}

TEST_CASE("each kind of interface is told apart", "[device][tun][live]") {
  run_in_namespace([] {
    const TunDevice device = open({.name = "mine%d"});
    EXPECT(device.name() == "mine0");
    EXPECT(device.host_address() == std::nullopt);
    EXPECT(refusal({.name = "mine0"}) == Errc::tun_busy);
    EXPECT(refusal({.name = "lo"}) == Errc::tun_not_tun);
    EXPECT(refusal({.name = "none", .create = false}) == Errc::tun_no_such_device);
    EXPECT(refusal({.control_device = "/nonexistent/tun"}) == Errc::tun_missing);
    EXPECT(refusal({.control_device = "/dev/null"}) == Errc::tun_setup_failed);
    EXPECT(refusal({.host_address = "224.0.0.1/24"_cidr}) == Errc::tun_address_refused);
    EXPECT(refusal({.host_address = "255.255.255.255/24"_cidr}) == Errc::tun_address_refused);
    EXPECT(if_nametoindex("tun0") == 0);  // nothing is left of those
    EXPECT(refusal({.fd = STDIN_FILENO}) == Errc::tun_not_tun);
  });
}

TEST_CASE("a kernel that takes an interface down or away is understood", "[device][tun][live]") {
  run_in_namespace([] {
    BlockPool pool{1 << 20};
    TunDevice device = open({.host_address = host});
    std::array<RxPacket, 4> batch{};
    const auto request = echo_request({});
    const Bytes piece{request};
    const TxPacket packet{.pieces = {&piece, 1}, .size_bytes = piece.size()};

    set_up(device, false);
    EXPECT(device.send({&packet, 1}).status == DeviceStatus::down);
    while (device.receive(batch, pool).status == DeviceStatus::ok) continue;
    EXPECT(device.receive(batch, pool).status == DeviceStatus::would_block);
    set_up(device, true);
    ping(device, pool, 8);

    const std::array<std::byte, 28> malformed{};
    const Bytes zeros{malformed};
    const std::array packets{TxPacket{.pieces = {&zeros, 1}, .size_bytes = 28}, packet};
    EXPECT(device.send(packets).accepted == 2);
    EXPECT(device.counters().tx_refused == 1);

    const std::string command = "ip link delete " + std::string{device.name()};
    if (std::system(command.c_str()) != 0) return;  // no iproute2
    EXPECT(device.send({&packet, 1}).status == DeviceStatus::failed);
    EXPECT(device.receive(batch, pool).status == DeviceStatus::failed);
  });
}

TEST_CASE("an MTU that is raised later is noticed", "[device][tun][live]") {
  run_in_namespace([] {
    BlockPool pool{1 << 20};
    TunDevice device = open({.host_address = host});
    change(device, SIOCGIFMTU, SIOCSIFMTU, [](ifreq& request) { request.ifr_mtu = 9000; });
    send_udp(4000);
    const auto received = wait_for(device, pool, is_udp);
    EXPECT(received.size() == 4028);
    EXPECT(device.caps().mtu_bytes == 9000);
    EXPECT(device.send({}).status == DeviceStatus::replan);
    EXPECT(device.send({}).status == DeviceStatus::ok);
  });
}

TEST_CASE("a device prepared by root serves a program without privilege", "[device][tun][live]") {
  run_in_namespace([] {
    // Whoever made the namespace and keeps no capabilities stands for the user it was made for.
    const TunOptions options{.name = "kept0",
                             .offload = false,
                             .mtu_bytes = 1400,
                             .host_address = host,
                             .persist = true,
                             .owner_uid = geteuid()};
    {
      // The program before left checksums to be finished by others.
      const TunDevice first = open(options);
      const int fd = first.native_handle();
      EXPECT(ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM) == 0);
    }
    EXPECT(if_nametoindex("kept0") != 0);
    drop_capabilities();
    BlockPool pool{1 << 20};
    {
      TunDevice device = open(options);
      ping(device, pool, 100);
      send_udp(10);
      const auto received = wait_for(device, pool, is_udp);
      EXPECT(received.size() == 38);
      InternetSum sum = pseudo_header_sum("10.9.0.1"_ip, "10.9.0.2"_ip, IpProtocol::udp, 18);
      sum.add(Bytes{received}.subspan(20));
      EXPECT(sum.finish() == 0);
    }
    {
      const TunDevice device = open({.name = "kept0", .create = false});
      EXPECT(device.host_address() == host);
      EXPECT(device.mtu_bytes() == 1400);
    }
    EXPECT(refusal({.name = "kept0", .mtu_bytes = 1500}) == Errc::tun_permission);
    EXPECT(refusal({.name = "other0"}) == Errc::tun_permission);
    { const TunDevice last = open({.name = "kept0", .persist = false}); }
    EXPECT(if_nametoindex("kept0") == 0);
  });
}

TEST_CASE("one of an interface's several addresses is found", "[device][tun][live]") {
  run_in_namespace([] {
    TunDevice device = open({.name = "many0", .host_address = host, .persist = true});
    device.close();
    if (std::system("ip addr add 10.8.0.1/16 dev many0") != 0) return;  // no iproute2
    device = open({.name = "many0", .host_address = "10.8.0.1/16"_cidr});
    EXPECT(device.host_address() == "10.8.0.1/16"_cidr);
    device.close();
    device = open({.name = "many0"});
    EXPECT(device.host_address() == host);  // the first one is still there
  });
}

TEST_CASE("an attached descriptor is adopted as it is", "[device][tun][live]") {
  run_in_namespace([] {
    BlockPool pool{1 << 20};
    const TunDevice keeper = open({.name = "vpn0", .mtu_bytes = 1300, .host_address = host});
    const int fd = dup(keeper.native_handle());
    EXPECT(fcntl(fd, F_SETFL, O_RDWR) == 0);  // blocking
    TunDevice device = open({.fd = fd});
    EXPECT(device.name() == "vpn0");
    EXPECT(device.mtu_bytes() == 1300);
    EXPECT(device.host_address() == host);
    ping(device, pool, 8);  // would hang if it still blocked
    device.close();
    EXPECT(fcntl(fd, F_GETFD) == -1);

    const int tap = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    ifreq request{};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    EXPECT(ioctl(tap, TUNSETIFF, &request) == 0);
    EXPECT(refusal({.fd = tap}) == Errc::tun_not_tun);
    EXPECT(fcntl(tap, F_GETFD) >= 0);
  });
}
