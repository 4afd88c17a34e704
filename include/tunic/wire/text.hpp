// SPDX-License-Identifier: BSL-1.0
#pragma once

// One line of text for a packet, much as tcpdump writes it: for traces, failing tests and packet
// scripts. Numbers are absolute, a sequence number is always shown, and what is malformed is named
// by its `Drop` reason.

#include <tunic/base/bytes.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/tcp_options.hpp>
#include <tunic/wire/udp.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tunic::inline v0 {

/// The line for a packet that starts at its IP header, without a line end. Any bytes are taken.
/// Allocates.
///
///     10.0.0.1.43210 > 10.0.0.2.7: Flags [S], seq 100, win 64240, options [mss 1460,nop,wscale 7],
///     length 0 10.0.0.2.7 > 10.0.0.1.43210: Flags [P.], seq 500:505, ack 101, win 502, length 5
///     10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 64
[[nodiscard]] inline std::string to_text(Bytes ip_packet);

/// The control bits as tcpdump writes them: `S`, `S.`, `P.`, `.`, or `none`. Allocates.
[[nodiscard]] inline std::string to_text(TcpFlags flags) {
  constexpr std::string_view letters = "FSRP.UEW";
  std::string text;
  for (std::size_t bit = 0; bit < letters.size(); ++bit) {
    if ((flags.bits >> bit & 1) != 0) text += letters[bit];
  }
  return text.empty() ? "none" : text;
}

