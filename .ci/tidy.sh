#!/usr/bin/env bash
# clang-tidy over the sources that differ from BIRKHOFF_BASE (default: the commit before HEAD), with the commands of the debug build
# that .ci/clang.sh makes: what that does not compile, it does not see.  `bash .ci/tidy.sh --all` looks at every source.
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
    ! grep -qF "/$file\"" build/debug/compile_commands.json || echo "$file"
  done
}
files=$(compiled <<<"$files")
if [ -z "$files" ]; then echo "no source changed"; exit 0; fi
printf '%s\n' "$files"
printf '%s\n' "$files" | xargs -P "$(nproc)" -n 1 \
  clang-tidy -p build/debug --quiet --extra-arg=-Wthread-safety --extra-arg=-Wno-unknown-warning-option
