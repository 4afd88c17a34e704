// SPDX-License-Identifier: BSL-1.0
#pragma once

// Catch2 by one name, whichever major version is installed: 2.13 is one header, 3 is a folder.
// Tests use only what both have: `TEST_CASE`, `SECTION`, `GENERATE`, `CAPTURE`, `CHECK` and
// `REQUIRE`. It is also the precompiled header of the tests.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
