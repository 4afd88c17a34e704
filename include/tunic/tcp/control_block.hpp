// SPDX-License-Identifier: BSL-1.0
#pragma once

// Everything that is known of one connection. A plain value without behaviour of its own: what
// happens to it is in input.hpp, output.hpp, expiry.hpp and connection.hpp. One that is idle may
// have no control block, only a slot (tcp/connection_table.hpp).

#include <tunic/base/error.hpp>
#include <tunic/base/time.hpp>
#include <tunic/base/timing_wheel.hpp>
#include <tunic/core/event.hpp>
#include <tunic/core/options.hpp>
#include <tunic/tcp/chronograph.hpp>
#include <tunic/tcp/ecn.hpp>
#include <tunic/tcp/flow.hpp>
#include <tunic/tcp/receiver.hpp>
#include <tunic/tcp/rtt.hpp>
#include <tunic/tcp/sender.hpp>
#include <tunic/tcp/state.hpp>
#include <tunic/tcp/timers.hpp>
#include <tunic/tcp/traffic.hpp>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/list_hook.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tunic::inline v0 {

template <class Traits>
class BasicTcpConnection;

template <class Traits>
struct Listening;

using ListHook =
    boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

template <class Traits>
struct ControlBlock;

/// A connection's place in the table, whether it is awake or at rest. It stays where it is.
template <class Traits>
struct ConnectionSlot {
  [[no_unique_address]] FlowKey key;  // the next three lie in its tail
  std::uint16_t packed_bytes = 0;
  bool timed = false;                  // at rest with a timer, which stands before what is packed
  Errc error = Errc::none;             // of one that found no memory to wake and was dropped
  ControlBlock<Traits>* cb = nullptr;  // while awake
  std::byte* packed = nullptr;         // at rest
  BasicTcpConnection<Traits>* handle =
      nullptr;  // null: half-open, waiting to be accepted, or an orphan
  void* user_data = nullptr;
};

/// The wheel's node of a connection; it fires at the earliest of its deadlines.
template <class Traits>
struct ConnectionTimer : TimerNode {
  ConnectionSlot<Traits>* slot = nullptr;
};

/// What lasts while a connection is at rest, packed (tcp/resting.hpp), beside the states of its
/// sender and its receiver. Numbers only: what is linked, points or is pointed at belongs below.
template <class Traits>
struct ConnectionState {
  RttEstimator rtt;
  typename Traits::Congestion congestion;
  [[no_unique_address]] std::conditional_t<Traits::ecn, EcnState, NoEcn> ecn;
  Deadlines deadlines;
  Instant last_received{};
  Traffic traffic;
  Chronograph limits;
  ConnectionOptions options;
  Instant stalled_since{};
  std::uint32_t challenge_second = 0;
  std::uint32_t ts_offset = 0;
  std::uint16_t challenges = 0;
  std::uint8_t keepalive_probes = 0;
  std::uint8_t received_dscp = 0;
  TcpState state = TcpState::closed;
  Errc error = Errc::none;
  Errc soft_error = Errc::none;
  EventFlags news = EventFlags::none;
  bool passive = false;  // came from LISTEN (RFC 9293 MUST-11)
  bool syn_due = false;  // a SYN or SYN+ACK is to be sent
  bool keepalive_due = false;
  bool orphan = false;      // its handle is gone, the stack finishes it
  bool in_table = false;    // the flow table leads here
  bool scaled = false;      // window scaling is negotiated
  bool timestamps = false;  // negotiated
  bool sack = false;        // negotiated: the peer takes SACK blocks
  bool closing = false;     // the application has called close
};

template <class Traits>
struct ControlBlock : ConnectionTimer<Traits>, ConnectionState<Traits> {
  FlowKey key;  // as in the slot
  Sender snd;
  Receiver rcv;
  Listening<Traits>* listener = nullptr;  // while half-open or waiting to be accepted
  ListHook output_hook;                   // in the list of those that have something to send
  ListHook event_hook;                    // in the list of those that have news
  ListHook owner_hook;    // in its listener's accept queue, or in the list of orphans
  ListHook stalled_hook;  // in the list of those whose peers keep their window shut
  ListHook recent_hook;   // in the list of those that were used lately

  ControlBlock() noexcept = default;
  ControlBlock(const ControlBlock&) = delete;
  ControlBlock& operator=(const ControlBlock&) = delete;
};

template <class Traits, ListHook ControlBlock<Traits>::*Hook>
using ControlBlockList =
    boost::intrusive::list<ControlBlock<Traits>,
                           boost::intrusive::member_hook<ControlBlock<Traits>, ListHook, Hook>,
                           boost::intrusive::constant_time_size<true>>;

}  // namespace tunic::inline v0
