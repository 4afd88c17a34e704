// SPDX-License-Identifier: BSL-1.0

// The load: kernel sockets, one thread. Prints one line of JSON. See usage below. (More than 400
// lines because the loads stand together with the few things that all of them do.)

#include "../kernel_tcp.hpp"
#include "services.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <filesystem>
#include <linux/sockios.h>
#include <poll.h>
#include <stdexcept>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace {

using bench::must;

constexpr const char* usage = R"(usage: client LOAD ADDRESS [option...]
loads
  in        sends to the discard port; counts what was acknowledged
  out       reads from the source port
  echo      sends to the echo port and reads, as fast as both go; verifies every byte
  exchange  sends a byte to the echo port and waits for it, on each connection
  connect   connects, exchanges a byte and closes, over and over
options
  --connections N   at a time, for exchange and connect (1)
  --idle N          open N more before, for exchange, which do nothing; tells by how much the server's
                    memory grew
  --seconds S       measured (1.5), after as long, or 0.4, that is not
  --server PID      whose CPU time is told too
  --sources A,N     connects from N addresses, the first of them A
)";

struct Settings {
  std::string load;
  std::uint32_t address = 0;
  std::size_t connections = 1;
  std::size_t idle = 0;
  double seconds = 1.5;
  std::string server;
  std::uint32_t first_source = 0;
  std::uint32_t sources = 0;
};

double now() {
  return std::chrono::duration<double>{std::chrono::steady_clock::now().time_since_epoch()}.count();
}

// Seconds of CPU time.
struct CpuTime {
  double client = 0;
  double server = 0;   // all its threads
  double machine = 0;  // everything that ran

  static CpuTime take(const std::string& server) {
    return {of_client(), of_process(server), of_machine()};
  }

 private:
  static double of_client() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
  }
  static double of_process(const std::string& pid) {
    if (pid.empty()) return 0;
    double sum = 0;
    for (const auto& thread : std::filesystem::directory_iterator{"/proc/" + pid + "/task"}) {
      double ns = 0;
      std::ifstream{thread.path() / "schedstat"} >> ns;
      sum += ns / 1e9;
    }
    return sum;
  }
  static double of_machine() {
    std::ifstream file{"/proc/stat"};
    std::string name;
    double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, irq = 0, softirq = 0;
    file >> name >> user >> nice >> system >> idle >> waiting >> irq >> softirq;
    return (user + nice + system + irq + softirq) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
};

// The span that counts: it begins after a while, and ends by itself.
class Span {
 public:
  explicit Span(const Settings& settings)
      : settings_{settings}, begin_{now() + std::min(settings.seconds, 0.4)} {}

  // Whether it is over. Calls `restart` when it begins: what was counted before does not count.
  template <class Restart>
  bool over(double at, Restart restart) {
    if (at < begin_) return false;
    if (!began_) {
      began_ = true;
      restart();
      used_ = CpuTime::take(settings_.server);
      begin_ = now();
      return false;
    }
    if (at < begin_ + settings_.seconds) return false;
    const CpuTime end = CpuTime::take(settings_.server);
    used_ = {end.client - used_.client, end.server - used_.server, end.machine - used_.machine};
    seconds_ = now() - begin_;
    return true;
  }

  void print_bulk(std::uint64_t bytes, std::uint64_t resent) const {
    const auto size = static_cast<double>(bytes);
    std::printf("{\"rate\": %.4f, \"cpu\": %.5f, \"resent\": %llu, ", size * 8e-9 / seconds_,
                used_.server / size * 1e9, static_cast<unsigned long long>(resent));
    print_cpu();
  }
  void print_operations(std::vector<float>& seconds, double idle_bytes = 0) const {
    if (seconds.empty()) throw std::runtime_error{"nothing came back"};
    const auto count = static_cast<double>(seconds.size());
    const auto percentile = [&](double share) {
      const auto at = seconds.begin() + static_cast<std::ptrdiff_t>(share * count);
      std::nth_element(seconds.begin(), at, seconds.end());
      return double{*at} * 1e6;
    };
    std::printf("{\"rate\": %.1f, \"cpu\": %.4f, \"p50_us\": %.2f, \"p99_us\": %.2f, ",
                count / seconds_, used_.server / count * 1e6, percentile(0.5), percentile(0.99));
    if (idle_bytes != 0) std::printf("\"idle_bytes\": %.1f, ", idle_bytes);
    print_cpu();
  }

