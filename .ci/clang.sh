#!/usr/bin/env bash
# clang over every source, its warnings and its analysis of locks as errors: core and the coordinator with their tests as a debug
# build, which runs; of all else it makes no objects.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --preset debug >/dev/null
cmake --build --preset debug --target debug_tests --parallel "$(nproc)"
ctest --test-dir build/debug --label-regex debug --output-on-failure --parallel "$(nproc)"
# One command for each source that has no object, as the debug build would compile it.
python3 - <<'PYTHON' >build/debug/commands
import json, pathlib, re, shlex

for entry in json.load(open("build/debug/compile_commands.json")):
    command, folder = entry["command"], pathlib.Path(entry["directory"])
    to_object = re.search(r" -o (\S+) -c ", command)
    if "/build/" in entry["file"] or (folder / to_object[1]).exists():
        continue
    command = command.replace(to_object[0], " -fsyntax-only ")
    print(f"cd {shlex.quote(str(folder))} && {command}")
PYTHON
xargs -P "$(nproc)" -d '\n' -I COMMAND bash -c COMMAND <build/debug/commands
echo "$(wc -l <build/debug/commands) more sources: no warnings"
