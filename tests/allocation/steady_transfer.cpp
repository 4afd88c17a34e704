// SPDX-License-Identifier: BSL-1.0
// The memory rule: once a transfer is under way, nothing is allocated for a packet. A program of
// its own, because it replaces operator new.

#include "../support/catch.hpp"
#include <tunic/device/fault_device.hpp>
#include <tunic/device/loopback_device.hpp>
#include <tunic/stack/stack.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <optional>
#include <vector>

namespace {

std::uint64_t allocations = 0;

void* counted(std::size_t size, std::size_t align) noexcept {
  ++allocations;
  return align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__
             ? std::malloc(size)
             : std::aligned_alloc(align, (size + align - 1) / align * align);
}

void* required(void* memory) {
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return required(counted(size, 1)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return counted(size, 1); }
void* operator new(std::size_t size, std::align_val_t align) {
  return required(counted(size, static_cast<std::size_t>(align)));
}
void* operator new(std::size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
  return counted(size, static_cast<std::size_t>(align));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

using namespace tunic;
using namespace std::chrono_literals;

namespace {

StackConfig config_for(const char* address) {
  StackConfig config;
  config.addresses = {*IpCidr::parse(address)};
  return config;
}

// Sends until `segments` more have left; how many allocations that took.
template <class D>
std::uint64_t allocations_of(Stack<D>& a, Stack<D>& b, TcpConnection& from, TcpConnection& to,
                             ManualClock& clock, std::uint64_t segments) {
  static std::vector<std::byte> data(16 * 1024);
  const std::uint64_t before = allocations;
  const std::uint64_t end = a.stats().tcp.segments_out + segments;
  while (a.stats().tcp.segments_out < end && from.error() == Errc::none) {
    const Instant now = clock.now();
    a.poll(now);
    while (a.next_event()) {
    }
    from.send(data);
    a.flush(now);
    b.poll(now);
    while (b.next_event()) {
    }
    for (Bytes view = to.readable(); !view.empty(); view = to.readable()) to.consume(view.size());
    b.flush(now);
    clock.advance(100us);
  }
  return allocations - before;
}

template <class D>
void check_steady(D one, D two, std::uint64_t warm_up, std::uint64_t segments,
                  std::uint64_t allowed) {
  ManualClock clock;
  Stack<D> a{std::move(one), config_for("10.0.0.1/24")},
      b{std::move(two), config_for("10.0.0.2/24")};
  auto listener = b.listen({.port = 7});
  TcpConnection from = a.connect({.remote = {*IpAddress::parse("10.0.0.2"), 7}});
  std::optional<TcpConnection> to;
  while (!to) {
    a.poll(clock.now());
    a.flush(clock.now());
    b.poll(clock.now());
    b.flush(clock.now());
    to = listener.accept();
    clock.advance(100us);
  }
  // Windows and buffers find their size, those of the fault device too.
  allocations_of(a, b, from, *to, clock, warm_up);
  CHECK(allocations_of(a, b, from, *to, clock, segments) <= allowed);
  CHECK(from.error() == Errc::none);
}

}  // namespace

TEST_CASE("a million segments of a steady transfer allocate nothing", "[allocation]") {
  LoopbackPair pair;
  check_steady(std::move(pair.first), std::move(pair.second), 50'000, 1'000'000, 0);
}

// More data than ever before may wait above a hole; the blocks for it are new, and then kept.
TEST_CASE("with losses only a new peak of out-of-order data allocates", "[allocation]") {
  LoopbackPair pair;
  const LinkConditions lossy{.loss = 0.01, .seed = 3};
  check_steady(FaultDevice<LoopbackDevice>{std::move(pair.first), lossy, {}},
               FaultDevice<LoopbackDevice>{std::move(pair.second), {}, {}}, 200'000, 200'000, 100);
}
