// SPDX-License-Identifier: BSL-1.0
#pragma once

// The Internet layer of a host (RFC 1122 3): validates what the device received, reassembles,
// answers ICMP, and hands the rest up as `IpPacket` or `IpError`. It forwards nothing.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/time.hpp>
#include <tunic/core/stats.hpp>
#include <tunic/ip/echo_client.hpp>
#include <tunic/ip/fragments.hpp>
#include <tunic/ip/icmp_reply.hpp>
#include <tunic/ip/ip_config.hpp>
#include <tunic/ip/ip_packet.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/virtio_net.hpp>

#include <optional>
#include <variant>

namespace tunic::inline v0 {

/// What is left for a transport of a received packet: nothing (it was dropped, answered, or kept
/// for reassembly), a packet, or an error report.
using IpInput = std::variant<std::monostate, IpPacket, IpError>;

/// `with_reassembly` false: fragments are dropped and counted.
template <bool with_reassembly>
class IpLayer {
 public:
  IpLayer(const IpConfig& config, LocalAddresses local, BlockPool& pool, Stats& stats,
          SipKey secret)
      : config_{config},
        addresses{std::move(local)},
        replies{config_, pool, stats, secret},
        echo_client{replies, secret},
        stats_{stats},
        fragments_{config_, pool, stats, replies} {}
  IpLayer(const IpLayer&) = delete;
  IpLayer& operator=(const IpLayer&) = delete;

  /// A packet has come.
  void count(Bytes bytes, const Offload& offload) noexcept {
    ++stats_.ip.packets_in;
    if (offload.segmentation != Segmentation::none) ++stats_.ip.super_segments_in;
    stats_.ip.bytes_in += bytes.size();
  }

  /// Judges one packet from the device, which it counts. Everything that goes no further is
  /// counted.
  [[nodiscard]] IpInput receive(Bytes bytes, const Offload& offload, Instant now) noexcept {
    count(bytes, offload);
    const auto parsed = Ipv4Parser{}(bytes);
    if (!parsed) return drop(parsed.drop());
    const Ipv4Packet& packet = *parsed;
    const Ipv4Header& header = packet.header;
    if (addresses.is_subnet_broadcast(header.src) || addresses.is_configured(header.src)) {
      return drop(Drop::martian_source);
    }
    const bool to_group = addresses.is_group(header.dst);
    if (!to_group && !addresses.is_ours(header.dst)) return drop(Drop::not_for_us);
    if (!header.is_fragment())
      return deliver(packet, bytes.first(header.total_length), offload, to_group, now);
    if constexpr (with_reassembly) {
      if (const auto whole = fragments_.add(packet, bytes.first(header.header_length), now)) {
        const Bytes image{whole->payload.data() - header.header_length,
                          header.header_length + whole->payload.size()};
        return deliver(*whole, image, {}, to_group, now);
      }
      return {};
    }
    return drop(Drop::bad_fragment);
  }

  /// A packet whose protocol, or whose UDP port, nobody here listens to.
  void refuse(const IpPacket& packet, Instant now) noexcept {
    stats_.count(Drop::unknown_protocol);
    const bool is_udp = packet.protocol == IpProtocol::udp;
    replies.error(packet, is_udp ? IcmpUnreachable::port : IcmpUnreachable::protocol, now);
  }

  void expire(Instant now) noexcept {
    fragments_.expire(now);
    echo_client.expire(now);
  }
  [[nodiscard]] Instant next_expiry() const noexcept {
    return std::min(fragments_.next_expiry(), echo_client.next_expiry());
  }
  [[nodiscard]] std::size_t reassemblies() const noexcept { return fragments_.size(); }

 private:
  const IpConfig config_;

 public:
  const LocalAddresses addresses;
  IcmpReplies replies;
  EchoClient echo_client;

 private:
  IpInput drop(Drop reason) noexcept {
    stats_.count(reason);
    return {};
  }

  IpInput deliver(const Ipv4Packet& packet, Bytes whole, const Offload& offload, bool to_group,
                  Instant now) noexcept {
    const IpPacket up{.src = packet.header.src,
                      .dst = packet.header.dst,
                      .protocol = packet.header.protocol,
                      .traffic_class = packet.header.tos,
                      .ttl = packet.header.ttl,
                      .to_group = to_group,
                      .checksum_verified = is_verified(packet.header, offload),
                      .segment_bytes = offload.segment_bytes,
                      .payload = packet.payload,
                      .whole = whole};
    if (up.protocol == IpProtocol::icmp) return icmp(up, now);
    return up;
  }

  // A checksum that was left to be finished was never on a wire: nothing can have damaged it. That
  // holds for the transport's own, not for one further in, of a tunnel.
  static bool is_verified(const Ipv4Header& header, const Offload& offload) noexcept {
    if (offload.checksum != ChecksumState::partial)
      return offload.checksum == ChecksumState::verified;
    return header.protocol == IpProtocol::tcp && offload.checksum_start == header.header_length &&
           offload.checksum_offset == detail::tcp_checksum_offset;
  }

  IpInput icmp(const IpPacket& packet, Instant now) noexcept {
    const auto message = parse_icmpv4(packet.payload);
    if (!message) return drop(message.drop());
    switch (message->type) {
      case IcmpType::echo_request:
        if (packet.to_group) return drop(Drop::broadcast_or_multicast);
        replies.echo(packet, *message, now);
        return {};
      case IcmpType::echo_reply:
        if (!echo_client.reply(packet.src, *message, now)) return drop(Drop::icmp_unmatched);
        return {};
      case IcmpType::destination_unreachable:
      case IcmpType::time_exceeded:
      case IcmpType::parameter_problem:
        return error(*message);
      default:
        return drop(Drop::icmp_unknown_type);  // source quench (RFC 6633), redirects, queries
    }
  }

  // RFC 1122 3.2.2: passed to the transport, if it quotes a packet of ours.
  IpInput error(const IcmpMessage& message) noexcept {
    const auto kind = kind_of(message);
    if (!kind) return drop(Drop::icmp_unknown_type);
    const auto quote = parse_icmp_quote(message.body);
    if (!quote) return drop(quote.drop());
    if (!addresses.is_ours(quote->src)) return drop(Drop::icmp_unmatched);
    ++stats_.ip.icmp_errors_in;
    return IpError{
        .kind = *kind,
        .mtu = *kind == IpErrorKind::packet_too_big ? message.next_hop_mtu() : std::uint16_t{0},
        .quote = *quote};
  }

  static std::optional<IpErrorKind> kind_of(const IcmpMessage& message) noexcept {
    if (message.type == IcmpType::time_exceeded) return IpErrorKind::time_exceeded;
    if (message.type == IcmpType::parameter_problem) return IpErrorKind::parameter_problem;
    switch (static_cast<IcmpUnreachable>(message.code)) {
      case IcmpUnreachable::net:
      case IcmpUnreachable::net_unknown:
      case IcmpUnreachable::net_prohibited:
      case IcmpUnreachable::net_unreachable_for_tos:
        return IpErrorKind::network_unreachable;
      case IcmpUnreachable::protocol:
        return IpErrorKind::protocol_unreachable;
      case IcmpUnreachable::port:
        return IpErrorKind::port_unreachable;
      case IcmpUnreachable::fragmentation_needed:
        return IpErrorKind::packet_too_big;
      default:
        break;
    }
    if (message.code > static_cast<std::uint8_t>(IcmpUnreachable::precedence_cutoff))
      return std::nullopt;
    return IpErrorKind::host_unreachable;
  }

  Stats& stats_;
  Fragments fragments_;
};

}  // namespace tunic::inline v0
