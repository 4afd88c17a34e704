// SPDX-License-Identifier: BSL-1.0
#pragma once

// Why a packet leaves: for traces, statistics and fault injection.

#include <cstdint>

namespace tunic::inline v0 {

enum class TxReason : std::uint8_t {
  data,             ///< New bytes of a connection, a FIN among them.
  retransmission,   ///< Bytes that were sent before.
  acknowledgement,  ///< A pure ACK or a window update.
  control,          ///< A SYN or SYN+ACK.
  probe,            ///< A window or keep-alive probe.
  reset,            ///< A stateless reply: mostly resets.
  icmp,             ///< An ICMP reply or error.
};

}  // namespace tunic::inline v0
