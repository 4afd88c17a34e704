// SPDX-License-Identifier: BSL-1.0
// An echo server (RFC 862) on several cores: a thread, a stack and a queue of the TUN device for
// each. Every shard listens and gets its share of the clients; each can also connect to a server
// and echo what comes from there.

#include <tunic/device/shard_device.hpp>
#include <tunic/device/tun_queues.hpp>
#include <tunic/tunic.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/epoll.h>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace tunic;

namespace {

constexpr const char* usage = R"(usage: echo_sharded [option...]
  --tun NAME      the TUN device, made unless it exists (tun%d: the kernel numbers it)
  --host CIDR     the kernel's address on it, with its prefix (10.99.0.1/24)
  --address IP    the address to answer on, another one of that prefix (10.99.0.2)
  --port N        the port to listen on (7)
  --shards N      threads (as many as there are cores)
  --dial PORT     connect to that port of the kernel's address (none)
  --dials N       so many times from each shard (1)
  --no-steering   do not ask the kernel to steer: packets that come in at the wrong queue are
                  handed from shard to shard
SIGINT and SIGTERM close all connections and end the server.
)";

struct Settings {
  std::string tun = "tun%d";
  std::optional<IpCidr> host = "10.99.0.1/24"_cidr;
  std::optional<IpAddress> address = "10.99.0.2"_ip;
  std::uint16_t port = 7;
  std::uint16_t shards =
      static_cast<std::uint16_t>(std::max(1U, std::thread::hardware_concurrency()));
  std::uint16_t dial = 0;
  std::uint16_t dials = 1;
};

// Takes an option with its value; false if it can't have that value.
bool take(Settings& settings, const std::string& option, const std::string& value) {
  if (option == "--tun") return !(settings.tun = value).empty();
  if (option == "--host") return (settings.host = IpCidr::parse(value)).has_value();
  if (option == "--address") return (settings.address = IpAddress::parse(value)).has_value();
  std::uint16_t* const number = option == "--port"     ? &settings.port
                                : option == "--shards" ? &settings.shards
                                : option == "--dial"   ? &settings.dial
                                : option == "--dials"  ? &settings.dials
                                                       : nullptr;
  if (number == nullptr) throw std::invalid_argument{"there is no " + option + ", see --help"};
  *number = static_cast<std::uint16_t>(std::atoi(value.c_str()));
  return *number != 0 && std::to_string(*number) == value;
}

// What the threads of this program share, beside the queues inside of their devices.
struct Ending {
  std::atomic<bool> wanted{false};
  std::atomic<std::size_t> busy;  // shards that have connections; each reads its queue until none
};

using Shard = ShardDevice<TunDevice>;

// One shard, from its beginning to its end. Everything in here belongs to this thread.
void serve(Shard device, const Settings& settings, Ending& ending) {
  Stack stack{std::move(device), {.addresses = {*settings.address}}};
  TcpListener listener = stack.listen({.port = settings.port, .backlog = 1024});
  std::unordered_map<std::uint32_t, TcpConnection> peers;  // by their slots in the stack
  std::size_t served = 0, resets = 0;
  const auto keep = [&](TcpConnection peer) {
    ++served;
    const std::uint32_t slot = peer.id().slot;
    peers.insert_or_assign(slot, std::move(peer));
  };
  for (unsigned i = 0; settings.dial != 0 && i < settings.dials; ++i) {
    keep(stack.connect({.remote = {settings.host->address, settings.dial}}));
  }

  const int loop = epoll_create1(EPOLL_CLOEXEC);
  const int tun = stack.device().native_handle();
  const int wake = stack.device().wake_handle();  // other shards have a packet for this one
  for (const int fd : {tun, wake}) {
    epoll_event wanted{.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
    if (fd == tun) wanted.events |= EPOLLOUT;
    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &wanted);
  }
  const SteadyClock clock;
  bool open = true, idle = false;
  while (!idle || ending.busy != 0) {
    constexpr int look_up_ms = 100;  // whether the end is wanted
    const int wait_ms = stack.wait_ms(clock.now());
    epoll_event ready{};
    epoll_wait(loop, &ready, 1, wait_ms < 0 ? look_up_ms : std::min(wait_ms, look_up_ms));
    const Instant now = clock.now();
    stack.poll(now);
    if (stack.device_status() == DeviceStatus::failed) throw std::runtime_error{"TUN device gone"};
    while (auto peer = listener.accept()) keep(std::move(*peer));
    while (const auto event = stack.next_event()) {
      TcpConnection& peer = peers.at(event->id.slot);
      (void)peer.splice(peer);
      if (peer.error() != Errc::none) ++resets;
      if (peer.at_end() || peer.error() != Errc::none) peers.erase(event->id.slot);
    }
    if (ending.wanted && std::exchange(open, false)) stack.shutdown(now);
    stack.flush(now);
    if (!open && stack.idle() && !std::exchange(idle, true)) --ending.busy;
  }
  const ShardCounters& counters = stack.device().counters();
  std::printf(
      "shard %zu: %zu connections, %zu failed, %llu resets sent; strays: %llu sent, %llu "
      "dropped, %llu received\n",
      stack.device().shard(), served, resets,
      static_cast<unsigned long long>(stack.stats().tcp.resets_out),
      static_cast<unsigned long long>(counters.strays_sent),
      static_cast<unsigned long long>(counters.strays_dropped),
      static_cast<unsigned long long>(counters.strays_received));
}

void serve_or_end(Shard device, const Settings& settings, Ending& ending) try {
  serve(std::move(device), settings, ending);
} catch (const std::exception& error) {
  std::fprintf(stderr, "echo_sharded: %s\n", error.what());
  std::_Exit(1);  // the other shards would wait for this one
}

}  // namespace

int main(int argc, char** argv) try {
  Settings settings;
  bool steer = true;
  for (int i = 1; i < argc; ++i) {
    std::string option = argv[i];
    if (option == "--help") return std::fputs(usage, stdout) < 0;
    if (option == "--no-steering") {
      steer = false;
      continue;
    }
    const std::string value = ++i < argc ? argv[i] : "";
    if (take(settings, option, value)) continue;
    throw std::invalid_argument{option.append(" can't be '").append(value).append("'")};
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // in all threads

  TunQueues queues = TunQueues::open({.name = settings.tun, .host_address = settings.host},
                                     settings.shards, steer);
  const std::error_code refusal{queues.failure.error_number, std::generic_category()};
  const std::string steering = queues.steered ? "steered by the kernel"
                               : steer        ? "not steered: " + refusal.message()
                                              : "not steered";
  std::printf("echo: %s port %d on %s, %d shards, %s\n", settings.address->to_string().c_str(),
              settings.port, queues.devices[0].name().data(), settings.shards, steering.c_str());
  Ending ending{.busy = settings.shards};
  std::vector<std::thread> threads;
  for (Shard& shard : make_shards(std::move(queues.devices), queues.key)) {
    threads.emplace_back(
        [&settings, &ending](Shard own) { serve_or_end(std::move(own), settings, ending); },
        std::move(shard));
  }
  int signal = 0;
  sigwait(&signals, &signal);
  ending.wanted = true;
  for (std::thread& thread : threads) thread.join();
} catch (const std::exception& error) {
  std::fprintf(stderr, "echo_sharded: %s\n", error.what());
  return 1;
}
