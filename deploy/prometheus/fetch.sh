#!/usr/bin/env bash
# Where Prometheus' programs are: those of the host, or Debian's packages unpacked to build/prometheus, which installs
# and starts nothing.  Sourced by deploy/demo.sh and deploy/prometheus/check.sh; run by itself it fetches.
#
#   have_prometheus     puts prometheus, promtool and amtool on PATH, or returns 1 and says what to do
#   exec_prometheus FLAG...   becomes prometheus, told where its pages are
#   have_alertmanager   whether the host has an Alertmanager, as $alertmanager; Debian's does not run unpacked

prometheus_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/prometheus
prometheus_flags=()
alertmanager=

# With what its pages are made of.
PROMETHEUS_PACKAGES=(
  prometheus prometheus-alertmanager fonts-glyphicons-halflings libjs-bootstrap4 libjs-d3
  libjs-eonasdan-bootstrap-datetimepicker libjs-jquery libjs-jquery-hotkeys libjs-moment libjs-moment-timezone
  libjs-mustache libjs-popper.js libjs-rickshaw
)

fetch_prometheus() {
  mkdir -p "$prometheus_root/packages" || return 1
  (
    cd "$prometheus_root/packages" || exit 1
    # The lists of a fresh machine are empty; renewing them needs root.
    apt-get download -qq "${PROMETHEUS_PACKAGES[@]}" 2>/dev/null ||
      { apt-get update -qq && apt-get download -qq "${PROMETHEUS_PACKAGES[@]}"; } || exit 1
    for package in ./*.deb; do dpkg-deb -x "$package" "$prometheus_root" || exit 1; done
  )
}

have_prometheus() {
  PATH=$PATH:$prometheus_root/usr/bin
  if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    echo "==> prometheus: unpacking Debian's packages to build/prometheus"
    fetch_prometheus
  fi
  if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    case $(command -v prometheus) in
      "$prometheus_root"/*) prometheus_flags=(--web.local-assets="$prometheus_root/usr/share/prometheus/web/") ;;
    esac
    return 0
  fi
  echo "Prometheus is missing and could not be fetched: apt-get install prometheus, or put prometheus and promtool" >&2
  echo "(2.42 or newer) on PATH." >&2
  return 1
}

exec_prometheus() {
  exec prometheus "${prometheus_flags[@]}" "$@"
}

have_alertmanager() {
  local name
  for name in prometheus-alertmanager alertmanager; do
    alertmanager=$(command -v "$name") || continue
    case $alertmanager in
      "$prometheus_root"/*) ;;
      *) return 0 ;;
    esac
  done
  alertmanager=
  return 1
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  have_prometheus
fi
