// SPDX-License-Identifier: BSL-1.0

// Echo, discard and source on lwIP's callback interface, as Debian's liblwip has it: with its core
// lock and its own options (windows of 64 KiB, software checksums, no offload).
// usage: lwip_server TUN HOST_CIDR ADDRESS

#include "raw_tun.hpp"
#include "services.hpp"

#include <cstdio>
#include <exception>
#include <memory>
#include <poll.h>
#include <stdexcept>

extern "C" {  // which the port's own header leaves out
#include <lwip/sys.h>
}
#include <lwip/ip.h>
#include <lwip/netif.h>
#include <lwip/tcp.h>
#include <lwip/tcpip.h>

namespace {

const bench::RawTun* tun;
const bench::Pattern* pattern;
netif interface;

// ---- packets

err_t send_packet(netif*, pbuf* packet, const ip4_addr_t*) {
  std::array<iovec, 16> pieces;
  int count = 0;
  for (const pbuf* piece = packet; piece != nullptr && count < 16; piece = piece->next)
    pieces[static_cast<std::size_t>(count++)] = {piece->payload, piece->len};
  if (writev(tun->fd(), pieces.data(), count) >= 0) return ERR_OK;
  return errno == EAGAIN || errno == ENOBUFS ? ERR_MEM : ERR_IF;
}

err_t set_up_interface(netif* made) {
  made->name[0] = 't';
  made->name[1] = 'n';
  made->output = send_packet;
  made->mtu = 1500;
  made->flags |= NETIF_FLAG_LINK_UP;
  return ERR_OK;
}

// False when there was none.
bool receive_packet() {
  static pbuf* place = nullptr;
  // Not from PBUF_POOL: in Debian's build those buffers are smaller than they say.
  if (place == nullptr) place = pbuf_alloc(PBUF_RAW, 1600, PBUF_RAM);
  if (place == nullptr) return false;
  const ssize_t size = read(tun->fd(), place->payload, place->len);
  if (size <= 0) return false;
  pbuf_realloc(place, static_cast<u16_t>(size));
  if (interface.input(place, &interface) != ERR_OK) pbuf_free(place);
  place = nullptr;
  return true;
}

// ---- services

struct Peer {
  std::uint16_t port = 0;
  std::uint64_t sent = 0;   // by the source
  pbuf* waiting = nullptr;  // to be echoed
  u16_t done = 0;           // of its first piece

  explicit Peer(std::uint16_t service) : port{service} {}
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    if (waiting != nullptr) pbuf_free(waiting);
  }
};

// Sends by reference, as much as the send buffer takes.
void fill(tcp_pcb* pcb, Peer& peer) {
  while (tcp_sndbuf(pcb) >= TCP_MSS && tcp_sndqueuelen(pcb) + 24 < TCP_SND_QUEUELEN) {
    const auto size = static_cast<u16_t>(std::min<std::size_t>(tcp_sndbuf(pcb), 14 * TCP_MSS));
    if (tcp_write(pcb, pattern->at(peer.sent).data(), size, TCP_WRITE_FLAG_MORE) != ERR_OK) break;
    peer.sent += size;
  }
  tcp_output(pcb);
}

void echo(tcp_pcb* pcb, Peer& peer) {
  u16_t taken = 0;
  while (peer.waiting != nullptr) {
    pbuf* const first = peer.waiting;
    const auto size = static_cast<u16_t>(
        std::min<std::size_t>(static_cast<std::size_t>(first->len - peer.done), tcp_sndbuf(pcb)));
    const char* from = static_cast<const char*>(first->payload) + peer.done;
    if (size == 0 || tcp_write(pcb, from, size, TCP_WRITE_FLAG_COPY) != ERR_OK) break;
    taken = static_cast<u16_t>(taken + size);
    peer.done = static_cast<u16_t>(peer.done + size);
    if (peer.done < first->len) continue;
    peer.waiting = first->next;
    if (peer.waiting != nullptr) pbuf_ref(peer.waiting);
    pbuf_free(first);
    peer.done = 0;
  }
  if (taken == 0) return;
  tcp_output(pcb);
  tcp_recved(pcb, taken);
}

