// SPDX-License-Identifier: BSL-1.0

// Every set of the six control bits meets every state of a connection, with numbers and lengths
// drawn around the live ones and anywhere.

#include "../support/hostile.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

// One state of one connection, its listener, and the bystander.
template <class Traits>
struct Scene {
  using Connection = typename BasicHost<Traits>::Connection;

  BasicHost<Traits> host{small_host_config()};
  BasicBystander<Traits> bystander{host};
  typename BasicHost<Traits>::Listener listener{};
  BasicPeer<Traits> peer;
  Connection connection{};

  Scene(TcpState state, const PeerOptions& options) : peer{host, options} {
    if (state == TcpState::closed) return;
    if (state == TcpState::syn_sent) {
      connection = peer.receive_syn();
      return;
    }
    listener = host.stack.listen({.port = options.host_port});
    if (state == TcpState::listen) return;
    peer.send_syn();
    if (state == TcpState::syn_received) return;
    peer.finish();
    connection = std::move(*listener.accept());
    lead_to(state);
  }

  void host_closes() {
    connection.shutdown_send();
    host.turn();
    peer.receive();
  }
  void lead_to(TcpState state) {
    const bool peer_first = state == TcpState::close_wait || state == TcpState::last_ack;
    if (peer_first) peer.send_fin();
    host.forget_sent();
    if (state != TcpState::established && state != TcpState::close_wait) host_closes();
    if (state == TcpState::closing) {
      peer.ack -= 1;  // the FINs cross
      peer.send_fin();
      peer.ack += 1;
    }
    if (state == TcpState::fin_wait_2 || state == TcpState::time_wait) peer.acknowledge();
    if (state == TcpState::time_wait) peer.send_fin();
    host.forget_sent();
    REQUIRE(connection.state() == state);
  }

  [[nodiscard]] LiveNumbers live() const {
    const TcpState state = connection.state();
    const bool fin_in_flight =
        state == TcpState::fin_wait_1 || state == TcpState::closing || state == TcpState::last_ack;
    return {.rcv_nxt = peer.seq,
            .rcv_edge = peer.seq + (connection ? connection.info().rcv_wnd : 0xffff),
            .snd_una = fin_in_flight ? peer.ack - 1 : peer.ack,
            .snd_nxt = peer.ack};
  }
};

struct Draw {
  TcpSegment segment;
  std::vector<std::byte> payload;
  std::optional<std::vector<std::byte>> raw_options;
  std::uint8_t ecn = 0;  // of the packet; the segment's flags of it are among the others
};

Draw draw_segment(Random& random, TcpFlags flags, const LiveNumbers& live) {
  constexpr std::array<std::int32_t, 8> near{0, 0, 1, -1, 3, -3, 1000, -1000};
  const auto around = [&](SeqNum a, SeqNum b) {
    const std::uint64_t choice = random.below(8);
    if (choice == 0) return SeqNum{static_cast<std::uint32_t>(random.next())};
    const auto offset = static_cast<std::uint32_t>(near[random.below(near.size())]);
    return (choice < 6 ? a : b) + offset;
  };
  Draw draw;
  draw.segment.flags = flags;
  draw.segment.seq = around(live.rcv_nxt, live.rcv_edge);
  draw.segment.ack = around(live.snd_nxt, live.snd_una);
  draw.segment.window = static_cast<std::uint16_t>(random.next());
  draw.segment.urgent = static_cast<std::uint16_t>(random.next());
  constexpr std::array<std::size_t, 4> sizes{0, 1, 10, 1000};
  draw.payload.resize(sizes[random.below(sizes.size())], std::byte{'x'});
  draw.segment.payload = draw.payload;
  if (random.chance(0.25)) {
    draw.raw_options.emplace(random.below(11) * 4);
    for (auto& byte : *draw.raw_options) byte = static_cast<std::byte>(random.below(12));
  }
  draw.segment.flags |= TcpFlags{static_cast<std::uint8_t>(random.below(4) << 6)};
  draw.ecn = static_cast<std::uint8_t>(random.below(4));
  return draw;
}

// Whether a segment that can't be meant for the connection's stream must leave it as it was.
bool must_not_touch(TcpState state, const TcpSegment& segment, const LiveNumbers& live) {
  if (state < TcpState::established) return false;
  if (segment.has(TcpFlags::rst)) return segment.seq != live.rcv_nxt;
  if (segment.has(TcpFlags::syn) || !segment.has(TcpFlags::ack)) return true;
  const SeqNum end = segment.seq + segment.length();
  return live.snd_nxt < segment.ack || end < live.rcv_nxt || live.rcv_edge < segment.seq;
}

