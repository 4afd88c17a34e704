// SPDX-License-Identifier: BSL-1.0

// What most tests use, compiled once (host.hpp declares it).

#include "host.hpp"

template class tunic::Stack<tunic::MockDevice>;
template class tunic::BasicTcpConnection<tunic::DefaultTraits>;
template class tunic::BasicTcpListener<tunic::DefaultTraits>;
