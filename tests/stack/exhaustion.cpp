// SPDX-License-Identifier: BSL-1.0

// Memory that runs out and devices that give up, at every point of a conversation: nothing crashes,
// nothing leaks, and what is possible goes on.

#include "../base/counting_source.hpp"
#include "../support/hostile.hpp"
#include <tunic/testing/link.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

using namespace tunic;
using namespace tunic::test;

namespace {

StackConfig config_at(IpAddress address, std::size_t budget, MemorySource* memory) {
  StackConfig config = small_host_config();
  config.addresses = {IpCidr{address, 24}};
  config.memory_budget = budget;
  config.memory = memory;
  return config;
}

// A client sends, a server echoes or just reads; both read and write as they can, and close.
class Exchange {
 public:
  Exchange(std::size_t budget, MemorySource* memory, std::size_t size, bool echoes = true)
      : server_{MockDevice{}, config_at(peer_ip, budget, memory)},
        text_(size, '\0'),
        echoes_{echoes} {
    for (std::size_t i = 0; i < size; ++i) text_[i] = static_cast<char>(i * 7 + i / 256);
    listener_ = server_.listen({.port = 7});
    connection_ = client_.connect({.remote = {peer_ip, 7}, .connection = {.user_timeout = 60s}});
  }

  [[nodiscard]] Stack<MockDevice>& server() { return server_; }
  [[nodiscard]] bool complete() const { return got_ == text_; }

  /// Until both ends are through, with a success or not.
  void run() {
    REQUIRE(link_.run_until([this] { return turn(); }, 10min));
    connection_ = {};
    echo_.reset();
    listener_.close();
    link_.run_for(10min);
    demand_nothing_held(client_.stats());
    demand_nothing_held(server_.stats());
    CHECK(text_.starts_with(got_));
  }

 private:
  bool turn() {
    while (client_.next_event()) {
    }
    while (server_.next_event()) {
    }
    if (auto accepted = listener_.accept()) echo_.emplace(std::move(*accepted));
    if (echo_) serve();
    if (sent_ < text_.size())
      sent_ += connection_.send(as_bytes(std::string_view{text_}.substr(sent_))).bytes;
    if (sent_ == text_.size()) connection_.shutdown_send();
    got_ += read_all(connection_);
    return connection_.error() != Errc::none || connection_.at_end();
  }

  void serve() {
    if (!echoes_) got_ += read_all(*echo_);
    for (Bytes view = echo_->readable(); !view.empty(); view = echo_->readable()) {
      const std::size_t sent = echo_->send(view).bytes;
      echo_->consume(sent);
      if (sent < view.size()) return;
    }
    if (echo_->at_end()) echo_->close();
  }

  ManualClock clock_;
  Stack<MockDevice> client_{MockDevice{}, config_at(host_ip, 4 << 20, nullptr)};
  Stack<MockDevice> server_;
  testing::Link<Stack<MockDevice>, Stack<MockDevice>> link_{
      client_, server_, clock_, {.delay = 3ms, .loss = 0.02, .reorder = 0.05}};
  TcpListener listener_;
  TcpConnection connection_;
  std::optional<TcpConnection> echo_;
  std::string text_;
  std::string got_;
  std::size_t sent_ = 0;
  bool echoes_;
};

}  // namespace

