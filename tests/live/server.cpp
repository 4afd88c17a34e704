// SPDX-License-Identifier: BSL-1.0

// The program that the live tests talk to: services on a TUN device, and commands on its standard
// input, each answered by one line of JSON on its standard output.
//
//   port 7    echoes, port 9 discards, port 13 says a line and closes first
//   stats     counters and gauges of the stack
//   connect ADDRESS PORT BYTES
//             connects, sends so many bytes, half-closes, expects them back; answered when it is
//             over
//
// It ends with its standard input, and then resets what is open. With `plain` as its last argument
// it asks the device for no offload.

#include <tunic/tunic.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <poll.h>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using Host = tunic::Stack<tunic::TunDevice>;

enum class Service : std::uint8_t { echo = 7, discard = 9, line = 13, caller };

struct Peer {
  tunic::TcpConnection connection;
  Service service;
  std::size_t sent = 0, received = 0, wanted = 0;  // of the caller
  bool as_sent = true;
  std::list<Peer>::iterator self{};
};

// The byte of the caller's stream at an offset. Its period is prime, so no block is like the next.
char pattern(std::size_t offset) { return static_cast<char>(offset % 251); }

class Server {
 public:
  Server(tunic::TunDevice device, tunic::StackConfig config)
      : stack_{std::move(device), std::move(config)} {
    for (const Service service : {Service::echo, Service::discard, Service::line}) {
      listeners_.emplace_back(service, stack_.listen({.port = static_cast<std::uint16_t>(service),
                                                      .backlog = 1024,
                                                      .syn_backlog = 1024}));
    }
  }

  void run() {
    const tunic::SteadyClock clock;
    for (bool open = true; open;) {
      const bool blocked = stack_.device().wants_write();
      std::array<pollfd, 2> waiting{
          pollfd{stack_.device().native_handle(),
                 static_cast<short>(blocked ? POLLIN | POLLOUT : POLLIN), 0},
          pollfd{STDIN_FILENO, POLLIN, 0}};
      poll(waiting.data(), waiting.size(), stack_.wait_ms(clock.now()));
      const tunic::Instant now = clock.now();
      stack_.poll(now);
      if (waiting[1].revents != 0) open = read_commands();
      accept();
      while (const auto event = stack_.next_event()) serve(*static_cast<Peer*>(event->user_data));
      stack_.flush(now);
    }
  }

 private:
  // ---- services

  Peer& add(tunic::TcpConnection connection, Service service) {
    Peer& peer = peers_.emplace_front(Peer{std::move(connection), service});
    peer.self = peers_.begin();
    peer.connection.set_user_data(&peer);
    return peer;
  }

  void accept() {
    for (auto& [service, listener] : listeners_) {
      while (auto accepted = listener.accept()) {
        if (service == Service::line) {
          accepted->send(tunic::as_bytes("the first one to close is me\n"));
        } else {
          add(std::move(*accepted), service);
        }
      }
    }
  }

  void serve(Peer& peer) {
    if (peer.service == Service::echo) (void)peer.connection.splice(peer.connection);
    if (peer.service == Service::discard) peer.connection.consume(peer.connection.readable_bytes());
    if (peer.service == Service::caller) call(peer);
    const bool dead = peer.connection.state() == tunic::TcpState::closed;
    if (!dead && !peer.connection.at_end()) return;
    if (peer.service == Service::caller) report_call(peer);
    peers_.erase(peer.self);
  }

  static void call(Peer& peer) {
    std::string block(std::size_t{16} * 1024, '\0');
    while (peer.sent < peer.wanted) {
      const std::size_t size = std::min(block.size(), peer.wanted - peer.sent);
      for (std::size_t i = 0; i < size; ++i) block[i] = pattern(peer.sent + i);
      const auto part = std::string_view{block}.substr(0, size);
      const std::size_t taken = peer.connection.send(tunic::as_bytes(part)).bytes;
      peer.sent += taken;
      if (taken < size) break;
    }
    if (peer.sent == peer.wanted) peer.connection.shutdown_send();
    for (auto view = peer.connection.readable(); !view.empty(); view = peer.connection.readable()) {
      for (const char byte : tunic::as_text(view))
        peer.as_sent = peer.as_sent && byte == pattern(peer.received++);
      peer.connection.consume(view.size());
    }
  }

