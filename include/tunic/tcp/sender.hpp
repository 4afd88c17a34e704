// SPDX-License-Identifier: BSL-1.0
#pragma once

// The sending half of a connection: the bytes that wait or are in flight, the sequence numbers
// around them (RFC 9293 3.4), the peer's window, and what loss recovery knows (tcp/recovery.hpp).
// When and in which sizes bytes leave is decided in tcp/output.hpp.

#include <tunic/base/byte_queue.hpp>
#include <tunic/base/time.hpp>
#include <tunic/tcp/delivery_rate.hpp>
#include <tunic/tcp/min_rtt.hpp>
#include <tunic/tcp/pacing.hpp>
#include <tunic/tcp/prr.hpp>
#include <tunic/tcp/rack.hpp>
#include <tunic/tcp/scoreboard.hpp>
#include <tunic/tcp/undo.hpp>
#include <tunic/wire/seq.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

namespace tunic::inline v0 {

/// What governs the congestion window: the controller, proportional rate reduction after a loss
/// that acknowledgements told of, or slow start after a time-out.
enum class SenderPhase : std::uint8_t { open, recovery, loss };

/// What the retransmission timer is for; they exclude each other (RFC 8985 8).
enum class RetransmitTimer : std::uint8_t { time_out, reordering, tail_probe };

/// Forward RTO-recovery (RFC 5682): after a time-out the first acknowledgements tell whether it was
/// spurious.
enum class Frto : std::uint8_t { off, first_ack, second_ack };

/// What a sender knows while nothing waits and nothing is in flight, and more: numbers only, which
/// a connection at rest keeps packed (tcp/resting.hpp).
struct SenderState {
  DeliveryRate rate;
  Rack rack;
  MinRtt min_rtt;
  Prr prr;
  Undo undo;
  Pacer pacer;
  SeqNum iss;
  SeqNum una;  // SND.UNA
  SeqNum nxt;  // SND.NXT: one past the highest sequence number ever sent
  SeqNum wl1;  // SND.WL1, SND.WL2
  SeqNum wl2;
  SeqNum up;                 // byte after the urgent data
  SeqNum recover;            // RecoveryPoint of RFC 6675 5: SND.NXT when the phase began
  SeqNum round_end;          // a round trip ends when this is acknowledged
  SeqNum tail_probe_end;     // SND.NXT after the tail loss probe
  SeqNum timed;              // the acknowledgement that gives the next RTT sample
  SeqNum largest_end;        // end of the first segment of `largest_sent` bytes
  Instant timed_at{};        // when it left; valid while `timing`
  Instant last_sent{};       // when data last left
  Instant rto_at{};          // when the retransmission time-out is due, whatever comes first
  Instant judge_at = never;  // when the next segment is lost unless it is acknowledged (RFC 8985)
  Instant progress_at{};     // when the peer last acknowledged, or data began to wait for it
  std::uint32_t wnd = 0;     // SND.WND in bytes
  std::uint32_t max_wnd = 0;
  std::uint32_t limit = 0;            // send buffer in bytes
  std::uint32_t credit = 0;           // without SACK: bytes that duplicate ACKs say have arrived
  std::uint32_t retransmissions = 0;  // segments
  std::uint32_t losses = 0;           // segments marked lost
  std::uint32_t spurious = 0;         // reductions of the window that were undone
  std::uint32_t duplicates = 0;       // segments that the peer reported twice (RFC 2883)
  std::uint16_t peer_mss = 536;
  std::uint16_t path_mtu = 0;      // until `path_mtu_expires`
  std::uint16_t deferred_mtu = 0;  // an ICMP report waits for lack of progress (RFC 5927 7.2)
  std::uint16_t largest_sent =
      0;  // IP packet sizes that went out, and that the peer has acknowledged
  std::uint16_t largest_acked = 0;
  std::uint8_t scale = 0;  // Snd.Wind.Shift
  std::uint8_t dup_acks = 0;
  std::uint8_t partial_acks = 0;  // of a recovery without SACK (RFC 6582)
  std::uint8_t retries = 0;       // time-outs since the last progress
  SenderPhase phase = SenderPhase::open;
  RetransmitTimer timer = RetransmitTimer::time_out;
  Frto frto = Frto::off;
  bool syn_acked = false;  // `una` is past our SYN
  bool tail_probe_due = false;
  bool tail_probe_out = false;      // a probe has left and nothing is known of it
  bool tail_probe_again = false;    // it was a retransmission
  bool rtt_since_probe = true;      // a probe needs a sample since the last (RFC 8985 7.3)
  bool window_limited = false;      // the congestion window has kept data back in this round...
  bool window_was_limited = false;  // ...or in the one before
  bool timing = false;
  bool fin_queued = false;
  bool fin_acked = false;
  bool urgent = false;       // `up` is ahead of what has been acknowledged
  bool persisting = false;   // the retransmission timer runs as persist timer
  bool probe = false;        // a window probe is due
  bool idle_told = false;    // to the congestion controller, since data last left
  bool force = false;        // send what fits, however little (SWS override, cork time-out)
  bool short_write = false;  // `send` took less than it was given: tell when there is room

