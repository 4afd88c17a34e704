// SPDX-License-Identifier: BSL-1.0
#pragma once

// The headers of a run's packets, which differ in their numbers only: what they have in common is
// written and summed once.

#include <tunic/base/bytes.hpp>
#include <tunic/ip/ip_output.hpp>
#include <tunic/tcp/flow.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/layout.hpp>
#include <tunic/wire/seq.hpp>
#include <tunic/wire/tcp.hpp>

#include <boost/endian/buffers.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace tunic::inline v0 {

class RepeatedHeader {
 public:
  /// `pattern` is a packet's IP and TCP header, which must stay where it is; `payload_bytes` follow
  /// it in every packet. `partial`: its checksum is left to the device.
  RepeatedHeader(Bytes pattern, const FlowKey& flow, std::uint32_t payload_bytes,
                 bool partial) noexcept
      : pattern_{pattern}, tcp_at_{ip_header_bytes(flow.local)}, partial_{partial} {
    if (partial) return;
    const Bytes tcp = pattern.subspan(tcp_at_);
    sum_ = pseudo_header_sum(flow.local, flow.remote, IpProtocol::tcp,
                             static_cast<std::uint32_t>(tcp.size()) + payload_bytes);
    sum_.add(tcp.first(detail::tcp_sequence_offset));
    sum_.add(tcp.first(detail::tcp_checksum_offset).subspan(detail::tcp_sequence_offset + 4));
    sum_.add(tcp.subspan(detail::tcp_checksum_offset + 2));
  }

  [[nodiscard]] std::size_t size() const noexcept { return pattern_.size(); }

  /// Writes the header of the segment that begins at `seq` and has this payload, in pieces.
  void write(MutableBytes out, SeqNum seq, std::span<const Bytes> payload) const noexcept {
    copy(out, pattern_);
    const MutableBytes tcp = out.subspan(tcp_at_);
    detail::store(tcp.subspan(detail::tcp_sequence_offset),
                  boost::endian::big_uint32_buf_t{seq.value()});
    if (partial_) return;
    InternetSum sum = sum_;
    sum.add_word(static_cast<std::uint16_t>(seq.value() >> 16));
    sum.add_word(static_cast<std::uint16_t>(seq.value()));
    for (const Bytes piece : payload) sum.add(piece);
    detail::store(tcp.subspan(detail::tcp_checksum_offset),
                  boost::endian::big_uint16_buf_t{sum.finish()});
  }

 private:
  Bytes pattern_;
  std::size_t tcp_at_;
  InternetSum sum_;  // of the pseudo-header and of the header without number and checksum
  bool partial_;
};

}  // namespace tunic::inline v0
