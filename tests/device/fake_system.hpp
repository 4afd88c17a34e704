// SPDX-License-Identifier: BSL-1.0
#pragma once

// A small Linux for the tests of TunDevice: interfaces, descriptors, privilege, and every system
// call of the seam, each of which can be told to fail. Reads and writes of packets answer as
// scripted. It refuses what the kernel refuses, so a device that leaks a descriptor or asks in the
// wrong order is found out.

#include <tunic/device/system.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <map>
#include <net/if.h>
#include <netinet/in.h>
#include <span>
#include <string>
#include <sys/ioctl.h>
#include <vector>

namespace tunic::device_test {

struct FakeInterface {
  short kind = IFF_TUN;
  short mode = 0;  // IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE, IFF_PERSIST
  int index = 7;
  int mtu = 1500;
  int queue = 500;
  short flags = 0;
  std::uint32_t address = 0;
  std::uint32_t mask = 0;
  int owner = -1;
  int group = -1;
  int offload = 0;
  int attached = 0;  // descriptors
  bool steered = false;
};

/// What one read gives: a packet, or (as `error`) a negative errno or 0.
struct FakeRead {
  std::vector<std::byte> bytes{};
  int error = 0;
};

struct FakeKernel {
  std::map<std::string, FakeInterface> interfaces{};
  bool privileged = true;
  int uid = 1000;
  bool has_driver = true;
  bool takes_programs = true;  // of BPF
  // With IFF_VNET_HDR: a kernel of this century.
  unsigned features = IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
  unsigned knows_offloads = 0x6f;  // TUN_F_...
  int vnet_header = 10;
  bool little_endian = false;

  /// Every call by name, in order; close is not among them.
  std::vector<std::string> calls{};
  /// The call, counted from 1, that is answered by `fail_with` (a positive errno) and does nothing.
  /// 0: none.
  std::size_t fail_at = 0;
  int fail_with = 0;
  /// Calls that are always refused, by ENOTTY: a kernel that does not know them.
  std::vector<std::string> refused{};

  /// Open descriptors; the value is the interface that it is attached to, or "socket", or empty.
  std::map<int, std::string> descriptors{};
  std::map<int, int> status_flags{};
  int next_descriptor = 3;

  std::deque<FakeRead> reads{};                   // then EAGAIN
  std::deque<ssize_t> writes{};                   // answers; then everything is taken
  std::vector<std::vector<std::byte>> written{};  // what was offered, whether it was taken or not
  std::vector<std::vector<std::byte>> taken{};    // of that, whole

  int attach_elsewhere(const std::string& name) {  // a descriptor that some framework passes on
    ++interfaces[name].attached;
    descriptors[next_descriptor] = name;
    return next_descriptor++;
  }

  bool injected(const char* call) {
    calls.emplace_back(call);
    return calls.size() == fail_at;
  }
  [[nodiscard]] bool was_called(const std::string& call) const {
    for (const std::string& one : calls) {
      if (one == call) return true;
    }
    return false;
  }

  int open(const char* path, int flags) {
    if (injected("open")) return -fail_with;
    if (!has_driver || std::string{path} != "/dev/net/tun") return -ENOENT;
    descriptors[next_descriptor] = "";
    status_flags[next_descriptor] = flags;
    return next_descriptor++;
  }

  int socket(int domain, int type, int) {
    if (injected("socket")) return -fail_with;
    if (domain != AF_INET || type != (SOCK_DGRAM | SOCK_CLOEXEC)) return -EINVAL;
    descriptors[next_descriptor] = "socket";
    return next_descriptor++;
  }

  int close(int fd) {
    const auto found = descriptors.find(fd);
    if (found == descriptors.end()) return -EBADF;
    const auto interface = interfaces.find(found->second);
    if (interface != interfaces.end()) {
      const bool last = --interface->second.attached == 0;
      if (last && (interface->second.mode & IFF_PERSIST) == 0) interfaces.erase(interface);
    }
    descriptors.erase(found);
    return 0;
  }

  int fcntl(int fd, int command, int argument) {
    if (injected(command == F_GETFL ? "F_GETFL" : "F_SETFL")) return -fail_with;
    if (!descriptors.contains(fd)) return -EBADF;
    if (command == F_SETFL) status_flags[fd] = argument;
    return command == F_GETFL ? status_flags[fd] : 0;
  }

  int ioctl(int fd, unsigned long request, void* argument) {
    if (injected(name_of(request))) return -fail_with;
    if (std::ranges::count(refused, name_of(request)) != 0) return -ENOTTY;
    if (!descriptors.contains(fd)) return -EBADF;
    if (request == TUNGETFEATURES) return *static_cast<unsigned*>(argument) = features, 0;
    if (request == TUNSETVNETHDRSZ) return vnet_header = *static_cast<int*>(argument), 0;
    if (request == TUNGETVNETHDRSZ) return *static_cast<int*>(argument) = vnet_header, 0;
    if (request == TUNSETVNETLE) return little_endian = *static_cast<int*>(argument) != 0, 0;
    if (request == TUNSETSTEERINGEBPF) return steer(fd, *static_cast<int*>(argument));
    ifreq& ask = *static_cast<ifreq*>(argument);
    if (request == TUNSETIFF) return set_interface(fd, ask);
    if (request == TUNGETIFF) return tell_interface(fd, ask);
    if (descriptors[fd] != "socket") return -ENOTTY;
    const auto found = interfaces.find(ask.ifr_name);
    if (found == interfaces.end()) return -ENODEV;
    return configure(found->second, request, ask);
  }

