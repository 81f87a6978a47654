#!/usr/bin/env bash
# From a clone to a trained model on one CPU machine (Debian 12): installs what is missing, builds,
# prepares text, and trains configs/tiny.yaml with a coordinator and two workers.
#
# usage: deploy/quickstart.sh [birkhoff run options]      for example --set model.residual.kind=hc
#
# Needs root or sudo to install packages.  Can be run again: it goes on where it stopped; --fresh
# trains from the start.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/packages.sh

install_packages "${BUILD_PACKAGES[@]}" "${CORPUS_PACKAGES[@]}" || exit 1

echo "==> build: cmake --preset release, then ninja (some minutes on two cores)"
cmake --preset release >/dev/null
cmake --build build --parallel "$(nproc)" --target birkhoff birkhoffd birkhoff-worker birkhoff-data

bash deploy/corpus.sh

echo "==> train: build/bin/birkhoff run configs/tiny.yaml --out runs/tiny $*"
code=0
build/bin/birkhoff run configs/tiny.yaml --out runs/tiny "$@" || code=$?
[ "$code" -eq 0 ] || { echo "birkhoff run ended with exit code $code" >&2; exit "$code"; }

echo "==> done"
echo "    runs/tiny/metrics.jsonl   one line per step: loss, gradient norm, gains, tokens/s"
echo "    runs/tiny/checkpoints/    what a run resumes from"
echo "    runs/tiny/job.yaml        the whole job, every field"
echo "    Another connection around the sub-layers, to compare:"
echo "      build/bin/birkhoff run configs/tiny.yaml --set model.residual.kind=hc --out runs/hc"
