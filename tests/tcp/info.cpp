// SPDX-License-Identifier: BSL-1.0

// What `info` tells of a connection, number by number, in virtual time: segments of 1000 bytes, a
// round trip of 100 ms, an initial window of ten segments.
#include "../support/sending.hpp"

#include <cstdint>
#include <string>
#include <utility>

using namespace tunic;
using namespace tunic::test;

namespace {

/// How long each condition has lasted since the last look.
struct Times {
  Duration busy{}, rwnd{}, sndbuf{}, app{};
  friend bool operator==(const Times&, const Times&) = default;
};

std::ostream& operator<<(std::ostream& out, const Times& times) {
  return out << "busy " << times.busy / 1us << " rwnd " << times.rwnd / 1us << " sndbuf "
             << times.sndbuf / 1us << " app " << times.app / 1us << " us";
}

struct Watched : Sending {
  Times seen{};

  explicit Watched(PeerOptions options = {.sack = true}) : Sending{options, patient()} {}

  Times since_last() {
    const TcpInfo now = info();
    const Times all{now.busy_time, now.rwnd_limited, now.sndbuf_limited, now.app_limited};
    const Times before = std::exchange(seen, all);
    return {all.busy - before.busy, all.rwnd - before.rwnd, all.sndbuf - before.sndbuf,
            all.app - before.app};
  }
  Times pass(Duration time) {
    host.advance(time);
    return since_last();
  }
  void resize(std::uint32_t bytes) {
    ConnectionOptions options = connection.options();
    options.send_buffer = bytes;
    REQUIRE(connection.set_options(options) == Errc::none);
    host.turn();
  }
  IoResult send(std::uint32_t count) {
    const IoResult result = connection.send(as_bytes(std::string(count * unit, 'x')));
    host.turn();
    return result;
  }
};

}  // namespace

