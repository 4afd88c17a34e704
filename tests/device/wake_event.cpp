// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/device/wake_event.hpp>

#include <atomic>
#include <cerrno>
#include <poll.h>
#include <thread>

using namespace tunic;

namespace {

bool readable(int fd, int wait_ms = 0) {
  pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&wanted, 1, wait_ms) == 1;
}

struct Script {
  int interruptions = 0;
  int writes = 0;
  int reads = 0;
  ssize_t reading = 8;
};
struct ScriptedEvents {
  Script* script;
  int eventfd(unsigned, int) noexcept { return 3; }
  int close(int) noexcept { return 0; }
  ssize_t read(int, MutableBytes) noexcept { return ++script->reads, script->reading; }
  ssize_t writev(int, std::span<const iovec>) noexcept {
    return ++script->writes <= script->interruptions ? -EINTR : 8;
  }
};

}  // namespace

TEST_CASE("a wake-up is seen until it is cleared", "[device][wake_event]") {
  WakeEvent<LinuxSystem> event;
  REQUIRE(event.native_handle() >= 0);
  CHECK_FALSE(readable(event.native_handle()));
  event.wake();
  event.wake();
  CHECK(readable(event.native_handle()));
  event.clear();
  CHECK_FALSE(readable(event.native_handle()));
  event.clear();
  event.wake();
  CHECK(readable(event.native_handle()));
}

TEST_CASE("a sleep costs one call each, an interrupted one is made again", "[device][wake_event]") {
  Script script{.interruptions = 2};
  WakeEvent<ScriptedEvents> event{ScriptedEvents{&script}};
  event.clear();
  CHECK(script.reads == 0);
  for (int i = 0; i < 5; ++i) event.wake();
  CHECK(script.writes == 3);
  script.reading = -EAGAIN;  // as while the waker has not come to write
  event.clear();
  script.reading = 8;
  event.clear();
  event.clear();
  CHECK(script.reads == 2);
}

TEST_CASE("no wake-up is lost between two threads", "[device][wake_event]") {
  constexpr int rounds = 20'000;
  WakeEvent<LinuxSystem> event;
  std::atomic<int> sent{0};
  std::thread waker{[&] {
    for (int i = 1; i <= rounds; ++i) {
      sent.store(i, std::memory_order_relaxed);
      event.wake();
    }
  }};
  int seen = 0;
  while (seen < rounds && readable(event.native_handle(), 10'000)) {
    event.clear();
    seen = sent.load(std::memory_order_relaxed);
  }
  CHECK(seen == rounds);
  waker.join();
}
