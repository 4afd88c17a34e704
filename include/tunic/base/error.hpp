// SPDX-License-Identifier: BSL-1.0
#pragma once

// What can go wrong, as one small enumeration for every layer. Hot calls return `IoResult`, set-up
// calls fill a `std::error_code`. Each message says what happened and, where something can be done
// about it, what to do. Portable code compares an `std::error_code` with `std::errc`: a program of
// several shared objects may hold more than one copy of the category, and copies differ.

#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <type_traits>

namespace tunic::inline v0 {

/// The cause of a failure; `none` is success. The comment behind each is the `std::errc` that it
/// equals.
enum class Errc : std::uint8_t {
  none = 0,
  would_block,            ///< operation_would_block
  end_of_stream,          ///< no_message_available
  connection_reset,       ///< connection_reset
  connection_refused,     ///< connection_refused
  connection_aborted,     ///< connection_aborted
  host_unreachable,       ///< host_unreachable
  network_unreachable,    ///< network_unreachable
  timed_out,              ///< timed_out
  not_connected,          ///< not_connected
  already_connected,      ///< already_connected
  broken_pipe,            ///< broken_pipe: a send after `shutdown_send` or `close`
  invalid_argument,       ///< invalid_argument
  not_supported,          ///< not_supported
  address_in_use,         ///< address_in_use
  address_not_available,  ///< address_not_available
  no_ports_left,          ///< address_not_available
  other_shard,            ///< address_not_available: the flow belongs to another shard
  too_many_connections,   ///< too_many_files_open
  no_memory,              ///< not_enough_memory
  message_too_long,       ///< message_size
  permission_denied,      ///< permission_denied
  address_conflict,       ///< address_in_use: the stack's address is the device's own host address
  seed_missing,           ///< invalid_argument: neither the config nor the device has a secret
  device_failed,          ///< io_error
  tun_missing,            ///< no_such_file_or_directory
  tun_permission,         ///< permission_denied
  tun_name_too_long,      ///< filename_too_long
  tun_name_invalid,       ///< invalid_argument
  tun_busy,               ///< device_or_resource_busy
  tun_no_such_device,     ///< no_such_device
  tun_not_tun,            ///< invalid_argument
  tun_address_refused,    ///< address_not_available
  tun_mtu_refused,        ///< invalid_argument
  tun_setup_failed,       ///< io_error
};

/// How many values `Errc` has; they are consecutive from 0.
inline constexpr std::size_t errc_count = static_cast<std::size_t>(Errc::tun_setup_failed) + 1;

/// Outcome of a call that moves bytes: `bytes` were moved even if `error` says why it were not
/// more.
struct IoResult {
  std::size_t bytes = 0;
  Errc error = Errc::none;

