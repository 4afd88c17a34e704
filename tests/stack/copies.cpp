// SPDX-License-Identifier: BSL-1.0

// How often bytes are copied between a program and a device: by where they lie. In: none for what
// fills most of a block of the device, else one, into the receive queue. Out: one, into the send
// queue, or none for what the program keeps and for large blocks that are spliced.

#include "../support/hostile.hpp"
#include <tunic/testing/link.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

// It receives into a block of the pool, one packet at a time, and remembers where what it sent lay.
class CountingDevice : public MockDevice {
 public:
  explicit CountingDevice(const MockOptions& options) noexcept : MockDevice{options} {}
  CountingDevice(CountingDevice&& other) noexcept
      : MockDevice{std::move(other)}, block_{std::exchange(other.block_, nullptr)} {}
  CountingDevice& operator=(CountingDevice&&) = delete;
  ~CountingDevice() {
    if (block_ != nullptr) pool_->release(block_);
  }

  RxResult receive(std::span<RxPacket> batch, BlockPool& pool) noexcept {
    pool_ = &pool;
    if (block_ == nullptr) block_ = pool.allocate(BlockPool::largest_capacity);
    if (block_ == nullptr) return {0, DeviceStatus::would_block};
    const RxResult result = MockDevice::receive(batch.first(1), pool);
    if (result.count == 0) return result;
    const MutableBytes place = MutableBytes{block_->data(), block_->capacity};
    tunic::copy(place, batch[0].bytes);
    batch[0].bytes = place.first(batch[0].bytes.size());
    batch[0].block = &block_;
    received_.push_back(place.data());
    return result;
  }
  TxResult send(std::span<const TxPacket> packets) noexcept {
    for (const TxPacket& packet : packets) {
      for (const Bytes piece : packet.pieces) pieces_.push_back(piece);
    }
    return MockDevice::send(packets);
  }

  // Whether `bytes` lie in the block into which the last packet was read.
  [[nodiscard]] bool last_holds(Bytes bytes) const {
    return !received_.empty() && holds(Bytes{received_.back(), BlockPool::largest_capacity}, bytes);
  }
  // How many of the bytes that were sent lay there.
  [[nodiscard]] std::size_t sent_from(Bytes place) const {
    std::size_t sum = 0;
    for (const Bytes piece : pieces_) sum += holds(place, piece) ? piece.size() : 0;
    return sum;
  }

 private:
  static bool holds(Bytes place, Bytes bytes) {
    const std::less_equal<> before;
    return before(place.data(), bytes.data()) &&
           before(bytes.data() + bytes.size(), place.data() + place.size());
  }

  BlockPool* pool_ = nullptr;
  Block* block_ = nullptr;
  std::vector<const std::byte*> received_;
  std::vector<Bytes> pieces_;
};

using CountingStack = Stack<CountingDevice>;

// Two hosts on a link of packets that hold 60 KiB, with one connection.
class Pair {
 public:
  Pair() {
    listener_ = b_.listen({.port = 7, .connection = options});
    near = a_.connect({.remote = {peer_ip, 7}, .connection = options});
    REQUIRE(link.run_until(
        [&] {
          if (auto accepted = listener_.accept()) far = std::move(*accepted);
          return far && near.state() == TcpState::established;
        },
        1s));
  }

  [[nodiscard]] CountingStack& a() { return a_; }
  [[nodiscard]] CountingStack& b() { return b_; }
  // `near` sends, and all of it arrives.
  void transfer(std::string_view text) {
    const std::size_t before = far.readable_bytes();
    REQUIRE(near.send(as_bytes(text)).bytes == text.size());
    REQUIRE(link.run_until([&] { return far.readable_bytes() == before + text.size(); }, 10s));
  }

 private:
  static constexpr ConnectionOptions options{.send_buffer = 1 << 20, .receive_buffer = 1 << 20};

  static CountingDevice device() { return CountingDevice{{.mtu_bytes = 65535}}; }
  static StackConfig config_at(IpAddress address) {
    StackConfig config = small_host_config();
    config.addresses = {IpCidr{address, 24}};
    config.memory_budget = 8 << 20;
    return config;
  }

  ManualClock clock_;
  CountingStack a_{device(), config_at(host_ip)};
  CountingStack b_{device(), config_at(peer_ip)};
  CountingStack::Listener listener_;

 public:
  testing::Link<CountingStack, CountingStack> link{a_, b_, clock_, {.delay = 5ms}};
  CountingStack::Connection near;
  CountingStack::Connection far{};
};

std::string some_text(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 256);
  return text;
}

std::vector<std::uint64_t> released(CountingStack& stack) {
  std::vector<std::uint64_t> tokens;
  while (const auto token = stack.next_released()) tokens.push_back(*token);
  return tokens;
}

}  // namespace

