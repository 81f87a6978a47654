"""A real Prometheus watches a real training run: every panel and every rule has data, what goes wrong fires, and a
step that stands out between two scrapes is seen.

Nothing is injected: a learning rate of 1,000 makes weights infinite within a few steps, and one step with a hundred
times the learning rate makes the loss jump and come back.
"""
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

import programs
from programs import wait_for
from prometheus_server import Prometheus

sys.path.insert(0, str(programs.SOURCE / "deploy" / "grafana"))
import lint  # noqa: E402

SPEC = """
name: tiny
model: {{hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2,
         intermediate_size: 64, residual: {{kind: mhc, streams: 4}}}}
data: {{train: {data}, validation: {data}, tokenizer: bytes}}
training: {{steps: 1000000, sequence_length: 32, micro_batch_size: 1, global_batch_size: 4,
           validation_interval: 50, validation_batches: 1}}
lr_schedule: {{kind: constant, warmup_steps: 20}}
parallelism: {{pipeline_parallel_degree: 2, schedule: dualpipev}}
checkpoint: {{interval: 100, keep_last: 2}}
"""

# What cannot be seen on this machine, and why.
NOT_HERE = {
    "certmanager_certificate_expiration_timestamp_seconds",  # cert-manager's own
    "birkhoff_model_flops_utilization",  # no peak is known
}
WAITING = "birkhoff_queue_oldest_timestamp_seconds"  # there while a job waits
PATIENCE = 120.0  # seconds, for data to come; the machine may be busy


def at_this_pace(expression):
    """A panel's query as it is asked here: a scrape takes a second."""
    return lint.plain(expression.replace("$__rate_interval", "10s"))


class MonitoringTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="birkhoff-monitoring-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        (self.root / "job.yaml").write_text(SPEC.format(data=programs.make_text(self.root)))
        self.cluster = programs.Cluster(self.root, workers=4)
        self.addCleanup(self.cluster.close)
        self.metrics = wait_for(self.metrics_address, "metrics are served")
        self.prometheus = Prometheus(self.root, self.metrics)
        self.addCleanup(self.prometheus.close)
        # A counter is seen to move only where it was seen before.
        wait_for(lambda: self.prometheus.query('up{job="birkhoff-coordinator"} == 1'), "the first scrape")

    def metrics_address(self):
        found = re.search(r"metrics on http://(\S+)/metrics\n", self.cluster.daemon.said())
        return found and found[1]

    def birkhoff(self, verb, *words):
        subprocess.run([programs.BIN / "birkhoff", verb, *words, "--server", self.cluster.address], cwd=self.root,
                       check=True, capture_output=True)

    def submit(self, name, *overrides):
        sets = [word for override in (f"name={name}", *overrides) for word in ("--set", override)]
        self.birkhoff("submit", "job.yaml", *sets)

    def cancel(self, name):
        self.birkhoff("cancel", name)
        wait_for(lambda: self.prometheus.query(f'birkhoff_job_state{{job_id="{name}", state="CANCELLED"}} == 1'),
                 f"{name} has ended")

    def scrape(self):
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def expect_data(self, expressions):
        """`expressions`: (where, PromQL); each must have data at some time within the patience, at once or later."""
        missing, end = dict(expressions), time.monotonic() + PATIENCE
        while missing and time.monotonic() < end:
            missing = {where: e for where, e in missing.items() if not self.prometheus.query(e)}
            threading.Event().wait(0.2 if missing else 0.0)
        self.assertEqual(missing, {})

    def largest(self, expression, begin):
        """The largest value that was ever scraped."""
        found = self.prometheus.over_time(expression, begin, time.time())
        return max(value for _, points in found for _, value in points)

    def first_time(self, selector):
        """The time of the series' first sample above 0."""
        found = self.prometheus.query(f"{selector}[10m]")
        return min(at for series in found for at, value in series["values"] if float(value) > 0)

    def test_panels_rules_and_exposition_of_hc_and_mhc_side_by_side(self):
        for kind in ("mhc", "hc"):
            self.submit(kind, f"model.residual.kind={kind}")
        self.submit("waits")
        for kind in ("mhc", "hc"):  # validations and checkpoints are among them
            wait_for(lambda: programs.last_step(self.root / "runs" / kind) > 110, f"110 steps of {kind}", PATIENCE)

        checked = subprocess.run(["promtool", "check", "metrics"], input=self.scrape(), capture_output=True, text=True,
                                 check=False)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))

        exposed = set(re.findall(r"^# TYPE (\S+) ", self.scrape(), re.M))
        self.assertEqual(exposed - lint.documented(), set())
        self.assertEqual(lint.documented() - exposed, NOT_HERE & lint.documented())

        self.expect_data([(rule["record"], rule["record"]) for rule in lint.rules("record")])
        selectors = [(f"{rule['alert']}: {name}{{{matchers}}}", f"{name}{{{matchers}}}")
                     for rule in lint.rules("alert") for name, matchers in lint.SELECTOR.findall(rule["expr"])
                     if name not in NOT_HERE]
        selectors += [(f"{rule['alert']}: {name}", name) for rule in lint.rules("alert")
                      for name in lint.NAME.findall(rule["expr"])
                      if name not in NOT_HERE and not re.search(rf"(by|on|without|ignoring) \([^)]*{name}", rule["expr"])]
        self.assertGreater(len(selectors), 40)
        self.expect_data(selectors)
        rules = [rule for group in self.prometheus.ask("rules")["groups"] for rule in group["rules"]]
        self.assertEqual([rule["name"] for rule in rules if rule["health"] != "ok"], [])

        queries = [(f"{path.stem}: {panel['title']} {target['refId']}", at_this_pace(target["expr"]))
                   for path in sorted((programs.SOURCE / "deploy/grafana/dashboards").glob("*.json"))
                   for panel in lint.panels(json.loads(path.read_text())) for target in panel["targets"]
                   if not lint.names_in(target["expr"]) & NOT_HERE]
        self.assertGreater(len(queries), 70)
        # Something to show under the alerts that fire.
        self.cancel("waits")
        self.cancel("hc")
        self.submit("waits-still")
        self.submit("waits-too")
        self.submit("breaks", "optimizer.lr=1000", "lr_schedule.warmup_steps=0")
        self.expect_data(queries)

    def test_weights_that_become_infinite_fire_within_two_evaluations(self):
        self.submit("breaks", "optimizer.lr=1000", "lr_schedule.warmup_steps=0")
        alert = 'ALERTS{alertname="BirkhoffStepSkipped", alertstate="firing", job_id="breaks"}'
        wait_for(lambda: self.prometheus.query(alert), "the alert fires", PATIENCE)
        scraped = self.first_time('birkhoff_stability_events_total{job_id="breaks", kind="skipped_step"}')
        late = self.first_time(alert) - scraped
        print(f"fired {late:.2f} s after the scrape, evaluated every {self.prometheus.seconds} s", file=sys.stderr)
        self.assertLessEqual(late, 2 * self.prometheus.seconds)
        rows = programs.rows(self.root / "runs" / "breaks")
        self.assertTrue(any(row["skipped"] for row in rows))
        wait_for(lambda: self.prometheus.query('ALERTS{alertname="BirkhoffJobFailed", alertstate="firing"}'),
                 "the job has given up", PATIENCE)

    def test_a_loss_that_jumps_between_two_scrapes_is_seen(self):
        begin = time.time()
        self.submit("jumps", "training.steps=400", "lr_schedule.kind=step", "lr_schedule.step_at=[0.5, 0.5025]",
                    "lr_schedule.step_factor=[100, 1]")
        wait_for(lambda: self.prometheus.query('birkhoff_job_state{job_id="jumps", state="SUCCEEDED"} == 1'),
                 "the job has ended", PATIENCE)
        rows = programs.rows(self.root / "runs" / "jumps")
        worst = max(rows, key=lambda row: row["loss"])
        self.assertEqual(worst["step"], 202, "the step behind the large one")
        self.assertGreater(worst["loss"], 2 * rows[199]["loss"])
        for name, largest in (("training_loss", worst["loss"]), ("gradient_norm", max(row["grad_norm"] for row in rows))):
            seen = self.largest(f'birkhoff_{name}_window_max{{job_id="jumps"}}', begin)
            self.assertTrue(math.isclose(seen, largest, rel_tol=1e-15), f"{name}: {seen}, not {largest}")  # exposed with 16 digits
        # The job may have been over before its first scrape, and the rule is evaluated after the scrape.
        wait_for(lambda: self.prometheus.query('ALERTS{alertname="BirkhoffLossSpike", job_id="jumps"}'), "the alert fires",
                 PATIENCE)
        seen = self.largest('birkhoff_training_loss{job_id="jumps"}', begin)
        print(f"largest loss {worst['loss']:.3f}: the window has it, the plain gauge showed {seen:.3f}", file=sys.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
