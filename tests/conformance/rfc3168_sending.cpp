// SPDX-License-Identifier: BSL-1.0

// What is sent ECT, and what follows from marks: RFC 3168 6.1.2, 6.1.4 to 6.1.6, RFC 8511.
#include "../support/sending.hpp"
#include <tunic/testing/expect.hpp>

#include <string>
#include <utility>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

constexpr std::uint8_t not_ect = 0, ect0 = 2;

/// A sender in units of 1000 bytes whose peer has asked.
struct Marked : Sending {
  explicit Marked(PeerOptions options = {.sack = true}, StackConfig config = patient())
      : Sending{asks(options), std::move(config)} {
    REQUIRE(info().ecn);
  }
  /// Acknowledges with ECE.
  void echo(std::uint32_t number) { host.inject(ack(number).ece()); }
  void echo(std::uint32_t number, Block block) { host.inject(ack(number, block).ece()); }
  /// The numbers of those that left with CWR since the last look; all are new data, and ECT.
  Segments sent_with_cwr() {
    Segments numbers;
    for (const Decoded& packet : host.take_all()) {
      CHECK(matches(packet, expect.ecn(ect0)));
      if (packet.tcp->has(TcpFlags::cwr))
        numbers.push_back(static_cast<std::uint32_t>(packet.tcp->seq - first) / unit);
    }
    return numbers;
  }

 private:
  static PeerOptions asks(PeerOptions options) {
    options.ecn = true;
    return options;
  }
};

}  // namespace

TEST_CASE("ECE reduces the window once a round trip, and CWR says so on the next new data",
          "[conformance][3168-06][SHLD-8]") {
  Marked sending;
  sending.write(40);
  REQUIRE(sending.sent().size() == 10);
  sending.until(100ms);
  sending.echo(1);
  CHECK(sending.cwnd() == 5);
  CHECK(sending.ssthresh() == 5);
  for (std::uint32_t i = 2; i <= 10; ++i) sending.echo(i);
  CHECK(sending.cwnd() == 5);  // it does not grow either
  CHECK(sending.info().ecn_reductions == 1);
  CHECK(sending.stats().ecn_reductions == 1);
  CHECK(sending.sent_with_cwr() == Sending::Segments{10});
  SECTION("the next round trip may bring another") {
    sending.until(200ms);
    sending.tell(11);
    CHECK(sending.sent_with_cwr().empty());
    sending.echo(12);
    CHECK(sending.info().ecn_reductions == 2);
    CHECK(sending.cwnd() == 2.5);
    sending.tell(15);
    CHECK(sending.sent_with_cwr().size() == 1);
  }
  SECTION("and without one the window grows again") {
    sending.until(200ms);
    sending.tell(15);
    sending.tell(20);
    CHECK(sending.info().ecn_reductions == 1);
    CHECK(sending.cwnd() > 5);
  }
  CHECK(sending.stats().retransmissions == 0);
}

TEST_CASE("an ECE that comes late, or from a peer that has not agreed, is ignored",
          "[conformance][3168-06]") {
  SECTION("in an old segment") {
    Marked sending;
    sending.write(40);
    sending.until(100ms);
    sending.tell(5);
    sending.echo(4);
    CHECK(sending.info().ecn_reductions == 0);
  }
  SECTION("while nothing is outstanding") {
    Marked sending;
    sending.echo(0);
    CHECK(sending.info().ecn_reductions == 0);
  }
  SECTION("without agreement") {
    Sending sending;
    sending.write(40);
    sending.until(100ms);
    sending.host.inject(sending.ack(5).ece());
    CHECK(sending.cwnd() > 10);
  }
}

TEST_CASE("a window of one segment is not reduced: new data waits for the timer",
          "[conformance][3168-06]") {
  Marked sending{{.sack = true}, with_initial_window(1)};
  sending.write(3);
  REQUIRE(sending.sent() == Sending::Segments{0});
  sending.until(100ms);
  sending.echo(1);
  CHECK(sending.cwnd() == 1);
  sending.until(1099ms);
  CHECK(sending.sent().empty());
  sending.until(1100ms);
  CHECK(sending.sent_with_cwr() == Sending::Segments{1});
  CHECK(sending.stats().timeouts == 0);
  sending.until(1200ms);
  SECTION("as long as marks come") {
    sending.echo(2);
    CHECK(sending.cwnd() == 1);
    sending.until(2199ms);
    CHECK(sending.sent().empty());
    sending.until(2200ms);
    CHECK(sending.sent_with_cwr() == Sending::Segments{2});
  }
  SECTION("and no longer") {
    sending.tell(2);
    CHECK(sending.sent() == Sending::Segments{2});
    CHECK(sending.cwnd() == 2);
  }
}

