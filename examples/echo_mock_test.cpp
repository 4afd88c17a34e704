// SPDX-License-Identifier: BSL-1.0
// How a program tests its own protocol: two hosts over mock devices, joined by a link, in virtual
// time. No root, no sockets, no waiting; every run is like the one before. Any test framework does.

#include <tunic/device/mock_device.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/testing/expect.hpp>
#include <tunic/testing/link.hpp>
#include <tunic/testing/segment.hpp>
#include <tunic/wire/text.hpp>

#include <cstdio>
#include <string>
#include <unordered_map>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

// ---- What is to be tested. It works with connections and events, whatever the device below.

struct EchoService {
  TcpListener listener;
  std::unordered_map<std::uint32_t, TcpConnection> peers{};  // by their slots in the stack

  template <class Host>
  void turn(Host& host) {
    while (auto peer = listener.accept()) peers.emplace(peer->id().slot, std::move(*peer));
    while (const auto event = host.next_event()) {
      TcpConnection& peer = peers.at(event->id.slot);
      (void)peer.splice(peer);  // the rest when there is room again
      if (peer.at_end() || peer.error() != Errc::none) peers.erase(event->id.slot);
    }
  }
};

// ---- The test bench

int failures = 0;

void check(bool holds, const char* what) {
  std::printf("%s  %s\n", holds ? "ok  " : "FAIL", what);
  failures += holds ? 0 : 1;
}

// A mock device that prints what arrives at it. Devices are types, so a bench can have its own.
class PrintingDevice : public MockDevice {
 public:
  PrintingDevice(const ManualClock& clock, bool on) : clock_{clock}, on_{on} {}

  RxResult receive(std::span<RxPacket> batch, BlockPool& pool) noexcept {
    const RxResult result = MockDevice::receive(batch, pool);
    const std::chrono::duration<double> time = clock_.now() - ManualClock{}.now();
    for (const RxPacket& packet : batch.first(on_ ? result.count : 0)) {
      std::printf("%.3f s  %s\n", time.count(), to_text(packet.bytes).c_str());
    }
    return result;
  }

 private:
  const ManualClock& clock_;
  bool on_;
};

struct Bench {
  explicit Bench(const LinkConditions& conditions, bool print = false)
      : client_host{PrintingDevice{clock, print}, {.addresses = {"10.99.0.1"_ip}}},
        server_host{PrintingDevice{clock, print}, {.addresses = {"10.99.0.2"_ip}}},
        link{client_host, server_host, clock, conditions} {}

  // Sends a text and half-closes. What has come back when the service closes.
  std::string echo(std::string_view text) {
    std::string received;
    TcpConnection client = client_host.connect({.remote = {"10.99.0.2"_ip, 7}});
    const auto turn = [&] {
      service.turn(server_host);
      text.remove_prefix(client.send(as_bytes(text)).bytes);
      if (text.empty()) client.shutdown_send();
      received += as_text(client.readable());
      client.consume(client.readable().size());
      return client.at_end() || client.error() != Errc::none;
    };
    check(link.run_until(turn, 10min), "the service closes after its client");
    return received;
  }

  // Whether the server forgets the connection.
  bool settles() {
    return link.run_until([&] { return server_host.stats().gauges.connections == 0; }, 1min);
  }

  ManualClock clock;
  Stack<PrintingDevice> client_host, server_host;
  testing::Link<Stack<PrintingDevice>, Stack<PrintingDevice>> link;
  EchoService service{server_host.listen({.port = 7})};
};

// ---- The tests

void test_conversation() {
  Bench bench{{.delay = 5ms}, true};
  const std::string received = bench.echo("hello from the client\n");
  std::printf("sent: hello from the client\nback: %s", received.c_str());
  check(received == "hello from the client\n", "a line comes back");
  check(bench.settles(), "nothing is left of the connection");
}

void test_bad_link() {
  Bench bench{{.delay = 20ms, .jitter = 5ms, .loss = 0.05, .duplicate = 0.02, .reorder = 0.02}};
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += std::to_string(i);
  check(bench.echo(text) == text, "a quarter of a megabyte comes back over a bad link");
}

// One host and a peer whom the test plays, segment by segment.
void test_handshake() {
  const ManualClock clock;
  Stack host{MockDevice{}, {.addresses = {"10.99.0.2"_ip}}};
  const TcpListener listener = host.listen({.port = 7});
  const testing::SegmentBuilder from_peer{{"10.99.0.1"_ip, 40000}, {"10.99.0.2"_ip, 7}};
  host.device().inject(from_peer.syn().seq(100).mss(1000).packet());
  host.poll(clock.now());
  host.flush(clock.now());
  const auto answer = host.device().take();
  check(answer && matches(*answer, testing::expect.flags("SA").ack(101).no_payload()),
        "a SYN is answered");
}

}  // namespace

int main() try {
  test_conversation();
  test_bad_link();
  test_handshake();
  return failures == 0 ? 0 : 1;
} catch (const std::exception& error) {
  check(false, error.what());
  return 1;
}
