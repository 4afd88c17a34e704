// SPDX-License-Identifier: BSL-1.0
#pragma once

// All that a program needs to speak TCP through a TUN device: the stack, the device and a clock.
// Other devices (`<tunic/device/...>`) and what serves tests (`<tunic/testing/...>`) are included
// by name.

#include <tunic/device/tun_device.hpp>
#include <tunic/os/steady_clock.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/version.hpp>
