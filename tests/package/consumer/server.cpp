// SPDX-License-Identifier: BSL-1.0

#include "server.hpp"

void serve(tunic::TcpConnection& connection) {
  for (auto view = connection.readable(); !view.empty(); view = connection.readable()) {
    const auto sent = connection.send(view).bytes;
    connection.consume(sent);
    if (sent < view.size()) return;
  }
  if (connection.at_end()) connection.close();
}
