// SPDX-License-Identifier: BSL-1.0
#pragma once

// From plans to packets: writes headers, gathers payload out of send queues, offers batches to the
// device, and commits what it has accepted. A refused segment stays with its connection; a refused
// stateless reply is dropped and counted.
//
// Where the device cuts super-segments, plans that follow each other become one packet. Each is
// committed by itself all the same: loss recovery knows segments only, and a device that loses this
// ability gets them one by one.

#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/core/stats.hpp>
#include <tunic/ip/icmp_reply.hpp>
#include <tunic/ip/ip_output.hpp>
#include <tunic/stack/device.hpp>
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
  static constexpr std::size_t batch_plans = 256;
  static constexpr std::size_t max_pieces = 23;  // of a payload; a TUN device takes one more
  static constexpr unsigned max_replans = 16;    // of one run: a device that can't settle is full
  static constexpr std::size_t header_room = 60 + tcp_max_header_bytes;
  static constexpr std::byte garbage[1] = {};
  static constexpr int ecn_capable = 2;  // ECT(0), RFC 3168 5

  // A plan of the batch, in the packet with this number.
  struct Staged {
    Control* cb = nullptr;
    SegmentPlan plan;
    std::size_t packet = 0;
    Blocked blocked{};
    bool last = false;  // all that the connection could plan
  };
  // The packet that the next plan may join; its pieces stand behind the place for its header.
  struct Draft {
    std::size_t first = 0;  // of its plans, the last is the last that was staged
    std::size_t pieces = 0;
    std::size_t payload_bytes = 0;
    bool open = false;
  };

  [[nodiscard]] bool stopped() const noexcept {
    return status_ != DeviceStatus::ok && status_ != DeviceStatus::replan;
  }
  [[nodiscard]] bool full() const noexcept {
    return count_ + (draft_.open ? 1 : 0) == batch_size || staged_count_ == batch_plans ||
           pieces_used_ + draft_.pieces + max_pieces + 2 > pieces_.size();
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
    if (staged_count_ != 0 && staged_[staged_count_ - 1].cb == &cb) {
      staged_[staged_count_ - 1].last = true;
      staged_[staged_count_ - 1].blocked = output->blocked();
    } else {
      Commit<Traits>::settle(tcp_, cb, output->blocked());
    }
  }

  // False when the packet holds less than was planned.
  bool stage(Control& cb, const SegmentPlan& plan) noexcept {
    if (!draft_.open || !join(cb, plan)) begin_packet(cb, plan);
    return staged_[staged_count_ - 1].plan.payload_length == plan.payload_length;
  }

  // Puts a plan into the packet of those before it; false, and no change, where it must not be or
  // does not fit.
  bool join(Control& cb, const SegmentPlan& plan) noexcept {
    const Staged& first = staged_[draft_.first];
    const Staged& before = staged_[staged_count_ - 1];
    const bool cuts = cb.key.local.is_v4() ? caps_.tcp_v4_segmentation : caps_.tcp_v6_segmentation;
    if (!cuts || !caps_.partial_checksums || first.cb != &cb) return false;
    if (!can_follow(first.plan, before.plan, plan, caps_)) return false;
    const std::size_t headers =
        ip_header_bytes(cb.key.local) + tcp_min_header_bytes + plan.segment.options.encoded_bytes();
    if (headers + draft_.payload_bytes + plan.payload_length > super_segment_bytes) return false;

    const std::span<Bytes> all = std::span{pieces_}.subspan(pieces_used_ + 1, max_pieces);
    const std::span<Bytes> room = all.subspan(draft_.pieces);
    const std::size_t count = cb.snd.queue.views(plan.payload_offset, plan.payload_length, room);
    if (total(room.first(count)) != plan.payload_length) return false;
    draft_.pieces += append_piece(all[draft_.pieces - 1], room.first(count));
    draft_.payload_bytes += plan.payload_length;
    staged_[staged_count_++] = {.cb = &cb, .plan = plan, .packet = count_};
    return true;
  }

  void begin_packet(Control& cb, const SegmentPlan& plan) noexcept {
    finish_packet();
    Staged& staged = staged_[staged_count_] = {.cb = &cb, .plan = plan, .packet = count_};
    const std::span<Bytes> room = std::span{pieces_}.subspan(pieces_used_ + 1, max_pieces);
    std::size_t pieces = 0;
    if (plan.payload_length != 0) {
      pieces = cb.snd.queue.views(plan.payload_offset, plan.payload_length, room);
      cut_to(staged.plan, room.first(pieces));
    } else if (plan.garbage_byte) {
      room[pieces++] = garbage;
    }
    draft_ = {.first = staged_count_++,
              .pieces = pieces,
              .payload_bytes = staged.plan.payload_length,
              .open = true};
  }

  void finish_packet() noexcept {
    if (!std::exchange(draft_.open, false)) return;
    const Staged& first = staged_[draft_.first];
    const SegmentPlan& last = staged_[staged_count_ - 1].plan;
    const Control& cb = *first.cb;
    TcpSegment segment = first.plan.segment;
    segment.flags |= last.segment.flags;
    const auto traffic_class =
        static_cast<std::uint8_t>(cb.options.dscp << 2 | (first.plan.ect ? ecn_capable : 0));
    const bool several = draft_.first + 1 != staged_count_;
    add_tcp(cb.key, segment, cb.options.ttl, traffic_class, draft_.pieces, first.plan.reason,
            several ? first.plan.payload_length : 0);
    draft_.pieces = 0;
  }

  // A payload in more pieces than a packet may have is sent in part; what the plan says must be
  // what is sent.
  static void cut_to(SegmentPlan& plan, std::span<const Bytes> pieces) noexcept {
    const std::size_t size = total(pieces);
    if (size == plan.payload_length) return;
    plan.payload_length = static_cast<std::uint32_t>(size);
    plan.segment.flags &= ~(TcpFlags::fin | TcpFlags::psh);
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
    finish_packet();
    const std::size_t accepted = offer();
    for (std::size_t i = 0; i < staged_count_; ++i) {
      Staged& staged = staged_[i];
      if (staged.packet >= accepted) {
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
  std::size_t count_ = 0;  // packets, without the draft
  std::size_t staged_count_ = 0;
  std::size_t pieces_used_ = 0;
  Draft draft_{};
  std::array<TxPacket, batch_size> packets_;
  std::array<Staged, batch_plans> staged_;
  std::array<Bytes, batch_size * 4 + max_pieces + 1> pieces_;
  std::array<std::byte, batch_size * header_room> headers_;
};

}  // namespace tunic::inline v0
