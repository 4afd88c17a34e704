// SPDX-License-Identifier: BSL-1.0
#pragma once

// The header that a Linux TUN or TAP device puts before each packet with IFF_VNET_HDR: the
// virtio-net header of linux/virtio_net.h (virtio 1.2, 5.1.6). It says how far a packet's transport
// checksum is done, and how a packet larger than the MTU (a super-segment) is to be cut. Values,
// parser and writer; what IP and TCP make of them is not decided here.

#include <tunic/base/assert.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/layout.hpp>

#include <boost/endian/buffers.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tunic::inline v0 {

/// The size of the header unless the device is told otherwise (TUNSETVNETHDRSZ), when unused bytes
/// follow it.
inline constexpr std::size_t virtio_net_header_bytes = 10;

/// How far the transport checksum of a packet is done.
enum class ChecksumState : std::uint8_t {
  complete,  ///< It is in its place. Received: to be verified.
  partial,   ///< Its place holds the sum of the pseudo-header; whoever puts it on a wire finishes
             ///< it.
  verified,  ///< Received: somebody has verified it.
};

/// How a super-segment is cut.
enum class Segmentation : std::uint8_t { none, tcp_v4, tcp_v6, udp };

/// What goes with a packet between a stack and its device. Offsets count from the first byte of the
/// packet.
struct Offload {
  ChecksumState checksum = ChecksumState::complete;
  Segmentation segmentation = Segmentation::none;
  bool ecn = false;                   ///< TCP: CWR is set, on the first segment only.
  std::uint16_t header_bytes = 0;     ///< All headers; received it is only a hint.
  std::uint16_t segment_bytes = 0;    ///< Payload of each segment, the last may be shorter.
  std::uint16_t checksum_start = 0;   ///< `partial`: where the transport begins...
  std::uint16_t checksum_offset = 0;  ///< ...and where in it the checksum is.

  [[nodiscard]] friend constexpr bool operator==(const Offload&, const Offload&) noexcept = default;
};

