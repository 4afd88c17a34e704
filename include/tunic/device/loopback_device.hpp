// SPDX-License-Identifier: BSL-1.0
#pragma once

// Two devices that are joined back to back in memory: what one sends the other receives, at once
// and in order. For two stacks in one program and one thread. A link with delay and faults is made
// of it by `FaultDevice`.

#include <tunic/base/block_pool.hpp>
#include <tunic/device/packet_queue.hpp>
#include <tunic/stack/device.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace tunic::inline v0 {

struct LoopbackOptions {
  std::size_t mtu_bytes = 1500;
  /// Packets that wait for one end to receive them before the other end's `send` says
  /// `would_block`.
  std::size_t capacity = 256;
};

/// One end. Made by `LoopbackPair`; move-only. After the other end is gone `send` and `receive` say
/// `down`.
class LoopbackDevice {
 public:
  LoopbackDevice(LoopbackDevice&&) noexcept = default;
  LoopbackDevice& operator=(LoopbackDevice&& other) noexcept {
    if (this == &other) return *this;
    leave();
    wire_ = std::move(other.wire_);
    side_ = other.side_;
    wants_write_ = other.wants_write_;
    return *this;
  }
  ~LoopbackDevice() { leave(); }

  /// Packets that wait to be received here.
  [[nodiscard]] std::size_t pending() const noexcept { return wire_->toward[side_].size(); }

  [[nodiscard]] DeviceCaps caps() const noexcept { return {.mtu_bytes = wire_->options.mtu_bytes}; }

  RxResult receive(std::span<RxPacket> batch, BlockPool&) noexcept {
    LendingQueue& queue = wire_->toward[side_];
    const std::size_t count = queue.lend(batch);
    if (!queue.empty()) return {count, DeviceStatus::ok};
    return {count, other_is_here() ? DeviceStatus::would_block : DeviceStatus::down};
  }

  TxResult send(std::span<const TxPacket> packets) noexcept {
    wants_write_ = false;
    if (!other_is_here()) return {0, DeviceStatus::down};
    LendingQueue& queue = wire_->toward[1 - side_];
    for (std::size_t i = 0; i < packets.size(); ++i) {
      if (queue.size() >= wire_->options.capacity) {
        wants_write_ = true;
        return {i, DeviceStatus::would_block};
      }
      queue.emplace_back().assign(packets[i]);
    }
    return {packets.size(), DeviceStatus::ok};
  }

  /// Always the same for an end, so that a run can be repeated.
  [[nodiscard]] std::optional<SipKey> entropy() noexcept { return SipKey{0x6c6f, side_}; }

  /// Whether the last `send` ended with `would_block`.
  [[nodiscard]] bool wants_write() const noexcept { return wants_write_; }

 private:
  friend struct LoopbackPair;

  struct Wire {
    LoopbackOptions options;
    std::array<LendingQueue, 2> toward;  // an end's packets to receive
    std::array<bool, 2> here{true, true};
  };

  LoopbackDevice(std::shared_ptr<Wire> wire, std::size_t side) noexcept
      : wire_{std::move(wire)}, side_{side} {}

  bool other_is_here() const noexcept { return wire_->here[1 - side_]; }

  void leave() noexcept {
    if (wire_ != nullptr) wire_->here[side_] = false;
  }

  std::shared_ptr<Wire> wire_;
  std::size_t side_ = 0;
  bool wants_write_ = false;
};

/// Both ends; move each into its stack.
struct LoopbackPair {
  explicit LoopbackPair(const LoopbackOptions& options = {})
      : LoopbackPair{std::make_shared<LoopbackDevice::Wire>(
            LoopbackDevice::Wire{.options = options, .toward = {}})} {}

  LoopbackDevice first;
  LoopbackDevice second;

 private:
  explicit LoopbackPair(const std::shared_ptr<LoopbackDevice::Wire>& wire) noexcept
      : first{wire, 0}, second{wire, 1} {}
};

static_assert(Device<LoopbackDevice>);

}  // namespace tunic::inline v0
