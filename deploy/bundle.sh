#!/usr/bin/env bash
# Packs the programs of a build with the libraries that they load into one archive, for machines with nothing of ours:
# glibc 2.36 or newer, and for `device: cuda` NVIDIA's driver with CUDA's libraries (a toolkit, or PyTorch's wheels).
#
# usage: bash deploy/bundle.sh [BUILD] [ARCHIVE]      default: build, and BUILD/birkhoff-VERSION.tar.gz
#
# There:  tar -xzf birkhoff-VERSION.tar.gz && birkhoff-VERSION/bin/birkhoff --help      anywhere, without root
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/libraries.sh

programs=(birkhoff birkhoffd birkhoff-worker birkhoff-data)
build=${1:-build}
version=$(sed -n 's/.*kVersion\[\] = "\(.*\)".*/\1/p' core/base/version.h)
name=birkhoff-$version
archive=${2:-$build/$name.tar.gz}

for program in "${programs[@]}"; do
  [ -x "$build/bin/$program" ] || {
    echo "$build/bin/$program is missing: cmake --build $build --target ${programs[*]}" >&2
    exit 1
  }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/birkhoff-bundle.XXXXXX")
trap 'rm -rf "$work"' EXIT
bundle=$work/$name
mkdir -p "$bundle/bin" "$bundle/libexec"
for program in "${programs[@]}"; do
  strip -o "$bundle/libexec/$program" "$build/bin/$program"
  ln -s start "$bundle/bin/$program"
done
copy_libraries "$bundle/lib" "$bundle"/libexec/*
cp deploy/cuda.sh "$bundle/libexec/cuda.sh"
cp LICENSE "$bundle/"

# Programs find each other in libexec/, and their libraries by what this sets.
cat >"$bundle/bin/start" <<'START'
#!/usr/bin/env bash
# Starts the program by whose name it is called, with the libraries of this bundle and CUDA's where there are any.
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
. "$root/libexec/cuda.sh"
cuda=$(cuda_library_path 2>/dev/null)
export LD_LIBRARY_PATH=$root/lib${cuda:+:$cuda}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec "$root/libexec/${0##*/}" "$@"
START
chmod 755 "$bundle/bin/start"

tar -czf "$archive" -C "$work" "$name"
echo "$archive: ${#programs[@]} programs, $(find "$bundle/lib" -type f | wc -l) libraries, $(du -m "$archive" | cut -f1) MB"
