// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/device/system.hpp>

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <unistd.h>

using namespace tunic;

TEST_CASE("refused system calls are answered by the negative errno", "[device]") {
  LinuxSystem system;
  std::array<std::byte, 8> room{};
  std::array pieces{iovec{room.data(), room.size()}};
  ifreq request{};
  CHECK(system.open("/nonexistent/file", O_RDONLY) == -ENOENT);
  CHECK(system.close(-1) == -EBADF);
  CHECK(system.ioctl(-1, SIOCGIFMTU, &request) == -EBADF);
  CHECK(system.ioctl_value(-1, TUNSETPERSIST, 1) == -EBADF);
  CHECK(system.fcntl(-1, F_GETFL, 0) == -EBADF);
  CHECK(system.socket(-1, 0, 0) == -EAFNOSUPPORT);
  CHECK(system.read(-1, room) == -EBADF);
  CHECK(system.writev(-1, pieces) == -EBADF);
  CHECK(system.eventfd(0, -1) == -EINVAL);
  CHECK(system.bpf(-1, nullptr, 0) < 0);  // EINVAL, or EPERM before it looks
}

TEST_CASE("system calls do what they are named after", "[device]") {
  LinuxSystem system;
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  REQUIRE(system.fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
  CHECK((system.fcntl(ends[0], F_GETFL, 0) & O_NONBLOCK) != 0);

  std::array<std::byte, 8> room{};
  CHECK(system.read(ends[0], room) == -EAGAIN);
  std::array letters{std::byte{'a'}, std::byte{'b'}, std::byte{'c'}};
  std::array pieces{iovec{letters.data(), 1}, iovec{letters.data() + 1, 2}};
  CHECK(system.writev(ends[1], pieces) == 3);
  int waiting = 0;
  CHECK(system.ioctl(ends[0], FIONREAD, &waiting) == 0);
  CHECK(waiting == 3);
  CHECK(system.read(ends[0], room) == 3);
  CHECK(room[2] == std::byte{'c'});
  CHECK(system.close(ends[0]) == 0);
  CHECK(system.close(ends[1]) == 0);

  const int socket = system.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  REQUIRE(socket >= 0);
  CHECK((system.fcntl(socket, F_GETFD, 0) & FD_CLOEXEC) != 0);
  CHECK(system.close(socket) == 0);
}
