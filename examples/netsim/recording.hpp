// SPDX-License-Identifier: BSL-1.0
#pragma once

// What one flow sends and hears, and how its sender sees the path: taken from the packets that pass
// the link and from `TcpConnection::info()`.

#include <tunic/testing/bulk_transfer.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/tcp.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace netsim {

/// A range of bytes, counted from the first one of the flow, at a time in seconds.
struct ByteRange {
  double at;
  double begin, end;
};
struct Value {
  double at;
  double value;
};
/// The sender's view.
struct Sample {
  double at = 0;
  std::uint32_t cwnd = 0, ssthresh = 0, pipe = 0;
  double rtt_ms = 0;
};

/// The first flow of a transfer. Make it before the transfer runs, and call `sample` at every turn.
class Recording {
 public:
  explicit Recording(tunic::testing::BulkTransfer<>& transfer) : transfer_{transfer} {
    transfer.link().set_watcher([this](const auto& packet) { see(packet); });
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() { transfer_.link().set_watcher({}); }

  std::vector<ByteRange> sent;
  std::vector<ByteRange> sent_again;
  std::vector<ByteRange>
      sacked;  ///< What a selective acknowledgement reports first, at its arrival.
  std::vector<Value> acknowledged;
  std::vector<Value> window_edge;
  std::vector<Sample> samples;

  void sample() {
    const tunic::TcpInfo info = source().info();
    Sample now{.at = seconds(),
               .cwnd = info.snd_cwnd,
               .ssthresh = info.snd_ssthresh,
               .pipe = info.in_flight,
               .rtt_ms = std::chrono::duration<double, std::milli>(info.rtt).count()};
    if (now.cwnd == 0) return;
    // Of one instant its end counts.
    if (!samples.empty() && samples.back().at == now.at) samples.pop_back();
    if (!samples.empty()) {
      const Sample& last = samples.back();
      if (now.cwnd == last.cwnd && now.ssthresh == last.ssthresh && now.pipe == last.pipe &&
          now.rtt_ms == last.rtt_ms) {
        return;
      }
    }
    samples.push_back(now);
  }

 private:
  [[nodiscard]] const tunic::TcpConnection& source() const {
    return transfer_.flows().front().source;
  }
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(transfer_.elapsed()).count();
  }

  void see(const tunic::testing::PassingPacket& packet) {
    // Data as it leaves the sender, acknowledgements as they reach it.
    if (packet.from_a == packet.arrived) return;
    const auto ip = tunic::Ipv4Parser{}(packet.bytes);
    if (!ip || ip->header.protocol != tunic::IpProtocol::tcp || ip->header.is_fragment()) return;
    const auto tcp = tunic::parse_tcp_unverified(ip->payload);
    if (!tcp) return;
    const std::uint16_t port = packet.from_a ? tcp->src_port : tcp->dst_port;
    if (port != source().local().port) return;
    if (packet.from_a) {
      see_data(*tcp);
    } else {
      see_acknowledgement(*tcp);
    }
  }

  void see_data(const tunic::TcpSegment& tcp) {
    if (tcp.has(tunic::TcpFlags::syn)) una_ = tcp.seq + 1;
    if (tcp.payload.empty()) return;
    const double begin = place(tcp.seq);
    const ByteRange range{seconds(), begin, begin + static_cast<double>(tcp.payload.size())};
    (range.begin < highest_ ? sent_again : sent).push_back(range);
    highest_ = std::max(highest_, range.end);
    sample();
  }

  void see_acknowledgement(const tunic::TcpSegment& tcp) {
    if (!tcp.has(tunic::TcpFlags::ack)) return;
    const bool syn = tcp.has(tunic::TcpFlags::syn);
    if (syn) scale_ = tcp.options.has_window_scale ? tcp.options.window_scale : 0;
    const double ack = place(tcp.ack);
    if (acked_bytes_ < ack) {
      acked_bytes_ = ack;
      una_ = tcp.ack;
    }
    acknowledged.push_back({seconds(), acked_bytes_});
    window_edge.push_back(
        {seconds(), ack + static_cast<double>(std::uint32_t{tcp.window} << (syn ? 0 : scale_))});
    for (const tunic::SackBlock& block : tcp.options.sack_blocks()) {
      if (acked_bytes_ <= place(block.left)) see_report(place(block.left), place(block.right));
    }
  }

  // Keeps what no earlier report said.
  void see_report(double begin, double end) {
    reported_.erase(reported_.begin(), reported_.upper_bound(acked_bytes_));  // by their ends
    auto next = reported_.lower_bound(begin);
    double whole_begin = begin;
    for (; next != reported_.end() && next->second <= end; next = reported_.erase(next)) {
      if (begin < next->second) sacked.push_back({seconds(), begin, next->second});
      whole_begin = std::min(whole_begin, next->second);
      begin = std::max(begin, next->first);
    }
    if (begin < end) sacked.push_back({seconds(), begin, end});
    reported_[std::max(begin, end)] = whole_begin;
  }

  // Sequence numbers wrap, places do not: near what was acknowledged last.
  [[nodiscard]] double place(tunic::SeqNum number) const {
    return acked_bytes_ + static_cast<double>(static_cast<std::int32_t>(number - una_));
  }

  tunic::testing::BulkTransfer<>& transfer_;
  tunic::SeqNum una_{};
  double acked_bytes_ = 0;
  double highest_ = 0;
  std::uint8_t scale_ = 0;
  std::map<double, double> reported_;  // disjoint ranges above the acknowledgement: end -> begin
};

}  // namespace netsim
