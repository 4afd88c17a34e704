// SPDX-License-Identifier: BSL-1.0
#pragma once

// ICMP that we send: echo replies, error messages (RFC 1122 3.2.2, RFC 1812 4.3.2) and the echo
// requests of `EchoClient`. Datagrams wait in a bounded queue of blocks, each a whole IPv4 packet
// which egress cuts into fragments if it must. Errors and replies are limited by token buckets: one
// for all, and for errors one per peer as well.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/siphash.hpp>
#include <tunic/base/time.hpp>
#include <tunic/core/stats.hpp>
#include <tunic/ip/ip_config.hpp>
#include <tunic/ip/ip_packet.hpp>
#include <tunic/wire/icmp.hpp>
#include <tunic/wire/ipv4.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

namespace tunic::inline v0 {

/// At most `rate` per second on average, and in a burst.
class TokenBucket {
 public:
  bool take(std::uint32_t rate, Instant now) noexcept {
    if (!started_) {
      started_ = true;
      tokens_ = rate;
      last_ = now;
    }
    const std::int64_t elapsed = std::min<std::int64_t>((now - last_).count(), 1'000'000'000);
    const auto earned = static_cast<std::uint32_t>(elapsed * rate / 1'000'000'000);
    if (earned > 0) {
      tokens_ = std::min(rate, tokens_ + earned);
      last_ = now;
    }
    if (tokens_ == 0) return false;
    --tokens_;
    return true;
  }

 private:
  Instant last_{};
  std::uint32_t tokens_ = 0;
  bool started_ = false;
};

/// Identifications of packets that may be fragmented: a counter for each of 256 hashed (source,
/// destination, protocol), with a keyed offset, so that the IDs seen by one peer say nothing of the
/// traffic to another (RFC 6864 4.3).
class IpIds {
 public:
  explicit IpIds(SipKey secret) noexcept : secret_{secret} {}

  [[nodiscard]] std::uint16_t next(const IpAddress& src, const IpAddress& dst,
                                   IpProtocol protocol) noexcept {
    const auto from = src.hash_words();
    const auto to = dst.hash_words();
    const std::uint64_t hash =
        siphash13(secret_, {from[0], from[1], to[0], to[1], static_cast<std::uint64_t>(protocol)});
    return static_cast<std::uint16_t>((hash >> 32) + counters_[hash % counters_.size()]++);
  }

 private:
  SipKey secret_;
  std::array<std::uint16_t, 256> counters_{};
};

class IcmpReplies {
 public:
  static constexpr std::size_t queue_limit =
      256;  // datagrams; beyond it replies are dropped and counted

  IcmpReplies(const IpConfig& config, BlockPool& pool, Stats& stats, SipKey secret) noexcept
      : config_{config}, pool_{pool}, stats_{stats}, secret_{secret}, ids_{secret} {}
  IcmpReplies(const IcmpReplies&) = delete;
  IcmpReplies& operator=(const IcmpReplies&) = delete;
  ~IcmpReplies() {
    while (head_ != nullptr) pop();
  }

  /// Answers an echo request with its own bytes (RFC 1122 3.2.2.6).
  void echo(const IpPacket& packet, const IcmpMessage& request, Instant now) noexcept {
    if (!config_.answer_echo || packet.to_group) return;
    if (!echo_bucket_.take(config_.echo_per_second, now))
      return stats_.count(Drop::icmp_rate_limited);
    IcmpMessage reply = request;
    reply.type = IcmpType::echo_reply;
    if (enqueue(packet.dst, packet.src, packet.traffic_class & dscp_mask, 64, reply))
      ++stats_.ip.echo_replies;
  }

  /// Reports an error about a packet to its sender, unless that must not be (RFC 1122 3.2.2): not
  /// about ICMP, nor about what went to a group. Fragments and invalid sources do not get here.
  void error(const IpPacket& packet, IcmpUnreachable code, Instant now) noexcept {
    if (packet.to_group || packet.protocol == IpProtocol::icmp) return;
    error(packet.dst, packet.src, packet.whole, IcmpType::destination_unreachable,
          static_cast<std::uint8_t>(code), now);
  }

  /// Fragment reassembly time exceeded (RFC 792, RFC 1122 3.3.2), about a first fragment.
  void reassembly_timeout(const IpAddress& from, const IpAddress& to, Bytes first_fragment,
                          Instant now) noexcept {
    error(from, to, first_fragment, IcmpType::time_exceeded, 1, now);
  }

  /// Queues a message; false when there is no room for it.
  bool enqueue(const IpAddress& from, const IpAddress& to, int traffic_class, std::uint8_t ttl,
               const IcmpMessage& message) noexcept {
    const std::size_t size = ipv4_min_header_bytes + icmp_header_bytes + message.body.size();
    Block* block = size <= 65535 && count_ < queue_limit ? pool_.allocate(size) : nullptr;
    if (block == nullptr) {
      stats_.count(Drop::reply_queue_full);
      return false;
    }
    const Ipv4Header header{.src = from,
                            .dst = to,
                            .protocol = IpProtocol::icmp,
                            .ttl = ttl,
                            .tos = static_cast<std::uint8_t>(traffic_class),
                            .total_length = static_cast<std::uint16_t>(size),
                            .id = ids_.next(from, to, IpProtocol::icmp)};
    write_ipv4(block->room(), header);
    write_icmpv4(block->room().subspan(ipv4_min_header_bytes), message);
    block->end = static_cast<std::uint32_t>(size);
    (head_ == nullptr ? head_ : tail_->next) = block;
    tail_ = block;
    ++count_;
    return true;
  }

  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  /// The oldest queued packet.
  [[nodiscard]] Bytes front() const noexcept { return head_->bytes(); }
  void pop() noexcept {
    Block* gone = head_;
    head_ = gone->next;
    --count_;
    pool_.release(gone);
  }

 private:
  static constexpr int dscp_mask = 0xfc;

  void error(const IpAddress& from, const IpAddress& to, Bytes about, IcmpType type,
             std::uint8_t code, Instant now) noexcept {
    const auto words = to.hash_words();
    TokenBucket& peer = peers_[siphash13(secret_, {words[0], words[1]}) % peers_.size()];
    if (!peer.take(config_.errors_per_second_and_peer, now) ||
        !error_bucket_.take(config_.errors_per_second, now)) {
      return stats_.count(Drop::icmp_rate_limited);
    }
    const IcmpMessage message{.type = type, .code = code, .rest = 0, .body = icmp_quote(about)};
    if (enqueue(from, to, 0, 64, message)) ++stats_.ip.icmp_errors_out;
  }

  const IpConfig& config_;
  BlockPool& pool_;
  Stats& stats_;
  SipKey secret_;
  IpIds ids_;
  Block* head_ = nullptr;
  Block* tail_ = nullptr;
  std::size_t count_ = 0;
  TokenBucket echo_bucket_;
  TokenBucket error_bucket_;
  std::array<TokenBucket, 64>
      peers_;  // by hashed address: a flood from one can't silence another for long
};

}  // namespace tunic::inline v0
