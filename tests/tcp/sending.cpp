// SPDX-License-Identifier: BSL-1.0

// Corners of sending in which nothing must get stuck, lost or sent for nothing.

#include "../support/host.hpp"
#include <tunic/tcp/recovery.hpp>

#include <cstdint>
#include <string>

using namespace tunic;
using namespace tunic::test;

TEST_CASE("a window that opens a little after shrinking below what is in flight is used",
          "[tcp][sender]") {
  Server server{{.mss = 1000, .window = 10'000}};
  auto& [host, listener, peer, connection] = server;
  connection.send(as_bytes(std::string(5000, 'x')));
  host.turn();
  REQUIRE(host.stack.device().sent() == 5);
  host.forget_sent();  // all are lost
  host.inject(peer.segment().window(0));
  host.advance(2s);
  host.forget_sent();  // a probe
  host.inject(peer.segment().window(1));
  CHECK(host.stack.next_deadline() != never);
  host.advance(60s);
  const TcpSegment again = host.take_tcp();
  CHECK(again.seq == peer.ack);
  CHECK(again.payload.size() == 1);
}

TEST_CASE("a congestion window below one segment does not keep data back for ever",
          "[tcp][sender]") {
  Server server{{}, host_config(), {.max_segment_size = 88}};
  auto& [host, listener, peer, connection] = server;
  connection.send(as_bytes(std::string(88, 'x')));
  host.turn();
  host.forget_sent();
  host.advance(2s);  // lost: the window is one small segment
  peer.receive();
  host.forget_sent();
  peer.acknowledge();
  ConnectionOptions options = connection.options();
  options.max_segment_size = 0;
  connection.set_options(options);
  connection.send(as_bytes(std::string(5000, 'y')));
  host.turn();
  CHECK_FALSE(host.silent());
}

TEST_CASE("an acknowledgement of everything calls a fast retransmission off", "[tcp][recovery]") {
  Server server{{.mss = 1000}};
  auto& [host, listener, peer, connection] = server;
  connection.send(as_bytes(std::string(4000, 'x')));
  host.turn();
  const auto duplicate = peer.segment();
  for (int i = 0; i < 4; ++i) peer.receive();
  const auto all = peer.segment();
  host.inject_all({duplicate.packet(), duplicate.packet(), duplicate.packet(), all.packet()});
  REQUIRE(host.stack.stats().tcp.fast_retransmits == 1);
  connection.send(as_bytes("y"));
  host.turn();
  host.turn();
  connection.send(as_bytes(std::string(1000, 'z')));
  host.turn();
  CHECK(host.stack.stats().tcp.retransmissions == 0);
}

TEST_CASE("a gathered packet with too many pieces is cut, and the rest follows it",
          "[tcp][egress]") {
  struct SmallPieces final : MemorySource {
    NewMemorySource source;
    void* try_allocate(std::size_t size, std::size_t align) noexcept override {
      const bool block = size == BlockPool::class_bytes[1] || size == BlockPool::class_bytes[2] ||
                         size == BlockPool::class_bytes[3];
      return block ? nullptr : source.try_allocate(size, align);
    }
    void deallocate(void* memory, std::size_t size, std::size_t align) noexcept override {
      source.deallocate(memory, size, align);
    }
  } pieces;
  ManualClock clock;
  StackConfig config = host_config();
  config.memory = &pieces;
  Stack<MockDevice> stack{MockDevice{{.mtu_bytes = 65'535}}, config};
  auto listener = stack.listen({.port = 80});
  const auto from_peer = [] {
    return testing::segment({peer_ip, 40000}, {host_ip, 80}).window(65'535);
  };
  const auto turn = [&](const SegmentBuilder& segment) {
    stack.device().inject(segment.packet());
    stack.poll(clock.now());
    stack.flush(clock.now());
  };
  turn(from_peer().syn().seq(SeqNum{1000}).mss(65'000));
  const SeqNum isn = testing::decode(*stack.device().take()).tcp->seq;
  turn(from_peer().seq(SeqNum{1001}).ack(isn + 1));
  auto connection = listener.accept();
  REQUIRE(connection.has_value());
  std::string text(30'000, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i / 100);
  REQUIRE(connection->send(as_bytes(text)).bytes == text.size());
  connection->shutdown_send();
  stack.flush(clock.now());
  std::string got;
  bool fin = false;
  while (auto bytes = stack.device().take()) {
    const auto packet = testing::decode(std::move(*bytes));
    REQUIRE(packet.tcp.has_value());
    CHECK(packet.tcp->seq == isn + 1 + static_cast<std::uint32_t>(got.size()));
    CHECK_FALSE(fin);
    got += as_text(packet.tcp->payload);
    fin = packet.tcp->has(TcpFlags::fin);
  }
  CHECK(fin);
  CHECK((got == text));
}

TEST_CASE("sequence numbers that come round to the initial one are not taken for a SYN",
          "[tcp][sender]") {
  Sender sender;
  sender.start(SeqNum{1000}, 100);
  CHECK(sender.data_begin() == SeqNum{1001});
  sender.syn_acked = true;
  sender.una = sender.nxt = SeqNum{1000};  // 4 GiB later
  CHECK(sender.data_begin() == SeqNum{1000});
  CHECK_FALSE(sender.has_work());
}

TEST_CASE("fast retransmit still works gigabytes after the last loss", "[tcp][recovery]") {
  BlockPool pool{1 << 20};
  Stats stats;
  {
    TcpConfig config;
    config.max_connections = config.max_time_wait = 8;
    TcpCore<DefaultTraits> core{config, pool, stats, SipKey{1, 2}, 1500};
    auto& cb = *core.create({host_ip, peer_ip, 80, 40000}, {});
    cb.snd.start(SeqNum{1000}, 1000);
    cb.snd.una = cb.snd.nxt = SeqNum{1001};
    Handshake<DefaultTraits>{core}.established(cb);
    const auto acknowledge = [&](SeqNum ack) {
      TcpSegment segment;
      segment.flags = TcpFlags::ack;
      segment.ack = ack;
      Acknowledgement<DefaultTraits>{core, cb, segment}.run(true);
    };
    for (int i = 0; i < 5; ++i) {
      cb.snd.nxt = cb.snd.una + 0x20000000;
      acknowledge(cb.snd.nxt);
    }
    REQUIRE(cb.snd.board.reserve(5, pool));
    for (int i = 0; i < 5; ++i, cb.snd.nxt += 1000)
      cb.snd.board.sent({.begin = cb.snd.nxt, .length = 1000}, 1, 1000);
    for (int i = 0; i < 3; ++i) acknowledge(cb.snd.una);
    CHECK(cb.snd.phase == SenderPhase::recovery);
    core.close(cb, Errc::none);
  }
}

TEST_CASE("the ACK of a part of what was sent again ends the back-off", "[tcp][recovery]") {
  Server server{{.timestamp = 5000}};
  auto& [host, listener, peer, connection] = server;
  connection.send(as_bytes(std::string(1000, 'x')));
  host.turn();
  host.advance(5s);
  REQUIRE(connection.info().backoff > 1);
  const SeqNum first = peer.ack;
  for (const auto& packet : host.take_all()) peer.learn(*packet.tcp);
  host.inject(peer.segment().ack(first + 500));
  CHECK(connection.info().backoff == 0);
}

TEST_CASE("a receive buffer made smaller than a unit of the window does not shut it for ever",
          "[tcp][receiver]") {
  Server server{{.window_scale = std::uint8_t{0}}, host_config(), {.receive_buffer = 1'000'000}};
  auto& [host, listener, peer, connection] = server;
  ConnectionOptions options = connection.options();
  options.receive_buffer = 1;
  connection.set_options(options);
  for (int i = 0; i < 100 && connection.info().rcv_wnd > 0; ++i)
    peer.send(std::string(std::min<std::size_t>(connection.info().rcv_wnd, 1000), 'x')),
        read_all(connection);
  read_all(connection);
  host.turn();
  CHECK(connection.info().rcv_wnd > 0);
}

TEST_CASE("what waits for a device is given up when the user's patience ends", "[tcp][egress]") {
  const auto status = GENERATE(DeviceStatus::would_block, DeviceStatus::down, DeviceStatus::failed);
  SECTION("a SYN") {
    Host host;
    Peer peer{host};
    host.stack.device().set_status(status);
    auto connection =
        host.stack.connect({.remote = peer.here(), .connection = {.user_timeout = 10s}});
    host.advance(11s);
    CHECK(connection.error() == Errc::timed_out);
  }
  SECTION("data") {
    Server server{{}, host_config(), {.user_timeout = 10s}};
    server.host.stack.device().set_status(status);
    server.connection.send(as_bytes("x"));
    server.host.advance(11s);
    CHECK(server.connection.error() == Errc::timed_out);
  }
  SECTION("the end of an orphan") {
    Server server;
    server.host.stack.device().set_status(status);
    server.connection = {};
    server.host.advance(2min);
    CHECK(server.host.stack.stats().gauges.orphans == 0);
    CHECK(server.host.stack.stats().gauges.connections == 0);
  }
}

TEST_CASE("a device that is down is asked again by timer, also by polls alone", "[tcp][egress]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  host.advance(1s);
  host.stack.device().set_status(DeviceStatus::down);
  connection.send(as_bytes("x"));
  host.stack.poll(host.clock.now());
  CHECK(host.stack.next_deadline() > host.clock.now());
  CHECK(host.stack.next_deadline() <= host.clock.now() + 1s);
}

TEST_CASE("a device with a senseless MTU, or one that never settles, does not hang the stack",
          "[tcp][egress]") {
  SECTION("an MTU of nothing") {
    Host host;
    host.stack.device().set_mtu_bytes(0);
    host.inject(testing::icmp_echo(peer_ip, host_ip, 1, 1, "a"));
    host.inject(testing::icmp_echo(peer_ip, host_ip, 1, 2, std::string(200, 'b')));
    CHECK(host.take_all().size() >= 2);
  }
  SECTION("plans that are never good enough") {
    struct Restless : MockDevice {
      TxResult send(std::span<const TxPacket>) noexcept { return {0, DeviceStatus::replan}; }
    };
    ManualClock clock;
    Stack<Restless> stack{Restless{}, host_config()};
    auto connection = stack.connect({.remote = {peer_ip, 80}});
    stack.flush(clock.now());
    CHECK(connection.state() == TcpState::syn_sent);
  }
}

TEST_CASE("a pause counts once, however often the device refuses what follows it",
          "[tcp][sending]") {
  Server server{{.sack = true, .timestamp = 5000U}};
  auto& host = server.host;
  auto& peer = server.peer;
  auto& connection = server.connection;
  const auto deliver = [&] {
    for (const Decoded& packet : host.take_all()) {
      if (packet.tcp->payload.empty()) continue;
      peer.learn(*packet.tcp);
      peer.acknowledge();
    }
  };
  connection.send(as_bytes(std::string(200'000, 'x')));
  host.turn();
  for (int i = 0; i < 4; ++i) {
    host.advance(50ms);
    deliver();
  }
  while (connection.unacknowledged_bytes() != 0) deliver();
  const std::uint32_t before = connection.info().snd_cwnd;
  REQUIRE(before > 4 * 14'480);
  host.advance(6min);
  host.stack.device().set_status(DeviceStatus::would_block);
  connection.send(as_bytes("more"));
  for (int i = 0; i < 10; ++i) host.turn();
  CHECK(connection.info().snd_cwnd == before / 2);  // five minutes: RFC 7661 4.4.3
}
