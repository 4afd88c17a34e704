// SPDX-License-Identifier: BSL-1.0

// Window scaling: RFC 7323 2.
#include "../support/host.hpp"
#include <tunic/device/random.hpp>
#include <tunic/testing/expect.hpp>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

TEST_CASE("windows are scaled if both SYNs carry the option", "[conformance][7323-01]") {
  SECTION("the peer offers it, and so do we in answer") {
    Host host;
    auto listener = host.stack.listen({.port = 80});
    Peer peer{host, {.window = 512, .window_scale = std::uint8_t{7}}};
    host.inject(peer.syn());
    const Decoded answer = host.take();
    CHECK(matches(answer, expect.flags("SA").window_scale(9)));  // of the largest buffer
    peer.learn(*answer.tcp);
    peer.seq += 1;
    peer.finish();
    auto connection = listener.accept();
    REQUIRE(connection);
    CHECK(connection->info().snd_wscale == 7);
    CHECK(connection->info().snd_wnd == 512U << 7);
    CHECK(connection->info().rcv_wscale == 9);
  }
  SECTION("the peer does not offer it, so we do not answer with it") {
    Host host;
    auto listener = host.stack.listen({.port = 80});
    host.inject(Peer{host}.syn());
    CHECK(matches(host.take(), expect.flags("SA").no_window_scale()));
  }
  SECTION("we offer it and the peer does not answer with it") {
    Host host;
    Peer peer{host, {.window = 512}};
    auto connection = host.stack.connect({.remote = peer.here(), .local_port = 80});
    host.turn();
    const Decoded syn = host.take();
    CHECK(matches(syn, expect.flags("S").window_scale(9)));
    peer.learn(*syn.tcp);
    host.inject(peer.syn().ack(peer.ack));
    CHECK(matches(host.take(), expect.flags("A").window(65535)));
    CHECK(connection.info().snd_wscale == 0);
    CHECK(connection.info().rcv_wscale == 0);
    host.inject(peer.segment().seq(1001));
    CHECK(connection.info().snd_wnd == 512);
  }
}

TEST_CASE("the window of a SYN is not scaled", "[conformance][7323-02]") {
  SECTION("that of the peer") {
    Host host;
    Peer peer{host, {.window = 1000, .window_scale = std::uint8_t{7}}};
    auto connection = peer.accept_from();
    connection.send(as_bytes(std::string(5000, 'x')));
    host.turn();
    CHECK(matches(host.take(), expect.seq(peer.ack).payload_size(1000)));
    CHECK(host.silent());
    peer.ack += 1000;
    peer.acknowledge();
    CHECK(connection.info().snd_wnd == 1000U << 7);
    CHECK(matches(host.take(), expect.seq(peer.ack).payload_size(1460)));
  }
  SECTION("ours") {
    const auto [buffer, window] =
        GENERATE(table<std::uint32_t, std::uint16_t>({{8000, 8000}, {1 << 20, 65535}}));
    CAPTURE(buffer);
    const ConnectionOptions options{.receive_buffer = buffer};
    Host host;
    auto listener = host.stack.listen({.port = 80, .connection = options});
    host.inject(Peer{host, {.window_scale = std::uint8_t{7}}}.syn());
    CHECK(matches(host.take(), expect.flags("SA").window(window)));
    auto connection = host.stack.connect({.remote = {peer_ip, 81}, .connection = options});
    host.turn();
    CHECK(matches(host.take(), expect.flags("S").window(window)));
  }
}

TEST_CASE("a shift above 14 is taken for 14 and counted, and one outside of a SYN is ignored",
          "[conformance][7323-03]") {
  SECTION("above 14") {
    const std::uint8_t shift = GENERATE(std::uint8_t{15}, std::uint8_t{255});
    Server server{{.window = 3, .window_scale = shift}};
    CHECK(server.connection.info().snd_wscale == 14);
    CHECK(server.connection.info().snd_wnd == 3U << 14);
    CHECK(server.host.stack.stats().tcp.excessive_window_scales == 1);
  }
  SECTION("14 itself is fine") {
    Server server{{.window_scale = std::uint8_t{14}}};
    CHECK(server.connection.info().snd_wscale == 14);
    CHECK(server.host.stack.stats().tcp.excessive_window_scales == 0);
  }
  SECTION("on data") {
    Server server{{.window = 1000, .window_scale = std::uint8_t{1}}};
    server.host.inject(server.peer.segment().payload("data").window_scale(5));
    CHECK(read_all(server.connection) == "data");
    CHECK(server.connection.info().snd_wscale == 1);
    CHECK(server.connection.info().snd_wnd == 2000);
  }
}

TEST_CASE("windows are shifted left when they come and right when they go, and cwnd is not shifted",
          "[conformance][7323-04]") {
  Host host;
  Peer peer{host, {.window = 512, .window_scale = std::uint8_t{7}}};
  auto connection = host.stack.connect(
      {.remote = peer.here(), .local_port = 80, .connection = {.receive_buffer = 1 << 20}});
  host.turn();
  peer.receive();
  host.inject(peer.syn().ack(peer.ack));
  peer.seq += 1;
  CHECK(matches(host.take(), expect.flags("A").window((1 << 20) >> 5)));
  CHECK(connection.info().rcv_wscale == 5);  // the least with which 1 MiB fits
  peer.acknowledge();
  CHECK(connection.info().snd_wnd == 65536);
  CHECK(connection.info().snd_cwnd == 10 * 1460);
}

TEST_CASE("the right edge never retreats, however the shift rounds", "[conformance][7323-05]") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U);
  const std::uint32_t buffer = GENERATE(3'000'000U, 300'001U, 70'000U);
  CAPTURE(seed, buffer);
  Random random{seed};
  const auto up_to = [&random](std::size_t most) {
    return static_cast<std::uint32_t>(random.below(most + 1));
  };
  Server server{{.window_scale = std::uint8_t{0}}, host_config(), {.receive_buffer = buffer}};
  auto& [host, listener, peer, connection] = server;
  const unsigned shift = connection.info().rcv_wscale;
  connection.set_options({.receive_buffer = 40'000});  // smaller than what was promised
  const std::string bytes(1460, 'x');
  SeqNum edge = peer.seq + 65535;  // from the SYN+ACK
  bool retreated = false;
  std::size_t acks = 0;
  for (int round = 0; round < 4000; ++round) {
    const auto room = static_cast<std::uint32_t>(edge - peer.seq);
    const std::uint32_t length = std::min(1 + up_to(bytes.size() - 1), room);
    if (length != 0) peer.send(std::string_view{bytes}.substr(0, length));
    connection.consume(up_to(round % 1000 < 500 ? 700 : 2200));  // the queue fills and empties
    host.turn();
    while (!host.silent()) {
      const TcpSegment ack = host.take_tcp();
      const SeqNum promised = ack.ack + (std::uint32_t{ack.window} << shift);
      retreated = retreated || promised < edge;
      edge = std::max(edge, promised);
      ++acks;
    }
  }
  CHECK_FALSE(retreated);
  CHECK(acks > 500);
}
