#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# The stack on a real TUN device, against the kernel's TCP and real clients. See usage below.
set -euo pipefail

usage() {
  cat <<'END'
tests/live/run.sh BUILD_DIR [CHECK...]

Runs the checks of tests/live/checks.py with the programs of BUILD_DIR: all of them, or those whose names contain
one of the words given. It all happens in network, mount and process namespaces of its own, which go, with every
process in them, when it ends in whatever way.

Exit code 77: this machine does not allow that, or lacks a tool. With TUNIC_REQUIRE_TUN=1 that is a failure.
END
}

tools=(ip:iproute2 ss:iproute2 ping:iputils-ping nc:netcat-openbsd curl:curl tcpdump:tcpdump tshark:tshark
  unshare:util-linux setpriv:util-linux python3:python3)

skip() {
  printf '\n*** SKIPPED: the live tests did not run: %s\n\n' "$1" >&2
  [[ ${TUNIC_REQUIRE_TUN:-0} != 1 ]] || { echo "TUNIC_REQUIRE_TUN=1: this is a failure" >&2 && exit 1; }
  exit 77
}

[[ $# -ge 1 && $1 != --help && $1 != -h ]] || { usage && exit $(($# == 0 ? 2 : 0)); }
build=$(realpath "$1")
here=$(dirname "$(realpath "$0")")

for tool in "${tools[@]}"; do
  [[ -n $(PATH=$PATH:/usr/sbin:/sbin type -P "${tool%%:*}") ]] ||
    skip "${tool%%:*} is missing (apt-get install ${tool##*:})"
done

isolate=(unshare --net --mount --pid --fork --mount-proc --kill-child)
[[ $(id -u) -eq 0 ]] || isolate+=(--user --map-root-user)
refusal=$("${isolate[@]}" true 2>&1) ||
  skip "no namespaces of our own: $refusal. Run as root; a container needs --privileged"
# The server opens its device, finds its input at the end, and leaves.
refusal=$("${isolate[@]}" "$build/tests/tunic_live_server" tun0 10.99.0.1/24 10.99.0.2 0 2>&1 </dev/null) ||
  skip "$refusal"

scratch=$(mktemp -d)
child=
clean_up() {
  if [[ -n $child ]]; then
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap clean_up EXIT
"${isolate[@]}" python3 "$here/checks.py" "$build" "$scratch" "${@:2}" &
child=$!
code=0
wait "$child" || code=$?
child=
exit "$code"