  // More on the path's MTU (tcp/path_mtu.hpp).
  Instant path_mtu_expires{};    // from then on it is the device's
  std::uint32_t paths_seen = 0;  // the version of the cache that was looked at
  SeqNum deferred_seq;           // of the packet that `deferred_mtu` is about
  std::uint16_t copy_due = 0;    // payload of a copy of the first segment's beginning...
  std::array<std::uint16_t, 2> copies_sent{};  // ...and of those sent since the last progress
};

struct Sender : SenderState {
  ByteQueue queue;  // starts at `data_begin()`
  Scoreboard board;

  void start(SeqNum isn, std::uint32_t buffer) noexcept {
    iss = una = nxt = recover = round_end = isn;
    up = isn;
    rack.start(isn);
    limit = buffer;
  }

  /// Sequence number of the first byte in the queue.
  [[nodiscard]] SeqNum data_begin() const noexcept { return syn_acked ? una : iss + 1; }
  /// One past the last byte written: the FIN's sequence number once it is queued.
  [[nodiscard]] SeqNum data_end() const noexcept {
    if (fin_acked) return una - 1;
    return data_begin() + static_cast<std::uint32_t>(queue.size());
  }
  /// Bytes thought to be in the network (RFC 6675 4: pipe).
  [[nodiscard]] std::uint32_t in_flight() const noexcept {
    const std::uint32_t flight = board.in_flight();
    return flight - std::min(flight, credit);
  }
  [[nodiscard]] bool outstanding() const noexcept { return una != nxt; }
  /// Whether our FIN has left at least once.
  [[nodiscard]] bool fin_sent() const noexcept { return fin_queued && data_end() < nxt; }
  /// Bytes written and never sent.
  [[nodiscard]] std::size_t unsent() const noexcept {
    const SeqNum end = data_end();
    return nxt < end ? static_cast<std::uint32_t>(end - std::max(nxt, data_begin())) : 0;
  }
  /// Whether data or a FIN waits to be sent for the first time or again.
  [[nodiscard]] bool has_work() const noexcept {
    return board.lost_bytes() != 0 || nxt < data_end() || (fin_queued && nxt <= data_end());
  }
  [[nodiscard]] std::size_t room() const noexcept {
    return limit - std::min<std::size_t>(limit, queue.size());
  }

  /// Takes the window of an acceptable segment, whose `ack` is SND.UNA, unless it is older than the
  /// last one (RFC 9293 3.10.7.4).
  /// Deviation: FSM-35: a segment that acknowledges more is newer whatever its number, a
  /// retransmission; with its acknowledgement and an old window we would send beyond its edge.
  void update_window(SeqNum seq, SeqNum ack, std::uint32_t window) noexcept {
    if (wl2 < ack || wl1 < seq || (wl1 == seq && wl2 <= ack)) {
      wnd = window;
      wl1 = seq;
      wl2 = ack;
      max_wnd = std::max(max_wnd, window);
    }
  }
};

}  // namespace tunic::inline v0
