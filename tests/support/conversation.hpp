// SPDX-License-Identifier: BSL-1.0
#pragma once

// A conversation with a host that has a bit of everything: handshake, data in and out of order,
// SACK, ICMP errors, pings, fragments, urgent data, a closed window, FINs. It is recorded once and
// played again as it was, with something else put in between.

#include "hostile.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tunic::test {

/// What a program has at the end of a conversation.
struct Outcome {
  std::string received;
  TcpState state = TcpState::closed;
  Errc error = Errc::none;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// A host, the program on it that talks to the peer, and a bystander.
struct Stage {
  Host host{small_host_config()};
  BasicBystander<> bystander{host};
  Host::Listener listener{host.stack.listen({.port = 80})};
  Host::Connection connection{};
  std::string received{};

  void accept() {
    if (auto accepted = listener.accept()) connection = std::move(*accepted);
    connection.set_no_delay(true);
  }
  void read() { received += read_all(connection); }
  [[nodiscard]] Outcome outcome() const {
    return {received, connection.state(), connection.error()};
  }

  /// Ends everything, whatever state it is in, and waits until nothing can be left.
  void clear() {
    bystander.exchange();
    connection = {};
    listener.close();
    bystander.leave();
    host.advance(10min);  // for an orphan that retransmits to nobody, with its back-off
    demand_nothing_held(host.stack.stats());
  }
};

/// A packet of the peer, or (without one) what the program does next.
struct Step {
  Packet packet{};
  void (*act)(Stage&) = nullptr;
  TcpState state = TcpState::closed;  // when the step begins
  LiveNumbers live{};
};

class Conversation {
 public:
  Conversation() { record(); }

  [[nodiscard]] const std::vector<Step>& steps() const noexcept { return steps_; }
  [[nodiscard]] const Outcome& outcome() const noexcept { return outcome_; }

  /// Plays the steps from `first` to before `last`.
  void play(Stage& stage, std::size_t first, std::size_t last) const {
    for (std::size_t i = first; i < last; ++i) {
      const Step& step = steps_[i];
      if (step.act != nullptr) step.act(stage);
      if (!step.packet.empty()) stage.host.stack.device().inject(step.packet);
      stage.host.turn();
    }
  }

 private:
  void record() {
    open();
    data();
    errors_and_pings();
    fragments_and_windows();
    close();
    outcome_ = stage_.outcome();
    stage_.clear();
  }

  void open() {
    peer_.ack = SeqNum{};
    say(peer_.syn());
    peer_.seq = SeqNum{peer_.options.isn} + 1;
    say(peer_.segment());
    act([](Stage& stage) { stage.accept(); });
  }

  void data() {
    send(std::string(100, 'a'));
    act([](Stage& stage) {
      stage.read();
      stage.connection.send(as_bytes(std::string(2000, 'A')));
    });
    const SeqNum first = acked_;
    say(peer_.segment().ack(first).sack({{first + 1448, first + 2000}}));
    say(peer_.segment());
    say(peer_.segment().seq(peer_.seq + 50).payload(std::string(50, 'c')));
    send(std::string(50, 'b'));
    peer_.seq += 50;
    act([](Stage& stage) {
      stage.read();
      stage.host.advance(50ms);
    });
  }

  void errors_and_pings() {
    act([](Stage& stage) { stage.connection.send(as_bytes(std::string(100, 'B'))); });
    const Packet in_flight = last_sent_;
    say(testing::icmp_unreachable(peer_ip, host_ip, IcmpUnreachable::host, in_flight));
    say(testing::icmp_unreachable(peer_ip, host_ip, IcmpUnreachable::fragmentation_needed,
                                  in_flight, 1200));
    say(testing::icmp_error(peer_ip, host_ip, IcmpType::time_exceeded, 0, 0, in_flight));
    say(peer_.segment());
    say(testing::icmp_echo(peer_ip, host_ip, 1, 1, std::string(56, 'p')));
    say(testing::udp({peer_ip, 9}, {host_ip, 9}, std::string(10, 'u')));
  }

  void fragments_and_windows() {
    const Packet whole = peer_.segment().ip_id(77).payload(std::string(200, 'd')).packet();
    for (const Packet& part : testing::fragments(whole, 108)) say(part);
    peer_.seq += 200;
    const Packet ping = testing::icmp_echo(peer_ip, host_ip, 1, 2, std::string(200, 'q'));
    for (const Packet& part : testing::fragments(ping, 148)) say(part);
    say(peer_.segment().urgent(5).payload(std::string(20, 'e')));
    peer_.seq += 20;
    say(peer_.segment().window(0));
    act([](Stage& stage) { stage.connection.send(as_bytes(std::string(10, 'C'))); });
    say(peer_.segment());
    say(peer_.segment());
    act([](Stage& stage) { stage.read(); });
  }

  void close() {
    say(peer_.segment().fin());
    peer_.seq += 1;
    act([](Stage& stage) {
      stage.read();
      stage.connection.shutdown_send();
    });
    say(peer_.segment());
  }

  void send(std::string_view text) {
    say(peer_.segment().psh().payload(text));
    peer_.seq += static_cast<std::uint32_t>(text.size());
  }
  void say(const SegmentBuilder& segment) { say(segment.packet()); }
  void say(const Packet& packet) {
    const Decoded decoded = testing::decode(packet);
    perform({.packet = packet});
    if (decoded.tcp && decoded.tcp->has(TcpFlags::ack)) acked_ = decoded.tcp->ack;
  }
  void act(void (*what)(Stage&)) { perform({.act = what}); }

  void perform(Step step) {
    step.state = stage_.connection.state();
    step.live = {.rcv_nxt = watch_.rcv_nxt().value_or(SeqNum{}),
                 .rcv_edge = watch_.rcv_edge(),
                 .snd_una = acked_,
                 .snd_nxt = watch_.snd_nxt()};
    // What is not acknowledged yet was received all the same.
    if (step.state >= TcpState::established) step.live.rcv_nxt = peer_.seq;
    steps_.push_back(std::move(step));
    play(stage_, steps_.size() - 1, steps_.size());
    while (auto packet = stage_.host.next()) {
      if (!packet->tcp || packet->tcp->dst_port != peer_.options.port) continue;
      last_sent_ = *packet->bytes;
      watch_.sent(*packet->tcp, stage_.connection.info().rcv_wscale);
      peer_.learn(*packet->tcp);
    }
  }

  std::vector<Step> steps_;
  Stage stage_;
  Peer peer_{stage_.host, {.window_scale = std::uint8_t{4}, .sack = true, .timestamp = 5000U}};
  SegmentWatch watch_;
  SeqNum acked_{};
  Packet last_sent_;
  Outcome outcome_;
};

}  // namespace tunic::test
