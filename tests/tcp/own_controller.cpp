// SPDX-License-Identifier: BSL-1.0

// A congestion controller as a program would write its own: it follows a model of the path, the
// rate at which it delivers and its shortest round trip, and no loss but a time-out impresses it.
#include "../support/catch.hpp"
#include <tunic/tcp/congestion.hpp>

#include <algorithm>
#include <array>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

class FollowTheRate {
 public:
  void start(std::uint32_t mss, std::uint32_t initial_window) noexcept {
    floor_ = 4 * mss;
    cwnd_ = initial_window;
  }
  void on_ack(const AckSample& sample) noexcept {
    if (sample.round_start) {  // the best of the last two rounds is what the path can do
      rates_[1] = rates_[0];
      rates_[0] = 0;
    }
    // A program that sent little says nothing against the path.
    if (!sample.rate.app_limited || sample.rate.bytes_per_second > rate()) {
      rates_[0] = std::max(rates_[0], sample.rate.bytes_per_second);
    }
    if (rate() == 0) return;  // nothing known yet
    const std::uint64_t product =
        rate() * static_cast<std::uint64_t>(sample.min_rtt / 1us) / 1'000'000;
    cwnd_ = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(2 * product, floor_, 1U << 30));
  }
  void on_congestion(const CongestionEvent&) noexcept {}
  void on_recovery_end(std::uint32_t, std::uint32_t) noexcept {}
  void on_timeout(const CongestionEvent& event, bool) noexcept { cwnd_ = event.mss; }
  void on_spurious() noexcept {}
  void on_idle(Duration, Duration, std::uint32_t) noexcept {}
  [[nodiscard]] std::uint32_t cwnd() const noexcept { return cwnd_; }
  [[nodiscard]] std::uint32_t ssthresh() const noexcept { return cwnd_; }
  [[nodiscard]] std::uint64_t pacing_rate() const noexcept { return rate() + rate() / 4; }

 private:
  [[nodiscard]] std::uint64_t rate() const noexcept { return std::max(rates_[0], rates_[1]); }

  std::array<std::uint64_t, 2> rates_{};
  std::uint32_t floor_ = 0;
  std::uint32_t cwnd_ = 0;
};
static_assert(CongestionControl<FollowTheRate>);

AckSample measured(std::uint64_t rate, bool app_limited = false, bool round_start = false) {
  return {.now = {},
          .bytes_acked = 1000,
          .mss = 1000,
          .min_rtt = 50ms,
          .round_start = round_start,
          .rate = {.bytes_per_second = rate, .app_limited = app_limited}};
}

}  // namespace

TEST_CASE("a controller of one's own can follow the rate of delivery", "[tcp][congestion]") {
  FollowTheRate controller;
  controller.start(1000, 10'000);
  CHECK(controller.cwnd() == 10'000);
  CHECK(controller.pacing_rate() == 0);  // nothing known: the stack spreads the window

  controller.on_ack(measured(1'000'000));
  CHECK(controller.cwnd() == 100'000);  // twice 1 MB/s over 50 ms
  CHECK(controller.pacing_rate() == 1'250'000);

  controller.on_congestion({.now = {}, .flight = 100'000, .mss = 1000, .cause = {}});
  controller.on_recovery_end(0, 1000);
  CHECK(controller.cwnd() == 100'000);

  controller.on_ack(measured(200'000, true, true));  // the program had no more
  controller.on_ack(measured(200'000, true));
  CHECK(controller.cwnd() == 100'000);
  controller.on_ack(measured(2'000'000, true));  // but even so it went faster
  CHECK(controller.cwnd() == 200'000);

  for (int i = 0; i < 2; ++i) controller.on_ack(measured(300'000, false, true));
  CHECK(controller.cwnd() == 30'000);  // the path has become slower
  controller.on_timeout({.now = {}, .flight = 30'000, .mss = 1000, .cause = {}}, true);
  CHECK(controller.cwnd() == 1000);
}
