// SPDX-License-Identifier: BSL-1.0
#pragma once

// Several cores: one stack, one thread and one queue of a device for each. A shard is all three.
// Which shard a flow belongs to is decided by `flow_hash`, on every side: by the kernel where it
// steers, by `Stack::connect`, which picks ports whose replies come to its own shard, and by
// `ShardDevice`, which gives a packet that came in at another queue (a stray) over to its owner.
//
// Threads: everything about a shard - the stack, its connections, its device - is used by one
// thread at a time. Shards share nothing but the queues of strays and the wake-ups that go with
// them, and wait for nobody. Listeners are each shard's own: every shard listens, and accepts its
// share. A connection lives and dies on its shard.
//
// A stray is never answered: the stack at whose queue it came in does not see it, so there is no
// reset and no ICMP for what another shard knows. Where the kernel steers, strays are rare but
// there are some: ICMP errors, which belong to the flow that they quote and come with other
// addresses, and segments that were fragmented. Those are put together by the shard to which their
// addresses brought them, and given over to their owner when they are whole.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/base/error.hpp>
#include <tunic/base/siphash.hpp>
#include <tunic/device/flow_hash.hpp>
#include <tunic/device/stray_queue.hpp>
#include <tunic/device/system.hpp>
#include <tunic/device/wake_event.hpp>
#include <tunic/ip/ip_packet.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ipv4.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

/// Packets that came in at the wrong queue.
struct ShardCounters {
  std::uint64_t strays_sent = 0;      ///< Given over to their owners.
  std::uint64_t strays_dropped = 0;   ///< Their owner's queue was full.
  std::uint64_t strays_received = 0;  ///< Given over by other shards.
};

namespace detail {

/// What shards share.
template <EventSystem S>
class ShardMesh {
 public:
  ShardMesh(std::size_t count, const SipKey& secret, std::size_t queue_bytes, const S& system)
      : key{secret}, size{count} {
    for (std::size_t i = 0; i < count * count; ++i) {
      if (i % count == i / count)
        queues_.emplace_back();  // nobody strays to itself
      else
        queues_.push_back(std::make_unique<StrayQueue>(queue_bytes));
    }
    for (std::size_t i = 0; i < count; ++i) events_.emplace_back(system);
  }

  const SipKey key;
  const std::size_t size;

  [[nodiscard]] StrayQueue& queue(std::size_t from, std::size_t to) noexcept {
    return *queues_[from * size + to];
  }
  [[nodiscard]] WakeEvent<S>& event(std::size_t shard) noexcept { return events_[shard]; }

 private:
  std::vector<std::unique_ptr<StrayQueue>> queues_;
  std::deque<WakeEvent<S>> events_;  // they do not move
};

}  // namespace detail

/// One of the devices that `make_shards` makes: `Inner` with the packets of this shard's flows only
/// (`FlowOwner`). It is the outermost of a stack's decorators. In the event loop `wake_handle()`
/// stands beside the descriptor of `Inner`.
template <Device Inner, EventSystem S = LinuxSystem>
class ShardDevice {
 public:
  using Mesh = detail::ShardMesh<S>;

  ShardDevice(Inner wrapped, std::size_t shard, std::shared_ptr<Mesh> mesh) noexcept
      : inner_{std::move(wrapped)}, shard_{shard}, mesh_{std::move(mesh)} {}

  [[nodiscard]] Inner& inner() noexcept { return inner_; }
  [[nodiscard]] const Inner& inner() const noexcept { return inner_; }
  [[nodiscard]] const ShardCounters& counters() const noexcept { return counters_; }
  /// Its number, that of its queue.
  [[nodiscard]] std::size_t shard() const noexcept { return shard_; }

  /// Becomes readable when another shard has given a packet over: then the stack's `poll` is due.
  [[nodiscard]] int wake_handle() const noexcept { return mesh_->event(shard_).native_handle(); }

  [[nodiscard]] DeviceCaps caps() const noexcept { return inner_.caps(); }

  /// Packets that other shards have given over, at most half of the batch, and those of the inner
  /// device that are this shard's. The others go to their owners, or are dropped and counted where
  /// an owner does not keep up.
  RxResult receive(std::span<RxPacket> batch, BlockPool& pool) noexcept {
    mesh_->event(shard_).clear();
    const Lent strays = lend_strays(batch.first((batch.size() + 1) / 2));
    const std::span<RxPacket> fresh = batch.subspan(strays.count);
    RxResult result = inner_.receive(fresh, pool);
    std::size_t kept = strays.count;
    for (const RxPacket& packet : fresh.first(result.count)) {
      const std::size_t owner = owner_of(packet.bytes);
      if (owner == shard_)
        batch[kept++] = packet;
      else
        give(owner, {&packet.bytes, 1}, packet.offload);
    }
    result.count = kept;
    if (strays.more && result.status != DeviceStatus::failed) result.status = DeviceStatus::ok;
    return result;
  }

  TxResult send(std::span<const TxPacket> packets) noexcept { return inner_.send(packets); }

  /// Whether the packets of the peer in this flow come to this shard. Ports of 0: of what shows no
  /// ports, as ICMP.
  [[nodiscard]] bool owns(const Endpoint& local, const Endpoint& remote) const noexcept {
    return flow_hash(mesh_->key, local, remote) % mesh_->size == shard_;
  }

