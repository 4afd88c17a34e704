// SPDX-License-Identifier: BSL-1.0
// The interface to the user: RFC 9293 3.4.1 (ISN), 3.9.1 (calls).

#include "../support/host.hpp"

#include <cstdlib>
#include <set>
#include <string>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

const IpAddress router = IpAddress::v4(10, 0, 0, 254);

// The ISN with which a host whose secret is `key` opens to `remote` at a time.
SeqNum isn_of(std::uint64_t key, Endpoint remote, Duration at, std::uint16_t local_port = 80,
              IpAddress local = host_ip) {
  return FlowSecrets{SipKey{key, 2}}.isn({local, remote.address, local_port, remote.port},
                                         Instant{at});
}

}  // namespace

TEST_CASE("the ISN moves on with the clock", "[conformance][MUST-8]") {
  Host host;
  const auto isn = [&] {
    auto connection = host.stack.connect({.remote = {peer_ip, 9}, .local_port = 80});
    host.turn();
    return host.take_tcp().seq;
  };
  const SeqNum first = isn();
  host.forget_sent();
  host.advance(1s);
  CHECK(isn() - first == 250'000);  // ticks of 4 microseconds
}

TEST_CASE("ISNs of different connections are unrelated, and so are those of another secret",
          "[conformance][MUST-9]") {
  std::array<int, 16> buckets{};
  std::set<std::uint32_t> differences;
  for (std::uint16_t port = 1; port <= 1000; ++port) {
    const SeqNum isn = isn_of(1, {peer_ip, port}, 1s);
    ++buckets[isn.value() >> 28];
    differences.insert(isn_of(2, {peer_ip, port}, 1s).value() - isn.value());
  }
  for (const int count : buckets) {
    CHECK(count > 30);  // 62 expected, standard deviation 8
    CHECK(count < 95);
  }
  CHECK(differences.size() == 1000);
}

TEST_CASE("the ISN is a clock and a keyed hash of both ends", "[conformance][SHLD-1]") {
  const SeqNum isn = isn_of(1, {peer_ip, 9}, 1s);
  CHECK(isn_of(1, {peer_ip, 9}, 2s) - isn == 250'000);
  CHECK(isn_of(1, {peer_ip, 10}, 1s) != isn);
  CHECK(isn_of(1, {router, 9}, 1s) != isn);
  CHECK(isn_of(1, {peer_ip, 9}, 1s, 81) != isn);
  CHECK(isn_of(1, {peer_ip, 9}, 1s, 80, router) != isn);
  CHECK(isn_of(3, {peer_ip, 9}, 1s) != isn);
}

TEST_CASE("crossing SYNs make one connection", "[conformance][MUST-10]") {
  Host host;
  Peer peer{host};
  auto connection = peer.receive_syn();
  host.inject(peer.syn());
  const Decoded answer = host.take();
  CHECK(matches(answer, expect.flags("SA").seq(peer.ack - 1).ack(1001)));
  CHECK(connection.state() == TcpState::syn_received);
  host.inject(peer.syn().ack(peer.ack));
  CHECK(connection.state() == TcpState::established);
  CHECK(host.stack.stats().gauges.connections == 1);
}

TEST_CASE("SYN-RECEIVED remembers how it was opened", "[conformance][MUST-11]") {
  Host host;
  SECTION("passively: a reset is no news") {
    auto listener = host.stack.listen({.port = 80});
    Peer peer{host};
    peer.send_syn();
    host.inject(peer.segment().rst());
    CHECK(host.stack.stats().gauges.connections == 0);
    CHECK_FALSE(host.stack.next_event().has_value());
    CHECK_FALSE(listener.accept().has_value());
    peer.seq = SeqNum{};
    peer.ack = SeqNum{};
    CHECK(peer.connect_to(listener).state() == TcpState::established);
  }
  SECTION("actively: a reset is a refusal") {
    Peer peer{host};
    auto connection = peer.receive_syn();
    host.inject(peer.syn());
    REQUIRE(connection.state() == TcpState::syn_received);
    host.inject(peer.bare().rst().seq(1001));
    CHECK(connection.error() == Errc::connection_refused);
  }
}

TEST_CASE("an orderly end and an abort can be told apart", "[conformance][MUST-12]") {
  std::byte byte;
  SECTION("FIN") {
    Server server;
    server.peer.send_fin();
    CHECK(server.connection.receive({&byte, 1}).error == Errc::end_of_stream);
    CHECK(server.connection.error() == Errc::none);
  }
  SECTION("RST") {
    Server server;
    server.host.inject(server.peer.segment().rst());
    CHECK(server.connection.receive({&byte, 1}).error == Errc::connection_reset);
    CHECK(make_error_code(server.connection.error()) == std::errc::connection_reset);
  }
}

TEST_CASE("TIME-WAIT lasts twice the MSL", "[conformance][MUST-13]") {
  Server server;
  reach(server, TcpState::time_wait);
  server.host.advance(59'900ms);
  CHECK(server.connection.state() == TcpState::time_wait);
  CHECK(server.host.stack.stats().gauges.time_wait == 1);
  server.host.advance(200ms);
  CHECK(server.connection.state() == TcpState::closed);
  CHECK(server.host.stack.stats().gauges.time_wait == 0);
}

TEST_CASE("a passive open leaves existing connections alone", "[conformance][MUST-41]") {
  Server server;
  std::error_code error;
  CHECK_FALSE(server.host.stack.listen({.port = 80}, error));
  CHECK(error == std::errc::address_in_use);
  server.listener.close();
  auto again = server.host.stack.listen({.port = 80}, error);
  CHECK_FALSE(error);
  server.peer.send("still there");
  CHECK(read_all(server.connection) == "still there");
}

TEST_CASE("a port can be listened on while a connection from it is being opened",
          "[conformance][MUST-42]") {
  Host host;
  Peer peer{host, {.port = 9}};
  auto opening = peer.receive_syn();
  auto listener = host.stack.listen({.port = 80});
  Peer other{host, {.port = 10}};
  CHECK(other.connect_to(listener).state() == TcpState::established);
  CHECK(opening.state() == TcpState::syn_sent);
}

TEST_CASE("a local address may be given", "[conformance][MUST-43]") {
  StackConfig config = host_config();
  const IpAddress second = IpAddress::v4(10, 0, 0, 5);
  config.addresses.push_back({second, 24});
  Host host{config};
  auto connection = host.stack.connect({.remote = {peer_ip, 9}, .local_address = second});
  host.turn();
  CHECK(matches(host.take(), expect.flags("S").from(second)));
  auto listener = host.stack.listen({.address = second, .port = 80});
  host.inject(testing::segment({peer_ip, 1}, {host_ip, 80}).syn().seq(1));
  CHECK(matches(host.take(), expect.flags("RA")));
  host.inject(testing::segment({peer_ip, 1}, {second, 80}).syn().seq(1));
  CHECK(matches(host.take(), expect.flags("SA")));
}

TEST_CASE("without one it is the address on the remote's subnet, and stays",
          "[conformance][MUST-44][MUST-45]") {
  StackConfig config = host_config();
  const IpAddress second = IpAddress::v4(192, 168, 7, 2);
  config.addresses.push_back({second, 24});
  Host host{config};
  auto connection = host.stack.connect({.remote = {IpAddress::v4(192, 168, 7, 1), 9}});
  host.turn();
  for (int i = 0; i < 4; ++i) {
    CHECK(matches(host.take(), expect.flags("S").from(second)));
    host.advance(10s);
  }
}

TEST_CASE("a connection to what is no host is refused at once", "[conformance][MUST-46]") {
  const char* remote =
      GENERATE("255.255.255.255", "224.0.0.1", "0.0.0.0", "10.0.0.255", "ff02::1", "::");
  CAPTURE(remote);
  Host host;
  std::error_code error;
  CHECK_FALSE(host.stack.connect({.remote = {*IpAddress::parse(remote), 80}}, error));
  CHECK(error == std::errc::invalid_argument);
  host.turn();
  CHECK(host.silent());
}

TEST_CASE("a reset with payload is accepted", "[conformance][SHLD-2]") {
  Server server;
  server.host.inject(server.peer.segment().rst().payload("why it was reset....."));
  CHECK(server.connection.state() == TcpState::closed);
  CHECK(server.connection.error() == Errc::connection_reset);
}

TEST_CASE("closing with unread data resets, and so does data after it",
          "[conformance][SHLD-3][MAY-1]") {
  Server server;
  SECTION("unread") {
    server.peer.send(std::string(100, 'x'));
    server.connection.close();
    server.host.turn();
    CHECK(matches(server.host.take(), expect.has_flags("R").seq(server.peer.ack)));
    CHECK(server.host.stack.stats().gauges.buffer_bytes == 0);
  }
  SECTION("late") {
    server.connection.close();
    server.host.turn();
    CHECK(matches(server.host.take(), expect.has_flags("F")));
    std::byte byte;
    CHECK(server.connection.receive({&byte, 1}).error != Errc::none);
    server.peer.send("late");
    CHECK(matches(server.host.take(), expect.has_flags("R")));
    CHECK(server.connection.state() == TcpState::closed);
  }
  SECTION("what was read is no reason to") {
    server.peer.send("read");
    read_all(server.connection);
    server.connection.close();
    server.host.turn();
    CHECK(matches(server.host.take(), expect.has_flags("F").without_flags("R")));
  }
}

TEST_CASE("timestamps let a new connection out of TIME-WAIT", "[conformance][SHLD-4][MAY-2]") {
  Server server{{.timestamp = 100}};
  server.peer.tsval = 200;
  reach(server, TcpState::time_wait);
  const SeqNum old_end = server.peer.ack;
  Peer next{server.host,
            {.timestamp = 201, .isn = 500}};  // a lower sequence number, but a later timestamp
  auto again = next.connect_to(server.listener);
  CHECK(again.state() == TcpState::established);
  CHECK(old_end < next.ack);
}

TEST_CASE("an identification that repeats does not matter", "[conformance][MAY-4]") {
  Server server;
  const auto data = server.peer.segment().payload("once").ip_id(1).df(false);
  server.host.inject(data);
  server.host.inject(data);
  CHECK(read_all(server.connection) == "once");
}

TEST_CASE("the Diffserv field of what arrived can be asked for", "[conformance][MAY-9]") {
  Server server;
  server.host.inject(server.peer.segment().payload("x").tos(46 << 2));
  CHECK(server.connection.received_dscp() == 46);
}

TEST_CASE("ACKs far below SND.UNA are challenged", "[conformance][MAY-12]") {
  Server server{{.window = 1000}};
  server.host.inject(server.peer.segment().ack(server.peer.ack - 1001).payload("x"));
  CHECK(server.connection.readable_bytes() == 0);
  CHECK(matches(server.host.take(), expect.flags("A").ack(server.peer.seq)));
  server.host.inject(server.peer.segment().ack(server.peer.ack - 1000).payload("x"));
  CHECK(read_all(server.connection) == "x");
}

namespace {

// A controller of the user's own: a constant window, and one segment after a time-out.
class ConstantWindow {
 public:
  void start(std::uint32_t mss, std::uint32_t) noexcept { cwnd_ = 4 * mss; }
  void on_ack(const AckSample&) noexcept {}
  void on_congestion(const CongestionEvent&) noexcept {}
  void on_recovery_end(std::uint32_t, std::uint32_t) noexcept {}
  void on_timeout(const CongestionEvent& event, bool) noexcept { cwnd_ = event.mss; }
  void on_spurious() noexcept {}
  void on_idle(Duration, Duration, std::uint32_t) noexcept {}
  [[nodiscard]] std::uint32_t cwnd() const noexcept { return cwnd_; }
  [[nodiscard]] std::uint32_t ssthresh() const noexcept { return 0xffffffff; }
  [[nodiscard]] std::uint64_t pacing_rate() const noexcept { return 0; }

 private:
  std::uint32_t cwnd_ = 0;
};
struct OwnTraits : DefaultTraits {
  using Congestion = ConstantWindow;
};

}  // namespace

TEST_CASE("congestion control is a policy that a program can replace", "[conformance][MAY-18]") {
  BasicServer<OwnTraits> server;
  server.connection.send(as_bytes(std::string(50'000, 'x')));
  server.host.turn();
  CHECK(server.host.take_all().size() == 4);
}
