// SPDX-License-Identifier: BSL-1.0
#pragma once

// A Linux TUN interface as a device: IP packets of the kernel, one per read(2) and writev(2), with
// offloads where the kernel has them: super-segments of up to 64 KiB and checksums that are left to
// whoever puts a packet on a wire, both told in a virtio-net header before the packet. It never
// blocks, starts no thread and knows no event loop: wait for `native_handle()` to become
// readable, and writable too while `wants_write()`. `TunOptions` says what `open` sets up; `System`
// is the seam for its system calls.
//
// What Linux does at the other end: it queues packets towards the program and drops what exceeds
// that queue; a write hardly ever says EAGAIN; while the interface is down a write gives EIO and a
// read nothing, and the descriptor is neither readable nor writable; once the interface is deleted
// everything gives EBADFD. A lowered MTU is not told. What it hands out as an offload it takes as
// one too, but nobody promises that: a refused one is not tried again.

#include <tunic/base/assert.hpp>
#include <tunic/base/block_pool.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/base/error.hpp>
#include <tunic/device/entropy.hpp>
#include <tunic/device/system.hpp>
#include <tunic/device/tun_counters.hpp>
#include <tunic/device/tun_framing.hpp>
#include <tunic/device/tun_options.hpp>
#include <tunic/device/tun_setup.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/wire/address.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <linux/if_tun.h>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <sys/uio.h>
#include <system_error>
#include <utility>

namespace tunic::inline v0 {

/// A TUN interface (`Device`, `PollableDevice`, `AddressedDevice`). Move-only; the descriptor is
/// closed with it, and with the descriptor the interface goes unless it is persistent.
///
/// Memory: the first `receive` takes one block of the pool, and the device always has one from then
/// on: packets are read into it one behind the other, and the next `receive` starts at its front
/// again, or at that of the one against which it was exchanged. So a stack that is over its budget
/// still hears the acknowledgements that free its memory. All calls get the same pool, and the pool
/// outlives the device.
template <System S>
class BasicTunDevice {
 public:
  /// Pieces that a packet may have.
  static constexpr std::size_t max_pieces = 24;

  /// A closed device: it fails at every call.
  BasicTunDevice() noexcept = default;

  /// Creates or attaches to an interface, or adopts a descriptor. On failure the result is closed,
  /// nothing that was opened stays open, `ec` holds one of
  /// - tun_missing, tun_permission, tun_busy, tun_no_such_device, tun_not_tun;
  /// - tun_name_too_long, tun_name_invalid, tun_address_refused, tun_mtu_refused;
  /// - not_supported: an IPv6 host address; invalid_argument: queue_packets beyond 2^31 - 1;
  /// - no_memory, tun_setup_failed;
  /// and `failure()` the call that was refused. An interface that existed before may have been
  /// changed in part. Blocks for as long as the kernel takes to configure an interface.
  [[nodiscard]] static BasicTunDevice open(const TunOptions& options, std::error_code& ec,
                                           S system = {}) noexcept {
    BasicTunDevice device{std::move(system)};
    detail::TunSetup<S> setup{device.system_, options};
    const Errc error = setup.run();
    device.failure_ = setup.failure();
    if (error == Errc::none) device.interface_ = setup.interface();
    device.largest_rx_bytes_ = device.interface_.mtu_bytes;
    device.tx_offloads_ = device.framing().offloads;
    ec = error == Errc::none ? std::error_code{} : make_error_code(error);
    return device;
  }

#if defined(__cpp_exceptions)
  /// The same, but throws std::system_error.
  [[nodiscard]] static BasicTunDevice open(const TunOptions& options, S system = {}) {
    std::error_code ec;
    BasicTunDevice device = open(options, ec, std::move(system));
    const char* call = device.failure_.call;
    if (ec) throw std::system_error{ec, *call != '\0' ? call : "TunOptions"};
    return device;
  }
#endif

  BasicTunDevice(BasicTunDevice&& other) noexcept
      : system_{std::move(other.system_)},
        interface_{std::exchange(other.interface_, {})},
        failure_{other.failure_},
        counters_{other.counters_},
        pool_{std::exchange(other.pool_, nullptr)},
        block_{std::exchange(other.block_, nullptr)},
        largest_rx_bytes_{other.largest_rx_bytes_},
        tx_offloads_{other.tx_offloads_},
        mtu_changed_{other.mtu_changed_},
        wants_write_{other.wants_write_} {}

  BasicTunDevice& operator=(BasicTunDevice&& other) noexcept {
    if (this == &other) return *this;
    std::destroy_at(this);
    return *std::construct_at(this, std::move(other));
  }

