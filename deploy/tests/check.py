"""Checks deploy/kustomize and deploy/systemd; deploy/tests/check.sh starts it.

  check.py            renders (or, without kubectl, looks whether the committed renders are those of these inputs), then holds
                      every render against the schemas and our rules, and the rules against planted mistakes
  check.py --update   writes what is generated: rules of Prometheus for the operator, the list of dashboards, the renders
"""
import argparse
import copy
import os
import sys

import yaml

import manifests
import mistakes
import policy
import schema
import systemd
from manifests import DEPLOY, LOCK, RENDERS

RULES = DEPLOY / "kustomize/components/monitoring/rules.yaml"
DASHBOARDS = DEPLOY / "grafana/kustomization.yaml"
GENERATED = "# Written by deploy/tests/check.sh --update.\n"


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def expect(self, name, problems):
        problems = list(problems)
        if problems:
            self.failed += 1
            print(f"FAILED  {name}")
            for line in problems:
                print(f"          {line}")
        else:
            self.passed += 1

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {name}: {why}")


def named(path):
    return "birkhoff-" + path.stem.removeprefix("birkhoff-")


def prometheus_rules():
    """deploy/prometheus/rules as PrometheusRules."""
    documents = []
    for path in sorted((DEPLOY / "prometheus/rules").glob("*.yaml")):
        documents.append({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
            "metadata": {"name": named(path), "namespace": policy.NAMESPACE,
                         "labels": {"app.kubernetes.io/name": "birkhoff", "app.kubernetes.io/part-of": "birkhoff"}},
            "spec": yaml.safe_load(path.read_text())})
    return GENERATED + yaml.safe_dump_all(documents, sort_keys=False, width=120, explicit_start=True)


def dashboard_list():
    """deploy/grafana as a component: one ConfigMap for each dashboard."""
    component = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    paths = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
    if paths:
        component["generatorOptions"] = {
            "disableNameSuffixHash": True,
            "labels": {"app.kubernetes.io/name": "birkhoff", "app.kubernetes.io/part-of": "birkhoff", "grafana_dashboard": "1"}}
        component["configMapGenerator"] = [
            {"name": f"{named(path)}-dashboard", "namespace": policy.NAMESPACE, "files": [f"dashboards/{path.name}"]}
            for path in paths]
    else:
        component["configMapGenerator"] = []
    return GENERATED + yaml.safe_dump(component, sort_keys=False, width=120)


def generated():
    return {RULES: prometheus_rules(), DASHBOARDS: dashboard_list()}


def update():
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    program = manifests.kubectl()
    if program is None:
        sys.exit(f"needs kubectl {manifests.NEEDED_KUBECTL} or newer")
    RENDERS.mkdir(exist_ok=True)
    for old in RENDERS.glob("*.yaml"):
        old.unlink()
    for name, folder in manifests.overlays().items():
        (RENDERS / f"{name}.yaml").write_text(manifests.render(program, folder))
    LOCK.write_text(manifests.lock_text())


def check_renders(tally):
    """Whether the committed renders are those of these inputs."""
    for path, text in generated().items():
        stale = not path.exists() or path.read_text() != text
        tally.expect(f"{path.relative_to(DEPLOY)} is up to date", ["run deploy/tests/check.sh --update"] if stale else [])
    stale = not LOCK.exists() or LOCK.read_text() != manifests.lock_text()
    tally.expect("the hashes of inputs and renders", ["run deploy/tests/check.sh --update where kubectl is"] if stale else [])
    program = manifests.kubectl()
    names = manifests.overlays()
    extra = {path.stem for path in RENDERS.glob("*.yaml")} - set(names)
    tally.expect("no render is left over", [f"renders/{name}.yaml" for name in sorted(extra)])
    if program is None:
        for name in names:
            tally.skip(f"rendering {name}", "no kubectl 1.27 or newer; the committed render is checked, by its hash")
        return
    for name, folder in names.items():
        tally.expect(f"{name} renders as committed", render_problems(program, folder, RENDERS / f"{name}.yaml"))


def render_problems(program, folder, committed):
    try:
        text = manifests.render(program, folder)
    except RuntimeError as error:
        yield str(error)
        return
    if not committed.exists() or committed.read_text() != text:
        yield "differs from the committed render: run deploy/tests/check.sh --update"


def problems(documents):
    for document in documents:
        yield from schema.problems(document)
    try:
        yield from policy.problems(documents)
    except (KeyError, TypeError, AttributeError) as error:
        yield f"not even a shape that the rules can read: {error!r}"


def check_mistakes(tally, renders, planted):
    for mistake in planted:
        documents = copy.deepcopy(renders[mistake.overlay])
        mistake.plant(documents)
        said = list(problems(documents))
        found = any(mistake.expect in line for line in said)
        tally.expect(f"found: {mistake.name}", [] if found else [f"nothing said {mistake.expect!r}", *said])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    if parser.parse_args().update:
        update()
    tally = Tally()
    check_renders(tally)
    renders = {path.stem: manifests.parse(path.read_text()) for path in sorted(RENDERS.glob("*.yaml"))}
    num_documents = 0
    for name, documents in renders.items():
        num_documents += len(documents)
        tally.expect(f"{name}: schemas and rules", problems(documents))
    check_mistakes(tally, renders, mistakes.MISTAKES)
    if "BIRKHOFF_BIN" in os.environ:
        check_mistakes(tally, renders, mistakes.WITH_PROGRAMS)
    else:
        tally.skip("flags against the programs", "BIRKHOFF_BIN names no folder of programs")
    systemd.check(tally)
    print(f"{len(renders)} renders, {num_documents} documents, schemas of Kubernetes {' and '.join(schema.RELEASES)}, "
          f"{len(policy.RULES)} rules, {len(mistakes.MISTAKES) + len(mistakes.WITH_PROGRAMS)} planted mistakes")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
