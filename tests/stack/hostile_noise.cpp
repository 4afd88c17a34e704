// SPDX-License-Identifier: BSL-1.0

// A storm of packets: random bytes, random headers with right checksums, segments around the live
// numbers of connections, forged ICMP errors, pieces of packets, and damaged copies of all of
// these. Each one has a counted fate, what the host says stays consistent, a bystander notices
// nothing, and nothing is left in the end.

#include "../support/hostile.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

constexpr std::uint16_t first_port = 40'000;
constexpr std::size_t ports = 8;

template <class Traits>
class Storm {
 public:
  explicit Storm(std::uint64_t seed) : random_{seed} {}

  void blow(std::uint64_t packets) {
    for (std::uint64_t i = 0; i < packets; ++i) {
      if (i % 64 == 0) {
        host_.advance(Duration{static_cast<Duration::rep>(random_.below(50'000'000))});
        look_at_all();
        bystander_.exchange([this](const Packet& packet) { look(packet); });
      }
      if (i % 4096 == 0) host_.advance(Duration{random_.below(2) != 0 ? 1s : 70s});
      const Packet packet = draw();
      receive(packet);
      last_ = packet;
    }
    calm_down();
  }

 private:
  void receive(const Packet& packet) {
    auto& stack = host_.stack;
    stack.poll(host_.clock.now());  // what is due does not count for the packet
    const Stats before = stack.stats();
    stack.device().inject(packet);
    stack.poll(host_.clock.now());
    demand_one_fate(before, stack.stats());
    demand_bounded(stack.stats(), stack.config());
    if (stack.stats().tcp.cookies_accepted != before.tcp.cookies_accepted) {
      for (SegmentWatch& watch : watches_) watch.resume();  // it is no matter which of them it was
    }
    serve();
    stack.flush(host_.clock.now());
    look_at_all();
  }

  // The program: echoes, now and then reads nothing for a while, closes or aborts.
  void serve() {
    while (auto accepted = listener_.accept()) connections_.push_back(std::move(*accepted));
    while (host_.stack.next_event()) {
    }
    std::erase_if(connections_, [this](auto& connection) {
      if (random_.below(4) == 0) {
        const Bytes view = connection.readable();
        connection.consume(connection.send(view).bytes);
      }
      if (random_.below(500) == 0) connection.abort();
      if (connection.at_end()) connection.close();
      return connection.error() != Errc::none || connection.state() == TcpState::closed ||
             random_.below(2000) == 0;
    });
  }

  // Everything that the host sends is well-formed and agrees with what it sent before.
  void look_at_all() {
    auto& device = host_.stack.device();
    demand(device.oversized() == 0, "packets fit the MTU");
    for (; device.sent() != 0; device.drop_front()) look(device.front());
  }
  void look(Bytes bytes) {
    const auto ip = Ipv4Parser{}(bytes);
    demand(ip && ip->header.src == host_ip, "what is sent is an IP packet from here");
    if (ip->header.is_fragment() || ip->header.protocol != IpProtocol::tcp) return;
    const auto segment = parse_tcp(ip->payload, ip->header.src, ip->header.dst);
    demand(bool{segment}, "what is sent is a segment");
    const std::size_t index = static_cast<std::uint16_t>(segment->dst_port - first_port);
    if (index >= ports || segment->src_port != 80 || ip->header.dst != peer_ip) return;
    quoted_.assign(bytes.begin(), bytes.end());
    if (segment->has(TcpFlags::syn)) {
      scales_[index] = segment->options.has_window_scale ? segment->options.window_scale : 0;
    }
    watches_[index].sent(*segment, scales_[index]);
  }

  // ---- packets

  Packet draw() {
    switch (random_.below(10)) {
      case 0:
        return random_bytes(random_.below(120));
      case 1:
        return random_payload();
      case 2:
        return forged_error();
      case 3:
        return fragment();
      case 4:
      case 5:
        return damaged(last_);
      default:
        return segment();
    }
  }

