// SPDX-License-Identifier: BSL-1.0

// Many connections that are idle: what they hold, how they go on, and what happens without memory
// to wake them.

#include "../base/counting_source.hpp"
#include "../support/host.hpp"
#include "../support/hostile.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

// What comes from the source and is not in a test's way to count one by one.
class Counted final : public MemorySource {
 public:
  void* try_allocate(std::size_t size, std::size_t align) noexcept override {
    bytes += size;
    return source_.try_allocate(size, align);
  }
  void deallocate(void* memory, std::size_t size, std::size_t align) noexcept override {
    bytes -= size;
    source_.deallocate(memory, size, align);
  }
  std::size_t bytes = 0;

 private:
  NewMemorySource source_;
};

// At most: 4 bytes and 16 for each 15 slots, of which less than half may be in use.
constexpr double flow_table_bytes = (4 + 16.0 / 15) * 2 / 0.875;

StackConfig config_for(std::size_t count, MemorySource& memory) {
  StackConfig config = host_config();
  config.memory = &memory;
  config.memory_budget = 64 * 1024 * 1024 + count * 1024;
  config.tcp.max_connections = static_cast<std::uint32_t>(count);
  config.tcp.max_path_mtus = 0;
  return config;
}

struct Idle {
  explicit Idle(std::size_t count, ConnectionOptions options = {}, std::uint32_t warm = 100)
      : host{[&] {
          StackConfig config = config_for(count, memory);
          config.tcp.warm_connections = warm;
          return config;
        }()},
        listener{host.stack.listen({.port = 80, .connection = options})} {}

  static PeerOptions peer_options(std::size_t index) {
    const auto number = static_cast<std::uint32_t>(index);
    return {.window_scale = std::uint8_t{7},
            .sack = true,
            .timestamp = 1 + number * 77,
            .isn = number * 0x9e3779b1U,
            .address = IpAddress::v4(11, static_cast<std::uint8_t>(number >> 16),
                                     static_cast<std::uint8_t>(number >> 8),
                                     static_cast<std::uint8_t>(number))};
  }

  // Connects, asks something and is answered, twice.
  Peer open(std::size_t index) {
    Peer peer{host, peer_options(index)};
    host.clock.advance(1ms);
    connections.push_back(peer.connect_to(listener));
    for (int i = 0; i < 2; ++i) ask(peer, connections.back());
    return peer;
  }
  void ask(Peer& peer, TcpConnection& connection) {
    host.clock.advance(20ms);
    peer.tsval += 20;
    peer.send("What is the time?");
    while (host.stack.next_event()) {
    }
    CHECK(read_all(connection) == "What is the time?");
    CHECK(connection.send(as_bytes(answer)).bytes == answer.size());
    host.turn();
    host.clock.advance(30ms);
    peer.tsval += 30;
    while (peer.host.stack.device().sent() != 0) peer.receive();
    peer.acknowledge();
  }
  void rest() {
    host.advance(1s);
    while (host.stack.next_event()) {
    }
    host.turn();
  }

  std::string answer = pattern_text(400);
  Counted memory;
  Host host;
  TcpListener listener;
  std::vector<TcpConnection> connections;
};

}  // namespace

