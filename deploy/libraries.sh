#!/usr/bin/env bash
# Shared libraries that programs take along to another machine.  Sourced by tests/gpu.sh and deploy/bundle.sh.

# glibc is every system's own, CUDA's libraries come with the GPU's software.
left_behind='^(ld-linux|libc|libm|libmvec|libdl|libpthread|librt|libresolv|libutil|libanl|libnss_[a-z]+|libnsl)[-.]'
left_behind+='|^lib(cublas|cublasLt|cudart|cudnn[a-z_]*|nvrtc|nvrtc-builtins|nccl|cuda)\.so'

# copy_libraries FOLDER PROGRAM...: what the programs load, but for the above, stripped.  Fails where one is missing.
copy_libraries() {
  local folder=$1 name path missing=0
  shift
  mkdir -p "$folder"
  while read -r name path; do
    [[ ! $name =~ $left_behind ]] || continue
    if [ "$path" = not ]; then
      echo "$name was not found" >&2
      missing=1
      continue
    fi
    install -m 644 "$path" "$folder/$name"
    strip --strip-unneeded "$folder/$name"
  done < <(ldd "$@" | awk '$2 == "=>" { print $1, $3 }' | sort -u)
  return "$missing"
}