  ~BasicTunDevice() { close(); }

  /// Closes the descriptor and gives the block back. Harmless when closed.
  void close() noexcept {
    if (block_ != nullptr) pool_->release(std::exchange(block_, nullptr));
    if (is_open()) system_.close(std::exchange(interface_.fd, -1));
  }

  [[nodiscard]] bool is_open() const noexcept { return interface_.fd >= 0; }
  [[nodiscard]] explicit operator bool() const noexcept { return is_open(); }
  /// The call that made `open` fail; after success, empty.
  [[nodiscard]] const TunFailure& failure() const noexcept { return failure_; }

  /// The descriptor, for an event loop; -1 when closed. It is for waiting only.
  [[nodiscard]] int native_handle() const noexcept { return interface_.fd; }
  /// The name that the kernel gave; empty when an adopted descriptor does not tell. Lives as long
  /// as the device.
  [[nodiscard]] std::string_view name() const noexcept { return interface_.name.data(); }
  /// As by if_nametoindex(3); 0 when not told.
  [[nodiscard]] unsigned interface_index() const noexcept { return interface_.index; }
  [[nodiscard]] std::size_t mtu_bytes() const noexcept { return interface_.mtu_bytes; }
  /// The kernel's own address on the interface: the one that was asked for, or its first when none
  /// was.
  [[nodiscard]] std::optional<IpCidr> host_address() const noexcept {
    return interface_.host_address;
  }
  /// A secret for a stack, of the system's entropy.
  [[nodiscard]] std::optional<SipKey> entropy() noexcept { return entropy_key(); }
  [[nodiscard]] const TunCounters& counters() const noexcept { return counters_; }

  /// The MTU changes when `receive` sees a packet that is larger: it was raised behind our back.
  /// The next `send` then says `replan` once. An offload goes when the kernel refuses a packet that
  /// makes use of it: that `send` says `replan`, and nothing is lost.
  [[nodiscard]] DeviceCaps caps() const noexcept {
    return {.mtu_bytes = interface_.mtu_bytes,
            .tx_batch = 64,
            .partial_checksums = (tx_offloads_ & TUN_F_CSUM) != 0,
            .tcp_v4_segmentation = (tx_offloads_ & TUN_F_TSO4) != 0,
            .tcp_v6_segmentation = (tx_offloads_ & TUN_F_TSO6) != 0,
            .ecn_segmentation = (tx_offloads_ & TUN_F_TSO_ECN) != 0};
  }

  /// Reads until the batch or the block is full (`ok`: there may be more), or until the kernel's
  /// queue is empty (`would_block`). At most one read per place in the batch, so skipped packets
  /// cost places. `failed` when the interface was deleted. Packets read before are valid in every
  /// case.
  ///
  /// Without memory for a single packet, what is queued is read and thrown away, as a network card
  /// does without buffers: left unread it would keep the descriptor readable and the program's
  /// event loop spinning.
  RxResult receive(std::span<RxPacket> batch, BlockPool& pool) noexcept {
    if (!is_open()) return {0, DeviceStatus::failed};
    if (!hold_block(pool)) return discard(batch.size());
    const MutableBytes block{block_->data(), block_->capacity};
    std::size_t begin = lead_bytes;  // of the next packet
    std::size_t count = 0;
    for (std::size_t reads = 0; reads < batch.size(); ++reads) {
      if (begin + std::min(rx_room(), block.size() - lead_bytes) > block.size()) break;
      const std::size_t prefix_bytes = framing().prefix_bytes();
      const MutableBytes room = block.subspan(begin - prefix_bytes);
      const ssize_t answer = read(room);
      if (answer <= 0) return {count, rx_status(answer)};
      const auto size = static_cast<std::size_t>(answer);
      const Bytes prefix = room.first(std::min(size, prefix_bytes));
      const Bytes bytes = room.first(size).subspan(prefix.size());
      const auto packet = accept(prefix, bytes, size == room.size());
      if (!packet) continue;
      batch[count++] = *packet;
      batch[0].block = count == 1 ? &block_ : nullptr;
      // Headers that start at an address divisible by 16 cost less to read.
      begin += (bytes.size() + 15) / 16 * 16 + lead_bytes;
    }
    return {count, DeviceStatus::ok};
  }

