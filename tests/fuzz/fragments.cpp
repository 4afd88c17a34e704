// SPDX-License-Identifier: BSL-1.0

// IPv4 reassembly. Any fragments in any order: what is delivered consists of bytes that came, at
// their places, and what is held stays within its limits. The fragments of one packet, however it
// is cut, in any order and with copies: the packet is delivered.

#include "../support/invariants.hpp"
#include "script.hpp"
#include <tunic/ip/fragments.hpp>
#include <tunic/ip/icmp_reply.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

using namespace tunic;
using fuzz::Script;
using test::demand;

namespace {

struct World {
  IpConfig config;
  BlockPool pool{1024 * 1024};
  Stats stats;
  IcmpReplies replies{config, pool, stats, SipKey{1, 2}};
  Fragments fragments{config, pool, stats, replies};
  Instant now{};

  std::optional<Ipv4Packet> add(const Ipv4Header& header, Bytes payload, Bytes options = {}) {
    std::vector<std::byte> bytes(20 + options.size() + payload.size());
    Ipv4Header whole = header;
    whole.total_length = static_cast<std::uint16_t>(bytes.size());
    const std::size_t header_bytes = write_ipv4(bytes, whole, options);
    copy(MutableBytes{bytes}.subspan(header_bytes), payload);
    const auto packet = Ipv4Parser{}(bytes);
    if (!packet || !packet->header.is_fragment()) return std::nullopt;
    const auto result = fragments.add(*packet, Bytes{bytes}.first(header_bytes), now);
    demand(fragments.size() <= config.max_reassemblies, "reassemblies are bounded");
    demand(pool.block_bytes() <= config.reassembly_bytes + 2 * BlockPool::class_bytes.back() +
                                     256 * BlockPool::class_bytes[1],
           "memory is bounded");
    return result;
  }

  void finish() {
    fragments.expire(now + 1000 * config.reassembly_timeout);
    while (!replies.empty()) {
      demand(bool{Ipv4Parser{}(replies.front())}, "replies are packets");
      replies.pop();
    }
    demand(fragments.size() == 0 && pool.block_bytes() == 0, "nothing is left");
  }
};

// The fragments of one packet that came so far.
struct Came {
  std::set<std::pair<std::uint32_t, std::uint32_t>> ranges;  // begin, end
  std::set<std::uint32_t> ends;
  bool forged = false;

  [[nodiscard]] bool cover(std::uint32_t length) const {
    std::uint32_t covered = 0;
    for (const auto& [begin, end] : ranges) {
      if (begin > covered) break;
      covered = std::max(covered, end);
    }
    return covered >= length;
  }
};

void any_fragments(Script& script, World& world) {
  std::map<std::uint32_t, Came> came;
  while (!script.done()) {
    const std::uint8_t choice = script.byte();
    if (choice == 0xff) {
      world.now += std::chrono::seconds{script.byte()};
      world.fragments.expire(world.now);
      continue;
    }
    constexpr std::array protocols{IpProtocol::tcp, IpProtocol::udp, IpProtocol::icmp};
    const std::uint32_t id = choice & 3;
    const std::uint32_t protocol = (choice >> 2 & 3) % protocols.size();
    Came& so_far = came[id * 4 + protocol];
    Ipv4Header header{.src = IpAddress::v4(10, 0, 0, 1),
                      .dst = IpAddress::v4(10, 0, 0, 2),
                      .protocol = protocols[protocol]};
    header.id = static_cast<std::uint16_t>(id);
    header.more_fragments = (choice & 16) != 0;
    const bool far = (choice & 32) != 0;
    header.fragment_offset_bytes =
        static_cast<std::uint16_t>((far ? script.word() & 0x1fff : script.byte() % 16U) * 8);
    header.tos = script.byte() & 3;
    std::size_t size = script.byte() * (far ? 8U : 1U);
    if (header.more_fragments) size = size / 8 * 8;
    const bool forged = (choice & 64) != 0;
    const std::uint32_t place = id * 100'000 + header.fragment_offset_bytes;
    const auto payload = fuzz::pattern(forged ? place + 1 : place, size);
    const std::vector<std::byte> options((choice & 128) != 0 ? script.byte() % 11 * 4 : 0,
                                         std::byte{1});
    so_far.forged = so_far.forged || forged;
    const std::uint32_t end = header.fragment_offset_bytes + static_cast<std::uint32_t>(size);
    so_far.ranges.emplace(header.fragment_offset_bytes, end);
    if (!header.more_fragments) so_far.ends.insert(end);

    const auto whole = world.add(header, payload, options);
    if (!whole) continue;
    demand(!whole->header.is_fragment() && whole->header.id == header.id, "a packet is whole");
    const auto length = static_cast<std::uint32_t>(whole->payload.size());
    demand(so_far.ends.contains(length), "a packet ends where a fragment said so");
    demand(so_far.cover(length), "all bytes came");
    if (!so_far.forged) demand(fuzz::is_pattern(id * 100'000, whole->payload), "in their places");
  }
}

void one_packet(Script& script, World& world) {
  const std::size_t size = 21 + script.word() % 4000U;
  const auto payload = fuzz::pattern(7, size);
  std::vector<std::pair<std::size_t, std::size_t>> parts;  // begin, end
  for (std::size_t begin = 0; begin < size;) {
    const std::size_t step = parts.size() == 40 ? size : 24 + script.byte() * std::size_t{8};
    const std::size_t end = std::min(size, begin + step);
    parts.emplace_back(begin, end);
    begin = end;
  }
  if (parts.size() == 1) return;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    order.insert(order.begin() + script.byte() % (order.size() + 1), i);
  }
  bool delivered = false;
  for (std::size_t n = 0; n < order.size(); ++n) {
    const auto [begin, end] = parts[order[n]];
    Ipv4Header header{.src = IpAddress::v4(10, 0, 0, 1), .dst = IpAddress::v4(10, 0, 0, 2)};
    header.id = 99;
    header.fragment_offset_bytes = static_cast<std::uint16_t>(begin);
    header.more_fragments = end < size;
    const Bytes part = Bytes{payload}.subspan(begin, end - begin);
    const bool twice = n + 1 < order.size() && script.flag();
    for (int copies = twice ? 2 : 1; copies > 0; --copies) {
      const auto whole = world.add(header, part);
      if (!whole) continue;
      demand(n + 1 == order.size(), "a packet is delivered when its last fragment has come");
      demand(fuzz::is_pattern(7, whole->payload) && whole->payload.size() == size, "as it was");
      delivered = true;
    }
  }
  demand(delivered, "a packet whose fragments all came is delivered");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script{data, size};
  World world;
  const std::uint8_t choice = script.byte();
  world.config.max_reassemblies = 1 + choice % 4;
  if ((choice & 16) != 0) world.config.reassembly_bytes = 100'000;
  if ((choice & 128) != 0) {
    one_packet(script, world);
  } else {
    any_fragments(script, world);
  }
  world.finish();
  return 0;
}