template <class Traits>
void meet(TcpState state, TcpFlags flags, std::uint64_t seed) {
  Random random{seed};
  const bool rich = random.chance(0.5);
  const bool deaf = random.chance(0.25);
  const PeerOptions options{.window_scale = rich ? std::optional<std::uint8_t>{4} : std::nullopt,
                            .sack = rich,
                            .timestamp = rich ? std::optional{5000U} : std::nullopt,
                            .ecn = rich};
  Scene<Traits> scene{state, options};
  auto& [host, bystander, listener, peer, connection] = scene;
  if (deaf) listener.close();
  const LiveNumbers live = scene.live();
  const Draw draw = draw_segment(random, flags, live);
  auto built = peer.bare().flags(flags).seq(draw.segment.seq);
  built = built.ack(draw.segment.ack).window(draw.segment.window).urgent(draw.segment.urgent);
  built = built.flags(draw.segment.flags).payload(Bytes{draw.payload}).tos(draw.ecn);
  if (rich) built = built.timestamps(peer.tsval, peer.tsecr);
  if (draw.raw_options) built = built.raw_tcp_options(Bytes{*draw.raw_options});
  const Packet packet = built.packet();
  INFO(to_text(packet));

  const Stats before = host.stack.stats();
  const std::size_t unread = connection.readable_bytes();
  host.inject(packet);
  const Stats after = host.stack.stats();
  demand_one_fate(before, after);
  demand_bounded(after, host.stack.config());

  const bool parsed = after.tcp.segments_in != before.tcp.segments_in;
  const bool untouchable = !parsed || must_not_touch(state, draw.segment, live);
  if (connection) {
    const TcpState now = connection.state();
    INFO("leads to " << name(now));
    CHECK((parsed ? may_lead(state, now, draw.segment, live) : now == state));
    if (untouchable) {
      CHECK(connection.readable_bytes() == unread);
      const bool makes_way = state == TcpState::time_wait;
      CHECK((now == state || makes_way));
    }
  }

  // No control block but through a SYN (whose FIN is left unacknowledged), and none is open by it.
  const bool requests =
      flags.has(TcpFlags::syn) && !flags.has_any(TcpFlags::rst | TcpFlags::ack) && listener;
  if (!requests) CHECK(after.gauges.connections <= before.gauges.connections);
  CHECK(after.gauges.connections <= before.gauges.connections + 1);
  if (state != TcpState::syn_received) CHECK(listener.waiting() == 0);

  // Something was counted, sent or changed unless it is an ACK that says nothing new.
  TcpStats untouched = before.tcp;
  ++untouched.segments_in;
  const bool counted = after.dropped_total() != before.dropped_total() ||
                       std::memcmp(&untouched, &after.tcp, sizeof untouched) != 0;
  const bool changed = connection.readable_bytes() != unread || connection.state() != state ||
                       after.gauges.connections != before.gauges.connections;
  const bool says_nothing = flags.has(TcpFlags::ack) &&
                            !flags.has_any(TcpFlags::syn | TcpFlags::fin | TcpFlags::rst) &&
                            draw.payload.empty();
  CHECK((counted || changed || says_nothing));
  while (const auto reply = host.next()) {
    if (flags.has(TcpFlags::rst)) CHECK((reply->tcp && !reply->tcp->has(TcpFlags::rst)));
  }

  bystander.exchange();
  connection.abort();
  connection = {};
  listener.close();
  bystander.leave();
  demand_nothing_held(host.stack.stats());
}

template <class Traits>
void meet_all() {
  const std::uint64_t draws = cases(4, 200);
  for (int state = 0; state <= static_cast<int>(TcpState::time_wait); ++state) {
    for (unsigned bits = 0; bits < 64; ++bits) {
      for (std::uint64_t draw = 0; draw < draws; ++draw) {
        const std::uint64_t seed = (draw * 64 + bits) * 16 + static_cast<unsigned>(state);
        CAPTURE(seed, name(static_cast<TcpState>(state)));
        meet<Traits>(static_cast<TcpState>(state), TcpFlags{static_cast<std::uint8_t>(bits)}, seed);
      }
    }
  }
}

}  // namespace

TEST_CASE("no set of flags does anything in any state but what RFC 9293 says",
          "[stack][hostile][conformance][FSM-54]") {
  meet_all<DefaultTraits>();
}

TEST_CASE("no set of flags does anything in any state, with minimal traits",
          "[stack][hostile][conformance][FSM-54]") {
  meet_all<MinimalTraits>();
}
