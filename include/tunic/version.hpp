// SPDX-License-Identifier: BSL-1.0
#pragma once

// The version of the library, and the only place where it is written: CMake and the package files
// read it from here. The inline namespace that everything lives in, `v0`, changes with the major
// version, so that two incompatible copies in one process have distinct symbols.

#define TUNIC_VERSION_MAJOR 0
#define TUNIC_VERSION_MINOR 1
#define TUNIC_VERSION_PATCH 0

/// One number to compare with, as in `#if TUNIC_VERSION >= 100` for 0.1.0 and later.
#define TUNIC_VERSION \
  (TUNIC_VERSION_MAJOR * 10000 + TUNIC_VERSION_MINOR * 100 + TUNIC_VERSION_PATCH)
