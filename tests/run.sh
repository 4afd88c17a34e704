#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Installs what is missing, builds tunic and runs its tests. See usage below.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'END'
tests/run.sh [--matrix | --full]

Installs what is missing (as root, with apt-get), builds in build/ and runs the tests.

  --matrix   The wide run instead: formatting, each header alone, sanitizers, clang, package
             consumers, static analysis, counts of instructions, a minute of fuzzing, the demo over
             a real TUN device.
  --full     The matrix, then both compilers in Debug and Release, valgrind, longer fuzzing,
             benchmarks.

CXX chooses the compiler of the plain run (default g++), TUNIC_JOBS the number of parallel jobs.
With TUNIC_REQUIRE_TUN=1 it is a failure when this machine allows no TUN device.
END
}

jobs=${TUNIC_JOBS:-$(nproc)}
stage_name=
durations=()

main() {
  case ${1:-} in
    "") run_tests ;;
    --matrix) run_matrix ;;
    --full)
      run_matrix
      run_rest
      ;;
    --help | -h) usage ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
  report
}

run_tests() {
  stage "requirements" require "${basic_needs[@]}"
  stage "build" build tests RelWithDebInfo "${CXX:-g++}"
  begin "tests"
  exec ctest --test-dir build/tests --output-on-failure --no-label-summary -j "$jobs"
}

run_matrix() {
  stage "requirements" require "${basic_needs[@]}" "${matrix_needs[@]}"
  stage "formatting" check_format
  stage "each header alone, without exceptions" build_headers
  stage "build with g++, Debug, address and undefined-behaviour sanitizers" \
    build sanitizers Debug g++ "$sanitizer_flags"
  stage "tests with sanitizers" run_ctest sanitizers -LE 'live|tree|package'
  stage "build with clang, Release" build clang-release Release clang++
  stage "tests with clang, Release" run_ctest clang-release -LE 'live|tree'
  stage "static analysis" check_tidy
  stage "instructions" tests/bench/instructions
  [[ ! -x tests/fuzz/run.sh ]] || stage "fuzzing, a minute" tests/fuzz/run.sh 60
  [[ ! -x examples/demo.sh ]] || stage "demo over a TUN device" examples/demo.sh --require-tun
}

run_rest() {
  stage "requirements of the full run" require "${full_needs[@]}"
  local compiler type
  for compiler in g++ clang++; do
    for type in Debug Release; do
      [[ $compiler-$type != clang++-Release ]] || continue  # in the matrix
      stage "build with $compiler, $type" build "$compiler-$type" "$type" "$compiler"
      stage "tests with $compiler, $type" run_ctest "$compiler-$type" -LE 'live|tree'
    done
  done
  stage "all cases, seeds and 10 million hostile packets" all_cases
  stage "valgrind" valgrind --quiet --error-exitcode=1 --leak-check=full \
    build/g++-Debug/tests/tunic_unit
  [[ ! -x tests/fuzz/run.sh ]] || stage "fuzzing, ten minutes" tests/fuzz/run.sh 600
  [[ ! -x tests/bench/run ]] || stage "benchmarks" tests/bench/run
}

# --- Stages

begin() {
  stage_name=$1
  printf '\n== %s\n' "$stage_name"
}

# Runs the rest of the arguments as the stage named by the first one.
stage() {
  begin "$1"
  local start=$SECONDS
  "${@:2}"
  durations+=("$(printf '%5d s  %s' $((SECONDS - start)) "$stage_name")")
  printf -- '-- %s: %d s\n' "$stage_name" $((SECONDS - start))
  stage_name=
}

