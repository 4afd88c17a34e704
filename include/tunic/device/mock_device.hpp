// SPDX-License-Identifier: BSL-1.0
#pragma once

// A device without another end, for tests: the test puts packets in and takes out what the stack
// sent, and makes the device full, down, failed or change its mind about its MTU when it likes.

#include <tunic/base/assert.hpp>
#include <tunic/base/block_pool.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/device/packet_queue.hpp>
#include <tunic/stack/device.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

struct MockOptions {
  std::size_t mtu_bytes = 1500;
  std::size_t tx_batch = 64;
  /// Packets that wait to be taken before `send` says `would_block`.
  std::size_t capacity = std::numeric_limits<std::size_t>::max();
  /// Takes packets with partial checksums, and with it super-segments of TCP, and those with CWR.
  bool partial_checksums = false;
  bool segmentation = false;
  bool ecn_segmentation = false;
};

/// A device that a test plays. Movable; buffers are used again, so that a steady exchange allocates
/// nothing.
class MockDevice {
 public:
  MockDevice() noexcept = default;
  explicit MockDevice(const MockOptions& options) noexcept : options_{options} {}

  // --- the test's side

  /// The next packet that `receive` will give. Copied; may be malformed in any way.
  void inject(Bytes packet, const Offload& offload = {}) {
    inbox_.emplace_back().assign(packet, TxReason::data, offload);
  }
  /// Packets injected and not received yet.
  [[nodiscard]] std::size_t pending() const noexcept { return inbox_.size(); }

  /// Packets sent and not taken yet.
  [[nodiscard]] std::size_t sent() const noexcept { return outbox_.size(); }
  /// Packets accepted since the beginning.
  [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_; }
  /// Packets accepted that were larger than the MTU: a mistake of the stack.
  [[nodiscard]] std::uint64_t oversized() const noexcept { return oversized_; }
  /// Packets accepted with an offload that was not offered: likewise.
  [[nodiscard]] std::uint64_t not_offered() const noexcept { return not_offered_; }

  /// Takes the oldest sent packet; nothing when there is none. Allocates the copy; `front` with
  /// `drop_front` does not.
  [[nodiscard]] std::optional<std::vector<std::byte>> take() {
    if (outbox_.empty()) return std::nullopt;
    std::optional<std::vector<std::byte>> packet{outbox_[0].bytes};
    outbox_.drop_front();
    return packet;
  }
  /// The oldest sent packet, until `drop_front` or `take`. Only while `sent() > 0`.
  [[nodiscard]] Bytes front() const noexcept { return outbox_[0].bytes; }
  /// Why it was sent.
  [[nodiscard]] TxReason front_reason() const noexcept { return outbox_[0].reason; }
  /// What was to be done with it.
  [[nodiscard]] const Offload& front_offload() const noexcept { return outbox_[0].offload; }
  void drop_front() noexcept { outbox_.drop_front(); }
  /// Forgets all that was sent.
  void drop_sent() noexcept { outbox_.drop_front(outbox_.size()); }

  /// Packets that may wait to be taken. What waits already stays.
  void set_capacity(std::size_t packets) noexcept { options_.capacity = packets; }

  /// The device fails for good, in both directions, once `packets` more were accepted.
  void fail_after(std::uint64_t packets) noexcept {
    fails_at_ =
        accepted_ + std::min(packets, std::numeric_limits<std::uint64_t>::max() - accepted_);
  }

  /// What every call answers from now on without doing anything: `down`, `failed` or `would_block`;
  /// `ok` ends that.
  void set_status(DeviceStatus status) noexcept {
    TUNIC_ASSERT(status != DeviceStatus::replan);
    status_ = status;
  }

  /// The next `send` finds the MTU changed: it accepts nothing and says `replan`.
  void set_mtu_bytes(std::size_t bytes) noexcept { next_mtu_bytes_ = bytes; }

  /// The next packet with a partial checksum (or that is a super-segment) is refused with `replan`,
  /// and such are not offered any more.
  void end_partial_checksums() noexcept { checksums_end_ = true; }
  void end_segmentation() noexcept { segmentation_ends_ = true; }

