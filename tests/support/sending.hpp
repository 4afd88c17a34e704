// SPDX-License-Identifier: BSL-1.0
#pragma once

// A host that sends to a peer who is played by the test. Data is cut into segments of 1000 bytes,
// which are known by their numbers from 0 on.

#include "host.hpp"
#include <tunic/tcp/new_reno.hpp>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace tunic::test {

/// Halves the window, and keeps one that is not used: what leaves is easy to foretell.
struct RenoTraits : DefaultTraits {
  using Congestion = BasicNewReno<StandardSlowStart, RestartAfterIdle>;
};

/// Time-outs do not come in the way of what takes longer.
inline StackConfig patient() {
  StackConfig config = host_config();
  config.tcp.min_rto = 1s;
  return config;
}

/// So many segments in the initial window.
inline StackConfig with_initial_window(std::uint8_t segments, StackConfig config = patient()) {
  config.tcp.initial_window = segments;
  return config;
}

/// A connection whose handshake took `rtt`.
struct Sending {
  using Segments = std::vector<std::uint32_t>;
  static constexpr std::uint32_t unit = 1000;

  BasicHost<RenoTraits> host;
  BasicTcpListener<RenoTraits> listener;
  BasicPeer<RenoTraits> peer;
  BasicTcpConnection<RenoTraits> connection;
  SeqNum first;
  Instant begin;

  explicit Sending(PeerOptions options = {.sack = true}, StackConfig config = host_config(),
                   Duration rtt = 100ms)
      : host{std::move(config)},
        listener{host.stack.listen({.port = 80, .connection = {.send_buffer = 1 << 20}})},
        peer{host, sized(options)} {
    peer.send_syn();
    host.advance(rtt);
    peer.finish();
    connection = std::move(*listener.accept());
    first = peer.ack;
    begin = host.clock.now();
  }

  /// The application writes `count` segments.
  void write(std::uint32_t count) {
    REQUIRE(connection.send(as_bytes(std::string(count * unit, 'x'))).bytes == count * unit);
    host.turn();
  }
  /// Writes and has acknowledged after `rtt`, so that the path is known; the numbers start anew.
  void exchange(std::uint32_t count = 1, Duration rtt = 100ms) {
    write(count);
    sent();
    host.advance(rtt);
    tell(count);
    first += count * unit;
    begin = host.clock.now();
  }
  /// The numbers of the segments that left since the last look, in their order.
  Segments sent() {
    Segments numbers;
    for (const Decoded& packet : host.take_all()) {
      REQUIRE(packet.tcp.has_value());
      if (packet.tcp->payload.empty()) continue;
      peer.learn(*packet.tcp);
      const auto offset = static_cast<std::uint32_t>(packet.tcp->seq - first);
      CHECK(packet.tcp->payload.size() == unit);
      CHECK(offset % unit == 0);
      numbers.push_back(offset / unit);
    }
    return numbers;
  }

  [[nodiscard]] SeqNum at(std::uint32_t number) const { return first + number * unit; }
  struct Block {
    std::uint32_t from, to;
  };
  [[nodiscard]] testing::Range range(Block block) const { return {at(block.from), at(block.to)}; }
  /// The acknowledgement of all below `number`, with blocks.
  [[nodiscard]] SegmentBuilder ack(std::uint32_t number) const {
    return peer.segment().ack(at(number));
  }
  [[nodiscard]] SegmentBuilder ack(std::uint32_t number, Block a) const {
    return ack(number).sack({range(a)});
  }
  [[nodiscard]] SegmentBuilder ack(std::uint32_t number, Block a, Block b) const {
    return ack(number).sack({range(a), range(b)});
  }
  void tell(std::uint32_t number) { host.inject(ack(number)); }
  void tell(std::uint32_t number, Block a) { host.inject(ack(number, a)); }
  void tell(std::uint32_t number, Block a, Block b) { host.inject(ack(number, a, b)); }

  /// Moves to a time after the start; what is due by then has left.
  void until(Duration after) { host.advance(begin + after - host.clock.now()); }
  [[nodiscard]] TcpInfo info() const { return connection.info(); }
  [[nodiscard]] const TcpStats& stats() { return host.stack.stats().tcp; }
  /// Units of 1000 bytes.
  [[nodiscard]] double cwnd() const { return info().snd_cwnd / double{unit}; }
  [[nodiscard]] double in_flight() const { return info().in_flight / double{unit}; }
  [[nodiscard]] double ssthresh() const { return info().snd_ssthresh / double{unit}; }

 private:
  static PeerOptions sized(PeerOptions options) {
    options.mss = static_cast<std::uint16_t>(unit + (options.timestamp ? 12 : 0));
    return options;
  }
};

}  // namespace tunic::test
