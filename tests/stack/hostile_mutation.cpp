// SPDX-License-Identifier: BSL-1.0

// A recorded conversation is played again, and at a point of it comes a damaged copy of one of its
// packets: each prefix of it, and each copy with one header bit turned, checksums repaired so that
// the damage is not found by them. Either the copy could not be meant for the stream, and then the
// conversation must end as it was recorded; or it is a packet that the peer might have sent, and
// then at least everything is accounted for and cleared away.

#include "../support/conversation.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

// Whether a packet at a step of the conversation can't be part of it.
bool is_foreign(const Packet& bytes, const Step& step) {
  if (step.state < TcpState::established) return false;
  const Decoded packet = testing::decode(bytes);
  const Ipv4Header& header = packet.ip.header;
  if (header.is_fragment()) return false;  // may meet a fragment of the conversation
  if (packet.malformed == Drop::bad_total_length) return false;  // surplus bytes are cut off
  if (packet.malformed || header.src != peer_ip || header.dst != host_ip) return true;
  const LiveNumbers& live = step.live;
  if (packet.icmp) {
    const auto quote = parse_icmp_quote(packet.icmp->body);
    const bool in_flight = quote && live.snd_una <= quote->seq && quote->seq < live.snd_nxt;
    return !packet.icmp->is_error() || !in_flight;
  }
  if (!packet.tcp || packet.tcp->src_port != 40'000 || packet.tcp->dst_port != 80) return true;
  const TcpSegment& segment = *packet.tcp;
  if (segment.has(TcpFlags::rst)) return segment.seq != live.rcv_nxt;
  if (segment.has(TcpFlags::syn) || !segment.has(TcpFlags::ack)) return true;
  const SeqNum end = segment.seq + segment.length();
  return live.snd_nxt < segment.ack || end < live.rcv_nxt || live.rcv_edge < segment.seq;
}

// How many packets were foreign, and how many might have been the peer's.
struct Tally {
  std::uint64_t foreign = 0;
  std::uint64_t possible = 0;
};

// `damaged` comes right before the step `point`.
void play_with(const Conversation& conversation, std::size_t point, const Packet& damaged,
               Tally& tally) {
  CAPTURE(point);
  INFO(to_text(damaged));
  Stage stage;
  conversation.play(stage, 0, point);
  const Stats before = stage.host.stack.stats();
  stage.host.inject(damaged);
  demand_one_fate(before, stage.host.stack.stats());
  demand_bounded(stage.host.stack.stats(), stage.host.stack.config());
  stage.bystander.exchange();
  conversation.play(stage, point, conversation.steps().size());
  const bool foreign = is_foreign(damaged, conversation.steps()[point]);
  ++(foreign ? tally.foreign : tally.possible);
  if (foreign && stage.outcome() != conversation.outcome()) {
    CHECK(stage.received == conversation.outcome().received);
    CHECK(name(stage.connection.state()) == name(conversation.outcome().state));
    FAIL("a foreign packet has changed the conversation");
  }
  stage.clear();
}

// At the step of the packet itself; in a full run at every step.
template <class Damage>
void play_all(const Conversation& conversation, Damage&& damage) {
  const std::size_t count = conversation.steps().size();
  const std::size_t reach = cases(0, count);
  Tally tally;
  for (std::size_t from = 0; from < count; ++from) {
    const Packet& packet = conversation.steps()[from].packet;
    if (packet.empty()) continue;
    for (const Packet& damaged : damage(packet)) {
      const std::size_t first = reach == 0 ? from : 0;
      const std::size_t last = reach == 0 ? from + 1 : count;
      for (std::size_t point = first; point < last; ++point) {
        play_with(conversation, point, damaged, tally);
      }
    }
  }
  INFO(tally.foreign << " foreign, " << tally.possible << " possible");
  CHECK(tally.foreign > 500);
  CHECK(tally.possible > 500);
}

// IP's header, the transport's with its options, and what an ICMP error quotes.
std::size_t header_bytes(const Packet& bytes) {
  const Decoded packet = testing::decode(bytes);
  return bytes.size() -
         (packet.icmp && packet.icmp->is_error() ? std::size_t{0} : packet.payload().size());
}

void set_total_length(Packet& packet) {
  packet[2] = static_cast<std::byte>(packet.size() >> 8);
  packet[3] = static_cast<std::byte>(packet.size());
  testing::repair_checksums(packet);
}

}  // namespace

TEST_CASE("each prefix of each packet of a conversation is dropped at each point, and counted",
          "[stack][hostile]") {
  const Conversation conversation;
  const auto& steps = conversation.steps();
  Stage stage;
  for (std::size_t point = 0; point < steps.size(); ++point) {
    CAPTURE(point);
    stage.host.forget_sent();
    const std::uint64_t sent = stage.host.stack.stats().ip.packets_out;
    for (const Step& step : steps) {
      for (std::size_t size = 0; size < step.packet.size(); ++size) {
        const Stats before = stage.host.stack.stats();
        stage.host.stack.device().inject(Bytes{step.packet}.first(size));
        stage.host.turn();
        demand_one_fate(before, stage.host.stack.stats());
        const Drop reason = size < 20 ? Drop::too_short : Drop::bad_total_length;
        demand(dropped_between(before, stage.host.stack.stats(), {reason}) == 1, "dropped so");
      }
    }
    CHECK(stage.host.stack.stats().ip.packets_out == sent);
    stage.bystander.exchange();
    conversation.play(stage, point, point + 1);
  }
  CHECK((stage.outcome() == conversation.outcome()));
  stage.clear();
}

TEST_CASE("a prefix that says its own length does no harm that a peer could not do",
          "[stack][hostile]") {
  const Conversation conversation;
  play_all(conversation, [](const Packet& packet) {
    std::vector<Packet> prefixes;
    for (std::size_t size = 20; size < packet.size(); ++size) {
      set_total_length(prefixes.emplace_back(packet.data(), packet.data() + size));
    }
    return prefixes;
  });
}

TEST_CASE("a packet with one header bit turned does no harm that a peer could not do",
          "[stack][hostile]") {
  const Conversation conversation;
  play_all(conversation, [](const Packet& packet) {
    std::vector<Packet> turned;
    for (std::size_t bit = 0; bit < 8 * header_bytes(packet); ++bit) {
      Packet& copy = turned.emplace_back(packet);
      copy[bit / 8] ^= std::byte{1} << bit % 8;
      testing::repair_checksums(copy);
    }
    return turned;
  });
}
