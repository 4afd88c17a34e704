#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Builds the harnesses of this folder in build/fuzz and runs each for its share of the time:
#
#   tests/fuzz/run.sh SECONDS
#
# With clang's libFuzzer (Debian: libclang-rt-dev) inputs evolve; without it the same harnesses run on inputs drawn from
# a seed. A crash is a failure and leaves its input beside the harness: run that with `build/fuzz/NAME FILE`.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:?usage: tests/fuzz/run.sh SECONDS}
harnesses=(stack link wire fragments options text)
sanitizers=address,undefined
mkdir -p build/fuzz

has_libfuzzer() {
  command -v clang++ >/dev/null &&
    [[ -e $(clang++ -print-file-name="libclang_rt.fuzzer-$(uname -m).a") ]]
}

build() {
  local name=$1 common=(-std=c++20 -g -O1 -Iinclude -fno-sanitize-recover=all)
  if has_libfuzzer; then
    clang++ "${common[@]}" -fsanitize="fuzzer,$sanitizers" "tests/fuzz/$name.cpp" -o "build/fuzz/$name"
  else
    "${CXX:-g++}" "${common[@]}" -fsanitize="$sanitizers" "tests/fuzz/$name.cpp" tests/fuzz/driver.cpp \
      -o "build/fuzz/$name"
  fi
}

run() {
  local name=$1 share=$2
  echo "-- $name, $share s"
  if has_libfuzzer; then
    mkdir -p "build/fuzz/corpus.$name"
    "build/fuzz/$name" -max_total_time="$share" -max_len=4096 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
      -artifact_prefix="build/fuzz/$name." "build/fuzz/corpus.$name" >"build/fuzz/$name.log" 2>&1 || {
      tail -60 "build/fuzz/$name.log"
      return 1
    }
    grep -E 'number_of_executed_units|peak_rss' "build/fuzz/$name.log"
  else
    "build/fuzz/$name" --seconds="$share"
  fi
}

has_libfuzzer || echo "no libFuzzer here (Debian: clang libclang-rt-dev): inputs are drawn from a seed instead"
export -f build has_libfuzzer
export sanitizers
printf '%s\n' "${harnesses[@]}" | xargs -P 2 -I{} bash -euc 'build {}'
for name in "${harnesses[@]}"; do
  run "$name" $(((seconds + ${#harnesses[@]} - 1) / ${#harnesses[@]}))
done
