#!/usr/bin/env bash
# Packs the boundary for PyTorch (python/) with its kernels into one wheel, for x86-64 Linux.
#
# usage: bash deploy/wheel.sh [BUILD] [FOLDER]      default: build/cuda, and BUILD/wheel
#
# BUILD is a folder of the preset cuda; its libraries are built here.  Needs pip, setuptools and wheel; no network.
# python/tests/test_boundary.py tests what is installed, or with PYTHONPATH=python and
# BIRKHOFF_TORCH_LIBRARIES=BUILD/lib what is built.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/libraries.sh

build=${1:-build/cuda}
folder=${2:-$build/wheel}
processors=(cuda cpu)

[ -e "$build/build.ninja" ] || { echo "$build is no build folder: . deploy/cuda.sh; configure_cuda" >&2; exit 1; }
cmake --build "$build" --parallel "${BIRKHOFF_JOBS:-$(nproc)}" --target "${processors[@]/#/birkhoff_boundary_}" >&2
work=$(mktemp -d "${TMPDIR:-/tmp}/birkhoff-wheel.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -r python/. "$work/"
cp LICENSE "$work/"
lib=$work/birkhoff_torch/lib
mkdir "$lib"
for processor in "${processors[@]}"; do
  library=libbirkhoff_boundary_$processor.so
  strip --strip-unneeded -o "$lib/$library" "$build/lib/$library"
done
# Beside the GPU's kernels lies all that they load; what the CPU's load on top is the system's (Debian: libdnnl2,
# libopenblas0).  The C++ library is whoever's has loaded it first, which PyTorch has.
copy_libraries "$lib" "$lib/libbirkhoff_boundary_cuda.so"
rm -f "$lib"/libstdc++.so.* "$lib"/libgcc_s.so.*
ldd "$lib/libbirkhoff_boundary_cpu.so" | awk -v lib="$lib/" '$1 ~ /^libabsl_/ && index($3, lib) != 1 { print $3 }' |
  xargs --no-run-if-empty cp -t "$lib"

# Debian's, where another Python without these comes first.
python=python3
python3 -c 'import pip, setuptools, wheel' 2>/dev/null || python=/usr/bin/python3
# The newest glibc that a symbol asks for.
glibc=$(objdump -T "$lib"/*.so* | grep -oE 'GLIBC_[0-9]+\.[0-9]+' | sort -uV | tail -n 1)
mkdir -p "$folder"
BIRKHOFF_WHEEL_VERSION=$(sed -n 's/.*kVersion\[\] = "\(.*\)".*/\1/p' core/base/version.h) \
  BIRKHOFF_WHEEL_PLATFORM=manylinux_$(tr . _ <<<"${glibc#GLIBC_}")_x86_64 \
  "$python" -m pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir "$folder" "$work"
du -h "$folder"/birkhoff_torch-*.whl
