// SPDX-License-Identifier: BSL-1.0
#pragma once

// Connections whose peers keep their window shut while data waits. RFC 9293 3.8.6.1 keeps them for
// as long as the probes are answered; the memory that they hold is not theirs for ever (RFC
// 6429 3).

#include <tunic/tcp/tcp_core.hpp>

namespace tunic::inline v0 {

/// The persist timer takes over, or has done its work.
template <class Traits>
void set_persisting(TcpCore<Traits>& core, ControlBlock<Traits>& cb, bool on) noexcept {
  cb.snd.persisting = on;
  if (on == cb.stalled_hook.is_linked()) return;
  if (on) {
    cb.stalled_since = core.now;
    core.stalled.push_back(cb);
  } else {
    core.stalled.erase(core.stalled.iterator_to(cb));
  }
}

/// Memory was refused to a connection, or to one that would begin. Unless it is stalled itself, the
/// one that has been stalled for longest goes, if its peer has had its time.
template <class Traits>
void reclaim_stalled(TcpCore<Traits>& core, const ControlBlock<Traits>* refused) noexcept {
  if (core.stalled.empty() || (refused != nullptr && refused->stalled_hook.is_linked())) return;
  ControlBlock<Traits>& oldest = core.stalled.front();
  if (core.now - oldest.stalled_since < core.config.stalled_timeout) return;
  ++core.stats.tcp.stalled_aborts;
  core.abort(oldest, Errc::no_memory);
}

}  // namespace tunic::inline v0
