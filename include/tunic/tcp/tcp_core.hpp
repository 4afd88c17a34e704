// SPDX-License-Identifier: BSL-1.0
#pragma once

// What all parts of TCP work on: the connections and how they are found, the lists of those that
// have something to send or to tell, the listeners, TIME-WAIT, the stateless replies, and the small
// steps that change them. The protocol is in handshake.hpp, input.hpp, expiry.hpp and output.hpp.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/error.hpp>
#include <tunic/base/time.hpp>
#include <tunic/base/timing_wheel.hpp>
#include <tunic/core/event.hpp>
#include <tunic/core/options.hpp>
#include <tunic/core/stats.hpp>
#include <tunic/ip/path_mtu.hpp>
#include <tunic/tcp/connection_table.hpp>
#include <tunic/tcp/control_block.hpp>
#include <tunic/tcp/isn.hpp>
#include <tunic/tcp/listener.hpp>
#include <tunic/tcp/syn_cookie.hpp>
#include <tunic/tcp/time_wait.hpp>
#include <tunic/tcp/traits.hpp>
#include <tunic/wire/tcp.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>

namespace tunic::inline v0 {

/// A segment that belongs to no control block: a reset, a SYN cookie, an ACK out of TIME-WAIT.
struct StatelessReply {
  FlowKey flow;
  TcpSegment segment;
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
};

template <class Traits>
class TcpCore {
 public:
  using Control = ControlBlock<Traits>;
  using Slot = ConnectionSlot<Traits>;

  static constexpr std::size_t reply_capacity = 256;

  TcpCore(const TcpConfig& settings, BlockPool& block_pool, Stats& statistics, SipKey secret,
          std::uint16_t device_mtu)
      : config{settings},
        pool{block_pool},
        stats{statistics},
        secrets{secret},
        cookies{secrets.cookie_key()},
        mtu{device_mtu},
        paths{settings.max_path_mtus, secrets.path_key()},
        time_wait{block_pool, secrets.table_key(), settings.max_time_wait},
        wheel{Instant{}},
        connections{block_pool, wheel, secrets.table_key(), settings},
        replies_{std::make_unique<StatelessReply[]>(reply_capacity)} {}
  TcpCore(const TcpCore&) = delete;
  TcpCore& operator=(const TcpCore&) = delete;

  // ---- finding

  /// The most specific listener for a destination.
  [[nodiscard]] Listening<Traits>* find_listener(const IpAddress& address,
                                                 std::uint16_t port) noexcept {
    for (const ListenKey& key :
         {ListenKey{address, port}, ListenKey{{}, port}, ListenKey{address, 0}, ListenKey{{}, 0}}) {
      if (const auto found = listeners.find(key); found != listeners.end())
        return found->second.get();
    }
    return nullptr;
  }

  // ---- life of a control block

  /// A new control block in the flow table, or null when there is no room for it and for some data
  /// (RFC 4987: a dropped SYN).
  [[nodiscard]] Control* create(const FlowKey& key, const ConnectionOptions& options) noexcept {
    Control* cb = connections.create(key);
    if (cb == nullptr) return nullptr;
    if (pool.budget_bytes() - pool.used_bytes() < BlockPool::class_bytes.front()) {
      connections.hide(*cb->slot);
      connections.erase(*cb->slot);
      return nullptr;
    }
    cb->in_table = true;
    cb->options = options;
    cb->rcv.scale = window_scale(options);  // what all of our SYNs offer
    cb->ts_offset = secrets.timestamp_offset(key);
    return cb;
  }

  /// Ends a connection: nothing more is sent for it or found by its key. It stays readable for its
  /// handle.
  void close(Control& cb, Errc error) noexcept {
    const TcpState before = std::exchange(cb.state, TcpState::closed);
    if (before == TcpState::closed) return;
    leave(cb, before);
    if (error != Errc::none) {
      cb.error = error;
      cb.rcv.clear(pool);
      raise(cb, EventFlags::error);
    }
    if (cb.slot->handle == nullptr) destroy(cb);
  }

