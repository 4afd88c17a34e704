// SPDX-License-Identifier: BSL-1.0
// The stack as its user sees it: turns, deadlines, events, handles, back-pressure, ending.

#include "../support/host.hpp"
#include <tunic/testing/link.hpp>

#include <optional>
#include <string>
#include <utility>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

TEST_CASE("an idle stack waits for ever, one with something to send not at all", "[stack]") {
  Server server;
  Host& host = server.host;
  host.advance(2s);  // the handshake's timer fires in vain
  CHECK(host.stack.wait_ms(host.clock.now()) == -1);
  CHECK(host.stack.next_timeout(host.clock.now()) == Duration::max());
  server.connection.send(as_bytes("x"));
  CHECK(host.stack.wait_ms(host.clock.now()) == 0);
  host.stack.flush(host.clock.now());
  CHECK(host.stack.next_deadline() == host.clock.now() + server.connection.info().rto);
  CHECK(host.stack.wait_ms(host.clock.now() + 500us) ==
        server.connection.info().rto / 1ms);  // rounded up
}

TEST_CASE("what a turn leaves unflushed leaves with the next poll, and poll sends nothing else",
          "[stack]") {
  Server server;
  Host& host = server.host;
  server.connection.send(as_bytes("x"));
  host.stack.poll(host.clock.now());
  CHECK(matches(host.take(), expect.payload("x")));
  host.stack.device().inject(
      server.peer.segment().seq(server.peer.seq + 5).payload("gap").packet());
  host.stack.poll(host.clock.now());
  CHECK(host.silent());  // the ACK is owed
  host.stack.flush(host.clock.now());
  CHECK_FALSE(host.silent());
}

TEST_CASE("a poll takes a bounded number of packets and says that there are more", "[stack]") {
  StackConfig config = host_config();
  config.packets_per_poll = 64;
  Host host{config};
  for (int i = 0; i < 100; ++i)
    host.stack.device().inject(testing::icmp_echo(peer_ip, host_ip, 1, 1));
  const PollResult first = host.stack.poll(host.clock.now());
  CHECK(first.packets == 64);
  CHECK(first.more);
  CHECK(host.stack.wait_ms(host.clock.now()) == 0);
  const PollResult second = host.stack.poll(host.clock.now());
  CHECK(second.packets == 36);
  CHECK_FALSE(second.more);
}

TEST_CASE("nothing times out while the acknowledgement may wait in the device", "[stack]") {
  StackConfig config = host_config();
  config.packets_per_poll = 64;
  Server server{{}, config};
  Host& host = server.host;
  server.connection.send(as_bytes("x"));
  host.turn();
  server.peer.receive();
  for (int i = 0; i < 64; ++i)
    host.stack.device().inject(testing::icmp_echo(peer_ip, host_ip, 1, 1));
  host.stack.device().inject(server.peer.segment().packet());
  host.clock.advance(5s);
  REQUIRE(host.stack.poll(host.clock.now()).more);
  host.turn();
  CHECK(host.stack.stats().tcp.timeouts == 0);
  CHECK(server.connection.info().in_flight == 0);
}

TEST_CASE("time that runs backwards counts as the latest", "[stack]") {
  Server server;
  Host& host = server.host;
  server.connection.send(as_bytes("x"));
  host.turn();
  const Instant deadline = host.stack.next_deadline();
  host.stack.poll(Instant{});
  host.stack.flush(Instant{});
  CHECK(host.stack.next_deadline() == deadline);
}

TEST_CASE("events are coalesced, carry the user's data and wait for accept", "[stack][events]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  Peer peer{host};
  peer.send_syn();
  peer.finish();
  peer.send("early");
  CHECK_FALSE(host.stack.next_event().has_value());
  auto connection = listener.accept();
  REQUIRE(connection.has_value());
  int data = 0;
  connection->set_user_data(&data);
  peer.send("more");
  peer.send_fin();
  const auto event = host.stack.next_event();
  REQUIRE(event.has_value());
  CHECK(event->user_data == &data);
  CHECK(event->id == connection->id());
  CHECK(has(event->flags, EventFlags::connected));
  CHECK(has(event->flags, EventFlags::readable));
  CHECK(has(event->flags, EventFlags::end));
  CHECK_FALSE(host.stack.next_event().has_value());
}

