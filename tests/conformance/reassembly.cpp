// SPDX-License-Identifier: BSL-1.0
// Reassembly of IPv4: RFC 791 3.2, RFC 815, RFC 1122 3.3.2. The packets are pings, whose replies
// show what arrived.

#include "../support/host.hpp"

#include <algorithm>
#include <string>
#include <vector>

using namespace tunic;
using namespace tunic::test;
using testing::expect;
using testing::matches;

namespace {

std::string text_of(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

Packet ping(std::string_view payload, std::uint16_t ip_id = 7) {
  Packet packet = testing::icmp_echo(peer_ip, host_ip, 1, 1, payload);
  packet[4] = static_cast<std::byte>(ip_id >> 8);
  packet[5] = static_cast<std::byte>(ip_id);
  testing::repair_checksums(packet);
  return packet;
}

// What comes back of pings, reassembled from as many fragments as it takes.
std::string reply_payload(Host& host) {
  std::string text;
  for (const Decoded& packet : host.take_all()) text.append(as_text(packet.ip.payload));
  return text.empty() ? text : text.substr(icmp_header_bytes);
}

// A fragment of a ping made by hand.
Packet fragment(std::uint16_t offset, bool more, std::string_view payload, std::uint16_t id = 7,
                IpProtocol protocol = IpProtocol::icmp, std::uint8_t tos = 0) {
  return testing::ip_packet({.src = peer_ip,
                             .dst = host_ip,
                             .protocol = protocol,
                             .tos = tos,
                             .id = id,
                             .fragment_offset_bytes = offset,
                             .more_fragments = more},
                            payload);
}

}  // namespace

TEST_CASE("a packet in fragments arrives whole", "[conformance][IPF-01]") {
  const auto size = GENERATE(std::size_t{576}, std::size_t{4000}, std::size_t{65'000});
  Host host;
  host.inject_all(testing::fragments(ping(text_of(size)), 576));
  CHECK(reply_payload(host) == text_of(size));
  CHECK(host.stack.stats().ip.reassembled == (size > 548 ? 1 : 0));
  CHECK(host.stack.stats().gauges.reassemblies == 0);
}

TEST_CASE("fragments may come in any order, mixed with those of others", "[conformance][IPF-02]") {
  std::vector<std::size_t> order{0, 1, 2, 3};
  const std::string one = text_of(88), two = text_of(86);
  do {
    Host host;
    const auto a = testing::fragments(ping(one, 1), 48), b = testing::fragments(ping(two, 2), 48);
    REQUIRE(a.size() == 4);
    for (const std::size_t i : order) {
      host.inject(a[i]);
      host.inject(b[3 - i]);
    }
    const auto replies = host.take_all();
    REQUIRE(replies.size() == 2);
    for (const Decoded& reply : replies) {
      const std::string got{as_text(reply.icmp->body)};
      CHECK((got == one || got == two));
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("what is not complete in time goes, with an error if its beginning is here",
          "[conformance][IPF-03]") {
  const bool first_came = GENERATE(true, false);
  Host host;
  const auto parts = testing::fragments(ping(text_of(1000)), 576);
  host.inject(first_came ? parts.front() : parts.back());
  host.advance(29s);
  CHECK(host.stack.stats().gauges.reassemblies == 1);
  CHECK(host.silent());
  host.advance(2s);
  CHECK(host.stack.stats().gauges.reassemblies == 0);
  CHECK(host.stack.stats().gauges.buffer_bytes == 0);
  if (first_came) {
    CHECK(matches(host.take(), expect.to(peer_ip).icmp(IcmpType::time_exceeded, 1)));
  }
  CHECK(host.silent());
}

TEST_CASE("overlapping fragments discard the packet, an exact repetition does not",
          "[conformance][IPF-04]") {
  Host host;
  const Packet whole = ping(text_of(40));
  const std::string text{as_text(Bytes{whole}.subspan(20))};
  host.inject(fragment(0, true, text.substr(0, 24)));
  host.inject(fragment(0, true, text.substr(0, 24)));  // the same again
  SECTION("no overlap") {
    host.inject(fragment(24, false, text.substr(24)));
    CHECK(reply_payload(host) == text_of(40));
  }
  SECTION("an overlap by 8 bytes") {
    host.inject(fragment(16, false, std::string(32, '?')));
    CHECK(host.stack.stats().dropped(Drop::fragment_overlap) == 1);
    CHECK(host.stack.stats().gauges.reassemblies == 0);
    host.inject(fragment(24, false, text.substr(24)));
    CHECK(host.silent());
  }
  SECTION("the same place with other bytes") {
    host.inject(fragment(0, true, std::string(24, '?')));
    CHECK(host.stack.stats().dropped(Drop::fragment_overlap) == 1);
    CHECK(host.stack.stats().gauges.reassemblies == 0);
  }
}

TEST_CASE("a fragment that ends beyond 65,535 is dropped", "[conformance][IPF-05]") {
  Host host;
  host.inject(fragment(65'512, false, std::string(100, 'x')));
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::bad_fragment) == 1);
  CHECK(host.stack.stats().gauges.reassemblies == 0);
}

TEST_CASE("a fragment in the middle holds a positive multiple of 8 bytes",
          "[conformance][IPF-06]") {
  const auto size = GENERATE(std::size_t{0}, std::size_t{7}, std::size_t{15});
  Host host;
  host.inject(fragment(0, true, std::string(size, 'x')));
  CHECK(host.stack.stats().dropped(Drop::bad_fragment) == 1);
  CHECK(host.stack.stats().gauges.reassemblies == 0);
}

TEST_CASE("a TCP header in two fragments is dropped", "[conformance][IPF-07]") {
  Host host;
  auto listener = host.stack.listen({.port = 80});
  const Packet syn = Peer{host}.syn().packet();
  const std::string text{as_text(Bytes{syn}.subspan(20))};
  host.inject(fragment(0, true, text.substr(0, 16), 7, IpProtocol::tcp));
  host.inject(fragment(16, false, text.substr(16), 7, IpProtocol::tcp));
  host.inject(fragment(8, true, text.substr(8, 8), 7, IpProtocol::tcp));
  CHECK(host.silent());
  CHECK(host.stack.stats().dropped(Drop::bad_fragment) == 3);
}

TEST_CASE("two ends that differ discard the packet", "[conformance][IPF-08]") {
  Host host;
  host.inject(fragment(24, false, std::string(16, 'x')));
  SECTION("a second last fragment") { host.inject(fragment(40, false, std::string(8, 'x'))); }
  SECTION("data beyond the last fragment") { host.inject(fragment(48, true, std::string(8, 'x'))); }
  SECTION("an end before data that has come") {
    host.inject(fragment(24, false, std::string(8, 'x')));
  }
  CHECK(host.stack.stats().dropped(Drop::fragment_overlap) == 1);
  CHECK(host.stack.stats().gauges.reassemblies == 0);
}

TEST_CASE("a flood of first fragments stays within its bounds and shuts nobody out",
          "[conformance][IPF-09]") {
  Host host;
  const std::string part(1000, 'x');
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    host.stack.device().inject(fragment(static_cast<std::uint16_t>((i % 8) * 8000), true, part,
                                        static_cast<std::uint16_t>(i)));
    if (i % 64 == 0) host.turn();
  }
  host.turn();
  CHECK(host.stack.stats().gauges.reassemblies <= 32);
  CHECK(host.stack.stats().gauges.buffer_bytes <= 1024 * 1024 + 32 * 1024);
  host.forget_sent();
  host.inject_all(testing::fragments(ping(text_of(3000), 7), 1500));
  CHECK(reply_payload(host) == text_of(3000));
}

TEST_CASE("a reassembled packet is CE if a fragment is, and no mix with not-ECT is taken",
          "[conformance][IPF-13]") {
  struct Case {
    std::uint8_t first, second;
    std::optional<std::uint8_t> result;
  };
  const auto c =
      GENERATE(Case{0, 0, std::uint8_t{0}}, Case{2, 2, std::uint8_t{2}},
               Case{2, 3, std::uint8_t{3}}, Case{3, 2, std::uint8_t{3}},
               Case{1, 3, std::uint8_t{3}}, Case{0, 3, std::nullopt}, Case{3, 0, std::nullopt});
  CAPTURE(int{c.first}, int{c.second});
  IpConfig config;
  BlockPool pool{1 << 20};
  Stats stats;
  IcmpReplies replies{config, pool, stats, SipKey{1, 2}};
  Fragments fragments{config, pool, stats, replies};
  const Packet one = fragment(0, true, std::string(8, 'x'), 7, IpProtocol::udp, c.first);
  const Packet two = fragment(8, false, std::string(8, 'x'), 7, IpProtocol::udp, c.second);
  CHECK_FALSE(fragments.add(*Ipv4Parser{}(one), Bytes{one}.first(20), Instant{}).has_value());
  const auto whole = fragments.add(*Ipv4Parser{}(two), Bytes{two}.first(20), Instant{});
  REQUIRE(whole.has_value() == c.result.has_value());
  if (whole) CHECK((whole->header.tos & 3) == *c.result);
}
