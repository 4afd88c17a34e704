// SPDX-License-Identifier: BSL-1.0
#pragma once

// From plans to packets: writes headers, gathers payload out of send queues, offers batches to the
// device, and commits what it has accepted. A refused segment stays with its connection; a refused
// stateless reply is dropped and counted.

#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/core/stats.hpp>
#include <tunic/ip/icmp_reply.hpp>
#include <tunic/ip/ip_output.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/tcp/commit.hpp>
#include <tunic/tcp/output.hpp>
#include <tunic/tcp/tcp_layer.hpp>
#include <tunic/wire/tcp.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace tunic::inline v0 {

template <Device D, class Traits>
class Egress {
 public:
  using Control = ControlBlock<Traits>;

  Egress(D& device, TcpLayer<Traits>& tcp, IcmpReplies& icmp, Stats& stats) noexcept
      : device_{device}, tcp_{tcp}, icmp_{icmp}, stats_{stats} {}
  Egress(const Egress&) = delete;
  Egress& operator=(const Egress&) = delete;

  /// Sends all that may be sent now, as far as the device takes it.
  void run() noexcept {
    status_ = DeviceStatus::ok;
    replans_ = 0;
    send_icmp();
    send_replies();
    send_connections();
  }

  /// Whether something waits to be sent.
  [[nodiscard]] bool pending() const noexcept {
    return !tcp_.output.empty() || tcp_.reply_count() != 0 || !icmp_.empty();
  }
  /// What the device said last: with `would_block` to wait for its writability, with `down` for
  /// some time.
  [[nodiscard]] DeviceStatus status() const noexcept { return status_; }

 private:
  static constexpr std::size_t batch_size = 64;
  static constexpr std::size_t max_pieces = 24;  // of one packet
  static constexpr unsigned max_replans = 16;    // of one run: a device that can't settle is full
  static constexpr std::size_t header_room = 60 + tcp_max_header_bytes;
  static constexpr std::byte garbage[1] = {};
  static constexpr int ecn_capable = 2;  // ECT(0), RFC 3168 5

  // A packet of the batch that has a connection behind it.
  struct Staged {
    Control* cb = nullptr;
    SegmentPlan plan;
    Blocked blocked{};
    bool last = false;  // all that the connection could plan
  };

  [[nodiscard]] bool stopped() const noexcept {
    return status_ != DeviceStatus::ok && status_ != DeviceStatus::replan;
  }
  [[nodiscard]] bool full() const noexcept {
    return count_ == batch_size || pieces_used_ + max_pieces + 1 > pieces_.size();
  }
  [[nodiscard]] MutableBytes header_at(std::size_t i) noexcept {
    return std::span{headers_}.subspan(i * header_room, header_room);
  }

  // ---- connections
  // ------------------------------------------------------------------------------------------------

  void send_connections() noexcept {
    while (!stopped() && !tcp_.output.empty()) {
      Control& cb = tcp_.output.front();
      tcp_.output.pop_front();
      plan_connection(cb);
      if (full() || tcp_.output.empty()) submit();
    }
    submit();
  }

  void plan_connection(Control& cb) noexcept {
    std::optional<Output<Traits>> output{std::in_place, tcp_, cb};
    for (;;) {
      if (full()) {
        submit();
        if (stopped()) return tcp_.want_output(cb);
        output.emplace(tcp_, cb);
      }
      const auto plan = output->next();
      if (!plan) break;
      if (stage(cb, *plan)) continue;
      submit();  // what comes next follows what was cut
      if (stopped()) return tcp_.want_output(cb);
      output.emplace(tcp_, cb);
    }
    if (count_ != 0 && staged_[count_ - 1].cb == &cb) {
      staged_[count_ - 1].last = true;
      staged_[count_ - 1].blocked = output->blocked();
    } else {
      Commit<Traits>::settle(tcp_, cb, output->blocked());
    }
  }

  // False when the packet holds less than was planned.
  bool stage(Control& cb, const SegmentPlan& plan) noexcept {
    Staged& staged = staged_[count_] = {.cb = &cb, .plan = plan};
    const std::size_t first = pieces_used_;
    const std::span<Bytes> room = std::span{pieces_}.subspan(first + 1, max_pieces);
    std::size_t pieces = 0;
    if (plan.payload_length != 0) {
      pieces = cb.snd.queue.views(plan.payload_offset, plan.payload_length, room);
      cut_to(staged.plan, room.first(pieces));
    } else if (plan.garbage_byte) {
      room[pieces++] = garbage;
    }
    const auto traffic_class =
        static_cast<std::uint8_t>(cb.options.dscp << 2 | (plan.ect ? ecn_capable : 0));
    add_tcp(cb.key, staged.plan.segment, cb.options.ttl, traffic_class, pieces, plan.reason);
    return staged.plan.payload_length == plan.payload_length;
  }

  // A payload in more pieces than a packet may have is sent in part; what the plan says must be
  // what is sent.
  static void cut_to(SegmentPlan& plan, std::span<const Bytes> pieces) noexcept {
    std::size_t size = 0;
    for (const Bytes piece : pieces) size += piece.size();
    if (size == plan.payload_length) return;
    plan.payload_length = static_cast<std::uint32_t>(size);
    plan.segment.flags &= ~(TcpFlags::fin | TcpFlags::psh);
  }

