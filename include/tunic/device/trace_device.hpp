// SPDX-License-Identifier: BSL-1.0
#pragma once

// A decorator that shows every packet that passes to a function: for a log, a capture, a test that
// watches.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/device/packet_queue.hpp>
#include <tunic/device/segmentation.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/wire/address.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

/// Seen from the stack.
enum class Direction : std::uint8_t { in, out };

/// A packet that passed. The bytes are one whole IP packet and live during the call of the sink.
struct TracedPacket {
  Direction direction = Direction::in;
  Bytes bytes;
  TxReason reason = TxReason::data;  ///< Why it was sent; without meaning for `in`.
};

/// `Inner` with a watcher. The sink is called for each packet received, before the stack sees it,
/// and for each packet that `inner` has accepted, not for one that it refused. It must neither
/// throw nor call the stack; what it does is in the packet's way. Offloads pass through, but the
/// sink is shown what they become on a wire: a super-segment as its segments, every checksum
/// finished.
template <Device Inner, std::invocable<const TracedPacket&> Sink>
class TraceDevice {
 public:
  TraceDevice(Inner wrapped, Sink watcher)
      : inner_{std::move(wrapped)}, sink_{std::move(watcher)} {}

  [[nodiscard]] Inner& inner() noexcept { return inner_; }
  [[nodiscard]] const Inner& inner() const noexcept { return inner_; }
  [[nodiscard]] Sink& sink() noexcept { return sink_; }

  [[nodiscard]] DeviceCaps caps() const noexcept { return inner_.caps(); }

  RxResult receive(std::span<RxPacket> batch, BlockPool& pool) noexcept {
    const RxResult result = inner_.receive(batch, pool);
    for (const RxPacket& packet : batch.first(result.count)) {
      visit_wire_packets(packet.bytes, packet.offload, scratch_, [this](Bytes bytes) {
        sink_(TracedPacket{.direction = Direction::in, .bytes = bytes});
      });
    }
    return result;
  }

  TxResult send(std::span<const TxPacket> packets) noexcept {
    const TxResult result = inner_.send(packets);
    for (const TxPacket& packet : packets.first(result.accepted)) {
      whole_.assign(packet);
      visit_wire_packets(whole_.bytes, packet.offload, scratch_, [&](Bytes bytes) {
        sink_(TracedPacket{.direction = Direction::out, .bytes = bytes, .reason = packet.reason});
      });
    }
    return result;
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
  Inner inner_;
  [[no_unique_address]] Sink sink_;
  StoredPacket whole_;              // gathered
  std::vector<std::byte> scratch_;  // cut
};

}  // namespace tunic::inline v0
