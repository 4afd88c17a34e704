// SPDX-License-Identifier: BSL-1.0
#pragma once

// A stack over a mock device in virtual time, and a peer whom the test plays segment by segment. A
// test shows only the fields that matter to it.

#include "catch.hpp"
#include <tunic/device/mock_device.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/testing/segment.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Compiled once, in instances.cpp: a test program has a hundred sources that use them.
extern template class tunic::Stack<tunic::MockDevice>;
extern template class tunic::BasicTcpConnection<tunic::DefaultTraits>;
extern template class tunic::BasicTcpListener<tunic::DefaultTraits>;

namespace tunic::test {

using namespace std::chrono_literals;
using testing::Decoded;
using testing::Packet;
using testing::SegmentBuilder;

inline constexpr IpAddress host_ip = IpAddress::v4(10, 0, 0, 2);
inline constexpr IpAddress peer_ip = IpAddress::v4(10, 0, 0, 1);

/// 10.0.0.2/24, a fixed seed, ACKs delayed by 40 ms as by default.
inline StackConfig host_config() {
  StackConfig config;
  config.addresses = {IpCidr{host_ip, 24}};
  config.seed = SipKey{1, 2};
  return config;
}

/// Bytes that are not alike.
inline std::string pattern_text(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i % 251);
  return text;
}

/// Does what a device does with a partial checksum.
inline void finish_checksum(Packet& packet, const Offload& offload) {
  if (offload.checksum != ChecksumState::partial) return;
  const std::size_t place = std::size_t{offload.checksum_start} + offload.checksum_offset;
  REQUIRE(place + 2 <= packet.size());
  const std::uint16_t sum = checksum(Bytes{packet}.subspan(offload.checksum_start));
  packet[place] = static_cast<std::byte>(sum >> 8);
  packet[place + 1] = static_cast<std::byte>(sum & 0xff);
}

/// The stack under test.
template <class Traits = DefaultTraits>
struct BasicHost {
  using Connection = BasicTcpConnection<Traits>;
  using Listener = BasicTcpListener<Traits>;

  ManualClock clock;
  Stack<MockDevice, Traits> stack;

  explicit BasicHost(StackConfig config = host_config(), const MockOptions& device = {})
      : stack{MockDevice{device}, std::move(config)} {
    turn();
  }

  /// What a program does in one turn, without work of its own.
  void turn() {
    stack.poll(clock.now());
    stack.flush(clock.now());
  }

  /// Time passes; every deadline on the way is served when it comes.
  void advance(Duration by) {
    const Instant end = clock.now() + by;
    for (Instant next = stack.next_deadline(); next <= end; next = stack.next_deadline()) {
      clock.set(next);
      turn();
    }
    clock.set(end);
    turn();
  }

  /// A packet comes in and is answered.
  void inject(const Packet& packet) {
    stack.device().inject(packet);
    turn();
  }
  void inject(const SegmentBuilder& segment) { inject(segment.packet()); }
  /// Several come in before the stack gets a turn.
  void inject_all(const std::vector<Packet>& packets) {
    for (const Packet& packet : packets) stack.device().inject(packet);
    turn();
  }

  /// The oldest packet that was sent and not looked at, if any. Its checksums are right, once that
  /// is finished which was left to the device. A super-segment stays one packet.
  std::optional<Decoded> next() {
    if (silent()) return std::nullopt;
    offload = stack.device().front_offload();
    auto bytes = stack.device().take();
    finish_checksum(*bytes, offload);
    Decoded packet = testing::decode(std::move(*bytes));
    INFO(packet.describe());
    CHECK_FALSE(packet.malformed.has_value());
    return packet;
  }
  /// The same where there must be one.
  Decoded take() {
    auto packet = next();
    REQUIRE(packet.has_value());
    return *packet;
  }
  /// The same, a TCP segment. The views live with the host's `last`.
  TcpSegment take_tcp() {
    last = take();
    REQUIRE(last->tcp.has_value());
    return *last->tcp;
  }
  /// All that were sent.
  std::vector<Decoded> take_all() {
    std::vector<Decoded> packets;
    while (auto packet = next()) packets.push_back(std::move(*packet));
    return packets;
  }
  /// Whether nothing was sent since the last look.
  bool silent() { return stack.device().sent() == 0; }
  void forget_sent() { stack.device().drop_sent(); }