namespace detail {

/// Shows also what a host would refuse.
struct ShowAllPolicy {
  static constexpr bool accept_source_route = true;
  static constexpr bool accept_martian_sources = true;
};

/// The concatenation of texts and numbers.
template <class... Parts>
std::string join(const Parts&... parts) {
  std::string text;
  const auto add = [&text](const auto& part) {
    if constexpr (requires { text += std::string_view{part}; }) {
      text += std::string_view{part};
    } else {
      text += std::to_string(part);
    }
  };
  (add(parts), ...);
  return text;
}

inline std::string malformed(std::string_view what, Drop reason, std::size_t size) {
  return join(what, ", malformed (", name(reason), "), length ", size);
}

inline std::string protocol_text(IpProtocol protocol) {
  switch (protocol) {
    case IpProtocol::icmp:
      return "ICMP";
    case IpProtocol::tcp:
      return "TCP";
    case IpProtocol::udp:
      return "UDP";
    default:
      return join("protocol ", static_cast<unsigned>(protocol));
  }
}

inline std::string hosts_text(const IpAddress& src, const IpAddress& dst) {
  return join(src.to_string(), " > ", dst.to_string());
}

inline std::string flow_text(const IpAddress& src, std::uint16_t src_port, const IpAddress& dst,
                             std::uint16_t dst_port) {
  return join(src.to_string(), ".", src_port, " > ", dst.to_string(), ".", dst_port);
}

/// One option with its kind and length; `options` holds just its value.
inline std::string tcp_option_text(TcpOptionKind kind, Bytes body, const TcpOptions& options) {
  if (options.has_mss) return join("mss ", options.mss);
  if (options.has_window_scale) return join("wscale ", static_cast<unsigned>(body[0]));
  if (options.sack_permitted) return "sackOK";
  if (options.has_timestamps) {
    return join("TS val ", options.timestamps.value, " ecr ", options.timestamps.echo);
  }
  if (options.sack_count == 0) {
    return join("kind ", static_cast<unsigned>(kind), " length ", body.size() + 2);
  }
  std::string text = "sack";
  for (const SackBlock& block : options.sack_blocks()) {
    text += join(" ", block.left.value(), ":", block.right.value());
  }
  return text;
}

/// Options that were found to be well-formed, in their order on the wire.
inline std::string tcp_options_text(Bytes left) {
  std::string text;
  while (!left.empty()) {
    if (!text.empty()) text += ',';
    const auto kind = TcpOptionKind{static_cast<std::uint8_t>(left[0])};
    if (kind == TcpOptionKind::end_of_list) return text + "eol";
    if (kind == TcpOptionKind::no_operation) {
      text += "nop";
      left = left.subspan(1);
      continue;
    }
    const auto length = static_cast<std::size_t>(left[1]);
    const Bytes body = left.subspan(2, length - 2);
    TcpOptions only;
    read_tcp_option(only, kind, body);
    text += tcp_option_text(kind, body, only);
    left = left.subspan(length);
  }
  return text;
}

/// What routers do with it at congestion (RFC 3168 5), unless they drop it as ever.
inline std::string ecn_text(const Ipv4Header& ip) {
  constexpr std::array<std::string_view, 4> names{"", ", ECT(1)", ", ECT(0)", ", CE"};
  return std::string{names[ip.tos & 3]};
}

inline std::string tcp_text(const Ipv4Packet& packet) {
  const Ipv4Header& ip = packet.header;
  const auto segment = parse_tcp_unverified(packet.payload);
  if (!segment) {
    return join(hosts_text(ip.src, ip.dst), ": ",
                malformed("TCP", segment.drop(), packet.payload.size()));
  }
  const std::size_t size = segment->payload.size();
  std::string text = join(flow_text(ip.src, segment->src_port, ip.dst, segment->dst_port),
                          ": Flags [", to_text(segment->flags), "]", ecn_text(ip));
  if (!parse_tcp(packet.payload, ip.src, ip.dst)) text += ", bad checksum";
  text += join(", seq ", segment->seq.value());
  if (size > 0) text += join(":", (segment->seq + static_cast<std::uint32_t>(size)).value());
  if (segment->has(TcpFlags::ack)) text += join(", ack ", segment->ack.value());
  text += join(", win ", segment->window);
  if (segment->has(TcpFlags::urg)) text += join(", urg ", segment->urgent);
  const Bytes options =
      packet.payload.first(packet.payload.size() - size).subspan(tcp_min_header_bytes);
  if (!options.empty()) text += join(", options [", tcp_options_text(options), "]");
  return text + join(", length ", size);
}

inline std::string udp_text(const Ipv4Packet& packet) {
  const Ipv4Header& ip = packet.header;
  const auto datagram = parse_udp(packet.payload, ip.src, ip.dst);
  if (!datagram) {
    return join(hosts_text(ip.src, ip.dst), ": ",
                malformed("UDP", datagram.drop(), packet.payload.size()));
  }
  return join(flow_text(ip.src, datagram->src_port, ip.dst, datagram->dst_port), ": UDP, length ",
              datagram->payload.size());
}

inline std::string unreachable_text(const IcmpMessage& message) {
  if (message.is_unreachable(IcmpUnreachable::fragmentation_needed)) {
    return join("fragmentation needed, mtu ", message.next_hop_mtu());
  }
  constexpr std::array<std::string_view, 4> names{"net", "host", "protocol", "port"};
  return message.code < names.size() ? std::string{names[message.code]}
                                     : join("code ", static_cast<unsigned>(message.code));
}

inline std::string icmp_kind_text(const IcmpMessage& message) {
  switch (message.type) {
    case IcmpType::echo_request:
    case IcmpType::echo_reply:
      return join("echo ", message.type == IcmpType::echo_request ? "request" : "reply", ", id ",
                  message.echo_id(), ", seq ", message.echo_sequence());
    case IcmpType::destination_unreachable:
      return join("unreachable (", unreachable_text(message), ")");
    case IcmpType::time_exceeded:
      return join("time exceeded (", message.code == 0 ? "in transit" : "in reassembly", ")");
    default:
      return join("type ", static_cast<unsigned>(message.type), " code ",
                  static_cast<unsigned>(message.code));
  }
}

inline std::string quote_text(Bytes body) {
  const auto quote = parse_icmp_quote(body);
  if (!quote) return "a malformed quote";
  const std::string protocol = protocol_text(quote->protocol);
  if (quote->protocol != IpProtocol::tcp && quote->protocol != IpProtocol::udp) {
    return join(hosts_text(quote->src, quote->dst), " ", protocol);
  }
  std::string text =
      join(flow_text(quote->src, quote->src_port, quote->dst, quote->dst_port), " ", protocol);
  if (quote->protocol == IpProtocol::tcp) text += join(" seq ", quote->seq.value());
  return text;
}

inline std::string icmp_text(const Ipv4Packet& packet) {
  const std::string hosts = hosts_text(packet.header.src, packet.header.dst);
  const std::size_t size = packet.payload.size();
  const auto message = parse_icmpv4(packet.payload);
  if (!message) return join(hosts, ": ", malformed("ICMP", message.drop(), size));
  std::string text = join(hosts, ": ICMP ", icmp_kind_text(*message));
  if (message->is_error()) text += join(", about ", quote_text(message->body));
  return text + join(", length ", size);
}

inline std::string fragment_text(const Ipv4Packet& packet) {
  const Ipv4Header& ip = packet.header;
  return join(hosts_text(ip.src, ip.dst), ": ", protocol_text(ip.protocol), " fragment",
              ecn_text(ip), ", id ", ip.id, ", offset ", ip.fragment_offset_bytes,
              ip.more_fragments ? ", more to come" : "", ", length ", packet.payload.size());
}

}  // namespace detail

inline std::string to_text(Bytes ip_packet) {
  const auto packet = BasicIpv4Parser<detail::ShowAllPolicy>{}(ip_packet);
  if (!packet) return detail::malformed("IP", packet.drop(), ip_packet.size());
  if (packet->header.is_fragment()) return detail::fragment_text(*packet);
  switch (packet->header.protocol) {
    case IpProtocol::tcp:
      return detail::tcp_text(*packet);
    case IpProtocol::udp:
      return detail::udp_text(*packet);
    case IpProtocol::icmp:
      return detail::icmp_text(*packet);
    default:
      return detail::join(detail::hosts_text(packet->header.src, packet->header.dst), ": ",
                          detail::protocol_text(packet->header.protocol), ", length ",
                          packet->payload.size());
  }
}

}  // namespace tunic::inline v0
