// SPDX-License-Identifier: BSL-1.0
#pragma once

// How far the buffers of a connection may be filled, out of the stack's memory: each grows with
// what its direction carries, and is back at where it started when memory is short. The edge of a
// window that was advertised stays; only what lies beyond is affected.

#include <tunic/core/options.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <cstdint>

namespace tunic::inline v0 {

/// Data has come. Under pressure the rest of the budget is for those that hold little.
template <class Traits>
void tune_receive_buffer(const TcpCore<Traits>& core, ControlBlock<Traits>& cb) noexcept {
  Receiver& rcv = cb.rcv;
  const BufferSize& size = cb.options.receive_buffer;
  const std::uint32_t wanted = rcv.tuning.measure(core.now);
  if (core.pool.under_pressure()) {
    rcv.limit = std::min(rcv.limit, size.initial);
  } else if (rcv.limit < wanted) {
    const std::uint32_t offered = std::uint32_t{0xffff} << rcv.scale;
    rcv.limit = std::max(rcv.limit, std::min({wanted, offered, core.largest(size)}));
  }
}

/// An acknowledgement has been taken in, or the application writes. Twice what may be in flight: so
/// much waits for its acknowledgement, and as much can be sent before the application has to write
/// again.
template <class Traits>
void tune_send_buffer(const TcpCore<Traits>& core, ControlBlock<Traits>& cb) noexcept {
  Sender& snd = cb.snd;
  const BufferSize& size = cb.options.send_buffer;
  const std::uint64_t wanted = 2 * std::uint64_t{std::min(cb.congestion.cwnd(), snd.max_wnd)};
  if (core.pool.under_pressure()) {
    snd.limit = std::min(snd.limit, size.initial);
  } else if (snd.limit < wanted) {
    const std::uint64_t bound = core.largest(size);
    snd.limit = std::max(snd.limit, static_cast<std::uint32_t>(std::min(wanted, bound)));
  }
}

}  // namespace tunic::inline v0
