// SPDX-License-Identifier: BSL-1.0
// An echo server (RFC 862) on a TUN device, with its own epoll loop: zero-copy reads, back-pressure, orderly shutdown.

#include <tunic/device/trace_device.hpp>
#include <tunic/tunic.hpp>
#include <tunic/wire/text.hpp>

#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <string>
#include <string_view>
#include <system_error>

namespace {

constexpr const char* usage =
    R"(usage: echo_server [--tun NAME] [--host CIDR] [--address IP] [--port N] [--trace]
  --tun NAME      the TUN device, made if it does not exist (tun%d: the kernel numbers it)
  --host CIDR     the kernel's address on it with its prefix (10.99.0.1/24), or "none": leave it as it is
  --address IP    the address to answer on, another one of that prefix (10.99.0.2)
  --port N        the port (7)
  --trace         print every packet
SIGINT and SIGTERM close all connections and end the server.
)";

struct Settings {
  std::string tun = "tun%d", host = "10.99.0.1/24", address = "10.99.0.2";
  std::uint16_t port = 7;
  bool trace = false;
};

Settings parse(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (option == "--trace") {
      settings.trace = true;
      continue;
    }
    if (option == "--tun") settings.tun = value;
    else if (option == "--host") settings.host = value;
    else if (option == "--address") settings.address = value;
    else if (option == "--port") settings.port = static_cast<std::uint16_t>(std::atoi(value));
    else {
      std::fputs(usage, option == "--help" ? stdout : stderr);
      std::exit(option == "--help" ? 0 : 2);
    }
    ++i;
  }
  return settings;
}

struct Peer {
  tunic::TcpConnection connection;
  std::list<Peer>::iterator self;
};

// Sends back what has come; what the send queue does not take stays unread, and so closes the window.
void echo(tunic::TcpConnection& peer) {
  for (tunic::Bytes view = peer.readable(); !view.empty(); view = peer.readable()) {
    const std::size_t taken = peer.send(view).bytes;
    peer.consume(taken);
    if (taken < view.size()) return;
  }
  if (peer.at_end()) peer.close();
}

template <class D>
void run(D device, const Settings& settings, int signals) {
  tunic::Stack stack{std::move(device), {.addresses = {*tunic::IpAddress::parse(settings.address)}}};
  auto listener = stack.listen({.port = settings.port, .backlog = 1024, .syn_backlog = 1024});
  const int loop = epoll_create1(0), tun = stack.device().native_handle();
  for (const int fd : {tun, signals}) {
    epoll_event wanted{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &wanted);
  }
  std::list<Peer> peers;
  const tunic::SteadyClock clock;
  for (bool open = true; open || !stack.idle();) {
    epoll_event wanted{.events = EPOLLIN | (stack.device().wants_write() ? EPOLLOUT : 0U), .data = {.fd = tun}}, ready{};
    epoll_ctl(loop, EPOLL_CTL_MOD, tun, &wanted);
    const int count = epoll_wait(loop, &ready, 1, stack.wait_ms(clock.now()));
    const tunic::Instant now = clock.now();
    if (count == 1 && ready.data.fd == signals) {
      if (!open) return;  // asked twice
      open = false;
      epoll_ctl(loop, EPOLL_CTL_DEL, signals, nullptr);
      stack.shutdown(now);
    }
    stack.poll(now);
    while (auto accepted = listener.accept()) {
      Peer& peer = peers.emplace_front(std::move(*accepted));
      peer.self = peers.begin();
      peer.connection.set_user_data(&peer);
    }
    while (const auto event = stack.next_event()) {
      Peer& peer = *static_cast<Peer*>(event->user_data);
      echo(peer.connection);
      if (peer.connection.state() == tunic::TcpState::closed || peer.connection.at_end()) peers.erase(peer.self);
    }
    stack.flush(now);
  }
}

void print(const tunic::TracedPacket& packet) { std::printf("%s\n", tunic::to_text(packet.bytes).c_str()); }
}  // namespace

int main(int argc, char** argv) try {
  const Settings settings = parse(argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  sigprocmask(SIG_BLOCK, &ending, nullptr);
  const int signals = signalfd(-1, &ending, SFD_CLOEXEC);
  tunic::TunOptions options{.name = settings.tun};
  if (settings.host != "none") options.host_address = tunic::IpCidr::parse(settings.host);
  auto tun = tunic::TunDevice::open(options);
  std::printf("echo: %s port %d on %s\n", settings.address.c_str(), settings.port, std::string{tun.name()}.c_str());
  if (settings.trace) run(tunic::TraceDevice{std::move(tun), print}, settings, signals);
  else run(std::move(tun), settings, signals);
} catch (const std::system_error& error) {
  std::fprintf(stderr, "echo_server: %s\n", error.what());
  return 1;
}