TEST_CASE("a short send is followed by a writable event", "[stack][events]") {
  ConnectionOptions options;
  options.send_buffer = 10'000;
  Server server{{}, host_config(), options};
  while (server.host.stack.next_event()) {
  }
  const IoResult result = server.connection.send(as_bytes(std::string(20'000, 'x')));
  CHECK(result.bytes == 10'000);
  CHECK(result.error == Errc::would_block);
  server.host.turn();
  server.peer.receive();
  server.peer.acknowledge();
  CHECK_FALSE(server.host.stack.next_event().has_value());  // below low water
  for (const Decoded& packet : server.host.take_all()) server.peer.learn(*packet.tcp);
  server.peer.acknowledge();
  const auto event = server.host.stack.next_event();
  REQUIRE(event.has_value());
  CHECK(has(event->flags, EventFlags::writable));
}

TEST_CASE("handles move and know when the stack is gone", "[stack][handles]") {
  std::optional<Host> host{std::in_place};
  auto listener = host->stack.listen({.port = 80});
  Peer peer{*host};
  auto first = peer.connect_to(listener);
  TcpConnection moved = std::move(first);
  CHECK_FALSE(first);
  CHECK(first.error() == Errc::not_connected);
  CHECK(first.send(as_bytes("x")).error == Errc::not_connected);
  CHECK(moved.state() == TcpState::established);
  host.reset();
  CHECK_FALSE(moved);
  CHECK_FALSE(listener);
  CHECK(moved.send(as_bytes("x")).error == Errc::not_connected);
  CHECK_FALSE(listener.accept().has_value());
}

TEST_CASE("a handle keeps the cause of death, and a slot is not reused under it",
          "[stack][handles]") {
  Server server;
  const ConnId id = server.connection.id();
  server.host.inject(server.peer.segment().rst());
  CHECK(server.connection.error() == Errc::connection_reset);
  CHECK(server.host.stack.stats().gauges.connections == 1);
  Peer other{server.host, {.port = 2}};
  auto second = other.connect_to(server.listener);
  CHECK_FALSE(second.id() == id);
  server.connection = {};
  CHECK(server.host.stack.stats().gauges.connections == 1);
  Peer third{server.host, {.port = 3}};
  CHECK_FALSE(third.connect_to(server.listener).id() == id);  // the slot, but another generation
}

TEST_CASE("peek and views leave bytes unread", "[stack][handles]") {
  Server server;
  server.peer.send("hello");
  server.peer.send(" world");
  std::array<std::byte, 5> out{};
  CHECK(server.connection.peek(out, 6).bytes == 5);
  CHECK(as_text(out) == "world");
  std::array<Bytes, 4> views{};
  const std::size_t count = server.connection.views(views);
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all.append(as_text(views[i]));
  CHECK(all == "hello world");
  CHECK(server.connection.readable_bytes() == 11);
  CHECK(server.connection.receive(out).bytes == 5);
  CHECK(as_text(out) == "hello");
  CHECK(server.connection.readable_bytes() == 6);
}

TEST_CASE("unsent and unacknowledged bytes are counted", "[stack][handles]") {
  Server server{{.window = 4000}};
  server.connection.send(as_bytes(std::string(10'000, 'x')));
  CHECK(server.connection.unsent_bytes() == 10'000);
  server.host.turn();
  CHECK(server.connection.unsent_bytes() == 10'000 - 2 * 1460);
  CHECK(server.connection.unacknowledged_bytes() == 10'000);
}

TEST_CASE("a full device holds segments back, and nothing is lost or counted twice",
          "[stack][device]") {
  Server server;
  Host& host = server.host;
  host.stack.device().set_capacity(3);
  server.connection.send(as_bytes(std::string(10 * 1460, 'x')));
  host.turn();
  CHECK(host.stack.next_deadline() > host.clock.now());  // wait for writability, do not spin
  SeqNum next = server.peer.ack;
  std::size_t bytes = 0;
  for (int i = 0; i < 10 && bytes < 10 * 1460; ++i) {
    for (const Decoded& packet : host.take_all()) {
      CHECK(packet.tcp->seq == next);
      next += packet.tcp->length();
      bytes += packet.tcp->payload.size();
    }
    host.turn();
  }
  CHECK(bytes == 10 * 1460);
  CHECK(host.stack.stats().tcp.retransmissions == 0);
}

TEST_CASE("an MTU that shrinks is planned for at once", "[stack][device]") {
  Server server;
  server.host.stack.device().set_mtu_bytes(1000);
  server.connection.send(as_bytes(std::string(5000, 'x')));
  server.host.turn();
  for (const Decoded& packet : server.host.take_all()) CHECK(packet.bytes->size() <= 1000);
  CHECK(server.host.stack.device().oversized() == 0);
  CHECK(server.connection.info().path_mtu == 1000);
}

TEST_CASE("a link that is down is tried again", "[stack][device]") {
  Server server;
  Host& host = server.host;
  host.stack.device().set_status(DeviceStatus::down);
  server.connection.send(as_bytes("x"));
  host.turn();
  CHECK(host.stack.device_status() == DeviceStatus::down);
  const Instant retry = host.stack.next_deadline();
  CHECK(retry > host.clock.now());
  CHECK(retry <= host.clock.now() + 1s);
  host.stack.device().set_status(DeviceStatus::ok);
  host.clock.set(retry);
  host.turn();
  CHECK(matches(host.take(), expect.payload("x")));
}

TEST_CASE("a stack tells what is wrong with its settings", "[stack]") {
  std::error_code error;
  StackConfig config = host_config();
  config.tcp.delayed_ack = 500ms;
  Stack<MockDevice> stack{MockDevice{}, config, error};
  CHECK(error == std::errc::invalid_argument);
  CHECK_THROWS_AS((Stack<MockDevice>{MockDevice{}, config}), std::system_error);
}

TEST_CASE("shutdown closes everything in order, and the stack is idle afterwards", "[stack]") {
  ManualClock clock;
  StackConfig one = host_config(), two = host_config();
  two.addresses = {IpCidr{peer_ip, 24}};
  Stack<MockDevice> a{MockDevice{}, one}, b{MockDevice{}, two};
  testing::Link link{a, b, clock, {.delay = 10ms}};
  auto listener = b.listen({.port = 80});
  auto client = a.connect({.remote = {peer_ip, 80}});
  std::optional<TcpConnection> accepted;
  REQUIRE(link.run_until(
      [&] {
        if (!accepted) accepted = listener.accept();
        return accepted.has_value();
      },
      1s));
  client.send(as_bytes("last words"));
  a.shutdown(clock.now());
  std::string heard;
  REQUIRE(link.run_until(
      [&] {
        heard += read_all(*accepted);
        if (accepted->at_end()) accepted->close();
        return a.idle() && b.idle();
      },
      10s));
  CHECK(heard == "last words");
  CHECK(client.error() == Errc::none);
}

TEST_CASE("a stack that goes resets its peers", "[stack]") {
  // The device outlives the stack in no test, so its packets are seen through a watcher.
  struct Watcher : MockDevice {
    std::vector<Packet>* seen = nullptr;
    TxResult send(std::span<const TxPacket> packets) noexcept {
      const TxResult result = MockDevice::send(packets);
      while (auto packet = take()) seen->push_back(std::move(*packet));
      return result;
    }
  };
  const bool awake = GENERATE(true, false);
  StackConfig config = host_config();
  config.tcp.warm_connections = awake ? 1 : 0;
  std::vector<Packet> seen;
  Watcher device;
  device.seen = &seen;
  {
    Stack<Watcher> stack{std::move(device), config};
    auto listener = stack.listen({.port = 80});
    const auto from_peer = testing::segment({peer_ip, 1}, {host_ip, 80});
    stack.device().inject(from_peer.syn().seq(1).packet());
    stack.poll(Instant{1s});
    stack.flush(Instant{1s});
    REQUIRE(seen.size() == 1);
    const SeqNum isn = testing::decode(seen[0]).tcp->seq;
    stack.device().inject(from_peer.seq(2).ack(isn + 1).packet());
    stack.poll(Instant{1s});
    const auto connection = listener.accept();
    REQUIRE(stack.next_event().has_value());
    stack.flush(Instant{1s});
    REQUIRE(stack.stats().gauges.awake == (awake ? 1 : 0));
  }
  REQUIRE(seen.size() == 2);
  CHECK(matches(seen.back(), expect.has_flags("R")));
  CHECK(testing::decode(seen[1]).tcp->seq == testing::decode(seen[0]).tcp->seq + 1);
}

namespace {

struct OtherTraits : DefaultTraits {
  static constexpr bool sack = false;
};

}  // namespace

TEST_CASE("stacks of different types live in one program", "[stack]") {
  ManualClock clock;
  StackConfig two = host_config();
  two.addresses = {IpCidr{peer_ip, 24}};
  Stack<MockDevice, OtherTraits> a{MockDevice{}, host_config()};
  Stack<MockDevice, MinimalTraits> b{MockDevice{}, two};
  testing::Link link{a, b, clock};
  auto listener = b.listen({.port = 80});
  auto client = a.connect({.remote = {peer_ip, 80}});
  CHECK(link.run_until([&] { return client.state() == TcpState::established; }, 1s));
  CHECK_FALSE(client.info().timestamps);
}
