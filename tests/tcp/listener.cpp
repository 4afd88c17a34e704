// SPDX-License-Identifier: BSL-1.0
// Listeners: queues, any address and any port, filters, and SYNs that wait for a verdict.

#include "../support/host.hpp"

#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

SegmentBuilder syn_to(const IpAddress& address, std::uint16_t port, std::uint16_t from = 40000) {
  return testing::segment({peer_ip, from}, {address, port}).syn().seq(1000).mss(1460);
}

// Refuses what comes to port 23, and is deaf to 24.
struct NoTelnet {
  SynVerdict operator()(const SynInfo& info) const noexcept {
    if (info.flow.local_port == 23) return SynVerdict::reset;
    return info.flow.local_port == 24 ? SynVerdict::ignore : SynVerdict::accept;
  }
};
struct FilteredTraits : DefaultTraits {
  using SynFilter = NoTelnet;
};

}  // namespace

TEST_CASE("a listener takes any address and any port", "[tcp][listener]") {
  StackConfig config = host_config();
  config.any_address = true;
  Host host{config};
  auto listener = host.stack.listen({});
  const Endpoint server{IpAddress::v4(93, 184, 216, 34), 443};
  const auto from_peer = testing::segment({peer_ip, 40000}, server);
  host.inject(from_peer.syn().seq(1000));
  const Decoded answer = host.take();
  CHECK(matches(answer, expect.flags("SA").from(server)));
  host.inject(from_peer.seq(1001).ack(answer.tcp->seq + 1).payload("hello"));
  auto connection = listener.accept();
  REQUIRE(connection.has_value());
  CHECK(connection->local() == server);
  CHECK(connection->remote() == Endpoint{peer_ip, 40000});
  CHECK(read_all(*connection) == "hello");
}

TEST_CASE("the most specific listener gets a connection", "[tcp][listener]") {
  Host host;
  auto any = host.stack.listen({});
  auto port = host.stack.listen({.port = 80});
  auto exact = host.stack.listen({.address = host_ip, .port = 81});
  Peer to_port{host, {.port = 1, .host_port = 80}}, to_exact{host, {.port = 2, .host_port = 81}},
      to_any{host, {.port = 3, .host_port = 82}};
  const auto one = to_port.connect_to(port), two = to_exact.connect_to(exact),
             three = to_any.connect_to(any);
  CHECK(one.local().port == 80);
  CHECK(two.local().port == 81);
  CHECK(three.local().port == 82);
}

TEST_CASE("a full accept queue lets the last ACK and later SYNs wait", "[tcp][listener]") {
  Host host;
  auto listener = host.stack.listen({.port = 80, .backlog = 1});
  Peer first{host, {.port = 1}}, second{host, {.port = 2}}, third{host, {.port = 3}};
  first.send_syn();
  second.send_syn();
  first.finish();
  second.finish();
  CHECK(host.silent());  // no reset
  CHECK(listener.waiting() == 1);
  host.inject(third.syn());
  CHECK(host.silent());
  first.send("kept");
  auto accepted = listener.accept();
  REQUIRE(accepted.has_value());
  CHECK(read_all(*accepted) == "kept");
  host.advance(1s);  // the SYN+ACK is repeated, and so is its ACK
  host.forget_sent();
  second.finish();
  CHECK(listener.accept().has_value());
}

TEST_CASE("the backlog can be raised live", "[tcp][listener]") {
  Host host;
  auto listener = host.stack.listen({.port = 80, .backlog = 1});
  Peer first{host, {.port = 1}}, second{host, {.port = 2}};
  first.send_syn();
  second.send_syn();
  first.finish();
  second.finish();
  CHECK(listener.waiting() == 1);
  listener.set_backlog(2);
  second.finish();
  CHECK(listener.waiting() == 2);
}

TEST_CASE("a filter judges connection requests before anything is allocated", "[tcp][listener]") {
  BasicHost<FilteredTraits> host;
  auto listener = host.stack.listen({});
  host.inject(syn_to(host_ip, 23));
  CHECK(matches(host.take(), expect.flags("RA")));
  host.inject(syn_to(host_ip, 24));
  CHECK(host.silent());
  CHECK(host.stack.stats().gauges.connections == 0);
  CHECK(host.stack.stats().dropped(Drop::syn_filtered) == 2);
  host.inject(syn_to(host_ip, 25));
  CHECK(matches(host.take(), expect.flags("SA")));
}

TEST_CASE("a pending SYN is answered as the user decides", "[tcp][listener]") {
  Host host;
  auto listener = host.stack.listen({.port = 80, .decide_syns = true});
  host.inject(syn_to(host_ip, 80));
  host.inject(syn_to(host_ip, 80));  // repeated
  CHECK(host.silent());
  const auto pending = listener.next_syn();
  REQUIRE(pending.has_value());
  CHECK(pending->info.flow.remote == peer_ip);
  CHECK(pending->info.flow.remote_port == 40000);
  CHECK(pending->info.options.mss == 1460);
  CHECK_FALSE(listener.next_syn().has_value());
  SECTION("accept") {
    CHECK(listener.decide(pending->id, SynVerdict::accept));
    host.turn();
    CHECK(matches(host.take(), expect.flags("SA").ack(1001)));
  }
  SECTION("reset") {
    CHECK(listener.decide(pending->id, SynVerdict::reset));
    host.turn();
    CHECK(matches(host.take(), expect.flags("RA").ack(1001)));
  }
  SECTION("ignore") {
    CHECK(listener.decide(pending->id, SynVerdict::ignore));
    host.turn();
    CHECK(host.silent());
    host.inject(syn_to(host_ip, 80));
    CHECK(listener.next_syn().has_value());  // asked again
  }
  SECTION("defer, then accept") {
    CHECK(listener.decide(pending->id, SynVerdict::defer));
    host.advance(5s);
    CHECK(listener.decide(pending->id, SynVerdict::accept));
    host.turn();
    CHECK(matches(host.take(), expect.flags("SA")));
  }
  SECTION("too late") {
    host.advance(10s);
    CHECK_FALSE(listener.decide(pending->id, SynVerdict::accept));
    CHECK(host.stack.stats().gauges.pending_syns == 0);
  }
}

TEST_CASE("pending SYNs are bounded, the oldest is forgotten", "[tcp][listener]") {
  Host host;
  auto listener = host.stack.listen({.port = 80, .decide_syns = true, .max_pending_syns = 4});
  for (std::uint16_t port = 1; port <= 10; ++port) host.inject(syn_to(host_ip, 80, port));
  CHECK(host.stack.stats().gauges.pending_syns == 4);
  const auto oldest = listener.next_syn();
  REQUIRE(oldest.has_value());
  CHECK(oldest->info.flow.remote_port == 7);
}

TEST_CASE("listeners end with their handles, and their connections with them", "[tcp][listener]") {
  Host host;
  Peer peer{host, {.port = 1}}, half{host, {.port = 2}};
  {
    auto listener = host.stack.listen({.port = 80});
    peer.send_syn();
    peer.finish();
    half.send_syn();
    CHECK(host.stack.stats().gauges.connections == 2);
    CHECK(host.stack.stats().gauges.half_open == 1);
  }
  host.turn();
  CHECK(matches(host.take(), expect.has_flags("R").to(peer.here())));
  CHECK(host.silent());
  CHECK(host.stack.stats().gauges.connections == 0);
  CHECK(host.stack.stats().gauges.half_open == 0);
  half.finish();
  CHECK(matches(host.take(), expect.flags("R")));
}
