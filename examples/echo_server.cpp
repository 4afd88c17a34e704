// SPDX-License-Identifier: BSL-1.0
// An echo server (RFC 862) on a TUN device, in an epoll loop: no copies, back-pressure, orderly
// end.

#include <tunic/device/trace_device.hpp>
#include <tunic/tunic.hpp>
#include <tunic/wire/text.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <unordered_map>

using namespace tunic;

namespace {

constexpr const char* usage = R"(usage: echo_server [option...]
  --tun NAME      the TUN device, made unless it exists (tun%d: the kernel numbers it)
  --host CIDR     the kernel's address on it, with its prefix (10.99.0.1/24)
  --address IP    the address to answer on, another one of that prefix (10.99.0.2)
  --port N        the port to listen on (7)
  --busy-poll US  look for packets so many microseconds after the last one before sleeping (0)
  --trace         print every packet
SIGINT and SIGTERM close all connections and end the server; a second one ends it at once.
)";

struct Settings {
  std::string tun = "tun%d";
  std::optional<IpCidr> host = "10.99.0.1/24"_cidr;
  std::optional<IpAddress> address = "10.99.0.2"_ip;
  std::uint16_t port = 7;
  std::chrono::microseconds busy_poll{};
  bool trace = false;
};

// Takes an option with its value; false if it can't have that value.
bool take(Settings& settings, const std::string& option, const std::string& value) {
  if (option == "--tun") return !(settings.tun = value).empty();
  if (option == "--host") return (settings.host = IpCidr::parse(value)).has_value();
  if (option == "--address") return (settings.address = IpAddress::parse(value)).has_value();
  const int number = std::atoi(value.c_str());
  const bool natural = number >= 0 && std::to_string(number) == value;
  if (option == "--busy-poll") {
    settings.busy_poll = std::chrono::microseconds{number};
    return natural;
  }
  if (option != "--port") throw std::invalid_argument{"there is no " + option + ", see --help"};
  settings.port = static_cast<std::uint16_t>(number);
  return natural && settings.port != 0 && settings.port == number;
}

// Sends back what has come. What the send queue does not take stays unread: the window closes.
void echo(TcpConnection& peer) { (void)peer.splice(peer); }

template <class Device>
void run(Device device, const Settings& settings, int signals) {
  Stack stack{std::move(device), {.addresses = {*settings.address}}};
  TcpListener listener = stack.listen({.port = settings.port, .backlog = 1024});
  const int loop = epoll_create1(EPOLL_CLOEXEC);
  // Edges are enough: the stack asks for another turn, by `wait_ms`, until the device has no more.
  for (const int fd : {stack.device().native_handle(), signals}) {
    epoll_event wanted{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.fd = fd}};
    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &wanted);
  }
  std::unordered_map<std::uint32_t, TcpConnection> peers;  // by their slots in the stack
  const SteadyClock clock;
  Instant busy_until{};
  for (bool open = true; open || !stack.idle();) {
    epoll_event ready{};
    const bool busy = clock.now() < busy_until;
    epoll_wait(loop, &ready, 1, busy ? 0 : stack.wait_ms(clock.now()));
    const Instant now = clock.now();
    if (stack.poll(now).packets != 0) busy_until = now + settings.busy_poll;
    if (stack.device_status() == DeviceStatus::failed) throw std::runtime_error{"TUN device gone"};
    while (auto peer = listener.accept()) peers.emplace(peer->id().slot, std::move(*peer));
    while (const auto event = stack.next_event()) {
      TcpConnection& peer = peers.at(event->id.slot);
      echo(peer);
      if (peer.at_end() || peer.error() != Errc::none) peers.erase(event->id.slot);
    }
    if (signalfd_siginfo info; ready.data.fd == signals && read(signals, &info, sizeof info) > 0) {
      if (!std::exchange(open, false)) return;
      stack.shutdown(now);
    }
    stack.flush(now);
  }
}

void print(const TracedPacket& packet) { std::puts(to_text(packet.bytes).c_str()); }

}  // namespace

int main(int argc, char** argv) try {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    std::string option = argv[i];
    if (option == "--help") return std::fputs(usage, stdout) < 0;
    if (option == "--trace" && (settings.trace = true)) continue;
    const std::string value = ++i < argc ? argv[i] : "";
    if (take(settings, option, value)) continue;
    throw std::invalid_argument{option.append(" can't be '").append(value).append("'")};
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  sigset_t ending;
  sigemptyset(&ending);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&ending, signal);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  const int signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
  auto tun = TunDevice::open({.name = settings.tun, .host_address = settings.host});
  const std::string address = settings.address->to_string();
  std::printf("echo: %s port %d on %s\n", address.c_str(), settings.port, tun.name().data());
  settings.trace ? run(TraceDevice{std::move(tun), print}, settings, signals)
                 : run(std::move(tun), settings, signals);
} catch (const std::exception& error) {
  std::fprintf(stderr, "echo_server: %s\n", error.what());
  return 1;
}
