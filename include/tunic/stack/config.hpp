// SPDX-License-Identifier: BSL-1.0
#pragma once

// The settings of one stack.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/siphash.hpp>
#include <tunic/core/options.hpp>
#include <tunic/ip/ip_config.hpp>
#include <tunic/wire/address.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace tunic::inline v0 {

struct StackConfig {
  /// Ours, each with its prefix (`"10.0.0.2/24"_cidr`; `"10.0.0.2"_ip` is a single address). The
  /// prefix tells the subnet's broadcast address.
  std::vector<IpCidr> addresses{};
  /// Answer for every unicast address: connections to all of them can be accepted.
  bool any_address = false;
  /// Everything that the stack holds counts against it: buffers by capacity, control blocks,
  /// tables.
  std::size_t memory_budget = std::size_t{256} * 1024 * 1024;
  /// Where memory comes from; null: `operator new`.
  MemorySource* memory = nullptr;
  /// The secret of all sequence numbers, ports and hashes. Without it the device is asked for one
  /// (`SeededDevice`): a TUN device draws it from the system, a mock device has a constant.
  std::optional<SipKey> seed{};
  /// So many packets, or bytes of them, `poll` takes in before it returns with `more`. What the
  /// program reads in each turn stays in the processor's cache; less than large segments are, and
  /// more turns cost more than they save.
  std::uint32_t packets_per_poll = 256;
  std::size_t bytes_per_poll = std::size_t{256} * 1024;
  TcpConfig tcp{};
  IpConfig ip{};
};

}  // namespace tunic::inline v0