  int ioctl_value(int fd, unsigned long request, unsigned long value) {
    if (injected(name_of(request))) return -fail_with;
    const auto found = interfaces.find(descriptors.contains(fd) ? descriptors[fd] : "");
    if (found == interfaces.end()) return -EBADFD;
    FakeInterface& interface = found->second;
    switch (request) {
      case TUNSETOWNER:
        return interface.owner = static_cast<int>(value), 0;
      case TUNSETGROUP:
        return interface.group = static_cast<int>(value), 0;
      case TUNSETOFFLOAD:
        if ((value & ~knows_offloads) != 0) return -EINVAL;
        return interface.offload = static_cast<int>(value), 0;
      case TUNSETPERSIST:
        interface.mode = static_cast<short>(interface.mode & ~IFF_PERSIST);
        if (value != 0) interface.mode = static_cast<short>(interface.mode | IFF_PERSIST);
        return 0;
      default:
        return -ENOTTY;
    }
  }

  // Takes any program for a steering program.
  int bpf(int command) {
    if (injected("bpf")) return -fail_with;
    if (!takes_programs) return -EPERM;
    if (command != BPF_PROG_LOAD) return -EINVAL;
    descriptors[next_descriptor] = "program";
    return next_descriptor++;
  }

  ssize_t read(int fd, MutableBytes room) {
    if (!descriptors.contains(fd)) return -EBADF;
    if (reads.empty()) return -EAGAIN;
    const FakeRead next = reads.front();
    reads.pop_front();
    if (next.bytes.empty()) return next.error;
    const std::size_t count = std::min(next.bytes.size(), room.size());
    std::memcpy(room.data(), next.bytes.data(), count);  // what does not fit is lost, as in Linux
    return static_cast<ssize_t>(count);
  }

  ssize_t writev(int fd, std::span<const iovec> pieces) {
    if (!descriptors.contains(fd)) return -EBADF;
    std::vector<std::byte> packet;
    for (const iovec& piece : pieces) {
      const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
      packet.insert(packet.end(), bytes, bytes + piece.iov_len);
    }
    written.push_back(packet);
    auto answer = static_cast<ssize_t>(packet.size());
    if (!writes.empty()) {
      answer = writes.front();
      writes.pop_front();
    }
    if (answer == static_cast<ssize_t>(packet.size())) taken.push_back(packet);
    return answer;
  }

 private:
  int set_interface(int fd, ifreq& ask) {
    if (descriptors[fd] != "") return -EINVAL;
    const unsigned wanted = static_cast<unsigned short>(ask.ifr_flags);
    if ((wanted & ~features) != 0) return -EINVAL;
    std::string name = ask.ifr_name;
    if (name.empty()) name = "tun%d";
    if (const auto percent = name.find('%'); percent != name.npos) {
      const std::string stem = name.substr(0, percent);
      int number = 0;
      while (interfaces.contains(stem + std::to_string(number))) ++number;
      name = stem + std::to_string(number);
    }
    const auto found = interfaces.find(name);
    if (found != interfaces.end()) {
      if ((ask.ifr_flags & found->second.kind) == 0) return -EINVAL;
      if (((ask.ifr_flags ^ found->second.mode) & IFF_MULTI_QUEUE) != 0) return -EINVAL;
      if (!privileged && found->second.owner != uid) return -EPERM;
      const bool several = (ask.ifr_flags & IFF_MULTI_QUEUE) != 0;
      if (found->second.attached == (several ? 256 : 1)) return several ? -E2BIG : -EBUSY;
    } else if (!privileged) {
      return -EPERM;
    }
    FakeInterface& interface = interfaces[name];
    ++interface.attached;
    interface.mode =
        static_cast<short>((interface.mode & IFF_PERSIST) |
                           (ask.ifr_flags & (IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE)));
    descriptors[fd] = name;
    std::strcpy(ask.ifr_name, name.c_str());
    return 0;
  }

  int steer(int fd, int program) {
    const auto found = interfaces.find(descriptors[fd]);
    if (found == interfaces.end()) return -EBADFD;
    const auto given = descriptors.find(program);
    if (given == descriptors.end() || given->second != "program") return -EINVAL;
    return found->second.steered = true, 0;
  }

  int tell_interface(int fd, ifreq& ask) {
    if (descriptors[fd] == "socket") return -ENOTTY;
    const auto found = interfaces.find(descriptors[fd]);
    if (found == interfaces.end()) return -EBADFD;
    std::strcpy(ask.ifr_name, found->first.c_str());
    ask.ifr_flags = static_cast<short>(found->second.kind | found->second.mode);
    return 0;
  }