  /// Writes each packet with one writev(2). `would_block`: the kernel takes no more now, and
  /// `wants_write()` until it does. `down`: the interface is. `replan`: `caps()` has changed. A
  /// packet that the kernel will never take is accepted, dropped and counted, so that it does not
  /// stop those behind it.
  TxResult send(std::span<const TxPacket> packets) noexcept {
    if (!is_open()) return {0, DeviceStatus::failed};
    wants_write_ = false;
    if (std::exchange(mtu_changed_, false)) return {0, DeviceStatus::replan};
    for (std::size_t i = 0; i < packets.size(); ++i) {
      const DeviceStatus status = write(packets[i]);
      if (status != DeviceStatus::ok) return {i, status};
    }
    return {packets.size(), DeviceStatus::ok};
  }

  /// Whether the last `send` ended with `would_block`: wait for writability too.
  [[nodiscard]] bool wants_write() const noexcept { return wants_write_; }

 private:
  using Prefix = detail::TunFraming::Prefix;

  static constexpr std::size_t largest_packet_bytes = super_segment_bytes;
  /// Before each packet in a block: what the kernel writes before it, and packets stay aligned.
  static constexpr std::size_t lead_bytes = 32;
  static_assert(lead_bytes >= std::tuple_size_v<Prefix>);

  explicit BasicTunDevice(S system) noexcept : system_{std::move(system)} {}

  // --- receiving

  const detail::TunFraming& framing() const noexcept { return interface_.framing; }

  /// The least room that a read needs: one byte more than the largest packet, so that one cut short
  /// is recognised.
  std::size_t rx_room() const noexcept {
    return (framing().super_segments() ? largest_packet_bytes : largest_rx_bytes_) + 1;
  }

  /// Makes sure of a block. It asks for the largest as long as it has a lesser one, then for what
  /// one packet needs.
  bool hold_block(BlockPool& pool) noexcept {
    TUNIC_ASSERT(block_ == nullptr || pool_ == &pool);
    constexpr std::size_t most = lead_bytes + largest_packet_bytes + 1;
    const std::size_t least = lead_bytes + interface_.mtu_bytes + 1;
    for (const std::size_t wanted : {most, most / 8, least}) {
      const std::size_t needed_bytes = std::max(wanted, least);
      if (block_ != nullptr && block_->capacity >= needed_bytes) break;
      Block* const block = pool.allocate(needed_bytes);
      if (block == nullptr) continue;
      if (block_ != nullptr) pool.release(block_);
      block_ = block;
      pool_ = &pool;
      break;
    }
    return block_ != nullptr;
  }

  ssize_t read(MutableBytes room) noexcept {
    return detail::retry_interrupted([&]() noexcept { return system_.read(interface_.fd, room); });
  }

  static DeviceStatus rx_status(ssize_t answer) noexcept {
    if (answer == -EAGAIN) return DeviceStatus::would_block;
    return answer == -EIO ? DeviceStatus::down : DeviceStatus::failed;
  }

  /// The IP packet in what was read, if it holds a whole one.
  std::optional<RxPacket> accept(Bytes prefix, Bytes bytes, bool room_is_full) noexcept {
    if (bytes.empty()) return ++counters_.rx_truncated, std::nullopt;
    const auto told = framing().read(prefix, bytes);
    const bool truncated = told.truncated || room_is_full;
    const bool several = told.offload && told.offload->segmentation != Segmentation::none;
    if (several && truncated) {
      refuse_super_segments();
    } else if (!several && bytes.size() > interface_.mtu_bytes) {
      raise_mtu(bytes.size(), truncated);
    }
    if (truncated || !told.is_ip || !told.offload) {
      ++(truncated     ? counters_.rx_truncated
         : !told.is_ip ? counters_.rx_not_ip
                       : counters_.rx_bad_offload);
      return std::nullopt;
    }
    ++counters_.rx_packets;
    counters_.rx_bytes += bytes.size();
    if (several) ++counters_.rx_super_segments;
    return RxPacket{.bytes = bytes, .offload = *told.offload};
  }

  /// There is no memory for packets of 64 KiB, and their senders would repeat them in vain. From
  /// now on the kernel cuts them.
  void refuse_super_segments() noexcept {
    detail::TunFramingSetup<S>{system_, interface_.fd, interface_.framing}.set_offloads(
        framing().offloads & TUN_F_CSUM);
  }

