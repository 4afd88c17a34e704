// SPDX-License-Identifier: BSL-1.0

// The rate of a paced connection, and that it is reached: a controller whose window never keeps
// anything back, and a peer that acknowledges everything at once.
#include "../support/host.hpp"
#include <tunic/tcp/pacing_rate.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

using namespace tunic;
using namespace tunic::test;

namespace {

/// Leaves at 500 kB/s whatever happens, and tells what it was told.
struct FixedRate {
  static inline AckSample last{};
  static inline std::uint64_t rate = 500'000;

  void start(std::uint32_t, std::uint32_t) noexcept {}
  void on_ack(const AckSample& sample) noexcept { last = sample; }
  void on_congestion(const CongestionEvent&) noexcept {}
  void on_recovery_end(std::uint32_t, std::uint32_t) noexcept {}
  void on_timeout(const CongestionEvent&, bool) noexcept {}
  void on_spurious() noexcept {}
  void on_idle(Duration, Duration, std::uint32_t) noexcept {}
  [[nodiscard]] std::uint32_t cwnd() const noexcept { return 1U << 30; }
  [[nodiscard]] std::uint32_t ssthresh() const noexcept { return 1U << 30; }
  [[nodiscard]] std::uint64_t pacing_rate() const noexcept { return rate; }
};
struct FixedRateTraits : DefaultTraits {
  using Congestion = FixedRate;
};

/// A sender that leaves at a fixed rate, and a peer that acknowledges everything at once.
struct Stream {
  BasicServer<FixedRateTraits> server;
  std::uint64_t left = 0;   // bytes
  std::size_t largest = 0;  // of one turn

  explicit Stream(ConnectionOptions options = {})
      : server{{.mss = 1000, .window = 65'000, .window_scale = std::uint8_t{10}},
               host_config(),
               with_buffer(options)} {}
  static ConnectionOptions with_buffer(ConnectionOptions options) {
    options.send_buffer = 4 << 20;
    return options;
  }
  void write() {
    static const std::string text(1 << 20, 'x');
    while (server.connection.send(as_bytes(text)).bytes == text.size()) {
    }
  }
  /// One turn at the present time.
  void turn() {
    write();
    server.host.turn();
    std::size_t bytes = 0;
    for (const Decoded& packet : server.host.take_all()) {
      bytes += packet.tcp->payload.size();
      server.peer.learn(*packet.tcp);
    }
    left += bytes;
    largest = std::max(largest, bytes);
    if (bytes == 0) return;
    server.peer.acknowledge();
    CHECK(server.host.silent());
  }
};

}  // namespace

TEST_CASE("the window's rate is twice cwnd / srtt in slow start, else 1.2 times", "[tcp][pacing]") {
  CHECK(window_rate(10'000, 10'001, 100ms) == 200'000);
  CHECK(window_rate(10'000, 10'000, 100ms) == 120'000);
  CHECK(window_rate(1U << 30, 0xffffffff, Duration{0}) == std::uint64_t{2'000'000} << 30);
  CHECK(window_rate(1, 0, 10s) == 1);
}

TEST_CASE("a burst is a millisecond, two segments at least, a packet at most", "[tcp][pacing]") {
  CHECK(burst_bytes(1, 1000) == 2000);
  CHECK(burst_bytes(2'999'999, 1000) == 2000);
  CHECK(burst_bytes(5'000'000, 1000) == 5000);
  CHECK(burst_bytes(5'999'999, 1000) == 5000);
  CHECK(burst_bytes(std::uint64_t{1} << 40, 1000) == 65'000);
  CHECK(burst_bytes(std::uint64_t{1} << 40, 1448) == 45 * 1448);
  CHECK(burst_bytes(1, 60'000) == 120'000);
}

TEST_CASE("a controller's own rate is kept without being asked for, below the user's bound",
          "[tcp][pacing]") {
  const std::uint64_t cap = GENERATE(0U, 125'000U, 2'000'000U);
  FixedRate::rate = 500'000;
  Stream stream{{.max_pacing_rate = cap}};
  auto& [host, listener, peer, connection] = stream.server;
  const std::uint64_t rate = cap == 125'000 ? cap : 500'000;
  CHECK(connection.info().pacing_rate == rate);
  stream.turn();
  CHECK(stream.left == 2000);
  CHECK(host.stack.next_deadline() == host.clock.now() + Duration{1s} * 2000 / rate);
  CHECK(FixedRate::last.paced);
}

TEST_CASE("a congestion controller is told whether what leaves is paced", "[tcp][pacing]") {
  FixedRate::rate = 0;
  const bool pacing = GENERATE(false, true);
  ConnectionOptions options;
  options.pacing = pacing;
  BasicServer<FixedRateTraits> server{{}, host_config(), options};
  server.connection.send(as_bytes("x"));
  server.host.turn();
  server.peer.receive();
  FixedRate::last = {};
  server.peer.acknowledge();
  REQUIRE(FixedRate::last.bytes_acked == 1);
  CHECK(FixedRate::last.paced == pacing);
}

TEST_CASE("a loop that sleeps in whole milliseconds reaches the rate", "[tcp][pacing]") {
  const std::uint64_t rate = GENERATE(50'000U, 1'000'000U, 1'700'000U, 12'500'000U, 120'000'000U);
  const Duration oversleeps = GENERATE(0us, 60us);
  CAPTURE(rate, oversleeps.count());
  FixedRate::rate = rate;
  Stream stream;
  auto& host = stream.server.host;
  stream.turn();
  const std::uint64_t first = std::exchange(stream.left, 0);
  const Instant begin = host.clock.now();
  const Duration length = rate > 10'000'000 ? 100ms : 2s;
  while (host.clock.now() < begin + length) {
    const int sleep = host.stack.wait_ms(host.clock.now());
    REQUIRE(sleep > 0);
    host.clock.advance(std::chrono::milliseconds{sleep} + oversleeps);
    stream.turn();
  }
  const double time = std::chrono::duration<double>(host.clock.now() - begin).count();
  const double wanted = static_cast<double>(rate) * time;
  CHECK(static_cast<double>(stream.left) > wanted - 2.0 * static_cast<double>(first));
  CHECK(static_cast<double>(stream.left) < wanted + static_cast<double>(first));
  CHECK(stream.largest <= std::max<std::size_t>(2 * first, first + rate / 1000) + 1000);
}
