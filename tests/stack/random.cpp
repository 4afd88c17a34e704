// SPDX-License-Identifier: BSL-1.0

// Two stacks, a bad link, and programs on both ends that do anything at any time. What they may
// rely on is checked: every byte is the right one, an end of stream comes after all of them, events
// are enough to know when to call, nothing waits for ever, and nothing is left.

#include "../support/hostile.hpp"
#include "catch.hpp"
#include <tunic/device/mock_device.hpp>
#include <tunic/device/random.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/testing/link.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

constexpr std::uint16_t port = 7;

// Byte `offset` of the stream that one end of a connection sends.
std::byte byte_at(std::uint32_t stream, std::size_t offset) {
  return static_cast<std::byte>((offset * 31 + offset / 251 + stream * 97) & 0xff);
}

// The program at one end of a connection. It reads and writes only when events have told it to.
struct Program {
  TcpConnection connection{};
  std::uint32_t stream = 0;
  Program* other = nullptr;
  std::size_t sent = 0;
  std::size_t received = 0;
  std::size_t wanted = 0;  // bytes to send in all
  bool may_read = false;
  bool may_write = false;
  bool rude = false;   // closed or aborted without reading to the end
  bool ended = false;  // saw the end of the peer's stream
  Errc error = Errc::none;

  void hear(EventFlags news) {
    may_read = may_read || has(news, EventFlags::readable | EventFlags::end);
    may_write = may_write || has(news, EventFlags::writable);
    if (has(news, EventFlags::error)) {
      CHECK(connection.error() != Errc::none);
      may_read = may_write = true;
    }
  }

  void write(std::size_t most) {
    std::array<std::byte, 5000> bytes;
    most = std::min({most, bytes.size(), wanted - std::min(wanted, sent)});
    if (!may_write || most == 0) return;
    for (std::size_t i = 0; i < most; ++i) bytes[i] = byte_at(stream, sent + i);
    const IoResult result = connection.send(std::span{bytes}.first(most));
    sent += result.bytes;
    if (result.error == Errc::would_block) may_write = false;
  }

  void read(std::size_t most) {
    while (may_read && most != 0) {
      const Bytes view = connection.readable();
      const std::size_t count = std::min(view.size(), most);
      bool right = true;
      for (std::size_t i = 0; i < count; ++i)
        right = right && view[i] == byte_at(other->stream, received + i);
      CHECK(right);
      connection.consume(count);
      received += count;
      most -= count;
      if (connection.readable_bytes() == 0) may_read = false;
    }
    if (!ended && connection.at_end()) {
      ended = true;
      CHECK(received == other->sent);
    }
  }

  void leave() {
    if (connection.error() != Errc::none) error = connection.error();
    connection = {};
  }

  // Sends the rest, reads to the end, and goes. True when it has gone.
  bool finish() {
    if (!connection) return true;
    write(5000);
    read(1U << 30);
    if (sent >= wanted) connection.shutdown_send();
    const bool dead = connection.error() != Errc::none || connection.state() == TcpState::closed;
    if (dead || (ended && sent >= wanted)) leave();
    return !connection;
  }
};

