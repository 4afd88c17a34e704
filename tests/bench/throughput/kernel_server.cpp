// SPDX-License-Identifier: BSL-1.0

// Echo, discard and source on kernel sockets, one thread, epoll. usage: kernel_server ADDRESS

#include "../kernel_tcp.hpp"
#include "services.hpp"

#include <arpa/inet.h>
#include <cstdio>
#include <deque>
#include <exception>
#include <stdexcept>
#include <sys/epoll.h>

namespace {

using bench::must;

struct Peer {
  int fd = -1;
  std::uint16_t port = 0;
  bool listens = false;
  std::vector<char> waiting;  // to be echoed: what the socket did not take at once
  std::size_t sent = 0;       // of it
};

class Server {
 public:
  explicit Server(std::uint32_t address) {
    for (const auto port : {bench::echo_port, bench::discard_port, bench::source_port}) {
      const int fd = bench::tcp_socket(SOCK_NONBLOCK);
      const int on = 1;
      must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
      const sockaddr_in at = bench::ipv4_address(address, port);
      must(bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), "bind");
      must(listen(fd, 1024), "listen");
      add(fd, port, EPOLLIN).listens = true;
    }
  }

  void run() {
    for (;;) {
      std::array<epoll_event, 256> ready;
      const int count =
          must(epoll_wait(loop_, ready.data(), static_cast<int>(ready.size()), -1), "epoll_wait");
      for (const epoll_event& event : std::span{ready}.first(static_cast<std::size_t>(count))) {
        Peer& peer = *static_cast<Peer*>(event.data.ptr);
        peer.listens ? accept(peer) : serve(peer);
      }
    }
  }

 private:
  void accept(const Peer& listener) {
    for (int fd = 0; (fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      add(fd, listener.port, listener.port == bench::source_port ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
  }

  void serve(Peer& peer) {
    if (peer.port == bench::source_port &&
        !moved(send(peer.fd, block_.data(), block_.size(), MSG_NOSIGNAL)))
      return remove(peer);
    if (peer.sent < peer.waiting.size()) return send_waiting(peer);
    const ssize_t count = recv(peer.fd, bytes_.data(), bytes_.size(), 0);
    if (count == 0 || !moved(count)) return remove(peer);
    if (count < 0 || peer.port != bench::echo_port) return;
    const ssize_t taken = std::max<ssize_t>(
        send(peer.fd, bytes_.data(), static_cast<std::size_t>(count), MSG_NOSIGNAL),
        0);  // an error shows again at the next call
    if (taken == count) return;
    peer.waiting.assign(bytes_.begin() + taken, bytes_.begin() + count);
    peer.sent = 0;
    watch(peer, EPOLLOUT, EPOLL_CTL_MOD);
  }

  void send_waiting(Peer& peer) {
    const ssize_t taken = send(peer.fd, peer.waiting.data() + peer.sent,
                               peer.waiting.size() - peer.sent, MSG_NOSIGNAL);
    if (!moved(taken)) return remove(peer);
    if (taken > 0) peer.sent += static_cast<std::size_t>(taken);
    if (peer.sent == peer.waiting.size()) watch(peer, EPOLLIN, EPOLL_CTL_MOD);
  }

  // Whether the socket is still good for something.
  static bool moved(ssize_t answer) { return answer >= 0 || errno == EAGAIN; }

  Peer& add(int fd, std::uint16_t port, std::uint32_t events) {
    const auto at = static_cast<std::size_t>(fd);
    if (at >= peers_.size()) peers_.resize(at + 1);
    peers_[at] = {.fd = fd, .port = port, .waiting = {}};
    watch(peers_[at], events, EPOLL_CTL_ADD);
    return peers_[at];
  }
  static void remove(const Peer& peer) { close(peer.fd); }

  void watch(Peer& peer, std::uint32_t events, int change) {
    epoll_event event{.events = events, .data = {.ptr = &peer}};
    must(epoll_ctl(loop_, change, peer.fd, &event), "epoll_ctl");
  }

  int loop_ = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  std::deque<Peer> peers_;  // by their descriptors
  std::vector<char> bytes_ = std::vector<char>(bench::block_bytes);
  bench::Pattern pattern_;
  std::span<const char> block_ = pattern_.at(0);
};

}  // namespace

int main(int argc, char** argv) try {
  in_addr address{};
  if (argc != 2 || inet_pton(AF_INET, argv[1], &address) != 1)
    throw std::invalid_argument{"usage: kernel_server ADDRESS"};
  Server server{ntohl(address.s_addr)};
  std::puts("ready");
  std::fflush(stdout);
  server.run();
} catch (const std::exception& error) {
  std::fprintf(stderr, "kernel_server: %s\n", error.what());
  return 1;
}