  /// A packet larger than the MTU came: asks the kernel anew. Where it does not tell, every read
  /// gets the room of the largest packet there is, and what is sent keeps to the MTU that was
  /// known.
  void raise_mtu(std::size_t seen_bytes, bool truncated) noexcept {
    if (seen_bytes <= largest_rx_bytes_ && !truncated) return;
    const auto told = detail::query_mtu_bytes(system_, interface_.name);
    if (told && *told >= seen_bytes) {
      mtu_changed_ = mtu_changed_ || *told != interface_.mtu_bytes;
      interface_.mtu_bytes = std::min(*told, largest_packet_bytes);
      largest_rx_bytes_ = interface_.mtu_bytes;
    } else {
      largest_rx_bytes_ = largest_packet_bytes;
    }
  }

  RxResult discard(std::size_t most) noexcept {
    std::array<std::byte, 64> scratch{};  // the kernel forgets what does not fit
    for (std::size_t i = 0; i < most; ++i) {
      const ssize_t answer = read(scratch);
      if (answer <= 0) return {0, rx_status(answer)};
      ++counters_.rx_no_memory;
    }
    return {0, DeviceStatus::ok};
  }

  // --- sending

  DeviceStatus write(const TxPacket& packet) noexcept {
    if (packet.pieces.size() > max_pieces) {
      ++counters_.tx_too_many_pieces;
      return DeviceStatus::ok;
    }
    std::array<iovec, max_pieces + 1> pieces;
    std::size_t count = 0;
    Prefix prefix;
    framing().write(prefix, is_v6(packet), packet.offload);
    pieces[count++] = {prefix.data(), framing().prefix_bytes()};
    for (const Bytes piece : packet.pieces) {
      // writev(2) takes a pointer to non-const for readv(2)'s sake and does not write through it.
      pieces[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};
    }
    const ssize_t answer = detail::retry_interrupted(
        [&]() noexcept { return system_.writev(interface_.fd, std::span{pieces}.first(count)); });
    return tx_status(answer, packet);
  }

  static bool is_v6(const TxPacket& packet) noexcept {
    const auto first =
        std::ranges::find_if(packet.pieces, [](Bytes piece) { return !piece.empty(); });
    return first != packet.pieces.end() && std::to_integer<unsigned>(first->front()) >> 4 == 6;
  }

  DeviceStatus tx_status(ssize_t answer, const TxPacket& packet) noexcept {
    if (answer >= 0) {
      const auto written = static_cast<std::size_t>(answer);
      const bool whole = written >= packet.size_bytes + framing().prefix_bytes();
      ++(whole ? counters_.tx_packets : counters_.tx_short);
      counters_.tx_bytes += written - std::min(written, framing().prefix_bytes());
      if (whole && packet.offload.segmentation != Segmentation::none) {
        ++counters_.tx_super_segments;
      }
      return DeviceStatus::ok;
    }
    switch (-answer) {
      case EAGAIN:
      case ENOBUFS:
      case ENOMEM:
        wants_write_ = true;
        ++counters_.tx_would_block;
        return DeviceStatus::would_block;
      case EINVAL:
      case EMSGSIZE:
        if (lose_offload(packet.offload)) return DeviceStatus::replan;
        ++counters_.tx_refused;
        return DeviceStatus::ok;
      case EIO:
        return DeviceStatus::down;
      default:
        return DeviceStatus::failed;
    }
  }

  /// The kernel granted an offload and refuses a packet with it: it is not used again. Whether the
  /// packet was the fault shows when it comes anew, without. False: there was none.
  bool lose_offload(const Offload& offload) noexcept {
    if (offload.checksum != ChecksumState::partial) return false;
    unsigned lost = TUN_F_CSUM;
    if (offload.ecn) {
      lost = TUN_F_TSO_ECN;
    } else if (offload.segmentation != Segmentation::none) {
      lost = offload.segmentation == Segmentation::tcp_v4 ? TUN_F_TSO4 : TUN_F_TSO6;
    }
    tx_offloads_ = lost == TUN_F_CSUM ? 0 : tx_offloads_ & ~lost;
    ++counters_.tx_offloads_lost;
    return true;
  }

  [[no_unique_address]] S system_{};
  detail::TunInterface interface_{};
  TunFailure failure_{};
  TunCounters counters_{};
  BlockPool* pool_ = nullptr;  // of block_
  Block* block_ = nullptr;
  std::size_t largest_rx_bytes_ = 0;
  unsigned tx_offloads_ = 0;  // TUN_F_...: what the kernel takes of us
  bool mtu_changed_ = false;  // and the stack does not know yet
  bool wants_write_ = false;
};

/// A TUN interface of this machine.
using TunDevice = BasicTunDevice<LinuxSystem>;

static_assert(PollableDevice<TunDevice> && AddressedDevice<TunDevice>);

}  // namespace tunic::inline v0
