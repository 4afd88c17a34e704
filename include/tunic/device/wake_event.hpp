// SPDX-License-Identifier: BSL-1.0
#pragma once

// How one thread wakes another out of its event loop: an eventfd(2), written once for each sleep.

#include <tunic/device/system.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <sys/eventfd.h>
#include <sys/uio.h>

namespace tunic::inline v0 {

/// An event with one sleeper and any number of wakers.
template <EventSystem S>
class WakeEvent {
 public:
  explicit WakeEvent(S system = {}) noexcept
      : system_{system}, fd_{system_.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)} {}
  WakeEvent(const WakeEvent&) = delete;
  WakeEvent& operator=(const WakeEvent&) = delete;
  ~WakeEvent() {
    if (fd_ >= 0) system_.close(fd_);
  }

  /// Readable from a `wake` to the next `clear`; a negative errno when there is none.
  [[nodiscard]] int native_handle() const noexcept { return fd_; }

  /// Any thread: what it did before is seen by the sleeper after its next `clear`.
  void wake() noexcept {
    if (woken_.exchange(true, std::memory_order_acq_rel)) return;
    std::uint64_t one = 1;
    const iovec piece{&one, sizeof one};
    while (system_.writev(fd_, {&piece, 1}) == -EINTR) continue;
  }

  /// The sleeper, before it looks for what it may have been woken for. Free unless it was.
  void clear() noexcept {
    if (!woken_.load(std::memory_order_acquire)) return;
    std::array<std::byte, sizeof(std::uint64_t)> count;
    // Nothing to read: the waker has not written yet, so the next call does this.
    if (system_.read(fd_, count) > 0) woken_.exchange(false, std::memory_order_acq_rel);
  }

 private:
  [[no_unique_address]] S system_;
  const int fd_;
  std::atomic<bool> woken_{false};  // and written, or about to be, and not read yet
};

}  // namespace tunic::inline v0
