#!/usr/bin/env bash
# The whole thing on one machine, without Kubernetes: a coordinator, four workers, Prometheus with our rules,
# Alertmanager and Grafana where the host has them; HC and mHC train side by side on real text.
#
# usage: deploy/demo.sh [--once]
#   without --once   stays after the training, so that you can look; Ctrl-C ends everything
#   --once           ends with the training
#   BIRKHOFF_DEMO_STEPS=600    steps of each job
#   BIRKHOFF_DEMO=build/demo   where stores, logs and runs lie; what an earlier demo left is removed
#   BIRKHOFF_BIN=build/bin     programs that are built already; else they are built
# Needs root or sudo for packages that are missing.  Everything listens on loopback: 7443 gRPC, 8080 the live page, 9464
# metrics, 9090 Prometheus, 9093 Alertmanager, 3000 Grafana.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/packages.sh
. deploy/prometheus/fetch.sh

once=no
case "${1:-}" in
  "") ;;
  --once) once=yes ;;
  *) sed -n '/^# usage/,/^# Needs/p' "$0" >&2; exit 64 ;;
esac
steps=${BIRKHOFF_DEMO_STEPS:-600}
folder=${BIRKHOFF_DEMO:-build/demo}
# Two cores are enough if the ranks do not fight for them.
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}

say() { printf '==> %s\n' "$*"; }

if [ -z "${BIRKHOFF_BIN:-}" ]; then
  install_packages "${BUILD_PACKAGES[@]}" "${CORPUS_PACKAGES[@]}"
  say "build: cmake --preset release, then ninja (some minutes on two cores)"
  cmake --preset release >/dev/null
  cmake --build build --parallel "$(nproc)" --target birkhoff birkhoffd birkhoff-worker birkhoff-data
fi
export BIRKHOFF_BIN=${BIRKHOFF_BIN:-build/bin}
bin=$(cd "$BIRKHOFF_BIN" && pwd)
bash deploy/corpus.sh
have_prometheus

# Only what an earlier demo has left is removed.
if [ -d "$folder" ] && [ ! -e "$folder/.birkhoff-demo" ] && [ -n "$(ls -A "$folder")" ]; then
  echo "$folder holds something else: name an empty folder, or a new one, by BIRKHOFF_DEMO" >&2
  exit 64
fi
rm -rf "$folder"
mkdir -p "$folder"
touch "$folder/.birkhoff-demo"
folder=$(cd "$folder" && pwd)
children=()
# start NAME COMMAND...: in the background, its words in NAME.log.
start() {
  local name=$1
  shift
  "$@" >"$folder/$name.log" 2>&1 &
  children+=("$!")
}
stop_all() {
  trap - EXIT
  # Workers first: they commit their checkpoints with the coordinator.
  kill "${children[@]:1}" 2>/dev/null || true
  wait "${children[@]:1}" 2>/dev/null || true
  kill "${children[0]}" 2>/dev/null || true
  wait 2>/dev/null || true
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# reach URL WHAT: waits until it answers.
reach() {
  for _ in $(seq 150); do
    if python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)' "$1" 2>/dev/null; then
      return 0
    fi
    kill -0 "${children[-1]}" 2>/dev/null || break
    sleep 0.2
  done
  echo "$2 does not answer at $1; $folder has its log" >&2
  tail -n 5 "$folder"/*.log >&2
  return 1
}

start birkhoffd "$bin/birkhoffd" --store "$folder/birkhoff.db"
reach http://127.0.0.1:9464/metrics "The coordinator"
for worker in a b c d; do
  start "worker-$worker" "$bin/birkhoff-worker" --coordinator 127.0.0.1:7443 --name "$worker"
done
if have_alertmanager; then
  start alertmanager "$alertmanager" --config.file=deploy/prometheus/alertmanager.yml \
    --storage.path="$folder/alertmanager" --web.listen-address=127.0.0.1:9093 --cluster.listen-address=
fi
start prometheus exec_prometheus --config.file=deploy/prometheus/prometheus.yml --storage.tsdb.path="$folder/tsdb" \
  --web.listen-address=127.0.0.1:9090
reach http://127.0.0.1:9090/-/ready Prometheus

export BIRKHOFF_PROMETHEUS=http://127.0.0.1:9090 BIRKHOFF_DASHBOARDS=$PWD/deploy/grafana/dashboards
grafana=no
if command -v grafana-server >/dev/null && [ -d /usr/share/grafana ]; then
  start grafana env GF_PATHS_PROVISIONING="$PWD/deploy/grafana/provisioning" GF_PATHS_DATA="$folder/grafana" \
    GF_PATHS_LOGS="$folder/grafana" GF_SERVER_HTTP_ADDR=127.0.0.1 GF_AUTH_ANONYMOUS_ENABLED=true \
    grafana-server --homepath /usr/share/grafana
  grafana=yes
fi

for kind in hc mhc; do
  "$bin/birkhoff" submit configs/tiny.yaml --set "name=$kind" --set "model.residual.kind=$kind" \
    --set "training.steps=$steps" --out "$folder/runs/$kind" >/dev/null
done

say "HC and mHC train side by side, $steps steps each"
cat <<END
    jobs           $BIRKHOFF_BIN/birkhoff list;  $BIRKHOFF_BIN/birkhoff watch mhc
    live page      http://127.0.0.1:8080
    metrics        http://127.0.0.1:9464/metrics
    Prometheus     http://127.0.0.1:9090, with its page of alerts
END
if [ -n "$alertmanager" ]; then echo "    Alertmanager   http://127.0.0.1:9093"; fi
if [ "$grafana" = yes ]; then
  echo "    Grafana        http://127.0.0.1:3000/d/birkhoff-stability"
else
  cat <<END
    Grafana        there is none on this host (Debian has no package).  For one of yours: add the data source
                   $BIRKHOFF_PROMETHEUS, and import deploy/grafana/dashboards/*.json; or start it with
                   GF_PATHS_PROVISIONING=$PWD/deploy/grafana/provisioning
                   BIRKHOFF_PROMETHEUS=$BIRKHOFF_PROMETHEUS
                   BIRKHOFF_DASHBOARDS=$BIRKHOFF_DASHBOARDS
    without        python3 deploy/grafana/draw.py --minutes 5 --out $folder    (needs python3-matplotlib)
END
fi
echo "    logs, runs     $folder"

for kind in hc mhc; do
  "$bin/birkhoff" watch "$kind" >"$folder/watch-$kind.log" 2>&1 &
  watching+=("$!")
done
code=0
for pid in "${watching[@]}"; do wait "$pid" || code=$?; done
say "both jobs are over (exit code $code); the largest composite gain of each:"
for kind in hc mhc; do
  python3 - "$folder/runs/$kind/metrics.jsonl" "$kind" <<'END'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
gain = max(max(row["gain_forward"], row["gain_backward"]) for row in rows)
print(f"    {sys.argv[2]:4s} {gain:10.3f}    last loss {rows[-1]['loss']:.3f}")
END
done
if [ "$once" = no ]; then
  say "everything else stays up; Ctrl-C ends it"
  wait "${children[0]}"
fi
exit "$code"
