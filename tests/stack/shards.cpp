// SPDX-License-Identifier: BSL-1.0
// Several stacks that share one address, each with the flows of its shard.

#include "../support/host.hpp"
#include <tunic/device/shard_device.hpp>

#include <array>
#include <deque>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

using Shard = ShardDevice<MockDevice>;

// Three stacks, and a kernel that gives packets to whichever queue it likes.
struct Shards {
  static constexpr std::size_t count = 3;

  ManualClock clock;
  std::deque<Stack<Shard>> stacks;

  Shards() {
    for (Shard& shard : make_shards(std::vector<MockDevice>(count), SipKey{7, 9})) {
      StackConfig config = host_config();
      config.seed = SipKey{shard.shard(), 2};
      stacks.emplace_back(std::move(shard), config);
    }
  }

  void turns() {
    for (std::size_t i = 0; i < 2; ++i) {
      for (auto& stack : stacks) {
        stack.poll(clock.now());
        stack.flush(clock.now());
      }
    }
  }
  void inject(std::size_t queue, const Packet& packet) {
    stacks[queue].device().inner().inject(packet);
    turns();
  }
  // What left at any queue, since the last time.
  std::vector<Decoded> take() {
    std::vector<Decoded> packets;
    for (auto& stack : stacks) {
      while (auto packet = stack.device().inner().take()) {
        packets.push_back(testing::decode(*packet));
      }
    }
    return packets;
  }
  std::size_t owner(const Endpoint& local, const Endpoint& remote) {
    std::size_t shard = 0;
    while (!stacks[shard].device().owns(local, remote)) ++shard;
    return shard;
  }
};

}  // namespace

TEST_CASE("an active open picks a port whose replies come to its own shard", "[stack][shard]") {
  Shards shards;
  const Endpoint remote{peer_ip, 80};
  std::set<std::uint16_t> ports;
  std::vector<TcpConnection> connections;
  for (std::size_t i = 0; i < 60; ++i) {
    auto& stack = shards.stacks[i % Shards::count];
    connections.push_back(stack.connect({.remote = remote}));
    const Endpoint local{host_ip, connections.back().local().port};
    CHECK(shards.owner(local, remote) == i % Shards::count);
    ports.insert(local.port);
  }
  CHECK(ports.size() == 60);  // no two shards ever have the same
  shards.turns();
  // The replies come in at a wrong queue, and are carried.
  for (const Decoded& syn : shards.take()) {
    const std::size_t wrong = (shards.owner(syn.from(), syn.to()) + 1) % Shards::count;
    const auto reply = testing::segment(syn.to(), syn.from()).seq(900).ack(syn.tcp->seq + 1);
    shards.inject(wrong, reply.syn().packet());
  }
  for (TcpConnection& connection : connections) {
    CHECK(connection.state() == TcpState::established);
  }
  for (auto& stack : shards.stacks) CHECK(stack.stats().tcp.resets_out == 0);
}

TEST_CASE("a port that leads to another shard is refused", "[stack][shard]") {
  Shards shards;
  const Endpoint remote{peer_ip, 80};
  for (std::uint16_t port = 5000; port < 5020; ++port) {
    const std::size_t owner = shards.owner({host_ip, port}, remote);
    for (std::size_t i = 0; i < Shards::count; ++i) {
      std::error_code error;
      const auto connection =
          shards.stacks[i].connect({.remote = remote, .local_port = port}, error);
      CHECK(error == (i == owner ? Errc::none : Errc::other_shard));
    }
  }
}

