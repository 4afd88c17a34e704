// SPDX-License-Identifier: BSL-1.0
#pragma once

// TCP as the stack sees it: packets and errors in, time, plans out, and the user's calls that
// concern the layer as a whole (RFC 9293 3.10.1, 3.10.7.1). It knows no device.

#include <tunic/ip/ip_config.hpp>
#include <tunic/ip/ip_packet.hpp>
#include <tunic/tcp/ecn.hpp>
#include <tunic/tcp/expiry.hpp>
#include <tunic/tcp/handshake.hpp>
#include <tunic/tcp/icmp_input.hpp>
#include <tunic/tcp/input.hpp>
#include <tunic/tcp/stalled.hpp>
#include <tunic/tcp/tcp_core.hpp>
#include <tunic/tcp/time_wait_input.hpp>
#include <tunic/wire/checksum.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

namespace tunic::inline v0 {

/// What `Stack::connect` is asked for.
struct ConnectOptions {
  Endpoint remote;
  IpAddress local_address{};     ///< Unspecified: one of ours that suits (RFC 9293 MUST-44).
  std::uint16_t local_port = 0;  ///< 0: an ephemeral port (RFC 6056).
  ConnectionOptions connection{};
};

template <class Traits>
class TcpLayer : public TcpCore<Traits> {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  TcpLayer(const TcpConfig& settings, BlockPool& block_pool, Stats& statistics, SipKey secret,
           std::uint16_t device_mtu, const LocalAddresses& addresses)
      : Core{settings, block_pool, statistics, secret, device_mtu}, addresses_{addresses} {}

  ~TcpLayer() {
    this->connections.for_each([this](ConnectionSlot<Traits>& slot) {
      if (slot.handle != nullptr) slot.handle->lose();
      if (slot.cb == nullptr) return;
      slot.cb->snd.queue.clear(this->pool);
      slot.cb->snd.board.clear(this->pool);
      slot.cb->rcv.clear(this->pool);
    });
    this->output.clear();
    this->events.clear();
    this->orphans.clear();
    this->stalled.clear();
    for (auto& [key, listener] : this->listeners) {
      if (listener->handle != nullptr) listener->handle->lose();
      listener->accept_queue.clear();
    }
  }

  /// A packet that carries TCP. Its connection, when `follow` will do for the next packet.
  Control* input(const IpPacket& packet) noexcept {
    if (packet.to_group) return drop(Drop::tcp_to_broadcast);  // RFC 9293 MUST-57
    const auto parsed = packet.checksum_verified
                            ? parse_tcp_unverified(packet.payload)
                            : parse_tcp(packet.payload, packet.src, packet.dst);
    if (!parsed) return drop(parsed.drop());
    const TcpSegment& segment = *parsed;
    const FlowKey key{packet.dst, packet.src, segment.dst_port, segment.src_port};
    auto* const slot = this->connections.find(key);
    if (slot == nullptr) return input_elsewhere(key, segment, packet), nullptr;
    Control* const cb = this->connections.wake(*slot);
    if (cb == nullptr) return cannot_wake(segment, packet);
    count(*cb, segment, packet);
    cb->received_dscp = static_cast<std::uint8_t>(packet.traffic_class >> 2);
    return Input<Traits>{*this, *cb, segment, packet}.run() ? cb : nullptr;
  }

  /// The next packet of a connection that `input` named, with the same headers but for the numbers
  /// and PSH, and a right checksum. False, and nothing done, when it is not the next in order.
  bool follow(Control& cb, const TcpSegment& segment, const IpPacket& packet) noexcept {
    if (!Input<Traits>{*this, cb, segment, packet}.follow()) return false;
    count(cb, segment, packet);
    return true;
  }

  void icmp_error(const IpError& error) noexcept { IcmpInput<Traits>{*this}.run(error); }

