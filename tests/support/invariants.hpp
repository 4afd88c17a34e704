// SPDX-License-Identifier: BSL-1.0
#pragma once

// What must hold whatever a peer sends: each packet has one counted fate, what is held stays within
// its bounds and goes back to nothing, and the segments of a connection never take back what
// earlier ones said. For tests and fuzzers alike, so it knows no test framework: a broken rule
// throws `Violation`.

#include <tunic/core/stats.hpp>
#include <tunic/stack/config.hpp>
#include <tunic/tcp/state.hpp>
#include <tunic/testing/decode.hpp>
#include <tunic/wire/drop.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp.hpp>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>

namespace tunic::test {

struct Violation : std::logic_error {
  using std::logic_error::logic_error;
};

inline void demand(bool holds, const char* rule) {
  if (!holds) throw Violation{rule};
}

/// How often each of `reasons` was counted between two looks.
inline std::uint64_t dropped_between(const Stats& before, const Stats& after,
                                     std::initializer_list<Drop> reasons) {
  std::uint64_t sum = 0;
  for (const Drop reason : reasons) sum += after.dropped(reason) - before.dropped(reason);
  return sum;
}

/// Exactly one packet came between two looks, at one instant: it was refused by IP, kept as a
/// fragment, or handed up; and of what was handed up, by reassembly too, one thing became.
inline void demand_one_fate(const Stats& before, const Stats& after) {
  const auto drops = [&](std::initializer_list<Drop> reasons) {
    return dropped_between(before, after, reasons);
  };
  demand(after.ip.packets_in - before.ip.packets_in == 1, "one packet came in");
  const std::uint64_t fragments = after.ip.fragments_in - before.ip.fragments_in;
  std::uint64_t refused = drops({Drop::too_short, Drop::bad_version, Drop::bad_header_length,
                                 Drop::bad_total_length, Drop::bad_ip_checksum, Drop::bad_ip_option,
                                 Drop::source_routed, Drop::martian_source, Drop::not_for_us});
  if (fragments == 0) refused += drops({Drop::bad_fragment});
  demand(refused + fragments <= 1, "a packet is counted once by IP");
  const std::uint64_t up = 1 - refused - fragments + after.ip.reassembled - before.ip.reassembled;

  const std::uint64_t tcp =
      after.tcp.segments_in - before.tcp.segments_in +
      drops({Drop::tcp_to_broadcast, Drop::tcp_too_short, Drop::bad_data_offset,
             Drop::bad_tcp_checksum, Drop::bad_tcp_option});
  const std::uint64_t unknown = drops({Drop::unknown_protocol});
  std::uint64_t icmp =
      drops({Drop::icmp_too_short, Drop::bad_icmp_checksum, Drop::broadcast_or_multicast,
             Drop::icmp_unknown_type, Drop::icmp_bad_quote}) +
      after.ip.echo_replies - before.ip.echo_replies +
      std::max(after.ip.icmp_errors_in - before.ip.icmp_errors_in, drops({Drop::icmp_unmatched}));
  // An unknown protocol is answered by ICMP too, and the answer may be held back.
  if (tcp + unknown == 0) icmp += drops({Drop::icmp_rate_limited, Drop::reply_queue_full});
  demand(tcp + unknown + icmp == up, "what is handed up is counted once by its protocol");
}

inline void demand_bounded(const Stats& stats, const StackConfig& config) {
  const Gauges& held = stats.gauges;
  demand(held.connections <= config.tcp.max_connections, "connections are bounded");
  demand(held.awake <= held.connections, "who is awake is a connection");
  demand(held.half_open <= held.connections, "half-open connections are connections");
  demand(held.orphans <= config.tcp.max_orphans, "orphans are bounded");
  demand(held.time_wait <= config.tcp.max_time_wait, "TIME-WAIT is bounded");
  demand(held.reassemblies <= config.ip.max_reassemblies, "reassemblies are bounded");
  demand(held.buffer_bytes <= config.memory_budget, "buffers are within the budget");
}

inline void demand_nothing_held(const Stats& stats) {
  const Gauges& held = stats.gauges;
  demand(held.connections == 0, "no connection is left");
  demand(held.awake == 0, "no control block is left");
  demand(held.half_open == 0, "no half-open connection is left");
  demand(held.orphans == 0, "no orphan is left");
  demand(held.time_wait == 0, "no TIME-WAIT entry is left");
  demand(held.pending_syns == 0, "no pending SYN is left");
  demand(held.reassemblies == 0, "no reassembly is left");
  demand(held.buffer_bytes == 0, "no buffer is left");
}

/// One direction of one connection as its segments show it: what a stack has sent so far, and the
/// rules that its next segment must keep.
class SegmentWatch {
 public:
  /// Looks at a segment that the stack has sent. `scale` is the shift of its window field.
  void sent(const TcpSegment& segment, std::uint8_t scale) {
    if (segment.has(TcpFlags::rst)) return start_over();
    if (segment.has(TcpFlags::syn)) {
      const SeqNum answered = segment.has(TcpFlags::ack) ? segment.ack : SeqNum{};
      const bool used = iss_ && (*iss_ + 1 < end_ || (ack_ && *ack_ != answered));
      if (used || iss_ != segment.seq || syn_ack_ != answered) *this = SegmentWatch{};
      iss_ = segment.seq;
      syn_ack_ = answered;
      scale = 0;
    }
    if (!iss_ && resumed_) iss_ = segment.seq - 1;
    if (!iss_) return;  // of a connection that ended long ago
    check_end(segment);
    if (segment.has(TcpFlags::ack)) check_window(segment, scale);
  }