TEST_CASE("each shard accepts its own flows, at whatever queue they come in", "[stack][shard]") {
  Shards shards;
  std::vector<TcpListener> listeners;
  for (auto& stack : shards.stacks) listeners.push_back(stack.listen({.port = 7}));
  std::array<std::size_t, Shards::count> flows{};
  std::vector<TcpConnection> connections;
  for (std::uint16_t port = 3000; port < 3030; ++port) {
    const Endpoint peer{peer_ip, port};
    const std::size_t owner = shards.owner({host_ip, 7}, peer);
    const auto segment = testing::segment(peer, {host_ip, 7});
    shards.inject(port % Shards::count, segment.syn().seq(100).packet());
    const auto replies = shards.take();
    REQUIRE(replies.size() == 1);
    const auto established = segment.seq(101).ack(replies[0].tcp->seq + 1);
    shards.inject((port + 1U) % Shards::count, established.payload("hello").packet());
    auto accepted = listeners[owner].accept();
    REQUIRE(accepted);
    CHECK(as_text(accepted->readable()) == "hello");
    connections.push_back(std::move(*accepted));
    ++flows[owner];
  }
  for (std::size_t i = 0; i < Shards::count; ++i) {
    CHECK(flows[i] > 0);
    CHECK(shards.stacks[i].stats().gauges.connections == flows[i]);
    CHECK(shards.stacks[i].stats().tcp.resets_out == 0);
  }
}

TEST_CASE("a stray is never answered, what belongs to nobody is answered once", "[stack][shard]") {
  Shards shards;
  const Endpoint peer{peer_ip, 3000};
  const Endpoint ours{host_ip, 99};
  const std::size_t owner = shards.owner(ours, peer);
  const Packet unknown = testing::segment(peer, ours).seq(1).payload("x").packet();
  for (std::size_t queue = 0; queue < Shards::count; ++queue) {
    shards.inject(queue, unknown);
    CHECK(shards.take().size() == 1);
    for (std::size_t i = 0; i < Shards::count; ++i)
      CHECK(shards.stacks[i].stats().tcp.resets_out == (i == owner ? queue + 1 : 0));
  }
}

TEST_CASE("a segment that came in fragments reaches its connection", "[stack][shard]") {
  Shards shards;
  std::vector<TcpListener> listeners;
  for (auto& stack : shards.stacks) listeners.push_back(stack.listen({.port = 7}));
  const std::size_t gathering = shards.owner({host_ip}, {peer_ip});
  for (std::uint16_t port = 3000; port < 3010; ++port) {
    const Endpoint peer{peer_ip, port};
    const std::size_t owner = shards.owner({host_ip, 7}, peer);
    const auto segment = testing::segment(peer, {host_ip, 7}).ip_id(port);
    shards.inject(owner, segment.syn().seq(100).packet());
    const auto replies = shards.take();
    REQUIRE(replies.size() == 1);
    const std::string text = pattern_text(3000);
    const auto whole = segment.seq(101).ack(replies[0].tcp->seq + 1).payload(text).packet();
    std::size_t queue = port;
    for (const Packet& fragment : testing::fragments(whole, 1500)) {
      shards.inject(queue++ % Shards::count, fragment);
    }
    CHECK(shards.stacks[gathering].stats().ip.reassembled == port - 2999U);
    auto accepted = listeners[owner].accept();
    REQUIRE(accepted);
    CHECK(as_text(accepted->readable()) == text);
    accepted->abort();
    shards.turns();
    (void)shards.take();
  }
  for (auto& stack : shards.stacks) CHECK(stack.stats().gauges.reassemblies == 0);
}

TEST_CASE("an error report reaches the connection that it is about", "[stack][shard]") {
  Shards shards;
  for (std::size_t i = 0; i < Shards::count; ++i) {
    auto connection = shards.stacks[i].connect({.remote = {peer_ip, 80}});
    shards.turns();
    const auto syn = shards.take();
    REQUIRE(syn.size() == 1);
    const Packet report =
        testing::icmp_unreachable(peer_ip, host_ip, IcmpUnreachable::port, *syn[0].bytes);
    shards.inject((i + 1) % Shards::count, report);
    CHECK(connection.error() == Errc::connection_refused);
  }
}

TEST_CASE("a ping is for the shard to which its reply comes", "[stack][shard]") {
  Shards shards;
  const std::size_t owner = shards.owner({host_ip}, {peer_ip});
  for (std::size_t i = 0; i < Shards::count; ++i) {
    std::error_code error;
    const auto sequence = shards.stacks[i].ping(peer_ip, {}, 1s, error);
    CHECK(sequence.has_value() == (i == owner));
    CHECK(error == (i == owner ? Errc::none : Errc::other_shard));
  }
}
