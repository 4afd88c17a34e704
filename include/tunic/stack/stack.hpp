// SPDX-License-Identifier: BSL-1.0
#pragma once

// `Stack<Device, Traits>`: a TCP/IP host over one device, driven by the program's own loop. It has
// no thread, no clock and no descriptor of its own: `poll(now)` takes packets and time in,
// `flush(now)` sends, `next_deadline()` says when to come back at the latest.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/error.hpp>
#include <tunic/base/time.hpp>
#include <tunic/core/event.hpp>
#include <tunic/core/stats.hpp>
#include <tunic/ip/ip_layer.hpp>
#include <tunic/stack/config.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/stack/egress.hpp>
#include <tunic/stack/ingress.hpp>
#include <tunic/tcp/connection.hpp>
#include <tunic/tcp/listener_handle.hpp>
#include <tunic/tcp/tcp_layer.hpp>
#include <tunic/tcp/traits.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

namespace tunic::inline v0 {

/// What one `poll` did.
struct PollResult {
  std::size_t packets = 0;  ///< Received and processed.
  bool more = false;        ///< More may be waiting: poll again without sleeping.
};

/// Neither copyable nor movable: handles point at it. Used by one thread at a time.
///
/// A turn: `poll(now)`, then `accept` and `next_event` until both have nothing more, the program's
/// own work, `flush(now)`, then sleep for `wait_ms(now)` or until the device is readable. What a
/// turn leaves unflushed goes out at the start of the next `poll`. `now` never runs backwards: an
/// earlier one counts as the latest.
template <Device D, class Traits = DefaultTraits>
class Stack {
 public:
  static_assert(StackTraits<Traits>);
  using Connection = BasicTcpConnection<Traits>;
  using Listener = BasicTcpListener<Traits>;

  /// Takes the device over. `address_conflict`: one of `addresses` is the device's own host
  /// address, which the kernel would answer itself. `seed_missing`: neither the config nor the
  /// device has a secret. `invalid_argument`: a setting is out of its bounds. The stack is inert
  /// after an error.
  Stack(D device, StackConfig config, std::error_code& error)
      : config_{std::move(config)},
        pool_{config_.memory_budget, config_.memory},
        device_{std::move(device)},
        seed_{config_.seed ? config_.seed : entropy_of(device_)},
        ip_{config_.ip, LocalAddresses{config_.addresses, config_.any_address}, pool_, stats_,
            seed_.value_or(SipKey{})},
        tcp_{config_.tcp,  pool_, stats_, seed_.value_or(SipKey{}), usable_mtu(device_.caps()),
             ip_.addresses},
        ingress_{device_, ip_, tcp_, stats_},
        egress_{device_, tcp_, ip_.replies, stats_} {
    error = check();
    tcp_.largest_datagram =
        static_cast<std::uint16_t>(std::clamp(config_.ip.max_datagram_bytes, 576U, 65535U));
  }
#if defined(__cpp_exceptions)
  /// Throws std::system_error where the other constructor reports an error.
  Stack(D device, StackConfig config)
      : Stack{std::move(device), std::move(config), std::error_code{}} {}
#endif
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  /// Resets all connections, with one best-effort flush. Handles become empty.
  ~Stack() {
    tcp_.connections.for_each([this](const ConnectionSlot<Traits>& slot) {
      if (tcp_.reply_count() == TcpCore<Traits>::reply_capacity) egress_.run();
      tcp_.connections.look(slot, [this](const ControlBlock<Traits>& cb) {
        if (tcp_.awaited_by_peer(cb)) tcp_.reset_peer(cb);
      });
    });
    tcp_.output.clear();
    egress_.run();
  }

  // ---- opening

  /// Listens. `address_in_use`: another listener has this address and port;
  /// `address_not_available`: not one of ours; `invalid_argument`: options out of bounds.
  /// Allocates.
  [[nodiscard]] Listener listen(const ListenOptions& options, std::error_code& error) {
    Errc why =
        valid(options.connection) && options.backlog != 0 ? Errc::none : Errc::invalid_argument;
    Listening<Traits>* listening = why == Errc::none ? tcp_.listen(options, why) : nullptr;
    error = make_error_code(why);
    return listening == nullptr ? Listener{} : Listener{tcp_, *listening};
  }

