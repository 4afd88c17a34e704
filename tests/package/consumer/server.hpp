// SPDX-License-Identifier: BSL-1.0
#pragma once

// The consumer's own protocol, in a translation unit apart from its main function.

#include <tunic/tunic.hpp>

/// Sends back what arrives, and closes after the peer has.
void serve(tunic::TcpConnection& connection);