namespace detail {

template <boost::endian::order order>
struct VirtioNetLayout {
  using Word = boost::endian::endian_buffer<order, std::uint16_t, 16>;
  boost::endian::big_uint8_buf_t flags;
  boost::endian::big_uint8_buf_t gso_type;
  Word hdr_len;
  Word gso_size;
  Word csum_start;
  Word csum_offset;
};
static_assert(sizeof(VirtioNetLayout<boost::endian::order::native>) == virtio_net_header_bytes);

inline constexpr std::uint8_t virtio_needs_csum = 1;
inline constexpr std::uint8_t virtio_data_valid = 2;
inline constexpr std::uint8_t virtio_gso_ecn = 0x80;

inline std::optional<Segmentation> virtio_segmentation(std::uint8_t gso_type) noexcept {
  switch (gso_type) {
    case 0:
      return Segmentation::none;
    case 1:
      return Segmentation::tcp_v4;
    case 4:
      return Segmentation::tcp_v6;
    case 5:
      return Segmentation::udp;
    default:
      return std::nullopt;  // UFO (3) was never asked for
  }
}

inline std::uint8_t virtio_gso_type(Segmentation segmentation) noexcept {
  constexpr std::uint8_t types[] = {0, 1, 4, 5};
  return types[static_cast<std::size_t>(segmentation)];
}

// Whether an IP packet is of the kind that is to be cut: by its version and the protocol that
// follows its fixed header. Extension headers of IPv6 are left to its parser.
inline bool can_be_cut(Bytes packet, Segmentation how) noexcept {
  if (packet.size() < 20) return false;
  const auto version = std::to_integer<unsigned>(packet[0]) >> 4;
  const auto next = IpProtocol{std::to_integer<std::uint8_t>(packet[version == 4 ? 9 : 6])};
  switch (how) {
    case Segmentation::none:
      return true;
    case Segmentation::tcp_v4:
      return version == 4 && next == IpProtocol::tcp;
    case Segmentation::tcp_v6:
      return version == 6;
    case Segmentation::udp:
      return (version == 4 && next == IpProtocol::udp) || version == 6;
  }
  return false;
}

template <boost::endian::order order>
std::optional<Offload> read_virtio_net_as(Bytes header, Bytes packet) noexcept {
  const auto layout = load<VirtioNetLayout<order>>(header);
  const std::uint8_t gso_type = layout.gso_type.value();
  const auto segmentation =
      virtio_segmentation(static_cast<std::uint8_t>(gso_type & ~virtio_gso_ecn));
  if (!segmentation) return std::nullopt;
  Offload offload{.segmentation = *segmentation,
                  .ecn = (gso_type & virtio_gso_ecn) != 0,
                  .header_bytes = layout.hdr_len.value()};
  const bool tcp = *segmentation == Segmentation::tcp_v4 || *segmentation == Segmentation::tcp_v6;
  if (offload.ecn && !tcp) return std::nullopt;
  if (*segmentation != Segmentation::none) {
    offload.segment_bytes = layout.gso_size.value();
    if (offload.segment_bytes == 0 || !can_be_cut(packet, *segmentation)) return std::nullopt;
  }
  if ((layout.flags.value() & virtio_needs_csum) != 0) {
    offload.checksum = ChecksumState::partial;
    offload.checksum_start = layout.csum_start.value();
    offload.checksum_offset = layout.csum_offset.value();
    const std::size_t end = std::size_t{offload.checksum_start} + offload.checksum_offset + 2;
    if (end > packet.size()) return std::nullopt;
  } else if ((layout.flags.value() & virtio_data_valid) != 0) {
    offload.checksum = ChecksumState::verified;
  }
  return offload;
}

template <boost::endian::order order>
void write_virtio_net_as(MutableBytes out, const Offload& offload) noexcept {
  VirtioNetLayout<order> layout;
  layout.flags = offload.checksum == ChecksumState::partial ? virtio_needs_csum : std::uint8_t{0};
  layout.gso_type = static_cast<std::uint8_t>(virtio_gso_type(offload.segmentation) |
                                              (offload.ecn ? virtio_gso_ecn : 0));
  layout.hdr_len = offload.header_bytes;
  layout.gso_size = offload.segment_bytes;
  layout.csum_start = offload.checksum_start;
  layout.csum_offset = offload.checksum_offset;
  store(out, layout);
}

}  // namespace detail

/// What the header before an IP packet says, or nothing where it contradicts itself or the packet:
/// an unknown way of cutting, one that does not fit the packet, segments of no size, a checksum
/// beyond the end. `header` has at least `virtio_net_header_bytes`. The device's byte order is the
/// machine's unless it was told otherwise (TUNSETVNETLE, TUNSETVNETBE).
[[nodiscard]] inline std::optional<Offload> parse_virtio_net(
    Bytes header, Bytes packet, std::endian order = std::endian::native) noexcept {
  TUNIC_ASSERT(header.size() >= virtio_net_header_bytes);
  return order == std::endian::little
             ? detail::read_virtio_net_as<boost::endian::order::little>(header, packet)
             : detail::read_virtio_net_as<boost::endian::order::big>(header, packet);
}

/// Writes the header that says this of a packet to be sent. All of `out` is written, what follows
/// the header with zeros.
inline void write_virtio_net(MutableBytes out, const Offload& offload,
                             std::endian order = std::endian::native) noexcept {
  TUNIC_ASSERT(out.size() >= virtio_net_header_bytes);
  if (order == std::endian::little) {
    detail::write_virtio_net_as<boost::endian::order::little>(out, offload);
  } else {
    detail::write_virtio_net_as<boost::endian::order::big>(out, offload);
  }
  for (std::byte& unused : out.subspan(virtio_net_header_bytes)) unused = std::byte{0};
}

}  // namespace tunic::inline v0
