// SPDX-License-Identifier: BSL-1.0

// What a TUN descriptor carries with nothing behind it: datagrams of the size of the segments that
// TCP sends through it, read as fast as a child sends them, or written as fast as a child drains
// them. None is lost, since not more than a window of them is under way. A line of JSON tells
// Gbit/s of payload.
// usage: raw_rate read|write TUN HOST_CIDR ADDRESS SECONDS CPU CHILD_CPU [plain]

#include "raw_tun.hpp"
#include "services.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <netinet/udp.h>
#include <poll.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

namespace {

using bench::must;
using std::chrono::steady_clock;

constexpr std::uint16_t port = 9999;

void pin(const char* cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(std::atoi(cpu)), &set);
  must(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

int udp_socket(int buffer_option) {
  const int fd = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  const int large = 16 << 20;
  must(setsockopt(fd, SOL_SOCKET, buffer_option, &large, sizeof large), "setsockopt");
  return fd;
}

// How many packets a sender may send: a window, and what the receiver gives back.
class Credit {
 public:
  explicit Credit(std::size_t payload_bytes) : window_{bench::window_bytes / payload_bytes} {}

  void take() {
    if (left_ == 0) wait();
    --left_;
  }
  void give_one() {
    const std::uint64_t more = window_ / 2;
    if (++received_ % more != 0) return;
    must(static_cast<int>(write(event_, &more, sizeof more)), "write");
  }

 private:
  void wait() {
    pollfd waiting{event_, POLLIN, 0};
    if (poll(&waiting, 1, 100) == 0) {
      left_ = window_;  // they were lost
    } else {
      must(static_cast<int>(read(event_, &left_, sizeof left_)), "read");
    }
  }

  int event_ = must(eventfd(0, EFD_CLOEXEC), "eventfd");
  std::uint64_t window_;
  std::uint64_t left_ = window_;  // of the sender, which is in one process
  std::uint64_t received_ = 0;    // of the receiver, in the other one
};

// A child that works until it is killed, at the latest when this program ends.
class Child {
 public:
  template <class Work>
  Child(const char* cpu, Work work) : pid_{must(fork(), "fork")} {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(cpu);
    for (;;) work();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

// Moves packets for so long, the first part of it unmeasured; payload bytes in a second.
template <class Move>
double rate(double seconds, Move move) {
  using Seconds = std::chrono::duration<double>;
  std::size_t bytes = 0;
  const auto warm = steady_clock::now() + Seconds{std::min(seconds, 0.2)};
  while (steady_clock::now() < warm) move();
  const auto begin = steady_clock::now();
  auto now = begin;
  for (; now < begin + Seconds{seconds}; now = steady_clock::now()) bytes += move();
  return static_cast<double>(bytes) / Seconds{now - begin}.count();
}

double read_rate(const bench::RawTun& tun, std::uint32_t address, std::size_t payload_bytes,
                 double seconds, const char* child_cpu) {
  const int fd = udp_socket(SO_SNDBUFFORCE);
  const sockaddr_in to = bench::ipv4_address(address, port);
  must(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), "connect");
  // Small ones are many in one call, and the kernel cuts them, as it does with TCP's.
  const std::size_t in_one_call = tun.offload() ? 1 : 32;
  const int size = static_cast<int>(payload_bytes);
  if (in_one_call > 1)
    must(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size), "UDP_SEGMENT");
  const std::vector<char> payload(in_one_call * payload_bytes, 'x');
  Credit credit{payload_bytes};
  const Child sender{child_cpu, [&] {
                       for (std::size_t i = 0; i < in_one_call; ++i) credit.take();
                       send(fd, payload.data(), payload.size(), 0);
                     }};
  std::vector<unsigned char> packet(70'000);
  return rate(seconds, [&] {
    std::size_t bytes = 0;
    for (int i = 0; i < 64; ++i) {
      if (tun.read(packet) > 0) {
        bytes += payload_bytes;
        credit.give_one();
        continue;
      }
      pollfd waiting{tun.fd(), POLLIN, 0};
      poll(&waiting, 1, 100);
      break;
    }
    return bytes;
  });
}

double write_rate(const bench::RawTun& tun, std::uint32_t address, std::uint32_t host,
                  std::size_t payload_bytes, double seconds, const char* child_cpu) {
  const int fd = udp_socket(SO_RCVBUFFORCE);
  const sockaddr_in at = bench::ipv4_address(host, port);
  must(bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), "bind");
  std::vector<char> drained(70'000);
  Credit credit{payload_bytes};
  const Child drain{child_cpu, [&] {
                      recv(fd, drained.data(), drained.size(), 0);
                      credit.give_one();
                    }};

  const std::vector<char> payload(payload_bytes, 'x');
  struct {
    iphdr ip;
    std::array<std::uint16_t, 4> udp;
  } headers{};
  const std::size_t udp_bytes = sizeof headers.udp + payload_bytes;
  headers.ip = bench::ipv4_header(sizeof headers.ip + udp_bytes, IPPROTO_UDP, address, host);
  headers.udp = {htons(port), htons(port), htons(static_cast<std::uint16_t>(udp_bytes)), 0};
  bench::VirtioNetHeader offload;
  std::uint32_t sum = bench::pseudo_header_sum(headers.ip);
  if (tun.offload()) {
    offload = {.flags = 1, .checksum_start = sizeof headers.ip, .checksum_offset = 6};
  } else {
    sum = bench::sum_words(&headers.udp, sizeof headers.udp, sum);
    sum = ~(sum + bench::folded(bench::sum_words(payload.data(), payload.size())));
  }
  headers.udp[3] = htons(bench::folded(sum));
  const auto* bytes = static_cast<const unsigned char*>(static_cast<const void*>(&headers));
  return rate(seconds, [&] {
    std::size_t moved = 0;
    for (int i = 0; i < 64; ++i) {
      credit.take();
      moved += tun.write(offload, {bytes, sizeof headers}, payload) ? payload_bytes : 0;
    }
    return moved;
  });
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 8) {
    throw std::invalid_argument{
        "usage: raw_rate read|write TUN HOST_CIDR ADDRESS SECONDS CPU CHILD_CPU [plain]"};
  }
  const bool offload = argc == 8 || std::string_view{argv[8]} != "plain";
  const auto host = tunic::IpCidr::parse(argv[3]);
  const auto address = tunic::IpAddress::parse(argv[4]);
  if (!host || !address || !address->is_v4()) throw std::invalid_argument{"no such address"};
  // One large datagram stands for a super-segment: the kernel handles both as one packet.
  const bench::RawTun tun{{.name = argv[2],
                           .offload = offload,
                           .mtu_bytes = offload ? 65'535 : 1500,
                           .host_address = *host}};
  pin(argv[6]);
  const std::size_t payload_bytes = offload ? 61'440 : 1460;
  const double seconds = std::atof(argv[5]);
  const double bytes = std::string_view{argv[1]} == "read"
                           ? read_rate(tun, address->v4_bits(), payload_bytes, seconds, argv[7])
                           : write_rate(tun, address->v4_bits(), host->address.v4_bits(),
                                        payload_bytes, seconds, argv[7]);
  std::printf("{\"gbit\": %.4f}\n", bytes * 8e-9);
} catch (const std::exception& error) {
  std::fprintf(stderr, "raw_rate: %s\n", error.what());
  return 1;
}
