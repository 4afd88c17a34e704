// SPDX-License-Identifier: BSL-1.0

// Buffers that grow with what their path carries: over links of all lengths in virtual time, and on
// stacks that have little memory.

#include "../support/host.hpp"
#include <tunic/testing/link.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

StackConfig other_config() {
  StackConfig config = host_config();
  config.addresses = {IpCidr{peer_ip, 24}};
  config.seed = SipKey{3, 4};
  return config;
}

StackConfig with_8_mib(StackConfig config) {
  config.memory_budget = 8 * 1024 * 1024;
  config.tcp.max_connections = 32;
  config.tcp.max_time_wait = 32;
  return config;
}

// The same way both ways, without losses.
LinkConditions path(std::uint64_t bits_per_second, Duration round_trip) {
  return {.delay = round_trip / 2, .rate_bits_per_second = bits_per_second};
}

// One program writes whenever it may and as much as it may, the other reads whatever comes.
struct Flow {
  Flow(const LinkConditions& conditions, StackConfig from, StackConfig to,
       const ConnectionOptions& options = {})
      : a{MockDevice{}, std::move(from)},
        b{MockDevice{}, std::move(to)},
        link{a, b, clock, conditions},
        listener{b.listen({.port = 9, .connection = options})},
        sender{a.connect({.remote = {peer_ip, 9}, .connection = options})} {}
  explicit Flow(const LinkConditions& conditions, const ConnectionOptions& options = {})
      : Flow{conditions, host_config(), other_config(), options} {}

  // Bits a second that are read in that time.
  double run_for(Duration time) {
    const std::uint64_t before = read;
    link.run_until([this] { return turn(); }, time);
    return static_cast<double>(read - before) * 8 / std::chrono::duration<double>{time}.count();
  }

  bool turn() {
    if (!receiver) {
      if (auto accepted = listener.accept()) receiver = std::move(*accepted);
    }
    for (Bytes view = receiver.readable(); reads && !view.empty(); view = receiver.readable()) {
      read += view.size();
      receiver.consume(view.size());
    }
    while (const auto event = a.next_event())
      may_write = may_write || has(event->flags, EventFlags::writable);
    while (b.next_event()) {
    }
    while (may_write) may_write = sender.send(chunk).bytes == chunk.size();
    largest_held =
        std::max({largest_held, a.stats().gauges.buffer_bytes, b.stats().gauges.buffer_bytes});
    return false;
  }

  ManualClock clock;
  Stack<MockDevice> a;
  Stack<MockDevice> b;
  testing::Link<Stack<MockDevice>, Stack<MockDevice>> link;
  Stack<MockDevice>::Listener listener;
  Stack<MockDevice>::Connection sender;
  Stack<MockDevice>::Connection receiver{};
  std::vector<std::byte> chunk = std::vector<std::byte>(64 * 1024);
  std::uint64_t read = 0;
  std::size_t largest_held = 0;
  bool reads = true;
  bool may_write = true;
};

constexpr std::uint32_t start = tuned_buffer.initial;

}  // namespace

