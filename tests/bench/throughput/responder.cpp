// SPDX-License-Identifier: BSL-1.0

// The throw-away responder: what a TUN device and the kernel's client can do at most with a program
// that spends nothing on TCP. It answers handshakes, acknowledges what comes, blasts prepared
// segments into the window and sends back requests that fit a packet. It verifies nothing, and
// repairs losses by going back to what was acknowledged. Not a server for anything else.
// usage: responder TUN HOST_CIDR ADDRESS [plain]; `plain`: no offload.

#include "raw_tun.hpp"
#include "services.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <poll.h>
#include <stdexcept>

namespace {

using std::chrono::steady_clock;

// One connection of a client, told by its port and the last bits of its address.
struct Flow {
  bool open = false;
  std::uint8_t window_shift = 0;
  std::uint8_t duplicates = 0;
  bool owes_ack = false;
  std::uint16_t mss = 536;
  std::uint16_t port = 0;  // of the service
  std::uint32_t client = 0;
  std::uint16_t client_port = 0;
  std::uint32_t rcv_nxt = 0;
  std::uint32_t snd_una = 0;
  std::uint32_t snd_nxt = 0;
  std::uint32_t edge = 0;  // of the client's window
};

constexpr std::uint8_t fin = TH_FIN, syn = TH_SYN, psh = TH_PUSH, ack = TH_ACK;
constexpr std::uint32_t first_sequence = 0x1000;
constexpr int window_shift = 8;
constexpr std::size_t largest_payload = 61'440;

struct Segment {
  const Flow* flow;
  std::uint8_t flags = ack;
  std::uint32_t seq = 0;
  std::span<const char> payload{};
};

class Responder {
 public:
  Responder(const tunic::TunOptions& options, std::uint32_t address)
      : tun_{options}, address_{address} {
    const auto block = pattern_.at(0);
    for (std::size_t i = 0; i < sums_.size(); ++i)
      sums_[i] = folded(bench::sum_words(block.data(), i));
  }

