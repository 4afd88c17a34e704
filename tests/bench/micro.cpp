// SPDX-License-Identifier: BSL-1.0

// The parts of the way of a packet, one by one, with Google Benchmark. The column `ratio` is the
// cost beside a chore with the same bytes (with a segment of 1460 bytes where there are none),
// which the name tells: copying, or summing with the plainest code.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/byte_queue.hpp>
#include <tunic/base/slab.hpp>
#include <tunic/base/timing_wheel.hpp>
#include <tunic/tcp/flow_table.hpp>
#include <tunic/testing/segment.hpp>
#include <tunic/wire/checksum.hpp>
#include <tunic/wire/ipv4.hpp>
#include <tunic/wire/tcp.hpp>

#include <algorithm>
#include <benchmark/benchmark.h>
#include <chrono>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

namespace {

using namespace tunic;

constexpr std::size_t segment_bytes = 1460;

std::vector<std::byte> some_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  std::minstd_rand chance;
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(chance());
  return bytes;
}

// ---- chores

class Copying {
 public:
  explicit Copying(std::size_t count) : from_{some_bytes(count)} {}
  void operator()() {
    std::memcpy(to_.data(), from_.data(), from_.size());
    benchmark::DoNotOptimize(to_.data());
    benchmark::ClobberMemory();
  }

 private:
  std::vector<std::byte> from_;
  std::vector<std::byte> to_ = from_;
};

// 32-bit words into 64 bits, which is how one would write it.
class Summing {
 public:
  explicit Summing(std::size_t count) : bytes_{some_bytes(count / 4 * 4)} {}
  void operator()() const {
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < bytes_.size(); at += 4) {
      std::uint32_t word = 0;
      std::memcpy(&word, &bytes_[at], sizeof word);
      sum += word;
    }
    benchmark::DoNotOptimize(sum);
  }

 private:
  std::vector<std::byte> bytes_;
};

// ---- the comparison

template <class Work>
double ns_of(Work& work, int times) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < times; ++i) work();
  return std::chrono::duration<double, std::nano>{std::chrono::steady_clock::now() - begin}
             .count() /
         times;
}

// Both by turns; the median of their ratios.
template <class Work, class Chore>
void run(benchmark::State& state, Work& work, Chore chore) {
  for ([[maybe_unused]] auto unused : state) work();
  std::vector<double> ratios(25);
  for (double& ratio : ratios) {
    const double ns = ns_of(work, 2000);
    ratio = ns / ns_of(chore, 2000);
  }
  const auto middle = ratios.begin() + 12;
  std::nth_element(ratios.begin(), middle, ratios.end());
  state.counters["ratio"] = *middle;
}

// ---- the parts

