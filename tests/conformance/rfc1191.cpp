// SPDX-License-Identifier: BSL-1.0

// Path MTU discovery: RFC 1191, with the checks of RFC 5927.
#include "../support/host.hpp"
#include <tunic/testing/expect.hpp>

#include <string>
#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

const IpAddress router = IpAddress::v4(10, 0, 0, 254);

Packet too_big(const Packet& about, std::uint16_t mtu) {
  return testing::icmp_unreachable(router, host_ip, IcmpUnreachable::fragmentation_needed, about,
                                   mtu);
}

// A server that has written more than it may send; `first` is the first packet of its flight.
struct Sending : Server {
  std::uint32_t flight = 0;  // bytes
  Decoded first;

  explicit Sending(PeerOptions options = {}, StackConfig config = host_config())
      : Server{options, std::move(config)}, first{send()} {}

  Decoded send() {
    connection.send(as_bytes(std::string(40'000, 'x')));
    host.turn();
    Decoded packet = host.take();
    host.take_all();
    flight = connection.info().in_flight;
    return packet;
  }
  void report(std::uint16_t mtu) { host.inject(too_big(*first.bytes, mtu)); }
  [[nodiscard]] std::uint16_t path_mtu() const { return connection.info().path_mtu; }
};

}  // namespace

TEST_CASE("every segment has DF", "[conformance][1191-01]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  std::vector<Decoded> packets;
  const auto collect = [&](std::size_t at_least) {
    const auto sent = host.take_all();
    CHECK(sent.size() >= at_least);
    packets.insert(packets.end(), sent.begin(), sent.end());
  };
  Peer peer{host};
  host.inject(peer.syn());
  host.advance(1s);
  peer.learn(*testing::decode(*host.stack.device().take()).tcp);  // and so has the SYN+ACK
  peer.seq = SeqNum{peer.options.isn} + 1;
  collect(1);
  peer.finish();
  auto connection = std::move(*listener.accept());
  connection.send(as_bytes(std::string(5000, 'x')));
  host.turn();
  collect(3);
  host.advance(4s);
  collect(1);
  host.inject(peer.segment().ack(peer.ack + 5000).payload("text"));
  connection.shutdown_send();
  host.turn();
  collect(1);
  auto opening = host.stack.connect({.remote = {peer_ip, 9}});
  host.inject(testing::segment({peer_ip, 1}, {host_ip, 1}).syn());
  collect(2);
  for (const Decoded& packet : packets) CHECK(matches(packet, expect.df().fragment(0, false)));
}

TEST_CASE("a report lowers the path MTU, and what is in flight goes again at once in new sizes",
          "[conformance][1191-02][8899-03]") {
  const bool sack = GENERATE(false, true);
  Sending server{{.sack = sack, .timestamp = 5000U}};
  auto& host = server.host;
  const TcpInfo before = server.connection.info();
  REQUIRE(before.snd_mss == 1448);
  REQUIRE(server.flight == 10 * 1448);
  server.report(1400);
  CHECK(server.path_mtu() == 1400);
  CHECK(server.connection.info().snd_mss == 1348);
  CHECK(server.connection.info().snd_cwnd == before.snd_cwnd);  // in bytes
  CHECK(server.connection.info().snd_ssthresh == before.snd_ssthresh);
  SeqNum next = server.first.tcp->seq;
  for (const Decoded& packet : host.take_all()) {
    const std::uint32_t left =
        server.flight - static_cast<std::uint32_t>(next - server.first.tcp->seq);
    CHECK(matches(packet, expect.seq(next).payload_size(std::min(left, 1348U))));
    next += static_cast<std::uint32_t>(packet.tcp->payload.size());
  }
  CHECK(next == server.first.tcp->seq + server.flight);
  CHECK(host.stack.stats().tcp.path_mtu_reports == 1);
  CHECK(host.stack.stats().tcp.timeouts == 0);
  // The rest of the flight's reports tell nothing new.
  for (int i = 0; i < 9; ++i) server.report(1400);
  CHECK(host.silent());
  CHECK(host.stack.stats().tcp.path_mtu_reports == 1);
}

TEST_CASE("a path MTU below the floor is not obeyed literally", "[conformance][1191-03]") {
  const auto mtu =
      GENERATE(std::uint16_t{1}, std::uint16_t{20}, std::uint16_t{68}, std::uint16_t{551});
  Sending server;
  server.report(mtu);
  CHECK(server.path_mtu() == 552);
  for (const Decoded& packet : server.host.take_all()) CHECK(packet.bytes->size() <= 552);
  server.report(mtu);  // again, and nothing happens
  CHECK(server.path_mtu() == 552);
  CHECK(server.host.silent());
}

TEST_CASE("the floor is a setting", "[conformance][1191-03]") {
  StackConfig config = host_config();
  config.tcp.min_path_mtu = 68;
  Sending server{{}, config};
  server.report(20);
  CHECK(server.path_mtu() == 68);
  config.tcp.min_path_mtu = 67;
  std::error_code error;
  Stack<MockDevice> refused{MockDevice{}, config, error};
  CHECK(error == Errc::invalid_argument);
}

TEST_CASE("without a next-hop MTU the next lower plateau is tried",
          "[conformance][1191-04][1191-03]") {
  Sending server;
  for (const int plateau : {1492, 1006, 552}) {  // which has 508 in the RFC
    server.report(0);
    CHECK(server.path_mtu() == plateau);
    const auto packets = server.host.take_all();
    REQUIRE_FALSE(packets.empty());
    CHECK(packets.front().bytes->size() == static_cast<std::size_t>(plateau));
    server.first = packets.front();
  }
  server.report(0);
  CHECK(server.path_mtu() == 552);
  CHECK(server.host.silent());
}

TEST_CASE("a larger value, or a message about something else, changes nothing",
          "[conformance][1191-05]") {
  Sending server;
  server.report(1300);
  REQUIRE(server.path_mtu() == 1300);
  server.first = server.host.take();
  server.host.forget_sent();
  SECTION("not smaller") {
    const auto mtu = GENERATE(std::uint16_t{1300}, std::uint16_t{1301}, std::uint16_t{9000},
                              std::uint16_t{65535});
    server.report(mtu);
  }
  SECTION("not in flight") {
    const SeqNum una = server.first.tcp->seq;
    const SeqNum seq = GENERATE(false, true) ? una - 1 : una + server.flight;
    server.host.inject(too_big(testing::segment(server.peer.there(), server.peer.here())
                                   .seq(seq)
                                   .payload(std::string(1260, 'x'))
                                   .packet(),
                               1000));
  }
  SECTION("of no connection") {
    server.host.inject(too_big(testing::segment(server.peer.there(), {peer_ip, 1})
                                   .seq(server.first.tcp->seq)
                                   .payload(std::string(1260, 'x'))
                                   .packet(),
                               1000));
  }
  CHECK(server.path_mtu() == 1300);
  CHECK(server.host.silent());
  CHECK(server.host.stack.stats().tcp.path_mtu_reports == 1);
}

TEST_CASE("a handshake has no packet that could be too big", "[conformance][1191-05]") {
  Host host;
  auto connection = host.stack.connect({.remote = {peer_ip, 9}});
  host.turn();
  host.inject(too_big(*host.take().bytes, 600));
  CHECK(connection.info().path_mtu == 1500);
}

TEST_CASE("what was learnt holds for ten minutes, then the full size is tried again",
          "[conformance][1191-06]") {
  Sending server;
  auto& [host, listener, peer, connection] = static_cast<Server&>(server);
  server.report(1400);
  const auto arrive = [&server] {  // all that is sent, until there is no more
    std::size_t largest = 0;
    for (auto packets = server.host.take_all(); !packets.empty();
         packets = server.host.take_all()) {
      for (const Decoded& packet : packets) {
        largest = std::max(largest, packet.bytes->size());
        server.peer.learn(*packet.tcp);
      }
      server.peer.acknowledge();
    }
    return largest;
  };
  CHECK(arrive() == 1400);
  host.advance(10min - 1ms);
  connection.send(as_bytes(std::string(5000, 'x')));
  host.turn();
  CHECK(arrive() == 1400);
  CHECK(server.path_mtu() == 1400);
  host.advance(1ms);
  CHECK(server.path_mtu() == 1500);
  server.first = server.send();
  CHECK(server.first.bytes->size() == 1500);
  // It still does not fit: 1500 bytes were acknowledged never, so the report counts at once.
  server.report(1400);
  CHECK(server.path_mtu() == 1400);
  CHECK(arrive() == 1400);
  CHECK(host.stack.stats().tcp.timeouts == 0);
}

TEST_CASE("no setting lets a path MTU be tried sooner than after five minutes",
          "[conformance][1191-06]") {
  const auto [timeout, fine] = GENERATE(
      table<Duration, bool>({{5min - 1ns, false}, {5min, true}, {Duration::max(), false}}));
  StackConfig config = host_config();
  config.tcp.path_mtu_timeout = timeout;
  std::error_code error;
  Stack<MockDevice> stack{MockDevice{}, config, error};
  CHECK(!error == fine);
}
