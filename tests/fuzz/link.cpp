// SPDX-License-Identifier: BSL-1.0

// Two stacks and a link that does to each packet what the fuzzer's bytes say: loses, doubles,
// delays or damages it. The programs on both ends write, read and close as the bytes say too. When
// the bytes run out the link is perfect: then both streams must arrive whole and unchanged, both
// ends must close, and nothing may be left.

#include "../support/invariants.hpp"
#include "script.hpp"
#include <tunic/device/mock_device.hpp>
#include <tunic/stack/stack.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <utility>
#include <vector>

using namespace tunic;
using namespace std::chrono_literals;
using fuzz::Script;
using test::demand;

namespace {

using FuzzStack = Stack<MockDevice>;
constexpr IpAddress addresses[2] = {IpAddress::v4(10, 0, 0, 1), IpAddress::v4(10, 0, 0, 2)};

struct End {
  FuzzStack stack;
  FuzzStack::Connection connection{};
  test::SegmentWatch watch{};
  std::uint32_t to_send;
  std::uint32_t sent = 0;
  std::uint32_t received = 0;
  std::uint8_t scale = 0;  // of its window field
  bool opened = false;

  End(StackConfig config, std::size_t mtu, std::uint32_t bytes)
      : stack{MockDevice{{.mtu_bytes = mtu}}, std::move(config)}, to_send{bytes} {}
};

class World {
 public:
  explicit World(Script& script)
      : script_{script}, ends_{End{config(0), mtu(), amount()}, End{config(1), mtu(), amount()}} {
    const ConnectionOptions passive = options();
    listener_ = ends_[1].stack.listen({.port = 7, .connection = passive});
    simultaneous_ = script_.byte() % 8 == 0;
    const ConnectionOptions active = options();
    ends_[0].connection = ends_[0].stack.connect(
        {.remote = {addresses[1], 7}, .local_port = 9, .connection = active});
    if (!simultaneous_) return;
    listener_.close();
    ends_[1].connection = ends_[1].stack.connect(
        {.remote = {addresses[0], 9}, .local_port = 7, .connection = passive});
  }

  void run() {
    // Far more than the worst back-off of what the bytes can lose needs.
    constexpr int patience = 200'000;
    for (int i = 0; i < patience && !finished(); ++i) step();
    demand(finished(), "both streams arrive in the end");
    leaving_ = true;
    for (End& end : ends_) {
      demand(end.connection.error() == Errc::none, "an orderly end is no error");
      end.connection = {};
    }
    listener_.close();
    for (int i = 0; i < 1000 && !idle(); ++i) step();
    for (End& end : ends_) test::demand_nothing_held(end.stack.stats());
  }

 private:
  // ---- set-up

