// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include <tunic/device/entropy.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

using namespace tunic;

namespace {

// A system whose entropy comes as scripted: positive numbers are bytes given, negative ones
// refusals.
struct Script {
  std::vector<ssize_t> getrandom, open, read;
  std::string path{};
  int closed = 0;

  static ssize_t step(std::vector<ssize_t>& answers, MutableBytes room) {
    if (answers.empty()) return -EFAULT;
    const ssize_t answer = answers.front();
    answers.erase(answers.begin());
    if (answer > 0) std::fill_n(room.begin(), answer, std::byte{0xe1});
    return answer;
  }
};

struct ScriptedSystem {
  Script* script;
  ssize_t getrandom(MutableBytes room) noexcept { return Script::step(script->getrandom, room); }
  ssize_t read(int, MutableBytes room) noexcept { return Script::step(script->read, room); }
  int open(const char* path, int) noexcept {
    script->path = path;
    return static_cast<int>(Script::step(script->open, {}));
  }
  int close(int) noexcept { return ++script->closed, 0; }
};

bool filled(const std::array<std::byte, 8>& bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0xe1}; });
}

}  // namespace

TEST_CASE("keys from the kernel differ from each other", "[device]") {
  const auto first = entropy_key();
  const auto second = entropy_key();
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->k0 != second->k0);
  CHECK(first->k1 != second->k1);
  CHECK(first->k0 != first->k1);
}

TEST_CASE("entropy that comes in pieces and with interruptions is collected", "[device]") {
  Script script{.getrandom = {-EINTR, 3, -EINTR, 1, 4}, .open = {}, .read = {}};
  std::array<std::byte, 8> bytes{};
  CHECK(fill_with_entropy(bytes, ScriptedSystem{&script}));
  CHECK(filled(bytes));
  CHECK(script.path.empty());
}

TEST_CASE("where getrandom is unknown or forbidden, /dev/urandom is read", "[device]") {
  const ssize_t refusal = GENERATE(-ENOSYS, -EPERM);
  Script script{.getrandom = {refusal}, .open = {-EINTR, 0}, .read = {-EINTR, 2, 6}};
  std::array<std::byte, 8> bytes{};
  CHECK(fill_with_entropy(bytes, ScriptedSystem{&script}));
  CHECK(filled(bytes));
  CHECK(script.path == "/dev/urandom");
  CHECK(script.closed == 1);
}

TEST_CASE("no entropy is told and never papered over", "[device]") {
  std::array<std::byte, 8> bytes{};
  SECTION("getrandom fails") {
    Script script{.getrandom = {-EIO}, .open = {}, .read = {}};
    CHECK_FALSE(fill_with_entropy(bytes, ScriptedSystem{&script}));
  }
  SECTION("getrandom gives nothing") {
    Script script{.getrandom = {4, 0, 4}, .open = {}, .read = {}};
    CHECK_FALSE(fill_with_entropy(bytes, ScriptedSystem{&script}));
  }
  SECTION("no /dev/urandom either") {
    Script script{.getrandom = {-ENOSYS}, .open = {-ENOENT}, .read = {}};
    CHECK_FALSE(fill_with_entropy(bytes, ScriptedSystem{&script}));
    CHECK(script.closed == 0);
  }
  SECTION("/dev/urandom ends or fails") {
    const ssize_t end = GENERATE(0, -EIO);
    Script script{.getrandom = {-ENOSYS}, .open = {0}, .read = {4, end, 4}};
    CHECK_FALSE(fill_with_entropy(bytes, ScriptedSystem{&script}));
    CHECK(script.closed == 1);
  }
  SECTION("the second half of a key") {
    Script script{.getrandom = {8, -EIO}, .open = {}, .read = {}};
    CHECK_FALSE(entropy_key(ScriptedSystem{&script}));
  }
}
