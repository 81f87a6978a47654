#!/usr/bin/env bash
# The tests that need a GPU: built where the CUDA toolkit is, run where a GPU is.
#   bash tests/gpu.sh build   makes build-gpu/: stripped programs and the libraries of this system that they load; it can
#                             be carried to a machine with a GPU, CUDA's libraries and nothing of ours
#   bash tests/gpu.sh run [PART]   runs what is in build-gpu/tests, or what has PART in its name; a line for each check, with
#                             its figure
#   bash tests/gpu.sh         both
#   bash tests/gpu.sh bench   times the boundary's kernels; a line for each
#   bash tests/gpu.sh bench-all [PART...]   whole steps, kernels and PyTorch side by side: a table (bench/gpu_table.py)
#   bash tests/gpu.sh torch   tests the wheel of deploy/wheel.sh, where Python has PyTorch
#   bash tests/gpu.sh sanitize   compute-sanitizer's memcheck and racecheck over our own kernels, with few sizes
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/cuda.sh
. deploy/libraries.sh

target=build-gpu
limit=540  # seconds, of a program

build() {
  fetch_cudnn_frontend
  configure_cuda
  cmake --build --preset cuda --parallel "${BIRKHOFF_JOBS:-$(nproc)}" \
    --target gpu_tests device_tests birkhoff birkhoff-worker birkhoff_cuda boundary_benchmark
  rm -rf "$target"
  mkdir -p "$target/tests"
  local program
  # Tests of the GPU alone, then those of any device.
  for program in $(ctest --test-dir build/cuda -N -L 'gpu|device' | sed -n 's/^ *Test *#[0-9]*: //p'); do
    [ ! -x "build/cuda/tests/bin/$program" ] ||
      strip -o "$target/tests/$program" "build/cuda/tests/bin/$program"
  done
  mkdir -p "$target/bin"
  for program in birkhoff birkhoff-worker boundary_benchmark; do
    strip -o "$target/bin/$program" "build/cuda/bin/$program"
  done
  mkdir -p "$target/lib"
  strip -o "$target/lib/libbirkhoff_cuda.so" build/cuda/lib/libbirkhoff_cuda.so
  copy_libraries "$target/lib" "$target"/tests/* "$target"/bin/* "$target/lib/libbirkhoff_cuda.so"
  local count
  count=$(find "$target/tests" -type f | wc -l)
  # The tests hold the same kernels: a dictionary that reaches back over several makes one of them.
  XZ_OPT=${XZ_OPT:-"--lzma2=preset=2,dict=64MiB"} tar -cJf "$target/tests.tar.xz" -C "$target" tests bin lib
  rm -r "${target:?}"/{tests,bin,lib}
  bash deploy/wheel.sh build/cuda "$target"
  echo "$target: $count programs, $(du -sm "$target" | cut -f1) MB"
}

# What a program prints but for the frame of the test library: figures, failures, a line for each test.
show() {
  sed -E -e '/^\[( RUN  |====|----|  PASSED|  FAILED  \] [^(]*(, listed below:)?$)/d' \
    -e '/^(Running main|Note: |$| *[0-9]+ FAILED TEST)/d' \
    -e 's/^\[       OK \] /ok      /' -e 's/^\[  FAILED  \] /FAILED  /' "$1"
}

run() {
  local part=${1:-} program log passed=0 failed=0 code good bad
  log=$(mktemp)
  [ -d "$target/lib" ] || tar -xJf "$target/tests.tar.xz" -C "$target"
  local cuda
  cuda=$(cuda_library_path)
  export LD_LIBRARY_PATH=$PWD/$target/lib:$cuda
  export BIRKHOFF_TEST_DEVICE=cuda  # of the tests that run on any device
  export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
  for program in "$target"/tests/*"$part"*; do
    printf '\n== %s\n' "${program##*/}"
    code=0
    timeout "$limit" "$program" >"$log" 2>&1 || code=$?
    show "$log"
    good=$(grep -c '^\[       OK \]' "$log" || true)
    bad=$(grep -cE '^\[  FAILED  \] .* \([0-9]+ ms\)$' "$log" || true)
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
      echo "FAILED  ${program##*/} ended with exit code $code"
      bad=1
    fi
    passed=$((passed + good)) failed=$((failed + bad))
  done
  rm -f "$log"
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

bench() {
  [ -d "$target/lib" ] || tar -xJf "$target/tests.tar.xz" -C "$target"
  LD_LIBRARY_PATH=$PWD/$target/lib:$(cuda_library_path)
  export LD_LIBRARY_PATH
  timeout "$limit" "$target/bin/boundary_benchmark" "$@"
}

# The wheel, where Python finds it.
install_wheel() {
  rm -rf "$target/python"
  python3 -m pip install --quiet --no-index --no-deps --target "$target/python" "$target"/birkhoff_torch-*.whl
  export PYTHONPATH=$PWD/$target/python${PYTHONPATH:+:$PYTHONPATH}
}

bench_all() {
  [ -d "$target/lib" ] || tar -xJf "$target/tests.tar.xz" -C "$target"
  install_wheel
  BIRKHOFF_CUDA_LIBRARIES=$(cuda_library_path)
  export BIRKHOFF_CUDA_LIBRARIES
  python3 bench/gpu_table.py --build "$target" "$@"
}

torch() {
  install_wheel
  timeout "$limit" python3 -W ignore python/tests/test_boundary.py "$@"
}

# Kernels of libraries are theirs to check; the test of a faulting kernel faults.
sanitize() {
  local tool program filter log passed=0 failed=0
  log=$(mktemp -d)
  [ -d "$target/lib" ] || tar -xJf "$target/tests.tar.xz" -C "$target"
  LD_LIBRARY_PATH=$PWD/$target/lib:$(cuda_library_path)
  export LD_LIBRARY_PATH OPENBLAS_NUM_THREADS=1 BIRKHOFF_SMALL_SWEEP=1
  for tool in memcheck racecheck; do
    for program in adamw attention boundary cross_entropy gain mapping rope swiglu; do
      filter='*'
      [ "$program" != attention ] || filter='AttentionCuda/0.FollowsTheReference*:AttentionCuda/0.TakesAny*'  # fp32: no kernel of cuDNN
      timeout "$limit" compute-sanitizer --tool "$tool" --error-exitcode 9 \
        "$target/tests/kernels_${program}_cuda_test" --gtest_filter="$filter" >"$log/$tool-$program" 2>&1 &
    done
  done
  wait
  for tool in "$log"/*; do
    if grep -qE 'SUMMARY: 0 (errors|hazards)' "$tool" && grep -q '^\[  PASSED  \]' "$tool" &&
      ! grep -q '^\[  FAILED' "$tool"; then
      printf 'ok      %-26s %s\n' "${tool##*/}" "$(grep -o '[A-Z]* *SUMMARY: .*' "$tool" | tail -n 1)"
      passed=$((passed + 1))
    else
      printf 'FAILED  %s\n' "${tool##*/}"
      grep -m 20 -E '=========|FAILED' "$tool" || tail -n 5 "$tool"
      failed=$((failed + 1))
    fi
  done
  rm -r "$log"
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

case "${1:-both}" in
  build) build ;;
  run) run "${@:2}" ;;
  both) build && run ;;
  bench) bench "${@:2}" ;;
  bench-all) bench_all "${@:2}" ;;
  torch) torch "${@:2}" ;;
  sanitize) sanitize ;;
  *) echo "usage: bash tests/gpu.sh [build | run | bench | bench-all | torch | sanitize]" >&2; exit 64 ;;
esac
