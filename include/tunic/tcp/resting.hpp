// SPDX-License-Identifier: BSL-1.0
#pragma once

// A connection at rest: one that has nothing to send, to hold or to tell, and so needs no control
// block. What it knows is kept packed, all of it: members of the three states are kept without
// being named here, and of all others `can_rest` asks that they are as in a new control block.
// (tests/tcp/resting.cpp sees to it that none is added beside these.)

#include <tunic/base/bytes.hpp>
#include <tunic/base/packed_words.hpp>
#include <tunic/base/time.hpp>
#include <tunic/core/event.hpp>
#include <tunic/tcp/control_block.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace tunic::inline v0 {

/// What lasts of a control block.
template <class Traits>
struct LastingState {
  SenderState snd;
  ReceiverState rcv;
  ConnectionState<Traits> connection;
};

/// Whether nothing of a connection would be missed. A congestion controller that is not trivially
/// copyable keeps its connection awake.
template <class Traits>
[[nodiscard]] bool can_rest(const ControlBlock<Traits>& cb) noexcept {
  if (!std::is_trivially_copyable_v<LastingState<Traits>> || cb.state != TcpState::established ||
      cb.snd.outstanding())
    return false;
  const bool empty = cb.snd.queue.empty() && cb.snd.board.empty() && cb.rcv.queue.empty() &&
                     cb.rcv.out_of_order.empty();
  const bool linked = cb.output_hook.is_linked() || cb.event_hook.is_linked() ||
                      cb.owner_hook.is_linked() || cb.stalled_hook.is_linked();
  if (!empty || linked || cb.slot->handle == nullptr || cb.listener != nullptr) return false;
  Deadlines others = cb.deadlines;
  others.keepalive = never;
  return cb.news == EventFlags::none && others.earliest() == never;
}

/// Packs control blocks that can rest, and unpacks them.
template <class Traits>
class Packing {
 public:
  using Control = ControlBlock<Traits>;
  using State = LastingState<Traits>;

  /// Room for any.
  using Packed = std::array<std::byte, packed_bound(sizeof(State))>;

  Packing() noexcept { blank_.start(); }

  /// Returns how many bytes it takes.
  std::size_t pack(const Control& cb, Packed& out) const noexcept {
    Image image;
    State& state = image.start();
    state.snd = cb.snd;
    state.rcv = cb.rcv;
    state.connection = cb;
    return pack_words(image.bytes, blank_.bytes, out);
  }

  /// To a new control block.
  void unpack(Bytes packed, Control& cb) const noexcept {
    Image image;
    const State& state = image.start();
    unpack_words(packed, blank_.bytes, image.bytes);
    static_cast<SenderState&>(cb.snd) = state.snd;
    static_cast<ReceiverState&>(cb.rcv) = state.rcv;
    static_cast<ConnectionState<Traits>&>(cb) = state.connection;
  }

 private:
  // A state and its bytes; those between its members are zero.
  struct Image {
    alignas(State) std::array<std::byte, sizeof(State)> bytes;
    State& start() noexcept {
      return *std::construct_at(static_cast<State*>(static_cast<void*>(bytes.data())));
    }
  };
  static_assert(sizeof(State) % 4 == 0);

  Image blank_;
};

}  // namespace tunic::inline v0
