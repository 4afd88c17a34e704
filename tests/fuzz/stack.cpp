// SPDX-License-Identifier: BSL-1.0

// The bytes are a script for a stack's whole surroundings: raw packets, segments around the live
// numbers of its connections, damaged and cut copies of them, ICMP errors about what it sent, time,
// the calls of its program, and the moods of its device.

#include "world.hpp"

using namespace tunic;
using namespace tunic::fuzz;
using testing::Packet;

namespace {

template <class Traits>
class Play {
 public:
  explicit Play(Script& script) : script_{script}, world_{script} {}

  void run() {
    while (!script_.done()) act();
    device_ok_ = true;
    flush_batch();
    world_.finish(script_.flag());
  }

 private:
  using Held = typename World<Traits>::Held;
  using Connection = typename World<Traits>::Connection;

  void act() {
    switch (script_.byte() % 20) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
        return inject(segment());
      case 6:
        return inject(raw());
      case 7:
        return inject(damaged(last_));
      case 8:
        return inject(forged_error());
      case 9:
        return in_fragments();
      case 10:
      case 11:
        return pass_time();
      case 12:
      case 13:
        return read();
      case 14:
        return write();
      case 15:
        return end();
      case 16:
        return change_options();
      case 17:
        return connect();
      case 18:
        return touch_device();
      default:
        return touch_listener();
    }
  }

  // ---- packets in

