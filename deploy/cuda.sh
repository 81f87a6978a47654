#!/usr/bin/env bash
# What the GPU backend takes from outside Debian.  Sourced by tests/gpu.sh and deploy/bundle.sh.
#   bash deploy/cuda.sh frontend    fetches cuDNN's frontend headers (MIT licence) from PyPI into build/cudnn-frontend,
#                                   where CMake looks for them; needs pip
#   bash deploy/cuda.sh libraries   prints the folders of CUDA's libraries on this machine, as LD_LIBRARY_PATH wants them

CUDNN_FRONTEND_VERSION=1.32.0
# What programs of a build with CUDA load, by the names that they load it by.
CUDA_LIBRARIES=(libcublasLt.so.13 libcudnn.so.9 libnvrtc.so.13)

# fetch_cudnn_frontend FOLDER: the headers in FOLDER/include, if they are not there yet.
fetch_cudnn_frontend() {
  local folder=$1 work
  [ ! -e "$folder/include/cudnn_frontend.h" ] || return 0
  work=$(mktemp -d "${TMPDIR:-/tmp}/cudnn-frontend.XXXXXX")
  echo "==> cuDNN frontend: downloading version $CUDNN_FRONTEND_VERSION" >&2
  python3 -m pip download --quiet --no-deps --only-binary :all: -d "$work" \
    "nvidia-cudnn-frontend==$CUDNN_FRONTEND_VERSION" &&
    python3 -m zipfile -e "$work"/*.whl "$work/wheel" &&
    mkdir -p "$folder" && cp -r "$work/wheel/include" "$folder/" || {
    rm -rf "$work"
    echo "The headers did not come: unpack include/ of the wheel nvidia-cudnn-frontend $CUDNN_FRONTEND_VERSION" >&2
    echo "into $folder, or name another folder by -DCUDNN_FRONTEND_INCLUDE." >&2
    return 1
  }
  rm -rf "$work"
}

# Folders that may hold libraries of CUDA: CUDA_HOME's where it is named, then those of Python's wheels (the package
# nvidia), which are mostly newer than a toolkit's, then the toolkit's.
cuda_library_folders() {
  [ -z "${CUDA_HOME:-}" ] || printf '%s\n' "$CUDA_HOME/lib64"
  python3 - <<'PYTHON' 2>/dev/null || true
import glob, nvidia
for path in nvidia.__path__:
    for folder in sorted(glob.glob(path + "/*/lib")):
        print(folder)
PYTHON
  printf '%s\n' /usr/local/cuda/lib64 /usr/lib/x86_64-linux-gnu
}

# For each library the first folder that has it, joined by colons; names on stderr what no folder has.
cuda_library_path() {
  local folders library folder path=
  mapfile -t folders < <(cuda_library_folders)
  for library in "${CUDA_LIBRARIES[@]}"; do
    for folder in "${folders[@]}"; do
      [ -e "$folder/$library" ] || continue
      [[ ":$path:" == *":$folder:"* ]] || path=${path:+$path:}$folder
      continue 2
    done
    echo "$library was not found; need the CUDA toolkit 13 with cuDNN 9, or PyTorch's wheels of both" >&2
  done
  echo "$path"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  cd "$(dirname "$0")/.." || exit 1
  case "${1:-}" in
    frontend) fetch_cudnn_frontend build/cudnn-frontend ;;
    libraries) cuda_library_path ;;
    *) echo "usage: bash deploy/cuda.sh frontend | libraries" >&2; exit 64 ;;
  esac
fi
