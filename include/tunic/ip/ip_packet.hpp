// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the Internet layer hands up, the same for both address families: a packet for a transport,
// or an error report about a packet that we have sent.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ip_protocol.hpp>

#include <cstdint>

namespace tunic::inline v0 {

/// A validated, whole packet whose destination is ours. The views live until the next packet is
/// received.
struct IpPacket {
  IpAddress src;
  IpAddress dst;
  IpProtocol protocol = IpProtocol::tcp;
  std::uint8_t traffic_class = 0;  ///< DSCP << 2 | ECN.
  std::uint8_t ttl = 0;
  bool to_group = false;            ///< The destination is a broadcast or multicast address.
  bool checksum_verified = false;   ///< Nobody needs to look at the transport's checksum.
  std::uint16_t segment_bytes = 0;  ///< Payload of each of several segments; 0: it is one.
  Bytes payload;
  Bytes whole;  ///< Header and payload: what an ICMP error quotes.
  /// Where the device keeps the block in which the packet lies, when it can be exchanged for one
  /// that is as large (stack/device.hpp). Null: it can't.
  Block** block = nullptr;
};

/// What an ICMP error says about a packet of ours, in words that both families share.
enum class IpErrorKind : std::uint8_t {
  network_unreachable,
  host_unreachable,
  protocol_unreachable,
  port_unreachable,
  packet_too_big,
  time_exceeded,
  parameter_problem,
};

/// An ICMP error that quotes a packet. It may be forged: only a transport that finds the quoted
/// packet in flight believes it (RFC 5927 4.1).
struct IpError {
  IpErrorKind kind = IpErrorKind::host_unreachable;
  std::uint16_t mtu = 0;  ///< Of `packet_too_big`; 0 if the router did not say (RFC 1191 5).
  QuotedPacket quote;
};

}  // namespace tunic::inline v0
