#!/usr/bin/env bash
# Checks the manifests of deploy/kustomize: renders, strict schemas, our rules, and the rules against planted mistakes.
#   bash deploy/tests/check.sh            BIRKHOFF_BIN names the folder of the programs, whose flags are then compared too
#   bash deploy/tests/check.sh --update   writes the renders and what is generated; needs kubectl 1.27 or newer
# Needs python3 with venv and pip; what it takes from PyPI goes to build/deploy-checks.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The last one is for tests/image.py.
packages=(kubernetes-validate==1.37.0 PyYAML==6.0.3 spdx-tools==0.8.3)
environment=build/deploy-checks
if ! "$environment/bin/python" -c 'import kubernetes_validate, spdx_tools, yaml' 2>/dev/null; then
  rm -rf "$environment"
  mkdir -p build
  python3 -m venv "$environment"
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
fi
exec "$environment/bin/python" -B deploy/tests/check.py "$@"