  /// A SYN cookie, of which there may be several, has made a connection: it begins with the next
  /// segment.
  void resume() {
    *this = SegmentWatch{};
    resumed_ = true;
    seen_all_ = false;
  }

  /// Looks at what the peer allows: the edge never counts back.
  void allowed(SeqNum ack, std::uint32_t window) {
    const SeqNum edge = ack + window;
    peer_edge_ = peer_edge_ ? std::max(*peer_edge_, edge) : edge;
  }

  [[nodiscard]] bool started() const noexcept { return iss_.has_value(); }
  [[nodiscard]] SeqNum iss() const noexcept { return *iss_; }
  /// Next sequence number that it will use, as far as was seen.
  [[nodiscard]] SeqNum snd_nxt() const noexcept { return end_; }
  [[nodiscard]] std::optional<SeqNum> rcv_nxt() const noexcept { return ack_; }
  /// The right edge of the window that it has offered.
  [[nodiscard]] SeqNum rcv_edge() const noexcept { return edge_; }
  /// Where the FIN is, if it was sent.
  [[nodiscard]] std::optional<SeqNum> fin() const noexcept { return fin_; }

 private:
  // A reset says nothing of streams and windows, and may be the end of them.
  void start_over() {
    if (!iss_) return;
    const auto iss = iss_;
    *this = SegmentWatch{};
    iss_ = iss;
    end_ = *iss + 1;
    seen_all_ = false;
  }

  void check_end(const TcpSegment& segment) {
    const auto size = static_cast<std::uint32_t>(segment.payload.size());
    const SeqNum text_end = segment.seq + size + (segment.has(TcpFlags::syn) ? 1 : 0);
    if (segment.has(TcpFlags::fin)) {
      demand(!fin_ || *fin_ == text_end, "a FIN stays where it is");
      fin_ = text_end;
    }
    demand(!fin_ || text_end <= *fin_ || size == 0, "nothing is sent beyond the FIN");
    if (peer_edge_ && size != 0) {
      demand(text_end <= *peer_edge_, "data stays within the peer's window");
    }
    const SeqNum end = segment.seq + segment.length();
    demand(!seen_all_ || segment.has(TcpFlags::syn) || segment.seq <= end_,
           "no sequence number is skipped");
    end_ = end_ == SeqNum{} ? end : std::max(end_, end);
  }

