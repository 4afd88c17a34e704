// SPDX-License-Identifier: BSL-1.0

// Selective acknowledgements: RFC 2018, and duplicate ones: RFC 2883.
#include "../support/host.hpp"
#include <tunic/device/random.hpp>

#include <map>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;
using testing::Range;

namespace {

constexpr PeerOptions with_sack{.sack = true};
constexpr std::uint32_t unit = 1460;

/// A connection whose peer sends in numbered units of 1460 bytes.
struct Numbered : Server {
  using Server::Server;

  [[nodiscard]] SeqNum at(std::uint32_t number) const { return peer.seq + number * unit; }
  [[nodiscard]] testing::Packet data(std::uint32_t number) const {
    return peer.segment()
        .seq(at(number))
        .payload(std::string(unit, static_cast<char>('a' + number)))
        .packet();
  }
  [[nodiscard]] Range block(std::uint32_t first, std::uint32_t last) const {
    return {at(first), at(last)};
  }
  /// The blocks of the next ACK, which acknowledges nothing new.
  std::vector<SackBlock> next_blocks() {
    const TcpSegment ack = host.take_tcp();
    CHECK(ack.ack == peer.seq);
    CHECK(ack.flags == TcpFlags::ack);
    const auto blocks = ack.options.sack_blocks();
    return {blocks.begin(), blocks.end()};
  }
};

/// A connection with `bytes` on their way to the peer, cut by 1460.
struct Sending : Server {
  SeqNum first;

  explicit Sending(std::size_t bytes, ConnectionOptions options = {})
      : Server{with_sack, host_config(), options}, first{peer.ack} {
    connection.send(as_bytes(std::string(bytes, 'x')));
    host.turn();
    while (!host.silent()) peer.receive();
  }
};

}  // namespace

TEST_CASE("SACK is spoken only if the peer's SYN permits it", "[conformance][2018-01]") {
  SECTION("it does not") {
    Numbered server;
    server.host.inject(server.data(1));
    CHECK(server.next_blocks().empty());
    server.host.inject(
        server.peer.segment().seq(server.at(2)).sack_permitted().payload("too late"));
    CHECK(server.next_blocks().empty());
    CHECK_FALSE(server.connection.info().sack);
  }
  SECTION("it does") {
    Numbered server{with_sack};
    server.host.inject(server.data(1));
    CHECK(server.next_blocks().size() == 1);
  }
}

TEST_CASE("the first block is that of the segment which causes the ACK", "[conformance][2018-02]") {
  Numbered server{with_sack};
  auto& host = server.host;
  SECTION("one by one, or all in one turn") {
    if (GENERATE(false, true)) {
      host.inject_all({server.data(3), server.data(5), server.data(7)});
    } else {
      for (const std::uint32_t number : {3U, 5U, 7U}) host.inject(server.data(number));
    }
    const Range third = server.block(3, 4), fifth = server.block(5, 6),
                seventh = server.block(7, 8);
    CHECK(matches(host.take(), expect.sack({third})));
    CHECK(matches(host.take(), expect.sack({fifth, third})));
    CHECK(matches(host.take(), expect.sack({seventh, fifth, third})));
    CHECK(host.silent());
  }
  SECTION("in falling order") {
    for (const std::uint32_t number : {7U, 5U, 3U}) host.inject(server.data(number));
    for (const std::uint32_t number : {7U, 5U, 3U})
      CHECK(server.next_blocks()[0].left == server.at(number));
  }
  SECTION("where it joins others") {
    for (const std::uint32_t number : {3U, 5U, 7U, 4U}) host.inject(server.data(number));
    for (int i = 0; i < 3; ++i) host.take();
    CHECK(matches(host.take(), expect.sack({server.block(3, 6), server.block(7, 8)})));
  }
}

TEST_CASE("an ACK carries as many blocks as it has room for", "[conformance][2018-03]") {
  const bool stamped = GENERATE(false, true);
  Numbered server{stamped ? PeerOptions{.sack = true, .timestamp = 5000} : with_sack};
  for (std::uint32_t number = 1; number <= 11; number += 2) {
    server.host.forget_sent();
    server.host.inject(server.data(number));
  }
  const TcpSegment ack = server.host.take_tcp();  // its length and checksum are verified
  CHECK(ack.options.sack_count == (stamped ? 3 : 4));
  CHECK(ack.options.encoded_bytes() == (stamped ? 12U + 2 + 26 : 2U + 34));
}

