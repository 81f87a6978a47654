"""deploy/grafana/lint.py finds what it is there for: mistakes planted into the dashboards and rules that are shipped."""
import copy
import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "grafana"))
import lint  # noqa: E402

KNOWN = lint.documented() | {rule["record"] for rule in lint.rules("record")} | {
    "ALERTS", "up", "certmanager_certificate_expiration_timestamp_seconds"}
ALERTS = {rule["alert"]: rule for rule in lint.rules("alert")}
SHIPPED = json.loads((ROOT / "deploy/grafana/dashboards/birkhoff-performance.json").read_text())


def first_panel(dashboard):
    return lint.panels(dashboard)[0]


def set_query(expression):
    def plant(dashboard):
        first_panel(dashboard)["targets"][0]["expr"] = expression
    return plant


def set_variable(name, key, value):
    def plant(dashboard):
        next(v for v in dashboard["templating"]["list"] if v["name"] == name)[key] = value
    return plant


SELECT = 'job=~"$job", instance=~"$instance"'
DASHBOARD_MISTAKES = {
    "no title": (lambda d: first_panel(d).update(title=""), "needs a title"),
    "no description": (lambda d: first_panel(d).pop("description"), "and a description"),
    "no unit": (lambda d: first_panel(d)["fieldConfig"]["defaults"].pop("unit"), "unit None"),
    "a unit that Grafana does not have": (
        lambda d: first_panel(d)["fieldConfig"]["defaults"].update(unit="furlong"), "unit furlong"),
    "no query": (lambda d: first_panel(d).update(targets=[]), "has no target"),
    "a fixed data source": (lambda d: first_panel(d)["datasource"].update(uid="prom-1"), "the data source variable"),
    "a second data source variable": (lambda d: d["templating"]["list"].append(
        {"name": "other", "type": "datasource"}), "exactly one data source variable"),
    "a variable without All": (set_variable("instance", "includeAll", False), "includeAll False"),
    "a variable that is read once": (set_variable("job", "refresh", 1), "refresh 1"),
    "a variable of an unknown metric": (set_variable("job", "query", {"query": "label_values(birkhoff_bild_info, job)"}),
                                        "birkhoff_bild_info"),
    "an unknown metric": (set_query(f"birkhoff_los{{{SELECT}}}"), "birkhoff_los is no metric"),
    "no matchers": (set_query("birkhoff_training_loss"), "has no matchers"),
    "a fixed instance": (set_query('birkhoff_training_loss{job=~"$job", instance="c:9464"}'), "names one instance"),
    "a fixed job": (set_query(f'birkhoff_training_loss{{{SELECT}, job_id="tiny"}}'), "names one instance"),
    "a fixed range": (set_query(f"rate(birkhoff_tokens_total{{{SELECT}}}[5m])"), "need $__rate_interval"),
    "a bare counter": (set_query(f"birkhoff_tokens_total{{{SELECT}}}"), "outside rate"),
    "a runbook of no alert": (lambda d: first_panel(d).update(links=[{"url": "${runbooks}/BirkhoffNothing.md"}]),
                              "which is no alert"),
    "an editable dashboard": (lambda d: d.update(editable=True), "must not be editable"),
    "another uid": (lambda d: d.update(uid="other"), "uid is not the file's name"),
    "two panels with one id": (lambda d: first_panel(d).update(id=lint.panels(d)[1]["id"]), "share an id"),
}
ALERT_MISTAKES = {
    "no runbook": (lambda rule: rule["annotations"].pop("runbook_url"), "has no runbook_url"),
    "another's runbook": (lambda rule: rule["annotations"].update(runbook_url="docs/runbooks/Other.md"), "must be docs/"),
    "a severity of our own": (lambda rule: rule["labels"].update(severity="urgent"), "severity must be"),
    "an unknown metric": (lambda rule: rule.update(expr="birkhoff_nothing > 0"), "birkhoff_nothing is no metric"),
}


class LintTest(unittest.TestCase):
    def problems(self, dashboard):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "birkhoff-performance.json"
            path.write_text(json.dumps(dashboard))
            return list(lint.check_dashboard(path, KNOWN, ALERTS))

    def test_what_is_shipped_has_no_problem(self):
        self.assertEqual(self.problems(SHIPPED), [])
        self.assertEqual(list(lint.check_alerts(ALERTS, KNOWN)), [])

    def test_mistakes_in_a_dashboard_are_found(self):
        for name, (plant, words) in DASHBOARD_MISTAKES.items():
            with self.subTest(name):
                dashboard = copy.deepcopy(SHIPPED)
                plant(dashboard)
                self.assertIn(words, "\n".join(self.problems(dashboard)))

    def test_mistakes_in_an_alert_are_found(self):
        for name, (plant, words) in ALERT_MISTAKES.items():
            with self.subTest(name):
                alerts = copy.deepcopy(ALERTS)
                plant(alerts["BirkhoffLossSpike"])
                self.assertIn(words, "\n".join(lint.check_alerts(alerts, KNOWN)))

    def test_an_alert_without_tests_or_page_is_found(self):
        found = "\n".join(lint.check_alerts({**ALERTS, "BirkhoffNew": ALERTS["BirkhoffLossSpike"]}, KNOWN))
        self.assertIn("BirkhoffNew: 0 unit tests", found)
        self.assertIn("docs/runbooks/BirkhoffNew.md is missing", found)


if __name__ == "__main__":
    unittest.main()
