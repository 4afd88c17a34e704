// SPDX-License-Identifier: BSL-1.0
#pragma once

// A source of memory that keeps the books and refuses on demand.

#include "catch.hpp"
#include <tunic/base/block_pool.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>

/// Memory from the default source. Whatever it gave must come back with the same size and alignment
/// before it dies.
class CountingSource final : public tunic::MemorySource {
 public:
  static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

  CountingSource() = default;
  /// Grants `grants` requests and refuses all after them.
  explicit CountingSource(std::size_t grants) : grants_left_{grants} {}
  CountingSource(const CountingSource&) = delete;
  CountingSource& operator=(const CountingSource&) = delete;
  ~CountingSource() override { CHECK(live_.empty()); }

  void* try_allocate(std::size_t size, std::size_t align) noexcept override {
    ++requests_;
    if (grants_left_ == 0) return nullptr;
    if (grants_left_ != unlimited) --grants_left_;
    void* memory = source_.try_allocate(size, align);
    CHECK(reinterpret_cast<std::uintptr_t>(memory) % align == 0);
    live_[memory] = {size, align};
    live_bytes_ += size;
    return memory;
  }

  void deallocate(void* memory, std::size_t size, std::size_t align) noexcept override {
    const auto found = live_.find(memory);
    REQUIRE(found != live_.end());
    CHECK(found->second == std::pair{size, align});
    live_.erase(found);
    live_bytes_ -= size;
    source_.deallocate(memory, size, align);
  }

  void grant(std::size_t grants) { grants_left_ = grants; }

  [[nodiscard]] std::size_t requests() const { return requests_; }
  [[nodiscard]] std::size_t live() const { return live_.size(); }
  [[nodiscard]] std::size_t live_bytes() const { return live_bytes_; }

 private:
  tunic::NewMemorySource source_;
  std::size_t grants_left_ = unlimited;
  std::size_t requests_ = 0;
  std::size_t live_bytes_ = 0;
  std::map<void*, std::pair<std::size_t, std::size_t>> live_;
};
