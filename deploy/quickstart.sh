#!/usr/bin/env bash
# From a clone to a trained model on one machine (Debian 12): installs what is missing, builds, prepares text, trains
# with a coordinator and local workers, and lets the model write.
#
# usage: deploy/quickstart.sh [--gpu] [birkhoff run options]      for example --set model.residual.kind=hc
#   without --gpu   configs/tiny.yaml on the CPU
#   --gpu           configs/gpu-545m.yaml on a GPU with 80 GB: needs the CUDA toolkit 13 with cuDNN 9, and a driver
#
# Needs root or sudo to install packages.  Can be run again: it goes on where it stopped; --fresh
# trains from the start.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/packages.sh
source deploy/configure.sh

gpu=no
if [ "${1:-}" = --gpu ]; then
  gpu=yes
  shift
fi

# What --gpu needs and no package of Debian brings: everything that is missing at once, with the remedy.
check_gpu() {
  local missing=0
  if ! have_toolkit && [ ! -d "$cuda_wheels" ]; then
    echo "nvcc or cuDNN is missing: install the CUDA toolkit 13 with cuDNN 9, and name its folder by CUDA_HOME" >&2
    echo "where it is not /usr/local/cuda; or fetch both (1.1 GB): bash deploy/cuda.sh toolkit" >&2
    missing=1
  else
    cuda_library_path >/dev/null || missing=1
  fi
  if ! nvidia-smi -L >/dev/null 2>&1; then
    echo "no GPU answers (nvidia-smi -L): install NVIDIA's driver, version 580 or newer" >&2
    missing=1
  fi
  return "$missing"
}

if [ "$gpu" = yes ]; then
  source deploy/cuda.sh
  check_gpu || exit 1
  install_packages "${BUILD_PACKAGES[@]}" "${GPU_PACKAGES[@]}" || exit 1
  fetch_cudnn_frontend
  preset=cuda build=build/cuda config=configs/gpu-545m.yaml out=runs/gpu-545m
  learned="the documentation of the Linux kernel, 24 MB of English in pieces of a few letters, each foretold from those before it"
  prompt="The scheduler" length=60 # on the CPU, which reads all weights for each token
else
  install_packages "${BUILD_PACKAGES[@]}" "${CORPUS_PACKAGES[@]}" || exit 1
  preset=release build=build config=configs/tiny.yaml out=runs/tiny
  learned="the manual pages of Perl, 8 MB of English, letter by letter: each is foretold from the up to 128 before it"
  prompt="The function " length=300
fi

echo "==> build: cmake --preset $preset, then ninja (some minutes on two cores)"
if [ "$gpu" = yes ]; then
  configure_cuda
else
  configure_release
fi
cmake --build "$build" --parallel "$(nproc)" --target birkhoff birkhoffd birkhoff-worker birkhoff-data \
  birkhoff-inference

export BIRKHOFF_BIN=$build/bin
if [ "$gpu" = yes ]; then
  bash deploy/corpus.sh linux-doc
  LD_LIBRARY_PATH=$(cuda_library_path)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export LD_LIBRARY_PATH
else
  bash deploy/corpus.sh
fi

echo "==> train: $build/bin/birkhoff run $config --out $out $*"
echo "    What is learned: $learned."
echo "    The loss says how surprised the model still is, in nats per token: guessing begins at the logarithm of the vocabulary."
code=0
"$build/bin/birkhoff" run "$config" --out "$out" "$@" || code=$?
[ "$code" -eq 0 ] || { echo "birkhoff run ended with exit code $code" >&2; exit "$code"; }

echo "==> sample: $build/bin/birkhoff generate $out --prompt '$prompt' --max-tokens $length"
"$build/bin/birkhoff" generate "$out" --prompt "$prompt" --max-tokens "$length"

echo "==> done"
echo "    $out/metrics.jsonl   one line per step: loss, gradient norm, gains, tokens/s"
echo "    $out/checkpoints/    what a run resumes from"
echo "    $out/job.yaml        the whole job, every field"
echo "    $build/bin/birkhoff eval $out   its loss on text that it has not seen"
echo "    Another connection around the sub-layers, to compare:"
echo "      $build/bin/birkhoff run $config --set model.residual.kind=hc --out runs/hc"
