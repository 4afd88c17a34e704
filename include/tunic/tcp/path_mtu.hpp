// SPDX-License-Identifier: BSL-1.0
#pragma once

// How large a connection's packets may be. Reports of routers count at once unless what they say
// was disproved by an acknowledgement (RFC 1191, RFC 5927 7.2), what other connections have found
// out counts too, and where packets vanish without a report (RFC 2923 2.1) the connection finds out
// by itself (RFC 4821 7.7). What it sends is cut anew in tcp/output.hpp. The search for a larger
// size is not here.

#include <tunic/tcp/tcp_core.hpp>
#include <tunic/wire/drop.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace tunic::inline v0 {

template <class Traits>
class PathMtu {
 public:
  using Core = TcpCore<Traits>;
  using Control = ControlBlock<Traits>;

  PathMtu(Core& core, Control& cb) noexcept : core_{core}, cb_{cb}, snd_{cb.snd} {}

  /// Takes over what others have found out about the destination since the last look, unless larger
  /// packets of our own have arrived.
  void learn() noexcept {
    const std::uint32_t version = core_.paths.version();
    if (std::exchange(snd_.paths_seen, version) == version) return;
    const PathMtuEntry* known = core_.paths.find(cb_.key.remote, core_.now);
    if (known != nullptr && snd_.largest_acked <= known->mtu_bytes) follow(*known);
  }

  /// A router reports that the packet which began with `seq`, in flight, is too big.
  void report(std::uint16_t mtu, SeqNum seq) noexcept {
    mtu = std::max(mtu, core_.config.min_path_mtu);
    // A report never raises it, and nothing larger has been sent that could be reported.
    if (core_.path_mtu(cb_) <= mtu || snd_.largest_sent <= mtu)
      return core_.stats.count(Drop::icmp_out_of_window);
    if (mtu < snd_.largest_acked) {  // wait for lack of progress (RFC 5927 7.2)
      ++core_.stats.tcp.path_mtu_deferred;
      snd_.deferred_mtu = mtu;
      snd_.deferred_seq = seq;
      return;
    }
    ++core_.stats.tcp.path_mtu_reports;
    lower(mtu);
  }

  /// The retransmission timer has expired; `snd.retries` does not count this time. What was not
  /// believed may be true, and if this happens again nothing may be as large as it is.
  void timed_out() noexcept {
    if (snd_.deferred_mtu != 0) {
      ++core_.stats.tcp.path_mtu_reports;
      lower(snd_.deferred_mtu);
    } else if (const PathMtuEntry* known = core_.paths.find(cb_.key.remote, core_.now)) {
      follow(*known);
    }
    if (snd_.retries == 0) {
      snd_.copies_sent = {};
    } else if (core_.config.black_hole_detection) {
      snd_.copy_due = copy_size();
    }
  }

  /// The peer acknowledges up to `ack`, which is above SND.UNA.
  void acknowledged(SeqNum ack) noexcept {
    if (snd_.deferred_seq < ack) snd_.deferred_mtu = 0;  // the packet reported has arrived
    if (snd_.retries == 0) return;
    snd_.copy_due = 0;
    // The end of a copy is the end of nothing else: the whole segment, sent before it, is lost.
    const auto bytes = static_cast<std::uint32_t>(ack - snd_.una);
    for (const std::uint16_t payload : std::exchange(snd_.copies_sent, {})) {
      if (payload != bytes) continue;
      ++core_.stats.tcp.black_holes;
      return lower(static_cast<std::uint16_t>(payload + overhead()));
    }
  }

 private:
  // RFC 8899 5.1.2, BASE_PLPMTU: nearly all paths carry it. If not, the smallest that we go down
  // to.
  static constexpr std::uint16_t base_mtu = 1200;

  // Black holes. At the second time-out and each later one the first segment goes out whole, and
  // behind it a copy of its first bytes, as large as passes nearly anywhere. If the path is just
  // down, or the peer is, neither is acknowledged; where it has come back, the whole segment is;
  // but if only the copy arrives, it is the size that matters.
  [[nodiscard]] std::uint16_t copy_size() const noexcept {
    const std::uint32_t whole =
        std::min<std::uint32_t>(snd_.board.front().payload(), core_.full_payload(cb_));
    const std::uint16_t least = core_.config.min_path_mtu;
    for (const std::uint16_t mtu :
         {snd_.retries % 2 == 0 ? least : std::max(base_mtu, least), least}) {
      if (mtu < whole + overhead() && overhead() < mtu)
        return static_cast<std::uint16_t>(mtu - overhead());
    }
    return 0;
  }

  // Headers with the options that all segments have.
  [[nodiscard]] std::uint16_t overhead() const noexcept {
    return static_cast<std::uint16_t>(Core::header_bytes(cb_.key) +
                                      (cb_.timestamps ? Core::timestamp_option_bytes : 0));
  }

  // A finding of this connection's own, for others too.
  void lower(std::uint16_t mtu) noexcept {
    const Instant expires = core_.now + core_.config.path_mtu_timeout;
    core_.paths.lower(cb_.key.remote, mtu, core_.now, expires);
    follow({.destination = cb_.key.remote, .expires = expires, .mtu_bytes = mtu});
    if (snd_.outstanding()) core_.want_output(cb_);
  }

  void follow(const PathMtuEntry& found) noexcept {
    const bool knows = core_.now < snd_.path_mtu_expires;
    if (knows && snd_.path_mtu < found.mtu_bytes) return;
    if (!knows || found.mtu_bytes < snd_.path_mtu) {
      snd_.largest_sent = 0;
      snd_.deferred_mtu = 0;
      if (found.mtu_bytes < snd_.largest_acked) snd_.largest_acked = 0;  // that was another path
    }
    snd_.path_mtu = found.mtu_bytes;
    snd_.path_mtu_expires = found.expires;
  }

  Core& core_;
  Control& cb_;
  Sender& snd_;
};

}  // namespace tunic::inline v0