  std::optional<Decoded> last;
  Offload offload{};  // of the packet that was taken last
};
using Host = BasicHost<>;

/// What the peer offers in its SYN. Without timestamps and SACK a test of other things stays short.
struct PeerOptions {
  std::uint16_t port = 40000;
  std::uint16_t host_port = 80;
  std::optional<std::uint16_t> mss = std::uint16_t{1460};
  std::uint16_t window = 65535;
  std::optional<std::uint8_t> window_scale{};
  bool sack = false;
  std::optional<std::uint32_t> timestamp{};  // the first TSval
  std::uint32_t isn = 1000;
  bool ecn = false;  // asks for it (RFC 3168)
  IpAddress address = peer_ip;
};

/// One connection seen from the far end: it knows its own sequence number and what it expects from
/// the host. It does nothing by itself.
template <class Traits = DefaultTraits>
class BasicPeer {
 public:
  explicit BasicPeer(BasicHost<Traits>& its_host, PeerOptions offers = {})
      : host{its_host}, options{offers}, seq{offers.isn}, tsval{offers.timestamp.value_or(0)} {}

  [[nodiscard]] Endpoint here() const { return {options.address, options.port}; }
  [[nodiscard]] Endpoint there() const { return {host_ip, options.host_port}; }

  /// A segment at the present numbers, with ACK, window and (if negotiated) timestamps.
  [[nodiscard]] SegmentBuilder segment() const {
    auto built = bare().seq(seq).ack(ack).window(options.window);
    return options.timestamp ? built.timestamps(tsval, tsecr) : built;
  }
  /// From the same ports, without any field set.
  [[nodiscard]] SegmentBuilder bare() const { return testing::segment(here(), there()); }

  /// Its SYN, with the options.
  [[nodiscard]] SegmentBuilder syn() const {
    auto built = bare().syn().seq(SeqNum{options.isn}).window(options.window);
    if (options.mss) built = built.mss(*options.mss);
    if (options.window_scale) built = built.window_scale(*options.window_scale);
    if (options.sack) built = built.sack_permitted();
    if (options.timestamp) built = built.timestamps(*options.timestamp, 0);
    if (options.ecn) built = built.ece().cwr();
    return built;
  }

  /// The peer connects to a listener of the host; yields the host's end.
  typename BasicHost<Traits>::Connection connect_to(
      typename BasicHost<Traits>::Listener& listener) {
    send_syn();
    finish();
    auto accepted = listener.accept();
    REQUIRE(accepted.has_value());
    return std::move(*accepted);
  }
  /// SYN and SYN+ACK; the connection is in SYN-RECEIVED.
  void send_syn() {
    host.inject(syn());
    const TcpSegment answer = host.take_tcp();
    INFO(host.last->describe());
    const TcpFlags agreed = options.ecn && Traits::ecn ? TcpFlags::ece : TcpFlags::none;
    REQUIRE(answer.flags == (TcpFlags::syn | TcpFlags::ack | agreed));
    learn(answer);
    seq = SeqNum{options.isn} + 1;
  }
  /// The last ACK of the handshake.
  void finish() { host.inject(segment()); }

