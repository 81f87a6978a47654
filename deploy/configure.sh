#!/usr/bin/env bash
# How deploy/quickstart.sh and tests/run.sh, which source it, configure build/ for the CPU.

# From nothing, many sources at a time; a folder that is there stays as it was configured.
configure_release() {
  local unity=()
  [ -e build/CMakeCache.txt ] || unity=(-DBIRKHOFF_UNITY=ON)
  cmake --preset release "${unity[@]}" >/dev/null
}
