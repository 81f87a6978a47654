#!/usr/bin/env bash
# clang-tidy over the sources that differ from BIRKHOFF_BASE (default: the commit before HEAD), with the release build's
# compile commands: what that does not compile, it does not see.  `bash .ci/tidy.sh --all` looks at every source.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = "--all" ]; then
  files=$(git ls-files '*.cc' ':!tests')
else
  base=${BIRKHOFF_BASE:-$(git rev-parse --verify --quiet HEAD~1 || git hash-object -t tree /dev/null)}
  files=$(git diff --name-only --diff-filter=d "$base" HEAD -- '*.cc' ':!tests')
fi
compiled() {
  local file
  while read -r file; do
    ! grep -qF "/$file\"" build/compile_commands.json || echo "$file"
  done
}
files=$(compiled <<<"$files")
if [ -z "$files" ]; then echo "no source changed"; exit 0; fi
printf '%s\n' "$files"
# The headers that GCC has precompiled are not clang's.
mkdir -p build/tidy
sed -E 's# -Winvalid-pch -include [^ ]*/cmake_pch\.hxx##' build/compile_commands.json >build/tidy/compile_commands.json
printf '%s\n' "$files" | xargs -P "$(nproc)" -n 1 \
  clang-tidy -p build/tidy --quiet --extra-arg=-Wthread-safety --extra-arg=-Wno-unknown-warning-option
