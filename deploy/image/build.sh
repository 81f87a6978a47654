#!/usr/bin/env bash
# Builds the images of coordinator and worker as OCI layouts, without a daemon: from scratch, with glibc, our programs and what
# they load, and nothing else, not even a shell.  They run as user 65532 with a root file system that is only read.  The same
# programs give the same digests, whenever and wherever they are packed.
#
# usage: bash deploy/image/build.sh [--build BUILD] [--output FOLDER] [--cuda FOLDER[:FOLDER]...] [coordinator | worker]...
#   --build    what was built: default build; with --cuda a build with the GPU backend (build/cuda)
#   --output   gets coordinator/ and worker/, OCI layouts, and their SBOMs as *.spdx.json; default BUILD/image
#   --cuda     folders of CUDA's libraries, as `bash deploy/cuda.sh libraries` prints them: the worker takes those that the
#              backend loads along, in a layer of their own
# SOURCE_DATE_EPOCH is the time that the images bear; default 0.
#
# Prints name, digest and size of each.  Needs buildah (Debian), and root or a user who may have namespaces.  To push:
#   skopeo copy oci:build/image/worker:0.1.0 docker://REGISTRY/birkhoff-worker:0.1.0
# tests/image.py tests the images.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/libraries.sh

build=build output='' cuda='' images=()
while [ "$#" -gt 0 ]; do
  case "$1" in
    --build) build=${2:?}; shift 2 ;;
    --output) output=${2:?}; shift 2 ;;
    --cuda) cuda=${2:?}; shift 2 ;;
    coordinator | worker) images+=("$1"); shift ;;
    *) sed -n 's/^# \{0,1\}//; 6,11p' "$0" >&2; exit 64 ;;
  esac
done
[ "${#images[@]}" -gt 0 ] || images=(coordinator worker)
output=${output:-$build/image}
command -v buildah >/dev/null || { echo "buildah is missing: apt-get install buildah" >&2; exit 1; }
[ -e "$build/cmake_install.cmake" ] || { echo "$build is no build folder: cmake --preset release" >&2; exit 1; }
if [ "$(id -u)" -ne 0 ] && [ -z "${BIRKHOFF_UNSHARED:-}" ]; then
  BIRKHOFF_UNSHARED=yes exec buildah unshare -- bash "$0" --build "$build" --output "$output" ${cuda:+--cuda "$cuda"} "${images[@]}"
fi

version=$(sed -n 's/.*kVersion\[\] = "\(.*\)".*/\1/p' core/base/version.h)
revision=$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)
epoch=${SOURCE_DATE_EPOCH:-0}
user=65532
# What CUDA's part of the backend loads, and what that loads.
cuda_patterns=('libcublasLt.so.13' 'libcublas.so.13' 'libcudnn*.so.9' 'libnvrtc.so.13' 'libnvrtc-builtins.so.13.*' 'libcudart.so.13')

work=$(mktemp -d "${TMPDIR:-/tmp}/birkhoff-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
# A store of its own: nothing of this machine's is touched, and nothing is left.  A file, because buildah wants one that says
# whom to trust, and nothing is fetched.
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
export BUILDAH_ISOLATION=chroot
buildah=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)

# system_root FOLDER: glibc's libraries, the accounts, the folders.
system_root() {
  local root=$1 file
  mkdir -p "$root"/{etc,proc,sys,dev,tmp,lib64,work,var/lib/birkhoff,usr/lib}
  while read -r file; do
    [[ $file == *.so* && -f $file && $file != /etc/* ]] || continue
    mkdir -p "$root/usr${file%/*}"
    cp -L "$file" "$root/usr$file"
  done < <(dpkg -L libc6 | grep -E '^/lib/[^/]+/(ld-linux|lib(c|m|mvec|dl|pthread|rt|resolv|util|anl|nss_[a-z]+))[-.]')
  rmdir "$root/lib64"
  ln -s usr/lib "$root/lib"
  mkdir "$root/usr/lib64"
  ln -s usr/lib64 "$root/lib64"
  cp -L /lib64/ld-linux-x86-64.so.2 "$root/usr/lib64/"
  printf 'root:x:0:0:root:/:/sbin/nologin\nbirkhoff:x:%d:%d:birkhoff:/work:/sbin/nologin\n' "$user" "$user" >"$root/etc/passwd"
  printf 'root:x:0:\nbirkhoff:x:%d:\n' "$user" >"$root/etc/group"
  echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
  chmod 1777 "$root/tmp"
  chown "$user:$user" "$root/work" "$root/var/lib/birkhoff"
}

# program_root FOLDER PROGRAM...: the programs and their libraries in birkhoff/.
program_root() {
  local root=$1/birkhoff program files=()
  shift
  mkdir -p "$root/bin"
  for program in "$@"; do
    install -m 755 "$work/installed/bin/$program" "$root/bin/"
    files+=("$root/bin/$program")
  done
  if [ -n "$cuda" ] && [ -e "$work/installed/lib/libbirkhoff_cuda.so" ]; then
    install -D -m 644 "$work/installed/lib/libbirkhoff_cuda.so" "$root/lib/libbirkhoff_cuda.so"
    files+=("$root/lib/libbirkhoff_cuda.so")
  fi
  copy_libraries "$root/lib" "${files[@]}"
  install -m 644 LICENSE "$root/"
}

# cuda_root FOLDER: of each library the first that a folder has.
cuda_root() {
  local target=$1/usr/local/cuda/lib folders folder pattern file found
  mkdir -p "$target"
  IFS=: read -r -a folders <<<"$cuda"
  for pattern in "${cuda_patterns[@]}"; do
    found=no
    for folder in "${folders[@]}"; do
      for file in "$folder"/$pattern; do
        [ -e "$file" ] || continue
        found=yes
        [ -e "$target/${file##*/}" ] || install -m 644 "$file" "$target/"
      done
    done
    case "$found $pattern" in
      'no libcublasLt'* | 'no libcudnn'* | 'no libnvrtc.so'*) echo "$pattern is in none of $cuda" >&2; return 1 ;;
    esac
  done
}

