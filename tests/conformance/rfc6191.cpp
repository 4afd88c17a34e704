// SPDX-License-Identifier: BSL-1.0

// TIME-WAIT under attack and in haste: RFC 1337, RFC 6191. Its usual course is in
// rfc9293_time_wait.cpp.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

/// A connection in TIME-WAIT; the peer had isn 1000 and TSvals up to 5000, if any.
struct Waiting : Server {
  explicit Waiting(bool timestamps, StackConfig config = host_config())
      : Server{timestamps ? PeerOptions{.timestamp = 5000} : PeerOptions{}, config} {
    peer.send("some data");
    read_all(connection);
    reach(*this, TcpState::time_wait);
  }
  [[nodiscard]] std::size_t entries() { return host.stack.stats().gauges.time_wait; }
};

}  // namespace

TEST_CASE("a RST does not end TIME-WAIT", "[conformance][1337-01]") {
  Waiting wait{GENERATE(false, true)};
  wait.host.inject(wait.peer.segment().rst());
  wait.host.inject(wait.peer.bare().rst().seq(wait.peer.seq));
  CHECK(wait.host.silent());
  wait.host.advance(2 * wait.host.stack.config().tcp.msl - 1ms);
  CHECK(wait.entries() == 1);
  wait.host.advance(1ms);
  CHECK(wait.entries() == 0);
}

TEST_CASE("old segments never reach a new connection on the same ports", "[conformance][1337-02]") {
  const bool timestamps = GENERATE(false, true);
  // With timestamps a new connection may use old numbers again.
  const std::uint32_t isn = timestamps ? 1000 - 50 : 1000 + 11;
  CAPTURE(timestamps);
  Waiting wait{timestamps};
  auto& [host, listener, peer, connection] = wait;
  Peer old{peer};
  Peer reborn{host, {.isn = isn}};
  if (timestamps) reborn.options.timestamp = reborn.tsval = 5001;
  auto next = reborn.connect_to(listener);
  host.forget_sent();
  host.inject(old.segment().seq(1001).payload("some data"));
  host.inject(old.segment().seq(1005).payload("data"));
  host.inject(old.segment().seq(1001 + 9).fin());
  old.acknowledge();
  host.inject(old.segment().ack(old.ack - 1));
  CHECK(next.readable_bytes() == 0);
  CHECK(next.info().out_of_order_ranges == 0);
  CHECK_FALSE(next.at_end());
  CHECK(next.state() == TcpState::established);
  host.forget_sent();
  reborn.send("new");
  CHECK(read_all(next) == "new");
  next.send(as_bytes("reply"));
  host.turn();
  CHECK(matches(host.take(), expect.seq(reborn.ack).ack(reborn.seq).payload("reply")));
}

// Deviation: 6191-01: after a connection without timestamps RFC 6191 takes every SYN that has one,
// for PAWS would keep old segments out. Ours tolerates segments without timestamps (7323-07), so a
// greater sequence number is asked for in this case too.
TEST_CASE("a SYN ends TIME-WAIT by a newer timestamp, or by a greater sequence number",
          "[conformance][6191-01]") {
  struct Case {
    bool was_stamped;
    std::optional<std::uint32_t> tsval;  // the last was 5000
    int above;                           // the first sequence number that was not used
    bool opens;
  };
  const Case given = GENERATE(Case{true, 5001, -5, true},            // newer
                              Case{true, 5000, 0, true},             // as old, greater SEQ
                              Case{true, 5000, -1, false},           // as old, SEQ not greater
                              Case{true, 4999, 100, false},          // older
                              Case{true, std::nullopt, 0, true},     // none, greater SEQ
                              Case{true, std::nullopt, -1, false},   // none, SEQ not greater
                              Case{false, 5001, 0, true},            // none before, greater SEQ
                              Case{false, 5001, -1, false},          // none before, SEQ not greater
                              Case{false, std::nullopt, 0, true},    // none ever, greater SEQ
                              Case{false, std::nullopt, -1, false},  // none ever, SEQ not greater
                              Case{false, std::nullopt, 1 << 30, true});
  CAPTURE(given.was_stamped, given.tsval, given.above);
  Waiting wait{given.was_stamped};
  auto& [host, listener, peer, connection] = wait;
  auto syn = peer.bare().syn().seq(peer.seq + static_cast<std::uint32_t>(given.above));
  if (given.tsval) syn = syn.timestamps(*given.tsval, 0);
  host.inject(syn);
  CHECK(wait.entries() == (given.opens ? 0 : 1));
  CHECK(host.stack.stats().gauges.half_open == (given.opens ? 1 : 0));
  const Decoded answer = host.take();
  CHECK(matches(answer, given.opens ? expect.flags("SA").has_timestamps(given.tsval.has_value())
                                    : expect.flags("A").seq(peer.ack).ack(peer.seq)));
  if (given.opens) CHECK(peer.ack < answer.tcp->seq);  // above what the old one used
}

TEST_CASE("TIME-WAIT is small, and the oldest makes room for the newest",
          "[conformance][6191-02]") {
  SECTION("a million of them") {
    constexpr std::uint32_t capacity = 100'000;
    BlockPool pool{std::size_t{64} << 20};
    TimeWaitTable table{pool, SipKey{1, 2}, capacity};
    const auto entry = [](std::uint32_t i) {
      TimeWaitEntry made;
      made.key = {host_ip, IpAddress::v4((11U << 24) + i), 80, 40000};
      return made;
    };
    for (std::uint32_t i = 0; i < 1'000'000; ++i) table.add(entry(i), Instant{} + i * 1us);
    CHECK(table.size() == capacity);
    CHECK(table.find(entry(900'000 - 1).key) == nullptr);
    CHECK(table.find(entry(900'000).key) != nullptr);
    CHECK(pool.used_bytes() <= capacity * std::size_t{80});
  }
  SECTION("closed connections leave nothing else") {
    StackConfig config = host_config();
    config.tcp.max_time_wait = 50;
    Host host{config};
    auto listener = host.stack.listen({.port = 80});
    for (std::uint16_t port = 1; port <= 500; ++port) {
      Peer peer{host, {.port = port}};
      auto connection = peer.connect_to(listener);
      connection.close();
      host.turn();
      peer.receive();
      peer.acknowledge();
      peer.send_fin();
      host.forget_sent();
    }
    const Gauges held = host.stack.stats().gauges;
    CHECK(held.time_wait == 50);
    CHECK(held.connections == 0);
    CHECK(held.buffer_bytes == 0);
    const auto answers = [&](std::uint16_t port) {  // a repeated FIN
      Peer peer{host, {.port = port}};
      host.inject(peer.segment().seq(1001).ack(1).fin());
      return host.take_tcp().flags;
    };
    CHECK(answers(451) == TcpFlags::ack);
    CHECK(answers(450) == TcpFlags::rst);
  }
}
