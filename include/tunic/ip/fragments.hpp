// SPDX-License-Identifier: BSL-1.0
#pragma once

// IPv4 reassembly (RFC 791 3.2, RFC 815, RFC 1122 3.3.2). Bounded in packets and bytes: when there
// are too many the oldest incomplete one goes. A packet whose fragments overlap is discarded whole
// (the rule of RFC 5722, for IPv4 too); only an exact repetition is tolerated. A TCP header must
// lie in the first fragment (RFC 1858).

#include <tunic/base/block_pool.hpp>
#include <tunic/base/interval_set.hpp>
#include <tunic/base/time.hpp>
#include <tunic/core/stats.hpp>
#include <tunic/ip/icmp_reply.hpp>
#include <tunic/ip/ip_config.hpp>
#include <tunic/wire/ipv4.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace tunic::inline v0 {

class Fragments {
 public:
  Fragments(const IpConfig& config, BlockPool& pool, Stats& stats, IcmpReplies& replies)
      : config_{config}, pool_{pool}, stats_{stats}, replies_{replies} {
    entries_.reserve(config.max_reassemblies);
  }
  Fragments(const Fragments&) = delete;
  Fragments& operator=(const Fragments&) = delete;
  ~Fragments() {
    release_whole();
    while (!entries_.empty()) discard(entries_.end() - 1);
  }

  /// Takes a fragment. Once all have come it yields the whole packet, whose views live until the
  /// next call.
  [[nodiscard]] std::optional<Ipv4Packet> add(const Ipv4Packet& fragment, Bytes header_bytes,
                                              Instant now) noexcept {
    release_whole();
    ++stats_.ip.fragments_in;
    if (!has_transport_header(fragment)) return refuse(Drop::bad_fragment);
    make_space(fragment.header);
    auto entry = find(fragment.header);
    if (entry == entries_.end()) {
      entry = open(fragment.header, now);
      if (entry == entries_.end()) return refuse(Drop::fragment_limit);
    }
    if (const auto reason = store(*entry, fragment, header_bytes)) {
      discard(entry);
      return refuse(*reason);
    }
    if (entry->ranges.size() != 1 || !entry->has_last || entry->ranges.total() != entry->end ||
        !entry->has_first) {
      return std::nullopt;
    }
    return complete(entry);
  }

  /// Drops what was not complete in time and tells the sender, if the first fragment is here (RFC
  /// 1122 3.3.2).
  void expire(Instant now) noexcept {
    release_whole();
    while (!entries_.empty() && entries_.front().expires <= now) {
      const Entry& entry = entries_.front();
      stats_.count(Drop::fragment_timeout);
      if (entry.has_first) {
        const std::size_t size =
            std::min<std::size_t>(entry.header_size + 8U, entry.header_size + entry.ranges[0].last);
        replies_.reassembly_timeout(entry.key.dst, entry.key.src,
                                    {entry.block->data() + header_room - entry.header_size, size},
                                    now);
      }
      discard(entries_.begin());
    }
  }

  [[nodiscard]] Instant next_expiry() const noexcept {
    return entries_.empty() ? never : entries_.front().expires;
  }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  static constexpr std::size_t header_room = ipv4_max_header_bytes;
  static constexpr std::size_t min_tcp_header = 20;

  struct Key {
    IpAddress src;
    IpAddress dst;
    std::uint16_t id = 0;
    IpProtocol protocol{};
    friend bool operator==(const Key&, const Key&) = default;
  };
  // The block holds the payload behind `header_room` bytes, at the end of which the first
  // fragment's header stands.
  struct Entry {
    Key key;
    Instant expires;
    Block* block = nullptr;
    IntervalSet<std::uint32_t, 64> ranges;  // of payload bytes that have come
    Ipv4Header header;                      // of the first fragment, or of any
    std::uint32_t end = 0;                  // of the payload, once the last fragment has come
    std::uint8_t header_size = 0;
    std::uint8_t ecn_seen = 0;  // a bit for each of the four codepoints
    bool has_first = false;
    bool has_last = false;
  };
  using Entries = std::vector<Entry>;  // oldest first

  std::nullopt_t refuse(Drop reason) noexcept {
    stats_.count(reason);
    return std::nullopt;
  }

  static bool has_transport_header(const Ipv4Packet& fragment) noexcept {
    if (fragment.header.protocol != IpProtocol::tcp) return true;
    const std::size_t offset = fragment.header.fragment_offset_bytes;
    return offset == 0 ? fragment.payload.size() >= min_tcp_header : offset >= min_tcp_header;
  }

  static Key key_of(const Ipv4Header& header) noexcept {
    return {.src = header.src, .dst = header.dst, .id = header.id, .protocol = header.protocol};
  }

  Entries::iterator find(const Ipv4Header& header) noexcept {
    return std::find_if(entries_.begin(), entries_.end(),
                        [key = key_of(header)](const Entry& entry) { return entry.key == key; });
  }

