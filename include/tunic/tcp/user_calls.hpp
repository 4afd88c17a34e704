// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a user's calls do to a connection: SEND, RECEIVE, CLOSE and the options (RFC 9293 3.10.2
// to 3.10.4).

#include <tunic/base/bytes.hpp>
#include <tunic/base/error.hpp>
#include <tunic/core/options.hpp>
#include <tunic/tcp/buffer_tuning.hpp>
#include <tunic/tcp/recovery.hpp>
#include <tunic/tcp/sending_limit.hpp>
#include <tunic/tcp/stalled.hpp>
#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace tunic::inline v0 {

/// Whether options are within their bounds. No time is longer than 100 years: instants stay within
/// 64 bits.
[[nodiscard]] inline bool valid(const ConnectionOptions& options) noexcept {
  constexpr std::uint32_t largest_buffer = 1U << 30;
  constexpr Duration longest = std::chrono::hours{24 * 365 * 100};
  const auto within = [longest](Duration shortest, Duration time) noexcept {
    return shortest <= time && time <= longest;
  };
  const auto sensible = [](const BufferSize& size) noexcept {
    return size.initial != 0 && size.initial <= size.largest && size.largest <= largest_buffer;
  };
  const Keepalive& keepalive = options.keepalive;
  return options.ttl != 0 && options.dscp < 64 && sensible(options.send_buffer) &&
         sensible(options.receive_buffer) && within(Duration{0}, options.user_timeout) &&
         within(Duration{0}, options.linger.value_or(Duration{0})) &&
         within(std::chrono::milliseconds{1}, keepalive.idle) &&
         within(std::chrono::milliseconds{1}, keepalive.interval);
}

template <class Traits>
class UserCalls {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  UserCalls(Core& core, Control& cb) noexcept : core_{core}, cb_{cb} {}

  [[nodiscard]] TcpState state() const noexcept {
    const bool waited =
        cb_.state == TcpState::time_wait && core_.time_wait.find(cb_.key) == nullptr;
    return waited ? TcpState::closed : cb_.state;
  }

  void consume(std::size_t count) noexcept {
    cb_.rcv.consume(count, core_.pool);
    if (can_receive(cb_.state) && cb_.rcv.update_due()) core_.want_output(cb_);
  }

  [[nodiscard]] IoResult peek(MutableBytes out, std::size_t offset) const noexcept {
    const std::size_t copied = cb_.rcv.queue.copy_out(offset, out);
    if (copied != 0 || out.empty()) return {copied, Errc::none};
    if (cb_.error != Errc::none) return {0, cb_.error};
    if (cb_.rcv.fin_taken) return {0, Errc::end_of_stream};
    return {0,
            cb_.state == TcpState::closed || cb_.closing ? Errc::not_connected : Errc::would_block};
  }

  IoResult send(Bytes bytes) noexcept {
    if (const Errc why = closed_for_sending(); why != Errc::none) return {0, why};
    tune_send_buffer(core_, cb_);
    const Bytes fitting = bytes.first(std::min(bytes.size(), cb_.snd.room()));
    const std::size_t taken =
        cb_.snd.queue.append(fitting.first(std::min(fitting.size(), memory_room())), core_.pool);
    return sent(taken, bytes.size(), taken < fitting.size());
  }

  IoResult send_owned(Bytes bytes, std::uint64_t token) noexcept {
    constexpr std::size_t most = std::size_t{1} << 30;
    if (const Errc why = closed_for_sending(); why != Errc::none) return {0, why};
    tune_send_buffer(core_, cb_);
    const bool fits = cb_.snd.room() != 0 && bytes.size() <= most - cb_.snd.queue.size();
    if (bytes.empty() || !fits) return sent(0, bytes.size(), false);
    Block* const block = core_.pool.wrap(bytes, token);
    if (block == nullptr) return sent(0, bytes.size(), true);
    cb_.snd.queue.append_block(block);
    return sent(bytes.size(), bytes.size(), false);
  }

  IoResult splice(UserCalls from, std::size_t most) noexcept {
    if (const Errc why = closed_for_sending(); why != Errc::none) return {0, why};
    tune_send_buffer(core_, cb_);
    ByteQueue& source = from.cb_.rcv.queue;
    const std::size_t wanted = std::min(most, source.size());
    std::size_t moved = 0;
    bool refused = false;
    while (moved < wanted && !refused) {
      const std::size_t fitting = std::min(wanted - moved, cb_.snd.room());
      if (fitting == 0) break;
      const Block& first = source.front_block();
      if (first.size() <= fitting && first.is_worth(first.size())) {
        moved += first.size();
        cb_.snd.queue.append_block(from.cb_.rcv.take_block());
        continue;
      }
      const Bytes piece = first.bytes().first(std::min(first.size(), fitting));
      const std::size_t taken =
          cb_.snd.queue.append(piece.first(std::min(piece.size(), memory_room())), core_.pool);
      refused = taken < piece.size();
      moved += taken;
      from.cb_.rcv.consume(taken, core_.pool);
    }
    from.consume(0);
    return sent(moved, wanted, refused);
  }

  IoResult send_urgent(Bytes bytes) noexcept {
    const IoResult result = send(bytes);
    if (result.bytes != 0) {
      cb_.snd.up = cb_.snd.data_end();
      cb_.snd.urgent = true;
    }
    return result;
  }

  [[nodiscard]] std::size_t send_room() const noexcept {
    return (opening() || can_send(cb_.state)) && !cb_.snd.fin_queued ? cb_.snd.room() : 0;
  }

