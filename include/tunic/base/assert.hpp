// SPDX-License-Identifier: BSL-1.0
#pragma once

// Checks of the program's own mistakes. Nothing that a peer can cause is ever asserted. A program
// may define TUNIC_ASSERT before it includes tunic, in every translation unit alike. No layout
// depends on it.

#ifndef TUNIC_ASSERT
#include <cassert>
#define TUNIC_ASSERT(condition) assert(condition)
#endif
