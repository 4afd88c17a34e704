// SPDX-License-Identifier: BSL-1.0
#pragma once

// From a connection's addresses and ports to its slot: a set of 4-byte slot numbers whose keys stay
// where the connections are. Reserved at construction, so that finding and removing never allocate.

#include <tunic/base/slab.hpp>
#include <tunic/tcp/flow.hpp>

#include <boost/unordered/unordered_flat_set.hpp>

#include <cstddef>
#include <cstdint>

namespace tunic::inline v0 {

/// An index over the elements of a slab, by their member `key`.
template <class T>
class FlowTable {
 public:
  FlowTable(const Slab<T>& slab, SipKey secret, std::size_t capacity)
      : slots_{capacity, Hash{&slab, secret}, Equal{&slab}} {}

  /// The slot with this key, or null.
  [[nodiscard]] const std::uint32_t* find(const FlowKey& key) const noexcept {
    const auto found = slots_.find(key);
    return found == slots_.end() ? nullptr : &*found;
  }
  void insert(std::uint32_t slot) { slots_.insert(slot); }
  void erase(std::uint32_t slot) noexcept { slots_.erase(slot); }
  [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }

 private:
  struct Hash {
    using is_avalanching = void;
    using is_transparent = void;
    const Slab<T>* slab;
    SipKey secret;
    std::size_t operator()(const FlowKey& key) const noexcept {
      return static_cast<std::size_t>(hash_flow(secret, key));
    }
    std::size_t operator()(std::uint32_t slot) const noexcept {
      return (*this)(slab->at(slot).key);
    }
  };
  struct Equal {
    using is_transparent = void;
    const Slab<T>* slab;
    bool operator()(std::uint32_t a, std::uint32_t b) const noexcept { return a == b; }
    bool operator()(const FlowKey& key, std::uint32_t slot) const noexcept {
      return slab->at(slot).key == key;
    }
    bool operator()(std::uint32_t slot, const FlowKey& key) const noexcept {
      return slab->at(slot).key == key;
    }
  };

  boost::unordered_flat_set<std::uint32_t, Hash, Equal> slots_;
};

}  // namespace tunic::inline v0