TEST_CASE("each block is reported at least three times", "[conformance][2018-04]") {
  const bool at_once = GENERATE(false, true);
  CAPTURE(at_once);
  Numbered server{{.sack = true, .timestamp = 5000}};
  std::vector<testing::Packet> packets;
  for (std::uint32_t number = 1; number <= 13; number += 2) packets.push_back(server.data(number));
  if (at_once) {
    server.host.inject_all(packets);
  } else {
    for (const auto& packet : packets) server.host.inject(packet);
  }
  std::map<std::uint32_t, int> reports;
  while (!server.host.silent()) {
    for (const SackBlock& block : server.next_blocks()) ++reports[block.left.value()];
  }
  for (std::uint32_t number = 1; number <= 9; number += 2) {
    CAPTURE(number);
    CHECK(reports[server.at(number).value()] >= 3);
  }
  CHECK(reports[server.at(11).value()] == 2);  // no more ACKs yet
}

TEST_CASE("each segment above a hole draws an ACK with blocks", "[conformance][2018-05]") {
  Numbered server{with_sack};
  std::vector<testing::Packet> packets;
  for (std::uint32_t number = 1; number <= 10; ++number) packets.push_back(server.data(number));
  server.host.inject_all(packets);
  for (int i = 0; i < 10; ++i) CHECK(server.next_blocks().size() == 1);
  CHECK(server.host.silent());
}

TEST_CASE("what the peer has reported is kept, and sent again after a time-out if it takes it back",
          "[conformance][2018-06]") {
  Server server{with_sack};
  auto& [host, listener, peer, connection] = server;
  const SeqNum first = peer.ack;
  std::string text;
  for (char c = 'a'; c < 'f'; ++c) text.append(unit, c);
  connection.send(as_bytes(text));
  host.turn();
  host.forget_sent();
  host.inject(peer.segment().sack({{first + unit, first + 5 * unit}}));
  CHECK(connection.unacknowledged_bytes() == 5 * unit);
  host.advance(connection.info().rto);
  CHECK(matches(host.take(), expect.seq(first).payload(std::string(unit, 'a'))));
  // It has forgotten all the rest.
  std::string received(unit, 'a');
  for (int round = 0; round < 20 && received.size() < text.size(); ++round) {
    peer.ack = first + static_cast<std::uint32_t>(received.size());
    peer.acknowledge();
    if (host.silent()) host.advance(connection.info().rto);
    while (auto packet = host.next()) {
      const bool next = packet->tcp->seq == first + static_cast<std::uint32_t>(received.size());
      if (next) received.append(as_text(packet->payload()));
    }
  }
  CHECK(received == text);
}

TEST_CASE("data above a hole is kept once it has been reported, what finds no room is not reported",
          "[conformance][2018-07]") {
  StackConfig config = host_config();
  config.tcp.max_out_of_order_ranges = 2;
  Numbered server{with_sack, config};
  auto& [host, listener, peer, connection] = static_cast<Server&>(server);
  host.inject(server.data(1));
  host.inject(server.data(3));
  host.forget_sent();
  host.inject(server.data(5));
  CHECK(matches(host.take(), expect.ack(peer.seq).sack({server.block(3, 4), server.block(1, 2)})));
  CHECK(host.stack.stats().dropped(Drop::out_of_order_limit) == 1);
  host.inject(server.data(0));
  CHECK(matches(host.take(), expect.ack(server.at(2)).sack({server.block(3, 4)})));
  host.inject(server.data(2));
  CHECK(matches(host.take(), expect.ack(server.at(4)).no_sack()));
  CHECK(connection.readable_bytes() == 4 * unit);
}

TEST_CASE("blocks that can't be are ignored", "[conformance][2018-08]") {
  Sending sending{5 * unit};
  auto& [host, listener, peer, connection] = static_cast<Server&>(sending);
  const SeqNum una = sending.first;
  const SeqNum nxt = una + 5 * unit;
  const auto ack = peer.segment().ack(una);
  SECTION("each form") {
    const Range block =
        GENERATE_COPY(Range{nxt, una + unit},         // inverted
                      Range{una + unit, una + unit},  // empty
                      Range{una - 500, una - 100},    // below SND.UNA
                      Range{una - 500, una + unit},   // across it
                      Range{una + unit, nxt + 1},     // above SND.NXT
                      Range{nxt + 100, nxt + 200}, Range{una + unit, una + 0x80000000});
    host.inject(ack.sack({block}));
    CHECK(connection.info().sacked == 0);
    host.inject(ack.sack({block, {una + unit, una + 2 * unit}}));
    CHECK(connection.info().sacked == unit);
  }
  SECTION("a length that is not 2 + 8n") {
    for (const int length : {9, 11, 17, 2}) {
      std::string option(40, '\x01');  // no-operations
      option[0] = 5;
      option[1] = static_cast<char>(length);
      host.inject(ack.raw_tcp_options(option));
    }
    CHECK(connection.info().sacked == 0);
    CHECK(connection.state() == TcpState::established);
  }
  SECTION("anything at random") {
    const std::uint64_t seed = GENERATE(1U, 2U);
    CAPTURE(seed);
    Random random{seed};
    const auto number = [&] {
      return random.chance(0.5) ? una + static_cast<std::uint32_t>(random.below(6 * unit))
                                : SeqNum{static_cast<std::uint32_t>(random.next())};
    };
    bool bounded = true;
    for (int i = 0; i < 20'000; ++i) {
      host.stack.device().inject(
          ack.sack({{number(), number()}, {number(), number()}, {number(), number()}}).packet());
      host.turn();
      bounded = bounded && connection.info().sacked <= 5 * unit;
    }
    CHECK(bounded);
    CHECK(connection.unacknowledged_bytes() == 5 * unit);
    host.inject(peer.segment().ack(nxt));
    CHECK(connection.unacknowledged_bytes() == 0);
    CHECK(connection.info().sacked == 0);
  }
}