  /// Into TIME-WAIT: the entry answers from now on; the control block stays only for its handle.
  void enter_time_wait(Control& cb) noexcept {
    TimeWaitEntry entry;
    entry.key = cb.key;
    entry.snd_nxt = cb.snd.nxt;
    entry.rcv_nxt = cb.rcv.nxt;
    entry.ts_recent = cb.rcv.ts_recent;
    entry.timestamps = cb.timestamps;
    SeqNum edge;
    entry.window = cb.rcv.window_field(edge);  // not less than what was offered
    if (cb.rcv.ack_now || cb.rcv.acks_owed != 0) acknowledge_time_wait(entry);
    leave(cb, std::exchange(cb.state, TcpState::time_wait));
    time_wait.add(entry, now + 2 * config.msl);
    if (cb.slot->handle == nullptr) destroy(cb);
  }

  /// The ACK that a TIME-WAIT entry sends.
  void acknowledge_time_wait(const TimeWaitEntry& entry) noexcept {
    TcpSegment ack;
    ack.seq = entry.snd_nxt;
    ack.ack = entry.rcv_nxt;
    ack.flags = TcpFlags::ack;
    ack.window = entry.window;
    if (entry.timestamps) {
      ack.options.has_timestamps = true;
      ack.options.timestamps = {timestamp_ticks(now) + secrets.timestamp_offset(entry.key),
                                entry.ts_recent};
    }
    reply({entry.key, ack});
  }

  /// Sends a reset and ends the connection.
  void abort(Control& cb, Errc error) noexcept {
    if (awaited_by_peer(cb)) reset_peer(cb);
    close(cb, error);
  }

  /// Whether the peer has to be told when a connection is dropped (RFC 9293 3.10.5). CLOSING and
  /// LAST-ACK are entered here when the user closes, in the RFC when the FIN leaves.
  [[nodiscard]] static bool awaited_by_peer(const Control& cb) noexcept {
    switch (cb.state) {
      case TcpState::syn_received:
      case TcpState::established:
      case TcpState::fin_wait_1:
      case TcpState::fin_wait_2:
      case TcpState::close_wait:
        return true;
      case TcpState::closing:
      case TcpState::last_ack:
        return !cb.snd.fin_sent();
      default:
        return false;
    }
  }

  /// Gives the slot back. The handle is gone, or about to be.
  void destroy(Control& cb) noexcept {
    forget_links(cb);
    cb.snd.queue.clear(pool);
    cb.snd.board.clear(pool);
    cb.rcv.clear(pool);
    connections.erase(*cb.slot);
  }

  /// Resets and ends a connection that can't be woken: `error` is all that stays for its handle.
  void abort_at_rest(Slot& slot, Errc error) noexcept {
    if (slot.packed_bytes == 0) return;  // it has been dropped before
    connections.look(slot, [this](const Control& cb) { reset_peer(cb); });
    connections.drop_at_rest(slot, error);
  }

  // ---- telling the user

  /// Adds to a connection's news. They are held back until it has been accepted.
  void raise(Control& cb, EventFlags flags) noexcept {
    cb.news |= flags;
    if (cb.slot->handle != nullptr && !cb.event_hook.is_linked()) events.push_back(cb);
  }

  void soft_error(Control& cb, Errc error) noexcept {
    cb.soft_error = error;
    if (cb.options.report_soft_errors) raise(cb, EventFlags::soft_error);
  }

  // ---- sending

  void want_output(Control& cb) noexcept {
    if (!cb.output_hook.is_linked()) output.push_back(cb);
  }
  void acknowledge(Control& cb) noexcept {
    cb.rcv.ack_now = true;
    want_output(cb);
  }

  /// An ACK that tells the peer where we are, within the connection's own budget (RFC 5961 7): no
  /// other connection's answers depend on it.
  void challenge(Control& cb) noexcept {
    const auto second =
        static_cast<std::uint32_t>(now.time_since_epoch() / std::chrono::seconds{1});
    if (cb.challenge_second != second) {
      cb.challenge_second = second;
      cb.challenges = 0;
    }
    if (cb.challenges >= config.challenge_ack_limit) {
      stats.count(Drop::challenge_limited);
      return;
    }
    ++cb.challenges;
    ++stats.tcp.challenge_acks;
    if (cb.rcv.acks_owed < 0xffff) ++cb.rcv.acks_owed;
    want_output(cb);
  }