  /// Gives a reassembled packet over to its owner; false: that is this shard.
  bool pass_on(const IpPacket& packet) noexcept {
    std::array<std::byte, ipv4_min_header_bytes + sizeof(detail::PortsLayout)> front;
    write_ipv4(front, {.src = packet.src,
                       .dst = packet.dst,
                       .protocol = packet.protocol,
                       .ttl = packet.ttl,
                       .tos = packet.traffic_class,
                       .total_length = static_cast<std::uint16_t>(ipv4_min_header_bytes +
                                                                  packet.payload.size())});
    const Bytes header = Bytes{front}.first(ipv4_min_header_bytes);
    const std::size_t ports = std::min(packet.payload.size(), sizeof(detail::PortsLayout));
    copy(MutableBytes{front}.subspan(header.size()), packet.payload.first(ports));
    const std::size_t owner = owner_of(Bytes{front}.first(header.size() + ports));
    if (owner == shard_) return false;
    give(owner, std::array{header, packet.payload}, {});
    return true;
  }

  void poll(Instant now) noexcept requires TimedDevice<Inner> { inner_.poll(now); }
  [[nodiscard]] Instant next_timeout() const noexcept requires TimedDevice<Inner> {
    return inner_.next_timeout();
  }
  [[nodiscard]] int native_handle() const noexcept requires PollableDevice<Inner> {
    return inner_.native_handle();
  }
  [[nodiscard]] bool wants_write() const noexcept requires PollableDevice<Inner> {
    return inner_.wants_write();
  }
  [[nodiscard]] std::optional<SipKey> entropy() noexcept requires SeededDevice<Inner> {
    return inner_.entropy();
  }
  [[nodiscard]] std::optional<IpCidr> host_address() const noexcept requires
      AddressedDevice<Inner> {
    return inner_.host_address();
  }

 private:
  struct Lent {
    std::size_t count = 0;
    bool more = false;  // are left
  };
  Lent lend_strays(std::span<RxPacket> batch) noexcept {
    Lent lent;
    ++turn_;  // another shard is served first each time
    for (std::size_t i = 0; i < mesh_->size; ++i) {
      const std::size_t from = (turn_ + i) % mesh_->size;
      if (from == shard_) continue;
      StrayQueue& queue = mesh_->queue(from, shard_);
      lent.count += queue.lend(batch.subspan(lent.count));
      lent.more = lent.more || !queue.empty();
    }
    counters_.strays_received += lent.count;
    return lent;
  }

  std::size_t owner_of(Bytes packet) const noexcept {
    return flow_hash(mesh_->key, quoted_or_itself(packet)) % mesh_->size;
  }

  // What tells the flow: of an ICMP error, the packet that it quotes.
  static Bytes quoted_or_itself(Bytes packet) noexcept {
    if (packet.size() < ipv4_min_header_bytes) return packet;
    const auto header = detail::load<detail::Ipv4Layout>(packet);
    const std::size_t header_bytes = (header.version_and_words.value() & 0xfU) * 4;
    const std::size_t quote = header_bytes + icmp_header_bytes;
    if (IpProtocol{header.protocol.value()} != IpProtocol::icmp ||
        (header.flags_and_offset.value() & detail::ipv4_offset_mask) != 0 ||
        packet.size() < quote) {
      return packet;
    }
    const IcmpMessage message{.type = static_cast<IcmpType>(packet[header_bytes])};
    return message.is_error() ? packet.subspan(quote) : packet;
  }

  void give(std::size_t owner, std::span<const Bytes> pieces, const Offload& offload) noexcept {
    const bool taken = mesh_->queue(shard_, owner).push(pieces, offload);
    ++(taken ? counters_.strays_sent : counters_.strays_dropped);
    if (taken) mesh_->event(owner).wake();
  }

  Inner inner_;
  std::size_t shard_;
  std::shared_ptr<Mesh> mesh_;
  ShardCounters counters_{};
  std::size_t turn_ = 0;
};

/// Makes shards of the queues of one device, in their order. `key` is the one by which the kernel
/// steers (`TunQueues::key`). `stray_bytes` is what each shard can leave for each other one before
/// it drops, 256 KiB at least; this memory is outside of the stacks' budgets, and untouched while
/// there are no strays. `ec`: the system has no descriptor left for a wake-up; then there are no
/// shards. Allocates.
template <Device Inner, EventSystem S = LinuxSystem>
[[nodiscard]] std::vector<ShardDevice<Inner, S>> make_shards(std::vector<Inner> devices,
                                                             const SipKey& key, std::error_code& ec,
                                                             std::size_t stray_bytes = 1 << 19,
                                                             const S& system = {}) {
  const auto mesh =
      std::make_shared<detail::ShardMesh<S>>(devices.size(), key, stray_bytes, system);
  std::vector<ShardDevice<Inner, S>> shards;
  shards.reserve(devices.size());
  ec = {};
  for (Inner& device : devices) {
    const int event = mesh->event(shards.size()).native_handle();
    if (event < 0) ec = {-event, std::system_category()};
    shards.emplace_back(std::move(device), shards.size(), mesh);
  }
  if (ec) shards.clear();
  return shards;
}

#if defined(__cpp_exceptions)
/// The same, but throws std::system_error.
template <Device Inner>
[[nodiscard]] std::vector<ShardDevice<Inner>> make_shards(std::vector<Inner> devices,
                                                          const SipKey& key) {
  std::error_code ec;
  auto shards = make_shards(std::move(devices), key, ec);
  if (ec) throw std::system_error{ec, "tunic: make_shards"};
  return shards;
}
#endif

}  // namespace tunic::inline v0
