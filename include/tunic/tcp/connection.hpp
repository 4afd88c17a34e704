// SPDX-License-Identifier: BSL-1.0
#pragma once

// The user's handle of a connection (RFC 9293 3.9.1). It moves, it is not bound to the type of the
// device, and it keeps the cause of death readable until it goes. Destroying the stack makes
// handles empty.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/base/error.hpp>
#include <tunic/core/event.hpp>
#include <tunic/core/options.hpp>
#include <tunic/tcp/info.hpp>
#include <tunic/tcp/tcp_core.hpp>
#include <tunic/tcp/traits.hpp>
#include <tunic/tcp/user_calls.hpp>
#include <tunic/wire/address.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

namespace tunic::inline v0 {

/// One end of a connection. Not thread-safe; all calls are for the thread that runs the stack.
/// Nothing is sent by these calls: it leaves with the next `Stack::flush`, or at the latest
/// `Stack::poll`.
template <class Traits>
class BasicTcpConnection {
 public:
  /// An empty handle: `not_connected` everywhere.
  BasicTcpConnection() noexcept = default;
  /// Made by `Stack::connect` and `BasicTcpListener::accept`.
  BasicTcpConnection(TcpCore<Traits>& core, ControlBlock<Traits>& cb) noexcept
      : core_{&core}, cb_{&cb} {
    cb.handle = this;
    if (cb.news != EventFlags::none) core.raise(cb, EventFlags::none);
  }
  BasicTcpConnection(BasicTcpConnection&& other) noexcept { take(other); }
  BasicTcpConnection& operator=(BasicTcpConnection&& other) noexcept {
    if (this != &other) {
      release();
      take(other);
    }
    return *this;
  }
  BasicTcpConnection(const BasicTcpConnection&) = delete;
  BasicTcpConnection& operator=(const BasicTcpConnection&) = delete;
  /// Closes gracefully, or resets if unread data is lost by it (RFC 2525 2.17); the stack finishes
  /// what is queued.
  ~BasicTcpConnection() { release(); }

  /// Whether there is a connection behind the handle, dead ones included.
  [[nodiscard]] explicit operator bool() const noexcept { return cb_ != nullptr; }

  [[nodiscard]] ConnId id() const noexcept {
    return cb_ == nullptr ? ConnId{} : core_->id_of(*cb_);
  }
  /// `closed` for an empty handle. TIME-WAIT lasts twice the MSL.
  [[nodiscard]] TcpState state() const noexcept {
    return cb_ == nullptr ? TcpState::closed : user().state();
  }
  [[nodiscard]] Endpoint local() const noexcept {
    return cb_ == nullptr ? Endpoint{} : Endpoint{cb_->key.local, cb_->key.local_port};
  }
  [[nodiscard]] Endpoint remote() const noexcept {
    return cb_ == nullptr ? Endpoint{} : Endpoint{cb_->key.remote, cb_->key.remote_port};
  }

  /// Why the connection died: `connection_reset`, `connection_refused`, `host_unreachable`,
  /// `network_unreachable`, `timed_out`, `connection_aborted`; `none` while it lives and after an
  /// orderly end.
  [[nodiscard]] Errc error() const noexcept {
    return cb_ == nullptr ? Errc::not_connected : cb_->error;
  }
  /// The last condition that may pass: unreachable, or `timed_out` after three retransmissions
  /// (R1).
  [[nodiscard]] Errc soft_error() const noexcept {
    return cb_ == nullptr ? Errc::none : cb_->soft_error;
  }

  // ---- reading

  /// The first contiguous unread bytes; empty if there are none. The view lives until `consume`,
  /// `receive`, `close`, `abort`, the handle's end, or the next `Stack::poll`; `send` and `flush`
  /// keep it.
  [[nodiscard]] Bytes readable() const noexcept {
    return cb_ == nullptr ? Bytes{} : cb_->rcv.queue.front();
  }
  /// All unread bytes as up to `out.size()` views, in order; returns how many. They live as long as
  /// `readable()`.
  std::size_t views(std::span<Bytes> out) const noexcept {
    return cb_ == nullptr ? 0 : cb_->rcv.queue.views(0, cb_->rcv.queue.size(), out);
  }
  [[nodiscard]] std::size_t readable_bytes() const noexcept {
    return cb_ == nullptr ? 0 : cb_->rcv.queue.size();
  }
  /// Whether the peer has sent its FIN and everything before it has been consumed.
  [[nodiscard]] bool at_end() const noexcept {
    return cb_ != nullptr && cb_->rcv.fin_taken && cb_->rcv.queue.empty();
  }
  /// Gives the first `count` unread bytes back, at most all of them. Opens the window.
  void consume(std::size_t count) noexcept {
    if (cb_ != nullptr) user().consume(count);
  }
  /// Copies unread bytes out and consumes them. With none: `would_block`, `end_of_stream`, the
  /// error that the connection died of, or `not_connected`.
  IoResult receive(MutableBytes out) noexcept {
    const IoResult result = peek(out);
    consume(result.bytes);
    return result;
  }
  /// `receive` without consuming, from `offset` bytes on.
  IoResult peek(MutableBytes out, std::size_t offset = 0) const noexcept {
    return cb_ == nullptr ? IoResult{0, Errc::not_connected} : user().peek(out, offset);
  }
  /// How many unread bytes lie before the urgent mark (RFC 6093: the mark is all there is; bytes
  /// stay in line).
  [[nodiscard]] std::uint32_t urgent_remaining() const noexcept {
    return cb_ == nullptr ? 0 : cb_->rcv.urgent_remaining();
  }
  /// Whether the last data segment that arrived carried PSH (RFC 9293 MAY-17).
  [[nodiscard]] bool pushed() const noexcept { return cb_ != nullptr && cb_->rcv.pushed; }
  /// DSCP of the last packet that arrived (RFC 9293 MAY-9).
  [[nodiscard]] std::uint8_t received_dscp() const noexcept {
    return cb_ == nullptr ? std::uint8_t{0} : cb_->received_dscp;
  }

