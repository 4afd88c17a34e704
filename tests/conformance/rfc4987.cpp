// SPDX-License-Identifier: BSL-1.0

// SYN floods: RFC 4987.
#include "../support/host.hpp"
#include <tunic/device/random.hpp>
#include <tunic/tcp/syn_cookie.hpp>
#include <tunic/testing/expect.hpp>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

StackConfig cookies(bool on) {
  StackConfig config = host_config();
  config.tcp.syn_cookies = on;
  return config;
}

/// A listener with room for one half-open connection.
struct SmallServer {
  Host host;
  TcpListener listener;

  explicit SmallServer(bool with_cookies = true)
      : host{cookies(with_cookies)}, listener{host.stack.listen({.port = 80, .syn_backlog = 1})} {}

  /// Another peer's SYN takes that room.
  void fill() {
    Peer filler{host, {.port = 1}};
    filler.send_syn();
  }
  [[nodiscard]] std::size_t half_open() { return host.stack.stats().gauges.half_open; }
};

}  // namespace

TEST_CASE("a SYN flood costs bounded memory and hurts no established connection",
          "[conformance][4987-01]") {
  const bool with_cookies = GENERATE(true, false);
  CAPTURE(with_cookies);
  Server server{{}, cookies(with_cookies)};
  auto& [host, listener, peer, connection] = server;
  const auto spoofed = [](std::uint32_t i) {
    return testing::segment(
               {IpAddress::v4(11, static_cast<std::uint8_t>(i >> 16),
                              static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)),
                99},
               {host_ip, 80})
        .syn()
        .seq(i)
        .packet();
  };
  for (std::uint32_t i = 0; i < 100'000; ++i) {  // in a second
    host.stack.device().inject(spoofed(i));
    if (i % 100 != 99) continue;
    host.advance(1ms);
    host.forget_sent();
    if (i % 10'000 == 9'999) {
      peer.send("data");
      connection.send(as_bytes("reply"));
      host.turn();
      CHECK(matches(host.take(), expect.payload("reply").ack(peer.seq)));
      peer.ack += 5;
      peer.acknowledge();
    }
  }
  CHECK(read_all(connection).size() == 40);
  const Gauges held = host.stack.stats().gauges;
  CHECK(held.half_open == 256);
  CHECK(held.connections == 257);
  CHECK(held.buffer_bytes == 0);  // a half-open connection is its control block
  host.advance(200s);
  CHECK(host.stack.stats().gauges.half_open == 0);
}

TEST_CASE("a full SYN queue is answered by cookies, which hold no memory until they come back",
          "[conformance][4987-02]") {
  SmallServer server;
  server.fill();
  Host& host = server.host;
  Peer peer{host, {.port = 2, .mss = std::uint16_t{1400}}};
  peer.send_syn();
  CHECK(server.half_open() == 1);
  CHECK(host.stack.stats().gauges.connections == 1);
  CHECK(host.stack.stats().tcp.cookies_sent == 1);
  SECTION("the right ACK makes a connection with the coded MSS") {
    const bool with_data = GENERATE(false, true);
    host.inject(with_data ? peer.segment().payload("data") : peer.segment());
    auto connection = server.listener.accept();
    REQUIRE(connection);
    CHECK(connection->state() == TcpState::established);
    CHECK(connection->info().snd_mss == 1360);
    CHECK(read_all(*connection) == (with_data ? "data" : ""));
    connection->send(as_bytes("reply"));
    host.turn();
    CHECK(matches(host.take(), expect.seq(peer.ack).payload("reply")));
    CHECK(server.half_open() == 1);
  }
  SECTION("a wrong one is reset") {
    const int wrong = GENERATE(0, 1, 2);
    CAPTURE(wrong);
    if (wrong == 0) peer.ack += 1;
    if (wrong == 1) peer.seq += 1;
    auto ack = peer.segment();
    if (wrong == 2) ack = Peer{host, {.port = 3}}.segment().seq(peer.seq).ack(peer.ack);
    host.inject(ack);
    CHECK(matches(host.take(), expect.flags("R")));
    CHECK_FALSE(server.listener.accept());
    CHECK(host.stack.stats().gauges.connections == 1);
  }
  SECTION("an old one is reset") {
    host.advance(130s);
    server.fill();
    host.forget_sent();
    host.inject(Peer{host, {.port = 4}}.syn());  // the listener is under pressure still
    host.forget_sent();
    peer.finish();
    CHECK(matches(host.take(), expect.flags("R").seq(peer.ack)));
    CHECK_FALSE(server.listener.accept());
  }
}