TEST_CASE("data that is written, and a FIN, while the sender waits for the timer wait too",
          "[conformance][3168-06]") {
  Marked sending{{.sack = true}, with_initial_window(1)};
  sending.write(1);
  sending.sent();
  sending.until(100ms);
  sending.echo(1);
  sending.until(500ms);
  sending.write(1);
  sending.connection.shutdown_send();
  sending.until(1099ms);
  CHECK(sending.host.silent());
  sending.until(1100ms);
  CHECK(matches(sending.host.take(), expect.flags("FPW.").ecn(ect0).payload_size(1000)));
}

TEST_CASE("a sender that waits for the timer does not probe before", "[conformance][3168-06]") {
  Marked sending{{.sack = true}, with_initial_window(1)};
  sending.write(3);
  sending.sent();
  sending.until(100ms);
  sending.host.inject(sending.peer.segment().ack(sending.first + 500).ece());
  sending.until(1099ms);
  CHECK(sending.host.silent());
  sending.until(1100ms);
  CHECK(matches(sending.host.take(), expect.seq(sending.first + 500).ecn(not_ect)));
}

TEST_CASE("a loss and a mark in one window reduce once", "[conformance][3168-06]") {
  Marked sending;
  sending.write(40);
  sending.sent();
  sending.until(100ms);
  SECTION("the mark first") {
    sending.echo(1);
    REQUIRE(sending.cwnd() == 5);
    sending.echo(1, {2, 6});
    CHECK(sending.info().in_recovery);
    CHECK(sending.ssthresh() == 5);
  }
  SECTION("the loss first") {
    sending.tell(0, {1, 5});
    REQUIRE(sending.info().in_recovery);
    REQUIRE(sending.ssthresh() == 5);
    sending.echo(0, {1, 6});
    CHECK(sending.ssthresh() == 5);
    CHECK(sending.info().ecn_reductions == 0);
  }
  SECTION("both in one acknowledgement") {
    sending.echo(0, {1, 5});
    CHECK(sending.info().in_recovery);
    CHECK(sending.ssthresh() == 5);
    CHECK(sending.info().ecn_reductions == 0);
  }
  sending.until(150ms);
  sending.echo(10);
  CHECK_FALSE(sending.info().in_recovery);
  CHECK(sending.ssthresh() == 5);
  CHECK(sending.stats().fast_retransmits == 1);
}

TEST_CASE("a reduction for a loss is told by CWR as well", "[conformance][3168-06]") {
  Marked sending;
  sending.write(40);
  sending.sent();
  SECTION("found by acknowledgements") {
    sending.until(100ms);
    sending.tell(0, {1, 5});
  }
  SECTION("by the timer") {
    sending.until(3s);
    sending.sent();
    sending.tell(10);
  }
  bool told = false;
  for (const Decoded& packet : sending.host.take_all()) {
    if (packet.tcp->seq < sending.at(10)) {  // sent again
      CHECK(matches(packet, expect.without_flags("W").ecn(not_ect)));
    } else {
      told = told || packet.tcp->has(TcpFlags::cwr);
    }
  }
  if (!told) {
    sending.tell(10);
    told = !sending.sent_with_cwr().empty();
  }
  CHECK(told);
}

