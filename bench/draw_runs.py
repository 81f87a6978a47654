#!/usr/bin/env python3
"""Draws losses and composite backward gains of runs over each other, from their metrics.jsonl.

usage: bench/draw_runs.py PICTURE.svg NAME=metrics.jsonl [NAME=metrics.jsonl ...]

The first run is what the others are compared with: the middle panel has their relative difference in loss.
Needs matplotlib (PyPI).
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plot  # noqa: E402  (after the choice of backend)


def read(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    runs = {}
    for argument in sys.argv[2:]:
        name, _, path = argument.partition("=")
        runs[name] = read(path)
    names = list(runs)
    matplotlib.rcParams["svg.hashsalt"] = "birkhoff"  # the same bytes each time
    figure, (losses, differences, gains) = plot.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    for name in names:
        steps = [row["step"] for row in runs[name]]
        losses.plot(steps, [row["loss"] for row in runs[name]], label=name, linewidth=1)
        gains.plot(steps, [row["gain_backward"] for row in runs[name]], label=name, linewidth=1)
    for name in names[1:]:
        pairs = list(zip(runs[names[0]], runs[name]))
        differences.semilogy([a["step"] for a, _ in pairs],
                             [abs(b["loss"] / a["loss"] - 1) + 1e-17 for a, b in pairs], label=f"{name} / {names[0]}",
                             linewidth=1)
    losses.set(title="loss", xlabel="step")
    differences.set(title="relative difference in loss", xlabel="step")
    gains.set(title="composite backward gain", xlabel="step")
    for panel in (losses, differences, gains):
        panel.legend(fontsize=8)
        panel.grid(alpha=0.3)
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