 private:
  void print_cpu() const {
    std::printf(
        "\"seconds\": %.3f, \"client_cpu\": %.4f, \"server_cpu\": %.4f, \"other_cpu\": %.2f}\n",
        seconds_, used_.client, used_.server,
        std::max(used_.machine - used_.client - used_.server, 0.0));
  }

  const Settings& settings_;
  double begin_;
  bool began_ = false;
  CpuTime used_;
  double seconds_ = 0;
};

// Calls that block do so for two seconds at most.
class Dialer {
 public:
  explicit Dialer(const Settings& settings) : settings_{settings} {}

  int dial(std::uint16_t port, int flags = 0) {
    const int fd = bench::tcp_socket(flags);
    const int on = 1;
    must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    const timeval patience{2, 0};
    for (const int direction : {SO_RCVTIMEO, SO_SNDTIMEO})
      must(setsockopt(fd, SOL_SOCKET, direction, &patience, sizeof patience), "setsockopt");
    if (settings_.sources != 0) {
      must(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on), "setsockopt");
      const auto from =
          bench::ipv4_address(settings_.first_source + next_source_++ % settings_.sources, 0);
      must(bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from), "bind");
    }
    const auto to = bench::ipv4_address(settings_.address, port);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0 && errno != EINPROGRESS)
      throw std::system_error{errno, std::generic_category(), "connect"};
    return fd;
  }

 private:
  const Settings& settings_;
  std::uint32_t next_source_ = 0;
};

// What a call has moved; 0 when it would block. A stream must not end.
std::size_t moved(ssize_t answer, bool reading, bool may_block) {
  if (answer > 0) return static_cast<std::size_t>(answer);
  if (answer == 0 && reading) throw std::runtime_error{"the server closed"};
  if (answer < 0 && errno == EAGAIN && may_block) return 0;
  throw std::system_error{errno, std::generic_category(), reading ? "recv" : "send"};
}
std::size_t send_some(int fd, std::span<const char> bytes, bool may_block = false) {
  return moved(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), false, may_block);
}
std::size_t receive_some(int fd, std::span<char> bytes, bool may_block = false) {
  return moved(recv(fd, bytes.data(), bytes.size(), 0), true, may_block);
}

std::uint64_t retransmissions(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
  return info.tcpi_total_retrans;
}

// ---- bulk

// Runs `step`, which moves something, and measures how `total()` grows.
template <class Step, class Total>
void bulk(const Settings& settings, int fd, Step step, Total total) {
  Span span{settings};
  std::uint64_t before = 0;
  while (!span.over(now(), [&] { before = total(); })) step();
  span.print_bulk(total() - before, retransmissions(fd));
}

void bulk_in(const Settings& settings) {
  const int fd = Dialer{settings}.dial(bench::discard_port);
  const bench::Pattern pattern;
  std::uint64_t sent = 0;
  bulk(
      settings, fd, [&] { sent += send_some(fd, pattern.at(sent)); },
      [&] {
        int waiting = 0;
        must(ioctl(fd, SIOCOUTQ, &waiting), "SIOCOUTQ");
        return sent - static_cast<std::uint64_t>(waiting);
      });
}

void bulk_out(const Settings& settings) {
  const int fd = Dialer{settings}.dial(bench::source_port);
  std::vector<char> bytes(bench::block_bytes);
  std::uint64_t received = 0;
  bulk(
      settings, fd, [&] { received += receive_some(fd, bytes); }, [&] { return received; });
}