  /// Serves the timers that are due.
  void expire() noexcept {
    this->time_wait.expire(this->now);
    this->wheel.expire(this->now, 4096, [this](TimerNode& node) {
      auto& slot = *static_cast<ConnectionTimer<Traits>&>(node).slot;
      if (Control* cb = this->connections.wake(slot)) return Expiry<Traits>{*this, *cb}.run();
      this->wheel.schedule(node, this->now + wake_retry);
    });
    if (this->stats.gauges.pending_syns == 0) return;
    for (auto& [key, listener] : this->listeners) {
      if (!listener->pending.empty()) Handshake<Traits>{*this}.forget_expired(*listener);
    }
  }
  [[nodiscard]] Instant next_deadline() const noexcept {
    return std::min(this->wheel.next_deadline(), this->time_wait.next_expiry());
  }

  /// OPEN, active (RFC 9293 3.10.1). `owns(local, remote)` says whether the replies will come to
  /// this layer. Null with the reason in `error`.
  template <class Owns>
  [[nodiscard]] Control* connect(const ConnectOptions& wanted, Errc& error, Owns owns) noexcept {
    FlowKey key{wanted.local_address, wanted.remote.address, wanted.local_port, wanted.remote.port};
    error = check_addresses(key);
    if (error != Errc::none) return nullptr;
    if (key.local_port == 0) {
      if (!pick_port(key, owns)) error = Errc::no_ports_left;
    } else if (!owns(Endpoint{key.local, key.local_port}, wanted.remote)) {
      error = Errc::other_shard;
    } else if (in_use(key)) {
      error = Errc::address_in_use;
    }
    if (error != Errc::none) return nullptr;
    const SeqNum isn = Handshake<Traits>{*this}.isn_above_old(key);
    Control* cb = this->create(key, wanted.connection);
    if (cb == nullptr) {
      error = this->connections.size() >= this->config.max_connections ? Errc::too_many_connections
                                                                       : Errc::no_memory;
      return nullptr;
    }
    ++this->stats.tcp.active_opens;
    cb->snd.start(isn, wanted.connection.send_buffer.initial);
    cb->rcv.limit = wanted.connection.receive_buffer.initial;
    if constexpr (Traits::ecn) cb->ecn.asking = this->config.ecn == Ecn::always;
    cb->state = TcpState::syn_sent;
    cb->syn_due = true;
    this->want_output(*cb);
    return cb;
  }

  /// OPEN, passive. Null with the reason in `error`.
  [[nodiscard]] Listening<Traits>* listen(const ListenOptions& options, Errc& error) {
    error = Errc::none;
    if (!options.address.is_unspecified() && !addresses_.is_ours(options.address)) {
      error = Errc::address_not_available;
      return nullptr;
    }
    const ListenKey key{options.address.is_unspecified() ? IpAddress{} : options.address,
                        options.port};
    auto [place, fresh] = this->listeners.try_emplace(key);
    if (!fresh) {
      error = Errc::address_in_use;
      return nullptr;
    }
    place->second = std::make_unique<Listening<Traits>>();
    place->second->options = options;
    return place->second.get();
  }

  /// Closes a listener: half-open connections go quietly, those that nobody accepted are reset.
  void stop_listening(Listening<Traits>& listener) noexcept {
    while (!listener.accept_queue.empty())
      this->abort(listener.accept_queue.front(), Errc::connection_aborted);
    if (listener.half_open != 0) drop_half_open(listener);
    this->stats.gauges.pending_syns -= listener.pending.size();
    const IpAddress& address = listener.options.address;
    this->listeners.erase(
        {address.is_unspecified() ? IpAddress{} : address, listener.options.port});
  }

  /// Closes all listeners, and all connections gracefully.
  void close_all() noexcept {
    while (!this->listeners.empty()) {
      Listening<Traits>& listening = *this->listeners.begin()->second;
      if (listening.handle != nullptr) listening.handle->lose();
      stop_listening(listening);
    }
    this->connections.for_each([](ConnectionSlot<Traits>& slot) {
      if (slot.handle != nullptr) slot.handle->close();
    });
  }

 private:
  // Of a keep-alive timer that found no memory to wake its connection.
  static constexpr Duration wake_retry = std::chrono::seconds{1};

  Control* drop(Drop reason) noexcept {
    this->stats.count(reason);
    return nullptr;
  }

  std::size_t count(const TcpSegment& segment, const IpPacket& packet) noexcept {
    const std::size_t segments = segments_in(segment.payload.size(), packet.segment_bytes);
    this->stats.tcp.segments_in += segments;
    return segments;
  }
  void count(Control& cb, const TcpSegment& segment, const IpPacket& packet) noexcept {
    cb.traffic.received(segment, count(segment, packet));
  }

