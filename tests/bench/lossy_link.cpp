// SPDX-License-Identifier: BSL-1.0

// One connection over an impaired link for some seconds, in namespaces of its own; a line of JSON
// tells what came of it. The near end is always the kernel's. The far end is
//
//   tunic   Stack<FaultDevice<TunDevice>> in the near end's namespace,
//   kernel  the kernel again, in a namespace of its own, behind a relay between two TUN devices
//
// and the link is the same `Impairment`, with the same seeds. Bytes go `into` the far end or `out`
// of it. lossy_link.py makes a comparison of it.

#include "kernel_tcp.hpp"
#include "turns.hpp"
#include <tunic/device/fault_device.hpp>
#include <tunic/tunic.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <sys/resource.h>

using namespace tunic;

namespace {

constexpr const char* usage = R"(usage: lossy_link tunic|kernel into|out [option...]
  --seconds S      how long (30)
  --rate R         Mbit/s of the link, both ways (200)
  --rtt MS         round-trip time without queues; the queue is one bandwidth-delay product (50)
  --loss P         probability of a loss, both ways (0)
  --reorder P      probability that a packet is held back, up to a quarter of the RTT (0)
  --seed N         (1)
  --trace MS       prints the sender's state every so many milliseconds on standard error
)";

constexpr IpAddress near_address = "10.99.0.1"_ip;
constexpr IpAddress far_address = "10.99.0.2"_ip;
constexpr std::uint16_t discard_port = 9;
constexpr std::uint16_t source_port = 19;

struct Settings {
  bool tunic = false;
  bool into = false;
  double seconds = 30;
  double rate_mbit = 200;
  double rtt_ms = 50;
  double loss = 0;
  double reorder = 0;
  double seed = 1;
  double trace_ms = 0;

  [[nodiscard]] LinkConditions conditions(bool to_far) const {
    const Duration rtt{std::llround(rtt_ms * 1e6)};
    return {.delay = rtt / 2,
            .loss = loss,
            .reorder = reorder,
            .reorder_delay = {},
            .reorder_jitter = rtt / 4,
            .rate_bits_per_second = static_cast<std::uint64_t>(rate_mbit * 1e6),
            .queue_bytes = static_cast<std::size_t>(rate_mbit * rtt_ms * 1e3 / 8),
            .seed = 2 * static_cast<std::uint64_t>(seed) + (to_far ? 0 : 1)};
  }
};

// What a sender says of itself.
struct SenderState {
  std::uint64_t cwnd_bytes = 0;
  std::uint64_t ssthresh_bytes = 0;
  double srtt_ms = 0;
  std::uint64_t retransmissions = 0;
};

SenderState state_of(const TcpInfo& info) {
  return {info.snd_cwnd, info.snd_ssthresh, static_cast<double>(info.rtt.count()) / 1e6,
          info.total_retransmissions};
}
SenderState state_of(const tcp_info& info) {
  return {std::uint64_t{info.tcpi_snd_cwnd} * info.tcpi_snd_mss,
          std::uint64_t{info.tcpi_snd_ssthresh} * info.tcpi_snd_mss, info.tcpi_rtt / 1e3,
          info.tcpi_total_retrans};
}

// A run of a fixed length, with what the sender says meanwhile.
class Run {
 public:
  explicit Run(const Settings& settings)
      : begin_{turns_.now()}, end_{begin_ + in_ns(settings.seconds * 1e9)} {
    if (settings.trace_ms > 0) {
      step_ = in_ns(settings.trace_ms * 1e6);
      next_trace_ = begin_;
    }
  }

  // Sleeps for a turn; false when the run is over.
  template <class State>
  bool turn(std::span<pollfd> descriptors, Instant deadline, Instant due, const Impairment& link,
            State state) {
    now_ = turns_.wait(descriptors, std::min({deadline, end_, next_trace_}), due);
    if (next_trace_ <= now_) {
      const SenderState sender = state();
      std::fprintf(
          stderr, "%.3f s  cwnd %llu  ssthresh %llu  srtt %.1f ms  resent %llu  queue %zu\n",
          static_cast<double>((now_ - begin_).count()) / 1e9,
          static_cast<unsigned long long>(sender.cwnd_bytes),
          static_cast<unsigned long long>(sender.ssthresh_bytes), sender.srtt_ms,
          static_cast<unsigned long long>(sender.retransmissions), link.queued_bytes(now_));
      next_trace_ = std::max(next_trace_ + step_, now_);
    }
    return now_ < end_;
  }

