// SPDX-License-Identifier: BSL-1.0

// Whether connections rest in between changes nothing of what they send or know of themselves.
#include "../support/host.hpp"
#include <tunic/device/random.hpp>
#include <tunic/testing/decode.hpp>
#include <tunic/testing/link.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace tunic;
using namespace tunic::test;

namespace {

constexpr std::size_t client_count = 4;
constexpr std::uint16_t first_port = 40'000;

// Four clients of one server, over links that lose every so many packets of each connection alone:
// what befalls one depends on nothing that another does.
class World {
 public:
  World(std::uint64_t seed, std::uint32_t warm)
      : random_{seed},
        a_{MockDevice{}, config_at(IpAddress::v4(10, 0, 0, 1), warm)},
        b_{MockDevice{}, config_at(IpAddress::v4(10, 0, 0, 2), warm)},
        link_{a_, b_, clock_, {.delay = 10ms}} {
    clock_.advance(std::chrono::seconds{random_.below(10'000'000)});
    loss_ = 20 + random_.below(60);
    link_.set_filter_a_to_b([this](auto& packet, Instant) { return passes(packet, 0); });
    link_.set_filter_b_to_a([this](auto& packet, Instant) { return passes(packet, 1); });
    link_.set_watcher([this](const testing::PassingPacket& packet) { watch(packet); });
    options_.pacing = random_.chance(0.3);
    options_.no_delay = random_.chance(0.5);
    if (random_.chance(0.3)) options_.keepalive = {.enabled = true, .idle = 2s, .interval = 1s};
    if (random_.chance(0.3)) options_.receive_buffer = 5000;
    listener_ = b_.listen({.port = 7, .connection = options_});
    for (std::size_t i = 0; i < client_count; ++i) {
      const auto port = static_cast<std::uint16_t>(first_port + i);
      clients_[i] = a_.connect(
          {.remote = {IpAddress::v4(10, 0, 0, 2), 7}, .local_port = port, .connection = options_});
    }
    run(3s);
  }

  void step() {
    TcpConnection& client = clients_[random_.below(client_count)];
    TcpConnection& server = servers_[random_.below(client_count)];
    TcpConnection& from = random_.chance(0.5) ? client : server;
    switch (random_.below(8)) {
      case 0:
        from.send(as_bytes(pattern_text(random_.below(50'000))));
        break;
      case 1:
        from.send_urgent(as_bytes("!"));
        break;
      case 2:
        options_.cork = random_.chance(0.3);
        options_.ttl = static_cast<std::uint8_t>(1 + random_.below(255));
        from.set_options(options_);
        break;
      default:
        from.send(as_bytes(pattern_text(1 + random_.below(3000))));
        break;
    }
    run(std::chrono::milliseconds{random_.below(random_.chance(0.3) ? 20'000 : 300)});
    rested += client_count + client_count - a_.stats().gauges.awake - b_.stats().gauges.awake;
    for (const auto* side : {&clients_, &servers_}) {
      for (const TcpConnection& connection : *side) {
        infos.push_back(connection.info());
        others.push_back({connection.received_dscp(), connection.urgent_remaining(),
                          connection.pushed(), connection.send_room(), connection.options().ttl});
      }
    }
  }

  std::vector<TcpInfo> infos;
  std::vector<std::array<std::size_t, 5>> others;
  std::array<std::uint64_t, client_count> seen{};  // a hash of all packets of a connection
  std::uint64_t packets = 0;
  std::uint64_t rested = 0;

 private:
  static StackConfig config_at(IpAddress address, std::uint32_t warm) {
    StackConfig config;
    config.addresses = {IpCidr{address, 24}};
    config.seed = SipKey{1, address.v4_bits()};
    config.tcp.max_connections = 16;
    config.tcp.warm_connections = warm;
    config.tcp.ecn = Ecn::always;
    return config;
  }

  void run(Duration time) {
    link_.run_until(
        [this] {
          while (auto accepted = listener_.accept())
            servers_[accepted->remote().port - first_port] = std::move(*accepted);
          for (auto* side : {&clients_, &servers_}) {
            for (TcpConnection& connection : *side) read_all(connection);
          }
          while (a_.next_event() || b_.next_event()) {
          }
          return false;
        },
        time);
  }

  static std::size_t connection_of(Bytes packet) {
    const auto ip = Ipv4Parser{}(packet);
    const auto segment = parse_tcp_unverified(ip->payload);
    return std::max(segment->src_port, segment->dst_port) - std::size_t{first_port};
  }

  bool passes(std::vector<std::byte>& packet, std::size_t way) {
    const std::uint64_t number = ++passed_[connection_of(packet)][way];
    return number < 5 || number % loss_ != 0;
  }

  void watch(const testing::PassingPacket& packet) {
    if (packet.arrived) return;
    ++packets;
    std::uint64_t& hash = seen[connection_of(packet.bytes)];
    const auto mix = [&hash](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3U; };
    mix(static_cast<std::uint64_t>(packet.at.time_since_epoch().count()));
    for (const std::byte byte : packet.bytes) mix(static_cast<std::uint64_t>(byte));
  }

  Random random_;
  ManualClock clock_;
  Stack<MockDevice> a_;
  Stack<MockDevice> b_;
  testing::Link<Stack<MockDevice>, Stack<MockDevice>> link_;
  TcpListener listener_;
  ConnectionOptions options_;
  std::array<TcpConnection, client_count> clients_;
  std::array<TcpConnection, client_count> servers_;
  std::array<std::array<std::uint64_t, 2>, client_count> passed_{};
  std::uint64_t loss_ = 0;
};

// A member that is none of these and not in a state of its own would not survive a rest: it has to
// go to SenderState, ReceiverState or ConnectionState, or `can_rest` has to ask for its default.
using Control = ControlBlock<DefaultTraits>;
static_assert(sizeof(Sender) == sizeof(SenderState) + sizeof(ByteQueue) + sizeof(Scoreboard));
static_assert(sizeof(Receiver) ==
              sizeof(ReceiverState) + sizeof(ByteQueue) + sizeof(OutOfOrderQueue));
static_assert(sizeof(Control) == sizeof(ConnectionTimer<DefaultTraits>) +
                                     sizeof(ConnectionState<DefaultTraits>) + sizeof(FlowKey) +
                                     sizeof(Sender) + sizeof(Receiver) + sizeof(Control::listener) +
                                     5 * sizeof(ListHook));

}  // namespace

TEST_CASE("to rest or not to rest makes no difference", "[tcp][resting]") {
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{25}));
  CAPTURE(seed);
  World resting{seed, 0};
  World awake{seed, 1024};
  for (int i = 0; i < 40; ++i) {
    CAPTURE(i);
    resting.step();
    awake.step();
    REQUIRE(resting.infos == awake.infos);
    REQUIRE(resting.others == awake.others);
    REQUIRE(resting.seen == awake.seen);
  }
  CHECK(resting.packets == awake.packets);
  CHECK(resting.packets > 100);
  CHECK(resting.rested > 40);
  CHECK(awake.rested == 0);
}
