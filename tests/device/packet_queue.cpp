// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/device/packet_queue.hpp>

#include <array>
#include <deque>
#include <set>
#include <string>

using namespace tunic;

TEST_CASE("a gathered packet is stored as one", "[device]") {
  const std::array pieces{as_bytes("head"), as_bytes(""), as_bytes("er and body")};
  StoredPacket packet;
  packet.assign(as_bytes("what was here before, and longer than that"));
  packet.assign({.pieces = pieces, .size_bytes = 15, .reason = TxReason::probe});
  CHECK(as_text(packet.bytes) == "header and body");
  CHECK(packet.reason == TxReason::probe);
  packet.assign(as_bytes("x"), TxReason::reset);
  CHECK(as_text(packet.bytes) == "x");
  CHECK(packet.reason == TxReason::reset);
}

TEST_CASE("a packet queue is a queue", "[device]") {
  PacketQueue queue;
  std::deque<std::string> model;
  for (int step = 0; step < 2000; ++step) {
    const bool push = (step * 7919) % 13 < (step < 1000 ? 8 : 5);
    if (push) {
      model.push_back("packet " + std::to_string(step));
      queue.emplace_back().assign(as_bytes(model.back()));
    } else if (!model.empty()) {
      model.pop_front();
      queue.drop_front();
    }
    REQUIRE(queue.size() == model.size());
    REQUIRE(queue.empty() == model.empty());
    for (std::size_t i = 0; i < model.size(); ++i) REQUIRE(as_text(queue[i].bytes) == model[i]);
  }
  CHECK(model.size() > 1);
  queue.drop_front(queue.size());
  CHECK(queue.empty());
}

TEST_CASE("buffers of dropped packets are used again", "[device]") {
  PacketQueue queue;
  std::set<const std::byte*> buffers;
  for (int i = 0; i < 1000; ++i) {
    StoredPacket& packet = queue.emplace_back();
    packet.bytes.reserve(1500);
    packet.assign(as_bytes("a steady flow"));
    buffers.insert(packet.bytes.data());
    if (queue.size() == 3) queue.drop_front();
  }
  CHECK(buffers.size() <= 8);
}

TEST_CASE("lent packets stay where they are until the next loan", "[device]") {
  LendingQueue queue;
  queue.emplace_back().assign(as_bytes("first"));
  queue.emplace_back().assign(as_bytes("second"));
  std::array<RxPacket, 2> batch{};
  REQUIRE(queue.lend(std::span{batch}.first(1)) == 1);
  const Bytes lent = batch[0].bytes;
  CHECK(queue.size() == 1);
  for (int i = 0; i < 100; ++i) queue.emplace_back().assign(as_bytes("others"));  // it grows
  CHECK(as_text(lent) == "first");
  REQUIRE(queue.lend(batch) == 2);
  CHECK(as_text(batch[0].bytes) == "second");
  CHECK(as_text(batch[1].bytes) == "others");
  CHECK(queue.size() == 99);
}