  Entries::iterator open(const Ipv4Header& header, Instant now) noexcept {
    if (config_.max_reassemblies == 0) return entries_.end();
    if (entries_.size() >= config_.max_reassemblies) evict_oldest();
    entries_.push_back({.key = key_of(header),
                        .expires = now + config_.reassembly_timeout,
                        .block = nullptr,
                        .ranges = {},
                        .header = header});
    return entries_.end() - 1;
  }

  // Nothing when the fragment is stored, else why the whole packet goes.
  std::optional<Drop> store(Entry& entry, const Ipv4Packet& fragment, Bytes header_bytes) noexcept {
    const std::uint32_t first = fragment.header.fragment_offset_bytes;
    const auto last = first + static_cast<std::uint32_t>(fragment.payload.size());
    if (last + ipv4_min_header_bytes > config_.max_datagram_bytes) return Drop::packet_too_big;
    const bool is_last = !fragment.header.more_fragments;
    if (is_last ? (entry.has_last && entry.end != last) || highest(entry) > last
                : entry.has_last && last > entry.end) {
      return Drop::fragment_overlap;  // two ends
    }
    if (entry.ranges.contains(first, last)) {
      const bool same = std::memcmp(entry.block->data() + header_room + first,
                                    fragment.payload.data(), fragment.payload.size()) == 0;
      return same ? std::nullopt : std::optional{Drop::fragment_overlap};
    }
    if (!make_room(entry, last)) return Drop::fragment_limit;
    const auto inserted = entry.ranges.insert(first, last);
    if (inserted.full) return Drop::fragment_limit;
    if (inserted.overlapped != 0) return Drop::fragment_overlap;
    copy({entry.block->data() + header_room + first, fragment.payload.size()}, fragment.payload);
    entry.ecn_seen |= static_cast<std::uint8_t>(1U << (fragment.header.tos & 3));
    if (is_last) {
      entry.has_last = true;
      entry.end = last;
    }
    if (first == 0) {
      entry.has_first = true;
      entry.header = fragment.header;
      entry.header_size = static_cast<std::uint8_t>(header_bytes.size());
      copy({entry.block->data() + header_room - header_bytes.size(), header_bytes.size()},
           header_bytes);
    }
    return std::nullopt;
  }

  static std::uint32_t highest(const Entry& entry) noexcept {
    return entry.ranges.empty() ? 0 : entry.ranges[entry.ranges.size() - 1].last;
  }

  // A block that holds the payload up to `last`; the bytes move when it must grow.
  bool make_room(Entry& entry, std::uint32_t last) noexcept {
    const std::size_t needed = header_room + last;
    if (entry.block != nullptr && entry.block->capacity >= needed) return true;
    Block* larger = pool_.allocate(needed);
    if (larger == nullptr) return false;
    if (larger->capacity < needed) {
      pool_.release(larger);
      return false;
    }
    if (entry.block != nullptr) {
      std::memcpy(larger->data(), entry.block->data(), entry.block->capacity);
      pool_.release(entry.block);
    }
    entry.block = larger;
    return true;
  }

  [[nodiscard]] std::size_t held_bytes() const noexcept {
    std::size_t sum = 0;
    for (const Entry& entry : entries_) sum += entry.block == nullptr ? 0 : entry.block->capacity;
    return sum;
  }

  // RFC 3168 5.3: CE wins, but a mix of CE and not-ECT is no packet that an ECN sender has made.
  std::optional<Ipv4Packet> complete(Entries::iterator entry) noexcept {
    constexpr std::uint8_t not_ect = 1, ce = 8;
    if ((entry->ecn_seen & ce) != 0 && (entry->ecn_seen & not_ect) != 0) {
      discard(entry);
      return refuse(Drop::bad_fragment);
    }
    whole_ = std::exchange(entry->block, nullptr);
    Ipv4Packet packet;
    packet.header = entry->header;
    if ((entry->ecn_seen & ce) != 0) packet.header.tos |= 3;
    packet.header.more_fragments = false;
    packet.options = {whole_->data() + header_room - entry->header_size + ipv4_min_header_bytes,
                      entry->header_size - ipv4_min_header_bytes};
    packet.payload = {whole_->data() + header_room, entry->end};
    ++stats_.ip.reassembled;
    discard(entry);
    return packet;
  }

  // Lets the oldest go until the largest packet would find room, but not the one that the fragment
  // belongs to.
  void make_space(const Ipv4Header& header) noexcept {
    constexpr std::size_t largest = header_room + 65535;
    while (!entries_.empty() && held_bytes() + largest > config_.reassembly_bytes &&
           !(entries_.front().key == key_of(header))) {
      evict_oldest();
    }
  }

  void evict_oldest() noexcept {
    stats_.count(Drop::fragment_limit);
    discard(entries_.begin());
  }

  void discard(Entries::iterator entry) noexcept {
    if (entry->block != nullptr) pool_.release(entry->block);
    entries_.erase(entry);
  }

  void release_whole() noexcept {
    if (whole_ != nullptr) pool_.release(std::exchange(whole_, nullptr));
  }

  const IpConfig& config_;
  BlockPool& pool_;
  Stats& stats_;
  IcmpReplies& replies_;
  Entries entries_;
  Block* whole_ = nullptr;  // of the packet that was handed out last
};

}  // namespace tunic::inline v0
