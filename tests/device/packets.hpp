// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the tests of devices send and look at: packets of any bytes, told apart by a text.

#include <tunic/base/block_pool.hpp>
#include <tunic/base/bytes.hpp>
#include <tunic/stack/device.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tunic::device_test {

/// Sends each text as a packet of one piece.
template <Device D>
TxResult send(D& device, const std::vector<std::string_view>& texts,
              TxReason reason = TxReason::data) {
  std::vector<Bytes> pieces;
  for (const std::string_view text : texts) pieces.push_back(as_bytes(text));
  std::vector<TxPacket> packets;
  for (const Bytes& piece : pieces) {
    packets.push_back({.pieces = {&piece, 1}, .size_bytes = piece.size(), .reason = reason});
  }
  return device.send(packets);
}

/// One call of `receive`, and what it gave.
struct Received {
  std::vector<std::string> texts;
  DeviceStatus status;
};

template <Device D>
Received receive(D& device, std::size_t most = 16) {
  std::vector<RxPacket> batch(most);
  BlockPool pool{0};  // devices in memory take none
  const RxResult result = device.receive(batch, pool);
  Received received{.texts = {}, .status = result.status};
  for (const RxPacket& packet : std::span{batch}.first(result.count)) {
    received.texts.emplace_back(as_text(packet.bytes));
  }
  return received;
}

using Texts = std::vector<std::string>;

}  // namespace tunic::device_test