TEST_CASE("a payload that fills half of the device's block is read where it was received",
          "[stack][copies]") {
  const auto [size, stays] = GENERATE(
      table<std::size_t, bool>({{60'000, true}, {33'000, true}, {32'000, false}, {1, false}}));
  CAPTURE(size);
  Pair pair;
  pair.transfer(some_text(size));
  CHECK(pair.b().device().last_holds(pair.far.readable()) == stays);
  pair.transfer(some_text(50'000));  // is read elsewhere
  CHECK((read_all(pair.far) == some_text(size) + some_text(50'000)));
}

TEST_CASE("bytes that the program keeps are sent from where they are", "[stack][copies]") {
  Pair pair;
  const std::string text = some_text(300'000);
  REQUIRE(pair.near.send_owned(as_bytes(text), 42).bytes == text.size());
  REQUIRE(pair.near.send(as_bytes("and more")).bytes == 8);
  std::string got;
  REQUIRE(pair.link.run_until([&] { return (got += read_all(pair.far)).size() == text.size() + 8; },
                              10s));
  CHECK((got == text + "and more"));
  CHECK(pair.a().device().sent_from(as_bytes(text)) == text.size());
  pair.link.run_for(1s);
  CHECK(released(pair.a()) == std::vector<std::uint64_t>{42});
}

TEST_CASE("bytes that the program keeps are sent again from there", "[stack][copies]") {
  Pair pair;
  const std::string text = some_text(300'000);
  int passed = 0;
  pair.link.set_filter_a_to_b([&](auto&, Instant) { return ++passed != 2; });  // one is lost
  REQUIRE(pair.near.send_owned(as_bytes(text), 1).bytes == text.size());
  std::string got;
  REQUIRE(
      pair.link.run_until([&] { return (got += read_all(pair.far)).size() == text.size(); }, 10s));
  CHECK((got == text));
  CHECK(pair.a().device().sent_from(as_bytes(text)) > text.size());
}

TEST_CASE("a token comes back when its bytes are acknowledged, not before", "[stack][copies]") {
  Pair pair;
  const std::string first = some_text(100), second = some_text(200);
  REQUIRE(pair.near.send_owned(as_bytes(first), 1).bytes == 100);
  REQUIRE(pair.near.send_owned(as_bytes(second), 2).bytes == 200);
  pair.link.run_for(6ms);  // it has arrived
  CHECK(pair.far.readable_bytes() == 300);
  CHECK(released(pair.a()).empty());
  pair.link.run_for(1s);
  CHECK(released(pair.a()) == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("tokens come back when the connection ends before", "[stack][copies]") {
  Pair pair;
  const std::string text = some_text(2'000'000);
  REQUIRE(pair.near.send_owned(as_bytes(text), 7).bytes == text.size());
  SECTION("by our reset") { pair.near.abort(); }
  SECTION("by the peer's") {
    pair.far.abort();
    pair.link.run_for(1s);
  }
  CHECK(released(pair.a()) == std::vector<std::uint64_t>{7});
}

TEST_CASE("bytes to keep are taken as a whole or not at all", "[stack][copies]") {
  Pair pair;
  const std::string text = some_text(2'000'000);
  CHECK(pair.near.send_owned({}, 1).bytes == 0);
  REQUIRE(pair.near.send_owned(as_bytes(text), 2).bytes == text.size());  // the buffer has room
  const IoResult full = pair.near.send_owned(as_bytes(text), 3);
  CHECK(full.bytes == 0);
  CHECK(full.error == Errc::would_block);
  while (pair.a().next_event()) {
  }
  std::string got;
  REQUIRE(
      pair.link.run_until([&] { return (got += read_all(pair.far)).size() == text.size(); }, 10s));
  bool writable = false;
  while (const auto event = pair.a().next_event())
    writable = writable || has(event->flags, EventFlags::writable);
  CHECK(writable);
  pair.near.shutdown_send();
  CHECK(pair.near.send_owned(as_bytes(text), 4).error == Errc::broken_pipe);
  pair.link.run_for(1s);
  CHECK(released(pair.a()) == std::vector<std::uint64_t>{2});
}

TEST_CASE("large blocks are echoed from where they were received", "[stack][copies]") {
  Pair pair;
  const std::string text = some_text(60'000);
  pair.transfer(text);
  const Bytes received = pair.far.readable();
  const IoResult moved = pair.far.splice(pair.far);
  CHECK(moved.bytes == text.size());
  CHECK(moved.error == Errc::none);
  CHECK(pair.far.readable_bytes() == 0);
  std::string got;
  REQUIRE(
      pair.link.run_until([&] { return (got += read_all(pair.near)).size() == text.size(); }, 10s));
  CHECK((got == text));
  CHECK(pair.b().device().sent_from(received) == text.size());
}

TEST_CASE("what is spliced is what was received, whatever its pieces", "[stack][copies]") {
  Pair pair;
  std::string sent, got;
  std::mt19937 random{5};
  const auto echo = [&] {
    (void)pair.far.splice(pair.far, 1 + random() % 100'000);
    got += read_all(pair.near);
    return got.size() == sent.size();
  };
  for (int i = 0; i < 200; ++i) {
    const std::string text = some_text(1 + random() % (random() % 2 == 0 ? 100 : 64'000));
    sent += text;
    REQUIRE(pair.near.send(as_bytes(text)).bytes == text.size());
    if (random() % 3 != 0) REQUIRE(pair.link.run_until(echo, 10s));
  }
  REQUIRE(pair.link.run_until(echo, 10s));
  CHECK((got == sent));
}

TEST_CASE("a splice moves what the send buffer has room for", "[stack][copies]") {
  Pair pair;
  ConnectionOptions options = pair.far.options();
  options.send_buffer = 100'000;
  REQUIRE(pair.far.set_options(options) == Errc::none);
  for (int i = 0; i < 3; ++i) pair.transfer(some_text(60'000));
  const std::size_t room = pair.far.send_room();
  const IoResult moved = pair.far.splice(pair.far);
  CHECK(moved.bytes == std::min<std::size_t>(room, 180'000));
  CHECK(moved.error == (room < 180'000 ? Errc::would_block : Errc::none));
  CHECK(pair.far.readable_bytes() == 180'000 - moved.bytes);
  CHECK(CountingStack::Connection{}.splice(pair.far).error == Errc::not_connected);
  pair.far.shutdown_send();
  CHECK(pair.far.splice(pair.far).error == Errc::broken_pipe);
}