TEST_CASE("a peer with a tiny MSS and scattered blocks costs nothing", "[conformance][2018-09]") {
  StackConfig config = host_config();
  config.tcp.initial_window = 255;
  Server server{{.mss = std::uint16_t{48}, .window_scale = std::uint8_t{7}, .sack = true},
                config,
                {.send_buffer = 1 << 20}};
  auto& [host, listener, peer, connection] = server;
  const SeqNum una = peer.ack;
  CHECK(connection.send(as_bytes(std::string(1 << 20, 'x'))).bytes == 1 << 20);
  host.turn();
  CHECK(connection.info().in_flight == 255 * 88);
  CHECK(matches(host.take(), expect.payload_size(88)));  // the MSS has a floor
  host.forget_sent();
  const std::size_t held = host.stack.stats().gauges.buffer_bytes;
  std::size_t answers = 0;
  for (std::uint32_t i = 0; i < 5000; ++i) {
    const auto byte = [&](std::uint32_t k) {
      return Range{una + 8 * i + 2 * k + 1, una + 8 * i + 2 * k + 2};
    };
    host.stack.device().inject(
        peer.segment().ack(una).sack({byte(3), byte(2), byte(1), byte(0)}).packet());
    host.turn();
    answers += host.stack.device().sent();
    host.forget_sent();
  }
  CHECK(host.stack.stats().gauges.buffer_bytes == held);
  CHECK(connection.unacknowledged_bytes() == 1 << 20);
  CHECK(answers <= 5000);  // a segment for each, in and after fast retransmission
}

TEST_CASE("a duplicate is reported once, in the first block", "[conformance][2883-01]") {
  Numbered server{with_sack};
  auto& [host, listener, peer, connection] = static_cast<Server&>(server);
  const SeqNum begin = peer.seq;
  peer.send(std::string(100, 'x'));
  host.advance(1s);
  host.forget_sent();
  host.inject(peer.segment().seq(begin).payload(std::string(100, 'x')));
  CHECK(matches(host.take(), expect.ack(peer.seq).sack({{begin, begin + 100}})));
  peer.send("more");
  host.advance(1s);
  CHECK(matches(host.take(), expect.ack(peer.seq).no_sack()));
}

TEST_CASE("a duplicate of queued data is followed by the block that holds it",
          "[conformance][2883-02]") {
  Server server{with_sack};
  auto& [host, listener, peer, connection] = server;
  host.inject(peer.segment().seq(peer.seq + 100).payload(std::string(200, 'x')));
  host.inject(peer.segment().seq(peer.seq + 500).payload("elsewhere"));
  host.forget_sent();
  host.inject(peer.segment().seq(peer.seq + 100).payload(std::string(100, 'x')));
  CHECK(matches(host.take(), expect.ack(peer.seq).sack({{peer.seq + 100, peer.seq + 200},
                                                        {peer.seq + 100, peer.seq + 300},
                                                        {peer.seq + 500, peer.seq + 509}})));
}

TEST_CASE("of a partial duplicate only the old part is reported", "[conformance][2883-03]") {
  Server server{with_sack};
  auto& [host, listener, peer, connection] = server;
  const SeqNum begin = peer.seq;
  peer.send(std::string(150, 'x'));
  host.forget_sent();
  host.inject(peer.segment().seq(begin + 100).payload(std::string(100, 'x')));
  CHECK(matches(host.take(), expect.ack(begin + 200).sack({{begin + 100, begin + 150}})));
  CHECK(connection.readable_bytes() == 200);
}