  /// Starts to connect; a `connected` or an `error` event follows. Bytes may be sent at once, they
  /// wait for the handshake. `invalid_argument`: no unicast remote address, port 0, or options out
  /// of bounds; `address_not_available`: no address of ours fits; `other_shard`: on a device that
  /// shares out flows (`FlowOwner`), the port that was asked for leads elsewhere; `address_in_use`,
  /// `no_ports_left`, `too_many_connections`, `no_memory`.
  [[nodiscard]] Connection connect(const ConnectOptions& options, std::error_code& error) noexcept {
    Errc why = valid(options.connection) ? Errc::none : Errc::invalid_argument;
    const auto owned = [this](const Endpoint& local, const Endpoint& remote) noexcept {
      return owns(local, remote);
    };
    ControlBlock<Traits>* cb = why == Errc::none ? tcp_.connect(options, why, owned) : nullptr;
    error = make_error_code(why);
    return cb == nullptr ? Connection{} : Connection{tcp_, *cb->slot};
  }

#if defined(__cpp_exceptions)
  /// Throws std::system_error.
  [[nodiscard]] Listener listen(const ListenOptions& options) {
    std::error_code error;
    Listener listener = listen(options, error);
    if (error) throw std::system_error{error, "tunic: listen"};
    return listener;
  }
  /// Throws std::system_error.
  [[nodiscard]] Connection connect(const ConnectOptions& options) {
    std::error_code error;
    Connection connection = connect(options, error);
    if (error) throw std::system_error{error, "tunic: connect"};
    return connection;
  }
#endif

  // ---- the turn

  /// Takes in waiting packets, a bounded number of them, and serves timers. Sends nothing but what
  /// the last turn left.
  PollResult poll(Instant now) noexcept {
    advance(now);
    send();
    PollResult result;
    RxResult received;
    std::size_t bytes = 0;
    do {
      const std::size_t before = pool_.block_bytes();
      received = device_.receive(rx_, pool_);
      device_bytes_ += pool_.block_bytes() - before;  // modulo its width, when it gives some back
      bytes += ingress_.run(std::span{rx_}.first(received.count));
      result.packets += received.count;
    } while (received.status == DeviceStatus::ok && received.count != 0 &&
             result.packets < config_.packets_per_poll && bytes < config_.bytes_per_poll);
    receive_status_ = received.status;
    result.more = more_ = received.status == DeviceStatus::ok;
    tcp_.backlogged = more_;
    tcp_.expire();
    ip_.expire(tcp_.now);
    return result;
  }

  /// Sends all that is due, as far as the device takes it.
  void flush(Instant now) noexcept {
    advance(now);
    send();
  }

  /// The next connection that has news, or nothing. The event stands for all that happened since
  /// its last one.
  [[nodiscard]] std::optional<Event> next_event() noexcept {
    if (tcp_.events.empty()) return std::nullopt;
    ControlBlock<Traits>& cb = tcp_.events.front();
    tcp_.events.pop_front();
    tcp_.connections.touch(cb);
    return Event{tcp_.connections.id_of(*cb.slot), std::exchange(cb.news, EventFlags::none),
                 cb.slot->user_data};
  }

  /// The token of bytes given to `send_owned` that are the program's again: acknowledged, or their
  /// connection is over.
  [[nodiscard]] std::optional<std::uint64_t> next_released() noexcept {
    return pool_.next_released();
  }

  // ---- time

  /// When `poll` is due at the latest: the present while something waits to be sent or received,
  /// `never` when nothing is pending. It may be early, never late. While the device refuses packets
  /// it does not count what waits for it: wait for writability then.
  [[nodiscard]] Instant next_deadline() const noexcept {
    if (more_) return tcp_.now;
    Instant next = std::min(tcp_.next_deadline(), ip_.next_expiry());
    if constexpr (TimedDevice<D>) next = std::min(next, device_.next_timeout());
    if (!egress_.pending()) return next;
    if (egress_.status() == DeviceStatus::ok || egress_.status() == DeviceStatus::replan)
      return tcp_.now;
    return egress_.status() == DeviceStatus::down ? std::min(next, retry_at_) : next;
  }
  /// How long to sleep at most, zero if something is due.
  [[nodiscard]] Duration next_timeout(Instant now) const noexcept {
    const Instant deadline = next_deadline();
    if (deadline == never) return Duration::max();
    return std::max(deadline - now, Duration{0});
  }
  /// The same in milliseconds, rounded up, -1 for no limit: what epoll_wait and poll take. Paced
  /// connections keep their rate, in larger bursts than with epoll_pwait2 and `next_timeout`.
  [[nodiscard]] int wait_ms(Instant now) const noexcept {
    const Duration left = next_timeout(now);
    if (left == Duration::max()) return -1;
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    return static_cast<int>(std::min<std::int64_t>(ms, INT_MAX));
  }

  // ---- ending

  /// Closes everything gracefully, listeners included, and flushes. Go on with turns until
  /// `idle()`.
  void shutdown(Instant now) noexcept {
    tcp_.close_all();
    flush(now);
  }
  /// Whether every connection is over and nothing waits to be sent. TIME-WAIT entries may be left.
  [[nodiscard]] bool idle() const noexcept {
    return tcp_.connections.found() == 0 && !egress_.pending();
  }

  // ---- looking around

