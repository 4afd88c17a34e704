// SPDX-License-Identifier: BSL-1.0

// A program that uses tunic as a package: a line of text goes to an echo server and comes back.

#include "server.hpp"
#include <tunic/device/loopback_device.hpp>

#include <chrono>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

int main() {
  using namespace tunic::literals;
  tunic::LoopbackPair pair;
  tunic::Stack ours{std::move(pair.first), {.addresses = {"10.0.0.1"_ip}}};
  tunic::Stack theirs{std::move(pair.second), {.addresses = {"10.0.0.2"_ip}}};
  auto listener = ours.listen({.port = 7});
  auto client = theirs.connect({.remote = {"10.0.0.1"_ip, 7}});
  client.send(tunic::as_bytes("hello"));
  client.shutdown_send();

  std::string reply;
  std::optional<tunic::TcpConnection> server;
  tunic::ManualClock clock;
  for (int turn = 0; turn < 100 && !client.at_end(); ++turn) {
    clock.advance(std::chrono::milliseconds{1});
    ours.poll(clock.now());
    theirs.poll(clock.now());
    if (!server) server = listener.accept();
    if (server) serve(*server);
    reply += tunic::as_text(client.readable());
    client.consume(client.readable().size());
    ours.flush(clock.now());
    theirs.flush(clock.now());
  }
  std::cout << "tunic " << TUNIC_VERSION_MAJOR << '.' << TUNIC_VERSION_MINOR << '.'
            << TUNIC_VERSION_PATCH << " says " << reply << '\n';
  return reply == "hello" && client.at_end() ? 0 : 1;
}
