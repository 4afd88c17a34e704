// SPDX-License-Identifier: BSL-1.0
#pragma once

// From received packets to the layers. What a bulk sender's packets have in common is looked at
// once: a packet that continues the one before it in its batch goes on with its connection, as if
// both were one, and only what differs is read: numbers, PSH, payload and checksums (as Van
// Jacobson's header prediction, 1990, and generic receive offload do).

#include <tunic/base/bytes.hpp>
#include <tunic/core/stats.hpp>
#include <tunic/ip/ip_layer.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/tcp/tcp_layer.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/tcp.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <variant>

namespace tunic::inline v0 {

template <Device D, class Traits>
class Ingress {
 public:
  using Control = ControlBlock<Traits>;
  using Ip = IpLayer<Traits::reassembly>;

  Ingress(D& device, Ip& ip, TcpLayer<Traits>& tcp, Stats& stats) noexcept
      : device_{device}, ip_{ip}, tcp_{tcp}, stats_{stats} {}
  Ingress(const Ingress&) = delete;
  Ingress& operator=(const Ingress&) = delete;

  /// Takes in what one `receive` of the device has brought. Returns its bytes.
  std::size_t run(std::span<const RxPacket> batch) noexcept {
    std::size_t bytes = 0;
    const RxPacket* before = nullptr;
    Control* cb = nullptr;
    for (const RxPacket& packet : batch) {
      bytes += packet.bytes.size();
      if (cb == nullptr || !follow(*cb, before->bytes, packet)) cb = input(packet);
      before = &packet;
    }
    return bytes;
  }

 private:
  static constexpr std::size_t headers_bytes = ipv4_min_header_bytes + tcp_min_header_bytes;
  /// Where two packets of a run may differ, of the IPv4 and the TCP header without options: IP's
  /// length, identification and checksum, TCP's number, PSH and checksum.
  static constexpr std::array<std::uint8_t, headers_bytes> differing{
      0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0,    0,    0,    0xff, 0xff, 0, 0, 0, 0, 0,
      0, 0, 0,    0,    0,    0,    0, 0xff, 0xff, 0xff, 0xff, 0,    0, 0, 0, 0, TcpFlags::psh.bits,
      0, 0, 0xff, 0xff, 0,    0};

  // The connection that goes on with what follows, if any.
  Control* input(const RxPacket& received) noexcept {
    IpInput in = ip_.receive(received.bytes, received.offload, tcp_.now);
    if (auto* const packet = std::get_if<IpPacket>(&in)) {
      if constexpr (FlowOwner<D>) {
        const bool reassembled = packet->whole.data() != received.bytes.data();
        if (reassembled && device_.pass_on(*packet)) return nullptr;
      }
      packet->block = received.block;
      if (packet->protocol == IpProtocol::tcp) {
        Control* const cb = tcp_.input(*packet);
        const bool plain = packet->payload.data() == received.bytes.data() + ipv4_min_header_bytes;
        offload_ = received.offload;
        verified_ = packet->checksum_verified;
        return plain ? cb : nullptr;
      }
      ip_.refuse(*packet, tcp_.now);
    } else if (const auto* error = std::get_if<IpError>(&in)) {
      if (error->quote.protocol != IpProtocol::tcp) {
        stats_.count(Drop::icmp_unmatched);
      } else {
        tcp_.icmp_error(*error);
      }
    }
    return nullptr;
  }

  // False, and nothing done, where a packet does not go on with the connection of the one before
  // it: it has to be looked at as a whole.
  bool follow(Control& cb, Bytes before, const RxPacket& received) noexcept {
    const Bytes bytes = received.bytes;
    if (received.offload != offload_ || bytes.size() <= headers_bytes) return false;
    const std::size_t tcp_bytes = std::to_integer<std::size_t>(before[32] >> 4) * 4;
    const std::size_t header_bytes = ipv4_min_header_bytes + tcp_bytes;
    const auto ip = detail::load<detail::Ipv4Layout>(bytes);
    const std::size_t total = ip.total_length.value();
    if (total <= header_bytes || total > bytes.size()) return false;
    if (!continues(before, bytes, header_bytes)) return false;
    if (checksum(bytes.first(ipv4_min_header_bytes)) != 0) return false;
    if (!verified_ && !is_intact(bytes.first(total))) return false;
    const auto tcp = detail::load<detail::TcpLayout>(bytes.subspan(ipv4_min_header_bytes));
    TcpSegment segment;
    segment.seq = SeqNum{tcp.seq.value()};
    segment.ack = SeqNum{tcp.ack.value()};
    segment.flags = {tcp.flags.value()};
    segment.window = tcp.window.value();
    segment.payload = bytes.first(total).subspan(header_bytes);
    IpPacket packet;
    packet.traffic_class = ip.tos.value();
    packet.segment_bytes = offload_.segment_bytes;
    packet.block = received.block;
    if (!tcp_.follow(cb, segment, packet)) return false;
    ip_.count(bytes, received.offload);
    ++stats_.ip.packets_coalesced;
    return true;
  }

  static bool continues(Bytes before, Bytes bytes, std::size_t header_bytes) noexcept {
    std::uint64_t difference = 0;
    for (std::size_t i = 0; i < headers_bytes; i += sizeof(std::uint64_t)) {
      difference |=
          (word_at(before.data() + i) ^ word_at(bytes.data() + i)) & ~word_at(differing.data() + i);
    }
    return difference == 0 &&
           std::memcmp(before.data() + headers_bytes, bytes.data() + headers_bytes,
                       header_bytes - headers_bytes) == 0;
  }

  static std::uint64_t word_at(const void* from) noexcept {
    std::uint64_t word;
    std::memcpy(&word, from, sizeof word);
    return word;
  }

  // Addresses, as the pseudo-header has them, and segment follow each other in the packet.
  static bool is_intact(Bytes packet) noexcept {
    constexpr std::size_t addresses = 12;
    InternetSum sum;
    sum.add(packet.subspan(addresses));
    sum.add_word(static_cast<std::uint16_t>(IpProtocol::tcp));
    sum.add_word(static_cast<std::uint16_t>(packet.size() - ipv4_min_header_bytes));
    return sum.finish() == 0;
  }

  D& device_;
  Ip& ip_;
  TcpLayer<Traits>& tcp_;
  Stats& stats_;
  Offload offload_{};      // of the last packet that was looked at as a whole...
  bool verified_ = false;  // ...and whether somebody vouches for its checksum
};

}  // namespace tunic::inline v0
