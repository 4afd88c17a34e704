// SPDX-License-Identifier: BSL-1.0
#pragma once

// The queues of a multi-queue TUN interface: one device each, for one stack each on a thread of its
// own. The kernel is told to choose the queue of a packet by `flow_hash`, so that both directions
// of a flow, and a flow that was quiet, use one queue. Where it takes no programs from us it
// chooses by its own rules. In either case `make_shards` (device/shard_device.hpp) makes devices of
// them whose stacks see their own flows only.

#include <tunic/base/error.hpp>
#include <tunic/base/siphash.hpp>
#include <tunic/device/entropy.hpp>
#include <tunic/device/steering.hpp>
#include <tunic/device/system.hpp>
#include <tunic/device/tun_device.hpp>
#include <tunic/device/tun_options.hpp>

#include <cstddef>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

/// Some queues of one interface, in the order in which the kernel numbers them when they are all
/// that it has. A queue that is closed changes the numbers of others: keep all while flows last.
template <System S>
struct BasicTunQueues {
  std::vector<BasicTunDevice<S>> devices;  ///< Empty after an error.
  SipKey key{};  ///< Packets with `flow_hash(key, packet) % devices.size() == i` belong to i.
  bool steered = false;  ///< Whether the kernel steers by that.
  /// The call that was refused: when `open` failed, and when the kernel does not steer.
  TunFailure failure{};

  /// Opens `count` queues of one interface (Linux has 256 at most). What is asked of the interface
  /// holds for all. `steer` false: the kernel is not asked to steer. Errors are those of
  /// `BasicTunDevice::open`, tun_not_tun for an interface with a single queue, and
  /// - invalid_argument: no queue, or a descriptor to adopt;
  /// - seed_missing: the system gives no entropy for the key.
  /// A kernel that refuses to steer is no error. Allocates.
  [[nodiscard]] static BasicTunQueues open(TunOptions options, std::size_t count,
                                           std::error_code& ec, bool steer = true, S system = {}) {
    BasicTunQueues queues;
    const std::optional<SipKey> key = entropy_key();
    ec = make_error_code(count == 0 || options.fd ? Errc::invalid_argument
                         : !key                   ? Errc::seed_missing
                                                  : Errc::none);
    if (ec) return queues;
    queues.key = *key;
    queues.devices.reserve(count);  // the name is that of the first, and lies in it
    options.multi_queue = true;
    const auto persist = std::exchange(options.persist, std::nullopt);
    while (queues.devices.size() < count) {
      if (queues.devices.size() + 1 == count) options.persist = persist;
      queues.devices.push_back(BasicTunDevice<S>::open(options, ec, system));
      if (ec) {
        queues.failure = queues.devices.back().failure();
        queues.devices.clear();
        return queues;
      }
      options.name = queues.devices.front().name();
    }
    if (steer) {
      queues.failure =
          detail::steer_by_flow_hash(system, queues.devices.front().native_handle(), queues.key);
      queues.steered = queues.failure.error_number == 0;
    }
    return queues;
  }

#if defined(__cpp_exceptions)
  /// The same, but throws std::system_error.
  [[nodiscard]] static BasicTunQueues open(const TunOptions& options, std::size_t count,
                                           bool steer = true, S system = {}) {
    std::error_code ec;
    BasicTunQueues queues = open(options, count, ec, steer, std::move(system));
    const char* call = queues.failure.call;
    if (ec) throw std::system_error{ec, *call != '\0' ? call : "TunQueues"};
    return queues;
  }
#endif
};

/// The queues of a TUN interface of this machine.
using TunQueues = BasicTunQueues<LinuxSystem>;

}  // namespace tunic::inline v0
