#!/usr/bin/env bash
# Packs the programs of a build, with the libraries that they load, into one archive for machines with nothing of ours:
# glibc 2.36 or newer, no root; for `device: cuda` NVIDIA's driver and CUDA's libraries too.
#
# usage: bash deploy/bundle.sh [BUILD] [ARCHIVE]      default: build, and BUILD/birkhoff-VERSION.tar.gz
#
# tests/bundle.sh tests the archive.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/libraries.sh

build=${1:-build}
version=$(sed -n 's/.*kVersion\[\] = "\(.*\)".*/\1/p' core/base/version.h)
name=birkhoff-$version
archive=${2:-$build/$name.tar.gz}

[ -e "$build/cmake_install.cmake" ] || { echo "$build is no build folder: cmake --preset release" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/birkhoff-bundle.XXXXXX")
trap 'rm -rf "$work"' EXIT
bundle=$work/$name
cmake --install "$build" --prefix "$bundle" --component programs --strip >/dev/null || {
  echo "Not everything is built: cmake --build $build" >&2
  exit 1
}
files=("$bundle"/bin/*)
backend=$bundle/lib/libbirkhoff_cuda.so
[ ! -e "$backend" ] || files+=("$backend")
copy_libraries "$bundle/lib" "${files[@]}"
mkdir "$bundle/deploy"
cp deploy/cuda.sh "$bundle/deploy/"
cp LICENSE "$bundle/"
cat >"$bundle/README" <<README
Birkhoff $version, for x86-64 Linux with glibc 2.36 or newer.  Nothing needs to be installed:

  bin/birkhoff --help

README
if [ -e "$backend" ]; then
  cat >>"$bundle/README" <<'README'
With device: cuda it loads cuBLAS 13, cuDNN 9 and nvrtc 13.  Where the machine's linker does not know them:

  export LD_LIBRARY_PATH=$(bash deploy/cuda.sh libraries)
README
else
  echo "This build has no GPU backend." >>"$bundle/README"
fi

tar -czf "$archive" -C "$work" "$name"
echo "$archive: $(find "$bundle/bin" -type f | wc -l) programs, $(find "$bundle/lib" -type f | wc -l) libraries," \
  "$(du -m "$archive" | cut -f1) MB"
