// SPDX-License-Identifier: BSL-1.0

// Memory in the steady state: once the pools are warm, neither segments nor losses nor new
// connections call operator new.

#include "catch.hpp"
#include "counted_new.hpp"
#include <tunic/device/fault_device.hpp>
#include <tunic/device/loopback_device.hpp>
#include <tunic/stack/stack.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace {

using namespace tunic;
using namespace std::chrono_literals;

// Sanitizers and debug builds take ten times as long.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t million = 1'000'000;
#else
constexpr std::uint64_t million = 100'000;
#endif

template <class Work>
std::uint64_t allocated_by(Work&& work) {
  const std::uint64_t before = test::allocations();
  work();
  return test::allocations() - before;
}

StackConfig config_for(IpAddress address, std::uint64_t seed) {
  StackConfig config;
  config.addresses = {IpCidr{address, 24}};
  config.seed = SipKey{seed, seed};
  config.tcp.max_connections = 64;
  config.tcp.max_time_wait = 64;
  return config;
}

// Two stacks in one program, a client on one and a server on the other.
template <class Device>
class Pair {
 public:
  using TestStack = Stack<Device>;

  Pair(Device a, Device b)
      : client_{std::move(a), config_for(client_ip, 1)},
        server_{std::move(b), config_for(server_ip, 2)},
        listener_{server_.listen({.port = 7, .connection = fixed})} {}

  void connect() {
    near_ = client_.connect({.remote = {server_ip, 7}, .connection = fixed});
    until([&] {
      if (auto accepted = listener_.accept()) far_ = std::move(*accepted);
      return bool{far_};
    });
  }

  // A stream from the client to the server until so many segments have come, both ways counted.
  void transfer(std::uint64_t segments) {
    const std::uint64_t end = segments_in() + segments;
    until([&] {
      near_.send(text_);
      for (Bytes view = far_.readable(); !view.empty(); view = far_.readable()) {
        received_ += view.size();
        far_.consume(view.size());
      }
      return segments_in() >= end;
    });
  }

  // As much as both buffers hold, unread.
  void fill() {
    until([&] {
      near_.send(text_);
      return near_.send_room() == 0 && far_.info().rcv_wnd == 0;
    });
  }

  // Both ends close, the client first, and its TIME-WAIT passes.
  void disconnect() {
    near_.shutdown_send();
    until([&] {
      far_.consume(far_.readable_bytes());
      if (far_.at_end()) far_.shutdown_send();
      return far_.at_end() && far_.state() == TcpState::closed;
    });
    near_ = {};
    far_ = {};
    now_ += 2 * client_.config().tcp.msl;
    turn();
  }

  [[nodiscard]] Device& client_device() noexcept { return client_.device(); }
  [[nodiscard]] Device& server_device() noexcept { return server_.device(); }
  [[nodiscard]] std::uint64_t segments_in() {
    return client_.stats().tcp.segments_in + server_.stats().tcp.segments_in;
  }
  [[nodiscard]] std::uint64_t retransmissions() { return client_.stats().tcp.retransmissions; }
  [[nodiscard]] std::uint64_t received() const { return received_; }

 private:
  template <class Done>
  void until(Done&& done) {
    const Instant patience = now_ + 24h;
    while (!done()) {
      turn();
      if (now_ >= patience) FAIL("nothing moves any more");
    }
  }

  void turn() {
    for (TestStack* stack : {&client_, &server_}) {
      stack->poll(now_);
      while (stack->next_event()) {
      }
      stack->flush(now_);
    }
    const Instant next = std::min(client_.next_deadline(), server_.next_deadline());
    now_ = next == never ? now_ + 1ms : std::max(now_ + 10us, std::min(next, now_ + 1ms));
  }

  static constexpr IpAddress client_ip = IpAddress::v4(10, 0, 0, 1);
  static constexpr IpAddress server_ip = IpAddress::v4(10, 0, 0, 2);

  // Buffers that still grow would take blocks that were never held before.
  static constexpr ConnectionOptions fixed{.send_buffer = 256 * 1024, .receive_buffer = 256 * 1024};

  TestStack client_;
  TestStack server_;
  typename TestStack::Listener listener_;
  TcpConnection near_;
  TcpConnection far_;
  Instant now_{1s};
  std::uint64_t received_ = 0;
  std::vector<std::byte> text_ = std::vector<std::byte>(100'000, std::byte{'x'});
};

}  // namespace

TEST_CASE("a million segments of a steady transfer allocate nothing", "[allocation]") {
  LoopbackPair wire;
  Pair<LoopbackDevice> pair{std::move(wire.first), std::move(wire.second)};
  pair.connect();
  pair.fill();
  pair.transfer(million / 10);
  const std::uint64_t allocated = allocated_by([&] { pair.transfer(million); });
  CHECK(allocated == 0);
  CHECK(pair.received() > million / 2 * 1400);
  CHECK(pair.retransmissions() == 0);
}

TEST_CASE("a million segments over a link that loses one in a hundred allocate nothing each",
          "[allocation]") {
  LoopbackPair wire;
  using Lossy = FaultDevice<LoopbackDevice>;
  Pair<Lossy> pair{Lossy{std::move(wire.first), {}, {}}, Lossy{std::move(wire.second), {}, {}}};
  const auto lose = [&pair](double share) {
    const LinkConditions there{.delay = 1ms, .loss = share, .reorder = share, .seed = 3};
    const LinkConditions back{.delay = 1ms, .loss = share, .seed = 4};
    pair.client_device().outbound().set_conditions(there);
    pair.server_device().outbound().set_conditions(back);
  };
  // Worse weather first, so that the most has been held that ever will be: many short runs out of
  // order, then long ones.
  pair.connect();
  pair.fill();
  for (const double share : {0.05, 0.002, 0.01}) {
    lose(share);
    pair.transfer(million / 10);
  }
  const std::uint64_t allocated = allocated_by([&] { pair.transfer(million); });
  // A rare gap makes the receiver hold more than ever before; the pool then grows for good.
  CHECK(allocated < 64);
  CHECK(pair.retransmissions() > million / 1000);
}

TEST_CASE("connections that come and go allocate nothing", "[allocation]") {
  LoopbackPair wire;
  Pair<LoopbackDevice> pair{std::move(wire.first), std::move(wire.second)};
  const auto come_and_go = [&] {
    pair.connect();
    pair.transfer(20);
    pair.disconnect();
  };
  for (int i = 0; i < 10; ++i) come_and_go();
  const std::uint64_t allocated = allocated_by([&] {
    for (std::uint64_t i = 0; i < million / 100; ++i) come_and_go();
  });
  CHECK(allocated == 0);
}
