#!/usr/bin/env bash
# Installs what is missing, builds, prepares the text and runs every test.  Can be run again.
#   bash tests/run.sh          the tests that CI runs
#   bash tests/run.sh --full   the long ones too
# Needs Debian 12, and root or sudo for what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/packages.sh
. deploy/configure.sh

labels=(--label-exclude long)
for argument in "$@"; do
  case "$argument" in
    --full) labels=() ;;
    *) echo "usage: bash tests/run.sh [--full]" >&2; exit 64 ;;
  esac
done

step() { printf '\n== %s\n' "$*"; }

step "1/4 packages"
install_packages
step "2/4 build (release)"
configure_release
cmake --build --preset release --parallel "$(nproc)"
step "3/4 text"
bash deploy/corpus.sh
step "4/4 tests"
ctest --test-dir build --output-on-failure --parallel "$(nproc)" "${labels[@]}"
