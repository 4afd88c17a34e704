// SPDX-License-Identifier: BSL-1.0
#pragma once

// The kernel's side of a benchmark: network namespaces, and ends of connections that send or
// receive all the time, each on a blocking socket in a thread of its own.

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace bench {

/// The result of a system call that must not fail.
inline int must(int result, const char* call) {
  if (result < 0) throw std::system_error{errno, std::generic_category(), call};
  return result;
}

/// A network namespace of its own. The calling thread is in it afterwards, with what it opens; the
/// namespace goes with the last of that.
class Namespace {
 public:
  Namespace() {
    must(unshare(CLONE_NEWNET), "unshare");
    devices_.open("/proc/thread-self/net/dev");  // bound to the namespace from here on
  }

  /// Sets a variable below net.ipv4, while the calling thread is in this namespace.
  static void set(const std::string& variable, const std::string& value) {
    std::ofstream file{"/proc/sys/net/ipv4/" + variable};
    file << value << std::flush;
    if (!file) throw std::system_error{errno, std::generic_category(), variable};
  }

  /// Packets that its devices could not queue.
  [[nodiscard]] std::uint64_t dropped() {
    std::uint64_t sum = 0;
    std::string line;
    while (std::getline(devices_, line)) {
      const auto colon = line.find(':');
      if (colon == line.npos) continue;  // a heading
      std::istringstream columns{line.substr(colon + 1)};
      std::array<std::uint64_t, 12> values{};  // eight of receiving; bytes, packets, errors, drops
      for (auto& value : values) columns >> value;
      sum += values.back();
    }
    devices_.clear();
    devices_.seekg(0);
    return sum;
  }

 private:
  std::ifstream devices_;
};

/// A TCP socket with CUBIC, which what it accepts has too: a namespace takes the default of the
/// machine, and may choose only from what that allows.
inline int tcp_socket(int flags = 0) {
  const int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), "socket");
  constexpr std::string_view cubic = "cubic";
  must(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cubic.data(), cubic.size()), "TCP_CONGESTION");
  return fd;
}

enum class Role : std::uint8_t { send, receive };

inline sockaddr_in ipv4_address(std::uint32_t bits, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(bits);
  return address;
}

/// One end of a kernel connection, in the namespace where it was made. It ends with the object.
class KernelEnd {
 public:
  /// Accepts one connection.
  static KernelEnd listen(Role role, std::uint16_t port) {
    const int fd = make_socket();
    const sockaddr_in any = ipv4_address(INADDR_ANY, port);
    must(bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any), "bind");
    must(::listen(fd, 1), "listen");
    return {role, fd, [fd] { return accept(fd, nullptr, nullptr); }};
  }

  static KernelEnd connect(Role role, std::uint32_t bits, std::uint16_t port) {
    const int fd = make_socket();
    return {role, fd, [fd, to = ipv4_address(bits, port)] {
              return ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0 ? -1 : fd;
            }};
  }

  KernelEnd(const KernelEnd&) = delete;
  KernelEnd& operator=(const KernelEnd&) = delete;
  ~KernelEnd() {
    over_ = true;
    thread_.join();
    if (connection_ >= 0 && connection_ != socket_) close(connection_);
    close(socket_);
  }

  /// Bytes that have come.
  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
  /// All zero before the handshake.
  [[nodiscard]] tcp_info info() const noexcept {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (connection_ >= 0) getsockopt(connection_, IPPROTO_TCP, TCP_INFO, &info, &size);
    return info;
  }

 private:
  // Its calls wait no longer than it may take to notice that all is over. What it accepts is as it
  // is.
  static int make_socket() {
    const int fd = tcp_socket();
    const timeval patience{0, 100'000};
    for (const int direction : {SO_RCVTIMEO, SO_SNDTIMEO})
      must(setsockopt(fd, SOL_SOCKET, direction, &patience, sizeof patience), "setsockopt");
    return fd;
  }

  template <class Open>
  KernelEnd(Role role, int socket, Open open)
      : socket_{socket}, thread_{[this, role, open] {
          while (connection_ < 0 && !over_) connection_ = open();
          move_bytes(role);
        }} {}

  void move_bytes(Role role) {
    std::vector<char> bytes(std::size_t{256} * 1024);
    while (!over_) {
      const ssize_t count = role == Role::send
                                ? send(connection_, bytes.data(), bytes.size(), MSG_NOSIGNAL)
                                : recv(connection_, bytes.data(), bytes.size(), 0);
      if (count == 0 || (count < 0 && errno != EAGAIN)) return;
      if (count > 0 && role == Role::receive) received_ += static_cast<std::uint64_t>(count);
    }
  }

  int socket_;
  std::atomic<bool> over_ = false;
  std::atomic<int> connection_ = -1;
  std::atomic<std::uint64_t> received_ = 0;
  std::thread thread_;
};

}  // namespace bench