  // Appends a packet whose payload pieces stand behind the place for its header in `pieces_`.
  void add_tcp(const FlowKey& flow, TcpSegment segment, std::uint8_t ttl,
               std::uint8_t traffic_class, std::size_t pieces, TxReason reason) noexcept {
    segment.src_port = flow.local_port;
    segment.dst_port = flow.remote_port;
    const std::span<const Bytes> payload = std::span{pieces_}.subspan(pieces_used_ + 1, pieces);
    std::size_t payload_bytes = 0;
    for (const Bytes piece : payload) payload_bytes += piece.size();
    const MutableBytes header = header_at(count_);
    const std::size_t ip_bytes = ip_header_bytes(flow.local);
    const std::size_t tcp_bytes = write_tcp_header(header.subspan(ip_bytes), segment);
    finish_tcp_checksum(header.subspan(ip_bytes, tcp_bytes), flow.local, flow.remote, payload);
    write_ip_header(header, flow.local, flow.remote, IpProtocol::tcp, ttl, traffic_class,
                    tcp_bytes + payload_bytes);
    pieces_[pieces_used_] = header.first(ip_bytes + tcp_bytes);
    add(pieces + 1, ip_bytes + tcp_bytes + payload_bytes, reason);
  }

  void add(std::size_t pieces, std::size_t size, TxReason reason) noexcept {
    packets_[count_++] = {.pieces = std::span{pieces_}.subspan(pieces_used_, pieces),
                          .size_bytes = size,
                          .reason = reason};
    pieces_used_ += pieces;
  }

  // Offers the batch; commits what was accepted and gives the rest back to its connections.
  void submit() noexcept {
    const std::size_t accepted = offer();
    for (std::size_t i = 0; i < count_; ++i) {
      Staged& staged = staged_[i];
      if (i >= accepted) {
        Commit<Traits>::refused(tcp_, *staged.cb, staged.plan);
        continue;
      }
      Commit<Traits>::accepted(tcp_, *staged.cb, staged.plan);
      if (staged.last) Commit<Traits>::settle(tcp_, *staged.cb, staged.blocked);
    }
    clear();
  }

  std::size_t offer() noexcept {
    std::size_t accepted = 0;
    while (accepted < count_) {
      const TxResult result = device_.send(std::span{packets_}.first(count_).subspan(accepted));
      for (std::size_t i = accepted; i < accepted + result.accepted; ++i) {
        ++stats_.ip.packets_out;
        stats_.ip.bytes_out += packets_[i].size_bytes;
      }
      accepted += result.accepted;
      status_ = result.status;
      if (status_ == DeviceStatus::replan) {
        tcp_.mtu = usable_mtu(device_.caps());
        if (++replans_ > max_replans) status_ = DeviceStatus::would_block;
        break;
      }
      if (status_ != DeviceStatus::ok) break;
      if (result.accepted == 0) {
        status_ = DeviceStatus::would_block;
        break;
      }
    }
    return accepted;
  }

  void clear() noexcept {
    count_ = 0;
    pieces_used_ = 0;
  }

  // ---- stateless
  // ----------------------------------------------------------------------------------------------------

  void send_replies() noexcept {
    while (tcp_.reply_count() != 0) {
      const std::size_t batch = std::min(tcp_.reply_count(), batch_size);
      for (std::size_t i = 0; i < batch; ++i) {
        const StatelessReply& reply = tcp_.reply_at(i);
        ++stats_.tcp.segments_out;
        add_tcp(reply.flow, reply.segment, reply.ttl, reply.traffic_class, 0, TxReason::reset);
      }
      tcp_.pop_replies(batch);
      submit_stateless();
    }
  }

  void send_icmp() noexcept {
    while (!icmp_.empty()) {
      const Bytes packet = icmp_.front();
      const std::size_t mtu = tcp_.mtu;
      if (packet.size() <= mtu) {
        pieces_[0] = packet;
        add(1, packet.size(), TxReason::icmp);
        submit_stateless();
      } else {
        send_fragments(packet, mtu);
      }
      icmp_.pop();
    }
  }

  // RFC 791 3.2: cuts a packet that we have made (its header has no options) to the MTU.
  void send_fragments(Bytes packet, std::size_t mtu) noexcept {
    const auto whole = Ipv4Parser{}(packet);
    if (!whole) return;
    const std::size_t step = (mtu - ipv4_min_header_bytes) / 8 * 8;
    for (std::size_t offset = 0; offset < whole->payload.size(); offset += step) {
      const Bytes part =
          whole->payload.subspan(offset, std::min(step, whole->payload.size() - offset));
      Ipv4Header header = whole->header;
      header.fragment_offset_bytes = static_cast<std::uint16_t>(offset);
      header.more_fragments = offset + part.size() < whole->payload.size();
      header.total_length = static_cast<std::uint16_t>(ipv4_min_header_bytes + part.size());
      const MutableBytes place = header_at(count_);
      pieces_[pieces_used_] = place.first(write_ipv4(place, header));
      pieces_[pieces_used_ + 1] = part;
      add(2, header.total_length, TxReason::icmp);
      if (full()) submit_stateless();
    }
    submit_stateless();
  }

  void submit_stateless() noexcept {
    const std::size_t accepted = offer();
    for (std::size_t i = accepted; i < count_; ++i) stats_.count(Drop::device_refused);
    clear();
  }

  D& device_;
  TcpLayer<Traits>& tcp_;
  IcmpReplies& icmp_;
  Stats& stats_;
  DeviceStatus status_ = DeviceStatus::ok;
  unsigned replans_ = 0;  // of this run
  std::size_t count_ = 0;
  std::size_t pieces_used_ = 0;
  std::array<TxPacket, batch_size> packets_;
  std::array<Staged, batch_size> staged_;
  std::array<Bytes, batch_size * 4 + max_pieces + 1> pieces_;
  std::array<std::byte, batch_size * header_room> headers_;
};

}  // namespace tunic::inline v0
