#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Shows the echo server at work. See usage below.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'END'
examples/demo.sh [--require-tun]

Installs what is missing (as root, with apt-get), builds the examples in build/demo, starts the echo server on a TUN
device in a network namespace of its own, has nc talk to it, and shows the conversation. Nothing of it stays but
build/demo and what was installed.

Where no TUN device can be made it says why, and shows the same exchange in virtual time; with --require-tun that
is a failure.
END
}

require_tun=no
line='hello from nc'
server_address=10.99.0.2
scratch=
namespace=
server=

main() {
  case ${1:-} in
    "") ;;
    --require-tun) require_tun=yes ;;
    --help | -h) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  require
  build
  scratch=$(mktemp -d)
  trap clean_up EXIT
  if start_server; then
    talk
  else
    talk_in_virtual_time
  fi
}

build() {
  headline "Building the examples in build/demo"
  cmake -S . -B build/demo -G Ninja --log-level=WARNING \
    -DCMAKE_BUILD_TYPE=Release -DTUNIC_BUILD_TESTS=OFF -DTUNIC_INSTALL=OFF
  cmake --build build/demo --target echo_server echo_mock_test
}

# --- Over a TUN device

# False, with the reason in $scratch/refusal, where that is not allowed.
start_server() {
  if [[ $(id -u) -ne 0 ]]; then
    echo "that takes root: sudo examples/demo.sh" >"$scratch/refusal"
    return 1
  fi
  local name=tunic-demo-$$
  if ! ip netns add "$name" 2>"$scratch/refusal"; then
    echo "no network namespace can be made; in a container, that takes --privileged" >>"$scratch/refusal"
    return 1
  fi
  namespace=$name
  headline "An echo server on $server_address port 7, in the network namespace $namespace"
  ip netns exec "$namespace" build/demo/examples/echo_server --address "$server_address" --trace \
    >"$scratch/trace" 2>"$scratch/refusal" &
  server=$!
  wait_for_server
}

# It says so when it is ready, and ends when it can't be.
wait_for_server() {
  for ((tries = 0; tries < 200; ++tries)); do
    ! grep '^echo:' "$scratch/trace" 2>/dev/null || return 0
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.05
  done
  echo "the server was not ready within ten seconds" >"$scratch/refusal"
  return 1
}

talk() {
  headline "nc -N $server_address 7"
  local answer code=0
  answer=$(ip netns exec "$namespace" nc -N -w 5 "$server_address" 7 <<<"$line")
  echo "sent: $line"
  echo "back: $answer"
  kill -TERM "$server"  # once its connections are over, it ends
  wait "$server" || code=$?
  server=
  headline "What passed the device"
  grep 'Flags' "$scratch/trace"
  headline "The end"
  [[ $answer == "$line" ]] || fail "what came back is not what was sent"
  [[ $code -eq 0 ]] || fail "the server ended with code $code"
  [[ $(grep -c 'Flags \[S' "$scratch/trace") -ge 2 && $(grep -c 'Flags \[F' "$scratch/trace") -ge 2 ]] ||
    fail "there is no handshake, or no close"
  echo "The line came back, both ends closed, the server has ended."
}

# --- Without

talk_in_virtual_time() {
  headline "There is no TUN device to be had here"
  cat "$scratch/refusal" >&2
  [[ $require_tun == no ]] || fail "a TUN device was required"
  headline "The same exchange in virtual time: examples/echo_mock_test.cpp"
  build/demo/examples/echo_mock_test
}

# --- Requirements: "what to find : the Debian package that has it"

require() {
  local need missing=()
  for need in g++:g++ cmake:cmake ninja:ninja-build boost:libboost1.81-dev ip:iproute2 nc:netcat-openbsd; do
    found "${need%%:*}" || missing+=("${need##*:}")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  headline "Missing: ${missing[*]}"
  if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    fail "install these (names as in Debian 12), or run this as root where apt-get is at hand"
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

found() {
  case $1 in
    boost)
      printf '%s\n' '#include <boost/version.hpp>' '#if BOOST_VERSION < 108100' '#error' '#endif' |
        g++ -E -x c++ - >/dev/null
      ;;
    nc) nc -h 2>&1 | grep -q OpenBSD ;;  # there are others of that name
    *) command -v "$1" >/dev/null ;;
  esac 2>/dev/null
}

# ---

headline() { printf '\n== %s\n' "$1"; }

fail() {
  printf 'demo.sh: %s\n' "$1" >&2
  exit 1
}

clean_up() {
  if [[ -n $server ]]; then
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  [[ -z $namespace ]] || ip netns delete "$namespace"
  rm -rf "$scratch"
}

main "$@"
