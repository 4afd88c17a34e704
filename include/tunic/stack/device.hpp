// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a stack needs from the thing that carries its IP packets: the `Device` concept and the
// values that cross it. A device is a TUN descriptor, a queue in memory, or a decorator around
// another device. Nothing here knows about operating systems or about TCP.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/base/siphash.hpp>
#include <tunic/base/time.hpp>
#include <tunic/core/tx_reason.hpp>
#include <tunic/ip/ip_packet.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/virtio_net.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace tunic::inline v0 {

/// What a device can do. It changes only inside `receive` and `send`.
struct DeviceCaps {
  std::size_t mtu_bytes = 1500;  ///< Largest IP packet, header included, in both directions.
  std::size_t tx_batch = 64;     ///< Packets that one `send` can make good use of.
  /// Packets may be sent with a `partial` transport checksum.
  bool partial_checksums = false;
  /// TCP super-segments of up to `super_segment_bytes` may be sent, by address family; with CWR on
  /// the first segment where `ecn_segmentation` says so. They always have a partial checksum.
  bool tcp_v4_segmentation = false;
  bool tcp_v6_segmentation = false;
  bool ecn_segmentation = false;
};

/// The largest IP packet, headers included: what a super-segment may have.
inline constexpr std::size_t super_segment_bytes = 65535;

/// The MTU that a stack reckons with: no less than IPv4's smallest (RFC 791 3.2), no more than IP
/// can say.
[[nodiscard]] inline std::uint16_t usable_mtu(const DeviceCaps& caps) noexcept {
  return static_cast<std::uint16_t>(std::clamp<std::size_t>(caps.mtu_bytes, 68, 0xffff));
}

/// The outcome of a device call beside its count.
enum class DeviceStatus : std::uint8_t {
  ok,           ///< Everything asked for was done.
  would_block,  ///< Nothing (more) now; readable or writable again later.
  replan,       ///< `caps()` changed: read it again and plan what was not accepted anew, at once.
  down,         ///< The link is down: try again by timer.
  failed,       ///< The device is gone for good.
};

/// One received IP packet, or several segments of one flow in one (`offload.segmentation`). A
/// device never says falsely that a checksum is `verified` or `partial`.
struct RxPacket {
  Bytes bytes;  ///< A lent view, valid until the next `receive` on the same device.
  Offload offload{};
  /// Where the device keeps the pool's block in which the packet lies, when nothing else does. The
  /// stack may take it, and leave one that is as large in its place. Null: there is none to take.
  Block** block = nullptr;
};

/// One packet to send: a gather list of at least one piece, headers first. The spans live until
/// `send` returns.
struct TxPacket {
  std::span<const Bytes> pieces;
  std::size_t size_bytes = 0;  ///< Sum of the pieces.
  TxReason reason = TxReason::data;
  Offload offload{};  ///< Only what `caps()` allows.
};

/// `count` packets were received. `ok`: there may be more at once; `would_block`: there are none
/// now.
struct RxResult {
  std::size_t count = 0;
  DeviceStatus status = DeviceStatus::ok;
};

/// The first `accepted` packets were taken; the others were not and remain the stack's.
struct TxResult {
  std::size_t accepted = 0;
  DeviceStatus status = DeviceStatus::ok;
};

/// A carrier of IP packets. All calls are `noexcept`. `receive` fills a prefix of the batch with
/// views of storage that stays valid until the next `receive`; `ok` without a packet means that it
/// is to be called again. A device may read into blocks of the pool, which it gives back when it is
/// destroyed at the latest: before the pool. A device that can't send now says `would_block`; one
/// that drops silently is a lossy link.
template <class D>
concept Device = requires(D device, const D constant, std::span<RxPacket> rx, BlockPool& pool,
                          std::span<const TxPacket> tx) {
  { constant.caps() }
  noexcept->std::same_as<DeviceCaps>;
  { device.receive(rx, pool) }
  noexcept->std::same_as<RxResult>;
  { device.send(tx) }
  noexcept->std::same_as<TxResult>;
};

/// A device with a descriptor for an event loop. `wants_write()`: the last `send` was refused, so
/// wait for writability as well.
template <class D>
concept PollableDevice = Device<D> && requires(const D device) {
  { device.native_handle() }
  noexcept->std::convertible_to<int>;
  { device.wants_write() }
  noexcept->std::same_as<bool>;
};

/// A device with timers of its own (a simulated delay, address resolution). The stack calls
/// `poll(now)` at the start of its own `poll` and `flush` and counts `next_timeout()` in its own.
template <class D>
concept TimedDevice = Device<D> && requires(D device, const D constant, Instant now) {
  { device.poll(now) }
  noexcept;
  { constant.next_timeout() }
  noexcept->std::same_as<Instant>;
};

/// A device that knows which address its other side (the kernel) has, so that the stack can refuse
/// to take the same one.
template <class D>
concept AddressedDevice = Device<D> && requires(const D device) {
  { device.host_address() }
  noexcept->std::same_as<std::optional<IpCidr>>;
};

/// A device that carries some of the flows of the stack's addresses, while other stacks have the
/// rest. `owns(local, remote)`: whether what the peer sends in this flow comes here; ports of 0
/// stand for packets without. `pass_on(packet)`: called with what the stack has put together out of
/// fragments; true if it is another stack's, and on its way there or lost.
template <class D>
concept FlowOwner = Device<D> &&
    requires(D device, const D constant, const Endpoint& end, const IpPacket& packet) {
  { constant.owns(end, end) }
  noexcept->std::same_as<bool>;
  { device.pass_on(packet) }
  noexcept->std::same_as<bool>;
};

/// A device that brings the stack's secret when the program gives none: fresh entropy where packets
/// come from a real network, a constant where a run shall be repeatable. Nothing: none can be had.
template <class D>
concept SeededDevice = Device<D> && requires(D device) {
  { device.entropy() }
  noexcept->std::same_as<std::optional<SipKey>>;
};

}  // namespace tunic::inline v0