  void inject(const Packet& packet) {
    if (packet.size() > 65'535) return;
    last_ = packet;
    if (batching_ || !device_ok_) {
      batch_.push_back(packet);
      if (batch_.size() >= 8 || !batching_) flush_batch();
    } else {
      world_.receive(packet);
    }
  }
  void flush_batch() {
    for (const Packet& packet : batch_) {
      trace(world_.now, "came", packet);
      world_.stack.device().inject(packet);
    }
    batch_.clear();
    world_.turn();
  }

  // From a peer, its numbers near the live ones, its bytes those of the pattern.
  Packet segment() {
    const std::uint8_t choice = script_.byte();
    const std::size_t index = choice % peers;
    const Peer& peer = world_.known[index];
    constexpr auto syn = TcpFlags::syn, ack = TcpFlags::ack, fin = TcpFlags::fin;
    constexpr std::array<TcpFlags, 8> usual{
        ack, syn,           ack | TcpFlags::psh, ack | fin,
        ack, TcpFlags::rst, syn | ack,           ack | TcpFlags::urg};
    TcpFlags flags = choice < 224 ? usual[choice >> 2 & 7] : TcpFlags{script_.byte()};
    const auto ecn = static_cast<std::uint8_t>(choice >> 5);
    if ((ecn & 4) != 0 && choice < 224) flags |= TcpFlags::ece | TcpFlags::cwr;
    const std::uint8_t numbers = script_.byte();
    SeqNum seq = (numbers & 1) != 0 ? peer.watch.rcv_edge() : peer.watch.rcv_nxt().value_or(isn_);
    if ((numbers & 2) != 0) seq = seq + script_.word() - 0x8000U;
    if ((numbers & 4) != 0) seq = SeqNum{script_.dword()};
    SeqNum acked = peer.watch.started() ? peer.watch.snd_nxt() : SeqNum{};
    if ((numbers & 8) != 0) acked = acked - (script_.byte() + 1U);
    if ((numbers & 16) != 0) acked = acked + script_.byte();
    auto built = testing::segment(peer_at(index), {host, host_port}).seq(seq).ack(acked);
    built = built.window(script_.word()).tos(ecn & 3);
    if (flags.has(TcpFlags::urg)) built = built.urgent(script_.word());
    if ((numbers & 32) != 0) built = with_options(built, flags.has(syn), acked);
    std::size_t size = (numbers & 64) != 0 ? script_.byte() : 0;
    if ((numbers & 128) != 0) size *= 64;
    return built.payload(pattern(seq.value() + (flags.has(syn) ? 1 : 0), size))
        .flags(flags)
        .packet();
  }

  testing::SegmentBuilder with_options(testing::SegmentBuilder built, bool syn, SeqNum acked) {
    const std::uint8_t bits = script_.byte();
    if ((bits & 128) != 0) return built.raw_tcp_options(Bytes{script_.copy(script_.byte() % 41)});
    if ((bits & 1) != 0) built = built.timestamps(script_.byte(), script_.dword());
    if (syn && (bits & 2) != 0) built = built.mss(script_.word());
    if (syn && (bits & 4) != 0) built = built.window_scale(script_.byte());
    if (syn && (bits & 8) != 0) built = built.sack_permitted();
    if (!syn && (bits & 16) != 0) {
      const SeqNum left = acked + script_.word();
      built = built.sack({{left, left + script_.word()}, {acked, acked + script_.byte()}});
    }
    return built;
  }

  Packet raw() {
    const std::uint8_t choice = script_.byte();
    Packet packet = script_.copy(script_.byte());
    if (choice % 4 == 0) return forge(packet);
    const Endpoint from = peer_at(choice >> 2 & 3);
    constexpr std::array protocols{IpProtocol::tcp, IpProtocol::icmp, IpProtocol::udp,
                                   IpProtocol::tcp};
    Ipv4Header header{.src = from.address, .dst = host, .protocol = protocols[choice >> 4 & 3]};
    if (choice % 4 == 2) {
      header.id = script_.byte() & 1;
      header.fragment_offset_bytes = static_cast<std::uint16_t>(script_.byte() % 32 * 8);
      header.more_fragments = (choice & 128) != 0;
    }
    packet = testing::ip_packet(header, Bytes{packet}, Bytes{script_.copy((choice & 64) / 8)});
    testing::repair_checksums(packet);
    return forge(packet);
  }

  Packet damaged(Packet packet) {
    const std::uint8_t choice = script_.byte();
    for (int i = 0; i <= choice % 4 && !packet.empty(); ++i) {
      packet[script_.word() % packet.size()] ^= std::byte{1} << (script_.byte() & 7);
    }
    if ((choice & 16) != 0)
      packet.resize(packet.size() - std::min<std::size_t>(packet.size(), script_.byte()));
    if ((choice & 32) == 0) testing::repair_checksums(packet);
    return forge(packet);
  }

  // Its bytes need not be the pattern, and it may be anybody's.
  Packet forge(const Packet& packet) {
    for (Peer& peer : world_.known) peer.forged = true;
    for (Held& held : world_.held) held.reading.reset();
    return packet;
  }

  Packet forged_error() {
    const std::uint8_t choice = script_.byte();
    constexpr std::array types{IcmpType::destination_unreachable, IcmpType::time_exceeded,
                               IcmpType::parameter_problem, IcmpType::echo_request};
    const Peer& peer = world_.known[choice >> 2 & 3];
    const std::uint8_t code = script_.byte() % 16;
    return testing::icmp_error(peer_at(choice >> 2 & 3).address, host, types[choice & 3], code,
                               script_.word(), Bytes{peer.last_sent});
  }

  void in_fragments() {
    const Packet whole = segment();
    if (whole.size() > 65'535) return;
    std::vector<Packet> parts = testing::fragments(Bytes{whole}, 68 + script_.byte() * 8U);
    if (script_.flag()) std::reverse(parts.begin(), parts.end());
    if (parts.size() <= 8) {
      for (const Packet& part : parts) inject(part);
    }
  }

  // ---- time

  void pass_time() {
    constexpr std::array<Duration, 10> steps{0ms, 1ms, 10ms, 40ms, 200ms, 1s, 5s, 60s, 10min, 3h};
    flush_batch();
    world_.advance(script_.pick(steps));
  }

  // ---- the program

  Held* any() {
    if (world_.held.empty()) return nullptr;
    return &world_.held[script_.byte() % world_.held.size()];
  }

  void read() {
    Held* held = any();
    if (held == nullptr) return;
    std::size_t left = script_.word();
    for (Bytes view = held->connection.readable(); !view.empty() && left != 0;
         view = held->connection.readable()) {
      view = view.first(std::min(left, view.size()));
      if (held->reading) {
        demand(is_pattern(*held->reading, view), "bytes are read as they were sent");
        *held->reading += static_cast<std::uint32_t>(view.size());
      }
      left -= view.size();
      held->connection.consume(view.size());
    }
  }

  void write() {
    Held* held = any();
    if (held == nullptr) return;
    const std::uint8_t choice = script_.byte();
    const auto bytes = pattern(held->written, choice < 128 ? choice : script_.word());
    const IoResult result = choice % 16 == 15   ? held->connection.send_urgent(bytes)
                            : choice % 16 == 14 ? give(held->connection, bytes)
                                                : held->connection.send(bytes);
    demand(result.bytes <= bytes.size() && (!result || result.bytes == bytes.size()),
           "send says what it took");
    held->written += static_cast<std::uint32_t>(result.bytes);
  }

  // They live as long as the stack may look at them, and no longer.
  IoResult give(Connection& connection, const std::vector<std::byte>& bytes) {
    const std::uint64_t token = ++given_;
    const auto kept = world_.kept.emplace(token, bytes).first;
    const IoResult result = connection.send_owned(kept->second, token);
    if (result.bytes == 0) world_.kept.erase(kept);
    return result;
  }

  void end() {
    Held* held = any();
    if (held == nullptr) return;
    switch (script_.byte() % 4) {
      case 0:
        return held->connection.shutdown_send();
      case 1:
        return held->connection.close();
      case 2:
        return held->connection.abort();
      default:
        std::swap(*held, world_.held.back());
        return world_.held.pop_back();
    }
  }

  void change_options() {
    constexpr std::array<std::uint32_t, 4> sizes{1, 3000, 100'000, 1U << 30};
    const std::uint8_t bits = script_.byte();
    ConnectionOptions& options = world_.options;
    options.no_delay = (bits & 1) != 0;
    options.cork = (bits & 2) != 0;
    options.keepalive.enabled = (bits & 4) != 0;
    options.keepalive.garbage_byte = (bits & 8) != 0;
    options.user_timeout = (bits & 16) != 0 ? Duration{0} : Duration{5min};
    if ((bits & 32) != 0) options.linger = Duration{script_.byte() * 100ms};
    if ((bits & 64) != 0) options.max_segment_size = script_.word();
    options.pacing = (bits & 128) != 0;
    options.send_buffer = sizes[script_.byte() % 3];
    options.receive_buffer = script_.pick(sizes);
    if (Held* held = any()) held->connection.set_options(options);
  }

  void connect() {
    std::error_code error;
    const std::size_t index = script_.byte() % peers;
    Held& held = world_.held.emplace_back();
    held.connection = world_.stack.connect(
        {.remote = peer_at(index), .local_port = host_port, .connection = world_.options}, error);
    held.peer = index;
    if (error) world_.held.pop_back();
  }

  // ---- the rest

  void touch_device() {
    MockDevice& device = world_.stack.device();
    const std::uint8_t choice = script_.byte();
    device_ok_ = choice % 4 < 2;
    device.set_status(choice % 4 == 2 ? DeviceStatus::down : DeviceStatus::ok);
    device.set_capacity(choice % 4 == 3 ? choice >> 4 : 1'000'000);
    constexpr std::array<std::size_t, 4> mtus{128, 600, 1400, 9000};
    if (choice % 4 == 1) device.set_mtu_bytes(mtus[choice >> 4 & 3]);
    world_.turn();
  }

  void touch_listener() {
    const std::uint8_t choice = script_.byte();
    switch (choice % 4) {
      case 0:
        flush_batch();
        batching_ = !batching_;
        return;
      case 1:
        world_.decide_syns = (choice & 4) != 0;
        world_.listener.close();
        return world_.listen();
      case 2:
        while (auto syn = world_.listener.next_syn()) {
          world_.listener.decide(syn->id,
                                 SynVerdict{static_cast<std::uint8_t>(script_.byte() % 4)});
        }
        return;
      default: {
        const auto payload = pattern(0, script_.byte() * std::size_t{32});
        return inject(
            testing::icmp_echo(peer_at(0).address, host, 1, script_.byte(), Bytes{payload}));
      }
    }
  }

  Script& script_;
  World<Traits> world_;
  std::vector<Packet> batch_;
  Packet last_;
  SeqNum isn_{0xfffffff0};
  std::uint64_t given_ = 0;
  bool batching_ = false;
  bool device_ok_ = true;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script{data, size};
  if (script.byte() % 8 == 7) {
    Play<MinimalTraits>{script}.run();
  } else {
    Play<DefaultTraits>{script}.run();
  }
  return 0;
}
