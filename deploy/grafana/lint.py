#!/usr/bin/env python3
"""What the dashboards and the alerts must keep, beyond what Grafana's types and promtool say.

For dashboards the rules of Grafana's own dashboard-linter (their names stand beside the checks), for alerts that each
has a runbook page and unit tests, and for both that they know the metrics of docs/metrics.md and nothing else.
Needs PyYAML and promtool.  Prints every problem; 1 where there is one.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = {"none", "locale", "s", "bytes", "percentunit", "reqps"}
QUERY_VARIABLES = ("job", "instance", "job_id")

# Exceptions, with their reasons.
WITHOUT_MATCHERS = {"ALERTS": "alerts on absence have no instance"}
FIXED_RANGE = {"Steps skipped": "the title says the range"}
UNUSED = {
    "process_virtual_memory_bytes": "resident memory says more",
    "birkhoff_steps_total": "for the recording rule and for users' own queries",
    "grpc_server_started_total": "calls that never end show in grpc_server_open_streams",
}

# A selector: a name and its matchers.  Names without matchers are found by NAME.
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
NAME = re.compile(
    r"(?<![\w:])(?:(?:birkhoff|process|grpc_server|certmanager)_\w+|job(?:_id)?:\w+:\w+|ALERTS)(?![\w:])(?!\s*[{(])")
RANGE_FUNCTION = re.compile(r"\b(?:rate|irate|increase)\(\s*([a-zA-Z_:][\w:]*)\{[^}]*\}\[([^\]]+)\]\)")


def documented():
    page = (ROOT / "docs/metrics.md").read_text()
    return set(re.findall(r"^\| `((?:birkhoff|process|grpc_server)_[a-z_]+)` \|", page, re.M))


def rule_groups():
    for path in sorted((ROOT / "deploy/prometheus/rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield path, group


def rules(kind):
    return [rule for _, group in rule_groups() for rule in group["rules"] if kind in rule]


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def plain(expression):
    """The expression as Prometheus takes it, with something for each variable."""
    for variable, value in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$__interval", "15s")):
        expression = expression.replace(variable, value)
    return re.sub(r"\$\{?\w+\}?", ".+", re.sub(r'"\$1"|"0+\$1"', '"1"', expression))


def base(name):
    """The family that a series belongs to."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def names_in(expression):
    return {base(n) for n, _ in SELECTOR.findall(expression)} | {base(n) for n in NAME.findall(expression)}


def check_names(where, expression, known):
    for name in sorted(names_in(expression) - known):
        yield f"{where}: {name} is no metric of docs/metrics.md and no recording rule"


def check_query(where, title, expression, known):
    yield from check_names(where, expression, known)
    for name in NAME.findall(expression):
        yield f"{where}: {name} has no matchers"
    for name, matchers in SELECTOR.findall(expression):
        for label in ("job", "instance"):  # target-job-rule, target-instance-rule
            if name not in WITHOUT_MATCHERS and f'{label}=~"${label}"' not in matchers:
                yield f"{where}: {name} does not follow the variable {label}"
    if re.search(r'(instance|job_id|worker)="', expression):
        yield f"{where}: names one instance, job or worker"
    ranges = RANGE_FUNCTION.findall(expression)
    for name, interval in ranges:  # target-rate-interval-rule
        if interval != "$__rate_interval" and title not in FIXED_RANGE:
            yield f"{where}: {name} over [{interval}]; need $__rate_interval"
    counters = {n for n, _ in SELECTOR.findall(expression) if re.search(r"_(total|bucket|count|sum)$", n)}
    for name in sorted(counters - {n for n, _ in ranges}):  # target-counter-agg-rule
        if title != "Jobs":  # a table of totals
            yield f"{where}: the counter {name} stands outside rate and increase"


def check_variables(name, dashboard, known):
    variables = {v["name"]: v for v in dashboard["templating"]["list"]}
    sources = [v for v in variables.values() if v["type"] == "datasource"]
    if [v["name"] for v in sources] != ["datasource"]:  # template-datasource-rule
        yield f"{name}: needs exactly one data source variable, named datasource"
    for variable in QUERY_VARIABLES:  # template-job-rule, template-instance-rule, template-on-time-change-reload-rule
        found = variables.get(variable)
        if found is None or found["type"] != "query":
            yield f"{name}: has no query variable {variable}"
            continue
        for key, value in (("multi", True), ("includeAll", True), ("allValue", ".+"), ("refresh", 2)):
            if found.get(key) != value:
                yield f"{name}: variable {variable} has {key} {found.get(key)}; need {value}"
    for variable in variables.values():  # template-label-promql-rule
        if variable["type"] == "query":
            yield from check_names(f"{name}: variable {variable['name']}", variable["query"]["query"], known)