  /// Whether nothing went wrong.
  [[nodiscard]] explicit constexpr operator bool() const noexcept { return error == Errc::none; }
};

/// What happened and what to do about it, in English. Never null, lives for ever.
[[nodiscard]] constexpr const char* message(Errc error) noexcept {
  switch (error) {
    case Errc::none:
      return "success";
    case Errc::would_block:
      return "nothing can be done now: try again after the next event of this connection";
    case Errc::end_of_stream:
      return "end of stream: the peer has sent everything and closed its side";
    case Errc::connection_reset:
      return "connection reset by the peer";
    case Errc::connection_refused:
      return "connection refused: nobody listens on that port of the peer";
    case Errc::connection_aborted:
      return "connection aborted on this side";
    case Errc::host_unreachable:
      return "host unreachable: check that the peer is up and that the host between forwards "
             "packets "
             "(sysctl net.ipv4.ip_forward=1)";
    case Errc::network_unreachable:
      return "network unreachable: check the routes of the host behind the device (ip route)";
    case Errc::timed_out:
      return "timed out: the peer did not answer in time";
    case Errc::not_connected:
      return "not connected: the handle is empty or its stack is gone";
    case Errc::already_connected:
      return "already connected: close the connection first, or use another handle";
    case Errc::broken_pipe:
      return "broken pipe: this side has already been closed for sending";
    case Errc::invalid_argument:
      return "invalid argument";
    case Errc::not_supported:
      return "not supported by this device, protocol or configuration";
    case Errc::address_in_use:
      return "address in use: another listener or connection of this stack has that address and "
             "port";
    case Errc::address_not_available:
      return "address not available: it is none of the stack's own; add it to the stack's "
             "addresses";
    case Errc::no_ports_left:
      return "no ephemeral ports left towards that peer: widen the range of ports or reuse "
             "connections";
    case Errc::other_shard:
      return "that flow belongs to another shard: leave the local port to the stack, or use the "
             "shard to which its replies come";
    case Errc::too_many_connections:
      return "too many connections: raise max_connections or close some";
    case Errc::no_memory:
      return "no memory: the stack's budget is spent or its memory source refused; raise the "
             "budget or "
             "close connections";
    case Errc::message_too_long:
      return "message too long: it exceeds what one packet or datagram can carry; send less at "
             "once";
    case Errc::permission_denied:
      return "permission denied by local policy";
    case Errc::address_conflict:
      return "address conflict: the stack has the same address as the host's end of the device; "
             "give the "
             "stack another address of that subnet";
    case Errc::seed_missing:
      return "the stack has no secret: give StackConfig::seed, from entropy_key() for a real "
             "network";
    case Errc::device_failed:
      return "the device failed and is gone: open it again";
    case Errc::tun_missing:
      return "there is no /dev/net/tun: load the driver (modprobe tun); in a container, pass the "
             "device in "
             "(--device /dev/net/tun)";
    case Errc::tun_permission:
      return "not permitted to set up a TUN device: run as root, or grant the capability (setcap "
             "cap_net_admin=eip PROGRAM), or in a container (--cap-add NET_ADMIN --device "
             "/dev/net/tun), or "
             "let root create it for you (ip tuntap add mode tun user USER name NAME)";
    case Errc::tun_name_too_long:
      return "the name of the TUN device is too long: use at most 15 characters";
    case Errc::tun_name_invalid:
      return "the name of the TUN device is not valid: use letters, digits, '-' and '_'";
    case Errc::tun_busy:
      return "the TUN device is in use: stop the other program, choose another name, or open it "
             "with several "
             "queues in both";
    case Errc::tun_no_such_device:
      return "there is no TUN device of that name: create it (ip tuntap add mode tun name NAME), "
             "or let this "
             "program create it";
    case Errc::tun_not_tun:
      return "the device of that name is not a TUN device, or was made with other flags: choose "
             "another name "
             "(ip -details link shows what it is)";
    case Errc::tun_address_refused:
      return "the kernel refused the host's address of the TUN device: check that it is a valid "
             "unicast "
             "address with a prefix, such as 10.0.0.1/24";
    case Errc::tun_mtu_refused:
      return "the MTU of the TUN device was refused: use 576 to 65535 bytes (IPv6 needs 1280)";
    case Errc::tun_setup_failed:
      return "setting up the TUN device failed: the kernel's log may say why (dmesg)";
  }
  return "unknown error";
}

/// The category of error codes made of `Errc`.
[[nodiscard]] const std::error_category& error_category() noexcept;

[[nodiscard]] inline std::error_code make_error_code(Errc error) noexcept {
  return {static_cast<int>(error), error_category()};
}

/// The nearest portable condition. The default-constructed one for `Errc::none`.
[[nodiscard]] inline std::error_condition to_condition(Errc error) noexcept {
  switch (error) {
    case Errc::none:
      break;
    case Errc::would_block:
      return std::errc::operation_would_block;
    case Errc::end_of_stream:
      return std::errc::no_message_available;
    case Errc::connection_reset:
      return std::errc::connection_reset;
    case Errc::connection_refused:
      return std::errc::connection_refused;
    case Errc::connection_aborted:
      return std::errc::connection_aborted;
    case Errc::host_unreachable:
      return std::errc::host_unreachable;
    case Errc::network_unreachable:
      return std::errc::network_unreachable;
    case Errc::timed_out:
      return std::errc::timed_out;
    case Errc::not_connected:
      return std::errc::not_connected;
    case Errc::already_connected:
      return std::errc::already_connected;
    case Errc::broken_pipe:
      return std::errc::broken_pipe;
    case Errc::not_supported:
      return std::errc::not_supported;
    case Errc::address_in_use:
    case Errc::address_conflict:
      return std::errc::address_in_use;
    case Errc::address_not_available:
    case Errc::no_ports_left:
    case Errc::other_shard:
    case Errc::tun_address_refused:
      return std::errc::address_not_available;
    case Errc::too_many_connections:
      return std::errc::too_many_files_open;
    case Errc::no_memory:
      return std::errc::not_enough_memory;
    case Errc::message_too_long:
      return std::errc::message_size;
    case Errc::permission_denied:
    case Errc::tun_permission:
      return std::errc::permission_denied;
    case Errc::tun_missing:
      return std::errc::no_such_file_or_directory;
    case Errc::tun_name_too_long:
      return std::errc::filename_too_long;
    case Errc::tun_busy:
      return std::errc::device_or_resource_busy;
    case Errc::tun_no_such_device:
      return std::errc::no_such_device;
    case Errc::invalid_argument:
    case Errc::tun_name_invalid:
    case Errc::tun_not_tun:
    case Errc::tun_mtu_refused:
    case Errc::seed_missing:
      return std::errc::invalid_argument;
    case Errc::device_failed:
    case Errc::tun_setup_failed:
      return std::errc::io_error;
  }
  return {};
}

namespace detail {

class ErrorCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "tunic"; }
  [[nodiscard]] std::string message(int value) const override {
    return tunic::message(known(value) ? static_cast<Errc>(value) : static_cast<Errc>(0xff));
  }
  [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
    return known(value) ? to_condition(static_cast<Errc>(value))
                        : std::error_condition{value, *this};
  }

 private:
  static bool known(int value) noexcept {
    return value >= 0 && static_cast<std::size_t>(value) < errc_count;
  }
};

}  // namespace detail

inline const std::error_category& error_category() noexcept {
  static const detail::ErrorCategory category;
  return category;
}

}  // namespace tunic::inline v0

template <>
struct std::is_error_code_enum<tunic::Errc> : std::true_type {};