  /// Queues a stateless reply. A full queue drops and counts it.
  void reply(const StatelessReply& item) noexcept {
    if (reply_count_ == reply_capacity) {
      stats.count(Drop::reply_queue_full);
      return;
    }
    replies_[(reply_head_ + reply_count_++) % reply_capacity] = item;
  }
  [[nodiscard]] std::size_t reply_count() const noexcept { return reply_count_; }
  [[nodiscard]] const StatelessReply& reply_at(std::size_t i) const noexcept {
    return replies_[(reply_head_ + i) % reply_capacity];
  }
  void pop_replies(std::size_t count) noexcept {
    reply_head_ = (reply_head_ + count) % reply_capacity;
    reply_count_ -= count;
  }

  /// The reset that answers a segment which belongs nowhere (RFC 9293 3.5.2, group 1); never in
  /// answer to a reset.
  void reset_in_reply(const FlowKey& flow, const TcpSegment& segment) noexcept {
    if (segment.has(TcpFlags::rst)) return;
    TcpSegment rst;
    if (segment.has(TcpFlags::ack)) {
      rst.seq = segment.ack;
      rst.flags = TcpFlags::rst;
    } else {
      rst.ack = segment.seq + segment.length();
      rst.flags = TcpFlags::rst | TcpFlags::ack;
    }
    ++stats.tcp.resets_out;
    reply({flow, rst});
  }

  /// The reset that ends a connection from our side.
  void reset_peer(const Control& cb) noexcept {
    TcpSegment rst;
    rst.seq = cb.snd.nxt;
    rst.ack = cb.rcv.nxt;
    rst.flags = TcpFlags::rst | TcpFlags::ack;
    if (cb.timestamps) {
      rst.options.has_timestamps = true;
      rst.options.timestamps = {timestamp(cb), cb.rcv.ts_recent};
    }
    ++stats.tcp.resets_out;
    reply({cb.key, rst, cb.options.ttl, static_cast<std::uint8_t>(cb.options.dscp << 2)});
  }

  // ---- sizes and times

  /// The TSval of a segment that leaves now, or that left at `at`.
  [[nodiscard]] std::uint32_t timestamp(const Control& cb) const noexcept {
    return timestamp(cb, now);
  }
  [[nodiscard]] static std::uint32_t timestamp(const Control& cb, Instant at) noexcept {
    return timestamp_ticks(at) + cb.ts_offset;
  }

  /// Fixed IP and TCP headers: what an MSS leaves out (RFC 6691 2).
  [[nodiscard]] static std::uint16_t header_bytes(const FlowKey& key) noexcept {
    return key.local.is_v4() ? 40 : 60;
  }

  /// The MSS to announce (RFC 9293 3.7.1): from the device's MTU and what can be reassembled,
  /// capped by the user.
  [[nodiscard]] std::uint16_t announced_mss(const FlowKey& key,
                                            const ConnectionOptions& options) const noexcept {
    const auto by_mtu =
        static_cast<std::uint16_t>(std::min(mtu, largest_datagram) - header_bytes(key));
    if (options.max_segment_size == 0) return by_mtu;
    return std::min(by_mtu, std::max(options.max_segment_size, min_mss));
  }

  /// The largest packet to the peer.
  [[nodiscard]] std::uint16_t path_mtu(const Control& cb) const noexcept {
    return now < cb.snd.path_mtu_expires ? std::min(cb.snd.path_mtu, mtu) : mtu;
  }
  /// Largest payload plus options of a segment to the peer (RFC 9293 3.7.1, Eff.snd.MSS before
  /// options).
  [[nodiscard]] std::uint16_t effective_mss(const Control& cb) const noexcept {
    std::uint16_t mss =
        std::min(cb.snd.peer_mss, static_cast<std::uint16_t>(path_mtu(cb) - header_bytes(cb.key)));
    if (cb.options.max_segment_size != 0)
      mss = std::min(mss, std::max(cb.options.max_segment_size, min_mss));
    return std::max(mss, min_mss);
  }
  /// The payload of a full segment without SACK blocks.
  [[nodiscard]] std::uint16_t full_payload(const Control& cb) const noexcept {
    return static_cast<std::uint16_t>(effective_mss(cb) -
                                      (cb.timestamps ? timestamp_option_bytes : 0));
  }