def check_dashboard(path, known, alerts):
    name = path.name
    dashboard = json.loads(path.read_text())
    if dashboard.get("editable") or "id" in dashboard or "__inputs" in dashboard:  # uneditable-dashboard
        yield f"{name}: must not be editable, nor have id or __inputs"
    if dashboard.get("uid") != path.stem:
        yield f"{name}: uid is not the file's name"
    yield from check_variables(name, dashboard, known)
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(set(ids)) != len(ids):
        yield f"{name}: panels share an id"
    for panel in panels(dashboard):
        title = panel.get("title", "")
        where = f"{name}: {title or panel['id']}"
        if not title or not panel.get("description"):  # panel-title-description-rule
            yield f"{where}: needs a title and a description"
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        if unit not in UNITS:  # panel-units-rule
            yield f"{where}: unit {unit} is none of {sorted(UNITS)}"
        if not panel.get("targets"):  # panel-no-targets-rule
            yield f"{where}: has no target"
        for item in (panel, *panel.get("targets", [])):  # panel-datasource-rule
            if item.get("datasource", {}).get("uid") != "${datasource}":
                yield f"{where}: does not use the data source variable"
        for target in panel.get("targets", []):
            yield from check_query(where, title, target["expr"], known)
        for link in panel.get("links", []):
            alert = pathlib.PurePath(link["url"]).stem
            if alert not in alerts:
                yield f"{where}: links to the runbook of {alert}, which is no alert"
    for annotation in dashboard["annotations"]["list"]:
        yield from check_query(f"{name}: annotation {annotation['name']}", "", annotation["expr"], known)


def check_alerts(alerts, known):
    if len(alerts) < 16:
        yield f"{len(alerts)} alerts; need 16"
    cases = {}
    for path in sorted((ROOT / "deploy/prometheus/tests").glob("*.yaml")):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                cases.setdefault(case["alertname"], []).append(bool(case["exp_alerts"]))
    for name in sorted(set(cases) - set(alerts)):
        yield f"unit tests name {name}, which is no alert"
    for name, rule in alerts.items():
        if not re.fullmatch(r"Birkhoff[A-Za-z]+", name):
            yield f"{name}: need CamelCase behind Birkhoff"
        if rule.get("labels", {}).get("severity") not in ("critical", "warning", "info"):
            yield f"{name}: severity must be critical, warning or info"
        for annotation in ("summary", "description", "runbook_url", "dashboard"):
            if not rule.get("annotations", {}).get(annotation):
                yield f"{name}: has no {annotation}"
        if rule["annotations"].get("runbook_url") != f"docs/runbooks/{name}.md":
            yield f"{name}: runbook_url must be docs/runbooks/{name}.md"
        page = ROOT / f"docs/runbooks/{name}.md"
        headings = re.findall(r"^(#+ .*)$", page.read_text(), re.M) if page.exists() else []
        if headings != [f"# {name}", "## What it means", "## What to look at", "## What to do", "## Why this threshold"]:
            yield f"{name}: docs/runbooks/{name}.md is missing or has other headings"
        fired = cases.get(name, [])
        if len(fired) < 3 or True not in fired or False not in fired:
            yield f"{name}: {len(fired)} unit tests; need 3, with one that fires and one that does not"
        yield from check_names(name, rule["expr"], known)
    pages = {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")} - {"README"}
    for name in sorted(pages - set(alerts)):
        yield f"docs/runbooks/{name}.md: there is no such alert"


def check_parsing(expressions):
    """promtool reads every expression (target-promql-rule)."""
    rules_file = {"groups": [{"name": "panels", "rules": [
        {"record": f"panel:{i}", "expr": plain(expression)} for i, expression in enumerate(expressions)]}]}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(rules_file, file)
        file.flush()
        result = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        yield "promtool: " + result.stderr.strip()


def main():
    recorded = {rule["record"] for rule in rules("record")}
    alerts = {rule["alert"]: rule for rule in rules("alert")}
    metrics = documented()
    known = metrics | recorded | {"ALERTS", "up", "certmanager_certificate_expiration_timestamp_seconds"}
    paths = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
    problems = [problem for path in paths for problem in check_dashboard(path, known, alerts)]
    problems += check_alerts(alerts, known)
    for rule in rules("record"):
        problems += check_names(rule["record"], rule["expr"], known)
    loaded = [json.loads(path.read_text()) for path in paths]
    expressions = [t["expr"] for d in loaded for p in panels(d) for t in p.get("targets", [])]
    expressions += [a["expr"] for d in loaded for a in d["annotations"]["list"]]
    problems += check_parsing(expressions)
    used = set().union(*(names_in(e) for e in expressions))
    for metric in sorted(metrics - used - set(UNUSED)):
        problems.append(f"{metric}: no panel shows it, and it is not among those left out on purpose")
    for metric in sorted((used | (recorded - metrics)) & set(UNUSED)):
        problems.append(f"{metric}: is shown, but stands among those left out on purpose")
    print("\n".join(problems) or f"{len(paths)} dashboards with {len(expressions)} queries, {len(alerts)} alerts: no problem")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
