#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Builds and runs a consumer of tunic: run.sh WAY BUILD_DIR, where BUILD_DIR is a configured build
# of tunic. The ways `find_package` and `pkg_config` need `install` first. Uses $CMAKE and $CXX.
set -euo pipefail

way=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$2/package
cmake=${CMAKE:-cmake}
export CXX=${CXX:-c++}

# Configures, builds and runs the consumer project $1 in the build directory $2; more arguments go
# to CMake.
consume() {
  local project=$1 build=$work/$2
  shift 2
  rm -rf "$build"
  "$cmake" -S "$here/$project" -B "$build" "$@"
  "$cmake" --build "$build"
  "$build/consumer"
}

case $way in
  install)
    # Moved after it was installed: nothing may depend on the place.
    rm -rf "$work/prefix" "$work/moved"
    "$cmake" --install "$2" --prefix "$work/prefix"
    mv "$work/prefix" "$work/moved"
    ;;
  find_package)
    consume find_package find_package -DCMAKE_PREFIX_PATH="$work/moved"
    echo "-- again with Boost found by a search for its headers"
    consume find_package find_package_boost_path -DCMAKE_PREFIX_PATH="$work/moved" \
      -DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON
    echo "-- again with a Boost that is too old, which must be refused with a hint"
    mkdir -p "$work/old/boost"
    echo '#define BOOST_VERSION 107400' >"$work/old/boost/version.hpp"
    if output=$(consume find_package find_package_old_boost -DCMAKE_PREFIX_PATH="$work/moved" \
      -DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON -Dtunic_BOOST_INCLUDE_DIR="$work/old" 2>&1); then
      echo "Boost 1.74 was accepted"
      exit 1
    fi
    grep "libboost" <<<"$output"
    ;;
  pkg_config)
    export PKG_CONFIG_PATH=$work/moved/share/pkgconfig
    pkg-config --exact-version="$(sed -n 's/^Version: //p' "$2/tunic.pc")" tunic
    read -ra flags <<<"$(pkg-config --cflags --libs tunic)"
    "$CXX" -std=c++20 "${flags[@]}" "$here"/consumer/*.cpp -o "$work/pkg_config"
    "$work/pkg_config"
    ;;
  add_subdirectory | fetch_content)
    consume "$way" "$way"
    ;;
  *)
    echo "unknown way: $way" >&2
    exit 2
    ;;
esac
