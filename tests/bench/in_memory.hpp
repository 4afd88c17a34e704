// SPDX-License-Identifier: BSL-1.0
#pragma once

// Two stacks back to back in one thread, over `LoopbackPair`, in virtual time: the same work in
// every run, and no kernel. Each scenario does a little with every `step` and returns how much came
// of it.

#include <tunic/base/time.hpp>
#include <tunic/device/loopback_device.hpp>
#include <tunic/stack/stack.hpp>

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

namespace bench {

using namespace tunic;

/// What of a loopback device the two stacks have: packets with full checksums, of an MTU with which
/// a segment holds 1460 bytes.
class Wire : public LoopbackDevice {
 public:
  using LoopbackDevice::LoopbackDevice;
  explicit Wire(LoopbackDevice end) noexcept : LoopbackDevice{std::move(end)} {}
  static constexpr LoopbackOptions options{.mtu_bytes = 1460 + 20 + 32};
  static constexpr std::uint32_t buffer_bytes = 128 * 1024;
};

/// The same with segments of up to 64 KiB that nobody sums up.
class LargeWire : public Wire {
 public:
  using Wire::Wire;
  static constexpr std::uint32_t buffer_bytes = 256 * 1024;

  [[nodiscard]] DeviceCaps caps() const noexcept {
    DeviceCaps caps = LoopbackDevice::caps();
    caps.partial_checksums = caps.tcp_v4_segmentation = true;
    return caps;
  }
};

template <class D>
class Hosts {
 public:
  static constexpr std::uint16_t port = 7;

  Hosts() : Hosts{LoopbackPair{D::options}} {}

  [[nodiscard]] TcpConnection connect() {
    return client_.connect({.remote = {server_address, port}, .connection = connection});
  }
  [[nodiscard]] std::optional<TcpConnection> accept() { return listener_.accept(); }

  /// A turn of both hosts, with `work()` where programs do theirs.
  template <class Work>
  void turn(Work work) {
    clock_.advance(std::chrono::microseconds{10});
    client_.poll(clock_.now());
    server_.poll(clock_.now());
    work();
    while (client_.next_event()) {
    }
    while (server_.next_event()) {
    }
    client_.flush(clock_.now());
    server_.flush(clock_.now());
  }

  /// Turns until `done()`, which is a program's work too.
  template <class Done>
  void run_until(Done done) {
    for (int left = 1000; left > 0; --left) {
      bool is_done = false;
      turn([&] { is_done = done(); });
      if (is_done) return;
    }
    throw std::runtime_error{"the stacks get nowhere"};
  }

 private:
  static constexpr IpAddress client_address = "10.0.0.1"_ip;
  static constexpr IpAddress server_address = "10.0.0.2"_ip;
  static constexpr ConnectionOptions connection{
      .no_delay = true, .send_buffer = D::buffer_bytes, .receive_buffer = D::buffer_bytes};

  explicit Hosts(LoopbackPair ends)
      : client_{D{std::move(ends.first)}, config(client_address)},
        server_{D{std::move(ends.second)}, config(server_address)},
        listener_{server_.listen({.port = port, .connection = connection})} {}

  // TIME-WAIT must not outlast the ports.
  static StackConfig config(const IpAddress& address) {
    return {.addresses = {address}, .tcp = {.msl = std::chrono::milliseconds{1}}};
  }

  ManualClock clock_;
  Stack<D> client_;
  Stack<D> server_;
  TcpListener listener_;
};

template <class D>
class Connected {
 public:
  Connected() {
    client_ = hosts_.connect();
    hosts_.run_until([&] {
      if (auto accepted = hosts_.accept()) server_ = std::move(*accepted);
      return static_cast<bool>(server_);
    });
  }

 protected:
  Hosts<D> hosts_;
  TcpConnection client_;
  TcpConnection server_;
};

/// One connection that sends all the time; counts bytes that were read.
template <class D>
class Bulk : Connected<D> {
 public:
  std::size_t step() {
    std::size_t bytes = 0;
    this->hosts_.turn([&] {
      bytes = this->server_.readable_bytes();
      this->server_.consume(bytes);
      this->client_.send(bytes_);
    });
    return bytes;
  }

 private:
  std::vector<std::byte> bytes_ = std::vector<std::byte>(D::buffer_bytes, std::byte{0x5a});
};

/// A byte there and back; counts round trips.
class Requests : Connected<Wire> {
 public:
  std::size_t step() {
    client_.send(byte_);
    for (TcpConnection* const reader : {&server_, &client_}) {
      hosts_.run_until([&] {
        const bool here = reader->readable_bytes() == 1;
        if (here) reader->consume(1);
        if (here && reader == &server_) server_.send(byte_);
        return here;
      });
    }
    return 1;
  }

 private:
  std::vector<std::byte> byte_ = std::vector<std::byte>(1);
};

/// Connect, a byte there and back, close; counts connections.
class Connections {
 public:
  std::size_t step() {
    TcpConnection client = hosts_.connect();
    client.send(byte_);
    TcpConnection server;
    hosts_.run_until([&] {
      if (auto accepted = hosts_.accept()) server = std::move(*accepted);
      if (server.readable_bytes() != 0) {
        server.consume(1);
        server.send(byte_);
      }
      if (client.readable_bytes() != 0) {
        client.consume(1);
        client.close();
      }
      if (!server.at_end()) return false;
      server.close();
      return true;
    });
    return 1;
  }

 private:
  Hosts<Wire> hosts_;
  std::vector<std::byte> byte_ = std::vector<std::byte>(1);
};

}  // namespace bench
