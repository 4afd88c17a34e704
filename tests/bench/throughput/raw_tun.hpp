// SPDX-License-Identifier: BSL-1.0
#pragma once

// A TUN descriptor that is read and written as it is, and IPv4 headers made by hand. Only opening
// it is tunic's, so that the interface is the same as the stack's.

#include "../kernel_tcp.hpp"
#include <tunic/device/tun_device.hpp>

#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <netinet/ip.h>
#include <span>
#include <sys/ioctl.h>
#include <sys/uio.h>

namespace bench {

/// Linux' virtio_net_hdr, whose header file is not for C++.
struct VirtioNetHeader {
  std::uint8_t flags = 0;         // 1: the checksum is to be completed
  std::uint8_t segmentation = 0;  // 1: TCP over IPv4
  std::uint16_t header_bytes = 0;
  std::uint16_t segment_bytes = 0;
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
};

/// The ones' complement sum of big-endian words, on top of `sum`.
inline std::uint32_t sum_words(const void* bytes, std::size_t count, std::uint32_t sum = 0) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  for (; count > 1; count -= 2, at += 2) sum += std::uint32_t{at[0]} << 8 | at[1];
  return count == 0 ? sum : sum + (std::uint32_t{at[0]} << 8);
}
inline std::uint16_t folded(std::uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

/// A complete header of an IPv4 packet without options.
inline iphdr ipv4_header(std::size_t packet_bytes, std::uint8_t protocol, std::uint32_t from,
                         std::uint32_t to) {
  iphdr header{};
  header.ihl = 5;
  header.version = 4;
  header.tot_len = htons(static_cast<std::uint16_t>(packet_bytes));
  header.frag_off = htons(IP_DF);
  header.ttl = 64;
  header.protocol = protocol;
  header.saddr = htonl(from);
  header.daddr = htonl(to);
  header.check = htons(static_cast<std::uint16_t>(~folded(sum_words(&header, sizeof header))));
  return header;
}
/// The sum of the pseudo-header that goes with it.
inline std::uint32_t pseudo_header_sum(const iphdr& header) {
  const std::uint32_t bytes = ntohs(header.tot_len) - std::uint32_t{sizeof header};
  return sum_words(&header.saddr, 8, header.protocol + bytes);
}

class RawTun {
 public:
  explicit RawTun(const tunic::TunOptions& options) : device_{tunic::TunDevice::open(options)} {
    if (!options.offload) return;
    int size = 0;
    must(ioctl(fd(), TUNGETVNETHDRSZ, &size), "TUNGETVNETHDRSZ");
    if (size != sizeof(VirtioNetHeader) || !device_.caps().tcp_v4_segmentation)
      throw std::runtime_error{"this kernel has no TUN offload"};
    header_bytes_ = sizeof(VirtioNetHeader);
  }

  [[nodiscard]] int fd() const noexcept { return device_.native_handle(); }
  [[nodiscard]] bool offload() const noexcept { return header_bytes_ != 0; }

  /// The size of the IP packet, or negative.
  ssize_t read(std::span<unsigned char> packet) const {
    VirtioNetHeader ignored;
    const std::array<iovec, 2> pieces{iovec{&ignored, header_bytes_},
                                      iovec{packet.data(), packet.size()}};
    return readv(fd(), pieces.data(), 2) - static_cast<ssize_t>(header_bytes_);
  }
  bool write(VirtioNetHeader offload, std::span<const unsigned char> headers,
             std::span<const char> payload) const {
    const std::array<iovec, 3> pieces{
        iovec{&offload, header_bytes_},
        iovec{const_cast<unsigned char*>(headers.data()), headers.size()},
        iovec{const_cast<char*>(payload.data()), payload.size()}};
    return writev(fd(), pieces.data(), payload.empty() ? 2 : 3) >= 0;
  }

 private:
  tunic::TunDevice device_;
  std::size_t header_bytes_ = 0;
};

}  // namespace bench