  StackConfig config(std::uint64_t side) {
    StackConfig config;
    config.addresses = {IpCidr{addresses[side], 24}};
    config.seed = SipKey{side, script_.dword()};  // initial sequence numbers everywhere
    config.memory_budget = 8 * 1024 * 1024;
    const std::uint8_t bits = script_.byte();
    config.tcp.window_scaling = (bits & 1) == 0;
    config.tcp.timestamps = (bits & 2) == 0;
    config.tcp.sack = (bits & 4) == 0;
    if ((bits & 8) != 0) config.tcp.delayed_ack = Duration{0};
    config.tcp.warm_connections = (bits & 16) == 0 ? 0 : 1;
    config.tcp.max_connections = 8;
    config.tcp.max_time_wait = 8;
    config.tcp.syn_retries = config.tcp.syn_ack_retries = 255;  // the bytes may lose many SYNs
    config.tcp.orphan_timeout = 24h;
    return config;
  }
  std::size_t mtu() { return script_.pick(std::array<std::size_t, 4>{1500, 576, 9000, 300}); }
  std::uint32_t amount() { return script_.word() % 40'000U; }
  ConnectionOptions options() {
    constexpr std::array<std::uint32_t, 4> sizes{256 * 1024, 3000, 100, 65'535};
    ConnectionOptions options;
    options.user_timeout = Duration{0};
    options.send_buffer = script_.pick(sizes);
    options.receive_buffer = script_.pick(sizes);
    options.no_delay = script_.flag();
    return options;
  }

  // ---- one instant

  void step() {
    deliver();
    for (End& end : ends_) end.stack.poll(now_);
    if (!ends_[1].opened && !simultaneous_) {
      if (auto accepted = listener_.accept()) ends_[1].connection = std::move(*accepted);
    }
    for (End& end : ends_) serve(end);
    for (End& end : ends_) end.stack.flush(now_);
    bool moved = false;
    for (std::size_t side = 0; side < 2; ++side) moved = collect(side) || moved;
    if (moved && !way_.empty() && way_.begin()->first <= now_) return;
    Instant next = way_.empty() ? never : way_.begin()->first;
    for (End& end : ends_) next = std::min(next, end.stack.next_deadline());
    demand(next > now_ || ++restless_ < 1000, "the stacks come to rest");
    if (next <= now_) return;
    restless_ = 0;
    if (next == never) {  // only the programs may have something to do
      demand((idle() && (leaving_ || finished())) || ++stuck_ < 1000, "nobody is stuck");
      return;
    }
    stuck_ = 0;
    now_ = next;
  }

  // The program of one end: pattern bytes out, pattern bytes in, at the pace of the script.
  void serve(End& end) {
    while (end.stack.next_event()) {
    }
    if (!end.connection) return;
    end.opened = end.opened || synchronized(end.connection.state());
    end.scale = end.connection.info().rcv_wscale;
    const std::uint8_t pace = script_.byte();
    if (end.sent < end.to_send) {
      const std::uint32_t most = (pace & 7) == 0 ? 20'000 : (pace & 7) * 50U;
      const auto bytes = fuzz::pattern(end.sent, std::min(most, end.to_send - end.sent));
      end.sent += static_cast<std::uint32_t>(end.connection.send(bytes).bytes);
      if (end.sent == end.to_send) end.connection.shutdown_send();
    } else if (end.to_send == 0) {
      end.connection.shutdown_send();
    }
    std::size_t wanted = (pace & 0x38) == 0 ? 1'000'000 : (pace >> 3 & 7) * std::size_t{100};
    for (Bytes view = end.connection.readable(); !view.empty() && wanted != 0;
         view = end.connection.readable()) {
      view = view.first(std::min(view.size(), wanted));
      demand(fuzz::is_pattern(end.received, view), "bytes arrive as they were sent");
      end.received += static_cast<std::uint32_t>(view.size());
      wanted -= view.size();
      end.connection.consume(view.size());
    }
    demand(end.connection.error() == Errc::none || !end.opened, "nobody gives up");
  }

  // ---- the link

  void deliver() {
    while (!way_.empty() && way_.begin()->first <= now_) {
      auto& [to, bytes] = way_.begin()->second;
      End& end = ends_[to];
      const auto ip = Ipv4Parser{}(bytes);
      const auto segment = ip ? parse_tcp(ip->payload, ip->header.src, ip->header.dst) : Drop{};
      if (segment && segment->has(TcpFlags::ack)) {
        const std::uint8_t scale = segment->has(TcpFlags::syn) ? 0 : ends_[1 - to].scale;
        end.watch.allowed(segment->ack, std::uint32_t{segment->window} << scale);
      }
      fuzz::trace(now_, "  came", bytes);
      end.stack.device().inject(bytes);
      way_.erase(way_.begin());
    }
  }

  bool collect(std::size_t from) {
    auto& device = ends_[from].stack.device();
    demand(device.oversized() == 0, "packets fit the MTU");
    const bool any = device.sent() != 0;
    for (; device.sent() != 0; device.drop_front()) {
      const Bytes packet = device.front();
      fuzz::trace(now_, "sent", packet);
      const auto ip = Ipv4Parser{}(packet);
      demand(bool{ip}, "what is sent is a packet");
      const auto segment = parse_tcp(ip->payload, ip->header.src, ip->header.dst);
      demand(bool{segment}, "what is sent is a segment");
      ends_[from].watch.sent(*segment, ends_[from].scale);
      const std::uint32_t place = segment->seq.value() - ends_[from].watch.iss().value() - 1;
      demand(fuzz::is_pattern(place, segment->payload), "what is sent is what was written");
      transmit(1 - from, packet);
    }
    return any;
  }

  void transmit(std::size_t to, Bytes packet) {
    std::vector<std::byte> bytes(packet.begin(), packet.end());
    Duration delay = 1ms;
    const std::uint8_t fate = script_.byte();
    switch (fate % 16) {
      case 1:
      case 2:
        return;  // lost
      case 3:
        way_.emplace(now_ + delay + Duration{1ms} * (fate >> 4), std::pair{to, bytes});
        break;  // doubled
      case 4:
      case 5:
        delay += (fate >> 4) * Duration{20ms};  // overtaken
        break;
      case 6:
        bytes[script_.word() % bytes.size()] ^= std::byte{1} << (fate >> 4 & 7);
        break;  // damaged, which checksums find
      default:
        break;
    }
    way_.emplace(now_ + delay, std::pair{to, std::move(bytes)});
  }

  // ---- the end

  [[nodiscard]] bool finished() const {
    return std::ranges::all_of(ends_, [this](const End& end) {
      const End& other = &end == &ends_[0] ? ends_[1] : ends_[0];
      return end.opened && end.received == other.to_send && end.connection.at_end() &&
             end.connection.unacknowledged_bytes() == 0 && end.sent == end.to_send &&
             (end.connection.state() == TcpState::closed ||
              end.connection.state() == TcpState::time_wait);
    });
  }
  [[nodiscard]] bool idle() {
    return way_.empty() && std::ranges::all_of(ends_, [](End& end) {
             return end.stack.idle() && end.stack.stats().gauges.time_wait == 0;
           });
  }

  Script& script_;
  std::array<End, 2> ends_;
  FuzzStack::Listener listener_;
  Instant now_{1s};
  std::multimap<Instant, std::pair<std::size_t, std::vector<std::byte>>> way_;
  int restless_ = 0;
  int stuck_ = 0;
  bool simultaneous_ = false;
  bool leaving_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script{data, size};
  World{script}.run();
  return 0;
}
