// SPDX-License-Identifier: BSL-1.0
#pragma once

// From plans to packets: writes headers, gathers payload out of send queues, offers batches to the
// device, and commits what it has accepted. A refused segment stays with its connection; a refused
// stateless reply is dropped and counted.
//
// A run of segments is one packet where the device cuts it, else it is cut here. Loss recovery
// knows segments only, so a device that loses this ability gets what it refused one by one.

#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/core/stats.hpp>
#include <tunic/ip/icmp_reply.hpp>
#include <tunic/ip/ip_output.hpp>
#include <tunic/stack/device.hpp>
#include <tunic/stack/repeated_header.hpp>
#include <tunic/stack/super_segment.hpp>
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
      : device_{device}, tcp_{tcp}, icmp_{icmp}, stats_{stats}, caps_{device.caps()} {}
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
  static constexpr std::size_t max_pieces = 23;  // of a payload; a TUN device takes one more
  static constexpr unsigned max_replans = 16;    // of one run: a device that can't settle is full
  static constexpr std::size_t header_room = 60 + tcp_max_header_bytes;
  static constexpr std::byte garbage[1] = {};
  static constexpr int ecn_capable = 2;  // ECT(0), RFC 3168 5

  // A plan of the batch, and the packets that it became.
  struct Staged {
    Control* cb = nullptr;
    SegmentPlan plan;
    std::size_t first_packet = 0;
    std::size_t packets = 0;
    Blocked blocked{};
    bool last = false;  // all that the connection could plan
  };

  [[nodiscard]] bool stopped() const noexcept {
    return status_ != DeviceStatus::ok && status_ != DeviceStatus::replan;
  }
  [[nodiscard]] bool full() const noexcept {
    return count_ == batch_size || pieces_used_ + max_pieces + 2 > pieces_.size();
  }
  [[nodiscard]] MutableBytes header_at(std::size_t i) noexcept {
    return std::span{headers_}.subspan(i * header_room, header_room);
  }

  // ---- connections

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
    tcp_.connections.touch(cb);
    std::optional<Output<Traits>> output{std::in_place, tcp_, cb};
    for (;;) {
      if (full()) {
        submit();
        if (stopped()) return tcp_.want_output(cb);
        output.emplace(tcp_, cb);
      }
      const auto plan = output->next(most_segments(cb));
      if (!plan) break;
      if (stage(cb, *plan)) continue;
      submit();  // what comes next follows what was cut
      if (stopped()) return tcp_.want_output(cb);
      output.emplace(tcp_, cb);
    }
    if (staged_count_ != 0 && staged_[staged_count_ - 1].cb == &cb) {
      staged_[staged_count_ - 1].last = true;
      staged_[staged_count_ - 1].blocked = output->blocked();
    } else {
      Commit<Traits>::settle(tcp_, cb, output->blocked());
    }
  }

  // How many segments of a run this batch has room for.
  [[nodiscard]] std::uint32_t most_segments(const Control& cb) const noexcept {
    return cuts(cb) ? super_segment_bytes : static_cast<std::uint32_t>(batch_size - count_);
  }
  [[nodiscard]] bool cuts(const Control& cb) const noexcept {
    return caps_.partial_checksums &&
           (cb.key.local.is_v4() ? caps_.tcp_v4_segmentation : caps_.tcp_v6_segmentation);
  }

  // False when the packets hold less than was planned, for want of room or of pieces.
  bool stage(Control& cb, const SegmentPlan& planned) noexcept {
    Staged& staged = staged_[staged_count_++];
    staged = {.cb = &cb, .plan = planned, .first_packet = count_};
    SegmentPlan& plan = staged.plan;
    const bool whole = plan.segments() == 1 ||
                       (cuts(cb) && (caps_.ecn_segmentation || !plan.segment.has(TcpFlags::cwr)));
    plan.cut(whole ? add_segments(cb, plan, 0, plan.payload_length) : add_run(cb, plan));
    staged.packets = count_ - staged.first_packet;
    return plan.payload_length == planned.payload_length;
  }

  // Appends a run segment by segment, as far as there is room. Returns how many bytes of it.
  std::uint32_t add_run(const Control& cb, const SegmentPlan& plan) noexcept {
    const std::uint32_t size = plan.segment_bytes;
    std::uint32_t added = add_segments(cb, plan, 0, size);
    if (added != size) return added;
    // Those behind the first are like it, but for the last.
    const bool ends = plan.segment.flags.has_any(TcpFlags::psh | TcpFlags::fin);
    const std::uint32_t alike = plan.segment.has(TcpFlags::cwr) ? 0 : plan.payload_length - ends;
    const RepeatedHeader header{packets_[count_ - 1].pieces.front(), cb.key, size,
                                caps_.partial_checksums};
    std::uint32_t offset = size;
    for (; offset != plan.payload_length && !full(); offset += added) {
      if (offset + size <= alike && repeat(cb, plan, offset, header)) continue;
      const std::uint32_t wanted = std::min(size, plan.payload_length - offset);
      added = add_segments(cb, plan, offset, wanted);
      if (added != wanted) return offset + added;
    }
    return offset;
  }

  // Appends a packet like the one before it. False, and nothing done, where its payload lies in too
  // many pieces.
  bool repeat(const Control& cb, const SegmentPlan& plan, std::uint32_t offset,
              const RepeatedHeader& header) noexcept {
    const std::span<Bytes> room = std::span{pieces_}.subspan(pieces_used_ + 1, max_pieces);
    const auto pieces =
        room.first(cb.snd.queue.views(plan.payload_offset + offset, plan.segment_bytes, room));
    if (total(pieces) != plan.segment_bytes) return false;
    const MutableBytes place = header_at(count_).first(header.size());
    header.write(place, plan.segment.seq + offset, pieces);
    pieces_[pieces_used_] = place;
    add(pieces.size() + 1, place.size() + plan.segment_bytes, plan.reason,
        packets_[count_ - 1].offload);
    return true;
  }

  // Appends a packet with `bytes` of a plan's payload from `offset` on, or with less, when those
  // lie in more pieces than a packet may have: then as many whole segments as it can hold, or a
  // part of one. Returns how much it is.
  std::uint32_t add_segments(const Control& cb, const SegmentPlan& plan, std::uint32_t offset,
                             std::uint32_t bytes) noexcept {
    const std::span<Bytes> room = std::span{pieces_}.subspan(pieces_used_ + 1, max_pieces);
    TcpSegment segment = plan.segment_at(offset, bytes);
    std::size_t count = 0;
    if (bytes != 0) {
      count = cb.snd.queue.views(plan.payload_offset + offset, bytes, room);
      if (const auto held = static_cast<std::uint32_t>(total(room.first(count))); held != bytes) {
        bytes = held < plan.segment_bytes ? held : held - held % plan.segment_bytes;
        count = take_pieces(room.first(count), bytes);
        segment.flags &= ~(TcpFlags::fin | TcpFlags::psh);
      }
    } else if (plan.garbage_byte) {
      room[count++] = garbage;
    }
    const auto traffic_class =
        static_cast<std::uint8_t>(cb.options.dscp << 2 | (plan.ect ? ecn_capable : 0));
    add_tcp(cb.key, segment, cb.options.ttl, traffic_class, count, plan.reason,
            bytes > plan.segment_bytes ? plan.segment_bytes : 0);
    return bytes;
  }

  // Appends a packet whose payload pieces stand behind the place for its header in `pieces_`. It is
  // cut into segments with `segment_bytes` of payload; 0: it is one.
  void add_tcp(const FlowKey& flow, TcpSegment segment, std::uint8_t ttl,
               std::uint8_t traffic_class, std::size_t pieces, TxReason reason,
               std::uint32_t segment_bytes = 0) noexcept {
    segment.src_port = flow.local_port;
    segment.dst_port = flow.remote_port;
    const std::span<const Bytes> payload = std::span{pieces_}.subspan(pieces_used_ + 1, pieces);
    const std::size_t payload_bytes = total(payload);
    const MutableBytes header = header_at(count_);
    const std::size_t ip_bytes = ip_header_bytes(flow.local);
    const std::size_t tcp_bytes = write_tcp_header(header.subspan(ip_bytes), segment);
    const MutableBytes tcp_header = header.subspan(ip_bytes, tcp_bytes);
    Offload offload;
    if (caps_.partial_checksums) {
      start_tcp_checksum(tcp_header, flow.local, flow.remote, payload_bytes);
      offload = tcp_offload(flow, segment, ip_bytes, tcp_bytes, segment_bytes);
    } else {
      finish_tcp_checksum(tcp_header, flow.local, flow.remote, payload);
    }
    write_ip_header(header, flow.local, flow.remote, IpProtocol::tcp, ttl, traffic_class,
                    tcp_bytes + payload_bytes);
    pieces_[pieces_used_] = header.first(ip_bytes + tcp_bytes);
    add(pieces + 1, ip_bytes + tcp_bytes + payload_bytes, reason, offload);
  }

  void add(std::size_t pieces, std::size_t size, TxReason reason,
           const Offload& offload = {}) noexcept {
    packets_[count_++] = {.pieces = std::span{pieces_}.subspan(pieces_used_, pieces),
                          .size_bytes = size,
                          .reason = reason,
                          .offload = offload};
    pieces_used_ += pieces;
  }

  // Offers the batch; commits what was accepted and gives the rest back to its connections.
  void submit() noexcept {
    const std::size_t accepted = offer();
    for (std::size_t i = 0; i < staged_count_; ++i) commit(staged_[i], accepted);
    clear();
  }

  // So many packets of the batch were accepted.
  void commit(Staged& staged, std::size_t accepted) noexcept {
    const std::size_t taken =
        std::min(accepted - std::min(accepted, staged.first_packet), staged.packets);
    SegmentPlan& plan = staged.plan;
    const bool whole = taken == staged.packets;
    if (taken != 0) {
      if (!whole) plan.cut(static_cast<std::uint32_t>(taken) * plan.segment_bytes);
      Commit<Traits>::accepted(tcp_, *staged.cb, plan);
    }
    if (!whole) {
      Commit<Traits>::refused(tcp_, *staged.cb, plan);
    } else if (staged.last) {
      Commit<Traits>::settle(tcp_, *staged.cb, staged.blocked);
    }
  }

  std::size_t offer() noexcept {
    std::size_t accepted = 0;
    while (accepted < count_) {
      const TxResult result = device_.send(std::span{packets_}.first(count_).subspan(accepted));
      for (std::size_t i = accepted; i < accepted + result.accepted; ++i) {
        ++stats_.ip.packets_out;
        if (packets_[i].offload.segmentation != Segmentation::none) ++stats_.ip.super_segments_out;
        stats_.ip.bytes_out += packets_[i].size_bytes;
      }
      accepted += result.accepted;
      status_ = result.status;
      if (status_ == DeviceStatus::replan) {
        caps_ = device_.caps();
        tcp_.mtu = usable_mtu(caps_);
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
    staged_count_ = 0;
    pieces_used_ = 0;
  }

  // ---- stateless

  void send_replies() noexcept {
    while (tcp_.reply_count() != 0) {
      std::size_t batch = std::min(tcp_.reply_count(), batch_size);
      for (std::size_t i = 0; i < batch; ++i) {
        const StatelessReply& reply = tcp_.reply_at(i);
        add_tcp(reply.flow, reply.segment, reply.ttl, reply.traffic_class, 0, TxReason::reset);
      }
      const std::size_t accepted = offer();
      if (status_ == DeviceStatus::replan) batch = accepted;  // the rest is written anew
      tcp_.pop_replies(batch);
      stats_.tcp.segments_out += batch;
      for (std::size_t i = accepted; i < batch; ++i) stats_.count(Drop::device_refused);
      clear();
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
  DeviceCaps caps_;
  DeviceStatus status_ = DeviceStatus::ok;
  unsigned replans_ = 0;   // of this run
  std::size_t count_ = 0;  // packets
  std::size_t staged_count_ = 0;
  std::size_t pieces_used_ = 0;
  std::array<TxPacket, batch_size> packets_;
  std::array<Staged, batch_size> staged_;
  std::array<Bytes, batch_size * 4 + max_pieces + 1> pieces_;
  std::array<std::byte, batch_size * header_room> headers_;
};

}  // namespace tunic::inline v0
