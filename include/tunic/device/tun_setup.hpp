// SPDX-License-Identifier: BSL-1.0
#pragma once

// The way from `TunOptions` to an open, addressed and running interface:
// Documentation/networking/tuntap.rst of Linux and netdevice(7), one step a function. Each step
// asks for the present state first and changes only what differs, so that a prepared device needs
// no privilege. When a step fails nothing that was opened here stays open. Not for users:
// `BasicTunDevice::open` calls it.

#include <tunic/base/error.hpp>
#include <tunic/device/system.hpp>
#include <tunic/device/tun_framing.hpp>
#include <tunic/device/tun_options.hpp>
#include <tunic/wire/address.hpp>

#include <array>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <utility>

namespace tunic::inline v0::detail {

/// A descriptor, or the negative errno of the call that gave none. Closed unless released.
template <System S>
class OwnedDescriptor {
 public:
  OwnedDescriptor(S& system, int fd) noexcept : system_{system}, fd_{fd} {}
  OwnedDescriptor(const OwnedDescriptor&) = delete;
  OwnedDescriptor& operator=(const OwnedDescriptor&) = delete;
  ~OwnedDescriptor() {
    if (fd_ >= 0) system_.close(fd_);
  }

  [[nodiscard]] int value() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -EBADF); }

 private:
  S& system_;
  int fd_;
};

using InterfaceName = std::array<char, IFNAMSIZ>;  // zero-terminated

/// A socket through which interfaces are asked and told.
template <System S>
OwnedDescriptor<S> control_socket(S& system) noexcept {
  return {system, retry_interrupted([&]() noexcept {
            return system.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
          })};
}

/// The MTU of an interface, or nothing when the kernel does not tell.
template <System S>
std::optional<std::size_t> query_mtu_bytes(S& system, const InterfaceName& name) noexcept {
  const auto control = control_socket(system);
  if (control.value() < 0) return {};
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  const int answer = retry_interrupted(
      [&]() noexcept { return system.ioctl(control.value(), SIOCGIFMTU, &request); });
  if (answer < 0 || request.ifr_mtu <= 0) return {};
  return static_cast<std::size_t>(request.ifr_mtu);
}

/// What is known about an interface once it is open.
struct TunInterface {
  int fd = -1;
  TunFraming framing{};
  InterfaceName name{};  // empty when an adopted descriptor does not tell
  unsigned index = 0;    // 0 when not told
  std::size_t mtu_bytes = 1500;
  std::optional<IpCidr> host_address{};
};

/// One `open`. Used once.
template <System S>
class TunSetup {
 public:
  TunSetup(S& system, const TunOptions& options) noexcept : system_{system}, options_{options} {}

  /// Errc::none: `interface()` is open and its descriptor the caller's.
  Errc run() noexcept {
    if (const Errc error = check_options(); error != Errc::none) return error;
    if (options_.fd) return adopt(*options_.fd);

    OwnedDescriptor<S> tun{system_, retry_interrupted([&]() noexcept {
                             return system_.open(options_.control_device,
                                                 O_RDWR | O_NONBLOCK | O_CLOEXEC);
                           })};
    if (tun.value() < 0) return control_device_refused(tun.value());
    interface_.fd = tun.value();
    if (const Errc error = attach(); error != Errc::none) return error;
    if (const Errc error = configure(); error != Errc::none) return error;
    tun.release();
    return Errc::none;
  }

  [[nodiscard]] const TunInterface& interface() const noexcept { return interface_; }
  [[nodiscard]] TunFailure failure() const noexcept { return failure_; }

 private:
  // --- what can be refused without a call

  Errc check_options() const noexcept {
    if (!options_.fd) {
      if (const Errc error = check_name(options_.name); error != Errc::none) return error;
      const bool unnumbered =
          options_.name.empty() || options_.name.find('%') != options_.name.npos;
      if (unnumbered && !options_.create) return Errc::tun_name_invalid;
    }
    // RFC 791 3.2: every link carries 68 bytes; 65535 is the largest total length.
    if (options_.mtu_bytes && (*options_.mtu_bytes < 68 || *options_.mtu_bytes > 65535)) {
      return Errc::tun_mtu_refused;
    }
    if (options_.queue_packets > static_cast<std::uint32_t>(INT_MAX)) return Errc::invalid_argument;
    return options_.host_address ? check_address(*options_.host_address) : Errc::none;
  }

