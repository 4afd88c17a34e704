// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/base/bytes.hpp>
#include <tunic/device/stray_queue.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace tunic;

namespace {

bool push(StrayQueue& queue, std::string_view text, const Offload& offload = {}) {
  const Bytes piece = as_bytes(text);
  return queue.push({&piece, 1}, offload);
}

std::vector<std::string> lend(StrayQueue& queue, std::size_t most) {
  std::vector<RxPacket> batch(most);
  batch.resize(queue.lend(batch));
  std::vector<std::string> texts;
  for (const RxPacket& packet : batch) texts.emplace_back(as_text(packet.bytes));
  return texts;
}

using Texts = std::vector<std::string>;

// A packet that can be told from others of its size: its number, then bytes that follow from it.
std::vector<std::byte> numbered(std::uint32_t number, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(number * 31 + i);
  return bytes;
}

}  // namespace

TEST_CASE("packets come out in their order, as they went in", "[device][stray_queue]") {
  StrayQueue queue{0};
  CHECK(queue.empty());
  CHECK(lend(queue, 4).empty());
  REQUIRE(push(queue, "one"));
  const std::array pieces{as_bytes("t"), Bytes{}, as_bytes("wo")};
  const Offload offload{.checksum = ChecksumState::partial, .header_bytes = 40, .segment_bytes = 7};
  REQUIRE(queue.push(pieces, offload));
  REQUIRE(push(queue, ""));
  REQUIRE(push(queue, "four"));
  CHECK_FALSE(queue.empty());

  std::array<RxPacket, 2> batch{};
  REQUIRE(queue.lend(batch) == 2);
  CHECK(as_text(batch[0].bytes) == "one");
  CHECK(batch[0].offload == Offload{});
  CHECK(batch[0].block == nullptr);
  CHECK(as_text(batch[1].bytes) == "two");
  CHECK(batch[1].offload == offload);
  CHECK_FALSE(queue.empty());
  CHECK(lend(queue, 4) == Texts{"", "four"});
  CHECK(queue.empty());
}

TEST_CASE("a full queue refuses, and loans count until they end", "[device][stray_queue]") {
  StrayQueue queue{0};
  const std::string packet(1000, 'x');
  std::size_t pushed = 0;
  while (push(queue, packet)) ++pushed;
  CHECK(pushed * 1000 > StrayQueue::min_capacity_bytes * 9 / 10);
  CHECK(pushed * 1000 <= StrayQueue::min_capacity_bytes);
  CHECK(lend(queue, 1) == Texts{packet});
  CHECK_FALSE(push(queue, packet));
  CHECK(lend(queue, 0).empty());
  CHECK(push(queue, packet));
  CHECK(lend(queue, pushed).size() == pushed);
}

TEST_CASE("the largest packet fits wherever the queue stands, a larger one never",
          "[device][stray_queue]") {
  StrayQueue queue{0};
  const std::string largest(super_segment_bytes, 'x');
  for (int i = 0; i < 300; ++i) {  // 300 places, all around the ring
    REQUIRE(push(queue, std::string(static_cast<std::size_t>(i) * 17, 'y')));
    REQUIRE(push(queue, largest));
    REQUIRE(lend(queue, 3).size() == 2);
    REQUIRE(lend(queue, 3).empty());
  }
  CHECK_FALSE(push(queue, largest + "x"));
}

TEST_CASE("one thread gives another packets of any size, none lost or changed",
          "[device][stray_queue]") {
  constexpr std::uint32_t count = 20'000;
  StrayQueue queue{0};
  std::thread producer{[&queue] {
    std::mt19937 random{7};
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto bytes = numbered(i, random() % 3000);
      const Bytes piece{bytes};
      while (!queue.push({&piece, 1}, {.segment_bytes = static_cast<std::uint16_t>(i)}))
        std::this_thread::yield();
    }
  }};
  std::mt19937 random{7};
  std::uint32_t received = 0;
  bool as_sent = true;
  while (received < count) {
    std::array<RxPacket, 16> batch{};
    const std::size_t lent = queue.lend(batch);
    for (std::size_t i = 0; i < lent; ++i, ++received) {
      const auto bytes = numbered(received, random() % 3000);
      as_sent = as_sent && std::ranges::equal(batch[i].bytes, bytes) &&
                batch[i].offload.segment_bytes == static_cast<std::uint16_t>(received);
    }
    if (lent == 0) std::this_thread::yield();
  }
  producer.join();
  CHECK(as_sent);
  CHECK(queue.empty());
}
