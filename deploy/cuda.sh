#!/usr/bin/env bash
# What the GPU backend takes from outside Debian.  Sourced by what builds it and what runs it; by itself:
#   bash deploy/cuda.sh frontend    fetches cuDNN's frontend headers (MIT licence) from PyPI into build/cudnn-frontend,
#                                   where CMake looks for them; needs pip
#   bash deploy/cuda.sh toolkit     for machines without the CUDA toolkit: fetches compiler, cuBLAS and cuDNN (1.1 GB,
#                                   NVIDIA's licence) from PyPI into build/cuda-wheels; needs pip
#   bash deploy/cuda.sh libraries   prints the folders of CUDA's libraries on this machine, as LD_LIBRARY_PATH wants them

CUDNN_FRONTEND_VERSION=1.32.0
# What compiles and links the backend: the parts of the toolkit that it uses, and cuDNN.
CUDA_WHEELS=(
  nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
  nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.0.2.14 nvidia-cudnn-cu13==9.19.0.56
)
# What the backend loads, by the names that it loads it by.
CUDA_LIBRARIES=(libcublasLt.so.13 libcudnn.so.9 libnvrtc.so.13)

cuda_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cuda_wheels=$cuda_root/build/cuda-wheels
cudnn_frontend=$cuda_root/build/cudnn-frontend

# fetch_wheels FOLDER WHEEL...: the wheels, unpacked.  FOLDER is there with all of them, or not at all.
fetch_wheels() {
  local folder=$1
  shift
  rm -rf "$folder.part" "$folder"
  python3 -m pip install --quiet --root-user-action ignore --no-deps --only-binary :all: \
    --target "$folder.part" "$@" >&2 &&
    mv "$folder.part" "$folder" && return
  rm -rf "$folder.part"
  return 1
}

# The headers in build/cudnn-frontend/include, if they are not there yet.
fetch_cudnn_frontend() {
  [ ! -e "$cudnn_frontend/include/cudnn_frontend.h" ] || return 0
  echo "==> cuDNN frontend: downloading version $CUDNN_FRONTEND_VERSION" >&2
  fetch_wheels "$cudnn_frontend" "nvidia-cudnn-frontend==$CUDNN_FRONTEND_VERSION" && return
  echo "The headers did not come: unpack include/ of the wheel nvidia-cudnn-frontend $CUDNN_FRONTEND_VERSION" >&2
  echo "into $cudnn_frontend, or name another folder by -DCUDNN_FRONTEND_INCLUDE." >&2
  return 1
}

# The toolkit in build/cuda-wheels, if it is not there yet.
fetch_toolkit() {
  [ ! -x "$cuda_wheels/nvidia/cu13/bin/nvcc" ] || return 0
  echo "==> CUDA toolkit: downloading 1.1 GB" >&2
  # This nvcc looks for libraries in lib64.
  fetch_wheels "$cuda_wheels" "${CUDA_WHEELS[@]}" && ln -s lib "$cuda_wheels/nvidia/cu13/lib64" && return
  echo "The wheels did not come.  Install the CUDA toolkit 13 with cuDNN 9, or these wheels:" >&2
  echo "  pip install --no-deps --target $cuda_wheels ${CUDA_WHEELS[*]}" >&2
  return 1
}

# Whether this machine has nvcc and cuDNN's headers where CMake looks for them.
have_toolkit() {
  local folders=("${CUDA_HOME:-/usr/local/cuda}" /usr/local/cuda) folder
  command -v nvcc >/dev/null || [ -x "${folders[0]}/bin/nvcc" ] || [ -x "${folders[1]}/bin/nvcc" ] || return
  for folder in "${folders[@]}" /usr; do
    [ ! -e "$folder/include/cudnn.h" ] || return 0
  done
  [ -e "/usr/include/$(uname -m)-linux-gnu/cudnn.h" ]
}

# Configures build/cuda, with the wheels where there is no toolkit.
configure_cuda() {
  local wheels=
  have_toolkit || wheels=$cuda_wheels/nvidia
  cmake --preset cuda "-DBIRKHOFF_CUDA_WHEELS=$wheels" "$@" >/dev/null
}

# Folders that may hold libraries of CUDA: CUDA_HOME's where it is named, what was fetched here, then those of Python's
# wheels (the package nvidia), which are mostly newer than a toolkit's, then the toolkit's.
cuda_library_folders() {
  [ -z "${CUDA_HOME:-}" ] || printf '%s\n' "$CUDA_HOME/lib64"
  printf '%s\n' "$cuda_wheels"/nvidia/*/lib
  python3 - <<'PYTHON' 2>/dev/null || true
import glob, nvidia
for path in nvidia.__path__:
    for folder in sorted(glob.glob(path + "/*/lib")):
        print(folder)
PYTHON
  printf '%s\n' /usr/local/cuda/lib64 "/usr/lib/$(uname -m)-linux-gnu"
}

# For each library the first folder that has it, joined by colons.  Fails, and names on stderr what no folder has.
cuda_library_path() {
  local folders library folder path='' code=0
  mapfile -t folders < <(cuda_library_folders)
  for library in "${CUDA_LIBRARIES[@]}"; do
    for folder in "${folders[@]}"; do
      [ -e "$folder/$library" ] || continue
      [[ ":$path:" == *":$folder:"* ]] || path=${path:+$path:}$folder
      continue 2
    done
    echo "$library was not found: install the CUDA toolkit 13 with cuDNN 9, or run bash deploy/cuda.sh toolkit" >&2
    code=1
  done
  echo "$path"
  return "$code"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  case "${1:-}" in
    frontend) fetch_cudnn_frontend ;;
    toolkit) fetch_toolkit ;;
    libraries) cuda_library_path ;;
    *) echo "usage: bash deploy/cuda.sh frontend | toolkit | libraries" >&2; exit 64 ;;
  esac
fi
