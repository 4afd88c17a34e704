// SPDX-License-Identifier: BSL-1.0

// The server under test: echo, discard and source on a TUN device, in an epoll loop, as a program
// that uses tunic has it. usage: tunic_server TUN HOST_CIDR ADDRESS [plain | owned | busy].
// `plain`: no offload; `owned`: what the source sends is not copied; `busy`: it polls for a while
// before it sleeps.

#include "services.hpp"
#include <tunic/tunic.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string_view>
#include <sys/epoll.h>
#include <utility>
#include <vector>

using namespace tunic;

namespace {

class Server {
 public:
  Server(TunDevice device, const IpAddress& address, std::string_view mode)
      : owned_{mode == "owned"},
        busy_poll_{mode == "busy" ? std::chrono::microseconds{200} : std::chrono::microseconds{0}},
        stack_{std::move(device),
               {.addresses = {address},
                .memory_budget = std::size_t{1} << 30,
                .tcp = {.max_connections = 1'100'000}}},
        listeners_{listen(bench::echo_port), listen(bench::discard_port),
                   listen(bench::source_port)} {}

  void run() {
    const int loop = epoll_create1(EPOLL_CLOEXEC);
    epoll_event wanted{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {}};
    epoll_ctl(loop, EPOLL_CTL_ADD, stack_.device().native_handle(), &wanted);
    const SteadyClock clock;
    Instant now = clock.now();
    Instant busy_until = now;
    while (stack_.device_status() != DeviceStatus::failed) {
      epoll_event ready{};
      if (now >= busy_until) epoll_wait(loop, &ready, 1, stack_.wait_ms(now));
      now = clock.now();
      if (stack_.poll(now).packets != 0) busy_until = now + busy_poll_;
      accept();
      while (const auto event = stack_.next_event()) serve(peers_[event->id.slot]);
      stack_.flush(now);
    }
    throw std::runtime_error{"TUN device gone"};
  }

 private:
  TcpListener listen(std::uint16_t port) {
    return stack_.listen(
        {.port = port, .backlog = 1024, .syn_backlog = 1024, .connection = {.no_delay = true}});
  }

  void accept() {
    for (TcpListener& listener : listeners_) {
      while (auto peer = listener.accept()) {
        const std::size_t slot = peer->id().slot;
        if (slot >= peers_.size()) peers_.resize(slot + 1);
        peers_[slot] = std::move(*peer);
      }
    }
  }

  void serve(TcpConnection& peer) {
    switch (peer.local().port) {
      case bench::echo_port:  // what the send queue does not take stays unread
        (void)peer.splice(peer);
        break;
      case bench::discard_port:
        peer.consume(peer.readable_bytes());
        break;
      case bench::source_port:
        while ((owned_ ? peer.send_owned(block_, 0) : peer.send(block_)).bytes == block_.size()) {
        }
        while (stack_.next_released()) {
        }
        break;
    }
    if (peer.at_end() || peer.error() != Errc::none) peer = {};
  }

  const bool owned_;
  const Duration busy_poll_;
  Stack<TunDevice> stack_;
  std::array<TcpListener, 3> listeners_;
  std::vector<TcpConnection> peers_;  // by their slots in the stack
  bench::Pattern pattern_;
  Bytes block_ = std::as_bytes(pattern_.at(0));
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 4)
    throw std::invalid_argument{"usage: tunic_server TUN HOST_CIDR ADDRESS [plain | owned | busy]"};
  const auto host = IpCidr::parse(argv[2]);
  const auto address = IpAddress::parse(argv[3]);
  if (!host || !address) throw std::invalid_argument{"no such address"};
  const std::string_view mode = argc == 4 ? "" : argv[4];
  Server server{
      TunDevice::open({.name = argv[1], .offload = mode != "plain", .host_address = *host}),
      *address, mode};
  std::puts("ready");
  std::fflush(stdout);
  server.run();
} catch (const std::exception& error) {
  std::fprintf(stderr, "tunic_server: %s\n", error.what());
  return 1;
}
