// SPDX-License-Identifier: BSL-1.0

// What must be hard to guess: initial sequence numbers (RFC 6528) and source ports (RFC 6056).
#include "../support/host.hpp"
#include <tunic/device/entropy.hpp>
#include <tunic/device/tun_device.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>

using namespace tunic;
using namespace tunic::test;

namespace {

/// The local port of a connection that the host opens to a port of the peer.
std::uint16_t next_port(Host& host, const IpAddress& to = peer_ip, std::uint16_t port = 443) {
  auto connection = host.stack.connect({.remote = {to, port}});
  const std::uint16_t local = connection.local().port;
  connection.abort();
  return local;
}

/// A host with few ephemeral ports.
StackConfig ports(std::uint16_t first, std::uint16_t last) {
  StackConfig config = host_config();
  config.tcp.first_port = first;
  config.tcp.last_port = last;
  return config;
}

/// A device that brings a secret as a TUN device does.
struct SeededMock : MockDevice {
  static std::optional<SipKey> entropy() noexcept { return entropy_key(); }
};

/// With which a stack answers a SYN, always the same one.
template <class S>
std::uint32_t isn_of(S& stack) {
  auto listener = stack.listen({.port = 80});
  stack.device().inject(testing::segment({peer_ip, 40000}, {host_ip, 80}).syn().packet());
  stack.poll(Instant{});
  stack.flush(Instant{});
  const auto answer = stack.device().take();
  REQUIRE(answer);
  return testing::decode(*answer).tcp->seq.value();
}

}  // namespace

TEST_CASE("initial sequence numbers come from a secret that the system's entropy made",
          "[conformance][6528-01]") {
  static_assert(SeededDevice<TunDevice>);
  StackConfig config = host_config();
  config.seed.reset();
  std::set<std::uint32_t> different;
  for (int i = 0; i < 20; ++i) {
    Stack stack{SeededMock{}, config};
    CHECK_FALSE(stack.config().seed.has_value());  // nobody can read it back
    different.insert(isn_of(stack));
  }
  CHECK(different.size() == 20);
  CHECK(*different.rbegin() - *different.begin() > 1U << 28);
}

TEST_CASE("initial sequence numbers depend on all 128 bits of the secret",
          "[conformance][6528-01]") {
  std::set<std::uint32_t> different;
  for (unsigned bit = 0; bit < 128; ++bit) {
    StackConfig config = host_config();
    (bit < 64 ? config.seed->k0 : config.seed->k1) ^= std::uint64_t{1} << (bit % 64);
    Stack stack{MockDevice{}, config};
    different.insert(isn_of(stack));
  }
  Stack stack{MockDevice{}, host_config()};
  different.insert(isn_of(stack));
  CHECK(different.size() == 129);
}

TEST_CASE("source ports are random over the whole range", "[conformance][6056-01]") {
  Host host;
  std::vector<std::uint16_t> drawn;
  for (int i = 0; i < 1000; ++i) drawn.push_back(next_port(host));
  std::set<int> steps;
  std::size_t repeated_steps = 0;
  for (std::size_t i = 1; i < drawn.size(); ++i)
    repeated_steps += !steps.insert(drawn[i] - drawn[i - 1]).second;
  CHECK(repeated_steps < 50);  // chance makes about a dozen
  // Each eighth of the range gets its share.
  constexpr std::size_t eighth = (60999 - 32768 + 1) / 8;
  std::array<int, 8> shares{};
  for (const std::uint16_t port : drawn)
    ++shares[std::min<std::size_t>((port - 32768U) / eighth, 7)];
  for (const int share : shares) CHECK((share > 80 && share < 170));

  StackConfig config = host_config();
  config.seed = SipKey{3, 4};
  Host other{config};
  CHECK(next_port(other) != drawn[0]);
}

TEST_CASE("source ports are of the range that is set, and no listener's",
          "[conformance][6056-02]") {
  SECTION("the default range is large and has no well-known port") {
    const TcpConfig defaults;
    CHECK(defaults.first_port >= 1024);
    CHECK(defaults.last_port - defaults.first_port >= 16383);  // that of 49152 to 65535
  }
  SECTION("all are used once, then there is an error") {
    Host host{ports(50000, 50099)};
    std::vector<TcpConnection> open;
    std::set<std::uint16_t> used;
    for (int i = 0; i < 100; ++i) {
      open.push_back(host.stack.connect({.remote = {peer_ip, 443}}));
      used.insert(open.back().local().port);
    }
    CHECK(used.size() == 100);
    CHECK(*used.begin() == 50000);
    CHECK(*used.rbegin() == 50099);
    std::error_code error;
    CHECK_FALSE(host.stack.connect({.remote = {peer_ip, 443}}, error));
    CHECK(error == Errc::no_ports_left);
    // To another port of the peer they are free.
    CHECK(host.stack.connect({.remote = {peer_ip, 444}}, error));
    CHECK_FALSE(error);
  }
  SECTION("a listener reserves its port") {
    Host host{ports(50000, 50002)};
    auto on_all = host.stack.listen({.port = 50000});
    auto on_one = host.stack.listen({.address = host_ip, .port = 50002});
    for (int i = 0; i < 20; ++i) CHECK(next_port(host) == 50001);
  }
}

// Deviation: 6056-03: a port is drawn anew for each connection (RFC 6056 3.3.1) instead of walking
// from an offset for each destination: nothing that is seen of one connection tells about the next.
TEST_CASE("ports towards one destination say nothing about those towards another",
          "[conformance][6056-03]") {
  Host one;
  Host two;
  int equal = 0;
  int near = 0;
  for (int i = 0; i < 200; ++i) {  // as often in each, so that only the destination differs
    const int first = next_port(one, peer_ip, 443);
    const int second = next_port(two, peer_ip, 444);
    equal += first == second;
    near += std::abs(first - second) < 100;
  }
  CHECK(equal <= 2);
  CHECK(near <= 10);
  const int before = next_port(one);
  CHECK(std::abs(next_port(one) - before) > 1);  // no walk
}

TEST_CASE("a port is not picked while its connection lives or waits", "[conformance][6056-04]") {
  Host host{ports(50000, 50001)};
  Peer peer{host, {.port = 443, .host_port = 50000}};
  auto busy = peer.accept_from();
  SECTION("in use") {
    for (int i = 0; i < 20; ++i) CHECK(next_port(host, peer_ip, 443) == 50001);
  }
  SECTION("in TIME-WAIT") {
    busy.shutdown_send();
    host.turn();
    peer.receive();
    peer.acknowledge();
    peer.send_fin();
    REQUIRE(busy.state() == TcpState::time_wait);
    busy = {};
    for (int i = 0; i < 20; ++i) CHECK(next_port(host, peer_ip, 443) == 50001);
    host.advance(61s);
    std::set<std::uint16_t> free;
    for (int i = 0; i < 20; ++i) free.insert(next_port(host, peer_ip, 443));
    CHECK(free.size() == 2);
  }
  SECTION("asked for by number") {
    std::error_code error;
    CHECK_FALSE(host.stack.connect({.remote = {peer_ip, 443}, .local_port = 50000}, error));
    CHECK(error == Errc::address_in_use);
  }
}