  // --- the stack's side: Device

  [[nodiscard]] DeviceCaps caps() const noexcept {
    return {.mtu_bytes = options_.mtu_bytes,
            .tx_batch = options_.tx_batch,
            .partial_checksums = options_.partial_checksums,
            .tcp_v4_segmentation = options_.segmentation,
            .tcp_v6_segmentation = options_.segmentation,
            .ecn_segmentation = options_.ecn_segmentation};
  }

  RxResult receive(std::span<RxPacket> batch, BlockPool&) noexcept {
    if (const DeviceStatus refusal = refused(); refusal != DeviceStatus::ok) return {0, refusal};
    const std::size_t count = inbox_.lend(batch);
    return {count, inbox_.empty() ? DeviceStatus::would_block : DeviceStatus::ok};
  }

  TxResult send(std::span<const TxPacket> packets) noexcept {
    wants_write_ = false;
    for (std::size_t i = 0; i < packets.size(); ++i) {
      if (const DeviceStatus refusal = accept(packets[i]); refusal != DeviceStatus::ok) {
        wants_write_ = refusal == DeviceStatus::would_block;
        return {i, refusal};
      }
    }
    return {packets.size(), DeviceStatus::ok};
  }

  /// Always the same, so that a run can be repeated.
  [[nodiscard]] std::optional<SipKey> entropy() noexcept { return SipKey{0x6d6f, 0x636b}; }

  /// Whether the last `send` ended with `would_block`.
  [[nodiscard]] bool wants_write() const noexcept { return wants_write_; }

 private:
  DeviceStatus accept(const TxPacket& packet) noexcept {
    if (const DeviceStatus refusal = refused(); refusal != DeviceStatus::ok) return refusal;
    if (next_mtu_bytes_) {
      options_.mtu_bytes = *std::exchange(next_mtu_bytes_, std::nullopt);
      return DeviceStatus::replan;
    }
    if (loses_offload(packet.offload)) return DeviceStatus::replan;
    if (outbox_.size() >= options_.capacity) return DeviceStatus::would_block;
    outbox_.emplace_back().assign(packet);
    ++accepted_;
    const bool several = packet.offload.segmentation != Segmentation::none;
    const std::size_t largest =
        several ? std::size_t{packet.offload.header_bytes} + packet.offload.segment_bytes
                : packet.size_bytes;
    if (largest > options_.mtu_bytes) ++oversized_;
    const bool partial = packet.offload.checksum == ChecksumState::partial;
    if ((partial && !options_.partial_checksums) || (several && !options_.segmentation) ||
        (packet.offload.ecn && !options_.ecn_segmentation)) {
      ++not_offered_;
    }
    return DeviceStatus::ok;
  }

  bool loses_offload(const Offload& offload) noexcept {
    const bool partial = offload.checksum == ChecksumState::partial;
    if (checksums_end_ && partial) {
      checksums_end_ = false;
      options_.partial_checksums = options_.segmentation = false;
      return true;
    }
    if (!segmentation_ends_ || offload.segmentation == Segmentation::none) return false;
    segmentation_ends_ = options_.segmentation = false;
    return true;
  }

  DeviceStatus refused() const noexcept {
    return accepted_ >= fails_at_ ? DeviceStatus::failed : status_;
  }

  MockOptions options_{};
  LendingQueue inbox_;
  PacketQueue outbox_;
  std::uint64_t accepted_ = 0;
  std::uint64_t oversized_ = 0;
  std::uint64_t not_offered_ = 0;
  std::uint64_t fails_at_ = std::numeric_limits<std::uint64_t>::max();
  std::optional<std::size_t> next_mtu_bytes_{};
  DeviceStatus status_ = DeviceStatus::ok;
  bool wants_write_ = false;
  bool checksums_end_ = false;
  bool segmentation_ends_ = false;
};

static_assert(Device<MockDevice>);

}  // namespace tunic::inline v0
