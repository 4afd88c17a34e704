// SPDX-License-Identifier: BSL-1.0

// What connections to one destination learn from each other about its path.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

const IpAddress router = IpAddress::v4(10, 0, 0, 254);
const IpAddress other_ip = IpAddress::v4(10, 0, 0, 7);

// A host with a listener, and peers that connect to it one after the other.
struct World {
  Host host;
  Host::Listener listener;

  explicit World(StackConfig config = host_config())
      : host{std::move(config)}, listener{host.stack.listen({.port = 80})} {}

  struct End {
    Peer peer;
    Host::Connection connection;
    Decoded first{};  // of the last flight

    // Writes a lot, and returns the sizes of the packets that left.
    std::vector<std::size_t> write() {
      connection.send(as_bytes(std::string(30'000, 'x')));
      return sent();
    }
    std::vector<std::size_t> sent() {
      peer.host.turn();
      std::vector<std::size_t> sizes;
      for (Decoded& packet : peer.host.take_all()) {
        if (packet.tcp->dst_port != peer.options.port || packet.tcp->payload.empty()) continue;
        peer.learn(*packet.tcp);
        if (sizes.empty()) first = packet;
        sizes.push_back(packet.bytes->size());
      }
      return sizes;
    }
    // All that is written arrives.
    void deliver() {
      do {
        peer.acknowledge();
      } while (!sent().empty());
    }
    void report(std::uint16_t mtu) {
      peer.host.inject(testing::icmp_unreachable(
          router, host_ip, IcmpUnreachable::fragmentation_needed, *first.bytes, mtu));
    }
    [[nodiscard]] std::uint16_t path_mtu() const { return connection.info().path_mtu; }
  };
  End connect(std::uint16_t port, IpAddress from = peer_ip) {
    Peer peer{host, {.port = port, .address = from}};
    auto connection = peer.connect_to(listener);
    return {std::move(peer), std::move(connection)};
  }
  [[nodiscard]] const TcpStats& stats() { return host.stack.stats().tcp; }
};

std::size_t largest(const std::vector<std::size_t>& sizes) {
  return sizes.empty() ? 0 : *std::max_element(sizes.begin(), sizes.end());
}

}  // namespace

TEST_CASE("a report for one connection serves the next, whoever opens it", "[tcp][path_mtu]") {
  World world;
  auto one = world.connect(40001);
  one.write();
  one.report(1400);
  world.host.forget_sent();
  SECTION("the peer") {
    auto two = world.connect(40002);
    CHECK(two.path_mtu() == 1400);
    CHECK(largest(two.write()) == 1400);
  }
  SECTION("the host") {
    Peer two{world.host, {.port = 9, .host_port = 50'000}};
    auto connection = two.accept_from();
    CHECK(connection.info().path_mtu == 1400);
  }
  SECTION("the peer, by a SYN cookie") {
    auto listener = world.host.stack.listen({.port = 81, .syn_backlog = 1});
    Peer half_open{world.host, {.port = 40003, .host_port = 81}};
    half_open.send_syn();
    Peer two{world.host, {.port = 40004, .host_port = 81}};
    auto connection = two.connect_to(listener);
    REQUIRE(world.stats().cookies_accepted == 1);
    CHECK(connection.info().path_mtu == 1400);
  }
  CHECK(world.stats().path_mtu_reports == 1);
}

TEST_CASE("what is announced is what can be received, whatever the path carries",
          "[tcp][path_mtu]") {
  World world;
  auto one = world.connect(40001);
  one.write();
  one.report(600);
  world.host.forget_sent();
  world.host.inject(Peer{world.host, {.port = 40002}}.syn());
  CHECK(matches(world.host.take(), expect.flags("SA").mss(1460)));
  auto opening = world.host.stack.connect({.remote = {peer_ip, 9}});
  world.host.turn();
  CHECK(matches(world.host.take(), expect.flags("S").mss(1460)));
}

TEST_CASE("a connection with packets in flight learns from another's report when it next sends",
          "[tcp][path_mtu]") {
  World world;
  auto one = world.connect(40001);
  auto two = world.connect(40002);
  one.write();
  CHECK(largest(two.write()) == 1500);
  one.report(1400);
  world.host.forget_sent();
  CHECK(two.sent().empty());  // nothing makes it look yet
  // A keystroke of the peer: the answer, and with it all that was too large, in new sizes.
  world.host.inject(two.peer.segment().ack(two.first.tcp->seq).payload("x"));
  world.host.advance(40ms);
  const auto sizes = two.sent();
  CHECK(largest(sizes) == 1400);
  CHECK(sizes.size() >= 11);
  CHECK(world.stats().timeouts == 0);
}

TEST_CASE("other destinations are not concerned", "[tcp][path_mtu]") {
  World world;
  auto one = world.connect(40001);
  auto two = world.connect(40001, other_ip);
  two.write();
  one.write();
  one.report(600);
  world.host.forget_sent();
  two.deliver();
  CHECK(largest(two.write()) == 1500);
  CHECK(two.path_mtu() == 1500);
  CHECK(world.connect(40002, other_ip).path_mtu() == 1500);
}

TEST_CASE(
    "another's report does not count against one's own acknowledgements, until there are none",
    "[tcp][path_mtu]") {
  World world;
  auto one = world.connect(40001);
  auto two = world.connect(40002);
  two.write();
  two.deliver();
  one.write();
  one.report(1000);
  CHECK(largest(two.write()) == 1500);
  SECTION("acknowledgements go on") {
    two.deliver();
    CHECK(two.path_mtu() == 1500);
  }
  SECTION("no more come") {
    world.host.advance(3s);
    CHECK(two.path_mtu() == 1000);
  }
}

TEST_CASE("a report that was put off is forgotten when its packet arrives", "[tcp][path_mtu]") {
  World world;
  auto one = world.connect(40001);
  one.write();
  one.deliver();
  one.write();
  one.report(1000);
  CHECK(world.stats().path_mtu_deferred == 1);
  CHECK(world.stats().path_mtu_reports == 0);
  CHECK(world.connect(40002).path_mtu() == 1500);  // nobody else hears of it
  SECTION("its packet arrives") {
    one.deliver();
    one.write();
    world.host.advance(3s);
    CHECK(one.path_mtu() == 1500);
    CHECK(world.stats().path_mtu_reports == 0);
  }
  SECTION("it does not") {
    world.host.advance(3s);
    CHECK(one.path_mtu() == 1000);
    CHECK(world.stats().path_mtu_reports == 1);
    world.host.forget_sent();
    CHECK(world.connect(40003).path_mtu() == 1000);
  }
}

TEST_CASE("routers behind each other are heard one after the other, though much had arrived once",
          "[tcp][path_mtu]") {
  World world;
  auto one = world.connect(40001);
  one.write();
  one.deliver();
  one.write();
  one.report(1400);
  while (one.path_mtu() != 1400) world.host.advance(10ms);  // a time-out
  one.sent();
  one.report(1300);
  CHECK(one.path_mtu() == 1300);
  CHECK(world.stats().path_mtu_deferred == 1);
}

TEST_CASE("the device's MTU bounds what the path carries, and comes back", "[tcp][path_mtu]") {
  World world;
  auto one = world.connect(40001);
  one.write();
  one.report(1400);
  one.sent();
  world.host.stack.device().set_mtu_bytes(1200);
  one.deliver();
  CHECK(largest(one.write()) == 1200);
  CHECK(one.path_mtu() == 1200);
  one.report(1300);  // not smaller
  CHECK(world.stats().path_mtu_reports == 1);
  world.host.stack.device().set_mtu_bytes(9000);
  one.deliver();
  one.write();
  CHECK(one.path_mtu() == 1400);
  CHECK(world.host.stack.device().oversized() == 0);
  world.host.advance(10min);
  CHECK(one.path_mtu() == 9000);
}

TEST_CASE("what others know does not raise what a connection has found", "[tcp][path_mtu]") {
  StackConfig config = host_config();
  config.tcp.max_path_mtus = 8;
  World world{config};
  auto one = world.connect(40001);
  one.write();
  one.report(1300);
  one.sent();
  for (std::uint8_t i = 0; i < 8; ++i) {  // which are remembered in its place
    world.host.advance(1ms);
    auto another =
        world.connect(40001, IpAddress::v4(10, 0, 0, static_cast<std::uint8_t>(100 + i)));
    another.write();
    another.report(600);
    world.host.forget_sent();
  }
  auto two = world.connect(40002);
  CHECK(two.path_mtu() == 1500);
  two.write();
  two.report(1400);
  CHECK(two.path_mtu() == 1400);
  world.host.forget_sent();
  one.deliver();
  CHECK(largest(one.write()) == 1300);
  CHECK(one.path_mtu() == 1300);
}

TEST_CASE("what one connection finds again holds longer for all", "[tcp][path_mtu]") {
  World world;
  auto one = world.connect(40001);
  auto two = world.connect(40002);
  two.write();
  two.deliver();
  one.write();
  one.report(1400);
  one.sent();
  one.deliver();
  world.host.advance(9min);
  CHECK(largest(two.write()) == 1500);  // which it had seen arrive
  two.report(1400);
  while (two.path_mtu() != 1400) world.host.advance(10ms);
  two.sent();
  two.deliver();
  world.host.advance(1min);
  CHECK(largest(one.write()) == 1400);
  CHECK(one.path_mtu() == 1400);
  one.deliver();
  world.host.advance(9min);
  CHECK(largest(one.write()) == 1500);
}

TEST_CASE("spoofed reports by the hundred thousand leave the cache alone",
          "[tcp][path_mtu][conformance][8201-03]") {
  StackConfig config = host_config();
  config.tcp.max_path_mtus = 8;
  World world{config};
  auto one = world.connect(40001);
  one.write();
  one.report(1400);
  world.host.forget_sent();
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    const Endpoint far{IpAddress::v4(0x0b000000 + i), 40001};
    world.host.stack.device().inject(testing::icmp_unreachable(
        router, host_ip, IcmpUnreachable::fragmentation_needed,
        testing::segment({host_ip, 80}, far).seq(one.first.tcp->seq).payload("12345678").packet(),
        600));
    if (i % 64 == 63) world.host.turn();
  }
  CHECK(world.stats().path_mtu_reports == 1);
  CHECK(world.connect(40002).path_mtu() == 1400);
}
