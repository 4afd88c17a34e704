// SPDX-License-Identifier: BSL-1.0
#pragma once

// The states of a TCP connection (RFC 9293 3.3.2).

#include <cstdint>

namespace tunic::inline v0 {

enum class TcpState : std::uint8_t {
  closed,
  listen,
  syn_sent,
  syn_received,
  established,
  fin_wait_1,
  fin_wait_2,
  close_wait,
  closing,
  last_ack,
  time_wait,
};

/// The RFC's name of a state, for people.
[[nodiscard]] constexpr const char* name(TcpState state) noexcept {
  constexpr const char* names[] = {"CLOSED",      "LISTEN",     "SYN-SENT",   "SYN-RECEIVED",
                                   "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT",
                                   "CLOSING",     "LAST-ACK",   "TIME-WAIT"};
  return names[static_cast<std::uint8_t>(state)];
}

/// Whether the handshake is over and the connection not yet gone.
[[nodiscard]] constexpr bool synchronized(TcpState state) noexcept {
  return state >= TcpState::established;
}

/// Whether the peer may still send data that the application gets.
[[nodiscard]] constexpr bool can_receive(TcpState state) noexcept {
  return state == TcpState::established || state == TcpState::fin_wait_1 ||
         state == TcpState::fin_wait_2;
}

/// Whether our FIN has not been asked for yet.
[[nodiscard]] constexpr bool can_send(TcpState state) noexcept {
  return state == TcpState::established || state == TcpState::close_wait;
}

}  // namespace tunic::inline v0
