// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a program says about the TUN device that it wants, and what it is told when it can't have
// it.

#include <tunic/wire/address.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tunic::inline v0 {

/// How to open a TUN device. Everything unset is left as the kernel has it. What is already as
/// wanted is not set again, so a device that was made for the user beforehand (`persist`, `owner`)
/// needs no privilege afterwards.
struct TunOptions {
  /// The interface: attached to when it exists, else created. Empty or a pattern as in "tun%d": the
  /// kernel numbers it. At most 15 bytes; no '/', ':' or white space. Read only during `open`.
  std::string_view name{};

  /// An open and attached descriptor to adopt instead (a VPN framework's, Android's). Then nothing
  /// is set up but what is asked for below, `name` and `create` are not read, and
  /// `packet_information` and `mtu_bytes` are the caller's word where the kernel can't be asked.
  /// The device owns the descriptor once `open` has succeeded, not before.
  std::optional<int> fd{};

  /// Whether a device that does not exist is made. Without: Errc::tun_no_such_device.
  bool create = true;

  /// Four bytes of flags and protocol before each packet on the descriptor. Only for descriptors
  /// whose other users insist; packets that are neither IPv4 nor IPv6 are then recognised and
  /// skipped. An adopted descriptor's own mode is used where the kernel tells it.
  bool packet_information = false;

  /// Whether packets may pass as super-segments of up to 64 KiB and with checksums that nobody
  /// needs to finish, both ways, as far as the kernel can: fewer system calls, and nothing summed
  /// up twice. Captures on the interface then show such packets. A kernel that refuses one later
  /// gets the rest segment by segment.
  bool offload = true;

  /// Whether this is one of several queues of the interface: each `open` of the same name adds one.
  /// `TunQueues::open` opens several at once. An interface that was made beforehand must have been
  /// made for several too (`ip tuntap add ... multi_queue`).
  bool multi_queue = false;

  /// Largest IP packet, 68 (RFC 791) to 65535.
  std::optional<std::size_t> mtu_bytes{};

  /// The kernel's address at its end, with the prefix that it shall route into the device; the
  /// stack's addresses are others out of it. It replaces the interface's first address. IPv4 only:
  /// an IPv6 one gives Errc::not_supported.
  std::optional<IpCidr> host_address{};

  /// Whether the interface is set up. Unset: yes for one that is opened by name, no for an adopted
  /// descriptor.
  std::optional<bool> bring_up{};

  /// Whether the interface outlives the descriptor. Set last of all, so that a failed `open` leaves
  /// nothing behind.
  std::optional<bool> persist{};
  /// The user and the group that may attach to it without privilege.
  std::optional<std::uint32_t> owner_uid{};
  std::optional<std::uint32_t> group_gid{};

  /// Packets that the kernel queues towards this program before it drops (500 unless told). To set
  /// it the kernel wants the capability on the machine itself, so not in a rootless container.
  std::optional<std::uint32_t> queue_packets{};

  /// The control device. Some systems have it elsewhere ("/dev/tun").
  const char* control_device = "/dev/net/tun";
};

/// The system call that made `open` fail, for a log; the `Errc` beside it says what to do.
struct TunFailure {
  const char* call = "";  ///< As in "TUNSETIFF"; empty when none was refused.
  int error_number = 0;   ///< Positive errno.
};

}  // namespace tunic::inline v0
