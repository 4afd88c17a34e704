// SPDX-License-Identifier: BSL-1.0
#pragma once

// The settings of the Internet layer, and which addresses are ours.

#include <tunic/base/time.hpp>
#include <tunic/wire/address.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

struct IpConfig {
  bool answer_echo = true;                ///< Answer pings (RFC 1122 3.2.2.6).
  std::uint32_t echo_per_second = 1000;   ///< Echo replies in all.
  std::uint32_t errors_per_second = 100;  ///< ICMP errors in all (RFC 1812 4.3.2.8).
  std::uint32_t errors_per_second_and_peer = 10;
  std::uint32_t max_reassemblies = 32;  ///< Packets in reassembly; beyond it the oldest goes.
  std::size_t reassembly_bytes = 1024 * 1024;
  std::uint32_t max_datagram_bytes = 65535;  ///< Larger ones are not reassembled; at least 576.
  Duration reassembly_timeout = std::chrono::seconds{30};
};

/// The addresses of the stack. With `any`, every unicast destination is taken for its own: what a
/// transparent proxy or the far end of a tunnel needs.
class LocalAddresses {
 public:
  LocalAddresses(std::vector<IpCidr> addresses, bool any)
      : addresses_{std::move(addresses)}, any_{any} {}

  [[nodiscard]] bool any() const noexcept { return any_; }

  /// Whether `address` is one of those that were configured.
  [[nodiscard]] bool is_configured(const IpAddress& address) const noexcept {
    for (const IpCidr& own : addresses_) {
      if (own.address == address) return true;
    }
    return false;
  }
  /// Whether packets to it are for us.
  [[nodiscard]] bool is_ours(const IpAddress& address) const noexcept {
    return is_configured(address) || (any_ && !is_group(address) && !address.is_martian_source());
  }
  /// Broadcast (limited, or of a subnet of ours) or multicast.
  [[nodiscard]] bool is_group(const IpAddress& address) const noexcept {
    return address.is_multicast() || address.is_limited_broadcast() || is_subnet_broadcast(address);
  }
  [[nodiscard]] bool is_subnet_broadcast(const IpAddress& address) const noexcept {
    for (const IpCidr& own : addresses_) {
      if (own.is_subnet_broadcast(address)) return true;
    }
    return false;
  }
  /// The address to speak to `remote` from: one on its subnet, else the first of its family;
  /// unspecified if none.
  [[nodiscard]] IpAddress source_for(const IpAddress& remote) const noexcept {
    IpAddress first;
    for (const IpCidr& own : addresses_) {
      if (own.address.is_v4() != remote.is_v4()) continue;
      if (own.contains(remote)) return own.address;
      if (first.is_unspecified()) first = own.address;
    }
    return first;
  }
  [[nodiscard]] const std::vector<IpCidr>& all() const noexcept { return addresses_; }

 private:
  std::vector<IpCidr> addresses_;
  bool any_;
};

}  // namespace tunic::inline v0
