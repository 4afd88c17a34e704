// SPDX-License-Identifier: BSL-1.0
#pragma once

// Random bytes from the kernel, for the secrets of a stack that was given no seed: keys of initial
// sequence numbers, of source ports, of SYN cookies and of flow hashes. Never a source for
// simulations: those take a seed.

#include <tunic/base/bytes.hpp>
#include <tunic/base/siphash.hpp>
#include <tunic/device/system.hpp>

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <optional>
#include <span>

namespace tunic::inline v0 {

/// Fills all of `out` with bytes fit for keys, or returns false: then no byte of it may be used.
/// Asks getrandom(2), and /dev/urandom where a kernel or a sandbox does not know that call. May
/// wait early in a boot.
template <EntropySystem S = LinuxSystem>
[[nodiscard]] bool fill_with_entropy(MutableBytes out, S system = {}) noexcept;

/// A fresh key, or nothing when the system gives no entropy.
template <EntropySystem S = LinuxSystem>
[[nodiscard]] std::optional<SipKey> entropy_key(S system = {}) noexcept {
  SipKey key{};
  if (!fill_with_entropy(std::as_writable_bytes(std::span{&key.k0, 1}), system)) return {};
  if (!fill_with_entropy(std::as_writable_bytes(std::span{&key.k1, 1}), system)) return {};
  return key;
}

namespace detail {

// Calls `source` until `out` is full; EINTR is retried, nothing (0) counts as a refusal.
template <class Source>
int fill_from(MutableBytes out, Source source) noexcept {
  while (!out.empty()) {
    const ssize_t n = source(out);
    if (n == -EINTR) continue;
    if (n <= 0) return n == 0 ? -EIO : static_cast<int>(n);
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return 0;
}

}  // namespace detail

template <EntropySystem S>
bool fill_with_entropy(MutableBytes out, S system) noexcept {
  const int asked =
      detail::fill_from(out, [&](MutableBytes rest) noexcept { return system.getrandom(rest); });
  if (asked == 0) return true;
  if (asked != -ENOSYS && asked != -EPERM) return false;  // EPERM: a seccomp filter

  int fd = 0;
  do fd = system.open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  while (fd == -EINTR);
  if (fd < 0) return false;
  const int read =
      detail::fill_from(out, [&](MutableBytes rest) noexcept { return system.read(fd, rest); });
  system.close(fd);
  return read == 0;
}

}  // namespace tunic::inline v0