err_t on_sent(void* argument, tcp_pcb* pcb, u16_t) {
  Peer& peer = *static_cast<Peer*>(argument);
  peer.port == bench::source_port ? fill(pcb, peer) : echo(pcb, peer);
  return ERR_OK;
}

void on_error(void* argument, err_t) { delete static_cast<Peer*>(argument); }

err_t end(tcp_pcb* pcb, Peer* peer) {
  tcp_arg(pcb, nullptr);
  tcp_recv(pcb, nullptr);
  tcp_sent(pcb, nullptr);
  tcp_err(pcb, nullptr);
  delete peer;
  if (tcp_close(pcb) == ERR_OK) return ERR_OK;
  tcp_abort(pcb);
  return ERR_ABRT;
}

err_t on_received(void* argument, tcp_pcb* pcb, pbuf* bytes, err_t) {
  Peer* const peer = static_cast<Peer*>(argument);
  if (bytes == nullptr) return end(pcb, peer);
  if (peer->port != bench::echo_port) {
    tcp_recved(pcb, bytes->tot_len);
    pbuf_free(bytes);
    return ERR_OK;
  }
  if (peer->waiting != nullptr) {
    pbuf_cat(peer->waiting, bytes);
  } else {
    peer->waiting = bytes;
    peer->done = 0;
  }
  echo(pcb, *peer);
  return ERR_OK;
}

template <std::uint16_t port>
err_t on_accepted(void*, tcp_pcb* pcb, err_t error) {
  if (error != ERR_OK || pcb == nullptr) return ERR_VAL;
  auto peer = std::make_unique<Peer>(port);
  tcp_arg(pcb, peer.get());
  tcp_recv(pcb, on_received);
  tcp_sent(pcb, on_sent);
  tcp_err(pcb, on_error);
  tcp_nagle_disable(pcb);
  if (port == bench::source_port) fill(pcb, *peer);
  peer.release();  // `end` or `on_error` deletes it
  return ERR_OK;
}

template <std::uint16_t port>
void listen_at() {
  tcp_pcb* pcb = tcp_new();
  if (pcb == nullptr || tcp_bind(pcb, IP_ADDR_ANY, port) != ERR_OK)
    throw std::runtime_error{"tcp_bind"};
  tcp_accept(tcp_listen_with_backlog(pcb, 255), on_accepted<port>);
}

void run(const tunic::IpCidr& host, const tunic::IpAddress& address) {
  tcpip_init(nullptr, nullptr);
  const auto ip = [](std::uint32_t bits) { return ip4_addr_t{.addr = lwip_htonl(bits)}; };
  const ip4_addr_t own = ip(address.v4_bits());
  const ip4_addr_t mask = ip(0xffff'ff00);
  const ip4_addr_t gateway = ip(host.address.v4_bits());
  LOCK_TCPIP_CORE();
  netif_add(&interface, &own, &mask, &gateway, nullptr, set_up_interface, ip_input);
  netif_set_default(&interface);
  netif_set_up(&interface);
  listen_at<bench::echo_port>();
  listen_at<bench::discard_port>();
  listen_at<bench::source_port>();
  UNLOCK_TCPIP_CORE();
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    pollfd waiting{tun->fd(), POLLIN, 0};
    poll(&waiting, 1, -1);  // timers have a thread of lwIP's
    LOCK_TCPIP_CORE();
    for (int left = 128; left > 0 && receive_packet(); --left) {
    }
    UNLOCK_TCPIP_CORE();
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) throw std::invalid_argument{"usage: lwip_server TUN HOST_CIDR ADDRESS"};
  const auto host = tunic::IpCidr::parse(argv[2]);
  const auto address = tunic::IpAddress::parse(argv[3]);
  if (!host || !address || !address->is_v4()) throw std::invalid_argument{"no such address"};
  const bench::RawTun opened{{.name = argv[1], .offload = false, .host_address = *host}};
  const bench::Pattern bytes;
  tun = &opened;
  pattern = &bytes;
  run(*host, *address);
} catch (const std::exception& error) {
  std::fprintf(stderr, "lwip_server: %s\n", error.what());
  return 1;
}
