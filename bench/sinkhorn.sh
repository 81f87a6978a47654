#!/usr/bin/env bash
# The table of docs/sinkhorn.md: what 5, 10, 20 and 50 iterations leave of the constraint, on logits that are drawn (by
# kernels_sinkhorn_study_test), and on the tokens of a model that has been trained.
#   bash bench/sinkhorn.sh [JOB.yaml]     configs/tiny.yaml; trains it into build/sinkhorn, once
set -euo pipefail
cd "$(dirname "$0")/.."
job=${1:-configs/tiny.yaml}
name=$(basename "$job" .yaml)
folder=build/sinkhorn/$name
export OPENBLAS_NUM_THREADS=1

echo '| logits | iterations | rows, largest | columns, median | 99 % | largest |'
echo '|---|---|---|---|---|---|'
ctest --test-dir build --tests-regex '^kernels_sinkhorn_study_test$' --verbose | sed -n 's/^[0-9]*: \(| .*\)/\1/p'

# Trained once with 20 iterations; then one step each from those weights, whose forward pass is what is measured.
[ -d "$folder/trained" ] || build/bin/birkhoff run "$job" --out "$folder/trained" >&2
for iterations in 5 10 20 50; do
  build/bin/birkhoff run "$job" --out "$folder/$iterations" --fresh --init-from "$folder/trained/checkpoints" \
    --set training.steps=1 --set lr_schedule.warmup_steps=0 --set "model.residual.sinkhorn_iterations=$iterations" >&2
  python3 - "$folder/$iterations/metrics.jsonl" "$name" "$iterations" <<'PYTHON'
import json
import sys

row = json.loads(open(sys.argv[1]).readline())
name, iterations = sys.argv[2:]
rows = max(abs(gain - 1) for gain in row["gain_single_forward_by_sublayer"])
columns = sorted(abs(gain - 1) for gain in row["gain_single_backward_by_sublayer"])
print(f"| {name}, trained: by sub-layer, means over tokens | {iterations} | {rows:.0e} | "
      f"{columns[len(columns) // 2]:.1e} | | {columns[-1]:.1e} |")
PYTHON
done
