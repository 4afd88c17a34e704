// SPDX-License-Identifier: BSL-1.0
#pragma once

// What TIME-WAIT makes of a segment: old ones are acknowledged or ignored, a SYN that is clearly
// newer opens a new incarnation (RFC 9293 3.6.1 and 3.10.7.4, RFC 1337, RFC 6191).

#include <tunic/core/stats.hpp>
#include <tunic/tcp/tcp_core.hpp>
#include <tunic/tcp/time_wait.hpp>
#include <tunic/wire/tcp.hpp>

#include <cstdint>

namespace tunic::inline v0 {

/// A segment that meets TIME-WAIT (RFC 9293 3.10.7.4 and 3.6.1, RFC 1337 3, RFC 6191 2). True when
/// it is a SYN that may open a new incarnation: the caller hands it to a listener.
template <class Traits>
bool time_wait_input(TcpCore<Traits>& core, TimeWaitEntry& entry,
                     const TcpSegment& segment) noexcept {
  const auto ignore = [&] {
    core.stats.count(Drop::time_wait_ignored);
    return false;
  };
  if (segment.has(TcpFlags::rst)) return ignore();  // RFC 1337: no assassination
  const bool stamped = entry.timestamps && segment.options.has_timestamps;
  const auto newer =
      stamped ? static_cast<std::int32_t>(segment.options.timestamps.value - entry.ts_recent) : 0;
  if (segment.has(TcpFlags::syn) && !segment.has(TcpFlags::ack)) {
    if (newer > 0 || (newer == 0 && entry.rcv_nxt <= segment.seq)) return true;
    core.stats.count(Drop::syn_in_synchronized);
    core.acknowledge_time_wait(entry);
    return false;
  }
  if (segment.has(TcpFlags::syn) || newer < 0 || !segment.has(TcpFlags::ack)) return ignore();
  if (segment.has(TcpFlags::fin) && segment.seq + segment.length() == entry.rcv_nxt) {
    core.time_wait.restart(entry, core.now + 2 * core.config.msl);
    core.acknowledge_time_wait(entry);
    return false;
  }
  if (segment.length() == 0) return ignore();
  core.stats.count(Drop::out_of_window);
  core.acknowledge_time_wait(entry);
  return false;
}

}  // namespace tunic::inline v0
