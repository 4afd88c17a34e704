// SPDX-License-Identifier: BSL-1.0
#pragma once

// What stands before each packet on a TUN descriptor: the packet information of tuntap.rst 3.2 and
// the virtio-net header of IFF_VNET_HDR, each where it was agreed on, in this order; and how the
// header and the offloads that it tells of are agreed on with the kernel. Not for users.

#include <tunic/base/bytes.hpp>
#include <tunic/device/system.hpp>
#include <tunic/wire/layout.hpp>
#include <tunic/wire/virtio_net.hpp>

#include <boost/endian/buffers.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <optional>
#include <sys/ioctl.h>

namespace tunic::inline v0::detail {

/// Repeats a call for as long as a signal interrupts it.
template <class Call>
auto retry_interrupted(Call call) noexcept {
  auto answer = call();
  while (answer == -EINTR) answer = call();
  return answer;
}

// Newer than some systems' headers: super-segments of UDP, since Linux 6.2.
inline constexpr unsigned tun_f_uso4 = 0x20;
inline constexpr unsigned tun_f_uso6 = 0x40;

/// The most bytes of a virtio-net header that are read and written: Linux has some of 24.
inline constexpr std::size_t max_vnet_header_bytes = 28;

struct TunFraming {
  struct PacketInformation {
    boost::endian::native_uint16_buf_t flags;
    boost::endian::big_uint16_buf_t protocol;
  };
  static_assert(sizeof(PacketInformation) == sizeof(tun_pi));

  /// Room for what may stand before a packet.
  using Prefix = std::array<std::byte, sizeof(PacketInformation) + max_vnet_header_bytes>;

  /// What it says of a packet that was read.
  struct Told {
    bool truncated = false;
    bool is_ip = true;
    std::optional<Offload> offload{std::in_place};  ///< Nothing: the header makes no sense.
  };

  bool packet_information = false;
  std::uint8_t vnet_header_bytes = 0;  // 0: there is none
  std::endian vnet_order = std::endian::native;
  unsigned offloads = 0;  // TUN_F_...: what the kernel may hand us

  [[nodiscard]] std::size_t information_bytes() const noexcept {
    return packet_information ? sizeof(PacketInformation) : 0;
  }
  [[nodiscard]] std::size_t prefix_bytes() const noexcept {
    return information_bytes() + vnet_header_bytes;
  }
  [[nodiscard]] bool super_segments() const noexcept {
    return (offloads & ~unsigned{TUN_F_CSUM}) != 0;
  }

  /// `packet` is what was read behind the whole prefix, not empty.
  [[nodiscard]] Told read(Bytes prefix, Bytes packet) const noexcept {
    Told told;
    if (packet_information) {
      const auto information = load<PacketInformation>(prefix);
      told.truncated = (information.flags.value() & TUN_PKT_STRIP) != 0;
      told.is_ip =
          information.protocol.value() == ETH_P_IP || information.protocol.value() == ETH_P_IPV6;
    }
    if (vnet_header_bytes != 0) {
      told.offload = parse_virtio_net(prefix.subspan(information_bytes()), packet, vnet_order);
    }
    return told;
  }

  void write(Prefix& prefix, bool is_v6, const Offload& offload) const noexcept {
    const MutableBytes out{prefix.data(), prefix_bytes()};
    if (packet_information) {
      PacketInformation information;
      information.flags = 0;
      information.protocol = is_v6 ? ETH_P_IPV6 : ETH_P_IP;
      store(out, information);
    }
    if (vnet_header_bytes != 0) {
      write_virtio_net(out.subspan(information_bytes()), offload, vnet_order);
    }
  }
};

/// The conversation with the kernel about it.
template <System S>
class TunFramingSetup {
 public:
  TunFramingSetup(S& system, int fd, TunFraming& framing) noexcept
      : system_{system}, fd_{fd}, framing_{framing} {}

  [[nodiscard]] bool kernel_knows_vnet_header() noexcept {
    unsigned features = 0;
    return ask(TUNGETFEATURES, features) == 0 && (features & IFF_VNET_HDR) != 0;
  }

  /// Finds out how the header looks that stands before each packet. False: like none that is known.
  [[nodiscard]] bool agree_on_vnet_header() noexcept {
    int size = virtio_net_header_bytes;
    if (ask(TUNSETVNETHDRSZ, size) < 0 && ask(TUNGETVNETHDRSZ, size) < 0) {
      size = virtio_net_header_bytes;  // as in kernels that know no other
    }
    if (size < int{virtio_net_header_bytes} || size > int{max_vnet_header_bytes}) return false;
    framing_.vnet_header_bytes = static_cast<std::uint8_t>(size);
    // The last program of a persistent interface may have chosen another byte order. Kernels that
    // know only the machine's refuse.
    int little_endian = 1;
    if (ask(TUNSETVNETLE, little_endian) == 0) framing_.vnet_order = std::endian::little;
    return true;
  }

  /// Asks for less until it is granted; not `wanted`: for nothing. A negative errno when even that
  /// is refused. ECN goes with TCP's super-segments, and those of UDP over both families go
  /// together.
  [[nodiscard]] int agree_on_offloads(bool wanted) noexcept {
    constexpr unsigned tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    constexpr unsigned with_ecn = tcp | TUN_F_TSO_ECN;
    constexpr std::array<unsigned, 5> sets{with_ecn | tun_f_uso4 | tun_f_uso6, with_ecn, tcp,
                                           TUN_F_CSUM, 0};
    int answer = -EINVAL;
    for (std::size_t i = wanted ? 0 : sets.size() - 1; i < sets.size() && answer < 0; ++i) {
      answer = set_offloads(sets[i]);
    }
    return answer;
  }

  int set_offloads(unsigned offloads) noexcept {
    const int answer = retry_interrupted(
        [&]() noexcept { return system_.ioctl_value(fd_, TUNSETOFFLOAD, offloads); });
    if (answer >= 0) framing_.offloads = offloads;
    return answer;
  }

 private:
  template <class Value>
  int ask(unsigned long number, Value& value) noexcept {
    return retry_interrupted([&]() noexcept { return system_.ioctl(fd_, number, &value); });
  }

  S& system_;
  int fd_;
  TunFraming& framing_;
};

}  // namespace tunic::inline v0::detail
