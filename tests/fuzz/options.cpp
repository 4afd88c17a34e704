// SPDX-License-Identifier: BSL-1.0

// TCP options on any bytes: parsed, written and parsed again they are the same, but for the SACK
// blocks that found no room. The writer keeps its promises for any value.

#include "../support/invariants.hpp"
#include "script.hpp"
#include <tunic/wire/tcp_options.hpp>

#include <array>
#include <vector>

using namespace tunic;
using test::demand;

namespace {

void write_and_parse(const TcpOptions& options) {
  std::array<std::byte, tcp_max_options_bytes> room;
  const std::size_t size = write_tcp_options(room, options);
  demand(size == options.encoded_bytes() && size % 4 == 0 && size <= room.size(),
         "options take what they say, in whole words");
  const auto twice = parse_tcp_options(Bytes{room}.first(size));
  demand(bool{twice}, "what was written parses");
  TcpOptions wanted = options;
  wanted.sack_count = static_cast<std::uint8_t>(options.fitting_sack_blocks());
  for (std::size_t i = wanted.sack_count; i < wanted.sack.size(); ++i) wanted.sack[i] = {};
  wanted.window_scale_was_excessive = false;
  if (!wanted.has_mss) wanted.mss = 0;
  if (!wanted.has_window_scale) wanted.window_scale = 0;
  if (!wanted.has_timestamps) wanted.timestamps = {};
  demand(*twice == wanted, "options come back");
}

TcpOptions any_value(fuzz::Script& script) {
  TcpOptions options;
  const std::uint8_t bits = script.byte();
  options.has_mss = (bits & 1) != 0;
  options.has_window_scale = (bits & 2) != 0;
  options.has_timestamps = (bits & 4) != 0;
  options.sack_permitted = (bits & 8) != 0;
  options.sack_count = static_cast<std::uint8_t>((bits >> 4) % 5);
  options.mss = script.word();
  options.window_scale = static_cast<std::uint8_t>(script.byte() % 15);
  options.timestamps = {script.dword(), script.dword()};
  for (SackBlock& block : options.sack) block = {SeqNum{script.dword()}, SeqNum{script.dword()}};
  return options;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Script script{data, size};
  if (script.flag()) {
    write_and_parse(any_value(script));
    return 0;
  }
  const std::vector<std::byte> bytes = script.copy(size);
  const auto options = parse_tcp_options(bytes);
  if (!options) {
    demand(options.drop() == Drop::bad_tcp_option, "there is one reason");
    return 0;
  }
  demand(options->sack_count <= options->sack.size(), "blocks are counted");
  demand(options->window_scale <= tcp_max_window_scale, "a shift is usable");
  write_and_parse(*options);
  return 0;
}