  /// How far a buffer may grow here.
  [[nodiscard]] std::uint32_t largest(const BufferSize& size) const noexcept {
    const std::size_t share = pool.budget_bytes() / 8;
    return std::max(size.initial,
                    static_cast<std::uint32_t>(std::min<std::size_t>(size.largest, share)));
  }
  /// The scale of our windows, which a SYN fixes for good.
  [[nodiscard]] std::uint8_t window_scale(const ConnectionOptions& options) const noexcept {
    return window_shift(largest(options.receive_buffer));
  }

  /// Sets the wheel for a connection's earliest deadline; one that moved away is left to fire in
  /// vain.
  void arm(Control& cb) noexcept {
    const Instant earliest = cb.deadlines.earliest();
    if (earliest == never) return;
    if (!cb.linked() || earliest < cb.deadline) wheel.schedule(cb, earliest);
  }

  // A smaller offer is taken for this: see MSS floors in RFC 9293 3.7.1, CVE-2019-11479.
  static constexpr std::uint16_t min_mss = 88;
  static constexpr std::uint16_t timestamp_option_bytes = 12;

  const TcpConfig config;
  BlockPool& pool;
  Stats& stats;
  const FlowSecrets secrets;
  const SynCookies cookies;
  Instant now{};            // of the call that is being served
  bool backlogged = false;  // more packets wait in the device
  std::uint16_t mtu;
  PathMtuCache paths;
  std::uint16_t largest_datagram = 0xffff;  // that can be reassembled (RFC 9293 MUST-67)
  TimeWaitTable time_wait;
  TimingWheel wheel;
  ConnectionTable<Traits> connections;
  boost::unordered_flat_map<ListenKey, std::unique_ptr<Listening<Traits>>, ListenKeyHash> listeners;
  ControlBlockList<Traits, &Control::output_hook> output;
  ControlBlockList<Traits, &Control::event_hook> events;
  ControlBlockList<Traits, &Control::owner_hook> orphans;
  ControlBlockList<Traits, &Control::stalled_hook> stalled;  // the longest first

 private:
  // Out of the tables and timers; what is queued for reading stays.
  void leave(Control& cb, TcpState before) noexcept {
    if (cb.listener != nullptr) {
      if (before == TcpState::syn_received) {
        --cb.listener->half_open;
        --stats.gauges.half_open;
      } else if (cb.owner_hook.is_linked()) {
        cb.listener->accept_queue.erase(cb.listener->accept_queue.iterator_to(cb));
      }
      cb.listener = nullptr;
    } else if (cb.owner_hook.is_linked()) {
      orphans.erase(orphans.iterator_to(cb));
    }
    connections.touch(cb);
    if (std::exchange(cb.in_table, false)) connections.hide(*cb.slot);
    if (cb.output_hook.is_linked()) output.erase(output.iterator_to(cb));
    if (cb.stalled_hook.is_linked()) stalled.erase(stalled.iterator_to(cb));
    wheel.cancel(cb);
    cb.deadlines.clear();
    cb.limits.set(SendLimit::none, now);
    cb.snd.queue.clear(pool);
    cb.snd.board.clear(pool);
    cb.rcv.out_of_order.clear(pool);
  }

  void forget_links(Control& cb) noexcept {
    if (cb.event_hook.is_linked()) events.erase(events.iterator_to(cb));
    if (cb.state != TcpState::closed && cb.state != TcpState::time_wait) {
      leave(cb, std::exchange(cb.state, TcpState::closed));
    }
  }

  std::unique_ptr<StatelessReply[]> replies_;
  std::size_t reply_head_ = 0;
  std::size_t reply_count_ = 0;
};

}  // namespace tunic::inline v0