  /// Counters and gauges, the latter as of now.
  [[nodiscard]] const Stats& stats() noexcept {
    stats_.gauges.connections = tcp_.connections.size();
    stats_.gauges.awake = tcp_.connections.awake();
    stats_.gauges.orphans = tcp_.orphans.size();
    stats_.gauges.time_wait = tcp_.time_wait.size();
    stats_.gauges.reassemblies = ip_.reassemblies();
    stats_.gauges.buffer_bytes = pool_.block_bytes() - device_bytes_;
    return stats_;
  }
  [[nodiscard]] D& device() noexcept { return device_; }
  [[nodiscard]] const StackConfig& config() const noexcept { return config_; }
  /// `failed` when the device is gone for good, `down` while its link is.
  [[nodiscard]] DeviceStatus device_status() const noexcept {
    return receive_status_ == DeviceStatus::failed ? receive_status_ : egress_.status();
  }

  // ---- ping

  /// Sends an echo request; its result comes from `next_echo`. `no_memory`: too many are under way;
  /// `other_shard`: the reply would come to another stack (`FlowOwner`).
  std::optional<std::uint16_t> ping(const IpAddress& to, Bytes payload, Duration timeout,
                                    std::error_code& error) noexcept {
    const IpAddress from = ip_.addresses.source_for(to);
    std::optional<std::uint16_t> sequence;
    error = make_error_code(from.is_unspecified() ? Errc::address_not_available : Errc::none);
    if (!error && !owns({from}, {to})) error = make_error_code(Errc::other_shard);
    if (!error) {
      sequence = ip_.echo_client.send(from, to, payload, timeout, tcp_.now);
      if (!sequence) error = make_error_code(Errc::no_memory);
    }
    return sequence;
  }
  [[nodiscard]] std::optional<EchoResult> next_echo() noexcept {
    return ip_.echo_client.next_result();
  }

 private:
  static constexpr Duration down_retry = std::chrono::milliseconds{100};

#if defined(__cpp_exceptions)
  Stack(D device, StackConfig config, std::error_code&& error)
      : Stack{std::move(device), std::move(config), error} {
    if (error) throw std::system_error{error, "tunic: stack"};
  }
#endif

  static std::optional<SipKey> entropy_of(D& device) noexcept {
    if constexpr (SeededDevice<D>) return device.entropy();
    return std::nullopt;
  }

  [[nodiscard]] std::error_code check() noexcept {
    if (!seed_) return make_error_code(Errc::seed_missing);
    if constexpr (AddressedDevice<D>) {
      const auto host = device_.host_address();
      if (host && ip_.addresses.is_configured(host->address))
        return make_error_code(Errc::address_conflict);
    }
    const TcpConfig& tcp = config_.tcp;
    const bool sane = tcp.first_port != 0 && tcp.first_port <= tcp.last_port &&
                      tcp.initial_window != 0 && tcp.delayed_ack < std::chrono::milliseconds{500} &&
                      tcp.min_rto.count() > 0 && tcp.min_rto <= tcp.max_rto &&
                      tcp.min_path_mtu >= 68 && config_.packets_per_poll != 0 &&
                      config_.bytes_per_poll != 0;
    const bool ages = tcp.path_mtu_timeout >= std::chrono::minutes{5} &&  // RFC 1191 3
                      tcp.path_mtu_timeout <= std::chrono::hours{24 * 365 * 100};
    return make_error_code(sane && ages ? Errc::none : Errc::invalid_argument);
  }

  void send() noexcept {
    if (egress_.pending()) {
      egress_.run();
      if (egress_.status() == DeviceStatus::down) retry_at_ = tcp_.now + down_retry;
    }
    tcp_.connections.settle();
  }

  void advance(Instant now) noexcept {
    tcp_.now = std::max(tcp_.now, now);
    if constexpr (TimedDevice<D>) device_.poll(tcp_.now);
  }

  [[nodiscard]] bool owns(const Endpoint& local, const Endpoint& remote) const noexcept {
    if constexpr (FlowOwner<D>) return device_.owns(local, remote);
    return true;
  }

  const StackConfig config_;
  BlockPool pool_;
  D device_;  // may hold blocks of the pool
  Stats stats_;
  const std::optional<SipKey> seed_;
  IpLayer<Traits::reassembly> ip_;
  TcpLayer<Traits> tcp_;
  Ingress<D, Traits> ingress_;
  Egress<D, Traits> egress_;
  std::array<RxPacket, 64> rx_;
  std::size_t device_bytes_ = 0;  // in blocks that the device holds
  DeviceStatus receive_status_ = DeviceStatus::ok;
  Instant retry_at_{};
  bool more_ = false;
};

template <class D>
Stack(D, StackConfig) -> Stack<D>;
template <class D>
Stack(D, StackConfig, std::error_code&) -> Stack<D>;

}  // namespace tunic::inline v0