void bulk_echo(const Settings& settings) {
  const int fd = Dialer{settings}.dial(bench::echo_port);
  must(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
  const bench::Pattern pattern;
  std::vector<char> bytes(bench::block_bytes);
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  const auto step = [&] {
    const std::size_t out = send_some(fd, pattern.at(sent), true);
    const std::size_t in = receive_some(fd, bytes, true);
    if (std::memcmp(bytes.data(), pattern.at(received).data(), in) != 0)
      throw std::runtime_error{"what came back differs from what was sent"};
    sent += out;
    received += in;
    if (out != 0 || in != 0) return;
    pollfd waiting{fd, POLLIN | POLLOUT, 0};
    if (must(poll(&waiting, 1, 2000), "poll") == 0) throw std::runtime_error{"stalled"};
  };
  bulk(settings, fd, step, [&] { return received; });
}

// ---- operations

struct Caller {
  int fd = -1;
  bool connected = false;
  double since = 0;
};

class Callers {
 public:
  explicit Callers(const Settings& settings) : callers_(settings.connections) {}

  [[nodiscard]] std::vector<Caller>& all() noexcept { return callers_; }

  void watch(Caller& caller, std::uint32_t events, int change) const {
    epoll_event event{.events = events, .data = {.ptr = &caller}};
    must(epoll_ctl(loop_, change, caller.fd, &event), "epoll_ctl");
  }

  // Calls `f(Caller&)` for those that are ready until the span is over.
  template <class F>
  void run(Span& span, std::vector<float>& taken, F f) {
    std::array<epoll_event, 256> ready;
    do {
      const int count =
          must(epoll_wait(loop_, ready.data(), static_cast<int>(ready.size()), 2000), "epoll_wait");
      if (count == 0) throw std::runtime_error{"stalled"};
      for (const epoll_event& event : std::span{ready}.first(static_cast<std::size_t>(count)))
        f(*static_cast<Caller*>(event.data.ptr));
    } while (!span.over(now(), [&] { taken.clear(); }));
  }

 private:
  int loop_ = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  std::vector<Caller> callers_;
};

constexpr std::array request{'?'};

void ask(Caller& caller) {
  caller.since = now();
  send_some(caller.fd, request);
}
// When the answer has come.
double hear(const Caller& caller) {
  std::array<char, 1> answer{};
  receive_some(caller.fd, answer);
  if (answer != request) throw std::runtime_error{"a wrong answer"};
  return now();
}

// Physical memory of a process, in bytes.
double resident_bytes(const std::string& pid) {
  double pages = 0;
  double resident = 0;
  std::ifstream{"/proc/" + pid + "/statm"} >> pages >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// Opens connections, tells whether that went well, and holds them until its parent ends.
[[noreturn]] void hold_idle(const Settings& settings, std::size_t count, int teller) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char failed = 0;
  try {
    Dialer dialer{settings};
    for (std::size_t i = 0; i < count; ++i) dialer.dial(bench::echo_port);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "client: %s\n", error.what());
    failed = 1;
  }
  if (write(teller, &failed, 1) != 1) _exit(1);
  for (;;) pause();
}