report() {
  [[ ${#durations[@]} -gt 0 ]] || return 0
  printf '\n== all stages passed\n'
  printf '%s\n' "${durations[@]}"
}

trap '[[ -z $stage_name ]] || printf "\n== FAILED: %s\n" "$stage_name" >&2' EXIT

# GCC sees uninitialised members in the standard library once it has instrumented it.
sanitizer_flags="-Og -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
sanitizer_flags+=" -Wno-maybe-uninitialized"

# Configures and builds in build/$1 with type $2, compiler $3 and flags $4.
build() {
  local dir=build/$1 type=$2 compiler=$3 flags=${4:-}
  configure "$dir" "$type" "$compiler" "$flags"
  cmake --build "$dir" -j "$jobs"
}

configure() {
  local dir=$1 type=$2 compiler=$3 flags=$4
  # Assertions stay on but in Release.
  cmake -S . -B "$dir" -G Ninja -DCMAKE_BUILD_TYPE="$type" -DCMAKE_CXX_COMPILER="$compiler" \
    -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" \
    -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG" \
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DTUNIC_WARNINGS_AS_ERRORS=ON "${launcher[@]}" "${@:5}"
}

build_headers() {
  configure build/headers Debug g++ \
    "-fno-exceptions -fno-rtti -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror" \
    -DCMAKE_VERIFY_INTERFACE_HEADER_SETS=ON -DTUNIC_BUILD_TESTS=OFF -DTUNIC_BUILD_EXAMPLES=OFF
  cmake --build build/headers -j "$jobs" --target all_verify_interface_header_sets
}

run_ctest() {
  UBSAN_OPTIONS=print_stacktrace=1 ctest --test-dir "build/$1" --output-on-failure \
    --no-label-summary -j "$jobs" "${@:2}"
}

all_cases() {
  TUNIC_FULL_TESTS=1 run_ctest clang-release -LE 'live|tree|package'
}

check_format() {
  find include examples tests \( -name '*.hpp' -o -name '*.cpp' \) -print0 |
    xargs -0 clang-format --dry-run -Werror
}

# The headers are analysed where they are instantiated: in programs that use them.
check_tidy() {
  find tests/support/no_exceptions.cpp examples -name '*.cpp' -print0 |
    xargs -0 -P "$jobs" -n 1 \
      clang-tidy -p build/clang-release --quiet --warnings-as-errors='*' 2>&1 |
    { grep -v 'warnings generated' || true; }
}

launcher=()
if command -v ccache >/dev/null; then
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  export CCACHE_SLOPPINESS=pch_defines,time_macros  # needed with a precompiled header
fi

# --- Requirements: "what to find : the Debian package that has it"

basic_needs=(g++:g++ cmake:cmake ninja:ninja-build pkg-config:pkg-config python3:python3 ip:iproute2
  ping:iputils-ping nc:netcat-openbsd curl:curl tcpdump:tcpdump tshark:tshark
  header-catch2:catch2 header-boost:libboost1.81-dev)
matrix_needs=(clang++:clang clang-format:clang-format clang-tidy:clang-tidy
  clang-fuzzer:libclang-rt-dev valgrind:valgrind)
full_needs=(header-benchmark:libbenchmark-dev header-lwip:liblwip-dev)

found() {
  case $1 in
    header-catch2) has '<catch2/catch_all.hpp>' || has '<catch2/catch.hpp>' ;;
    header-benchmark) has '<benchmark/benchmark.h>' ;;
    header-lwip) [[ -e /usr/include/lwip/lwip/tcp.h ]] ;;
    header-boost) has '<boost/version.hpp>' 'BOOST_VERSION >= 108100' ;;
    clang-fuzzer) [[ -e $(clang++ -print-file-name="libclang_rt.fuzzer-$(uname -m).a") ]] ;;
    *) command -v "$1" >/dev/null ;;
  esac 2>/dev/null
}

# Whether there is a header $1, and after it the preprocessor finds that $2 holds.
has() {
  printf '%s\n' "#include $1" "#if !(${2:-1})" '#error no' '#endif' | g++ -E -x c++ - >/dev/null
}

require() {
  local need packages=()
  for need; do
    found "${need%%:*}" || packages+=("${need##*:}")
  done
  [[ ${#packages[@]} -gt 0 ]] || { echo "all there" && return; }
  echo "missing: ${packages[*]}"
  if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "Install these (names as in Debian 12), or run this as root where apt-get is at hand." >&2
    return 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 \
    --no-install-recommends "${packages[@]}"
  for need; do
    found "${need%%:*}" || { echo "still missing: $need" >&2 && return 1; }
  done
}

main "$@"