  Control* cannot_wake(const TcpSegment& segment, const IpPacket& packet) noexcept {
    count(segment, packet);
    reclaim_stalled<Traits>(*this, nullptr);
    return drop(Drop::cannot_wake);
  }

  // A segment that belongs to no connection: for TIME-WAIT, a listener, or nobody.
  void input_elsewhere(const FlowKey& key, const TcpSegment& segment,
                       const IpPacket& packet) noexcept {
    const std::size_t segments = count(segment, packet);
    Listening<Traits>* listener = this->find_listener(packet.dst, segment.dst_port);
    if (TimeWaitEntry* entry = this->time_wait.find(key)) {
      if (!time_wait_input<Traits>(*this, *entry, segment)) return;
      if (listener == nullptr) {  // nobody to open it anew: like a SYN that is too old for that
        this->stats.count(Drop::syn_in_synchronized);
        return this->acknowledge_time_wait(*entry);
      }
    }
    if (listener == nullptr) {  // CLOSED, RFC 9293 3.10.7.1
      this->stats.count(Drop::no_such_connection);
      this->reset_in_reply(key, segment);
      return;
    }
    const SynInfo info{key, segment.options, packet.ttl, packet.traffic_class,
                       asks_for_ecn(segment.flags)};
    if (Control* cb = Handshake<Traits>{*this}.listen(*listener, info, segment)) {
      cb->traffic.received(segment, segments);
      Input<Traits>{*this, *cb, segment, packet}.run();
    }
  }

  void drop_half_open(Listening<Traits>& listener) noexcept {
    Control* found = nullptr;
    do {  // closing one may free it, so the walk starts anew; a listener closes rarely
      found = nullptr;
      this->connections.for_each([&](ConnectionSlot<Traits>& slot) {
        Control* cb = slot.cb;
        if (cb != nullptr && cb->listener == &listener && cb->state == TcpState::syn_received)
          found = cb;
      });
      if (found != nullptr) this->close(*found, Errc::none);
    } while (found != nullptr);
  }

  // RFC 9293 MUST-43, 44, 46. Fills in the local address.
  [[nodiscard]] Errc check_addresses(FlowKey& key) const noexcept {
    if (key.remote.is_unspecified() || addresses_.is_group(key.remote) || key.remote_port == 0) {
      return Errc::invalid_argument;
    }
    if (key.local.is_unspecified()) key.local = addresses_.source_for(key.remote);
    if (key.local.is_unspecified()) return Errc::address_not_available;
    if (!addresses_.is_ours(key.local) || key.local.is_v4() != key.remote.is_v4())
      return Errc::address_not_available;
    if (addresses_.is_configured(key.remote))
      return Errc::address_not_available;  // nothing loops back to ourselves
    return Errc::none;
  }

  [[nodiscard]] bool in_use(const FlowKey& key) noexcept {
    return this->connections.find(key) != nullptr || this->time_wait.find(key) != nullptr;
  }

  // RFC 6056 3.3.1: a random port, then others until one is free and ours. The randomness is a
  // keyed hash of a counter.
  template <class Owns>
  [[nodiscard]] bool pick_port(FlowKey& key, Owns owns) noexcept {
    const std::uint32_t range = this->config.last_port - this->config.first_port + 1U;
    FlowKey peer = key;
    const std::uint32_t start = this->secrets.port_index(peer, ++port_draws_, range);
    for (std::uint32_t i = 0; i < range; ++i) {
      key.local_port = static_cast<std::uint16_t>(this->config.first_port + (start + i) % range);
      if (!owns(Endpoint{key.local, key.local_port}, Endpoint{key.remote, key.remote_port}))
        continue;
      const bool listening = this->listeners.contains(ListenKey{{}, key.local_port}) ||
                             this->listeners.contains(ListenKey{key.local, key.local_port});
      if (!listening && !in_use(key)) return true;
    }
    return false;
  }

  const LocalAddresses& addresses_;
  std::uint64_t port_draws_ = 0;
};

}  // namespace tunic::inline v0
