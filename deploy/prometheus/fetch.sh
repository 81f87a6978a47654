#!/usr/bin/env bash
# Where Prometheus' programs are: those of the host, or Debian's packages unpacked to build/prometheus, which installs
# and starts nothing.  Sourced by deploy/demo.sh and deploy/prometheus/check.sh; run by itself it fetches.
#
#   have_prometheus    puts prometheus, promtool and, where there is one, prometheus-alertmanager and amtool on PATH,
#                      or returns 1 and says what to do

prometheus_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/prometheus

fetch_prometheus() {
  mkdir -p "$prometheus_root/packages" || return 1
  (
    cd "$prometheus_root/packages" || exit 1
    # The lists of a fresh machine are empty; renewing them needs root.
    apt-get download -qq prometheus prometheus-alertmanager 2>/dev/null ||
      { apt-get update -qq && apt-get download -qq prometheus prometheus-alertmanager; } || exit 1
    for package in ./*.deb; do dpkg-deb -x "$package" "$prometheus_root" || exit 1; done
  )
}

have_prometheus() {
  PATH=$PATH:$prometheus_root/usr/bin
  if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    echo "==> prometheus: unpacking Debian's packages to build/prometheus"
    fetch_prometheus
  fi
  command -v prometheus >/dev/null && command -v promtool >/dev/null && return 0
  echo "Prometheus is missing and could not be fetched: apt-get install prometheus, or put prometheus and promtool" >&2
  echo "(2.42 or newer) on PATH." >&2
  return 1
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  have_prometheus
fi