  /// The host connects to the peer; yields the host's end, established.
  typename BasicHost<Traits>::Connection accept_from(ConnectOptions wanted = {}) {
    auto connection = receive_syn(std::move(wanted));
    host.inject(syn().ack(ack));
    seq = SeqNum{options.isn} + 1;
    const TcpSegment answer = host.take_tcp();
    REQUIRE(answer.flags == TcpFlags::ack);
    learn(answer);
    return connection;
  }
  /// The host has sent its SYN; it is in SYN-SENT.
  typename BasicHost<Traits>::Connection receive_syn(ConnectOptions wanted = {}) {
    wanted.remote = here();
    wanted.local_port = options.host_port;
    auto connection = host.stack.connect(wanted);
    host.turn();
    const TcpSegment syn = host.take_tcp();
    REQUIRE(syn.flags == TcpFlags::syn);
    learn(syn);
    return connection;
  }

  /// Sends payload in order.
  void send(std::string_view text) {
    host.inject(segment().psh().payload(text));
    seq += static_cast<std::uint32_t>(text.size());
  }
  /// Sends its FIN.
  void send_fin() {
    host.inject(segment().fin());
    seq += 1;
  }
  /// Takes the host's next segment and expects what follows it from now on.
  TcpSegment receive() {
    const TcpSegment got = host.take_tcp();
    learn(got);
    return got;
  }
  /// Acknowledges all that was received so far.
  void acknowledge() { host.inject(segment()); }

  void learn(const TcpSegment& got) {
    if (got.length() != 0 || ack == SeqNum{}) {
      const SeqNum end = got.seq + got.length();
      if (ack == SeqNum{} || ack < end) ack = end;
    }
    if (got.options.has_timestamps) tsecr = got.options.timestamps.value;
  }

  BasicHost<Traits>& host;
  PeerOptions options;
  SeqNum seq;    // of its next byte
  SeqNum ack{};  // of the host's next byte
  std::uint32_t tsval = 0;
  std::uint32_t tsecr = 0;
};
using Peer = BasicPeer<>;

/// A host that listens on port 80, and a peer that is connected to it.
template <class Traits = DefaultTraits>
struct BasicServer {
  BasicHost<Traits> host;
  typename BasicHost<Traits>::Listener listener;
  BasicPeer<Traits> peer;
  typename BasicHost<Traits>::Connection connection;

  explicit BasicServer(PeerOptions options = {}, StackConfig config = host_config(),
                       ConnectionOptions connection_options = {}, const MockOptions& device = {})
      : host{std::move(config), device},
        listener{host.stack.listen({.port = options.host_port, .connection = connection_options})},
        peer{host, options},
        connection{peer.connect_to(listener)} {}
};
using Server = BasicServer<>;

/// All unread bytes, consumed.
template <class Connection>
std::string read_all(Connection& connection) {
  std::string text;
  for (Bytes view = connection.readable(); !view.empty(); view = connection.readable()) {
    text.append(as_text(view));
    connection.consume(view.size());
  }
  return text;
}

/// Drives a connection of a host into a state, which it is then in. `listen` and `closed` have
/// none.
template <class Traits>
void reach(BasicServer<Traits>& server, TcpState state) {
  auto& [host, listener, peer, connection] = server;
  const auto host_closes = [&server] {
    server.connection.shutdown_send();
    server.host.turn();
    server.peer.receive();
  };
  switch (state) {
    case TcpState::established:
      break;
    case TcpState::fin_wait_1:
      host_closes();
      break;
    case TcpState::fin_wait_2:
      host_closes();
      peer.acknowledge();
      break;
    case TcpState::close_wait:
      peer.send_fin();
      host.forget_sent();
      break;
    case TcpState::closing: {
      const SeqNum before = peer.ack;
      host_closes();
      const SeqNum after = std::exchange(peer.ack, before);  // the FINs cross
      peer.send_fin();
      host.forget_sent();
      peer.ack = after;
      break;
    }
    case TcpState::last_ack:
      peer.send_fin();
      host.forget_sent();
      host_closes();
      break;
    case TcpState::time_wait:
      host_closes();
      peer.acknowledge();
      peer.send_fin();
      host.forget_sent();
      break;
    default:
      FAIL("not a state of an accepted connection");
  }
  REQUIRE(connection.state() == state);
}

}  // namespace tunic::test