TEST_CASE("an idle connection takes little memory, no timer and no work", "[stack][idle]") {
  const std::size_t count = cases(10'000, 1'000'000);
  Idle idle{count};
  std::size_t most = 0;
  for (int round = 0; round < 2; ++round) {
    const std::size_t before = idle.memory.bytes;
    std::optional<Peer> one;
    for (std::size_t i = 0; i < count; ++i) {
      Peer peer = idle.open(i);
      if (i == count / 2) one.emplace(peer);
    }
    idle.rest();
    const Gauges gauges = idle.host.stack.stats().gauges;
    CHECK(gauges.connections == count);
    CHECK(gauges.awake == 100);
    CHECK(idle.host.stack.next_deadline() == never);
    CHECK(idle.host.silent());
    if (round == 0) {
      most = idle.memory.bytes;
      const double each = static_cast<double>(most - before) / static_cast<double>(count);
      INFO(each << " bytes a connection, and at most " << flow_table_bytes << " for finding it");
      CHECK(each + flow_table_bytes <= 512);
      if (count > 10'000) WARN(each << " bytes a connection");
    }

    TcpConnection& connection = idle.connections[count / 2];
    CHECK(connection.state() == TcpState::established);
    CHECK(connection.remote() == one->here());
    CHECK(connection.info().bytes_received == 34);
    idle.ask(*one, connection);
    CHECK(connection.info().bytes_received == 51);
    CHECK(connection.info().bytes_acked == 3 * idle.answer.size());
    CHECK(idle.host.stack.stats().dropped_total() == 0);

    for (TcpConnection& each : idle.connections) {
      each.abort();
      idle.host.turn();
      idle.host.forget_sent();
    }
    idle.connections.clear();
    CHECK(idle.host.stack.stats().gauges.connections == 0);
    CHECK(idle.host.stack.stats().gauges.awake == 0);
    CHECK(idle.memory.bytes <= most / 2);
  }
  CHECK(idle.host.stack.stats().tcp.resets_out == 2 * count);
}

TEST_CASE("only those that were used last are kept awake", "[stack][idle]") {
  Idle idle{20, {}, 3};
  std::vector<Peer> peers;
  for (std::size_t i = 0; i < 10; ++i) peers.push_back(idle.open(i));
  idle.rest();
  CHECK(idle.host.stack.stats().gauges.awake == 3);
  SECTION("not one that has something to read, or to tell") {
    for (std::size_t i = 0; i < 6; ++i) peers[i].send("x");
    idle.host.advance(1s);
    CHECK(idle.host.stack.stats().gauges.awake == 6);
    for (std::size_t i = 0; i < 6; ++i) CHECK(read_all(idle.connections[i]) == "x");
    idle.host.turn();
    CHECK(idle.host.stack.stats().gauges.awake == 6);
    for (int i = 0; i < 5; ++i) CHECK(idle.host.stack.next_event().has_value());
    idle.host.turn();
    CHECK(idle.host.stack.stats().gauges.awake == 4);
    CHECK(idle.host.stack.next_event().has_value());
    idle.host.turn();
    CHECK(idle.host.stack.stats().gauges.awake == 3);
  }
  SECTION("to look at one wakes nothing") {
    for (TcpConnection& connection : idle.connections) {
      CHECK(connection.info().state == TcpState::established);
      CHECK(connection.options().ttl == 64);
      CHECK(connection.readable().empty());
      CHECK(connection.send_room() == 64 * 1024);
      CHECK(connection.error() == Errc::none);
      CHECK(connection.pushed());
      std::byte byte{};
      CHECK(connection.receive({&byte, 1}).error == Errc::would_block);
    }
    CHECK(idle.host.stack.stats().gauges.awake == 3);
  }
  SECTION("a handle may move") {
    TcpConnection moved = std::move(idle.connections[0]);
    int data = 0;
    moved.set_user_data(&data);
    CHECK(idle.host.stack.stats().gauges.awake == 3);
    peers[0].send("x");
    const auto event = idle.host.stack.next_event();
    REQUIRE(event.has_value());
    CHECK(event->user_data == &data);
    CHECK(event->id == moved.id());
    CHECK(read_all(moved) == "x");
  }
  SECTION("a reset finds it") {
    idle.host.inject(peers[0].segment().rst());
    CHECK(idle.connections[0].error() == Errc::connection_reset);
  }
  SECTION("a shutdown closes those at rest") {
    idle.host.forget_sent();
    idle.host.stack.shutdown(idle.host.clock.now());
    const auto sent = idle.host.take_all();
    CHECK(sent.size() == 10);
    CHECK(std::all_of(sent.begin(), sent.end(),
                      [](const Decoded& packet) { return packet.tcp->has(TcpFlags::fin); }));
  }
}

TEST_CASE("keep-alive goes on at rest", "[stack][idle]") {
  ConnectionOptions options;
  options.keepalive = {.enabled = true, .idle = 1min, .interval = 1s, .count = 2};
  Idle idle{4, options, 0};
  Peer peer = idle.open(0);
  const Instant heard = idle.host.clock.now();
  idle.rest();
  REQUIRE(idle.host.stack.stats().gauges.awake == 0);
  CHECK(idle.host.stack.next_deadline() <= heard + 1min);
  idle.host.advance(heard + 1min - idle.host.clock.now() - 1us);
  REQUIRE(idle.host.silent());
  idle.host.advance(1us);
  CHECK(idle.host.take_tcp().seq == peer.ack - 1);
  SECTION("an answer ends it") {
    peer.acknowledge();
    CHECK(idle.host.stack.stats().gauges.awake == 0);
    idle.host.advance(59s);
    CHECK(idle.host.silent());
  }
  SECTION("without one the connection is given up") {
    idle.host.advance(2s);
    CHECK(idle.connections[0].error() == Errc::timed_out);
  }
}

TEST_CASE("without memory a connection stays at rest", "[stack][idle]") {
  CountingSource source;
  StackConfig config = small_host_config();
  config.memory = &source;
  config.tcp.warm_connections = 0;
  Host host{config};
  ConnectionOptions options;
  options.keepalive = {.enabled = true, .idle = 1min};
  TcpListener listener = host.stack.listen({.port = 80, .connection = options});
  std::vector<Peer> peers;
  std::vector<TcpConnection> connections;
  for (std::size_t i = 0; i < 20; ++i) {
    peers.emplace_back(host, Idle::peer_options(i));
    connections.push_back(peers.back().connect_to(listener));
    while (host.stack.next_event()) {
    }
    host.turn();
  }
  REQUIRE(host.stack.stats().gauges.awake == 0);
  // One after the other has a FIN to tell, until the memory of those that went to rest is used up.
  source.grant(0);
  std::size_t next = 0;
  while (host.stack.stats().dropped(Drop::cannot_wake) == 0) {
    REQUIRE(next < peers.size());
    peers[next++].send_fin();
  }
  REQUIRE(next > 1);
  TcpConnection& resting = connections[next - 1];
  TcpConnection& other = connections[next];
  host.forget_sent();
  CHECK(resting.state() == TcpState::established);
  CHECK(resting.send(as_bytes("x")).error == Errc::no_memory);
  CHECK(resting.splice(other).error == Errc::no_memory);
  CHECK(resting.set_options({}) == Errc::no_memory);
  CHECK(resting.info().state == TcpState::established);
  CHECK(host.silent());
  SECTION("what came is repeated, and finds it when there is memory") {
    source.grant(CountingSource::unlimited);
    Peer& peer = peers[next - 1];
    peer.seq -= 1;
    peer.send_fin();
    CHECK(resting.at_end());
  }
  SECTION("its keep-alive timer tries again") {
    host.advance(1min + 500ms);
    CHECK(host.stack.stats().tcp.keepalive_probes == next - 1);
    CHECK(host.stack.next_deadline() > host.clock.now());
    source.grant(CountingSource::unlimited);
    host.advance(1s);
    CHECK(host.stack.stats().tcp.keepalive_probes == peers.size());
  }
  SECTION("to end it is to reset it") {
    switch (GENERATE(0, 1, 2)) {
      case 0:
        other.close();
        break;
      case 1:
        other.shutdown_send();
        break;
      default:
        other.abort();
        break;
    }
    host.turn();
    CHECK(host.take_tcp().has(TcpFlags::rst));
    CHECK(other.state() == TcpState::closed);
    CHECK(other.error() == Errc::connection_aborted);
    CHECK(other.send(as_bytes("x")).error == Errc::connection_aborted);
    CHECK_FALSE(other.at_end());
    other.abort();
    CHECK(host.silent());
    const std::size_t held = host.stack.stats().gauges.connections;
    other = {};
    CHECK(host.stack.stats().gauges.connections == held - 1);
  }
  SECTION("so does the end of its handle") {
    other = {};
    host.turn();
    CHECK(host.take_tcp().has(TcpFlags::rst));
    CHECK(host.stack.stats().gauges.connections == 19);
  }
  source.grant(CountingSource::unlimited);
}
