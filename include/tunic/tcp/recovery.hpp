// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the sender makes of acknowledgements: fast retransmit and NewReno's fast recovery (RFC
// 5681 3.2, RFC 6582), RTT samples under Karn's rule (RFC 6298 3, RFC 7323 4), and the time-out's
// go-back-N. The window arithmetic is the congestion controller's.

#include <tunic/tcp/tcp_core.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace tunic::inline v0 {

template <class Traits>
class Recovery {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  Recovery(Core& core, Control& cb) noexcept : core_{core}, cb_{cb} {}

  /// `ack` is in (SND.UNA, SND.NXT]: everything below it has arrived.
  void acknowledged(SeqNum ack, const TcpSegment& segment) noexcept {
    Sender& snd = cb_.snd;
    const std::uint32_t flight = snd.in_flight();
    const auto bytes = static_cast<std::uint32_t>(ack - snd.una);
    const Duration rtt = measure(ack, segment);
    if (rtt.count() >= 0) cb_.rtt.sample(rtt);
    release(ack);
    snd.dup_acks = 0;
    snd.retries = 0;
    snd.progress_at = core_.now;
    if (snd.recovering) {
      advance_recovery(ack, bytes);
    } else {
      snd.inflation = 0;
      if (snd.recover < ack) snd.recover = ack;  // it stays within reach of SND.UNA
      cb_.congestion.on_ack({.now = core_.now,
                             .bytes_acked = bytes,
                             .flight_before = flight,
                             .mss = core_.full_payload(cb_),
                             .rtt = rtt});
    }
    // RFC 6298 5.2, 5.3: all acknowledged stops the timer, new data acknowledged restarts it.
    cb_.deadlines.retransmit = snd.outstanding() ? core_.now + cb_.rtt.rto(core_.config) : never;
    cb_.deadlines.user = snd.outstanding() ? user_deadline() : never;
    core_.arm(cb_);
    core_.want_output(cb_);
    if (snd.short_write && snd.room() >= snd.limit / 2) {
      snd.short_write = false;
      core_.raise(cb_, EventFlags::writable);
    }
  }

  /// An ACK of nothing new while data is outstanding, without payload and with the same window (RFC
  /// 5681 2).
  void duplicate() noexcept {
    Sender& snd = cb_.snd;
    if (snd.dup_acks < 255) ++snd.dup_acks;
    const std::uint32_t mss = core_.full_payload(cb_);
    if (snd.recovering) {
      snd.inflation += mss;  // RFC 6582 3.2, step 3: a segment has left the network
      core_.want_output(cb_);
    } else if (snd.dup_acks == 3 && snd.recover <= snd.una) {
      // RFC 6582 3.2, step 2. Below `recover` the duplicates are echoes of what a time-out sent
      // again (4.1).
      ++core_.stats.tcp.fast_retransmits;
      snd.recovering = true;
      snd.recover = snd.nxt;
      cb_.congestion.on_recovery(snd.in_flight(), mss);
      snd.inflation = 3 * mss;
      resend_first();
    }
  }

  /// The retransmission timer has expired with data outstanding (RFC 6298 5.4 to 5.6, RFC
  /// 5681 3.1).
  void timed_out() noexcept {
    Sender& snd = cb_.snd;
    ++core_.stats.tcp.timeouts;
    cb_.congestion.on_timeout(snd.in_flight(), core_.full_payload(cb_), snd.retries == 0);
    if (snd.retries < 255) ++snd.retries;
    cb_.rtt.back_off();
    snd.recovering = false;
    snd.recover = snd.nxt;
    snd.inflation = 0;
    snd.dup_acks = 0;
    snd.timing = false;
    snd.resend = false;
    snd.next = snd.una;
    snd.force = true;
    core_.want_output(cb_);
  }

  /// All that is in flight is to be cut anew and sent again: the path's MTU has shrunk (RFC
  /// 1191 6.4).
  void resegment() noexcept {
    cb_.snd.timing = false;
    cb_.snd.next = cb_.snd.una;
    cb_.snd.resend = false;
    core_.want_output(cb_);
  }

  /// When the user's patience ends (RFC 9293 3.8.3, R2), if ever.
  [[nodiscard]] Instant user_deadline() const noexcept {
    Duration patience = cb_.options.user_timeout;
    if (cb_.orphan && (patience.count() == 0 || core_.config.orphan_timeout < patience)) {
      patience = core_.config.orphan_timeout;
    }
    return patience.count() == 0 ? never : cb_.snd.progress_at + patience;
  }

 private:
  // RFC 6582 3.2, step 3: a full acknowledgement ends recovery, a partial one uncovers the next
  // hole.
  void advance_recovery(SeqNum ack, std::uint32_t bytes) noexcept {
    Sender& snd = cb_.snd;
    const std::uint32_t mss = core_.full_payload(cb_);
    if (snd.recover <= ack) {
      snd.recovering = false;
      snd.resend = false;
      snd.inflation = 0;
      cb_.congestion.on_recovery_end(snd.in_flight(), mss);
      return;
    }
    snd.inflation -= std::min(snd.inflation, bytes);
    if (bytes >= mss) snd.inflation += mss;
    resend_first();
  }

  void resend_first() noexcept {
    cb_.snd.resend = true;
    cb_.snd.timing = false;  // Karn: what is being timed may be what is sent again
    core_.want_output(cb_);
  }

  // A sample from the segment that was timed, to the nanosecond; after a retransmission from the
  // echoed timestamp, which tells the two apart. Negative when there is none: one sample a round
  // trip is all, for more would shorten the memory of the filter (RFC 6298 3, RFC 7323 4.2).
  [[nodiscard]] Duration measure(SeqNum ack, const TcpSegment& segment) noexcept {
    Sender& snd = cb_.snd;
    // Backed off, the first echo is welcome, also of a part: it ends the back-off.
    if (ack < snd.timed && (snd.timing || cb_.rtt.backoff() == 0)) return Duration{-1};
    snd.timed = snd.nxt + 1;  // what is sent from now on
    if (std::exchange(snd.timing, false)) return core_.now - snd.timed_at;
    if (cb_.timestamps && segment.options.has_timestamps && segment.options.timestamps.echo != 0) {
      const auto ticks =
          static_cast<std::int32_t>(core_.timestamp(cb_) - segment.options.timestamps.echo);
      if (ticks >= 0 && ticks < 10 * 60 * 1000)
        return std::chrono::milliseconds{std::max(ticks, 1)};
    }
    return Duration{-1};
  }

  // Gives acknowledged bytes back and moves SND.UNA.
  void release(SeqNum ack) noexcept {
    Sender& snd = cb_.snd;
    const SeqNum begin = snd.data_begin();
    const SeqNum end = snd.data_end();
    if (snd.largest_sent != 0 && snd.largest_end <= ack)
      snd.largest_acked = std::max(snd.largest_acked, snd.largest_sent);
    if (snd.fin_queued && !snd.fin_acked && end < ack) snd.fin_acked = true;
    snd.queue.consume(static_cast<std::uint32_t>(std::min(ack, end) - begin), core_.pool);
    snd.una = ack;
    snd.next = std::max(snd.next, ack);
    if (snd.urgent && snd.up <= ack) snd.urgent = false;
  }

  Core& core_;
  Control& cb_;
};

}  // namespace tunic::inline v0
