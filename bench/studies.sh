#!/usr/bin/env bash
# The studies of docs/studies.md: deep-tiny with three seeds and five learning rates, and the explosion of HC counted over ten
# seeds, two rates and two depths.  Each run is one rank on one thread, and as many go on at once as there are jobs.
#   bash bench/studies.sh PROGRAMS [--jobs N] [--seconds S] [--out DIR]
#     PROGRAMS   the folder of birkhoff and birkhoff-worker, e.g. build/bin
#     N          runs at once; the machine's cores
#     S          after so many seconds all runs are asked for a checkpoint: the same command again goes on (then it ends with 75)
#     DIR        runs/studies
# Ends with the tables, which also stand in DIR/studies.md; the reports are DIR/*/report.html.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,10s/^# \{0,1\}//p' bench/studies.sh >&2; exit 64; }

[ $# -ge 1 ] || usage
programs=$1 jobs=$(nproc) seconds=86400 out=runs/studies
shift
while [ $# -ge 2 ]; do
  case $1 in
    --jobs) jobs=$2 ;;
    --seconds) seconds=$2 ;;
    --out) out=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[ $# -eq 0 ] || usage
readonly one_rank=(--set parallelism.pipeline_parallel_degree=1 --set parallelism.schedule=1f1b --set checkpoint.keep_last=1)
readonly stopped=75  # birkhoff's code for runs that were stopped with a checkpoint

# study NAME JOB.yaml COMPARE'S FLAGS...: goes on where it was, for what is left of the time.
study() {
  local name=$1 left=$((seconds - SECONDS))
  shift
  [ "$left" -gt 0 ] || return "$stopped"
  timeout --foreground --preserve-status "$left" \
    "$programs/birkhoff" compare "$@" "${one_rank[@]}" --workers "$jobs" --threads 1 \
    --out "$out/$name" >>"$out/$name.log" 2>&1
}

# A failure outranks a stop.
code=0
note() { if [ "$1" -ne 0 ] && { [ "$code" -eq 0 ] || [ "$1" -ne "$stopped" ]; }; then code=$1; fi; }

mkdir -p "$out"
# The first two together keep more cores busy than one after the other: they are few and long.
study deep-tiny configs/deep-tiny.yaml --residual residual,hc,mhc --seeds 3 &
seeds=$!
study rates configs/deep-tiny.yaml --residual residual,hc,mhc --sweep optimizer.lr=5e-4,1e-3,2e-3,4e-3,8e-3 || note $?
wait "$seeds" || note $?
if [ "$code" -eq 0 ]; then
  study explosion configs/explosion.yaml --residual residual,hc,mhc --seeds 10 --sweep model.num_hidden_layers=24,48 \
    --sweep optimizer.lr=8e-3,2e-2 || note $?
fi

python3 bench/studies.py "$out" | tee "$out/studies.md"
if [ "$code" -eq "$stopped" ]; then
  echo "not all done after $SECONDS s; to go on: the same command again" >&2
elif [ "$code" -ne 0 ]; then
  tail -n 5 "$out"/*.log >&2
fi
exit "$code"