TEST_CASE("a cookie keeps window scale and SACK in the timestamp, or they are off",
          "[conformance][4987-03]") {
  SmallServer server;
  server.fill();
  Host& host = server.host;
  const bool stamped = GENERATE(true, false);
  const std::uint8_t shift = GENERATE(std::uint8_t{0}, std::uint8_t{7}, std::uint8_t{14});
  const bool sack = GENERATE(true, false);
  CAPTURE(stamped, shift, sack);
  Peer peer{host, {.port = 2, .window = 100, .window_scale = shift, .sack = sack}};
  if (stamped) peer.options.timestamp = 5000;
  peer.send_syn();
  REQUIRE(host.stack.stats().tcp.cookies_sent == 1);
  CHECK(matches(*host.last,
                stamped ? expect.sack_permitted(sack).window_scale(9).timestamp_echo(5000)
                        : expect.sack_permitted(false).no_window_scale().has_timestamps(false)));
  peer.finish();
  auto connection = server.listener.accept();
  REQUIRE(connection);
  const TcpInfo info = connection->info();
  CHECK(info.timestamps == stamped);
  CHECK(info.window_scaling == stamped);
  CHECK(info.sack == (stamped && sack));
  CHECK(info.snd_wnd == (stamped ? 100U << shift : 100U));
  CHECK(info.rcv_wscale == (stamped ? 9 : 0));
}

TEST_CASE("cookies are keyed, are good for two periods at most, and only after an overflow",
          "[conformance][4987-04]") {
  SECTION("without an overflow even a right one is reset") {
    SmallServer server;
    server.fill();
    Peer peer{server.host, {.port = 2}};
    peer.send_syn();
    Host fresh;  // the same secret, but no pressure
    auto listener = fresh.stack.listen({.port = 80});
    fresh.inject(peer.segment());
    CHECK(matches(fresh.take(), expect.flags("R")));
  }
  SECTION("a replay after two periods is reset") {
    SmallServer server;
    server.fill();
    Peer peer{server.host, {.port = 2}};
    peer.send_syn();
    server.host.advance(2 * SynCookies::period);
    server.host.forget_sent();
    peer.finish();
    CHECK(matches(server.host.take(), expect.flags("R")));
  }
  SECTION("a random ACK is as good as never right") {
    SmallServer server;
    server.fill();
    Host& host = server.host;
    Peer{host, {.port = 2}}.send_syn();
    Random random{1};
    for (int i = 0; i < 20'000; ++i) {
      host.stack.device().inject(Peer{host, {.port = 3}}
                                     .segment()
                                     .seq(static_cast<std::uint32_t>(random.next()))
                                     .ack(static_cast<std::uint32_t>(random.next()))
                                     .packet());
      if (i % 100 == 99) host.turn();
    }
    CHECK(host.stack.stats().tcp.cookies_accepted == 0);
    CHECK(host.stack.stats().dropped(Drop::cookie_invalid) == 20'000);
  }
  SECTION("one in 2^28, of a million") {
    const SynCookies keyed{SipKey{1, 2}};
    const FlowKey flow{host_ip, peer_ip, 80, 40000};
    Random random{2};
    int accepted = 0;
    for (int i = 0; i < 1'000'000; ++i) {
      const SeqNum cookie{static_cast<std::uint32_t>(random.next())};
      accepted += keyed.check(flow, SeqNum{1000}, cookie, std::nullopt, Instant{1h}).has_value();
    }
    CHECK(accepted <= 1);
    const SeqNum made = keyed.make(flow, SeqNum{1000}, 1460, 0, Instant{1h});
    CHECK(keyed.check(flow, SeqNum{1000}, made, std::nullopt, Instant{1h}));
    CHECK_FALSE(
        SynCookies{SipKey{1, 3}}.check(flow, SeqNum{1000}, made, std::nullopt, Instant{1h}));
  }
}

TEST_CASE("without cookies a full SYN queue is silent, and lets later ones in",
          "[conformance][4987-05]") {
  SmallServer server{false};
  server.fill();
  Host& host = server.host;
  Peer peer{host, {.port = 2}};
  host.inject(peer.syn());
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::syn_queue_full) == 1);
  host.advance(180s);  // the one that filled it is given up
  host.forget_sent();
  auto connection = peer.connect_to(server.listener);
  CHECK(connection.state() == TcpState::established);
}
