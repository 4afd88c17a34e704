// SPDX-License-Identifier: BSL-1.0
#pragma once

// The protocol numbers of IP (IANA "Assigned Internet Protocol Numbers") that this library knows by
// name.

#include <cstdint>

namespace tunic::inline v0 {

/// What an IP packet carries. Every 8-bit value is possible; those that have a name here are
/// spoken.
enum class IpProtocol : std::uint8_t { icmp = 1, tcp = 6, udp = 17, icmpv6 = 58 };

}  // namespace tunic::inline v0