// Connections that stay open and do nothing, held by as many processes as the limit of descriptors
// makes it take, which end with this one. The server's bytes for each.
double open_idle(const Settings& settings) {
  rlimit files{};
  must(getrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE");
  files.rlim_cur = files.rlim_max;
  must(setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE");
  const std::size_t most = files.rlim_max - std::min<std::size_t>(files.rlim_max / 2, 100);
  const double before = resident_bytes(settings.server);
  std::array<int, 2> ready{};
  must(pipe(ready.data()), "pipe");
  for (std::size_t left = settings.idle; left != 0;) {
    const std::size_t count = std::min(left, most);
    if (must(fork(), "fork") == 0) hold_idle(settings, count, ready[1]);
    char failed = 1;
    if (read(ready[0], &failed, 1) != 1 || failed != 0)
      throw std::runtime_error{"no idle connections"};
    left -= count;
  }
  return (resident_bytes(settings.server) - before) / static_cast<double>(settings.idle);
}

void exchange(const Settings& settings) {
  const double idle_bytes = settings.idle == 0 ? 0 : open_idle(settings);
  Dialer dialer{settings};
  Callers callers{settings};
  for (Caller& caller : callers.all()) {
    caller.fd = dialer.dial(bench::echo_port);
    callers.watch(caller, EPOLLIN, EPOLL_CTL_ADD);
  }
  std::vector<float> taken;
  taken.reserve(1 << 20);
  Span span{settings};
  for (Caller& caller : callers.all()) ask(caller);
  const auto turn = [&](Caller& caller) {
    const double at = hear(caller);
    taken.push_back(static_cast<float>(at - caller.since));
    ask(caller);
    return at;
  };
  if (settings.connections > 1) {
    callers.run(span, taken, turn);
  } else {  // without epoll
    while (!span.over(turn(callers.all().front()), [&] { taken.clear(); })) {
    }
  }
  span.print_operations(taken, idle_bytes);
}

void connect_and_close(const Settings& settings) {
  Dialer dialer{settings};
  Callers callers{settings};
  const auto start = [&](Caller& caller) {
    const double since = now();
    caller = {.fd = dialer.dial(bench::echo_port, SOCK_NONBLOCK), .since = since};
    callers.watch(caller, EPOLLOUT, EPOLL_CTL_ADD);
  };
  std::vector<float> taken;
  taken.reserve(1 << 20);
  Span span{settings};
  for (Caller& caller : callers.all()) start(caller);
  callers.run(span, taken, [&](Caller& caller) {
    if (!caller.connected) {
      send_some(caller.fd, request);  // it tells when the connection was refused
      caller.connected = true;
      return callers.watch(caller, EPOLLIN, EPOLL_CTL_MOD);
    }
    hear(caller);
    close(caller.fd);
    taken.push_back(static_cast<float>(now() - caller.since));
    start(caller);
  });
  span.print_operations(taken);
}

std::uint32_t parse_address(const std::string& text) {
  in_addr address{};
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) throw std::invalid_argument{usage};
  return ntohl(address.s_addr);
}

Settings parse(std::span<char*> arguments) {
  if (arguments.size() < 2 || arguments.size() % 2 != 0) throw std::invalid_argument{usage};
  Settings settings;
  settings.load = arguments[0];
  settings.address = parse_address(arguments[1]);
  for (std::size_t i = 2; i < arguments.size(); i += 2) {
    const std::string option = arguments[i];
    const std::string value = arguments[i + 1];
    if (option == "--connections") {
      settings.connections = std::stoul(value);
    } else if (option == "--idle") {
      settings.idle = std::stoul(value);
    } else if (option == "--seconds") {
      settings.seconds = std::stod(value);
    } else if (option == "--server") {
      settings.server = value;
    } else if (option == "--sources") {
      const auto comma = value.find(',');
      settings.first_source = parse_address(value.substr(0, comma));
      settings.sources = static_cast<std::uint32_t>(std::stoul(value.substr(comma + 1)));
    } else {
      throw std::invalid_argument{usage};
    }
  }
  return settings;
}

}  // namespace

int main(int argc, char** argv) try {
  const Settings settings = parse(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
  if (settings.load == "in") {
    bulk_in(settings);
  } else if (settings.load == "out") {
    bulk_out(settings);
  } else if (settings.load == "echo") {
    bulk_echo(settings);
  } else if (settings.load == "exchange") {
    exchange(settings);
  } else if (settings.load == "connect") {
    connect_and_close(settings);
  } else {
    throw std::invalid_argument{usage};
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "client: %s\n", error.what());
  return 1;
}