  void shutdown_send() noexcept {
    if (cb_.snd.fin_queued) return;
    switch (cb_.state) {
      case TcpState::syn_sent:
      case TcpState::syn_received:
        cb_.snd.fin_queued = true;
        return;  // leaves when the handshake is done
      case TcpState::established:
        cb_.state = TcpState::fin_wait_1;
        break;
      case TcpState::close_wait:
        cb_.state = TcpState::last_ack;
        break;
      default:
        return;
    }
    cb_.snd.fin_queued = true;
    core_.want_output(cb_);
  }

  void close() noexcept {
    if (cb_.closing || cb_.state == TcpState::closed || cb_.state == TcpState::time_wait) return;
    if (cb_.state == TcpState::syn_sent)
      return core_.close(cb_, Errc::none);      // RFC 9293 3.10.4: nothing to tell
    const bool lossy = !cb_.rcv.queue.empty();  // RFC 2525 2.17
    if (lossy || (cb_.options.linger && cb_.options.linger->count() == 0)) {
      return core_.abort(cb_, Errc::connection_aborted);
    }
    cb_.closing = true;
    cb_.rcv.read_closed = true;
    shutdown_send();
    if (cb_.options.linger) cb_.deadlines.close = core_.now + *cb_.options.linger;
    if (cb_.state == TcpState::fin_wait_2) {
      cb_.deadlines.close =
          std::min(cb_.deadlines.close, core_.now + core_.config.fin_wait_2_timeout);
    }
    core_.arm(cb_);
  }

  /// The handle goes: what is queued is finished without it.
  void release() noexcept {
    close();
    cb_.slot->handle = nullptr;
    if (cb_.event_hook.is_linked())  // nobody is left to be told
      core_.events.erase(core_.events.iterator_to(cb_));
    if (cb_.state == TcpState::closed || cb_.state == TcpState::time_wait)
      return core_.destroy(cb_);
    if (core_.orphans.size() >= core_.config.max_orphans)
      return core_.abort(cb_, Errc::connection_aborted);
    cb_.orphan = true;
    core_.orphans.push_back(cb_);
    if (cb_.snd.persisting) cb_.snd.progress_at = core_.now;  // from now on probes are no progress
    update_user_deadline();
  }

  Errc set_options(const ConnectionOptions& options) noexcept {
    if (!valid(options)) return Errc::invalid_argument;
    const bool restart_keepalive = options.keepalive.enabled != cb_.options.keepalive.enabled ||
                                   options.keepalive.idle != cb_.options.keepalive.idle;
    cb_.options = options;
    cb_.snd.limit = fitted(cb_.snd.limit, options.send_buffer);
    cb_.rcv.limit = fitted(cb_.rcv.limit, options.receive_buffer);
    if (cb_.state == TcpState::closed || cb_.state == TcpState::time_wait) return Errc::none;
    if constexpr (Traits::keepalive) {
      if (restart_keepalive && synchronized(cb_.state)) {
        cb_.deadlines.keepalive =
            options.keepalive.enabled
                ? std::max(core_.now, cb_.last_received + options.keepalive.idle)
                : never;
      }
    }
    update_user_deadline();
    core_.want_output(
        cb_);  // what a smaller window, no delay or no cork changes is seen at the next flush
    return Errc::none;
  }

 private:
  [[nodiscard]] bool opening() const noexcept {
    return cb_.state == TcpState::syn_sent || cb_.state == TcpState::syn_received;
  }
  [[nodiscard]] Errc closed_for_sending() const noexcept {
    if (cb_.error != Errc::none) return cb_.error;
    const bool open = opening() || can_send(cb_.state);
    return cb_.snd.fin_queued || cb_.closing || !open ? Errc::broken_pipe : Errc::none;
  }

  // So many bytes of those that were wanted are in the send queue now; fewer than all for want of
  // memory (`refused`) or of room.
  IoResult sent(std::size_t taken, std::size_t wanted, bool refused) noexcept {
    if (taken != 0 && !opening()) core_.want_output(cb_);
    cb_.snd.short_write = cb_.snd.short_write || taken != wanted;
    // What keeps waiting data back, the last turn has seen.
    if (cb_.limits.current() != SendLimit::window) note_limit(core_, cb_);
    if (taken == wanted) return {taken, Errc::none};
    if (!refused) return {taken, Errc::would_block};
    if (cb_.snd.queue.empty()) {  // no acknowledgement will come to say that there is room
      cb_.deadlines.cork = std::min(cb_.deadlines.cork, core_.now + core_.config.cork_timeout);
      core_.arm(cb_);
    }
    reclaim_stalled<Traits>(core_, &cb_);
    return {taken, Errc::no_memory};
  }

  [[nodiscard]] std::size_t memory_room() const noexcept {
    constexpr std::size_t least = BlockPool::least_share;
    if (!core_.pool.nearly_used_up()) return cb_.snd.room();
    return least - std::min(least, cb_.snd.queue.size());
  }

  // A buffer keeps what it has grown to, as far as new bounds allow.
  [[nodiscard]] std::uint32_t fitted(std::uint32_t limit, const BufferSize& size) const noexcept {
    return std::clamp(limit, size.initial, core_.largest(size));
  }

  // The user's patience, or that with an orphan, has changed.
  void update_user_deadline() noexcept {
    if (cb_.snd.outstanding() || cb_.snd.persisting)
      cb_.deadlines.user = Recovery<Traits>{core_, cb_}.user_deadline();
    core_.arm(cb_);
  }

  Core& core_;
  Control& cb_;
};

}  // namespace tunic::inline v0
