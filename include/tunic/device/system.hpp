// SPDX-License-Identifier: BSL-1.0
#pragma once

// The seam to the operating system: each system call that tunic makes, as a member function that
// returns its result or the negative errno. Code above the seam never reads `errno`. A test puts a
// scripted type in its place, so that every refusal is run without the means to provoke it. Nothing
// is retried here: EINTR is an answer like any other.

#include <tunic/base/bytes.hpp>

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <fcntl.h>
#include <span>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <type_traits>
#include <unistd.h>

namespace tunic::inline v0 {

// Version 14 of the formatter tears compound requirements apart.
// clang-format off
/// The system calls that a TUN device needs. Each returns a value >= 0 or a negative errno.
template <class S>
concept System = std::is_nothrow_move_constructible_v<S> &&
                 requires(S system, const char* path, int number, unsigned long request,
                          void* argument, MutableBytes room, std::span<const iovec> pieces) {
  { system.open(path, number) } noexcept -> std::same_as<int>;
  { system.close(number) } noexcept -> std::same_as<int>;
  { system.ioctl(number, request, argument) } noexcept -> std::same_as<int>;
  { system.ioctl_value(number, request, request) } noexcept -> std::same_as<int>;
  { system.fcntl(number, number, number) } noexcept -> std::same_as<int>;
  { system.socket(number, number, number) } noexcept -> std::same_as<int>;
  { system.read(number, room) } noexcept -> std::same_as<ssize_t>;
  { system.writev(number, pieces) } noexcept -> std::same_as<ssize_t>;
  { system.bpf(number, argument, sizeof number) } noexcept -> std::same_as<int>;
};

/// What a wake-up is made of. The same answers.
template <class S>
concept EventSystem = std::is_nothrow_copy_constructible_v<S> &&
                      requires(S system, unsigned count, int number, MutableBytes room,
                               std::span<const iovec> pieces) {
  { system.eventfd(count, number) } noexcept -> std::same_as<int>;
  { system.close(number) } noexcept -> std::same_as<int>;
  { system.read(number, room) } noexcept -> std::same_as<ssize_t>;
  { system.writev(number, pieces) } noexcept -> std::same_as<ssize_t>;
};

/// What entropy is made of. Returns bytes written or a negative errno.
template <class S>
concept EntropySystem = requires(S system, const char* path, int number, MutableBytes room) {
  { system.getrandom(room) } noexcept -> std::same_as<ssize_t>;
  { system.open(path, number) } noexcept -> std::same_as<int>;
  { system.read(number, room) } noexcept -> std::same_as<ssize_t>;
  { system.close(number) } noexcept -> std::same_as<int>;
};
// clang-format on

/// Linux itself. Stateless and free of cost.
struct LinuxSystem {
  /// open(2); the descriptor.
  int open(const char* path, int flags) noexcept { return answer(::open(path, flags)); }

  /// close(2). The descriptor is gone whatever the answer is, EINTR included.
  int close(int fd) noexcept { return answer(::close(fd)); }

  /// ioctl(2) with a structure as its argument.
  int ioctl(int fd, unsigned long request, void* argument) noexcept {
    return call_ioctl(&::ioctl, fd, request, argument);
  }

  /// ioctl(2) with a number as its argument.
  int ioctl_value(int fd, unsigned long request, unsigned long argument) noexcept {
    return call_ioctl(&::ioctl, fd, request, argument);
  }

  /// fcntl(2) with a number as its argument.
  int fcntl(int fd, int command, int argument) noexcept {
    return answer(::fcntl(fd, command, argument));
  }

  /// socket(2); the descriptor.
  int socket(int domain, int type, int protocol) noexcept {
    return answer(::socket(domain, type, protocol));
  }

  /// read(2); the bytes read.
  ssize_t read(int fd, MutableBytes room) noexcept {
    return answer(::read(fd, room.data(), room.size()));
  }

  /// writev(2); the bytes written.
  ssize_t writev(int fd, std::span<const iovec> pieces) noexcept {
    return answer(::writev(fd, pieces.data(), static_cast<int>(pieces.size())));
  }

  /// bpf(2); what it is depends on the command, for programs a descriptor.
  int bpf(int command, void* attributes, std::size_t size) noexcept {
    return static_cast<int>(answer(::syscall(SYS_bpf, command, attributes, size)));
  }

  /// eventfd(2); the descriptor.
  int eventfd(unsigned count, int flags) noexcept { return answer(::eventfd(count, flags)); }

  /// getrandom(2) from the pool of the kernel; waits for it to be seeded, early in a boot.
  ssize_t getrandom(MutableBytes room) noexcept {
    return answer(::getrandom(room.data(), room.size(), 0));
  }

 private:
  template <class Result>
  static Result answer(Result result) noexcept {
    return result < 0 ? static_cast<Result>(-errno) : result;
  }

  // The C libraries disagree on the type of a request: unsigned long in glibc, int in musl and
  // bionic.
  template <class Function, class Argument>
  static int call_ioctl(Function* function, int fd, unsigned long request,
                        Argument argument) noexcept {
    return answer(invoke_ioctl(function, fd, request, argument));
  }
  template <class Request, class Argument>
  static int invoke_ioctl(int (*function)(int, Request, ...), int fd, unsigned long request,
                          Argument argument) noexcept {
    return function(fd, static_cast<Request>(request), argument);
  }
};

static_assert(System<LinuxSystem> && EventSystem<LinuxSystem> && EntropySystem<LinuxSystem>);

}  // namespace tunic::inline v0
