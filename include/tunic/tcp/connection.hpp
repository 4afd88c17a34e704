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
  BasicTcpConnection(TcpCore<Traits>& core, ConnectionSlot<Traits>& slot) noexcept
      : core_{&core}, slot_{&slot} {
    slot.handle = this;
    if (slot.cb->news != EventFlags::none) core.raise(*slot.cb, EventFlags::none);
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
  [[nodiscard]] explicit operator bool() const noexcept { return slot_ != nullptr; }

  [[nodiscard]] ConnId id() const noexcept {
    return slot_ == nullptr ? ConnId{} : core_->connections.id_of(*slot_);
  }
  /// `closed` for an empty handle. TIME-WAIT lasts twice the MSL.
  [[nodiscard]] TcpState state() const noexcept {
    if (slot_ == nullptr) return TcpState::closed;
    if (slot_->cb != nullptr) return UserCalls<Traits>{*core_, *slot_->cb}.state();
    return slot_->packed_bytes != 0 ? TcpState::established : TcpState::closed;
  }
  [[nodiscard]] Endpoint local() const noexcept {
    return slot_ == nullptr ? Endpoint{} : Endpoint{slot_->key.local, slot_->key.local_port};
  }
  [[nodiscard]] Endpoint remote() const noexcept {
    return slot_ == nullptr ? Endpoint{} : Endpoint{slot_->key.remote, slot_->key.remote_port};
  }

  /// Why the connection died: `connection_reset`, `connection_refused`, `host_unreachable`,
  /// `network_unreachable`, `timed_out`, `connection_aborted`; `none` while it lives and after an
  /// orderly end.
  [[nodiscard]] Errc error() const noexcept {
    if (slot_ == nullptr) return Errc::not_connected;
    return slot_->cb != nullptr ? slot_->cb->error : slot_->error;
  }
  /// The last condition that may pass: unreachable, or `timed_out` after three retransmissions
  /// (R1).
  [[nodiscard]] Errc soft_error() const noexcept {
    return look([](Control& cb) { return cb.soft_error; });
  }

  // ---- reading

  /// The first contiguous unread bytes; empty if there are none. The view lives until `consume`,
  /// `receive`, `close`, `abort`, the handle's end, or the next `Stack::poll`; `send` and `flush`
  /// keep it.
  [[nodiscard]] Bytes readable() const noexcept {
    return awake() ? slot_->cb->rcv.queue.front() : Bytes{};
  }
  /// All unread bytes as up to `out.size()` views, in order; returns how many. They live as long as
  /// `readable()`.
  std::size_t views(std::span<Bytes> out) const noexcept {
    return awake() ? slot_->cb->rcv.queue.views(0, readable_bytes(), out) : 0;
  }
  [[nodiscard]] std::size_t readable_bytes() const noexcept {
    return awake() ? slot_->cb->rcv.queue.size() : 0;
  }
  /// Whether the peer has sent its FIN and everything before it has been consumed.
  [[nodiscard]] bool at_end() const noexcept {
    return awake() && slot_->cb->rcv.fin_taken && slot_->cb->rcv.queue.empty();
  }
  /// Gives the first `count` unread bytes back, at most all of them. Opens the window.
  void consume(std::size_t count) noexcept {
    if (awake()) UserCalls<Traits>{*core_, *wake()}.consume(count);
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
    if (awake()) return UserCalls<Traits>{*core_, *slot_->cb}.peek(out, offset);
    if (state() == TcpState::closed) return {0, refusal()};
    return {0, out.empty() ? Errc::none : Errc::would_block};
  }
  /// How many unread bytes lie before the urgent mark (RFC 6093: the mark is all there is; bytes
  /// stay in line).
  [[nodiscard]] std::uint32_t urgent_remaining() const noexcept {
    return look([](Control& cb) { return cb.rcv.urgent_remaining(); });
  }
  /// Whether the last data segment that arrived carried PSH (RFC 9293 MAY-17).
  [[nodiscard]] bool pushed() const noexcept {
    return look([](Control& cb) { return cb.rcv.pushed; });
  }
  /// DSCP of the last packet that arrived (RFC 9293 MAY-9).
  [[nodiscard]] std::uint8_t received_dscp() const noexcept {
    return look([](Control& cb) { return cb.received_dscp; });
  }

  // ---- writing

  /// Copies bytes into the send queue. Fewer than all with `would_block`: the queue is full (a
  /// `writable` event follows when half of it is free), or `no_memory` (it follows as well, when it
  /// is worth another try; not when a connection at rest could not be woken). Else `broken_pipe`
  /// after `close` or `shutdown_send`, the error that the connection died of, or `not_connected`.
  /// In SYN-SENT bytes wait for the handshake. May allocate from the budget.
  IoResult send(Bytes bytes) noexcept {
    Control* const cb = wake();
    return cb == nullptr ? IoResult{0, refusal()} : UserCalls<Traits>{*core_, *cb}.send(bytes);
  }
  /// `send` that marks the end of these bytes urgent. New programs should not need it (RFC 9293
  /// SHLD-13).
  IoResult send_urgent(Bytes bytes) noexcept {
    Control* const cb = wake();
    if (cb == nullptr) return {0, refusal()};
    return UserCalls<Traits>{*core_, *cb}.send_urgent(bytes);
  }
  /// Queues bytes that the program keeps, without a copy: they stay as they are until
  /// `Stack::next_released` gives `token` back, which happens in any case, and when the stack is
  /// destroyed without a word. All or nothing: as `send`, but as long as the send buffer has any
  /// room it takes up to 1 GiB. Takes 512 bytes from the budget. Empty bytes have no token.
  IoResult send_owned(Bytes bytes, std::uint64_t token) noexcept {
    Control* const cb = wake();
    if (cb == nullptr) return {0, refusal()};
    return UserCalls<Traits>{*core_, *cb}.send_owned(bytes, token);
  }
  /// Moves unread bytes of `from`, a connection of the same stack or this one, to the send queue,
  /// up to `most`: large blocks as they are, without a copy. Results as of `send`; fewer than
  /// `most` with `none` when there are no more. Opens the window of `from`.
  IoResult splice(BasicTcpConnection& from,
                  std::size_t most = std::numeric_limits<std::size_t>::max()) noexcept {
    if (slot_ == nullptr || from.slot_ == nullptr) return {0, Errc::not_connected};
    TUNIC_ASSERT(core_ == from.core_);
    Control* const source = from.wake();
    Control* const cb = wake();
    if (source == nullptr) return {0, from.refusal()};
    if (cb == nullptr) return {0, refusal()};
    return UserCalls<Traits>{*core_, *cb}.splice({*core_, *source}, most);
  }
  /// How much `send` would take now, as far as the send buffer is concerned.
  [[nodiscard]] std::size_t send_room() const noexcept {
    return look([this](Control& cb) { return UserCalls<Traits>{*core_, cb}.send_room(); });
  }
  /// Bytes written and never sent.
  [[nodiscard]] std::size_t unsent_bytes() const noexcept {
    return awake() ? slot_->cb->snd.unsent() : 0;
  }
  /// Bytes written and not acknowledged, unsent ones included.
  [[nodiscard]] std::size_t unacknowledged_bytes() const noexcept {
    return awake() ? slot_->cb->snd.queue.size() : 0;
  }

  // ---- ending

  // When there is no memory to wake a connection at rest these reset it: `error()` is
  // `connection_aborted` afterwards, and no event tells.

  /// Sends FIN after what is queued; reading goes on (half-close).
  void shutdown_send() noexcept {
    if (Control* const cb = wake_to_end()) UserCalls<Traits>{*core_, *cb}.shutdown_send();
  }
  /// Closes both directions: FIN after what is queued; a reset if there is unread data, or if data
  /// comes later.
  void close() noexcept {
    if (Control* const cb = wake_to_end()) UserCalls<Traits>{*core_, *cb}.close();
  }
  /// Resets the peer and drops everything queued. `error()` is `connection_aborted` afterwards.
  void abort() noexcept {
    if (Control* const cb = wake_to_end()) core_->abort(*cb, Errc::connection_aborted);
  }

  // ---- settings

  [[nodiscard]] ConnectionOptions options() const noexcept {
    return look([](Control& cb) { return cb.options; });
  }
  /// Replaces all options; they hold from now on. `invalid_argument` (a TTL of 0, a DSCP above 63)
  /// changes nothing.
  Errc set_options(const ConnectionOptions& options) noexcept {
    Control* const cb = wake();
    return cb == nullptr ? refusal() : UserCalls<Traits>{*core_, *cb}.set_options(options);
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
    if (slot_ != nullptr) slot_->user_data = data;
  }
  [[nodiscard]] void* user_data() const noexcept {
    return slot_ == nullptr ? nullptr : slot_->user_data;
  }
  [[nodiscard]] TcpInfo info() const noexcept {
    return look([this](Control& cb) { return make_info(*core_, cb); });
  }

 private:
  template <class>
  friend class TcpLayer;

  using Control = ControlBlock<Traits>;

  // An empty handle, one of a connection at rest, and one of a connection that was dropped because
  // it could not be woken have no control block.
  [[nodiscard]] bool awake() const noexcept { return slot_ != nullptr && slot_->cb != nullptr; }
  [[nodiscard]] Control* wake() noexcept {
    return slot_ == nullptr ? nullptr : core_->connections.wake(*slot_);
  }
  // Why there was nothing to wake.
  [[nodiscard]] Errc refusal() const noexcept {
    if (slot_ == nullptr) return Errc::not_connected;
    return state() == TcpState::closed ? slot_->error : Errc::no_memory;
  }
  // Without memory for anything else it ends at once.
  [[nodiscard]] Control* wake_to_end() noexcept {
    Control* const cb = wake();
    if (cb == nullptr && slot_ != nullptr) core_->abort_at_rest(*slot_, Errc::connection_aborted);
    return cb;
  }
  // `f` of the control block, or of what it would be; what is empty for an empty handle.
  template <class F>
  auto look(F&& f) const noexcept {
    using Result = decltype(f(std::declval<Control&>()));
    return slot_ == nullptr ? Result{} : core_->connections.look(*slot_, std::forward<F>(f));
  }

  void take(BasicTcpConnection& other) noexcept {
    core_ = std::exchange(other.core_, nullptr);
    slot_ = std::exchange(other.slot_, nullptr);
    if (slot_ != nullptr) slot_->handle = this;
  }
  void release() noexcept {
    if (Control* const cb = wake_to_end()) {
      UserCalls<Traits>{*core_, *cb}.release();
    } else if (slot_ != nullptr) {
      core_->connections.erase(*slot_);
    }
    lose();
  }
  void lose() noexcept {
    core_ = nullptr;
    slot_ = nullptr;
  }

  TcpCore<Traits>* core_ = nullptr;
  ConnectionSlot<Traits>* slot_ = nullptr;
};

using TcpConnection = BasicTcpConnection<DefaultTraits>;

}  // namespace tunic::inline v0
