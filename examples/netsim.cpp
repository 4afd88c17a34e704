// SPDX-License-Identifier: BSL-1.0
// What a TCP connection carries over an imperfect link: two stacks in virtual time, and a table of
// goodput over loss and delay. No root, no sockets; the same seed gives the same table.

#include <tunic/device/mock_device.hpp>
#include <tunic/stack/stack.hpp>
#include <tunic/testing/link.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

using namespace tunic;

namespace {

constexpr const char* usage = R"(usage: netsim [option...]
  --seconds N   how long each transfer lasts, in virtual time (10)
  --rate N      of the link, in Mbit/s (20)
  --seed N      of what is lost (1)
One row for each one-way delay, one column for each rate of loss, goodput in Mbit/s. Packets wait
for the link in a queue of 100 ms.
)";

struct Settings {
  double seconds = 10;
  double megabits_per_second = 20;
  std::uint64_t seed = 1;
};

Duration to_duration(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>{seconds});
}

// How much one transfer carries, as fast as it goes, in Mbit/s.
double goodput(const Settings& settings, Duration delay, double loss) {
  const double bits_per_second = settings.megabits_per_second * 1e6;
  const LinkConditions conditions{
      .delay = delay,
      .loss = loss,
      .rate_bits_per_second = static_cast<std::uint64_t>(bits_per_second),
      .queue_bytes = static_cast<std::size_t>(bits_per_second / 8 / 10),
      .seed = settings.seed};
  constexpr std::uint32_t buffer = 16 << 20;  // of no account: more than the link holds
  ManualClock clock;
  Stack a{MockDevice{}, {.addresses = {"10.0.0.1"_ip}}};
  Stack b{MockDevice{}, {.addresses = {"10.0.0.2"_ip}}};
  testing::Link link{a, b, clock, conditions};
  TcpListener listener = b.listen({.port = 9, .connection = {.receive_buffer = buffer}});
  TcpConnection source =
      a.connect({.remote = {"10.0.0.2"_ip, 9}, .connection = {.send_buffer = buffer}});
  TcpConnection sink;
  const std::vector<std::byte> block(64 << 10);
  std::size_t received = 0;
  const auto turn = [&] {
    while (source.send(block).bytes == block.size()) continue;
    if (auto accepted = listener.accept()) sink = std::move(*accepted);
    received += sink.readable_bytes();
    sink.consume(sink.readable_bytes());
    return false;
  };
  link.run_until(turn, to_duration(settings.seconds));
  return static_cast<double>(received) * 8 / 1e6 / settings.seconds;
}

// False when a transfer carried nothing at all.
bool print_table(const Settings& settings) {
  constexpr std::array losses_percent{0.0, 0.1, 0.5, 1.0, 2.0, 5.0};
  constexpr std::array delays_ms{1, 5, 20, 50, 100};
  std::printf("%11s", "delay, loss");
  for (const double loss : losses_percent) std::printf("%8.1f %%", loss);
  bool all_carried = true;
  for (const int delay : delays_ms) {
    std::printf("\n%8d ms", delay);
    for (const double loss : losses_percent) {
      const double carried = goodput(settings, std::chrono::milliseconds{delay}, loss / 100);
      std::printf("%10.2f", carried);
      std::fflush(stdout);
      all_carried = all_carried && carried > 0;
    }
  }
  std::printf("\n");
  return all_carried;
}

void take(Settings& settings, const std::string& option, const std::string& value) {
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  const bool good = *end == '\0' && number > 0 && number < 1e9;
  if (option == "--seconds") {
    settings.seconds = number;
  } else if (option == "--rate") {
    settings.megabits_per_second = number;
  } else if (option == "--seed") {
    settings.seed = good ? static_cast<std::uint64_t>(number) : 0;
  } else {
    throw std::invalid_argument{"there is no option " + option + ", see --help"};
  }
  if (!good) throw std::invalid_argument{option + " can't be '" + value + "', see --help"};
}

}  // namespace

int main(int argc, char** argv) try {
  Settings settings;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--help") return std::fputs(usage, stdout) < 0;
    take(settings, option, i + 1 < argc ? argv[i + 1] : "");
  }
  return print_table(settings) ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "netsim: %s\n", error.what());
  return 2;
}
