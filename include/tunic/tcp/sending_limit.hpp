// SPDX-License-Identifier: BSL-1.0
#pragma once

// What keeps a connection from sending more, for its chronograph: looked at when a turn's output is
// done, and when the application writes.

#include <tunic/tcp/chronograph.hpp>
#include <tunic/tcp/recovery.hpp>
#include <tunic/tcp/tcp_core.hpp>

namespace tunic::inline v0 {

/// `by_window`: the peer's window has no room for what waits. As in Linux the congestion window
/// comes first where both are full (tcp_write_xmit), and the send buffer limits only while all that
/// is in it has been sent and the application was refused more (tcp_cwnd_validate).
template <class Traits>
[[nodiscard]] SendLimit sending_limit(TcpCore<Traits>& core, ControlBlock<Traits>& cb,
                                      bool by_window) noexcept {
  const Sender& snd = cb.snd;
  const bool full = snd.in_flight() >= Recovery<Traits>{core, cb}.window();
  if (snd.has_work()) return by_window && !full ? SendLimit::window : SendLimit::network;
  if (!snd.outstanding()) {
    return can_send(cb.state) && !snd.short_write ? SendLimit::idle : SendLimit::none;
  }
  if (full || !can_send(cb.state)) return SendLimit::network;
  return snd.short_write ? SendLimit::buffer : SendLimit::application;
}

/// Has the time from now on count for what keeps the connection back now.
template <class Traits>
void note_limit(TcpCore<Traits>& core, ControlBlock<Traits>& cb, bool by_window = false) noexcept {
  if (!synchronized(cb.state)) return;
  cb.limits.set(sending_limit(core, cb, by_window), core.now);
}

}  // namespace tunic::inline v0
