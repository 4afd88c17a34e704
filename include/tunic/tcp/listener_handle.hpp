// SPDX-License-Identifier: BSL-1.0
#pragma once

// The user's handle of a listener: established connections are pulled from it, and with
// `decide_syns` connection requests too, before they are answered.

#include <tunic/base/error.hpp>
#include <tunic/tcp/connection.hpp>
#include <tunic/tcp/handshake.hpp>
#include <tunic/tcp/tcp_layer.hpp>

#include <cstdint>
#include <optional>
#include <utility>

namespace tunic::inline v0 {

/// Move-only; empty by default, after `close`, and when the stack goes.
template <class Traits>
class BasicTcpListener {
 public:
  BasicTcpListener() noexcept = default;
  /// Made by `Stack::listen`.
  BasicTcpListener(TcpLayer<Traits>& tcp, Listening<Traits>& listening) noexcept
      : tcp_{&tcp}, listening_{&listening} {
    listening.handle = this;
  }
  BasicTcpListener(BasicTcpListener&& other) noexcept { take(other); }
  BasicTcpListener& operator=(BasicTcpListener&& other) noexcept {
    if (this != &other) {
      close();
      take(other);
    }
    return *this;
  }
  BasicTcpListener(const BasicTcpListener&) = delete;
  BasicTcpListener& operator=(const BasicTcpListener&) = delete;
  ~BasicTcpListener() { close(); }

  [[nodiscard]] explicit operator bool() const noexcept { return listening_ != nullptr; }

  /// The oldest established connection that nobody has taken, or nothing. To be called until then
  /// after each `poll`. Its events are raised as they stand now.
  [[nodiscard]] std::optional<BasicTcpConnection<Traits>> accept() noexcept {
    if (listening_ == nullptr || listening_->accept_queue.empty()) return std::nullopt;
    ControlBlock<Traits>& cb = listening_->accept_queue.front();
    listening_->accept_queue.pop_front();
    cb.listener = nullptr;
    tcp_->connections.touch(cb);
    return BasicTcpConnection<Traits>{*tcp_, *cb.slot};
  }

  /// With `ListenOptions::decide_syns`: the oldest request that was not pulled yet. It is to be
  /// answered with `decide` before `pending_timeout`; the peer repeats its SYN meanwhile.
  [[nodiscard]] std::optional<PendingSyn> next_syn() noexcept {
    if (listening_ == nullptr) return std::nullopt;
    return Handshake<Traits>{*tcp_}.next_syn(*listening_);
  }
  /// Answers a pulled request. False when it is no longer waiting. `defer` leaves it waiting.
  bool decide(std::uint64_t id, SynVerdict verdict) noexcept {
    return listening_ != nullptr && Handshake<Traits>{*tcp_}.decide(*listening_, id, verdict);
  }

  /// What it was made with; the port and address may be "any".
  [[nodiscard]] Endpoint local() const noexcept {
    return listening_ == nullptr ? Endpoint{}
                                 : Endpoint{listening_->options.address, listening_->options.port};
  }
  [[nodiscard]] std::size_t waiting() const noexcept {
    return listening_ == nullptr ? 0 : listening_->accept_queue.size();
  }
  /// Holds from the next handshake on.
  void set_backlog(std::uint32_t backlog) noexcept {
    if (listening_ != nullptr) listening_->options.backlog = backlog;
  }

  /// Stops listening. Connections that nobody accepted are reset, half-open ones forgotten.
  void close() noexcept {
    if (listening_ != nullptr) tcp_->stop_listening(*listening_);
    lose();
  }

 private:
  template <class>
  friend class TcpLayer;

  void take(BasicTcpListener& other) noexcept {
    tcp_ = std::exchange(other.tcp_, nullptr);
    listening_ = std::exchange(other.listening_, nullptr);
    if (listening_ != nullptr) listening_->handle = this;
  }
  void lose() noexcept {
    tcp_ = nullptr;
    listening_ = nullptr;
  }

  TcpLayer<Traits>* tcp_ = nullptr;
  Listening<Traits>* listening_ = nullptr;
};

using TcpListener = BasicTcpListener<DefaultTraits>;

}  // namespace tunic::inline v0
