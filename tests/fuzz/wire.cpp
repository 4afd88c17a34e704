// SPDX-License-Identifier: BSL-1.0

// Parsers of `wire/` on any bytes: what parses is written again, and parses to the same value.
// Views lie within what was parsed. So for the header of virtio-net, and what it tells to cut.

#include "../support/invariants.hpp"
#include "script.hpp"
#include <tunic/device/segmentation.hpp>
#include <tunic/testing/segment.hpp>
#include <tunic/wire/address.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/udp.hpp>
#include <tunic/wire/virtio_net.hpp>

#include <algorithm>
#include <vector>

using namespace tunic;
using test::demand;

namespace {

bool within(Bytes part, Bytes whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}
bool same(Bytes a, Bytes b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

void ipv4(Bytes bytes) {
  const auto packet = Ipv4Parser{}(bytes);
  if (!packet) return;
  demand(within(packet->payload, bytes) && within(packet->options, bytes), "views lie within");
  std::vector<std::byte> again(packet->header.total_length);
  const std::size_t size = write_ipv4(again, packet->header, packet->options);
  demand(size == packet->header.header_length, "a header is written as long as it was");
  copy(MutableBytes{again}.subspan(size), packet->payload);
  const auto twice = Ipv4Parser{}(again);
  demand(bool{twice}, "what was written parses");
  const Ipv4Header &a = packet->header, &b = twice->header;
  demand(a.src == b.src && a.dst == b.dst && a.protocol == b.protocol && a.ttl == b.ttl &&
             a.tos == b.tos && a.header_length == b.header_length &&
             a.total_length == b.total_length && a.id == b.id &&
             a.fragment_offset_bytes == b.fragment_offset_bytes &&
             a.dont_fragment == b.dont_fragment && a.more_fragments == b.more_fragments,
         "a header comes back");
  demand(same(packet->options, twice->options) && same(packet->payload, twice->payload),
         "options and payload come back");
}

void tcp(Bytes bytes) {
  const auto segment = parse_tcp_unverified(bytes);
  if (!segment) return;
  demand(within(segment->payload, bytes), "views lie within");
  std::vector<std::byte> again(tcp_max_header_bytes);
  again.resize(write_tcp_header(again, *segment));
  const IpAddress src = IpAddress::v4(10, 0, 0, 1), dst = IpAddress::v4(10, 0, 0, 2);
  finish_tcp_checksum(again, src, dst, {&segment->payload, 1});
  again.insert(again.end(), segment->payload.begin(), segment->payload.end());
  const auto twice = parse_tcp(again, src, dst);
  demand(bool{twice}, "what was written parses, checksum included");
  demand(segment->src_port == twice->src_port && segment->dst_port == twice->dst_port &&
             segment->seq == twice->seq && segment->ack == twice->ack &&
             segment->flags == twice->flags && segment->window == twice->window &&
             segment->urgent == twice->urgent,
         "a header comes back");
  demand(same(segment->payload, twice->payload), "payload comes back");
  again[again.size() / 2] ^= std::byte{4};
  demand(!parse_tcp(again, src, dst), "a turned bit is found");
}

void icmp(Bytes bytes) {
  const auto quote = parse_icmp_quote(bytes);
  if (quote) demand(quote->src.is_v4() && quote->dst.is_v4(), "a quote has addresses");
  const auto message = parse_icmpv4(bytes);
  if (!message) return;
  std::vector<std::byte> again(icmp_header_bytes + message->body.size());
  demand(write_icmpv4(again, *message) == bytes.size(), "a message is as long as it was");
  const auto twice = parse_icmpv4(again);
  demand(twice && twice->type == message->type && twice->code == message->code &&
             twice->rest == message->rest && same(twice->body, message->body),
         "a message comes back");
  demand(icmp_quote(bytes).size() <= 576 - 28, "a quote is short");
}

void udp(Bytes bytes) {
  const IpAddress src = IpAddress::v4(10, 0, 0, 1), dst = IpAddress::v4(10, 0, 0, 2);
  const auto datagram = parse_udp(bytes, src, dst);
  if (!datagram) return;
  demand(within(datagram->payload, bytes), "views lie within");
  std::vector<std::byte> again(udp_header_bytes);
  write_udp_header(again, *datagram, src, dst);
  again.insert(again.end(), datagram->payload.begin(), datagram->payload.end());
  const auto twice = parse_udp(again, src, dst);
  demand(twice && twice->src_port == datagram->src_port && twice->dst_port == datagram->dst_port &&
             same(twice->payload, datagram->payload),
         "a datagram comes back");
}

// The header, then the packet behind it.
void virtio_net(Bytes bytes, std::endian order) {
  if (bytes.size() < virtio_net_header_bytes) return;
  const std::vector<std::byte> header(bytes.begin(), bytes.begin() + virtio_net_header_bytes);
  const std::vector<std::byte> packet(bytes.begin() + virtio_net_header_bytes, bytes.end());
  const auto offload = parse_virtio_net(header, packet, order);
  if (!offload) return;
  Offload sent = *offload;
  if (sent.checksum == ChecksumState::verified) sent.checksum = ChecksumState::complete;
  std::vector<std::byte> again(header.size());
  write_virtio_net(again, sent, order);
  demand(parse_virtio_net(again, packet, order) == sent, "a header comes back");
  std::vector<std::byte> scratch;
  std::size_t count = 0;
  visit_wire_packets(packet, *offload, scratch, [&](Bytes part) {
    demand(part.size() <= packet.size(), "a part is no longer than the whole");
    ++count;
  });
  demand(count >= 1 && count <= packet.size() + 1, "as many segments as there are bytes, at most");
}

void address(Bytes bytes) {
  const std::string_view text = as_text(bytes);
  if (const auto parsed = IpAddress::parse(text)) {
    demand(IpAddress::parse(parsed->to_string()) == parsed, "an address comes back");
  }
  if (const auto parsed = IpCidr::parse(text)) {
    demand(IpCidr::parse(parsed->to_string()) == parsed, "a prefix comes back");
    demand(parsed->contains(parsed->address), "a prefix contains its address");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Script script{data, size};
  const std::uint8_t choice = script.byte();
  std::vector<std::byte> bytes = script.copy(size);  // on the heap: reading past it is found
  if ((choice & 8) != 0) testing::repair_checksums(bytes);
  switch (choice % 6) {
    case 0:
      ipv4(bytes);
      break;
    case 1:
      tcp(bytes);
      break;
    case 2: {
      if ((choice & 16) != 0) testing::detail::repair_checksum(bytes, 2, {});
      icmp(bytes);
      break;
    }
    case 3:
      udp(bytes);
      break;
    case 4:
      virtio_net(bytes, (choice & 16) != 0 ? std::endian::big : std::endian::little);
      break;
    default:
      address(bytes);
      break;
  }
  return 0;
}
