// SPDX-License-Identifier: BSL-1.0
#pragma once

// A decorator that puts an imperfect link between a stack and any device: both directions have
// conditions of their own. The time is what the stack tells (`TimedDevice`), so over devices in
// memory everything happens in virtual time, and over a TUN the same faults happen in real time.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/device/impairment.hpp>
#include <tunic/device/packet_queue.hpp>
#include <tunic/device/segmentation.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/wire/address.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

/// `Inner` behind an imperfect link. Packets on their way in either direction are held in memory of
/// its own, not of the pool. `send` takes everything (what the link loses is lost) unless an
/// earlier packet is stuck because `Inner` would block; its status is what `Inner` said to the last
/// packet that came through. What happens on a link happens to packets of its MTU: offloads end
/// here, and what `Inner` receives with them is cut and finished first.
template <Device Inner>
class FaultDevice {
 public:
  /// `outbound`: from the stack to `inner`. `inbound`: from `inner` to the stack. Give them
  /// different seeds, or the same packets of both directions are hit.
  FaultDevice(Inner inner, const LinkConditions& outbound, const LinkConditions& inbound)
      : inner_{std::move(inner)}, outbound_{outbound}, inbound_{inbound} {}

  [[nodiscard]] Inner& inner() noexcept { return inner_; }
  [[nodiscard]] const Inner& inner() const noexcept { return inner_; }
  /// The two directions: their counters, and their conditions to change.
  [[nodiscard]] Impairment& outbound() noexcept { return outbound_; }
  [[nodiscard]] const Impairment& outbound() const noexcept { return outbound_; }
  [[nodiscard]] Impairment& inbound() noexcept { return inbound_; }
  [[nodiscard]] const Impairment& inbound() const noexcept { return inbound_; }
  /// Packets that reached `inner` while it was down or failed, and so went nowhere.
  [[nodiscard]] std::uint64_t undeliverable() const noexcept { return undeliverable_; }

  [[nodiscard]] DeviceCaps caps() const noexcept { return without_offloads(inner_.caps()); }

  /// Takes one batch from `inner` into the link, then gives what has come through it. The status is
  /// `inner`'s unless more has come through than the batch holds.
  RxResult receive(std::span<RxPacket> batch, BlockPool& pool) noexcept {
    const RxResult taken = inner_.receive(batch, pool);
    for (const RxPacket& packet : batch.first(taken.count)) {
      visit_wire_packets(packet.bytes, packet.offload, scratch_,
                         [this](Bytes bytes) { inbound_.push(bytes, now_); });
    }
    pass_answers(inbound_, outbound_);

    if (lent_.size() < batch.size()) lent_.resize(batch.size());
    std::size_t count = 0;
    while (count < batch.size() && inbound_.pop_due(now_, lent_[count])) {
      batch[count] = RxPacket{.bytes = lent_[count].bytes};
      ++count;
    }
    const bool more = inbound_.next_due() <= now_;
    return {count, more ? DeviceStatus::ok : taken.status};
  }

  TxResult send(std::span<const TxPacket> packets) noexcept {
    drain();
    if (std::exchange(replan_, false)) return {0, DeviceStatus::replan};
    if (stuck_) return {0, DeviceStatus::would_block};
    for (const TxPacket& packet : packets) outbound_.push(packet, now_);
    pass_answers(outbound_, inbound_);
    drain();
    return {packets.size(), status_};
  }

  /// Moves the time, and what it has brought through the link to `inner`.
  void poll(Instant now) noexcept {
    now_ = std::max(now_, now);
    if constexpr (TimedDevice<Inner>) inner_.poll(now);
    drain();
  }

  /// When the next packet comes through the link. A packet that waits for `inner` to take it does
  /// not count.
  [[nodiscard]] Instant next_timeout() const noexcept {
    Instant next = inbound_.next_due();
    if (!stuck_) next = std::min(next, outbound_.next_due());
    if constexpr (TimedDevice<Inner>) next = std::min(next, inner_.next_timeout());
    return next;
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
  // What the link's router says to a sender.
  void pass_answers(Impairment& from, Impairment& back) {
    while (from.pop_answer(answer_)) back.push(answer_.bytes, now_, answer_.reason);
  }

  // Hands what is due to `inner`, one by one, until it blocks.
  void drain() noexcept {
    while (stuck_ || outbound_.pop_due(now_, leaving_)) {
      status_ = hand_over();
      stuck_ = status_ == DeviceStatus::would_block;
      if (stuck_) return;
      if (status_ != DeviceStatus::ok) ++undeliverable_;
    }
  }

  DeviceStatus hand_over() noexcept {
    const Bytes piece = leaving_.bytes;
    const TxPacket packet{
        .pieces = {&piece, 1}, .size_bytes = piece.size(), .reason = leaving_.reason};
    DeviceStatus status = inner_.send({&packet, 1}).status;
    if (status ==
        DeviceStatus::replan) {  // the stack is told; this packet is on its way and goes as it is
      replan_ = true;
      status = inner_.send({&packet, 1}).status;
    }
    return status;
  }

  Inner inner_;
  Impairment outbound_;
  Impairment inbound_;
  Instant now_ = Instant::min();
  std::vector<StoredPacket> lent_;  // by the last receive
  StoredPacket leaving_;            // handed over, or stuck
  StoredPacket answer_;
  std::vector<std::byte> scratch_;  // of a packet that is being cut
  bool stuck_ = false;
  bool replan_ = false;
  DeviceStatus status_ = DeviceStatus::ok;  // of the last hand-over
  std::uint64_t undeliverable_ = 0;
};

}  // namespace tunic::inline v0