  Packet random_bytes(std::uint64_t size) {
    Packet packet(size);
    for (auto& byte : packet) byte = static_cast<std::byte>(random_.next());
    return packet;
  }

  IpAddress address() {
    const std::uint64_t choice = random_.below(8);
    if (choice == 0) return IpAddress::v4(static_cast<std::uint32_t>(random_.next()));
    if (choice == 1) return IpAddress::v4(10, 0, 0, static_cast<std::uint8_t>(random_.next()));
    return choice < 5 ? peer_ip : host_ip;
  }

  Packet random_payload() {
    constexpr std::array protocols{IpProtocol::icmp, IpProtocol::tcp, IpProtocol::udp,
                                   IpProtocol{200}};
    Packet packet = testing::ip_packet({.src = random_.below(2) != 0 ? peer_ip : address(),
                                        .dst = random_.below(4) != 0 ? host_ip : address(),
                                        .protocol = protocols[random_.below(protocols.size())]},
                                       Bytes{random_bytes(random_.below(100))},
                                       Bytes{random_bytes(random_.below(10) == 0 ? 8 : 0)});
    testing::repair_checksums(packet);
    return packet;
  }

  SeqNum near(SeqNum number) {
    constexpr std::array<std::int32_t, 8> offsets{0, 0, 0, 0, 1, -1, 500, -500};
    return number + static_cast<std::uint32_t>(offsets[random_.below(offsets.size())]);
  }

  SegmentBuilder plain_segment(std::size_t index) {
    const SegmentWatch& watch = watches_[index];
    auto built = testing::segment(
        {peer_ip, static_cast<std::uint16_t>(first_port + index)},
        {host_ip, static_cast<std::uint16_t>(random_.below(32) == 0 ? random_.next() : 80)});
    const SeqNum wild{static_cast<std::uint32_t>(random_.next())};
    const bool live = watch.started() && random_.below(8) != 0;
    const bool at_edge = random_.below(8) == 0;
    built = built.ack(live ? near(watch.snd_nxt()) : wild);
    return built.seq(live ? near(at_edge ? watch.rcv_edge() : watch.rcv_nxt().value_or(wild))
                          : wild);
  }

  Packet segment() {
    constexpr auto syn = TcpFlags::syn, ack = TcpFlags::ack, fin = TcpFlags::fin;
    constexpr std::array<TcpFlags, 8> usual{
        syn, ack, ack, ack, ack | TcpFlags::psh, ack | fin, ack | TcpFlags::urg, TcpFlags::rst};
    const std::uint64_t choice = random_.below(10);
    auto built = plain_segment(random_.below(ports));
    built = built.window(static_cast<std::uint16_t>(random_.next()));
    if (random_.below(4) == 0) {
      built = built.raw_tcp_options(Bytes{random_bytes(random_.below(11) * 4)});
    } else if (choice == 0) {
      built = built.mss(static_cast<std::uint16_t>(random_.next())).sack_permitted();
      built = built.window_scale(static_cast<std::uint8_t>(random_.below(16)));
    }
    if (choice % 5 == 0) {  // now and then older than the last one
      built = built.timestamps(static_cast<std::uint32_t>(1000 + random_.below(10)), 0);
    }
    if (choice > 4)
      built = built.payload(Bytes{random_bytes(random_.below(choice < 9 ? 40 : 1400))});
    const bool odd = random_.below(8) == 0;
    const TcpFlags flags = odd           ? TcpFlags{static_cast<std::uint8_t>(random_.next())}
                           : choice == 0 ? syn
                                         : usual[random_.below(usual.size())];
    const bool marks = random_.below(4) == 0;
    const TcpFlags more = marks ? TcpFlags::ece | TcpFlags::cwr : TcpFlags::none;
    return built.flags(flags | more).tos(static_cast<std::uint8_t>(random_.below(4))).packet();
  }

