// SPDX-License-Identifier: BSL-1.0
#pragma once

// A stack with a program on it, and what a harness knows of its four peers from the packets that
// the stack has sent. Every turn ends with a look at everything that must hold.

#include "../support/invariants.hpp"
#include "script.hpp"
#include <tunic/device/mock_device.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/testing/segment.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace tunic::fuzz {

using namespace std::chrono_literals;
using test::demand;

inline const IpAddress host = IpAddress::v4(10, 0, 0, 2);
inline constexpr std::uint16_t host_port = 80;
inline constexpr std::size_t peers = 4;

inline Endpoint peer_at(std::size_t index) noexcept {
  const auto number = static_cast<std::uint8_t>(index);
  return {IpAddress::v4(10, 0, 0, static_cast<std::uint8_t>(16 + number)),
          static_cast<std::uint16_t>(1000 + number)};
}

/// What a peer knows of its connection.
struct Peer {
  test::SegmentWatch watch;
  std::vector<std::byte> last_sent;  // the stack's last packet to it
  std::uint8_t scale = 0;            // of the stack's window field
  bool forged = false;               // bytes that are not the pattern may have been taken
};

template <class Traits>
class World {
 public:
  using FuzzStack = Stack<MockDevice, Traits>;
  using Connection = typename FuzzStack::Connection;
  using Listener = typename FuzzStack::Listener;

  /// A handle, and where in the peer's sequence numbers its unread bytes are.
  struct Held {
    Connection connection;
    std::size_t peer = peers;
    std::optional<std::uint32_t> reading;  // unknown: bytes are not checked
    std::uint32_t written = 0;
  };

  explicit World(Script& script)
      : stack{MockDevice{{.mtu_bytes = script.pick(mtus)}}, config(script)} {
    options.send_buffer = script.pick(sizes);
    options.receive_buffer = script.pick(sizes);
    listen();
  }

  void listen() {
    std::error_code error;
    listener = stack.listen({.port = host_port,
                             .backlog = 3,
                             .syn_backlog = 3,
                             .decide_syns = decide_syns,
                             .max_pending_syns = 2,
                             .connection = options},
                            error);
  }

  /// Takes what was injected, serves time and program, sends, and looks at all of it.
  void turn() {
    now += 5us;  // one tick of the clock of initial sequence numbers (RFC 6528): each is another
    stack.poll(now);
    accept();
    while (stack.next_event()) {
    }
    stack.flush(now);
    while (const auto token = stack.next_released())
      demand(kept.erase(*token) == 1, "bytes are given back once");
    look_at_sent();
    look_at_held();
    test::demand_bounded(stack.stats(), stack.config());
  }

  /// One packet comes, and has one fate. Only while the device takes what is sent.
  void receive(Bytes packet) {
    trace(now, "came", packet);
    stack.poll(now);  // what is due does not count for the packet
    const Stats before = stack.stats();
    stack.device().inject(packet);
    stack.poll(now);
    test::demand_one_fate(before, stack.stats());
    turn();
  }

  /// Time passes, deadline by deadline while they are few.
  void advance(Duration by) {
    const Instant end = now + by;
    for (int i = 0; i < 64 && stack.next_deadline() <= end; ++i) {
      now = std::max(now, stack.next_deadline());
      turn();
    }
    now = std::max(now, end);
    turn();
  }

  /// Ends everything and waits until nothing is left.
  void finish(bool gracefully) {
    stack.device().set_status(DeviceStatus::ok);
    stack.device().set_capacity(1'000'000);
    for (Held& each : held) {
      if (!gracefully) each.connection.abort();
    }
    held.clear();
    listener.close();
    turn();  // the device is writable again
    for (int i = 0; i < 10'000 && stack.next_deadline() != never; ++i) {
      now = std::max(now, stack.next_deadline());
      turn();
    }
    demand(stack.idle(), "the stack comes to an end");
    demand(kept.empty(), "bytes are given back in the end");
    test::demand_nothing_held(stack.stats());
  }

  std::map<std::uint64_t, std::vector<std::byte>> kept{};  // for `send_owned`, by token
  FuzzStack stack;
  Listener listener{};
  std::vector<Held> held{};
  std::array<Peer, peers> known{};
  ConnectionOptions options{};
  Instant now{1s};
  bool decide_syns = false;

