// SPDX-License-Identifier: BSL-1.0
#pragma once

// What middleboxes do to chosen segments, as filters of a `Link`: drop the n-th, remove an option,
// change one in SYNs. For tests that need the same fault at the same place every time. Packets that
// are not unfragmented TCP over IPv4 pass as they are.

#include <tunic/base/bytes.hpp>
#include <tunic/base/time.hpp>
#include <tunic/testing/link.hpp>
#include <tunic/testing/segment.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/tcp.hpp>
#include <tunic/wire/tcp_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tunic::inline v0::testing {

/// Which segments a middlebox edits.
enum class Edited : std::uint8_t { syn, others, all };

namespace detail {

/// Calls `edit(segment, tcp)` for a TCP segment; `tcp` are the bytes of its header.
template <class Edit>
void with_tcp(std::vector<std::byte>& packet, Edit&& edit) {
  const auto ip = BasicIpv4Parser<tunic::detail::ShowAllPolicy>{}(packet);
  if (!ip || ip->header.is_fragment() || ip->header.protocol != IpProtocol::tcp) return;
  const auto segment = parse_tcp_unverified(ip->payload);
  if (!segment) return;
  const MutableBytes tcp = MutableBytes{packet}.subspan(ip->header.header_length);
  edit(*segment, tcp.first(ip->payload.size() - segment->payload.size()));
}

/// The options of one kind among those of a header, kind and length included.
template <class Found>
void for_each_option(MutableBytes header, TcpOptionKind kind, Found&& found) {
  for (MutableBytes left = header.subspan(tcp_min_header_bytes); left.size() >= 2;) {
    const auto here = TcpOptionKind{static_cast<std::uint8_t>(left[0])};
    if (here == TcpOptionKind::end_of_list) return;
    const std::size_t size =
        here == TcpOptionKind::no_operation ? 1 : static_cast<std::size_t>(left[1]);
    if (size == 0 || size > left.size()) return;
    if (here == kind) found(left.first(size));
    left = left.subspan(size);
  }
}

template <class Found>
PacketFilter edit_option(TcpOptionKind kind, Edited which, Found found) {
  return [=](std::vector<std::byte>& packet, Instant) {
    bool changed = false;
    with_tcp(packet, [&](const TcpSegment& segment, MutableBytes header) {
      const bool syn = segment.has(TcpFlags::syn);
      if (which != Edited::all && syn != (which == Edited::syn)) return;
      for_each_option(header, kind, [&](MutableBytes option) {
        found(option);
        changed = true;
      });
    });
    if (changed) repair_checksums(packet);
    return true;
  };
}

}  // namespace detail

/// The payload of a TCP segment; 0 for what is none.
[[nodiscard]] inline std::size_t tcp_payload_bytes(std::vector<std::byte>& packet) {
  std::size_t size = 0;
  detail::with_tcp(packet,
                   [&](const TcpSegment& segment, MutableBytes) { size = segment.payload.size(); });
  return size;
}

/// Swallows the n-th segment that carries data, for each n given. The first is 1, and a segment
/// that is sent again counts again.
[[nodiscard]] inline PacketFilter drop_data(std::vector<std::uint64_t> numbers) {
  return [numbers = std::move(numbers), count = std::uint64_t{0}](std::vector<std::byte>& packet,
                                                                  Instant) mutable {
    if (tcp_payload_bytes(packet) == 0) return true;
    return std::ranges::find(numbers, ++count) == numbers.end();
  };
}

/// Overwrites an option by NOPs.
[[nodiscard]] inline PacketFilter strip_option(TcpOptionKind kind, Edited which = Edited::all) {
  return detail::edit_option(kind, which, [](MutableBytes option) {
    std::ranges::fill(option, static_cast<std::byte>(TcpOptionKind::no_operation));
  });
}

/// Overwrites the shift that a SYN announces.
[[nodiscard]] inline PacketFilter rewrite_window_scale(std::uint8_t shift) {
  return detail::edit_option(TcpOptionKind::window_scale, Edited::syn, [=](MutableBytes option) {
    if (option.size() == 3) option[2] = std::byte{shift};
  });
}

/// One filter behind the other; what one swallows the next ones do not see.
[[nodiscard]] inline PacketFilter in_turn(std::vector<PacketFilter> filters) {
  return [filters = std::move(filters)](std::vector<std::byte>& packet, Instant now) {
    return std::ranges::all_of(filters, [&](const auto& filter) { return filter(packet, now); });
  };
}

}  // namespace tunic::inline v0::testing