  static void report_call(const Peer& peer) {
    const tunic::Errc error = peer.connection.error();
    std::printf(R"({"error": "%s", "received": %zu, "as_sent": %s})"
                "\n",
                error == tunic::Errc::none ? "" : message(error), peer.received,
                peer.as_sent && peer.received == peer.wanted ? "true" : "false");
  }

  // ---- commands

  // False at the end of the input.
  bool read_commands() {
    char buffer[4096];
    const ssize_t count = read(STDIN_FILENO, buffer, sizeof buffer);
    if (count <= 0) return false;
    input_.append(buffer, static_cast<std::size_t>(count));
    for (auto end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
      execute(input_.substr(0, end));
      input_.erase(0, end + 1);
    }
    return true;
  }

  void execute(const std::string& command) {
    char address[64];
    std::uint16_t port = 0;
    std::size_t bytes = 0;
    if (command == "stats") {
      report_stats();
    } else if (std::sscanf(command.c_str(), "connect %63s %hu %zu", address, &port, &bytes) == 3) {
      const tunic::Endpoint remote{*tunic::IpAddress::parse(address), port};
      add(stack_.connect({.remote = remote}), Service::caller).wanted = bytes;
    } else {
      std::printf("{}\n");
    }
  }

  using Numbers = std::vector<std::pair<const char*, std::uint64_t>>;

  void report_stats() {
    const tunic::Stats& stats = stack_.stats();
    const tunic::Gauges& gauges = stats.gauges;
    Numbers drops;
    for (std::size_t i = 0; i < tunic::drop_count; ++i) {
      if (stats.drops[i] != 0)
        drops.emplace_back(name(tunic::Drop{static_cast<std::uint8_t>(i)}), stats.drops[i]);
    }
    std::printf(R"({"gauges": %s, "ip": %s, "tcp": %s, "drops": %s})"
                "\n",
                json({{"connections", gauges.connections},
                      {"half_open", gauges.half_open},
                      {"orphans", gauges.orphans},
                      {"time_wait", gauges.time_wait},
                      {"pending_syns", gauges.pending_syns},
                      {"reassemblies", gauges.reassemblies},
                      {"buffer_bytes", gauges.buffer_bytes}})
                    .c_str(),
                json({{"super_segments_in", stats.ip.super_segments_in},
                      {"super_segments_out", stats.ip.super_segments_out}})
                    .c_str(),
                json({{"segments_in", stats.tcp.segments_in},
                      {"passive_opens", stats.tcp.passive_opens},
                      {"active_opens", stats.tcp.active_opens},
                      {"resets_in", stats.tcp.resets_in},
                      {"resets_out", stats.tcp.resets_out},
                      {"retransmissions", stats.tcp.retransmissions},
                      {"timeouts", stats.tcp.timeouts},
                      {"tail_probes", stats.tcp.tail_probes},
                      {"path_mtu_reports", stats.tcp.path_mtu_reports},
                      {"black_holes", stats.tcp.black_holes}})
                    .c_str(),
                json(drops).c_str());
  }

  static std::string json(const Numbers& numbers) {
    std::string text;
    for (const auto& [key, value] : numbers) {
      text += (text.empty() ? "{\"" : ", \"") + std::string{key} + "\": " + std::to_string(value);
    }
    return text.empty() ? "{}" : text + "}";
  }

  Host stack_;
  std::vector<std::pair<Service, tunic::TcpListener>> listeners_;
  std::list<Peer> peers_;
  std::string input_;
};

}  // namespace

int main(int argc, char** argv) try {
  const bool plain = argc == 6 && std::string_view{argv[5]} == "plain";
  if (argc != 5 && !plain) {
    std::fprintf(stderr, "usage: tunic_live_server TUN HOST_CIDR ADDRESS MSL_MS [plain]\n");
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  // A queue in which no reset is lost: nobody would repeat it.
  auto tun = tunic::TunDevice::open({.name = argv[1],
                                     .offload = !plain,
                                     .host_address = tunic::IpCidr::parse(argv[2]),
                                     .queue_packets = 10'000});
  tunic::StackConfig config{.addresses = {*tunic::IpAddress::parse(argv[3])}};
  config.tcp.msl = std::chrono::milliseconds{std::atoi(argv[4])};
  Server server{std::move(tun), std::move(config)};
  std::printf("{}\n");  // ready
  server.run();
} catch (const std::system_error& error) {
  std::fprintf(stderr, "tunic_live_server: %s\n", error.what());
  return 1;
}