TEST_CASE("a path of 1 Gbit/s and 100 ms is full within 20 round trips", "[tcp][tuning]") {
  Flow flow{path(1'000'000'000, 100ms)};
  flow.run_for(20 * 100ms);
  CHECK(flow.run_for(5 * 100ms) > 0.95e9);
  const TcpInfo in = flow.receiver.info();
  CHECK(in.rcv_rtt >= 100ms);
  CHECK(in.rcv_rtt < 101ms);
  CHECK(in.rcv_space > 12'000'000);
  CHECK(in.rcv_space < 13'000'000);
  CHECK(in.receive_buffer >= 25'000'000);
  CHECK(in.receive_buffer <= tuned_buffer.largest);
  CHECK(flow.sender.info().send_buffer >= 24'000'000);
  CHECK(flow.sender.info().send_buffer <= tuned_buffer.largest);
  CHECK(flow.sender.info().total_retransmissions == 0);
  CHECK(flow.largest_held < host_config().memory_budget / 4);
}

TEST_CASE("so it is without timestamps", "[tcp][tuning]") {
  StackConfig from = host_config();
  from.tcp.timestamps = false;
  Flow flow{path(100'000'000, 100ms), from, other_config()};
  flow.run_for(20 * 100ms);
  CHECK(flow.run_for(5 * 100ms) > 0.95e8);
  CHECK(flow.receiver.info().rcv_rtt < 101ms);
}

TEST_CASE("a short path keeps its small buffers however long its queue", "[tcp][tuning]") {
  const bool timestamps = GENERATE(true, false);
  StackConfig from = host_config();
  from.tcp.timestamps = timestamps;
  CAPTURE(timestamps);
  Flow flow{path(1'000'000'000, 100us), from, other_config()};
  flow.run_for(100ms);
  CHECK(flow.run_for(300ms) > 0.9e9);
  CHECK(flow.receiver.info().receive_buffer == start);
  CHECK(flow.sender.info().send_buffer <= 2 * start);
  CHECK(flow.receiver.info().rcv_rtt < 200us);
}

TEST_CASE("a window grows to a few times what its path holds", "[tcp][tuning]") {
  Flow flow{path(100'000'000, 20ms)};
  flow.run_for(4s);
  constexpr std::uint32_t path_holds = 250'000;
  CHECK(flow.receiver.info().receive_buffer >= 2 * path_holds * 95 / 100);
  CHECK(flow.receiver.info().receive_buffer <= 4 * path_holds);
}

TEST_CASE("a buffer of one size stays as it is", "[tcp][tuning]") {
  Flow flow{path(100'000'000, 100ms), {.send_buffer = 100'000, .receive_buffer = 90'000}};
  flow.run_for(3s);
  CHECK(flow.receiver.info().receive_buffer == 90'000);
  CHECK(flow.sender.info().send_buffer == 100'000);
  CHECK(flow.run_for(1s) < 8 * 100'000 / 0.1);
}

TEST_CASE("a buffer grows no further than its bound", "[tcp][tuning]") {
  Flow flow{path(100'000'000, 100ms),
            {.send_buffer = {64'000, 300'000}, .receive_buffer = {64'000, 200'000}}};
  flow.run_for(3s);
  CHECK(flow.receiver.info().receive_buffer == 200'000);
  CHECK(flow.sender.info().send_buffer == 300'000);
}

TEST_CASE("a buffer grows no further than an eighth of the budget", "[tcp][tuning]") {
  Flow flow{path(1'000'000'000, 100ms), host_config(), with_8_mib(other_config())};
  flow.run_for(3s);
  CHECK(flow.receiver.info().receive_buffer == 1024 * 1024);
  CHECK(flow.receiver.info().rcv_wscale == 5);
}

TEST_CASE("a program that does not read is not offered more, and is waited for", "[tcp][tuning]") {
  Flow flow{path(100'000'000, 20ms)};
  flow.reads = false;
  flow.run_for(10min);
  const TcpInfo in = flow.receiver.info();
  CHECK(in.receive_buffer == start);
  CHECK(in.unread >= start);
  CHECK(in.unread <= start + (8U << in.rcv_wscale));
  CHECK(flow.b.stats().dropped(Drop::no_memory) == 0);
  CHECK(flow.sender.error() == Errc::none);
  CHECK(flow.sender.info().snd_wnd == 0);
}

TEST_CASE("losses ask for no larger window", "[tcp][tuning]") {
  StackConfig from = host_config();
  from.tcp.timestamps = GENERATE(true, false);
  CAPTURE(from.tcp.timestamps);
  LinkConditions conditions = path(100'000'000, 20ms);
  conditions.queue_bytes = 250'000;
  Flow flow{conditions, from, other_config(), {.pacing = true}};  // its slow start overflows
  flow.run_for(4s);
  REQUIRE(flow.sender.info().total_retransmissions > 100);
  CHECK(flow.receiver.info().receive_buffer <= 4 * 250'000);
  CHECK(flow.run_for(1s) > 0.9e8);
}

TEST_CASE("options that change keep what a buffer has grown to, within their bounds",
          "[tcp][tuning]") {
  Flow flow{path(100'000'000, 100ms)};
  flow.run_for(3s);
  const std::uint32_t grown = flow.receiver.info().receive_buffer;
  REQUIRE(grown > 1'000'000);
  flow.receiver.set_no_delay(true);
  CHECK(flow.receiver.info().receive_buffer == grown);
  ConnectionOptions options;
  options.receive_buffer = {64'000, 500'000};
  options.send_buffer = {200'000, 500'000};
  REQUIRE(flow.receiver.set_options(options) == Errc::none);
  CHECK(flow.receiver.info().receive_buffer == 500'000);
  CHECK(flow.receiver.info().send_buffer == 200'000);
  options.receive_buffer = 40'000;
  REQUIRE(flow.receiver.set_options(options) == Errc::none);
  CHECK(flow.receiver.info().receive_buffer == 40'000);
}

TEST_CASE("a buffer's start may not be beyond its bound, nor nothing", "[tcp][tuning]") {
  Host host;
  const auto allowed = [&host](BufferSize size) {
    std::error_code error;
    (void)host.stack.connect({.remote = {peer_ip, 9}, .connection = {.receive_buffer = size}},
                             error);
    std::error_code other;
    (void)host.stack.connect({.remote = {peer_ip, 9}, .connection = {.send_buffer = size}}, other);
    CHECK(error == other);
    return !error;
  };
  CHECK(allowed({1000, 1000}));
  CHECK(allowed({1000, 1U << 30}));
  CHECK_FALSE(allowed({1000, 999}));
  CHECK_FALSE(allowed({0, 1000}));
  CHECK_FALSE(allowed({1000, (1U << 30) + 1}));
}

TEST_CASE("the scale of a SYN follows the bound of the buffer", "[tcp][tuning]") {
  Host host;
  const auto offered = [&host](const ConnectionOptions& options) {
    auto connection = host.stack.connect({.remote = {peer_ip, 9}, .connection = options});
    host.turn();
    const TcpSegment syn = host.take_tcp();
    CHECK(syn.window == std::min(options.receive_buffer.initial, 0xffffU));
    return syn.options.window_scale;
  };
  CHECK(offered({}) == 9);
  CHECK(offered({.receive_buffer = 30'000}) == 0);
  CHECK(offered({.receive_buffer = {30'000, 100'000}}) == 1);
}

TEST_CASE("when memory is short a buffer is back at its start, and the edge stays",
          "[tcp][tuning]") {
  Flow flow{path(1'000'000'000, 20ms), with_8_mib(host_config()), with_8_mib(other_config())};
  flow.run_for(1s);
  REQUIRE(flow.receiver.info().receive_buffer == 1024 * 1024);
  // Others take what is there: connections whose programs do not read.
  std::vector<Stack<MockDevice>::Connection> writers;
  std::vector<Stack<MockDevice>::Connection> hoards;
  const ConnectionOptions large{.send_buffer = 2'000'000, .receive_buffer = 2'000'000};
  auto listener = flow.b.listen({.port = 10, .connection = large});
  for (int i = 0; i < 4; ++i)
    writers.push_back(flow.a.connect({.remote = {peer_ip, 10}, .connection = large}));
  REQUIRE(flow.sender.info().send_buffer == 1024 * 1024);
  std::uint32_t smallest = 1024 * 1024;
  std::uint32_t smallest_of_sender = 1024 * 1024;
  std::int32_t retreat = 0;
  std::uint64_t edge = 0;
  flow.link.run_until(
      [&] {
        flow.turn();
        if (auto accepted = listener.accept()) hoards.push_back(std::move(*accepted));
        for (auto& writer : writers) writer.send(flow.chunk);
        const TcpInfo info = flow.receiver.info();
        smallest = std::min(smallest, info.receive_buffer);
        smallest_of_sender = std::min(smallest_of_sender, flow.sender.info().send_buffer);
        if (flow.read + info.rcv_wnd < edge) ++retreat;
        edge = std::max(edge, flow.read + info.rcv_wnd);
        return false;
      },
      3s);
  CHECK(smallest == start);
  CHECK(smallest_of_sender == start);
  CHECK(retreat == 0);
  CHECK(flow.run_for(1s) > 1e5);  // with the least share of both
  hoards.clear();
  writers.clear();
  flow.run_for(1s);
  CHECK(flow.receiver.info().receive_buffer == 1024 * 1024);
  CHECK(flow.sender.info().send_buffer == 1024 * 1024);
}

TEST_CASE("64 connections share a small budget, and all get on", "[tcp][tuning]") {
  constexpr std::size_t connections = 64;
  constexpr std::size_t size = 256 * 1024;
  const auto small = [](StackConfig config) {
    config.memory_budget = 2 * 1024 * 1024;
    config.tcp.max_connections = 2 * connections;
    config.tcp.max_time_wait = 2 * connections;
    config.ip.max_reassemblies = 8;
    return config;
  };
  const bool echo = GENERATE(false, true);
  CAPTURE(echo);
  ManualClock clock;
  Stack<MockDevice> a{MockDevice{}, small(host_config())};
  Stack<MockDevice> b{MockDevice{}, small(other_config())};
  testing::Link link{a, b, clock, path(100'000'000, 40ms)};
  auto listener = b.listen({.port = 9});
  struct Client {
    Stack<MockDevice>::Connection connection;
    std::size_t written = 0;
    std::size_t read = 0;
  };
  std::vector<Client> clients;
  for (std::size_t i = 0; i < connections; ++i)
    clients.push_back({a.connect({.remote = {peer_ip, 9}})});
  std::vector<Stack<MockDevice>::Connection> served;
  std::size_t received = 0;
  const std::vector<std::byte> data(size);
  const auto done = [&] {
    while (auto accepted = listener.accept()) served.push_back(std::move(*accepted));
    for (auto& each : served) {
      for (Bytes view = each.readable(); !view.empty(); view = each.readable()) {
        const std::size_t count = echo ? each.send(view).bytes : view.size();
        each.consume(count);
        received += count;
        if (count < view.size()) break;
      }
    }
    bool all = true;
    for (Client& client : clients) {
      client.written += client.connection.send(Bytes{data}.subspan(client.written)).bytes;
      client.read += client.connection.readable_bytes();
      client.connection.consume(client.connection.readable_bytes());
      all = all && client.written == size && client.read == (echo ? size : 0);
    }
    return all && received == connections * size;
  };
  CHECK(link.run_until(done, 5min));
  for (const Client& client : clients) CHECK(client.connection.error() == Errc::none);
  CHECK(a.stats().gauges.buffer_bytes <= a.config().memory_budget);
}