 private:
  static constexpr std::array<std::size_t, 4> mtus{1500, 576, 128, 65'535};
  static constexpr std::array<std::uint32_t, 6> sizes{20'000, 256 * 1024, 1, 1000, 70'000, 3000};

  static StackConfig config(Script& script) {
    StackConfig config;
    config.addresses = {IpCidr{host, 24}};
    const std::uint8_t seed = script.byte();
    config.seed = SipKey{1, seed};
    config.tcp.warm_connections = seed % 3;
    config.tcp.ecn = seed % 4 == 0 ? Ecn::when_asked : Ecn::always;
    config.memory_budget = script.pick(std::array<std::size_t, 3>{1024 * 1024, 200'000, 64 * 1024});
    const std::uint8_t bits = script.byte();
    config.tcp.window_scaling = (bits & 1) == 0;
    config.tcp.timestamps = (bits & 2) == 0;
    config.tcp.sack = (bits & 4) == 0;
    config.tcp.syn_cookies = (bits & 8) == 0;
    if ((bits & 16) != 0) config.tcp.delayed_ack = Duration{0};
    config.tcp.max_connections = (bits & 32) == 0 ? 12 : 3;
    config.tcp.max_time_wait = (bits & 64) == 0 ? 4 : 1;
    config.tcp.max_orphans = (bits & 128) == 0 ? 4 : 0;
    config.tcp.max_out_of_order_ranges = 8;
    config.ip.max_reassemblies = 4;
    return config;
  }

  void accept() {
    const std::uint64_t cookies = stack.stats().tcp.cookies_accepted;
    const bool by_cookie = std::exchange(cookies_, cookies) != cookies;
    while (auto accepted = listener.accept()) {
      const std::size_t index = accepted->remote().port - 1000U;
      Held& fresh = held.emplace_back();
      fresh.connection = std::move(*accepted);
      fresh.peer = index < peers ? index : peers;
      if (index >= peers) continue;
      Peer& peer = known[index];
      if (by_cookie) {
        peer.watch.resume();
      } else if (peer.watch.rcv_nxt() && !peer.forged) {
        fresh.reading = peer.watch.rcv_nxt()->value();
      }
    }
  }

  // ---- what was sent

  void look_at_sent() {
    MockDevice& device = stack.device();
    demand(device.oversized() == 0, "packets fit the MTU");
    for (; device.sent() != 0; device.drop_front()) {
      const Bytes bytes = device.front();
      trace(now, "     sent", bytes);
      const auto ip = Ipv4Parser{}(bytes);
      demand(ip && ip->header.src == host, "what is sent is a packet from here");
      if (ip->header.protocol != IpProtocol::tcp) continue;
      const auto segment = parse_tcp(ip->payload, host, ip->header.dst);
      demand(bool{segment}, "what is sent is a segment");
      const std::size_t index = segment->dst_port - 1000U;
      if (index >= peers || peer_at(index).address != ip->header.dst) continue;
      Peer& peer = known[index];
      peer.last_sent.assign(bytes.begin(), bytes.end());
      bool connected = false;
      for (const Held& each : held) {
        if (each.peer != index || each.connection.state() == TcpState::closed) continue;
        connected = true;
        peer.scale = each.connection.info().rcv_wscale;  // it need not be what we asked for
      }
      // A stateless SYN+ACK answers what came before the connection was made.
      const bool late = segment->has(TcpFlags::syn) && device.front_reason() == TxReason::reset;
      if (!(late && connected)) look_at(peer, *segment, device.front_reason());
    }
  }

  void look_at(Peer& peer, const TcpSegment& segment, TxReason reason) {
    if (segment.has(TcpFlags::syn)) {
      peer.scale = segment.options.has_window_scale ? segment.options.window_scale : 0;
      if (!segment.has(TcpFlags::ack)) peer.forged = false;
    }
    if (reason == TxReason::probe) return;  // may carry a byte that is none
    peer.watch.sent(segment, peer.scale);
    if (segment.has(TcpFlags::rst) || segment.payload.empty() || !peer.watch.started()) return;
    const std::uint32_t place = segment.seq.value() - peer.watch.iss().value() - 1;
    demand(is_pattern(place, segment.payload), "what is sent is what was written");
  }

  // ---- what is held

  void look_at_held() {
    const Gauges& gauges = stack.stats().gauges;
    std::size_t behind_handles = 0;
    for (const Held& each : held) behind_handles += each.connection ? 1 : 0;
    demand(gauges.connections ==
               behind_handles + gauges.half_open + gauges.orphans + listener.waiting(),
           "each control block belongs to somebody");
    bool unfinished = gauges.orphans != 0 || gauges.half_open != 0;
    for (const Held& each : held) {
      look_at(each.connection);
      unfinished = unfinished || (each.connection.unacknowledged_bytes() != 0 &&
                                  each.connection.state() != TcpState::closed);
    }
    if (stack.device_status() != DeviceStatus::ok) return;
    demand(!unfinished || stack.next_deadline() != never, "what is unfinished has a deadline");
    for (int i = 0; stack.next_deadline() <= now; ++i) {
      demand(i < 100, "the stack comes to rest");
      stack.poll(now);
      stack.flush(now);
      look_at_sent();
    }
  }

  static void look_at(const Connection& connection) {
    const TcpInfo info = connection.info();
    demand(info.state == connection.state() || info.state == TcpState::time_wait,
           "there is one state");
    const bool dead = connection.error() != Errc::none;
    demand(!dead || (connection.state() == TcpState::closed || !connection),
           "a connection with an error is closed");
    std::array<Bytes, 64> views;
    const std::size_t count = connection.views(views);
    std::size_t size = 0;
    for (std::size_t i = 0; i < count; ++i) size += views[i].size();
    demand(size == connection.readable_bytes() || count == views.size(), "views are all there is");
    demand(connection.at_end() || connection.readable().empty() == (size == 0),
           "bytes can be read while there are some");
    demand(!connection.at_end() || size == 0, "the end comes last");
  }

  std::uint64_t cookies_ = 0;
};

}  // namespace tunic::fuzz
