// SPDX-License-Identifier: BSL-1.0
#pragma once

// For tests of TUN devices of the real kernel. Each forks a child into a network namespace of its
// own, so that nothing of this machine is touched and everything is gone when the child ends. Where
// the machine does not allow that, the tests say so and pass.

#include "catch.hpp"
#include <tunic/device/tun_device.hpp>

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <string>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace tunic::device_test {

inline constexpr int not_allowed = 77;

// In the child: no Catch there, so a failed expectation prints and ends it.
#define EXPECT(condition)                                                          \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                                    \
    }                                                                              \
  } while (false)

inline void write_file(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  EXPECT(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  close(fd);
}

inline bool enter_namespace() {
  if (unshare(CLONE_NEWNET) == 0) return true;
  // An ordinary user may be the root of a user namespace, which owns a network namespace.
  const std::string uid = std::to_string(geteuid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  write_file("/proc/self/uid_map", "0 " + uid + " 1");
  return true;
}

// Runs `body` in a child inside a fresh network namespace that has /dev/net/tun; its exit code.
template <class Body>
int in_namespace(Body body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);  // nothing here waits for long
    if (!enter_namespace()) _exit(not_allowed);
    std::error_code ec;
    if (const auto probe = TunDevice::open({.bring_up = false}, ec);
        ec == Errc::tun_missing || ec == Errc::tun_permission) {
      _exit(not_allowed);
    }
    body();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

template <class Body>
void run_in_namespace(Body body) {
  const int code = in_namespace(body);
  if (code == not_allowed) {
    WARN("SKIPPED: this machine allows no TUN device in a network namespace of our own");
  } else {
    CHECK(code == 0);
  }
}

inline TunDevice open(const TunOptions& options) {
  std::error_code ec;
  TunDevice device = TunDevice::open(options, ec);
  if (ec) {
    std::fprintf(stderr, "%s: %s: %s\n", ec.message().c_str(), device.failure().call,
                 std::strerror(device.failure().error_number));
    _exit(1);
  }
  return device;
}

}  // namespace tunic::device_test
