// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the tests of bad input share: how much of it a run takes, and a bystander, a connection next
// to the one under attack that must not notice anything.

#include "host.hpp"
#include "invariants.hpp"
#include <tunic/device/random.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

namespace tunic::test {

/// With TUNIC_FULL_TESTS set in the environment a test runs through all of its cases, which takes
/// minutes; else through a part that a developer waits for.
inline std::uint64_t cases(std::uint64_t quick, std::uint64_t full) {
  return std::getenv("TUNIC_FULL_TESTS") != nullptr ? full : quick;
}

/// A small host: what is not used is not cleared a hundred thousand times.
inline StackConfig small_host_config() {
  StackConfig config = host_config();
  config.tcp.max_connections = 32;
  config.tcp.max_time_wait = 32;
  config.ip.max_reassemblies = 8;
  config.memory_budget = 4 * 1024 * 1024;
  return config;
}

/// A connection that echoes what its peer sends, and checks every byte and number of it.
template <class Traits = DefaultTraits>
class BasicBystander {
 public:
  static constexpr std::uint16_t host_port = 7;
  // One flipped bit leads neither here from the ports 80 and 40000, nor back.
  static constexpr std::uint16_t peer_port = 51'234;

  explicit BasicBystander(BasicHost<Traits>& host)
      : host_{host},
        listener_{host.stack.listen({.port = host_port})},
        peer_{host, {.port = peer_port, .host_port = host_port, .isn = 777'000'000}},
        connection_{peer_.connect_to(listener_)} {}

  /// A question and its answer. What the host has sent to others meanwhile goes to `others`.
  template <class Others>
  void exchange(Others&& others) {
    const std::string text = "question " + std::to_string(++questions_);
    peer_.send(text);
    demand(read_all(connection_) == text, "the bystander receives what was sent to it");
    demand(connection_.send(as_bytes(text)).bytes == text.size(), "the bystander can send");
    host_.turn();
    bool answered = false;
    while (const auto packet = host_.next()) {
      if (!packet->tcp || packet->tcp->dst_port != peer_port) {
        others(*packet->bytes);
        continue;
      }
      demand(packet->tcp->flags == (TcpFlags::ack | TcpFlags::psh), "nothing but answers");
      demand(packet->tcp->seq == peer_.ack && packet->tcp->ack == peer_.seq, "right numbers");
      answered = answered || as_text(packet->tcp->payload) == text;
      peer_.learn(*packet->tcp);
    }
    demand(answered, "the bystander's peer gets its answer");
    peer_.acknowledge();
    demand(connection_.state() == TcpState::established, "the bystander stays connected");
  }
  void exchange() {
    exchange([](const Packet&) {});
  }

  /// Closes in order, and waits until nothing of it is left.
  void leave() {
    connection_.shutdown_send();
    host_.turn();
    host_.forget_sent();
    peer_.ack += 1;
    peer_.send_fin();
    connection_ = {};
    listener_.close();
    host_.advance(2 * host_.stack.config().tcp.msl);
  }

 private:
  BasicHost<Traits>& host_;
  typename BasicHost<Traits>::Listener listener_;
  BasicPeer<Traits> peer_;
  typename BasicHost<Traits>::Connection connection_;
  std::uint64_t questions_ = 0;
};

}  // namespace tunic::test