  // The kernel takes some addresses that no host may have (RFC 1122 3.2.1.3) and is then silent on
  // them; 0.0.0.0 tells it to remove the address.
  static Errc check_address(const IpCidr& host) noexcept {
    if (!host.address.is_v4()) return Errc::not_supported;
    const bool means_all = host.is_subnet_broadcast(host.address) ||
                           (host.prefix_length < 31 && host.address == host.network());
    return means_all || host.prefix_length > 32 || host.address.is_martian_source()
               ? Errc::tun_address_refused
               : Errc::none;
  }

  // The kernel's rules (dev_valid_name, dev_alloc_name), told apart from its other EINVALs.
  static Errc check_name(std::string_view name) noexcept {
    if (name.size() >= IFNAMSIZ) return Errc::tun_name_too_long;
    if (name == "." || name == "..") return Errc::tun_name_invalid;
    constexpr std::string_view forbidden{"/: \t\n\v\f\r\0", 9};
    if (name.find_first_of(forbidden) != name.npos) return Errc::tun_name_invalid;
    const std::size_t percent = name.find('%');
    const bool pattern = percent == name.npos || (name.substr(percent, 2) == "%d" &&
                                                  name.find('%', percent + 1) == name.npos);
    return pattern ? Errc::none : Errc::tun_name_invalid;
  }

  // --- how a descriptor comes to its interface

  Errc control_device_refused(int answer) noexcept {
    const bool missing = answer == -ENOENT || answer == -ENODEV || answer == -ENXIO;
    return fail("open", answer, missing ? Errc::tun_missing : Errc::tun_setup_failed);
  }

  Errc attach() noexcept {
    options_.name.copy(interface_.name.data(), interface_.name.size() - 1);
    if (!options_.create) {
      const auto control = control_socket(system_);
      if (control.value() < 0) return fail("socket", control.value(), Errc::tun_setup_failed);
      ifreq request{};
      if (const int answer = ask(control.value(), SIOCGIFINDEX, request); answer < 0) {
        return fail("SIOCGIFINDEX", answer, Errc::tun_no_such_device);
      }
    }
    ifreq request{};
    const bool vnet_header = options_.offload && framing_setup().kernel_knows_vnet_header();
    request.ifr_flags = static_cast<short>(IFF_TUN | (options_.packet_information ? 0 : IFF_NO_PI) |
                                           (vnet_header ? IFF_VNET_HDR : 0) |
                                           (options_.multi_queue ? IFF_MULTI_QUEUE : 0));
    if (const int answer = ask(interface_.fd, TUNSETIFF, request); answer < 0) {
      // EINVAL: the interface exists and is something else. EBUSY: another descriptor is attached.
      return fail("TUNSETIFF", answer,
                  answer == -EBUSY    ? Errc::tun_busy
                  : answer == -EINVAL ? Errc::tun_not_tun
                  : answer == -ENODEV ? Errc::tun_no_such_device
                                      : Errc::tun_setup_failed);
    }
    interface_.framing.packet_information = options_.packet_information;
    std::memcpy(interface_.name.data(), request.ifr_name, interface_.name.size() - 1);
    if (vnet_header) return set_vnet_header();
    // A persistent interface keeps the offloads of the program that had it before, and would hand
    // us packets whose checksums are left to be finished.
    return set_offloads(false);
  }

  Errc set_vnet_header() noexcept {
    if (!framing_setup().agree_on_vnet_header()) return Errc::tun_not_tun;
    return set_offloads(options_.offload);
  }
  Errc set_offloads(bool wanted) noexcept {
    return told("TUNSETOFFLOAD", framing_setup().agree_on_offloads(wanted), Errc::tun_setup_failed);
  }
  TunFramingSetup<S> framing_setup() noexcept {
    return {system_, interface_.fd, interface_.framing};
  }

