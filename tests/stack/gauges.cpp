// SPDX-License-Identifier: BSL-1.0

// What the gauges count, and what not.

#include "catch.hpp"
#include <tunic/device/mock_device.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/testing/link.hpp>

#include <chrono>
#include <span>
#include <utility>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

// Holds a block of the pool, of another size after each `receive`, as a device that reads into
// blocks does.
class HoardingDevice : public MockDevice {
 public:
  HoardingDevice() = default;
  HoardingDevice(HoardingDevice&& other) noexcept
      : MockDevice{std::move(other)}, block_{std::exchange(other.block_, nullptr)} {}
  ~HoardingDevice() { give_back(); }

  RxResult receive(std::span<RxPacket> batch, BlockPool& pool) noexcept {
    give_back();
    pool_ = &pool;
    large_ = !large_;
    block_ = pool.allocate(large_ ? 60'000 : 100);
    return MockDevice::receive(batch, pool);
  }

 private:
  void give_back() noexcept {
    if (block_ != nullptr) pool_->release(block_);
  }

  BlockPool* pool_ = nullptr;
  Block* block_ = nullptr;
  bool large_ = false;
};

}  // namespace

TEST_CASE("the gauge of buffers leaves out what the device holds", "[stack][stats]") {
  ManualClock clock;
  Stack<HoardingDevice> a{HoardingDevice{}, {.addresses = {"10.0.0.1"_ip}, .seed = SipKey{1, 2}}};
  Stack<HoardingDevice> b{HoardingDevice{}, {.addresses = {"10.0.0.2"_ip}, .seed = SipKey{3, 4}}};
  testing::Link link{a, b, clock};
  auto listener = b.listen({.port = 7});
  auto client = a.connect({.remote = {"10.0.0.2"_ip, 7}});
  TcpConnection server;
  REQUIRE(client.send(as_bytes("kept for a while")).bytes == 16);
  REQUIRE(link.run_until(
      [&] {
        if (auto accepted = listener.accept()) server = std::move(*accepted);
        return server.readable_bytes() == 16;
      },
      1s));

  CHECK(b.stats().gauges.buffer_bytes == BlockPool::class_bytes[0]);
  server.consume(16);
  CHECK(b.stats().gauges.buffer_bytes == 0);
  for (int i = 0; i < 2; ++i) {
    b.poll(clock.now());
    CHECK(b.stats().gauges.buffer_bytes == 0);
  }
}
