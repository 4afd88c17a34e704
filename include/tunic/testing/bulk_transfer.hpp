// SPDX-License-Identifier: BSL-1.0
#pragma once

// Transfers through one bottleneck in virtual time: any number of connections from a sending stack
// to a receiving one over the same `Link`, each as fast as its congestion control lets it. What
// simulations of loss recovery and congestion control are made of.

#include <tunic/base/time.hpp>
#include <tunic/core/options.hpp>
#include <tunic/device/impairment.hpp>
#include <tunic/device/mock_device.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/tcp/traits.hpp>
#include <tunic/testing/link.hpp>
#include <tunic/wire/address.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace tunic::inline v0::testing {

/// One connection of a `BulkTransfer`.
struct FlowPlan {
  Duration start{};  ///< After the beginning of the transfer.
  std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max();  ///< How much; default: endless.
};

/// What is transferred, over which link. Buffers are larger than most links hold.
struct BulkPlan {
  LinkConditions there{};  ///< For data.
  LinkConditions back{};   ///< For acknowledgements.
  std::vector<FlowPlan> flows{FlowPlan{}};
  Duration interval = std::chrono::seconds{1};  ///< Of `Flow::delivered_at`.
  TcpConfig sender_tcp{};
  TcpConfig receiver_tcp{};
  ConnectionOptions sender{.send_buffer = 48U << 20};
  ConnectionOptions receiver{.receive_buffer = 48U << 20};
  std::size_t memory_budget = std::size_t{1} << 30;  ///< Of each stack.
};

/// The world of one simulation. The same plan gives the same run. Not movable.
template <class Traits = DefaultTraits>
class BulkTransfer {
 public:
  using StackType = Stack<MockDevice, Traits>;
  using Connection = BasicTcpConnection<Traits>;

  struct Flow {
    FlowPlan plan;
    Connection source{};
    Connection sink{};
    std::uint64_t written = 0;
    std::uint64_t delivered = 0;                ///< Bytes that the receiving program has read.
    std::vector<std::uint64_t> delivered_at{};  ///< The same at the end of each interval.
    std::optional<Duration> finished{};  ///< When the last byte was read, since the beginning.
  };

  explicit BulkTransfer(const BulkPlan& plan)
      : plan_{plan},
        sender_{MockDevice{}, stack_config(IpAddress::v4(10, 0, 0, 1), 1, plan, plan.sender_tcp)},
        receiver_{MockDevice{}, stack_config(receiver_address, 2, plan, plan.receiver_tcp)},
        link_{sender_, receiver_, clock_, plan.there, plan.back},
        listener_{receiver_.listen({.port = port, .connection = plan.receiver})},
        begin_{clock_.now()} {
    for (const FlowPlan& flow : plan.flows) flows_.push_back({.plan = flow});
  }

  /// `a` sends data.
  [[nodiscard]] Link<StackType, StackType>& link() noexcept { return link_; }
  [[nodiscard]] const std::deque<Flow>& flows() const noexcept { return flows_; }
  [[nodiscard]] StackType& sender() noexcept { return sender_; }
  [[nodiscard]] StackType& receiver() noexcept { return receiver_; }
  [[nodiscard]] Instant now() const noexcept { return clock_.now(); }
  /// Since the beginning.
  [[nodiscard]] Duration elapsed() const noexcept { return clock_.now() - begin_; }
  [[nodiscard]] bool all_finished() const noexcept {
    return std::ranges::all_of(flows_, [](const Flow& flow) { return flow.finished.has_value(); });
  }

  /// Lets everything run for so long, or until all flows have finished. `each_turn` is called at
  /// every instant at which something happens. Returns whether all flows have finished.
  template <class EachTurn>
  bool run_for(Duration time, EachTurn&& each_turn) {
    const Instant end = clock_.now() + time;
    while (clock_.now() < end && !all_finished()) {
      start_flows();
      link_.run_until(
          [&] {
            turn();
            each_turn();
            return all_finished();
          },
          next_boundary(end) - clock_.now());
      if ((elapsed() % plan_.interval).count() == 0) {
        for (Flow& flow : flows_) flow.delivered_at.push_back(flow.delivered);
      }
    }
    return all_finished();
  }
  bool run_for(Duration time) {
    return run_for(time, [] {});
  }

 private:
  static constexpr std::uint16_t port = 9;
  static constexpr IpAddress receiver_address = IpAddress::v4(10, 0, 0, 2);

  static StackConfig stack_config(const IpAddress& address, std::uint64_t seed,
                                  const BulkPlan& plan, const TcpConfig& tcp) {
    StackConfig config;
    config.addresses = {address};
    config.seed = SipKey{seed, seed};
    config.memory_budget = plan.memory_budget;
    config.tcp = tcp;
    config.tcp.max_connections = 64;
    config.tcp.max_time_wait = 64;
    return config;
  }

  void start_flows() {
    for (Flow& flow : flows_) {
      if (flow.source || elapsed() < flow.plan.start) continue;
      flow.source =
          sender_.connect({.remote = {receiver_address, port}, .connection = plan_.sender});
    }
  }

  // The next end of an interval or start of a flow.
  Instant next_boundary(Instant end) const {
    end = std::min(end, begin_ + (elapsed() / plan_.interval + 1) * plan_.interval);
    for (const Flow& flow : flows_) {
      if (!flow.source) end = std::min(end, begin_ + flow.plan.start);
    }
    return end;
  }

  void turn() {
    while (auto accepted = listener_.accept()) {
      for (Flow& flow : flows_) {
        if (flow.source.local() == accepted->remote()) flow.sink = std::move(*accepted);
      }
    }
    for (Flow& flow : flows_) {
      write(flow);
      read(flow);
    }
  }

  void write(Flow& flow) {
    // In large pieces: the sender's buffer holds more than the link.
    while (flow.written < flow.plan.bytes) {
      const std::size_t size =
          std::min<std::uint64_t>(block_.size(), flow.plan.bytes - flow.written);
      if (flow.source.send_room() < size) return;
      const std::size_t taken = flow.source.send(Bytes{block_}.first(size)).bytes;
      flow.written += taken;
      if (taken < size) return;
    }
  }

  void read(Flow& flow) {
    const std::size_t size = flow.sink.readable_bytes();
    flow.sink.consume(size);
    flow.delivered += size;
    if (flow.delivered == flow.plan.bytes && !flow.finished) flow.finished = elapsed();
  }

  BulkPlan plan_;
  ManualClock clock_;
  StackType sender_;
  StackType receiver_;
  Link<StackType, StackType> link_;
  BasicTcpListener<Traits> listener_;
  Instant begin_;
  std::deque<Flow> flows_;
  std::vector<std::byte> block_ = std::vector<std::byte>(64 << 10);
};

}  // namespace tunic::inline v0::testing
