// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/tcp/sender.hpp>
#include <tunic/wire/seq.hpp>

using namespace tunic;

namespace {

// The last window came on a segment 2000 that acknowledged 500.
Sender with_window(std::uint32_t window) {
  Sender sender;
  sender.start(SeqNum{499}, 1000);
  sender.update_window(SeqNum{2000}, SeqNum{500}, window);
  return sender;
}

}  // namespace

TEST_CASE("a window is taken from newer segments and not from older ones",
          "[tcp][rfc9293-3.10.7.4]") {
  Sender sender = with_window(3000);
  sender.update_window(SeqNum{1999}, SeqNum{500}, 1);
  CHECK(sender.wnd == 3000);
  sender.update_window(SeqNum{2000}, SeqNum{500}, 2000);
  CHECK(sender.wnd == 2000);
  sender.update_window(SeqNum{2001}, SeqNum{500}, 1000);
  CHECK(sender.wnd == 1000);
  CHECK(sender.max_wnd == 3000);
}

TEST_CASE("a retransmission that acknowledges more brings its window", "[tcp]") {
  // Otherwise the right edge would move with the acknowledgement alone, beyond what was offered.
  Sender sender = with_window(3000);
  sender.update_window(SeqNum{1000}, SeqNum{760}, 2740);
  CHECK(sender.wnd == 2740);
}