TEST_CASE("round trips and what follows from them", "[tcp][info]") {
  Sending sending;
  TcpInfo info = sending.info();
  CHECK(info.rtt == 100ms);
  CHECK(info.rttvar == 50ms);
  CHECK(info.rto == 300ms);
  CHECK(info.min_rtt == 100ms);
  sending.exchange(2, 140ms);
  info = sending.info();
  CHECK(info.rtt == 105ms);
  CHECK(info.rttvar == 47'500us);
  CHECK(info.rto == 295ms);
  CHECK(info.min_rtt == 100ms);
  CHECK(info.delivery_rate == 14'285);  // 2000 bytes in 140 ms
  CHECK(info.delivery_rate_app_limited);
}

TEST_CASE("losses, and what is sent again", "[tcp][info]") {
  Sending sending{{.sack = true}, patient()};
  sending.write(10);
  CHECK(sending.info().in_flight == 10'000);
  CHECK(sending.info().snd_ssthresh == 0xffffffff);
  sending.until(100ms);
  MockDevice& device = sending.host.stack.device();
  device.set_capacity(device.sent());
  sending.tell(0, {3, 10});
  CHECK(sending.info().in_recovery);
  CHECK(sending.info().lost == 3000);
  CHECK(sending.info().total_lost == 3);
  CHECK(sending.info().sacked == 7000);
  CHECK(sending.info().in_flight == 0);
  CHECK(sending.info().retrans == 0);
  CHECK(sending.info().snd_ssthresh == 5000);
  device.set_capacity(100);
  sending.host.turn();
  CHECK(sending.info().lost == 0);
  CHECK(sending.info().in_flight == 3000);
  CHECK(sending.info().retrans == 3);
  CHECK(sending.info().total_retransmissions == 3);
  CHECK(sending.info().bytes_sent == 13'000);
  CHECK(sending.info().bytes_retrans == 3000);
  sending.until(200ms);
  sending.tell(10);
  CHECK(sending.info().retrans == 0);
  CHECK(sending.info().total_lost == 3);
  CHECK(sending.info().spurious == 0);
}

TEST_CASE("reductions that were wrong", "[tcp][info]") {
  Sending sending;
  sending.write(10);
  sending.until(100ms);
  sending.tell(0, {1, 4});
  REQUIRE(sending.info().retrans == 1);
  sending.tell(10, {0, 1});  // the first has come twice
  CHECK(sending.info().spurious == 1);
  CHECK(sending.info().dsack_dups == 1);
  CHECK(sending.info().snd_cwnd >= 10'000);
}

TEST_CASE("bytes and segments in both directions", "[tcp][info]") {
  Sending sending;
  auto& [host, listener, peer, connection, first, begin] = sending;
  CHECK(sending.info().segs_in == 2);   // SYN, ACK
  CHECK(sending.info().segs_out == 1);  // SYN+ACK
  CHECK(sending.info().bytes_acked == 0);
  sending.write(3);
  CHECK(sending.info().segs_out == 4);
  CHECK(sending.info().data_segs_out == 3);
  CHECK(sending.info().bytes_sent == 3000);
  sending.tell(2);
  CHECK(sending.info().bytes_acked == 2000);
  CHECK(sending.info().segs_in == 3);
  CHECK(sending.info().data_segs_in == 0);

  peer.ack = sending.at(2);
  peer.send("hello");
  CHECK(sending.info().bytes_received == 5);
  CHECK(sending.info().data_segs_in == 1);
  host.inject(peer.segment().seq(peer.seq + 1).payload("ut of order"));
  CHECK(sending.info().bytes_received == 5);
  CHECK(sending.info().data_segs_in == 2);
  CHECK(sending.info().segs_out == 5);  // the acknowledgement of both
  peer.send("o");
  CHECK(sending.info().bytes_received == 17);
  CHECK(sending.info().segs_in == 6);
  CHECK(sending.info().segs_out == 6);
  CHECK(sending.info().data_segs_out == 3);

  peer.seq += 11;
  sending.tell(3);
  connection.shutdown_send();
  host.turn();
  host.inject(peer.segment().ack(sending.at(3) + 1));
  REQUIRE(connection.state() == TcpState::fin_wait_2);
  CHECK(sending.info().bytes_sent == 3000);  // a FIN is no data
  CHECK(sending.info().bytes_acked == 3000);
  CHECK(sending.info().segs_out == 7);
  CHECK(sending.info().data_segs_out == 3);
}

TEST_CASE("the segments of an active open, and of a SYN cookie", "[tcp][info]") {
  SECTION("active") {
    Host host;
    Peer peer{host};
    auto connection = peer.accept_from();
    CHECK(connection.info().segs_out == 2);
    CHECK(connection.info().segs_in == 1);
    CHECK(connection.info().bytes_acked == 0);
  }
  SECTION("of a cookie only its acknowledgement is known") {
    Host host;
    auto listener = host.stack.listen({.port = 80, .syn_backlog = 0});
    Peer peer{host};
    auto connection = peer.connect_to(listener);
    CHECK(connection.info().segs_out == 0);
    CHECK(connection.info().segs_in == 1);
    // Nothing is known of the path: twice the initial window in the initial time-out.
    ConnectionOptions options = connection.options();
    options.pacing = true;
    connection.set_options(options);
    CHECK(connection.info().pacing_rate == 2 * 14'600);
  }
}

TEST_CASE("how long ago something came or left", "[tcp][info]") {
  Sending sending;
  CHECK(sending.info().last_data_sent < 0ms);
  CHECK(sending.info().last_data_recv < 0ms);
  CHECK(sending.info().last_ack_recv == 0ms);
  sending.host.advance(1s);
  CHECK(sending.info().last_ack_recv == 1s);
  sending.write(1);
  sending.host.advance(100ms);
  CHECK(sending.info().last_data_sent == 100ms);
  sending.tell(1);
  sending.host.advance(5ms);
  CHECK(sending.info().last_data_sent == 105ms);
  CHECK(sending.info().last_ack_recv == 5ms);
  CHECK(sending.info().last_data_recv < 0ms);
  sending.sent();
  sending.peer.send("x");
  const auto again = sending.peer.segment().seq(sending.peer.seq - 1).payload("x");
  sending.host.advance(7ms);
  CHECK(sending.info().last_data_recv == 7ms);
  CHECK(sending.info().last_ack_recv == 7ms);
  sending.host.inject(again);  // not in the window
  CHECK(sending.info().last_data_recv == 7ms);
}

TEST_CASE("time without anything to do is the application's", "[tcp][info]") {
  Watched sending;
  CHECK(sending.since_last() == Times{});  // the handshake does not count
  CHECK(sending.pass(3s) == Times{.app = 3s});
  sending.send(2);  // all of it leaves
  CHECK(sending.pass(100ms) == Times{.busy = 100ms, .app = 100ms});
  sending.tell(2);
  CHECK(sending.pass(1s) == Times{.app = 1s});
}

TEST_CASE("time in which data waits for the network is busy", "[tcp][info]") {
  Watched sending;
  SECTION("for the congestion window") {
    sending.send(15);
    CHECK(sending.pass(100ms) == Times{.busy = 100ms});
    sending.tell(4);  // the rest leaves, and fills less than the window
    REQUIRE(sending.info().unsent == 0);
    CHECK(sending.pass(50ms) == Times{.busy = 50ms});  // exactly: eleven of eleven
    sending.tell(5);
    CHECK(sending.pass(50ms) == Times{.busy = 50ms, .app = 50ms});
  }
  SECTION("for Nagle's algorithm") {
    sending.send(1);
    sending.connection.send(as_bytes("x"));
    sending.host.turn();
    CHECK(sending.pass(30ms) == Times{.busy = 30ms});
  }
  SECTION("for its pacing") {
    ConnectionOptions options = sending.connection.options();
    options.max_pacing_rate = 10'000;
    sending.connection.set_options(options);
    sending.send(4);
    CHECK(sending.pass(200ms) == Times{.busy = 200ms});
    CHECK(sending.pass(50ms) == Times{.busy = 50ms, .app = 50ms});
  }
  SECTION("for the device") {
    sending.host.stack.device().set_status(DeviceStatus::would_block);
    sending.send(1);
    CHECK(sending.pass(20ms) == Times{.busy = 20ms});
  }
  SECTION("for a retransmission") {
    sending.send(2);
    sending.pass(100ms);
    sending.host.stack.device().set_capacity(0);
    sending.tell(0, {1, 2});
    sending.pass(25ms);  // the reordering window
    CHECK(sending.pass(10ms) == Times{.busy = 10ms});
  }
}

TEST_CASE("time in which data waits for the peer's window", "[tcp][info]") {
  Watched sending{{.window = 4000, .sack = true}};
  sending.send(6);
  REQUIRE(sending.info().unsent == 2000);
  CHECK(sending.pass(100ms) == Times{.busy = 100ms, .rwnd = 100ms});
  sending.connection.send(as_bytes("more of it changes nothing"));
  CHECK(sending.pass(10ms) == Times{.busy = 10ms, .rwnd = 10ms});
  sending.peer.options.window = 0;
  sending.tell(4);
  CHECK(sending.pass(5s) == Times{.busy = 5s, .rwnd = 5s});  // probes go on
  sending.peer.options.window = 60'000;
  sending.tell(4);
  REQUIRE(sending.info().unsent <= 26);
  CHECK(sending.pass(20ms) == Times{.busy = 20ms});  // Nagle
}

TEST_CASE("where both windows are full it is the network", "[tcp][info]") {
  Watched sending{{.window = 10'000, .sack = true}};
  sending.send(15);
  REQUIRE(sending.info().in_flight == 10'000);
  CHECK(sending.pass(100ms) == Times{.busy = 100ms});
}

TEST_CASE("time in which the send buffer keeps the application back", "[tcp][info]") {
  Watched sending;
  sending.resize(4000);
  sending.send(4);
  CHECK(sending.pass(10ms) == Times{.busy = 10ms, .app = 10ms});  // it has not asked for more
  CHECK(sending.send(1).error == Errc::would_block);
  CHECK(sending.pass(90ms) == Times{.busy = 90ms, .sndbuf = 90ms});
  sending.tell(1);
  CHECK(sending.pass(10ms) == Times{.busy = 10ms, .sndbuf = 10ms});
  sending.tell(2);  // half of it is free: the application is told
  CHECK(sending.pass(10ms) == Times{.busy = 10ms, .app = 10ms});
  SECTION("not where the congestion window is full as well") {
    sending.tell(4);
    sending.resize(12'000);
    REQUIRE(sending.info().snd_cwnd <= 12'000);
    CHECK(sending.send(13).error == Errc::would_block);
    sending.since_last();
    CHECK(sending.pass(10ms) == Times{.busy = 10ms});
  }
}

TEST_CASE("the end of a connection is not the application's fault", "[tcp][info]") {
  Watched sending;
  sending.send(1);
  sending.connection.shutdown_send();
  sending.host.turn();
  CHECK(sending.pass(100ms) == Times{.busy = 100ms});
  sending.host.inject(sending.ack(1).ack(sending.at(1) + 1));
  REQUIRE(sending.connection.state() == TcpState::fin_wait_2);
  CHECK(sending.pass(1s) == Times{});
  SECTION("nor does anything last longer than the connection") {
    sending.connection.abort();
    CHECK(sending.pass(1s) == Times{});
    CHECK(sending.info().busy_time == 100ms);
    CHECK(sending.info().bytes_acked == 1000);
  }
}

TEST_CASE("what lasted until an abort is kept", "[tcp][info]") {
  Watched sending;
  sending.send(12);
  sending.pass(30ms);
  sending.connection.abort();
  CHECK(sending.pass(1s) == Times{});
  CHECK(sending.info().busy_time == 30ms);
  CHECK(sending.info().segs_out == 11);
  CHECK(sending.info().pacing_rate == 0);
}
