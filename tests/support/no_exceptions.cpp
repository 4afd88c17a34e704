// SPDX-License-Identifier: BSL-1.0

// tunic in a program without exceptions, run-time type information and a test framework: a server
// and a client, each a stack over a mock device, and packets carried between them in virtual time.
// Prints the first thing that went wrong and aborts.

#include <tunic/device/mock_device.hpp>
#include <tunic/tunic.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using namespace tunic::literals;
using namespace std::chrono_literals;
using MockStack = tunic::Stack<tunic::MockDevice>;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

/// Two hosts, a cable and a clock.
struct World {
  std::error_code error{};
  MockStack server{tunic::MockDevice{}, {.addresses = {"10.0.0.1"_ip}}, error};
  MockStack client{tunic::MockDevice{}, {.addresses = {"10.0.0.2"_ip}}, error};
  tunic::ManualClock clock{};

  /// A turn of both, and a millisecond.
  void turn() {
    server.flush(clock.now());
    client.flush(clock.now());
    while (const auto packet = server.device().take()) client.device().inject(*packet);
    while (const auto packet = client.device().take()) server.device().inject(*packet);
    clock.advance(1ms);
    server.poll(clock.now());
    client.poll(clock.now());
  }
};

void echo(tunic::TcpConnection& connection) {
  for (auto view = connection.readable(); !view.empty(); view = connection.readable()) {
    const std::size_t sent = connection.send(view).bytes;
    connection.consume(sent);
    if (sent < view.size()) return;
  }
  if (connection.at_end()) connection.close();
}

void everything_comes_back() {
  World world;
  auto listener = world.server.listen({.port = 7}, world.error);
  require(!world.error, "the server listens");
  auto connection = world.client.connect({.remote = {"10.0.0.1"_ip, 7}}, world.error);
  require(!world.error, "the client starts to connect");

  const std::vector<std::byte> sent(100'000, std::byte{42});
  std::vector<std::byte> received;
  std::size_t written = 0;
  std::optional<tunic::TcpConnection> accepted;
  for (int i = 0; i < 2'000 && !connection.at_end(); ++i) {
    world.turn();
    if (!accepted) accepted = listener.accept();
    if (accepted) echo(*accepted);
    written += connection.send(tunic::Bytes{sent}.subspan(written)).bytes;
    if (written == sent.size()) connection.shutdown_send();
    const auto view = connection.readable();
    received.insert(received.end(), view.begin(), view.end());
    connection.consume(view.size());
  }
  require(connection.at_end(), "the server closes after the client has");
  require(connection.error() == tunic::Errc::none, "the connection ends in order");
  require(received == sent, "what comes back is what was sent");
}

void closed_port_is_refused() {
  World world;
  auto connection = world.client.connect({.remote = {"10.0.0.1"_ip, 9}}, world.error);
  for (int i = 0; i < 3; ++i) world.turn();
  require(connection.error() == tunic::Errc::connection_refused, "a closed port refuses");
  const std::error_code error = make_error_code(connection.error());
  require(error == std::errc::connection_refused, "Errc compares with std::errc");
  require(!error.message().empty(), "Errc has a text");
}

}  // namespace

int main() {
  everything_comes_back();
  closed_port_is_refused();
}