void checksum_vs_copying(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const auto bytes = some_bytes(count);
  const auto work = [&] { benchmark::DoNotOptimize(checksum(bytes)); };
  run(state, work, Copying{count});
}
BENCHMARK(checksum_vs_copying)->Arg(64)->Arg(segment_bytes)->Arg(65'536);

void checksum_vs_summing(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const auto bytes = some_bytes(count);
  const auto work = [&] { benchmark::DoNotOptimize(checksum(bytes)); };
  run(state, work, Summing{count});
}
BENCHMARK(checksum_vs_summing)->Arg(64)->Arg(segment_bytes)->Arg(65'536);

std::vector<std::byte> data_packet() {
  return testing::segment({"10.0.0.1"_ip, 1000}, {"10.0.0.2"_ip, 7})
      .seq(1)
      .ack(1)
      .timestamps(1, 1)
      .payload(some_bytes(segment_bytes))
      .packet();
}

// IPv4 with its checksum and TCP with options; the payload is summed where `verify` is set.
template <bool verify>
void parse(const std::vector<std::byte>& bytes) {
  const auto ip = Ipv4Parser{}(bytes);
  if (!ip) std::abort();
  if constexpr (verify) {
    const auto tcp = parse_tcp(ip->payload, ip->header.src, ip->header.dst);
    if (!tcp) std::abort();
    benchmark::DoNotOptimize(tcp->seq);
  } else {
    const auto tcp = parse_tcp_unverified(ip->payload);
    if (!tcp) std::abort();
    benchmark::DoNotOptimize(tcp->seq);
  }
}

void parse_headers_vs_copying(benchmark::State& state) {
  const auto bytes = data_packet();
  const auto work = [&] { parse<false>(bytes); };
  run(state, work, Copying{segment_bytes});
}
BENCHMARK(parse_headers_vs_copying);

void parse_and_verify_vs_summing(benchmark::State& state) {
  const auto bytes = data_packet();
  const auto work = [&] { parse<true>(bytes); };
  run(state, work, Summing{segment_bytes});
}
BENCHMARK(parse_and_verify_vs_summing);

struct Flow {
  FlowKey key;
};

void flow_table_find_vs_copying(benchmark::State& state) {
  const auto count = static_cast<std::uint32_t>(state.range(0));
  BlockPool pool{std::size_t{256} << 20};
  Slab<Flow> slab{pool, count};
  FlowTable<Flow> table{slab, SipKey{1, 2}, count};
  std::vector<FlowKey> keys;
  for (std::uint32_t i = 0; i < count; ++i) {
    keys.push_back({.local = "10.0.0.2"_ip,
                    .remote = IpAddress::v4(0x0a010000 + i / 50'000),
                    .local_port = 7,
                    .remote_port = static_cast<std::uint16_t>(1024 + i % 50'000)});
    table.insert(slab.index_of(*slab.emplace(Flow{keys.back()})));
  }
  std::shuffle(keys.begin(), keys.end(), std::minstd_rand{});
  std::size_t next = 0;
  const auto work = [&] {
    benchmark::DoNotOptimize(table.find(keys[next]));
    next = next + 1 == keys.size() ? 0 : next + 1;
  };
  run(state, work, Copying{segment_bytes});
}
BENCHMARK(flow_table_find_vs_copying)->Arg(1)->Arg(1000)->Arg(100'000);

// Each call sets one timer of many anew, as a retransmission timer is, and lets time pass: some
// fire.
void timing_wheel_vs_copying(benchmark::State& state) {
  TimingWheel wheel{Instant{}};
  std::deque<TimerNode> timers(static_cast<std::size_t>(state.range(0)));
  std::minstd_rand chance;
  Instant now{};
  std::size_t next = 0;
  const auto work = [&] {
    now += std::chrono::microseconds{1};
    wheel.schedule(timers[next], now + std::chrono::microseconds{chance() % 300'000});
    next = next + 1 == timers.size() ? 0 : next + 1;
    benchmark::DoNotOptimize(wheel.expire(now, 16, [](TimerNode&) {}));
    benchmark::DoNotOptimize(wheel.next_deadline());
  };
  run(state, work, Copying{segment_bytes});
}
BENCHMARK(timing_wheel_vs_copying)->Arg(1)->Arg(1000)->Arg(100'000);

// In by `append`, looked at, out by `consume`: one copy, with 64 KiB waiting all the time.
void byte_queue_vs_copying(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const auto bytes = some_bytes(count);
  BlockPool pool{std::size_t{16} << 20};
  ByteQueue queue;
  while (queue.size() < 65'536) queue.append(bytes, pool);
  const auto work = [&] {
    queue.append(bytes, pool);
    Bytes view;
    benchmark::DoNotOptimize(queue.views(queue.size() - count, count, {&view, 1}));
    queue.consume(count, pool);
  };
  run(state, work, Copying{count});
  queue.clear(pool);
}
BENCHMARK(byte_queue_vs_copying)->Arg(64)->Arg(segment_bytes)->Arg(65'536);

}  // namespace

BENCHMARK_MAIN();
