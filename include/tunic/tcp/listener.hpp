// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a listener holds: its address and port (either may be "any"), its SYN queue (a count:
// half-open connections are control blocks), its accept queue, and the SYNs that wait for the
// user's verdict. The user's handle is `BasicTcpListener` in tcp/listener_handle.hpp.

#include <tunic/base/time.hpp>
#include <tunic/core/options.hpp>
#include <tunic/tcp/control_block.hpp>
#include <tunic/tcp/traits.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/seq.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace tunic::inline v0 {

/// What `Stack::listen` is asked for.
struct ListenOptions {
  IpAddress address{};                  ///< Unspecified: every address that the stack answers to.
  std::uint16_t port = 0;               ///< 0: every port that no other listener has.
  std::uint32_t backlog = 128;          ///< Established connections that wait for `accept`.
  std::uint32_t syn_backlog = 256;      ///< Half-open connections; beyond it cookies, or silence.
  bool decide_syns = false;             ///< SYNs wait for the user's verdict, see `next_syn`.
  std::uint32_t max_pending_syns = 64;  ///< Beyond it the oldest is forgotten.
  Duration pending_timeout = std::chrono::seconds{10};
  ConnectionOptions connection{};  ///< What its connections start with.
};

/// A connection request that waits for a verdict.
struct PendingSyn {
  std::uint64_t id = 0;
  SynInfo info;
};

template <class Traits>
class BasicTcpListener;

/// A listener as the stack keeps it.
template <class Traits>
struct Listening {
  struct Waiting {
    PendingSyn syn;
    SeqNum isn;
    std::uint16_t window = 0;
    Instant expires;
    bool shown = false;  // the user has pulled it
  };
  using AcceptQueue = ControlBlockList<Traits, &ControlBlock<Traits>::owner_hook>;

  ListenOptions options;
  AcceptQueue accept_queue;
  std::deque<Waiting> pending;
  std::uint64_t next_pending_id = 1;
  std::uint32_t half_open = 0;
  std::optional<Instant> overflowed_at;  // when a cookie was last sent
  BasicTcpListener<Traits>* handle = nullptr;

  [[nodiscard]] bool accept_queue_full() const noexcept {
    return accept_queue.size() >= options.backlog;
  }
};

/// Where a listener is found.
struct ListenKey {
  IpAddress address;
  std::uint16_t port = 0;
  friend bool operator==(const ListenKey&, const ListenKey&) = default;
};

struct ListenKeyHash {
  std::size_t operator()(const ListenKey& key) const noexcept {
    const auto words = key.address.hash_words();
    return static_cast<std::size_t>((words[0] ^ (words[1] * 0x9e3779b97f4a7c15U)) + key.port);
  }
};

}  // namespace tunic::inline v0
