// SPDX-License-Identifier: BSL-1.0

// Runs a harness without libFuzzer: on the files and folders given, then on inputs that are drawn
// from a seed, so that input number n is the same everywhere. For compilers without libFuzzer, for
// CTest, and to run a reproducer under a debugger.

#include "script.hpp"
#include <tunic/device/random.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using Input = std::vector<std::uint8_t>;

struct Arguments {
  std::uint64_t seed = 1;
  std::uint64_t first = 0;
  std::uint64_t runs = 1000;
  std::uint64_t seconds = 0;  // 0: as many as `runs`
  bool verbose = false;       // names each input before it runs
  std::vector<std::filesystem::path> files;
};

bool number_of(const char* argument, const char* name, std::uint64_t& value) {
  const std::size_t length = std::strlen(name);
  if (std::strncmp(argument, name, length) != 0) return false;
  value = std::strtoull(argument + length, nullptr, 10);
  return true;
}

void add_files(const std::filesystem::path& path, std::vector<std::filesystem::path>& files) {
  if (!std::filesystem::is_directory(path)) return files.push_back(path);
  for (const auto& entry : std::filesystem::directory_iterator{path}) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    if (number_of(argv[i], "--seed=", arguments.seed) ||
        number_of(argv[i], "--first=", arguments.first) ||
        number_of(argv[i], "--runs=", arguments.runs) ||
        number_of(argv[i], "--seconds=", arguments.seconds)) {
      continue;
    }
    if (std::strcmp(argv[i], "--verbose") == 0) {
      arguments.verbose = true;
    } else if (argv[i][0] == '-') {
      std::fprintf(stderr,
                   "usage: %s [--seed=N] [--first=N] [--runs=N | --seconds=N] [--verbose]"
                   " [FILE or FOLDER]...\n",
                   argv[0]);
      std::exit(std::strcmp(argv[i], "--help") == 0 ? 0 : 2);
    } else {
      add_files(argv[i], arguments.files);
    }
  }
  std::sort(arguments.files.begin(), arguments.files.end());
  return arguments;
}

// Input number `index` of a seed: bytes of every size, some of them small numbers.
Input draw(std::uint64_t seed, std::uint64_t index) {
  tunic::Random random{seed * 0x100000001b3 + index};
  Input input(random.below(std::uint64_t{1} << (3 + random.below(9))));
  const bool small = random.below(2) != 0;
  for (auto& byte : input) {
    const bool decision = small && random.below(4) != 0;
    byte = static_cast<std::uint8_t>(decision ? random.below(20) : random.next());
  }
  return input;
}

void run(const Input& input, const std::string& name, bool verbose) {
  if (verbose) std::fprintf(stderr, "%s, %zu bytes\n", name.c_str(), input.size());
  try {
    LLVMFuzzerTestOneInput(input.data(), input.size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "FAILED: %s\nby %s\n", error.what(), name.c_str());
    std::exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  for (const auto& path : arguments.files) {
    std::ifstream file{path, std::ios::binary};
    const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    run(Input(bytes.begin(), bytes.end()), path.string(), arguments.verbose);
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{arguments.seconds};
  std::uint64_t done = 0;
  while (arguments.seconds != 0 ? std::chrono::steady_clock::now() < end : done < arguments.runs) {
    const std::uint64_t index = arguments.first + done++;
    run(draw(arguments.seed, index),
        "--seed=" + std::to_string(arguments.seed) + " --first=" + std::to_string(index) +
            " --runs=1",
        arguments.verbose);
  }
  std::printf("%zu files and %llu drawn inputs\n", arguments.files.size(),
              static_cast<unsigned long long>(done));
}
