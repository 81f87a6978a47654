#!/usr/bin/env bash
# Fetches what deploy/grafana/generate.py needs to build/grafana-sdk, from PyPI, and runs it with its arguments.
#   bash deploy/grafana/sdk.sh            writes the dashboards
#   bash deploy/grafana/sdk.sh --check    writes nothing; 1 where a dashboard is not what would be written
set -euo pipefail
cd "$(dirname "$0")/../.."

# Grafana 11.6: the oldest that its makers still keep and whose schema has all that we use.
package='grafana-foundation-sdk==1769699379!11.6.0'
folder=build/grafana-sdk
if [ "$(cat "$folder/package" 2>/dev/null)" != "$package" ]; then
  rm -rf "$folder"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --target "$folder" "$package"
  echo "$package" >"$folder/package"
fi
PYTHONPATH=$folder exec python3 deploy/grafana/generate.py "$@"