  int configure(FakeInterface& interface, unsigned long request, ifreq& ask) {
    switch (request) {
      case SIOCGIFINDEX:
        return ask.ifr_ifindex = interface.index, 0;
      case SIOCGIFMTU:
        return ask.ifr_mtu = interface.mtu, 0;
      case SIOCGIFTXQLEN:
        return ask.ifr_qlen = interface.queue, 0;
      case SIOCGIFFLAGS:
        return ask.ifr_flags = interface.flags, 0;
      case SIOCGIFADDR:
        return interface.address == 0 ? -EADDRNOTAVAIL : put_address(ask, interface.address);
      case SIOCGIFNETMASK:
        return interface.address == 0 ? -EADDRNOTAVAIL : put_address(ask, interface.mask);
      default:
        break;
    }
    if (!privileged) return -EPERM;
    switch (request) {
      case SIOCSIFMTU:
        return interface.mtu = ask.ifr_mtu, 0;
      case SIOCSIFTXQLEN:
        return interface.queue = ask.ifr_qlen, 0;
      case SIOCSIFFLAGS:
        return interface.flags = ask.ifr_flags, 0;
      case SIOCSIFADDR:
        interface.address = address_in(ask);
        interface.mask = 0xffffffff;
        return 0;
      case SIOCSIFNETMASK:
        if (interface.address == 0) return -EADDRNOTAVAIL;
        return interface.mask = address_in(ask), 0;
      default:
        return -ENOTTY;
    }
  }

  static int put_address(ifreq& ask, std::uint32_t bits) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(bits);
    std::memcpy(&ask.ifr_addr, &address, sizeof address);
    return 0;
  }

  static std::uint32_t address_in(const ifreq& ask) {
    sockaddr_in address{};
    std::memcpy(&address, &ask.ifr_addr, sizeof address);
    return ntohl(address.sin_addr.s_addr);
  }

  static const char* name_of(unsigned long request) {
    switch (request) {
      case TUNSETIFF:
        return "TUNSETIFF";
      case TUNGETIFF:
        return "TUNGETIFF";
      case TUNGETFEATURES:
        return "TUNGETFEATURES";
      case TUNSETVNETHDRSZ:
        return "TUNSETVNETHDRSZ";
      case TUNGETVNETHDRSZ:
        return "TUNGETVNETHDRSZ";
      case TUNSETVNETLE:
        return "TUNSETVNETLE";
      case TUNSETOFFLOAD:
        return "TUNSETOFFLOAD";
      case TUNSETOWNER:
        return "TUNSETOWNER";
      case TUNSETGROUP:
        return "TUNSETGROUP";
      case TUNSETPERSIST:
        return "TUNSETPERSIST";
      case TUNSETSTEERINGEBPF:
        return "TUNSETSTEERINGEBPF";
      case SIOCGIFINDEX:
        return "SIOCGIFINDEX";
      case SIOCGIFMTU:
        return "SIOCGIFMTU";
      case SIOCSIFMTU:
        return "SIOCSIFMTU";
      case SIOCGIFTXQLEN:
        return "SIOCGIFTXQLEN";
      case SIOCSIFTXQLEN:
        return "SIOCSIFTXQLEN";
      case SIOCGIFFLAGS:
        return "SIOCGIFFLAGS";
      case SIOCSIFFLAGS:
        return "SIOCSIFFLAGS";
      case SIOCGIFADDR:
        return "SIOCGIFADDR";
      case SIOCSIFADDR:
        return "SIOCSIFADDR";
      case SIOCGIFNETMASK:
        return "SIOCGIFNETMASK";
      case SIOCSIFNETMASK:
        return "SIOCSIFNETMASK";
      default:
        return "unknown";
    }
  }
};

/// The seam's view of it. A value, as the device wants one; the kernel outlives it.
struct FakeSystem {
  FakeKernel* kernel = nullptr;

  int open(const char* path, int flags) noexcept { return kernel->open(path, flags); }
  int close(int fd) noexcept { return kernel->close(fd); }
  int socket(int domain, int type, int protocol) noexcept {
    return kernel->socket(domain, type, protocol);
  }
  int fcntl(int fd, int command, int argument) noexcept {
    return kernel->fcntl(fd, command, argument);
  }
  int ioctl(int fd, unsigned long request, void* argument) noexcept {
    return kernel->ioctl(fd, request, argument);
  }
  int ioctl_value(int fd, unsigned long request, unsigned long value) noexcept {
    return kernel->ioctl_value(fd, request, value);
  }
  ssize_t read(int fd, MutableBytes room) noexcept { return kernel->read(fd, room); }
  ssize_t writev(int fd, std::span<const iovec> pieces) noexcept {
    return kernel->writev(fd, pieces);
  }
  int bpf(int command, void*, std::size_t) noexcept { return kernel->bpf(command); }
};

static_assert(System<FakeSystem>);

}  // namespace tunic::device_test
