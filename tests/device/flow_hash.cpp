// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/device/flow_hash.hpp>
#include <tunic/device/steering.hpp>
#include <tunic/wire/ipv4.hpp>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <linux/bpf.h>
#include <random>
#include <unistd.h>
#include <vector>

using namespace tunic;

namespace {

constexpr SipKey key{0x0123456789abcdef, 0xfedcba9876543210};

std::vector<std::byte> packet(Endpoint from, Endpoint to, IpProtocol protocol = IpProtocol::tcp,
                              std::uint16_t fragment_offset = 0, bool more_fragments = false,
                              Bytes options = {}) {
  std::vector<std::byte> bytes(ipv4_min_header_bytes + options.size() + 8);
  const std::size_t ports = write_ipv4(bytes,
                                       {.src = from.address,
                                        .dst = to.address,
                                        .protocol = protocol,
                                        .total_length = static_cast<std::uint16_t>(bytes.size()),
                                        .fragment_offset_bytes = fragment_offset,
                                        .more_fragments = more_fragments},
                                       options);
  bytes[ports] = static_cast<std::byte>(from.port >> 8);
  bytes[ports + 1] = static_cast<std::byte>(from.port & 0xff);
  bytes[ports + 2] = static_cast<std::byte>(to.port >> 8);
  bytes[ports + 3] = static_cast<std::byte>(to.port & 0xff);
  return bytes;
}

// What the program in the kernel says of a packet. BPF_PROG_TEST_RUN wants an Ethernet header in
// front, which a socket filter does not see.
std::uint32_t run(int program, Bytes bytes) {
  std::vector<std::byte> frame(14);
  frame[12] = std::byte{0x08};
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  bpf_attr attributes{};
  attributes.test.prog_fd = static_cast<std::uint32_t>(program);
  attributes.test.data_in = detail::bpf_address(frame.data());
  attributes.test.data_size_in = static_cast<std::uint32_t>(frame.size());
  LinuxSystem system;
  REQUIRE(system.bpf(BPF_PROG_TEST_RUN, &attributes, sizeof attributes) == 0);
  return attributes.test.retval;
}

constexpr Endpoint a{"10.0.0.1"_ip, 1000};
constexpr Endpoint b{"10.0.0.2"_ip, 7};
constexpr Endpoint a_without_port{"10.0.0.1"_ip};
constexpr Endpoint b_without_port{"10.0.0.2"_ip};

}  // namespace

TEST_CASE("both directions of a flow have one hash, by ends and by packet", "[device][flow_hash]") {
  const std::uint32_t hash = flow_hash(key, a, b);
  CHECK(hash == flow_hash(key, b, a));
  CHECK(hash == flow_hash(key, packet(a, b)));
  CHECK(hash == flow_hash(key, packet(b, a)));
  CHECK(hash == flow_hash(key, packet(b, a, IpProtocol::udp)));
  const std::array options{std::byte{1}, std::byte{1}, std::byte{1}, std::byte{0}};
  CHECK(hash == flow_hash(key, packet(a, b, IpProtocol::tcp, 0, false, options)));
  CHECK(hash != flow_hash(key, {a.address, 1001}, b));
  CHECK(hash != flow_hash(key, {a.address, b.port}, {b.address, a.port}));
  CHECK(hash != flow_hash({key.k0 + 1, key.k1}, a, b));
  CHECK(hash != flow_hash({key.k0, key.k1 + 2}, a, b));
}

TEST_CASE("what shows no ports is hashed by its addresses", "[device][flow_hash]") {
  const std::uint32_t hash = flow_hash(key, a_without_port, b_without_port);
  CHECK(hash == flow_hash(key, packet(a, b, IpProtocol::tcp, 0, true)));
  CHECK(hash == flow_hash(key, packet(a, b, IpProtocol::tcp, 8, false)));
  CHECK(hash == flow_hash(key, packet(b, a, IpProtocol::icmp)));
}

TEST_CASE("what is cut short or not IPv4 has the hash 0", "[device][flow_hash]") {
  const auto whole = packet(a, b);
  for (std::size_t size = 0; size < 24; ++size) {
    CHECK(flow_hash(key, Bytes{whole}.first(size)) == 0);
  }
  CHECK(flow_hash(key, Bytes{whole}.first(24)) != 0);
  auto version6 = whole;
  version6[0] = std::byte{0x65};
  CHECK(flow_hash(key, version6) == 0);
  CHECK(flow_hash(key, {"::1"_ip, 1}, b) == 0);
}

TEST_CASE("flows that differ in a counter spread evenly", "[device][flow_hash]") {
  for (const std::uint32_t queues : {2U, 3U, 8U}) {
    std::vector<int> load(queues);
    for (std::uint16_t port = 0; port < 8000; ++port) {
      ++load[flow_hash(key, {"10.0.0.1"_ip, static_cast<std::uint16_t>(32768 + port)}, b) % queues];
    }
    for (const int flows : load) {
      CHECK(flows > 8000 / static_cast<int>(queues) * 8 / 10);
      CHECK(flows < 8000 / static_cast<int>(queues) * 12 / 10);
    }
  }
}

TEST_CASE("the kernel's program gives what the function gives", "[device][flow_hash][live]") {
  std::mt19937_64 random{42};
  LinuxSystem system;
  for (int keys = 0; keys < 4; ++keys) {
    const SipKey secret{random(), random()};
    const int program = detail::load_steering_program(system, secret);
    if (program == -EPERM || program == -ENOSYS) {
      WARN("SKIPPED: this machine takes no BPF programs from us");
      return;
    }
    REQUIRE(program >= 0);
    for (int i = 0; i < 500; ++i) {
      // Random bytes of a random length, mostly of version 4, TCP or UDP, without fragments.
      std::vector<std::byte> bytes(20 + random() % 61);
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
      if (i % 8 != 0) bytes[0] = static_cast<std::byte>(0x40 | (random() % 16));
      if (i % 4 != 0) bytes[6] = static_cast<std::byte>(random() % 4 << 6), bytes[7] = {};
      if (i % 3 != 0) bytes[9] = i % 3 == 1 ? std::byte{6} : std::byte{17};
      INFO("key " << keys << ", packet " << i);
      REQUIRE(run(program, bytes) == flow_hash(secret, bytes));
    }
    const auto reply = packet(b, a);
    CHECK(run(program, reply) == flow_hash(secret, a, b));
    close(program);
  }
}