  // ---- writing

  /// Copies bytes into the send queue. Fewer than all with `would_block`: the queue is full (a
  /// `writable` event follows when half of it is free), or `no_memory` (it follows as well, when it
  /// is worth another try). Else `broken_pipe` after `close` or `shutdown_send`, the error that the
  /// connection died of, or `not_connected`. In SYN-SENT bytes wait for the handshake. May allocate
  /// from the budget.
  IoResult send(Bytes bytes) noexcept {
    return cb_ == nullptr ? IoResult{0, Errc::not_connected} : user().send(bytes);
  }
  /// `send` that marks the end of these bytes urgent. New programs should not need it (RFC 9293
  /// SHLD-13).
  IoResult send_urgent(Bytes bytes) noexcept {
    return cb_ == nullptr ? IoResult{0, Errc::not_connected} : user().send_urgent(bytes);
  }
  /// Queues bytes that the program keeps, without a copy: they stay as they are until
  /// `Stack::next_released` gives `token` back, which happens in any case, and when the stack is
  /// destroyed without a word. All or nothing: as `send`, but as long as the send buffer has any
  /// room it takes up to 1 GiB. Takes 512 bytes from the budget. Empty bytes have no token.
  IoResult send_owned(Bytes bytes, std::uint64_t token) noexcept {
    return cb_ == nullptr ? IoResult{0, Errc::not_connected} : user().send_owned(bytes, token);
  }
  /// Moves unread bytes of `from`, a connection of the same stack or this one, to the send queue,
  /// up to `most`: large blocks as they are, without a copy. Results as of `send`; fewer than
  /// `most` with `none` when there are no more. Opens the window of `from`.
  IoResult splice(BasicTcpConnection& from,
                  std::size_t most = std::numeric_limits<std::size_t>::max()) noexcept {
    if (cb_ == nullptr || from.cb_ == nullptr) return {0, Errc::not_connected};
    TUNIC_ASSERT(core_ == from.core_);
    return user().splice(from.user(), most);
  }
  /// How much `send` would take now, as far as the send buffer is concerned.
  [[nodiscard]] std::size_t send_room() const noexcept {
    return cb_ == nullptr ? 0 : user().send_room();
  }
  /// Bytes written and never sent.
  [[nodiscard]] std::size_t unsent_bytes() const noexcept {
    return cb_ == nullptr ? 0 : cb_->snd.unsent();
  }
  /// Bytes written and not acknowledged, unsent ones included.
  [[nodiscard]] std::size_t unacknowledged_bytes() const noexcept {
    return cb_ == nullptr ? 0 : cb_->snd.queue.size();
  }

  // ---- ending

  /// Sends FIN after what is queued; reading goes on (half-close).
  void shutdown_send() noexcept {
    if (cb_ != nullptr) user().shutdown_send();
  }
  /// Closes both directions: FIN after what is queued; a reset if there is unread data, or if data
  /// comes later.
  void close() noexcept {
    if (cb_ != nullptr) user().close();
  }
  /// Resets the peer and drops everything queued. `error()` is `connection_aborted` afterwards.
  void abort() noexcept {
    if (cb_ != nullptr) core_->abort(*cb_, Errc::connection_aborted);
  }

  // ---- settings

  [[nodiscard]] ConnectionOptions options() const noexcept {
    return cb_ == nullptr ? ConnectionOptions{} : cb_->options;
  }
  /// Replaces all options; they hold from now on. `invalid_argument` (a TTL of 0, a DSCP above 63)
  /// changes nothing.
  Errc set_options(const ConnectionOptions& options) noexcept {
    return cb_ == nullptr ? Errc::not_connected : user().set_options(options);
  }
  void set_no_delay(bool on) noexcept {
    ConnectionOptions changed = options();
    changed.no_delay = on;
    set_options(changed);
  }
  void set_cork(bool on) noexcept {
    ConnectionOptions changed = options();
    changed.cork = on;
    set_options(changed);
  }
  /// Comes back in this connection's events.
  void set_user_data(void* data) noexcept {
    if (cb_ != nullptr) cb_->user_data = data;
  }
  [[nodiscard]] void* user_data() const noexcept {
    return cb_ == nullptr ? nullptr : cb_->user_data;
  }
  [[nodiscard]] TcpInfo info() const noexcept {
    return cb_ == nullptr ? TcpInfo{} : make_info(*core_, *cb_);
  }

 private:
  template <class>
  friend class TcpLayer;

  [[nodiscard]] UserCalls<Traits> user() const noexcept { return {*core_, *cb_}; }

  void take(BasicTcpConnection& other) noexcept {
    core_ = std::exchange(other.core_, nullptr);
    cb_ = std::exchange(other.cb_, nullptr);
    if (cb_ != nullptr) cb_->handle = this;
  }
  void release() noexcept {
    if (cb_ != nullptr) user().release();
    lose();
  }
  void lose() noexcept {
    core_ = nullptr;
    cb_ = nullptr;
  }

  TcpCore<Traits>* core_ = nullptr;
  ControlBlock<Traits>* cb_ = nullptr;
};

using TcpConnection = BasicTcpConnection<DefaultTraits>;

}  // namespace tunic::inline v0