  void run() {
    std::vector<unsigned char> packet(70'000);
    for (unsigned unanswered = 0;;) {
      const ssize_t size = tun_.read(packet);
      if (size >= 40) {
        take(std::span{packet}.first(static_cast<std::size_t>(size)));
        if (++unanswered < packets_per_ack) continue;
      }
      unanswered = 0;
      acknowledge();
      if (size < 0 && !blast_all()) sleep();
    }
  }

 private:
  static constexpr unsigned packets_per_ack = 64;

  Flow& flow_of(std::uint32_t client, std::uint16_t port) {
    return flows_[(client & 31) << 16 | port];
  }

  // ---- in

  void take(std::span<const unsigned char> packet) {
    iphdr ip;
    std::memcpy(&ip, packet.data(), sizeof ip);
    if (ip.version != 4 || ip.protocol != IPPROTO_TCP) return;
    const auto segment = packet.subspan(ip.ihl * std::size_t{4});
    tcphdr tcp;
    std::memcpy(&tcp, segment.data(), sizeof tcp);
    const std::size_t header_bytes = tcp.doff * std::size_t{4};
    Flow& flow = flow_of(ntohl(ip.saddr), ntohs(tcp.source));
    if (tcp.syn) return open(flow, ip, tcp, segment.first(header_bytes).subspan(sizeof tcp));
    if (tcp.rst || !flow.open) return close(flow);

    const auto payload = segment.subspan(header_bytes);
    const auto size = static_cast<std::uint32_t>(payload.size());
    take_ack(flow, ntohl(tcp.ack_seq), std::uint32_t{ntohs(tcp.window)} << flow.window_shift,
             size == 0);
    const bool in_order = ntohl(tcp.seq) == flow.rcv_nxt;
    if (in_order) flow.rcv_nxt += size;
    if (in_order && tcp.fin) {
      ++flow.rcv_nxt;
      send({.flow = &flow, .flags = fin | ack, .seq = flow.snd_nxt});
      ++flow.snd_nxt;
      return close(flow);
    }
    if (size == 0) return;
    if (flow.port == bench::echo_port && in_order) {
      const auto* bytes = static_cast<const char*>(static_cast<const void*>(payload.data()));
      send({&flow, psh | ack, flow.snd_nxt, {bytes, std::min<std::size_t>(size, flow.mss)}});
      flow.snd_nxt += size;
    } else if (!flow.owes_ack) {
      flow.owes_ack = true;
      owing_.push_back(&flow);
    }
  }

  void open(Flow& flow, const iphdr& ip, const tcphdr& tcp,
            std::span<const unsigned char> options) {
    close(flow);
    flow = {.open = true,
            .port = ntohs(tcp.dest),
            .client = ntohl(ip.saddr),
            .client_port = ntohs(tcp.source),
            .rcv_nxt = ntohl(tcp.seq) + 1,
            .snd_una = first_sequence,
            .snd_nxt = first_sequence};
    while (options.size() > 1 && options[0] != TCPOPT_EOL) {
      if (options[0] == TCPOPT_MAXSEG)
        flow.mss = static_cast<std::uint16_t>(options[2] << 8 | options[3]);
      if (options[0] == TCPOPT_WINDOW) flow.window_shift = options[2];
      const std::size_t size = options[0] == TCPOPT_NOP ? 1 : options[1];
      options = options.subspan(std::clamp<std::size_t>(size, 1, options.size()));
    }
    send({.flow = &flow, .flags = syn | ack, .seq = flow.snd_nxt++});
  }

  void close(Flow& flow) {
    if (flow.port == bench::source_port) std::erase(sources_, &flow);
    if (flow.owes_ack) std::erase(owing_, &flow);
    flow = {};
  }

  void take_ack(Flow& flow, std::uint32_t number, std::uint32_t window, bool pure) {
    const bool source = flow.port == bench::source_port;
    if (static_cast<std::int32_t>(number - flow.snd_una) > 0) {
      if (source && flow.snd_una == first_sequence) sources_.push_back(&flow);
      flow.snd_una = number;
      flow.duplicates = 0;
      progress_ = steady_clock::now();
    } else if (source && pure && flow.snd_nxt != number && flow.edge == number + window &&
               ++flow.duplicates == 3) {
      flow.snd_nxt = flow.snd_una;
    }
    flow.edge = number + window;
    if (source) blast(flow);
  }

  // ---- out

  void acknowledge() {
    for (Flow* flow : owing_) {
      flow->owes_ack = false;
      send({.flow = flow, .seq = flow->snd_nxt});
    }
    owing_.clear();
  }

  // Whether anything could be sent.
  bool blast_all() {
    bool sent = false;
    for (Flow* flow : sources_) sent = blast(*flow) || sent;
    if (sent) progress_ = steady_clock::now();
    return sent;
  }
  bool blast(Flow& flow) {
    const std::size_t whole =
        tun_.offload() ? largest_payload / flow.mss * flow.mss : std::size_t{flow.mss};
    const int burst = tun_.offload() ? 4 : 32;
    int sent = 0;
    for (; sent < burst; ++sent) {
      const auto room = static_cast<std::int32_t>(flow.edge - flow.snd_nxt);
      if (room <= 0) break;
      const std::size_t size = std::min(whole, static_cast<std::size_t>(room));
      if (size < flow.mss && flow.snd_nxt != flow.snd_una) break;  // no silly windows
      send({&flow, psh | ack, flow.snd_nxt, pattern_.at(0).first(size)});
      flow.snd_nxt += static_cast<std::uint32_t>(size);
    }
    return sent != 0;
  }

  void sleep() {
    pollfd waiting{tun_.fd(), POLLIN, 0};
    if (poll(&waiting, 1, sources_.empty() ? -1 : 50) != 0) return;
    if (steady_clock::now() - progress_ < std::chrono::milliseconds{100}) return;
    for (Flow* flow : sources_) flow->snd_nxt = flow->snd_una;
  }

  void send(const Segment& segment) {
    struct {
      iphdr ip;
      tcphdr tcp;
      std::array<unsigned char, 8> options;
    } headers{};
    const Flow& flow = *segment.flow;
    const bool opens = (segment.flags & syn) != 0;
    const std::size_t tcp_bytes = sizeof headers.tcp + (opens ? sizeof headers.options : 0);
    headers.ip = bench::ipv4_header(sizeof headers.ip + tcp_bytes + segment.payload.size(),
                                    IPPROTO_TCP, address_, flow.client);
    headers.tcp.source = htons(flow.port);
    headers.tcp.dest = htons(flow.client_port);
    headers.tcp.seq = htonl(segment.seq);
    headers.tcp.ack_seq = htonl(flow.rcv_nxt);
    headers.tcp.doff = tcp_bytes / 4 & 0xf;
    headers.tcp.th_flags = segment.flags;
    headers.tcp.window =
        htons(static_cast<std::uint16_t>(opens ? 0xffff : bench::window_bytes >> window_shift));
    if (opens)  // MSS 1460, NOP, the window scale
      headers.options = {TCPOPT_MAXSEG, 4, 1460 >> 8,   1460 & 0xff, TCPOPT_NOP,
                         TCPOPT_WINDOW, 3, window_shift};

    std::uint32_t sum = bench::pseudo_header_sum(headers.ip);
    bench::VirtioNetHeader offload;
    if (tun_.offload()) {
      offload = {.flags = 1, .checksum_start = sizeof headers.ip, .checksum_offset = 16};
      if (segment.payload.size() > flow.mss) {
        offload.segmentation = 1;
        offload.segment_bytes = flow.mss;
        offload.header_bytes = static_cast<std::uint16_t>(sizeof headers.ip + tcp_bytes);
      }
      headers.tcp.check = htons(folded(sum));
    } else {
      sum = bench::sum_words(&headers.tcp, tcp_bytes, sum) + sum_of(segment.payload);
      headers.tcp.check = htons(static_cast<std::uint16_t>(~folded(sum)));
    }
    const auto* bytes = static_cast<const unsigned char*>(static_cast<const void*>(&headers));
    tun_.write(offload, {bytes, sizeof headers.ip + tcp_bytes}, segment.payload);
  }

  // The source's payloads all begin alike, and their sums are known.
  std::uint32_t sum_of(std::span<const char> payload) const {
    if (payload.data() == pattern_.at(0).data() && payload.size() < sums_.size())
      return sums_[payload.size()];
    return folded(bench::sum_words(payload.data(), payload.size()));
  }

  static std::uint16_t folded(std::uint32_t sum) { return bench::folded(sum); }

  bench::RawTun tun_;
  std::uint32_t address_;
  bench::Pattern pattern_;
  std::vector<std::uint16_t> sums_ = std::vector<std::uint16_t>(1501);
  std::vector<Flow> flows_ = std::vector<Flow>(std::size_t{32} << 16);
  std::vector<Flow*> owing_;
  std::vector<Flow*> sources_;
  steady_clock::time_point progress_{};
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 4) throw std::invalid_argument{"usage: responder TUN HOST_CIDR ADDRESS [plain]"};
  const auto host = tunic::IpCidr::parse(argv[2]);
  const auto address = tunic::IpAddress::parse(argv[3]);
  if (!host || !address || !address->is_v4()) throw std::invalid_argument{"no such address"};
  Responder responder{{.name = argv[1],
                       .offload = argc == 4 || std::string_view{argv[4]} != "plain",
                       .host_address = *host},
                      address->v4_bits()};
  std::puts("ready");
  std::fflush(stdout);
  responder.run();
} catch (const std::exception& error) {
  std::fprintf(stderr, "responder: %s\n", error.what());
  return 1;
}
