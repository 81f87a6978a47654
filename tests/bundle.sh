#!/usr/bin/env bash
# Tests an archive of deploy/bundle.sh where there is nothing but it, glibc and /proc: a chroot without a shell.
#   bash tests/bundle.sh ARCHIVE
# Prints a line for each check and a closing line `N passed, N failed`.  As root, or where users may have namespaces.
set -euo pipefail

archive=$(realpath "${1:?usage: bash tests/bundle.sh ARCHIVE}")
cd "$(dirname "$0")/.."
root=$(mktemp -d "${TMPDIR:-/tmp}/birkhoff-chroot.XXXXXX")
trap 'rm -rf "$root"' EXIT
passed=0 failed=0

make_root() {
  local file
  mkdir -p "$root"/{proc,tmp,data,lib64}
  while read -r file; do
    [[ $file == *.so* && -f $file && $file != *conf ]] || continue
    mkdir -p "$root${file%/*}"
    cp -L "$file" "$root$file"
  done < <(dpkg -L libc6 | grep -v /gconv/)
  tar -xzf "$archive" -C "$root"
  mv "$root"/birkhoff-* "$root/birkhoff"
  cp docs/formats.md docs/plan.md docs/protocol.md "$root/data/"
  # A job of two workers, so that they talk to the coordinator and to each other.
  cat >"$root/data/job.yaml" <<'JOB'
name: bundle
model: {hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2, intermediate_size: 64,
        residual: {kind: mhc, streams: 4}}
data: {train: /data/text-train, validation: /data/text-val, tokenizer: bytes}
training: {steps: 3, sequence_length: 64, micro_batch_size: 1, global_batch_size: 4}
lr_schedule: {kind: cosine, warmup_steps: 1}
parallelism: {pipeline_parallel_degree: 2}
JOB
}

# A program of the bundle, in the chroot.  The namespaces end with the command, and so do the mount and what it started.
inside() {
  local program=$1
  shift
  timeout 120 env -i PATH="$PATH" "${origin[@]}" "${namespaces[@]}" sh -c "$mount_proc"' exec chroot "$0" "$@"' \
    "$root" "/birkhoff/bin/$program" "$@"
}

# Programs that start others find them through /proc, which needs namespaces: a container may not grant them.  glibc finds
# $ORIGIN there too, but can be told.
find_namespaces() {
  origin=()
  namespaces=(unshare --mount --pid --fork --kill-child)
  [ "$(id -u)" -eq 0 ] || namespaces+=(--map-root-user)
  # shellcheck disable=SC2016  # the inner shell's word
  mount_proc='mount -t proc proc "$0/proc" &&'
  "${namespaces[@]}" sh -c "$mount_proc true" "$root" 2>/dev/null && return
  namespaces=() mount_proc='' origin=(LD_ORIGIN_PATH=/birkhoff/bin)
}

# expect NAME CODE TEXT PROGRAM WORD...: ends with the exit code, and prints the text.
expect() {
  local name=$1 want=$2 text=$3 code=0 output
  shift 3
  output=$(inside "$@" 2>&1) || code=$?
  if [ "$code" -eq "$want" ] && [[ $output == *"$text"* ]]; then
    echo "ok      $name"
    passed=$((passed + 1))
  else
    echo "FAILED  $name: exit code $code instead of $want, or without \"$text\":"
    printf '%s\n' "$output" | tail -20
    failed=$((failed + 1))
  fi
}

# expect_rows NUMBER: of steps that the job has written down.
expect_rows() {
  local rows
  rows=$(grep -c '"step"' "$root/tmp/run/metrics.jsonl" 2>/dev/null || true)
  if [ "$rows" = "$1" ]; then
    echo "ok      it has a row for each step"
    passed=$((passed + 1))
  else
    echo "FAILED  ${rows:-0} rows of $1 steps"
    failed=$((failed + 1))
  fi
}

make_root
find_namespaces
version=$(sed -n 's/.*kVersion\[\] = "\(.*\)".*/\1/p' core/base/version.h)
no_gpu="this build has no GPU backend"
[ ! -e "$root/birkhoff/lib/libbirkhoff_cuda.so" ] || no_gpu="was not found; need CUDA 13 with cuDNN 9"

expect "birkhoff says its version" 0 "birkhoff $version" birkhoff version
for program in birkhoff birkhoffd birkhoff-worker birkhoff-data birkhoff-inference; do
  expect "$program helps" 0 "--help" "$program" --help
done
expect "text becomes tokens" 0 "" birkhoff-data tokenize --input /data/formats.md /data/plan.md /data/protocol.md \
  --tokenizer bytes --output /data/text --validation-share 0.3
expect "a job is valid" 0 "valid (" birkhoff validate /data/job.yaml
expect "a GPU is refused by name" 64 "$no_gpu" birkhoff-worker --device cuda
if [ -n "$mount_proc" ]; then
  expect "a job trains" 0 "" birkhoff run /data/job.yaml --out /tmp/run
  expect_rows 3
  expect "its weights write text" 0 "ab" birkhoff generate /tmp/run --prompt ab --max-tokens 3
else
  echo "skipped a job trains: /proc cannot be mounted here"
fi

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