  Packet forged_error() {
    if (quoted_.empty()) return random_bytes(28);
    constexpr std::array types{IcmpType::destination_unreachable, IcmpType::time_exceeded,
                               IcmpType::parameter_problem, IcmpType{4}};
    const Packet quote = random_.below(4) == 0 ? damaged(quoted_) : quoted_;
    return testing::icmp_error(peer_ip, host_ip, types[random_.below(types.size())],
                               static_cast<std::uint8_t>(random_.below(17)),
                               static_cast<std::uint32_t>(random_.below(1600)), quote);
  }

  Packet fragment() {
    const Packet whole = segment();
    auto header = Ipv4Parser{}(whole)->header;
    header.id = static_cast<std::uint16_t>(random_.below(4));
    header.fragment_offset_bytes = static_cast<std::uint16_t>(
        random_.below(8) == 0 ? random_.below(8192) * 8 : random_.below(4) * 32);
    header.more_fragments = random_.below(3) != 0;
    header.src = random_.below(4) != 0 ? peer_ip : address();
    const std::uint64_t size = random_.below(8) == 0 ? random_.below(200) : 32;
    return testing::ip_packet(header, Bytes{random_bytes(size)});
  }

  Packet damaged(Packet packet) {
    const std::uint64_t changes = 1 + random_.below(4);
    for (std::uint64_t i = 0; i < changes && !packet.empty(); ++i) {
      const std::uint64_t where = random_.below(packet.size());
      packet[where] ^= std::byte{1} << random_.below(8);
      if (random_.below(8) == 0) packet.resize(where);
    }
    if (random_.below(8) == 0) packet.resize(packet.size() + random_.below(20));
    if (random_.below(4) != 0) testing::repair_checksums(packet);
    return packet;
  }

  void calm_down() {
    bystander_.exchange();
    connections_.clear();
    listener_.close();
    bystander_.leave();
    host_.advance(10min);
    demand_nothing_held(host_.stack.stats());
    const Stats& stats = host_.stack.stats();
    CHECK(stats.tcp.passive_opens > 10);
    for (const Drop reason :
         {Drop::bad_ip_checksum, Drop::martian_source, Drop::not_for_us, Drop::unknown_protocol,
          Drop::bad_tcp_option, Drop::out_of_window, Drop::bad_ack, Drop::listen_unexpected,
          Drop::syn_in_synchronized, Drop::icmp_bad_quote}) {
      CAPTURE(name(reason));
      CHECK(stats.dropped(reason) > 0);
    }
    CHECK((stats.dropped(Drop::paws) > 0) == Traits::timestamps);
  }

  static StackConfig config() {
    StackConfig config = small_host_config();
    config.memory_budget = 1024 * 1024;
    return config;
  }

  Random random_;
  BasicHost<Traits> host_{config()};
  BasicBystander<Traits> bystander_{host_};
  typename BasicHost<Traits>::Listener listener_{
      host_.stack.listen({.port = 80,
                          .backlog = 6,
                          .syn_backlog = 6,
                          .connection = {.send_buffer = 20'000, .receive_buffer = 20'000}})};
  std::vector<typename BasicHost<Traits>::Connection> connections_;
  std::array<SegmentWatch, ports> watches_{};
  std::array<std::uint8_t, ports> scales_{};
  Packet last_;
  Packet quoted_;  // the last segment that the host has sent
};

}  // namespace

TEST_CASE("a storm of random and damaged packets is survived and accounted for",
          "[stack][hostile]") {
  const std::uint64_t seed = 1;
  CAPTURE(seed);
  Storm<DefaultTraits>{seed}.blow(cases(200'000, 10'000'000));
}

TEST_CASE("a storm of random and damaged packets, with minimal traits", "[stack][hostile]") {
  const std::uint64_t seed = 2;
  CAPTURE(seed);
  Storm<MinimalTraits>{seed}.blow(cases(50'000, 2'000'000));
}
