"""A real Prometheus with the rules of deploy/prometheus, and its HTTP interface.  For monitoring_test.py."""
import json
import os
import pathlib
import re
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import programs

RULES = programs.SOURCE / "deploy" / "prometheus" / "rules"


def tools():
    """PATH with Prometheus' programs on it; deploy/prometheus/fetch.sh says where they are."""
    script = ". deploy/prometheus/fetch.sh && have_prometheus >&2 && echo $PATH"
    return subprocess.run(["bash", "-euc", script], cwd=programs.SOURCE, check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    """Scrapes one coordinator and evaluates all rules, every `seconds`."""

    def __init__(self, directory, metrics_address, seconds=1):
        self.seconds = seconds
        self.address = f"http://127.0.0.1:{free_port()}"
        config = directory / "prometheus.yml"
        # The file that is shipped, with this coordinator and this pace.
        text = (RULES.parent / "prometheus.yml").read_text()
        for pattern, value in (("127.0.0.1:9464", metrics_address), ("(interval): 5s", rf"\1: {seconds}s"),
                               (r"rules/\*\.yaml", str(RULES / "*.yaml"))):
            text, count = re.subn(pattern, value, text)
            if count == 0:
                raise AssertionError(f"prometheus.yml has no {pattern}")
        config.write_text(re.sub(r"alerting:.*?(?=^\w)", "", text, flags=re.S | re.M))
        self.path = tools()
        os.environ["PATH"] = self.path
        self.program = programs.Program(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}",
             f"--web.listen-address={self.address.removeprefix('http://')}"], directory / "prometheus.log", directory)
        programs.wait_for(self.ready, "Prometheus is ready")

    def ready(self):
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            if self.program.process.poll() is not None:
                raise AssertionError(self.program.said()) from None
            return False

    def ask(self, path, **arguments):
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from None

    def query(self, expression):
        """Series with their latest values."""
        return self.ask("query", query=expression)["result"]

    def over_time(self, expression, begin, end, step=None):
        """Series with (time, value) pairs."""
        found = self.ask("query_range", query=expression, start=begin, end=end, step=step or self.seconds)["result"]
        return [(series["metric"], [(at, float(value)) for at, value in series["values"]]) for series in found]

    def close(self):
        self.program.kill()
