#!/usr/bin/env bash
# What the GPU backend takes from outside Debian.  Sourced by what builds it; by itself:
#   bash deploy/cuda.sh frontend    fetches cuDNN's frontend headers (MIT licence) from PyPI into build/cudnn-frontend,
#                                   where CMake looks for them; needs pip
#   bash deploy/cuda.sh toolkit     where there is no CUDA toolkit: fetches compiler, cuBLAS and cuDNN (1.1 GB, NVIDIA's
#                                   licence) from PyPI into build/cuda-wheels, for -DBIRKHOFF_CUDA_WHEELS; needs pip
#   bash deploy/cuda.sh libraries   prints the folders of CUDA's libraries on this machine, as LD_LIBRARY_PATH wants them

CUDNN_FRONTEND_VERSION=1.32.0
# What compiles and links the backend: the parts of the toolkit that it uses, with cuDNN.
CUDA_WHEELS=(
  nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
  nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.0.2.14 nvidia-cudnn-cu13==9.19.0.56
)
# What the backend loads, by the names that it loads it by.
CUDA_LIBRARIES=(libcublasLt.so.13 libcudnn.so.9 libnvrtc.so.13)

# fetch_cudnn_frontend FOLDER: the headers in FOLDER/include, if they are not there yet.
fetch_cudnn_frontend() {
  local folder=$1
  [ ! -e "$folder/include/cudnn_frontend.h" ] || return 0
  echo "==> cuDNN frontend: downloading version $CUDNN_FRONTEND_VERSION" >&2
  rm -rf "$folder.part"
  python3 -m pip install --quiet --no-deps --only-binary :all: --target "$folder.part" \
    "nvidia-cudnn-frontend==$CUDNN_FRONTEND_VERSION" && move_folder "$folder.part" "$folder" && return
  rm -rf "$folder.part"
  echo "The headers did not come: unpack include/ of the wheel nvidia-cudnn-frontend $CUDNN_FRONTEND_VERSION" >&2
  echo "into $folder, or name another folder by -DCUDNN_FRONTEND_INCLUDE." >&2
  return 1
}

move_folder() {
  rm -rf "$2" && mv "$1" "$2"
}

# Whether nvcc is where CMake looks for it.
have_toolkit() {
  command -v nvcc >/dev/null || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ] || [ -x /usr/local/cuda/bin/nvcc ]
}

# fetch_toolkit FOLDER: the wheels in FOLDER/nvidia, if they are not there yet.
fetch_toolkit() {
  local folder=$1
  [ ! -x "$folder/nvidia/cu13/bin/nvcc" ] || return 0
  echo "==> CUDA toolkit: downloading 1.1 GB of wheels" >&2
  rm -rf "$folder.part"
  # Their nvcc looks for libraries in lib64.
  python3 -m pip install --quiet --no-deps --only-binary :all: --target "$folder.part" "${CUDA_WHEELS[@]}" &&
    ln -s lib "$folder.part/nvidia/cu13/lib64" && move_folder "$folder.part" "$folder" && return
  rm -rf "$folder.part"
  echo "The wheels did not come.  Install the CUDA toolkit 13 with cuDNN 9, or these wheels:" >&2
  echo "  pip install --no-deps --target $folder ${CUDA_WHEELS[*]}" >&2
  return 1
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
    toolkit) fetch_toolkit build/cuda-wheels ;;
    libraries) cuda_library_path ;;
    *) echo "usage: bash deploy/cuda.sh frontend | toolkit | libraries" >&2; exit 64 ;;
  esac
fi
