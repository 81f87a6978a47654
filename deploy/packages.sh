#!/usr/bin/env bash
# The one list of Debian 12 packages, and how to install what is missing.  Sourced by
# deploy/quickstart.sh, deploy/corpus.sh and tests/run.sh; run by itself it prints the lists.
#
#   install_packages [PACKAGE...]   installs those that are missing (where none is named: of what
#                                   building, running and testing need), as root or with sudo;
#                                   without either it prints the line to run and returns 1
#   install_developer_packages      the same for formatting and tidy

BUILD_PACKAGES=(
  cmake ninja-build g++ ccache pkg-config
  libabsl-dev libprotobuf-dev protobuf-compiler libgrpc++-dev protobuf-compiler-grpc
  nlohmann-json3-dev libcli11-dev libyaml-cpp-dev libsqlite3-dev
  prometheus-cpp-dev libmicrohttpd-dev libdnnl-dev libopenblas-dev libgloo-dev
  libsentencepiece-dev zlib1g-dev
  libgtest-dev libgmock-dev libbenchmark-dev
)
# pod2text for the text of the quick start.
CORPUS_PACKAGES=(perl)
# On top, for tests/run.sh: the Python client of docs/protocol.md, manifests.
TEST_PACKAGES=(python3 python3-grpcio python3-protobuf python3-yaml)
# On top, for the GPU backend: what deploy/cuda.sh fetches with, and deploy/wheel.sh packs with.
GPU_PACKAGES=(python3-pip python3-setuptools python3-wheel)
# On top, for .ci/run.
DEVELOPER_PACKAGES=(clang clang-format clang-tidy git shellcheck buildah python3-venv "${GPU_PACKAGES[@]}")

missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
      echo "$package"
  done
}

# Runs a command as root, or returns 1 where that is not possible.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    sudo "$@"
  else
    return 1
  fi
}

install_packages() {
  [ "$#" -gt 0 ] || set -- "${BUILD_PACKAGES[@]}" "${CORPUS_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
  local names missing
  names=$(missing_packages "$@")
  read -r -d '' -a missing <<<"$names" || true
  if [ "${#missing[@]}" -eq 0 ]; then
    echo "==> packages: all $# are installed"
    return 0
  fi
  echo "==> packages: installing ${#missing[@]} of $#: ${missing[*]}"
  if ! as_root true; then
    echo "This needs root or sudo, and there is neither.  Ask somebody who has it to run:" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
    return 1
  fi
  as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

install_developer_packages() {
  install_packages "${DEVELOPER_PACKAGES[@]}"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  printf '%s\n' "${BUILD_PACKAGES[@]}" "${CORPUS_PACKAGES[@]}" "${TEST_PACKAGES[@]}" \
    "${DEVELOPER_PACKAGES[@]}"
fi