LinkConditions conditions_for(Random& random, std::uint64_t seed) {
  LinkConditions link{.delay = std::chrono::microseconds{random.below(20'000)}, .seed = seed};
  if (random.chance(0.7)) link.loss = random.unit() * 0.1;
  if (random.chance(0.5)) link.reorder = random.unit() * 0.1;
  if (random.chance(0.5)) link.duplicate = random.unit() * 0.1;
  if (random.chance(0.3)) link.corrupt = random.unit() * 0.05;
  link.reorder_delay = std::chrono::microseconds{random.below(30'000)};
  if (random.chance(0.3)) {
    link.rate_bits_per_second = 2'000'000 + random.below(100'000'000);
    link.queue_bytes = 5'000 + random.below(100'000);
  }
  return link;
}

StackConfig config_for(Random& random, IpAddress address) {
  StackConfig config;
  config.addresses = {IpCidr{address, 24}};
  config.seed = SipKey{random.next(), random.next()};
  config.tcp.max_connections = 256;
  config.tcp.max_time_wait = 64;
  config.tcp.timestamps = random.chance(0.7);
  config.tcp.sack = random.chance(0.7);
  config.tcp.window_scaling = random.chance(0.7);
  if (random.chance(0.7)) config.tcp.warm_connections = static_cast<std::uint32_t>(random.below(4));
  if (random.chance(0.3)) config.packets_per_poll = 1;
  if (random.chance(0.3)) config.tcp.delayed_ack = 0ms;
  if (random.chance(0.3)) config.memory_budget = 400'000 + random.below(400'000);
  return config;
}

ConnectionOptions options_for(Random& random) {
  ConnectionOptions options;
  options.no_delay = random.chance(0.5);
  options.cork = random.chance(0.2);
  options.send_buffer = 1 + static_cast<std::uint32_t>(random.below(60'000));
  options.receive_buffer = 1 + static_cast<std::uint32_t>(random.below(100'000));
  if (random.chance(0.3)) options.max_segment_size = static_cast<std::uint16_t>(random.below(1500));
  if (random.chance(0.1)) options.linger = std::chrono::seconds{random.below(20)};
  if (random.chance(0.3)) options.keepalive = {.enabled = true, .idle = 1s, .interval = 1s};
  options.pacing = random.chance(0.3);
  return options;
}

class World {
 public:
  explicit World(std::uint64_t seed)
      : random_{seed},
        a_{MockDevice{}, config_for(random_, IpAddress::v4(10, 0, 0, 1))},
        b_{MockDevice{}, config_for(random_, IpAddress::v4(10, 0, 0, 2))},
        link_{a_, b_, clock_, conditions_for(random_, seed), conditions_for(random_, ~seed)},
        listener_{b_.listen({.port = port,
                             .backlog = 1 + static_cast<std::uint32_t>(random_.below(8)),
                             .syn_backlog = static_cast<std::uint32_t>(random_.below(8)),
                             .connection = options_for(random_)})} {}

  void play() {
    for (int step = 0; step < 150; ++step) {
      if (programs_.size() < 24 && random_.chance(0.15)) open();
      for (int i = 0; i < 4 && !programs_.empty(); ++i)
        act(programs_[static_cast<std::size_t>(random_.below(programs_.size()))]);
      link_.run_until([&] { return take_news(), false; },
                      std::chrono::microseconds{random_.below(60'000)});
    }
  }

  void finish() {
    // A reset that was lost is not sent again, and with buffers of a few bytes it would take hours.
    for (Program& program : programs_) {
      ConnectionOptions options = program.connection.options();
      options.send_buffer = options.receive_buffer = 30'000;
      options.keepalive = {.enabled = true, .idle = 10s, .interval = 10s};
      if (program.connection) program.connection.set_options(options);
    }
    const bool finished = link_.run_until(
        [&] {
          take_news();
          bool gone = true;
          for (Program& program : programs_) gone = program.finish() && gone;
          return gone;
        },
        20min);
    for (const Program& program : programs_) {
      CAPTURE(program.stream, program.sent, program.wanted, program.received);
      CAPTURE(program.may_read, program.may_write, name(program.connection.state()));
      CAPTURE(program.other->sent, program.other->wanted, program.other->rude);
      CAPTURE(name(program.other->connection.state()), program.other->may_write);
      CHECK_FALSE(static_cast<bool>(program.connection));
    }
    REQUIRE(finished);
    listener_.close();
    REQUIRE(link_.run_until([&] { return a_.idle() && b_.idle(); }, 5min));
    link_.run_for(2min);  // TIME-WAIT
    test::demand_nothing_held(a_.stats());
    test::demand_nothing_held(b_.stats());
    CHECK(a_.device().oversized() + b_.device().oversized() == 0);
  }

  // Where nobody was rude and nothing timed out, both streams are complete.
  void check_streams() const {
    for (std::size_t i = 0; i + 1 < programs_.size(); i += 2) {
      const Program& one = programs_[i];
      const Program& two = programs_[i + 1];
      CAPTURE(one.stream, message(one.error), message(two.error));
      CHECK(one.received <= two.sent);
      CHECK(two.received <= one.sent);
      if (one.rude || two.rude || one.error != Errc::none || two.error != Errc::none) continue;
      if (!one.ended && !two.ended && one.sent == 0) continue;  // never connected
      CHECK((one.ended && two.ended));
      CHECK((one.sent == two.received && two.sent == one.received));
    }
  }

 private:
  void open() {
    std::error_code error;
    auto connection = a_.connect(
        {.remote = {IpAddress::v4(10, 0, 0, 2), port}, .connection = options_for(random_)}, error);
    if (error) return;
    Program& client = programs_.emplace_back();
    Program& server = programs_.emplace_back();
    client.stream = static_cast<std::uint32_t>(programs_.size());
    server.stream = client.stream + 1;
    client.other = &server;
    server.other = &client;
    client.wanted = static_cast<std::size_t>(random_.below(30'000));
    server.wanted = static_cast<std::size_t>(random_.below(30'000));
    client.may_write = true;
    client.connection = std::move(connection);
    client.connection.set_user_data(&client);
    ports_.emplace_back(client.connection.local().port, &server);
  }

  void act(Program& program) {
    if (!program.connection) return;
    switch (random_.below(random_.chance(0.02) ? 12 : 9)) {
      case 0:
      case 1:
      case 2:
        return program.write(static_cast<std::size_t>(random_.below(5000)));
      case 3:
      case 4:
      case 5:
        return program.read(static_cast<std::size_t>(random_.below(20'000)));
      case 6:
        program.connection.set_options(options_for(random_));
        return;
      case 7:
        program.connection.set_cork(random_.chance(0.5));
        return;
      case 8:
        if (!random_.chance(0.1)) return;
        program.wanted = program.sent;
        return program.connection.shutdown_send();
      case 9:
        program.rude = true;
        return program.connection.abort();
      case 10:
        program.rude = true;
        program.wanted = program.sent;
        return program.connection.close();
      default:
        program.rude = true;
        return program.leave();
    }
  }

  void take_news() {
    while (auto accepted = listener_.accept()) {
      const auto found = std::find_if(ports_.rbegin(), ports_.rend(), [&](const auto& entry) {
        return entry.first == accepted->remote().port;
      });
      REQUIRE(found != ports_.rend());
      Program& server = *found->second;
      if (server.connection) {
        // An ACK repeated a SYN cookie after the first connection of it died: a new stream.
        server.leave();
        server.sent = server.received = 0;
        server.rude = true;
      }
      server.connection = std::move(*accepted);
      server.connection.set_user_data(&server);
    }
    for (auto* stack : {&a_, &b_}) {
      while (const auto event = stack->next_event()) {
        if (event->user_data != nullptr)
          static_cast<Program*>(event->user_data)->hear(event->flags);
      }
    }
  }

  Random random_;
  ManualClock clock_;
  Stack<MockDevice> a_;
  Stack<MockDevice> b_;
  testing::Link<Stack<MockDevice>, Stack<MockDevice>> link_;
  TcpListener listener_;
  std::deque<Program> programs_;  // client and server in turn
  std::vector<std::pair<std::uint16_t, Program*>> ports_;
};

}  // namespace

TEST_CASE("programs that do anything at any time find their streams right and nothing stuck",
          "[stack][random]") {
  const auto first = GENERATE(range(0, 10));
  for (std::uint64_t i = 0; i < test::cases(4, 400); ++i) {
    const std::uint64_t seed = static_cast<std::uint64_t>(first) * 1000 + i;
    CAPTURE(seed);
    World world{seed};
    world.play();
    world.finish();
    world.check_streams();
  }
}