# layer FROM ROOT IMAGE [CONFIG...]: FROM with the files of ROOT on top.
layer() {
  local from=$1 root=$2 image=$3 container
  shift 3
  container=$("${buildah[@]}" from --signature-policy "$work/policy.json" --pull-never "$from")
  # As an archive: what is added from a folder becomes root's.
  tar --create --file "$root.tar" --sort=name --mtime="@$epoch" --numeric-owner --directory "$root" .
  "${buildah[@]}" add --quiet "$container" "$root.tar" / >/dev/null
  [ "$#" -eq 0 ] || "${buildah[@]}" config "$@" "$container"
  # Without the label that says which buildah it was.
  "${buildah[@]}" commit --quiet --identity-label=false --signature-policy "$work/policy.json" --timestamp "$epoch" --omit-history --rm \
    "$container" "$image" >/dev/null
}

# pack NAME TITLE ENTRYPOINT PROGRAM...
pack() {
  local name=$1 title=$2 entrypoint=$3 root=$work/$1 from=system config
  shift 3
  program_root "$root/programs" "$@"
  config=(--user "$user:$user" --entrypoint "[\"$entrypoint\"]" --cmd '[]' --workingdir /work --stop-signal SIGTERM
    --env PATH=/birkhoff/bin --os linux --arch amd64 --author Birkhoff
    --label "org.opencontainers.image.title=$title" --label "org.opencontainers.image.version=$version"
    --label "org.opencontainers.image.revision=$revision" --label org.opencontainers.image.licenses=Apache-2.0
    --label "org.opencontainers.image.description=$title of Birkhoff, which trains hyper-connected transformers"
    --label org.opencontainers.image.base.name=scratch)
  if [ -n "$cuda" ] && [ "$name" = worker ]; then
    cuda_root "$root/cuda"
    layer system "$root/cuda" cuda
    from=cuda
    # For NVIDIA's container runtime, which puts the driver's own libraries in.
    config+=(--env LD_LIBRARY_PATH=/usr/local/cuda/lib --env NVIDIA_VISIBLE_DEVICES=all
      --env "NVIDIA_DRIVER_CAPABILITIES=compute,utility")
  fi
  mkdir -p "$root/all" "$output"
  cp -a "$work/system/." "$root/all/"
  [ ! -d "$root/cuda" ] || cp -al "$root/cuda/." "$root/all/"
  cp -al "$root/programs/." "$root/all/"
  python3 -B deploy/image/sbom.py --name "birkhoff-$name" --version "$version" --root "$root/all" >"$output/$name.spdx.json"
  install -D -m 644 "$output/$name.spdx.json" "$root/programs/birkhoff/sbom.spdx.json"
  layer "$from" "$root/programs" "$name" "${config[@]}"
  rm -rf "${output:?}/$name"
  "${buildah[@]}" push --quiet --signature-policy "$work/policy.json" --format oci "$name" "oci:$output/$name:$version"
  python3 -B - "$output/$name" "birkhoff-$name:$version" <<'PYTHON'
import json, pathlib, sys
layout, name = pathlib.Path(sys.argv[1]), sys.argv[2]
blob = lambda digest: layout / "blobs" / digest.replace(":", "/")
digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
layers = json.loads(blob(digest).read_text())["layers"]
print(name, digest, f"{sum(layer['size'] for layer in layers) / 1e6:.1f} MB in {len(layers)} layers")
PYTHON
}

cmake --install "$build" --prefix "$work/installed" --component programs --strip >/dev/null || {
  echo "Not everything is built: cmake --build $build" >&2
  exit 1
}
umask 022
system_root "$work/system"
layer scratch "$work/system" system
for image in "${images[@]}"; do
  case "$image" in
    coordinator) pack coordinator Coordinator /birkhoff/bin/birkhoffd birkhoffd ;;
    worker) pack worker Worker /birkhoff/bin/birkhoff-worker birkhoff-worker birkhoff birkhoff-data birkhoff-inference ;;
  esac
done
