// SPDX-License-Identifier: BSL-1.0

// The entry point of the test programs. It is compiled here instead of taken from a Catch2 library,
// because Catch2 2.13 is often installed as a header only.

#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_RUNNER
#endif
#include "catch.hpp"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