  void check_window(const TcpSegment& segment, std::uint8_t scale) {
    const SeqNum edge = segment.ack + (std::uint32_t{segment.window} << scale);
    if (ack_) {
      demand(*ack_ <= segment.ack, "an acknowledgement is never taken back");
      // A SYN that is sent again can't say more than 65,535.
      const bool capped = segment.has(TcpFlags::syn) && segment.window == 0xffff;
      demand(edge_ - edge < std::int32_t{1} << scale || capped,
             "the right edge of the window retreats by no more than rounding (RFC 7323 2.4)");
    }
    edge_ = ack_ ? std::max(edge_, edge) : edge;
    ack_ = segment.ack;
  }

  std::optional<SeqNum> iss_;
  SeqNum syn_ack_{};
  std::optional<SeqNum> fin_;
  std::optional<SeqNum> ack_;
  std::optional<SeqNum> peer_edge_;
  SeqNum end_{};
  SeqNum edge_{};
  bool seen_all_ = true;
  bool resumed_ = false;
};

/// What a peer knows of a connection before it sends a segment.
struct LiveNumbers {
  SeqNum rcv_nxt, rcv_edge;  // of the stack
  SeqNum snd_una, snd_nxt;
};

/// Whether one segment may lead from one state to another (RFC 9293 3.10.7, RFC 5961).
inline bool may_lead(TcpState from, TcpState to, const TcpSegment& segment,
                     const LiveNumbers& live) {
  if (from == to) return true;
  const bool exact = segment.seq == live.rcv_nxt;
  const bool acks_all = segment.has(TcpFlags::ack) && segment.ack == live.snd_nxt;
  // A FIN that follows what was received, behind data that is new or in part old.
  const SeqNum text_end = segment.seq + static_cast<std::uint32_t>(segment.payload.size());
  const bool brings_fin = segment.has(TcpFlags::fin | TcpFlags::ack) &&
                          !segment.flags.has_any(TcpFlags::syn | TcpFlags::rst) &&
                          segment.seq <= live.rcv_nxt && live.rcv_nxt <= text_end;
  const bool plain_ack = acks_all && !segment.flags.has_any(TcpFlags::syn | TcpFlags::rst);
  if (segment.has(TcpFlags::rst)) {
    if (from == TcpState::syn_sent) return to == TcpState::closed && acks_all;
    return to == TcpState::closed && exact && from != TcpState::time_wait;
  }
  switch (from) {
    case TcpState::syn_sent:
      if (!segment.has(TcpFlags::syn)) return false;
      if (!segment.has(TcpFlags::ack)) return to == TcpState::syn_received;
      return acks_all && (to == TcpState::established ||
                          (to == TcpState::close_wait && segment.has(TcpFlags::fin)));
    case TcpState::syn_received:
      if (to == TcpState::closed) return segment.has(TcpFlags::syn);  // back to LISTEN
      return acks_all && (to == TcpState::established ||
                          (to == TcpState::close_wait && segment.has(TcpFlags::fin)));
    case TcpState::established:
      return to == TcpState::close_wait && brings_fin;
    case TcpState::fin_wait_1:
      if (to == TcpState::fin_wait_2) return plain_ack;
      return (to == TcpState::closing && brings_fin) ||
             (to == TcpState::time_wait && brings_fin && acks_all);
    case TcpState::fin_wait_2:
      return to == TcpState::time_wait && brings_fin;
    case TcpState::closing:
      return to == TcpState::time_wait && plain_ack;
    case TcpState::last_ack:
      return to == TcpState::closed && plain_ack;
    case TcpState::time_wait:  // makes way for a new connection (RFC 9293 MAY-2)
      return to == TcpState::closed && segment.has(TcpFlags::syn) && !segment.has(TcpFlags::ack);
    default:
      return false;
  }
}

}  // namespace tunic::test