TEST_CASE("memory may run out at any allocation", "[stack][memory]") {
  std::size_t requests = 0;
  {
    CountingSource all;
    Exchange exchange{4 << 20, &all, 60'000};
    exchange.run();
    CHECK(exchange.complete());
    requests = all.requests();
  }
  REQUIRE(requests > 10);
  for (std::size_t grants = 0; grants <= requests; ++grants) {
    CAPTURE(grants);
    CountingSource some{grants};
    Exchange exchange{4 << 20, &some, 60'000};
    exchange.run();
    if (grants == requests) CHECK(exchange.complete());
  }
}

TEST_CASE("a small budget makes a transfer slow, but it gets there", "[stack][memory]") {
  const auto budget = GENERATE(range(std::size_t{12'000}, std::size_t{60'000}, std::size_t{250}));
  CAPTURE(budget);
  Exchange exchange{budget, nullptr, 40'000, false};
  exchange.run();
  if (exchange.server().stats().tcp.passive_opens != 0) CHECK(exchange.complete());
}

TEST_CASE("what waits behind a hole makes room for what fills it", "[stack][memory]") {
  StackConfig config = small_host_config();
  config.memory_budget = 64'000;
  Server server{{}, config};
  auto& [host, listener, peer, connection] = server;
  std::string text;
  for (std::uint32_t i = 1; host.stack.stats().dropped(Drop::out_of_order_limit) == 0; ++i) {
    REQUIRE(i < 200);
    host.inject(peer.segment().seq(peer.seq + 200 * i).payload(std::string(100, 'b')));
  }
  peer.send(std::string(1000, 'a'));
  CHECK(read_all(connection).substr(0, 1000) == std::string(1000, 'a'));
}

TEST_CASE("who found no memory to write is told to try again", "[stack][memory]") {
  CountingSource source;
  StackConfig config = small_host_config();
  config.memory = &source;
  Server server{{}, config};
  auto& [host, listener, peer, connection] = server;
  while (host.stack.next_event()) {
  }
  source.grant(0);
  REQUIRE(connection.send(as_bytes("text")).error == Errc::no_memory);
  host.advance(1s);
  source.grant(CountingSource::unlimited);
  const auto event = host.stack.next_event();
  REQUIRE(event.has_value());
  CHECK(has(event->flags, EventFlags::writable));
  CHECK(connection.send(as_bytes("text")).bytes == 4);
  host.turn();
  CHECK(as_text(host.take_tcp().payload) == "text");
  host.advance(1s);
  CHECK_FALSE(host.stack.next_event().has_value());
}

TEST_CASE("a connection that lost unread bytes is not at its end", "[stack]") {
  Server server;
  auto& [host, listener, peer, connection] = server;
  peer.send("unread");
  peer.send_fin();
  host.inject(peer.segment().rst());
  CHECK(connection.error() == Errc::connection_reset);
  CHECK(connection.readable().empty());
  CHECK_FALSE(connection.at_end());
}

TEST_CASE("a device may stop at any packet, for a while or for good", "[stack][device]") {
  const auto how = GENERATE(DeviceStatus::would_block, DeviceStatus::down, DeviceStatus::failed);
  for (std::uint64_t packets = 0; packets < 16; ++packets) {
    CAPTURE(how, packets);
    Host host{small_host_config()};
    auto listener = host.stack.listen({.port = 80});
    if (how == DeviceStatus::failed) host.stack.device().fail_after(packets);
    std::uint64_t accepted = 0;
    const auto step = [&](auto&& play) {
      if (how != DeviceStatus::failed && host.stack.device().accepted() >= packets)
        host.stack.device().set_status(how);
      play();
      host.turn();
      accepted = host.stack.device().accepted();
    };
    Peer peer{host};
    TcpConnection connection;
    step([&] { host.inject(peer.syn()); });
    host.stack.device().set_status(DeviceStatus::ok);
    if (auto bytes = host.stack.device().take())
      peer.learn(*testing::decode(std::move(*bytes)).tcp);
    peer.seq = SeqNum{peer.options.isn} + 1;
    step([&] { host.inject(peer.segment()); });
    if (auto taken = listener.accept()) connection = std::move(*taken);
    step([&] { connection.send(as_bytes(std::string(20'000, 'x'))); });
    step([&] { peer.send("question"); });
    step([&] { host.inject(testing::icmp_echo(peer_ip, host_ip, 1, 1, "ping")); });
    step([&] { connection.shutdown_send(); });
    step([&] { host.advance(3s); });
    host.stack.device().set_status(DeviceStatus::ok);
    step([&] { connection = {}; });
    listener.close();
    host.advance(10min);
    demand_nothing_held(host.stack.stats());
  }
}

TEST_CASE("a stack may go in any state of its connections", "[stack]") {
  const auto state =
      GENERATE(TcpState::established, TcpState::fin_wait_1, TcpState::fin_wait_2,
               TcpState::close_wait, TcpState::closing, TcpState::last_ack, TcpState::time_wait);
  const bool handle_first = GENERATE(false, true);
  TcpConnection outlives;
  TcpConnection opening;
  TcpListener listening;
  {
    Server server;
    reach(server, state);
    Peer half_open{server.host, {.port = 41000}};
    half_open.send_syn();
    Peer waiting{server.host, {.port = 42000}};
    waiting.send_syn();
    waiting.finish();
    opening = server.host.stack.connect({.remote = {peer_ip, 9}});
    outlives = std::move(server.connection);
    outlives.send(as_bytes("never sent"));
    listening = std::move(server.listener);
    if (handle_first) {
      outlives = {};
      opening = {};
      listening.close();
    }
  }
  CHECK_FALSE(static_cast<bool>(outlives));
  CHECK_FALSE(static_cast<bool>(opening));
  CHECK_FALSE(static_cast<bool>(listening));
  CHECK(outlives.send(as_bytes("x")).error == Errc::not_connected);
}
