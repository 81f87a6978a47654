#!/usr/bin/env bash
# Rules, their unit tests and the configurations, as promtool and amtool see them; dashboards and runbooks, as
# deploy/grafana/lint.py and Grafana's types see them.  Needs Debian's and PyPI's packages alone, and no coordinator.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/prometheus/fetch.sh
have_prometheus

promtool check rules deploy/prometheus/rules/*.yaml
promtool check config deploy/prometheus/prometheus.yml
promtool test rules deploy/prometheus/tests/*.yaml
if command -v amtool >/dev/null; then amtool check-config deploy/prometheus/alertmanager.yml; fi
bash deploy/grafana/sdk.sh --check
python3 -B deploy/grafana/lint.py
python3 -B tests/integration/lint_test.py
