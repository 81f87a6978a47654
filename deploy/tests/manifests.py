"""Rendered manifests as values: how they come to be, and what the checks ask of them.

A render is what `kubectl kustomize` makes of an overlay, in a form of ours that does not depend on kubectl's release.  All
renders are committed, with hashes of them and of everything that they were made from, so that a machine without kubectl can
tell that they are still the right ones.
"""
import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import subprocess

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[1]
RENDERS = DEPLOY / "tests" / "renders"
LOCK = RENDERS / "sha256sums"
NEEDED_KUBECTL = (1, 27)  # kustomize 5: components, replacements with create
# Objects that do not live in a namespace.
CLUSTER_KINDS = {"Namespace"}


def overlays():
    """What is rendered, by name: every overlay, and what tests/components has of the components that none uses."""
    folders = [*(DEPLOY / "kustomize/overlays").iterdir(), *(DEPLOY / "tests/components").iterdir()]
    return {folder.name: folder for folder in sorted(folders) if folder.is_dir()}


def lock_text():
    """Hashes of all that a render can depend on, in one, and of every committed render."""
    lines = [f"{inputs_hash()}  inputs"]
    lines += [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sorted(RENDERS.glob("*.yaml"))]
    return "\n".join(lines) + "\n"


def inputs_hash():
    folders = [DEPLOY / name for name in ("kustomize", "grafana/dashboards", "prometheus/rules", "tests/components")]
    digest = hashlib.sha256()
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.suffix in {".yaml", ".json", ".txt"}):
        digest.update(f"{path.relative_to(DEPLOY)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def kubectl():
    """The command that renders, or None where there is none that is new enough."""
    program = shutil.which("kubectl")
    if program is None:
        return None
    try:
        answer = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, check=True)
        version = json.loads(answer.stdout)["clientVersion"]
        found = tuple(int(re.match(r"\d+", version[key]).group()) for key in ("major", "minor"))
    except (subprocess.CalledProcessError, ValueError, KeyError, AttributeError):
        return None
    return program if found >= NEEDED_KUBECTL else None


def render(program, folder):
    done = subprocess.run([program, "kustomize", folder], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    documents = parse(done.stdout)
    for document in documents:
        if "grafana_dashboard" in document["metadata"].get("labels", {}):
            document["data"] = {key: f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
                                for key, text in document["data"].items()}
    return yaml.safe_dump_all(documents, explicit_start=True, width=120)


def parse(text):
    return [document for document in yaml.safe_load_all(text) if document]


def name_of(document):
    return f"{document['kind']}/{document['metadata']['name']}"


@dataclasses.dataclass
class Workload:
    """What starts pods, and its template."""
    document: dict
    job: dict | None  # spec of the Job: of the document itself, or inside of a JobSet
    template: dict

    @property
    def name(self):
        return name_of(self.document)

    @property
    def labels(self):
        return self.template.get("metadata", {}).get("labels", {})

    @property
    def pod(self):
        return self.template["spec"]

    @property
    def component(self):
        return self.labels.get("app.kubernetes.io/component")

    def containers(self, init=True):
        return self.pod["containers"] + (self.pod.get("initContainers", []) if init else [])

    def ports(self):
        return {port["name"]: port["containerPort"]
                for container in self.containers(init=False) for port in container.get("ports", [])}


def workloads(documents):
    found = []
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        if kind in {"StatefulSet", "Deployment", "DaemonSet"}:
            found.append(Workload(document, None, spec["template"]))
        elif kind == "Job":
            found.append(Workload(document, spec, spec["template"]))
        elif kind == "JobSet":
            for job in spec["replicatedJobs"]:
                found.append(Workload(document, job["template"]["spec"], job["template"]["spec"]["template"]))
    return found


def of_kind(documents, *kinds):
    return [document for document in documents if document["kind"] in kinds]


def matches(selector, labels):
    """A label selector of Kubernetes; an empty one takes all."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for wanted in selector.get("matchExpressions", []):
        value, operator = labels.get(wanted["key"]), wanted["operator"]
        holds = {"Exists": value is not None, "DoesNotExist": value is None,
                 "In": value in wanted.get("values", []), "NotIn": value not in wanted.get("values", [])}[operator]
        if not holds:
            return False
    return True
