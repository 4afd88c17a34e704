// SPDX-License-Identifier: BSL-1.0
#pragma once

// Two hosts in lock step whose packets cross: what both have sent is taken before either gets any
// of it. One packet, counted from the first, can be lost on the way.

#include "host.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

namespace tunic::test {

struct Pair {
  Host a;  // 10.0.0.2
  Host b{other_config()};
  std::size_t passed = 0;             // packets that both have sent
  std::optional<std::size_t> lost{};  // which of them does not arrive

  static StackConfig other_config() {
    StackConfig config = host_config();
    config.addresses = {IpCidr{peer_ip, 24}};
    config.seed = SipKey{3, 4};
    return config;
  }

  /// What was sent arrives; false when there was nothing.
  bool exchange() {
    std::vector<Packet> to_a;
    std::vector<Packet> to_b;
    collect(a, to_b);
    collect(b, to_a);
    if (to_a.empty() && to_b.empty()) return false;
    a.inject_all(to_a);
    b.inject_all(to_b);
    return true;
  }

  /// Time passes for both, and nothing stays on the way.
  void run(Duration by) {
    const Instant end = a.clock.now() + by;
    for (;;) {
      for (int rounds = 0; exchange(); ++rounds) REQUIRE(rounds < 10'000);  // they answer for ever
      const Instant next = std::min(a.stack.next_deadline(), b.stack.next_deadline());
      if (next > end) break;
      set_time(next);
    }
    set_time(end);
  }

 private:
  void collect(Host& from, std::vector<Packet>& packets) {
    while (auto packet = from.stack.device().take()) {
      if (passed++ != lost) packets.push_back(std::move(*packet));
    }
  }
  void set_time(Instant to) {
    for (Host* host : {&a, &b}) {
      host->clock.set(to);
      host->turn();
    }
  }
};

}  // namespace tunic::test