  [[nodiscard]] Instant now() const noexcept { return now_; }
  [[nodiscard]] double seconds() const noexcept {
    return static_cast<double>((now_ - begin_).count()) / 1e9;
  }
  [[nodiscard]] const bench::Turns& turns() const noexcept { return turns_; }

 private:
  static Duration in_ns(double ns) noexcept { return Duration{std::llround(ns)}; }

  bench::Turns turns_;
  Instant begin_;
  Instant end_;
  Instant now_{};
  Instant next_trace_ = never;
  Duration step_{};
};

// What is known at the end of a run.
struct Outcome {
  std::uint64_t received = 0;  // bytes, by the application at the receiving end
  double seconds = 0;
  SenderState sender;
  LinkCounters link;  // in the direction of the data
  bench::Turns turns;
  std::uint64_t dropped = 0;  // by the queues of the TUN devices
};

TunDevice open_tun(const IpAddress& address) {
  // A queue in which nothing is lost: losses are the link's.
  return TunDevice::open(
      {.name = "tun0", .host_address = IpCidr{address, 24}, .queue_packets = 10'000});
}

// Buffers that hold more than the link does: 2.5 MB at 200 Mbit/s and 50 ms.
void configure_kernel() {
  bench::Namespace::set("tcp_rmem", "4096 131072 33554432");
  bench::Namespace::set("tcp_wmem", "4096 16384 33554432");
}

bench::KernelEnd connect_near(const Settings& settings) {
  return bench::KernelEnd::connect(settings.into ? bench::Role::send : bench::Role::receive,
                                   far_address.v4_bits(),
                                   settings.into ? discard_port : source_port);
}

// --- The far end is a stack.

class Services {
 public:
  explicit Services(Stack<FaultDevice<TunDevice>>& stack)
      : stack_{stack},
        discard_{stack.listen({.port = discard_port})},
        source_{stack.listen({.port = source_port})} {}

  // All that is due after `poll`. There is one connection; it is told by its local port.
  void serve() {
    while (auto accepted = discard_.accept()) connection_ = std::move(*accepted);
    while (auto accepted = source_.accept()) connection_ = std::move(*accepted);
    while (stack_.next_event()) {
      received_ += connection_.readable_bytes();
      connection_.consume(connection_.readable_bytes());
      if (connection_.local().port != source_port) continue;
      while (connection_.send(bytes_).bytes == bytes_.size()) {
      }
    }
  }

  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
  [[nodiscard]] SenderState state() const { return state_of(connection_.info()); }

 private:
  Stack<FaultDevice<TunDevice>>& stack_;
  TcpListener discard_;
  TcpListener source_;
  TcpConnection connection_;
  std::uint64_t received_ = 0;
  std::vector<std::byte> bytes_ = std::vector<std::byte>(std::size_t{64} * 1024);
};

Outcome run_tunic(const Settings& settings) {
  bench::Namespace world;
  configure_kernel();
  Stack stack{
      FaultDevice{open_tun(near_address), settings.conditions(false), settings.conditions(true)},
      {.addresses = {far_address}}};
  Services services{stack};
  const auto& device = stack.device();
  const Impairment& link = settings.into ? device.inbound() : device.outbound();
  Run run{settings};
  const bench::KernelEnd near = connect_near(settings);
  const auto sender = [&] { return settings.into ? state_of(near.info()) : services.state(); };

  pollfd tun{device.native_handle(), POLLIN, 0};
  while (run.turn({&tun, 1}, stack.next_deadline(), device.next_timeout(), link, sender)) {
    stack.poll(run.now());
    services.serve();
    stack.flush(run.now());
    tun.events = static_cast<short>(device.wants_write() ? POLLIN | POLLOUT : POLLIN);
  }
  return {.received = settings.into ? services.received() : near.received(),
          .seconds = run.seconds(),
          .sender = sender(),
          .link = link.counters(),
          .turns = run.turns(),
          .dropped = world.dropped()};
}

// --- The far end is the kernel.

// From one device through the link to the other.
class Passage {
 public:
  Passage(TunDevice& from, TunDevice& to, const LinkConditions& conditions)
      : from_{from}, to_{to}, link_{conditions} {}

  void take(Instant now, BlockPool& pool) {
    std::array<RxPacket, 64> batch;
    for (RxResult taken{.status = DeviceStatus::ok}; taken.status == DeviceStatus::ok;) {
      taken = from_.receive(batch, pool);
      for (const RxPacket& packet : std::span{batch}.first(taken.count)) {
        visit_wire_packets(packet.bytes, packet.offload, scratch_,
                           [&](Bytes bytes) { link_.push(bytes, now); });
      }
    }
  }
  void give(Instant now) {
    while (link_.pop_due(now, packet_)) {
      const Bytes bytes = packet_.bytes;
      const TxPacket packet{.pieces = {&bytes, 1}, .size_bytes = bytes.size()};
      if (to_.send({&packet, 1}).accepted != 1) throw std::runtime_error{"a device is full"};
    }
  }
  [[nodiscard]] const Impairment& link() const noexcept { return link_; }

 private:
  TunDevice& from_;
  TunDevice& to_;
  Impairment link_;
  StoredPacket packet_;
  std::vector<std::byte> scratch_;
};

Outcome run_kernel(const Settings& settings) {
  BlockPool pool{std::size_t{16} << 20};
  bench::Namespace far_world;
  configure_kernel();
  TunDevice far_tun = open_tun(far_address);
  const bench::KernelEnd far =
      bench::KernelEnd::listen(settings.into ? bench::Role::receive : bench::Role::send,
                               settings.into ? discard_port : source_port);
  bench::Namespace near_world;
  configure_kernel();
  TunDevice near_tun = open_tun(near_address);

  Passage inward{near_tun, far_tun, settings.conditions(true)};
  Passage outward{far_tun, near_tun, settings.conditions(false)};
  const Impairment& link = settings.into ? inward.link() : outward.link();
  Run run{settings};
  const bench::KernelEnd near = connect_near(settings);
  const auto sender = [&] { return state_of((settings.into ? near : far).info()); };
  const auto next_due = [&] {
    return std::min(inward.link().next_due(), outward.link().next_due());
  };

  std::array<pollfd, 2> tuns{pollfd{near_tun.native_handle(), POLLIN, 0},
                             pollfd{far_tun.native_handle(), POLLIN, 0}};
  while (run.turn(tuns, next_due(), next_due(), link, sender)) {
    for (Passage* passage : {&inward, &outward}) passage->take(run.now(), pool);
    for (Passage* passage : {&inward, &outward}) passage->give(run.now());
  }
  return {.received = (settings.into ? far : near).received(),
          .seconds = run.seconds(),
          .sender = sender(),
          .link = link.counters(),
          .turns = run.turns(),
          .dropped = near_world.dropped() + far_world.dropped()};
}

void report(const Outcome& outcome) {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto in_seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  const auto count = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  const auto in_us = [](Duration time) { return static_cast<double>(time.count()) / 1e3; };
  std::printf(R"({"mbit": %.3f, "seconds": %.3f, "resent": %llu, "packets": %llu, "lost": %llu, )"
              R"("overflowed": %llu, "reordered": %llu, "dropped": %llu, "late_us": %.1f, )"
              R"("latest_us": %.1f, "cpu": %.3f})"
              "\n",
              static_cast<double>(outcome.received) * 8 / 1e6 / outcome.seconds, outcome.seconds,
              count(outcome.sender.retransmissions), count(outcome.link.pushed),
              count(outcome.link.lost), count(outcome.link.overflowed),
              count(outcome.link.reordered), count(outcome.dropped),
              in_us(outcome.turns.mean_lateness()), in_us(outcome.turns.greatest_lateness()),
              (in_seconds(used.ru_utime) + in_seconds(used.ru_stime)) / outcome.seconds);
}

Settings parse(int argc, char** argv) {
  Settings settings;
  const std::string far = argc > 2 ? argv[1] : "";
  const std::string way = argc > 2 ? argv[2] : "";
  if ((far != "tunic" && far != "kernel") || (way != "into" && way != "out"))
    throw std::invalid_argument{usage};
  settings.tunic = far == "tunic";
  settings.into = way == "into";
  const std::pair<const char*, double Settings::*> options[] = {
      {"--seconds", &Settings::seconds}, {"--rate", &Settings::rate_mbit},
      {"--rtt", &Settings::rtt_ms},      {"--loss", &Settings::loss},
      {"--reorder", &Settings::reorder}, {"--seed", &Settings::seed},
      {"--trace", &Settings::trace_ms}};
  for (int i = 3; i < argc; i += 2) {
    const auto* option = std::ranges::find(
        options, std::string{argv[i]}, [](const auto& each) { return std::string{each.first}; });
    if (option == std::end(options) || i + 1 == argc) throw std::invalid_argument{usage};
    settings.*option->second = std::atof(argv[i + 1]);
  }
  return settings;
}

}  // namespace

int main(int argc, char** argv) try {
  const Settings settings = parse(argc, argv);
  bench::be_punctual();
  report(settings.tunic ? run_tunic(settings) : run_kernel(settings));
} catch (const std::invalid_argument& error) {
  std::fputs(error.what(), stderr);
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "lossy_link: %s\n", error.what());
  return 1;
}