  Errc adopt(int fd) noexcept {
    interface_.fd = fd;
    interface_.framing.packet_information = options_.packet_information;
    ifreq request{};
    const int answer = ask(fd, TUNGETIFF, request);
    if (answer == 0) {
      if ((request.ifr_flags & IFF_TUN) == 0) return Errc::tun_not_tun;
      interface_.framing.packet_information = (request.ifr_flags & IFF_NO_PI) == 0;
      std::memcpy(interface_.name.data(), request.ifr_name, interface_.name.size() - 1);
      if ((request.ifr_flags & IFF_VNET_HDR) != 0) {
        if (const Errc error = set_vnet_header(); error != Errc::none) return error;
      }
    } else if (!forbidden(answer)) {  // a sandbox may forbid to ask; else the descriptor is wrong
      return fail("TUNGETIFF", answer,
                  answer == -EBADFD ? Errc::tun_no_such_device : Errc::tun_not_tun);
    }
    if (const Errc error = configure(); error != Errc::none) return error;
    return unblock();
  }

  // --- what an interface is and shall be

  Errc configure() noexcept {
    const auto control = control_socket(system_);
    control_ = control.value();
    if (control_ < 0 && !(options_.fd && nothing_asked())) {
      return fail("socket", control_, Errc::tun_setup_failed);
    }
    for (const auto step : {&TunSetup::find_index, &TunSetup::set_mtu, &TunSetup::set_queue,
                            &TunSetup::set_address, &TunSetup::set_up, &TunSetup::set_owner,
                            &TunSetup::set_group, &TunSetup::set_persistence}) {
      if (const Errc error = (this->*step)(); error != Errc::none) return error;
    }
    return Errc::none;
  }

  bool nothing_asked() const noexcept {
    return !options_.host_address && !options_.queue_packets && !options_.bring_up.value_or(false);
  }

  Errc find_index() noexcept {
    ifreq request{};
    if (const int answer = ask(control_, SIOCGIFINDEX, request); answer == 0) {
      interface_.index = static_cast<unsigned>(request.ifr_ifindex);
    } else if (!options_.fd) {
      return fail("SIOCGIFINDEX", answer, Errc::tun_setup_failed);
    }
    return Errc::none;
  }

  Errc set_mtu() noexcept {
    ifreq request{};
    const int answer = ask(control_, SIOCGIFMTU, request);
    if (answer < 0 && !options_.fd) return fail("SIOCGIFMTU", answer, Errc::tun_setup_failed);
    if (answer == 0 && request.ifr_mtu > 0) {
      interface_.mtu_bytes = static_cast<std::size_t>(request.ifr_mtu);
    }
    if (!options_.mtu_bytes || *options_.mtu_bytes == interface_.mtu_bytes) return Errc::none;
    interface_.mtu_bytes = *options_.mtu_bytes;
    if (answer < 0) return Errc::none;  // adopted, and nobody to ask: the caller's word
    request.ifr_mtu = static_cast<int>(*options_.mtu_bytes);
    return told("SIOCSIFMTU", ask(control_, SIOCSIFMTU, request), Errc::tun_mtu_refused);
  }

  Errc set_queue() noexcept {
    if (!options_.queue_packets) return Errc::none;
    const int wanted = static_cast<int>(*options_.queue_packets);
    ifreq request{};
    if (ask(control_, SIOCGIFTXQLEN, request) == 0 && request.ifr_qlen == wanted) return Errc::none;
    request.ifr_qlen = wanted;
    return told("SIOCSIFTXQLEN", ask(control_, SIOCSIFTXQLEN, request), Errc::tun_setup_failed);
  }

  Errc set_address() noexcept {
    const auto present = present_address();
    interface_.host_address = present;
    if (!options_.host_address || options_.host_address == present) return Errc::none;

    interface_.host_address = options_.host_address;
    ifreq request = address_request(options_.host_address->address.v4_bits());
    if (const int answer = ask(control_, SIOCSIFADDR, request); answer < 0) {
      return fail("SIOCSIFADDR", answer, Errc::tun_address_refused);
    }
    // The new address has the prefix of its class or of a point-to-point link, so the mask is
    // always told.
    request = address_request(mask_of(options_.host_address->prefix_length));
    return told("SIOCSIFNETMASK", ask(control_, SIOCSIFNETMASK, request),
                Errc::tun_address_refused);
  }

