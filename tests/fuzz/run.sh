#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Builds the fuzzing harnesses and runs each for its share of the time. See usage below.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'END'
tests/fuzz/run.sh SECONDS [HARNESS]...

Builds the harnesses in build/fuzz/ with clang++ and libFuzzer, address and undefined-behaviour
sanitizers, and runs them one after the other, SECONDS in all: stack, link, fragments, wire, options,
text, or those that are named. What is found to be interesting is kept in build/fuzz/corpus/. A
failure ends the run with 1 and prints the input that causes it and how to run it again.

A minute or less is repeatable: one seed, no corpus of earlier, and so many inputs at most.

Without libFuzzer the harnesses are built with $CXX (default g++) and run on inputs drawn from a
seed, which finds less.
END
}

# Each harness with its share of the time and the longest input that it makes use of.
shares=(stack:6:1200 link:4:1200 fragments:2:500 wire:2:1600 options:1:64 text:1:1600)
# Inputs of each in a repeatable run.
declare -A repeatable_runs=([stack]=8000 [link]=300 [fragments]=7000 [wire]=500000 [options]=400000
  [text]=100000)
flags=(-std=c++20 -O1 -g1 -Iinclude -Wall -Wextra -fno-omit-frame-pointer
  -fno-sanitize-recover=undefined)
out=build/fuzz

main() {
  [[ ${1:-} =~ ^[0-9]+$ ]] || { usage >&2 && exit 2; }
  local seconds=$1 total=0 item chosen=()
  shift
  for item in "${shares[@]}"; do
    [[ $# -eq 0 || " $* " == *" ${item%%:*} "* ]] || continue
    chosen+=("$item")
    total=$((total + $(share "$item")))
  done
  [[ ${#chosen[@]} -gt 0 ]] || { usage >&2 && exit 2; }
  find_compiler
  mkdir -p "$out/artifacts"
  printf '%s\n' "${chosen[@]%%:*}" | xargs -P "${TUNIC_JOBS:-$(nproc)}" -I{} bash -c 'build {}'
  for item in "${chosen[@]}"; do
    local limits=()
    if ((seconds <= 60)); then
      rm -rf "$out/corpus/${item%%:*}"
      limits=(-seed=1 -runs="${repeatable_runs[${item%%:*}]}")
    fi
    run "${item%%:*}" $((seconds * $(share "$item") / total + 1)) "${item##*:}" "${limits[@]}"
  done
  echo "fuzzing: nothing found"
}

share() {
  local rest=${1#*:}
  echo "${rest%%:*}"
}

# Sets `compile`, and `libfuzzer` if there is one.
find_compiler() {
  libfuzzer=
  if ! command -v clang++ >/dev/null; then
    echo "missing: clang++ (Debian package clang)"
  elif [[ ! -e $(clang++ -print-file-name="libclang_rt.fuzzer-$(uname -m).a") ]]; then
    echo "missing: clang's libFuzzer (Debian package libclang-rt-dev, or libclang-rt-14-dev)"
  else
    libfuzzer=yes
  fi
  if [[ $libfuzzer ]]; then
    compile=(clang++ -fsanitize=fuzzer,address,undefined)
  else
    compile=("${CXX:-g++}" -fsanitize=address,undefined)
    echo "Running inputs drawn from a seed instead, with ${compile[0]}."
  fi
  if command -v ccache >/dev/null; then compile=(ccache "${compile[@]}"); fi
  export libfuzzer out
  export compile_line="${compile[*]} ${flags[*]}"
}

build() {
  local sources=("tests/fuzz/$1.cpp")
  [[ $libfuzzer ]] || sources+=(tests/fuzz/driver.cpp)
  local source objects=()
  for source in "${sources[@]}"; do
    objects+=("$out/$1-$(basename "$source" .cpp).o")
    $compile_line -c "$source" -o "${objects[-1]}"
  done
  ${compile_line#ccache } "${objects[@]}" -o "$out/$1"
}
export -f build

run() {
  local name=$1 seconds=$2 longest=$3 seeds=tests/fuzz/corpus/$1
  echo "-- $name, $seconds s"
  mkdir -p "$out/corpus/$name"
  [[ -d $seeds ]] || seeds=
  if [[ $libfuzzer ]]; then
    "$out/$name" "${@:4}" -max_total_time="$seconds" -max_len="$longest" -len_control=0 -timeout=30 \
      -rss_limit_mb=2048 -artifact_prefix="$out/artifacts/$name-" -verbosity=1 -print_pcs=0 \
      "$out/corpus/$name" $seeds >"$out/$name.log" 2>&1 || failed "$name"
    grep '^Done' "$out/$name.log"
  else
    "$out/$name" --seconds="$seconds" --seed="$(date +%s)" $seeds >"$out/$name.log" 2>&1 ||
      failed "$name"
    tail -n 1 "$out/$name.log"
  fi
}

failed() {
  grep -v 'NEW\|REDUCE\|pulse' "$out/$1.log" | tail -n 60
  local input
  input=$(sed -n 's/.*Test unit written to //p' "$out/$1.log" | tail -n 1)
  echo
  echo "FAILED: the harness $1. To see the packets that lead to it:"
  if [[ $input ]]; then
    echo "  TUNIC_FUZZ_TRACE=1 $out/$1 $input"
    echo "The input, in base64:"
    base64 -w 100 "$input"
  else
    echo "  TUNIC_FUZZ_TRACE=1 $out/$1 $(sed -n 's/^by //p' "$out/$1.log")"
  fi
  exit 1
}

main "$@"
