#!/usr/bin/env python3
"""Writes deploy/grafana/dashboards/*.json, or with --check says whether what is there is what would be written.

Needs the package grafana-foundation-sdk from PyPI, Grafana's own typed builders; deploy/grafana/sdk.sh fetches it.
"""

import argparse
import json
import pathlib
import sys

sys.dont_write_bytecode = True

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

import fleet
import performance
import stability

FOLDER = pathlib.Path(__file__).parent / "dashboards"


def text_of(dashboard):
    return json.dumps(json.loads(JSONEncoder().encode(dashboard)), indent=1, sort_keys=True) + "\n"


def dashboards():
    """Path and text of each."""
    for module in (stability, performance, fleet):
        built = module.build()
        yield FOLDER / f"{built.uid}.json", text_of(built)


def lost(before, after, path=""):
    """Paths of what stands in `before` and not in `after`, which may have more."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{path}.{key}") if key in after else [f"{path}.{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, value in enumerate(before):
            yield from lost(value, after[index], f"{path}[{index}]")
    elif before != after:
        yield path


def unknown_fields(text):
    """Reads the text into Grafana's types and writes it again: a field that they do not know is lost on the way."""
    return list(lost(json.loads(text), json.loads(text_of(Dashboard.from_json(json.loads(text))))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a file differs")
    check = parser.parse_args().check
    register_default_plugins()
    wanted = dict(dashboards())
    if not check:
        FOLDER.mkdir(exist_ok=True)
        for path, text in wanted.items():
            path.write_text(text)
        return 0
    problems = [f"{path.name} is not what deploy/grafana/generate.py writes: run it and commit"
                for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    problems += [f"{path.name} comes from nowhere: remove it" for path in FOLDER.glob("*.json") if path not in wanted]
    problems += [f"{path.name}{field}: Grafana's schema does not have it"
                 for path in sorted(FOLDER.glob("*.json")) for field in unknown_fields(path.read_text())]
    print("\n".join(problems) or f"{len(wanted)} dashboards are as generated, and Grafana's types know every field")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