  // Of several addresses the kernel reports the one that it is asked about, if there is that one,
  // else the first.
  std::optional<IpCidr> present_address() noexcept {
    const std::uint32_t wanted =
        options_.host_address ? options_.host_address->address.v4_bits() : 0;
    ifreq request = address_request(wanted);
    if (ask(control_, SIOCGIFADDR, request) < 0) return {};
    const std::uint32_t address = address_of(request);
    request = address_request(address);
    if (ask(control_, SIOCGIFNETMASK, request) < 0) return {};
    const int prefix = std::countl_one(address_of(request));
    return IpCidr{IpAddress::v4(address), static_cast<std::uint8_t>(prefix)};
  }

  Errc set_up() noexcept {
    if (!options_.bring_up.value_or(!options_.fd)) return Errc::none;
    ifreq request{};
    if (const int answer = ask(control_, SIOCGIFFLAGS, request); answer < 0) {
      return fail("SIOCGIFFLAGS", answer, Errc::tun_setup_failed);
    }
    if ((request.ifr_flags & IFF_UP) != 0) return Errc::none;
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    return told("SIOCSIFFLAGS", ask(control_, SIOCSIFFLAGS, request), Errc::tun_setup_failed);
  }

  Errc set_owner() noexcept {
    if (!options_.owner_uid) return Errc::none;
    return told("TUNSETOWNER", tell(TUNSETOWNER, *options_.owner_uid), Errc::tun_setup_failed);
  }

  Errc set_group() noexcept {
    if (!options_.group_gid) return Errc::none;
    return told("TUNSETGROUP", tell(TUNSETGROUP, *options_.group_gid), Errc::tun_setup_failed);
  }

  Errc set_persistence() noexcept {
    if (!options_.persist) return Errc::none;
    ifreq request{};
    const bool known = ask(interface_.fd, TUNGETIFF, request) == 0;
    const bool present = (request.ifr_flags & IFF_PERSIST) != 0;
    if (known && present == *options_.persist) return Errc::none;
    return told("TUNSETPERSIST", tell(TUNSETPERSIST, *options_.persist ? 1 : 0),
                Errc::tun_setup_failed);
  }

  Errc unblock() noexcept {
    const int flags =
        retry_interrupted([&]() noexcept { return system_.fcntl(interface_.fd, F_GETFL, 0); });
    if (flags < 0) return fail("F_GETFL", flags, Errc::tun_setup_failed);
    if ((flags & O_NONBLOCK) != 0) return Errc::none;
    return told("F_SETFL", retry_interrupted([&]() noexcept {
                  return system_.fcntl(interface_.fd, F_SETFL, flags | O_NONBLOCK);
                }),
                Errc::tun_setup_failed);
  }

  // --- helpers

  int ask(int fd, unsigned long number, ifreq& request) noexcept {
    if (fd < 0) return fd;
    std::memcpy(request.ifr_name, interface_.name.data(), interface_.name.size());
    return retry_interrupted([&]() noexcept { return system_.ioctl(fd, number, &request); });
  }

  int tell(unsigned long number, unsigned long value) noexcept {
    return retry_interrupted(
        [&]() noexcept { return system_.ioctl_value(interface_.fd, number, value); });
  }

  Errc told(const char* call, int answer, Errc otherwise) noexcept {
    return answer < 0 ? fail(call, answer, otherwise) : Errc::none;
  }

  Errc fail(const char* call, int answer, Errc otherwise) noexcept {
    failure_ = {call, -answer};
    if (forbidden(answer)) return Errc::tun_permission;
    return answer == -ENOMEM ? Errc::no_memory : otherwise;
  }

  static bool forbidden(int answer) noexcept { return answer == -EPERM || answer == -EACCES; }

  static std::uint32_t mask_of(unsigned prefix_length) noexcept {
    return prefix_length == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix_length);
  }

  static ifreq address_request(std::uint32_t bits) noexcept {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(bits);
    ifreq request{};
    std::memcpy(&request.ifr_addr, &address, sizeof address);
    return request;
  }

  static std::uint32_t address_of(const ifreq& request) noexcept {
    sockaddr_in address{};
    std::memcpy(&address, &request.ifr_addr, sizeof address);
    return ntohl(address.sin_addr.s_addr);
  }

  S& system_;
  const TunOptions& options_;
  TunInterface interface_{};
  TunFailure failure_{};
  int control_ = -1;
};

}  // namespace tunic::inline v0::detail