TEST_CASE("what was reduced for a mark stays so when a loss turns out to have been none",
          "[conformance][3168-06]") {
  Marked sending{{.sack = true, .timestamp = 1}};
  sending.write(30);
  sending.sent();
  const std::uint32_t first_echo = sending.peer.tsecr;
  sending.until(100ms);
  SECTION("a mark before the loss") {
    sending.echo(1);
    sending.tell(1, {2, 6});
    REQUIRE(sending.info().in_recovery);
    sending.sent();
    sending.until(110ms);
    sending.peer.tsecr = first_echo;
    sending.tell(6);
    sending.tell(10);
    CHECK(sending.ssthresh() == 5);
  }
  SECTION("a mark in the recovery") {
    sending.tell(0, {1, 4});
    REQUIRE(sending.info().in_recovery);
    sending.echo(0, {1, 5});
    sending.sent();
    sending.until(110ms);
    sending.peer.tsecr = first_echo;
    sending.tell(5);
    REQUIRE(sending.stats().spurious_recoveries == 1);
    CHECK(sending.info().ecn_reductions == 1);
    CHECK(sending.ssthresh() <= 5);
  }
  SECTION("a mark in a recovery that is found out after its end") {
    sending.peer.tsecr = 0;  // no echo
    sending.tell(0, {1, 4});
    sending.echo(0, {1, 5});
    REQUIRE(sending.ssthresh() == 5);
    sending.until(110ms);
    sending.tell(10);
    sending.tell(10, {0, 1});
    CHECK(sending.info().dsack_dups == 1);
    CHECK(sending.ssthresh() == 5);
  }
  SECTION("and without a mark it is restored") {
    sending.tell(0, {1, 4});
    sending.sent();
    sending.until(110ms);
    sending.peer.tsecr = first_echo;
    sending.tell(4);
    CHECK(sending.info().snd_ssthresh == 0xffffffff);
  }
}

TEST_CASE("pure ACKs, retransmissions and probes are not ECT", "[conformance][3168-07]") {
  SECTION("an ACK") {
    Server server{{.ecn = true}};
    server.peer.send("data");
    server.host.advance(40ms);
    CHECK(matches(server.host.take(), expect.flags(".").ecn(not_ect)));
  }
  SECTION("a fast retransmission and one by the timer") {
    Marked sending;
    sending.write(40);
    sending.sent();
    sending.until(100ms);
    sending.tell(0, {1, 5});
    CHECK(matches(sending.host.take(), expect.seq(sending.at(0)).ecn(not_ect)));
    sending.host.forget_sent();
    sending.until(5s);
    for (const Decoded& packet : sending.host.take_all())
      CHECK(matches(packet, expect.ecn(packet.tcp->seq < sending.at(10) ? not_ect : ect0)));
  }
  SECTION("a tail loss probe, unless it is new data") {
    const bool more = GENERATE(false, true);
    CAPTURE(more);
    Marked sending;
    sending.exchange();
    sending.write(more ? 30 : 4);
    const auto last = static_cast<std::uint32_t>(sending.sent().back());
    sending.until(300ms);
    CHECK(sending.stats().tail_probes == 1);
    CHECK(matches(sending.host.take(),
                  expect.seq(sending.at(more ? last + 1 : last)).ecn(more ? ect0 : not_ect)));
  }
  SECTION("a window probe") {
    Server server{{.ecn = true}};
    server.host.inject(server.peer.segment().window(0));
    server.connection.send(as_bytes("data"));
    server.host.advance(2s);
    CHECK(server.host.stack.stats().tcp.zero_window_probes > 0);
    CHECK(matches(server.host.take(), expect.no_payload().ecn(not_ect)));
  }
  SECTION("a keep-alive") {
    ConnectionOptions options;
    options.keepalive = {.enabled = true, .garbage_byte = GENERATE(false, true)};
    Server server{{.ecn = true}, host_config(), options};
    server.host.advance(2h);
    CHECK(matches(server.host.take(), expect.ecn(not_ect)));
  }
}

TEST_CASE("a mark is answered by the controller's factor for losses", "[conformance][8311-02]") {
  SECTION("a half with NewReno") {
    Marked sending;
    sending.write(40);
    sending.until(100ms);
    sending.echo(1);
    CHECK(sending.ssthresh() == 5);
    CHECK(sending.cwnd() == 5);
  }
  SECTION("0.7 with CUBIC") {
    Server server{{.mss = std::uint16_t{1000}, .ecn = true}};
    server.connection.send(as_bytes(std::string(20'000, 'x')));
    server.host.advance(10ms);
    REQUIRE(server.connection.info().in_flight == 10'000);
    server.host.inject(server.peer.segment().ack(server.peer.ack + 1000).ece());
    CHECK(server.connection.info().snd_ssthresh == 7000);
    CHECK(server.connection.info().snd_cwnd == 7000);
  }
}
