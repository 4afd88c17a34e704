// SPDX-License-Identifier: BSL-1.0
#pragma once

// This program's operator new, in all its forms, is one that counts. In a source of its own, since
// a compiler that sees through it takes malloc and delete for a mismatch.

#include <cstdint>

namespace tunic::test {

/// How often operator new was called so far.
std::uint64_t allocations() noexcept;

}  // namespace tunic::test
