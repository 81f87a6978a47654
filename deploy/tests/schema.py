"""Strict schemas: Kubernetes' own, of the oldest and the newest release that we name, and our closed ones of schemas.yaml."""
import functools
import json
import pathlib

import importlib_resources
import jsonschema
import kubernetes_validate.utils as validate
import referencing
import yaml

# The oldest that deploy/README.md promises, and the newest that the package has.
RELEASES = ("1.31", validate.major_minor(validate.latest_version()))
OURS = yaml.safe_load((pathlib.Path(__file__).parent / "schemas.yaml").read_text())


@functools.cache
def registry(folder):
    definitions = json.loads((folder / "_definitions.json").read_text())
    return referencing.Resource.from_contents(definitions) @ referencing.Registry()


@functools.cache
def core_validator(release, kind, api_version):
    """None: no such kind in that release."""
    version = next(v for v in reversed(validate.all_versions()) if validate.major_minor(v) == validate.major_minor(release))
    folder = importlib_resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict"
    group, _, number = api_version.rpartition("/")
    name = f"{kind.lower()}-{group.split('.')[0] + '-' if group else ''}{number}.json"
    if not (folder / name).is_file():
        return None
    return jsonschema.Draft202012Validator(json.loads((folder / name).read_text()), registry=registry(folder))


def problems_of(validator, value, where):
    for error in validator.iter_errors(value):
        path = ".".join(str(part) for part in error.absolute_path)
        yield f"{where}: {path}: {error.message[:200]}"


def core_problems(document, where):
    for release in RELEASES:
        validator = core_validator(release, document["kind"], document["apiVersion"])
        if validator is None:
            yield f"{where}: Kubernetes {release} has no {document['apiVersion']} {document['kind']}"
        else:
            yield from problems_of(validator, document, f"{where} ({release})")


def problems(document):
    """What a strict API server would refuse in this document, one line each."""
    where = f"{document['kind']}/{document.get('metadata', {}).get('name')}"
    body = OURS["kinds"].get(f"{document['apiVersion']}/{document['kind']}")
    if body is None:
        yield from core_problems(document, where)
        return
    whole = {"type": "object", "additionalProperties": False, "required": ["metadata", "spec"],
             "definitions": OURS["definitions"],
             "properties": {"apiVersion": {}, "kind": {}, "metadata": {"$ref": "#/definitions/metadata"}, "spec": body}}
    yield from problems_of(jsonschema.Draft202012Validator(whole), document, where)
    if document["kind"] == "JobSet":
        for job in document["spec"].get("replicatedJobs", []):
            inner = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job.get("name")},
                     "spec": job.get("template", {}).get("spec", {})}
            yield from core_problems(inner, f"{where}: {job.get('name')}")
