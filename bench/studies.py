#!/usr/bin/env python3
"""The tables of docs/studies.md, from the output directories of bench/studies.sh: what has ended counts, and how much that is.

usage: python3 bench/studies.py DIR [--text data/corpus-val.bin]

A run of explosion.yaml
  dies      if it failed, or the mean of its last nine losses lies 1 nat or more above that of its best nine in a row,
  surges    if it does not die, but the loss of some step lies 0.5 nat or more above the lowest mean of three in a row before,
  survives  else.
"""
import argparse
import array
import collections
import json
import math
import pathlib
import re
import statistics

NAME = re.compile(r"(?P<kind>residual|hc|mhc)(?:-num-hidden-layers-(?P<depth>\d+))?(?:-lr-(?P<rate>\S+?))?-s(?P<seed>\d+)")
KINDS = ("residual", "hc", "mhc")
SURGE, DEATH = 0.5, 1.0  # nats
WINDOW, BEFORE = 9, 3  # steps


def means(losses, width):
    """Of so many in a row, each by its first."""
    return [statistics.fmean(losses[i:i + width]) for i in range(len(losses) - width + 1)]


class Run:
    def __init__(self, folder, state):
        self.kind, self.depth, self.rate, self.seed = NAME.fullmatch(folder.name).group("kind", "depth", "rate", "seed")
        metrics = folder / "metrics.jsonl"
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        self.rows = [json.loads(line) for line in lines if line.endswith("}")]
        steps = int(re.search(r"^ +steps: (\d+)", (folder / "job.yaml").read_text(), re.MULTILINE).group(1))
        self.failed = state == "FAILED"
        self.ended = self.failed or (self.rows and self.rows[-1]["step"] == steps)

    def values(self, key):
        return [row[key] for row in self.rows if row.get(key) is not None]

    def largest(self, key):
        return max(self.values(key), default=math.nan)

    def last(self, key):
        return (self.values(key) or [math.nan])[-1]

    def final_loss(self):
        return statistics.fmean(self.values("loss")[-WINDOW:] or [math.nan])

    def fate(self):
        losses = self.values("loss")
        if self.failed or len(losses) < len(self.rows) or means(losses, WINDOW)[-1] >= min(means(losses, WINDOW)) + DEATH:
            return "dies"
        lowest = math.inf
        for mean, loss_behind in zip(means(losses, BEFORE), losses[BEFORE:]):
            lowest = min(lowest, mean)
            if loss_behind >= lowest + SURGE:
                return "surges"
        return "survives"


def read_study(folder):
    """The runs that have ended, and how many there are of those that have begun."""
    result = folder / "compare.json"
    states = {run["name"]: run["state"] for run in json.loads(result.read_text())["runs"]} if result.exists() else {}
    folders = sorted(path.parent for path in folder.glob("runs/*/job.yaml"))
    runs = [Run(path, states.get(path.name)) for path in folders]
    return [run for run in runs if run.ended], len(runs)


def number(value):
    if math.isnan(value):
        return "-"
    return f"{value:.3g}" if 0.01 <= abs(value) < 1e4 else f"{value:.1e}"


def spread(values, form=number):
    """The mean, and from the smallest to the largest."""
    values = [value for value in values if not math.isnan(value)]
    if len(values) < 2:
        return form(values[0]) if values else "-"
    return f"{form(statistics.fmean(values))} ({form(min(values))} to {form(max(values))})"


def middle(values):
    """The median, which orders of magnitude leave alone, and the largest."""
    most = f" (most {number(max(values))})" if len(values) > 1 else ""
    return number(statistics.median(values)) + most


def loss(value):
    return f"{value:.3f}"


def table(columns, rows):
    print("| " + " | ".join(map(str, columns)) + " |")
    print("|---" * len(columns) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def order(group):
    (depth, rate, kind), _ = group
    return int(depth or 0), float(rate or 0), KINDS.index(kind)


def grouped(runs):
    groups = collections.defaultdict(list)
    for run in runs:
        groups[run.depth, run.rate, run.kind].append(run)
    return sorted(groups.items(), key=order)


def show_explosion(runs):
    rows = []
    for (depth, rate, kind), group in grouped(runs):
        fates = collections.Counter(run.fate() for run in group)
        gains = ([middle([run.largest(f"gain_{way}") for run in group]) for way in ("forward", "backward")]
                 if kind != "residual" else ["1", "1"])
        rows.append([depth, rate, kind, len(group), fates["survives"], fates["surges"], fates["dies"],
                     spread([run.final_loss() for run in group], loss), *gains,
                     middle([run.largest("grad_norm") for run in group])])
    table(["blocks", "rate", "kind", "seeds", "survive", "surge", "die", "loss of the last nine steps", "largest forward gain",
           "largest backward gain", "largest gradient norm"], rows)


def show_kinds(runs):
    rows = []
    for (_, _, kind), group in grouped(runs):
        rows.append([kind, len(group), spread([run.last("validation_loss") for run in group], loss),
                     spread([run.final_loss() for run in group], loss),
                     *[number(max(run.largest(f"gain_{way}") for run in group)) for way in ("forward", "backward")],
                     middle([run.largest("grad_norm") for run in group]),
                     spread([run.last("off_diagonal_mass") for run in group])])
    table(["kind", "seeds", "validation loss", "loss of the last nine steps", "largest forward gain", "largest backward gain",
           "largest gradient norm", "off-diagonal mass at the end"], rows)


def show_gains(runs):
    """HC's composite forward gain by step and depth: geometric mean over the seeds."""
    by_seed = [{row["step"]: row["gain_forward_by_sublayer"] for row in run.rows} for run in runs if run.kind == "hc"]
    if not by_seed:
        return
    depth = len(next(iter(by_seed[0].values())))
    depths = [depth * quarter // 4 for quarter in (1, 2, 3, 4)]
    steps = [step for step in (10, 25, 50, 75, 100, 150, 200, 250, 300) if all(step in seed for seed in by_seed)]
    print("Composite forward gain of hc after so many sub-layers:\n")
    table(["step", *depths], [[step, *[number(statistics.geometric_mean(seed[step][d - 1] for seed in by_seed)) for d in depths]]
                              for step in steps])


def show_rates(runs):
    """Returns the validation losses by kind and rate."""
    losses, gains = collections.defaultdict(dict), collections.defaultdict(dict)
    for run in runs:
        losses[run.kind][float(run.rate)] = run.last("validation_loss")
        gains[run.kind][float(run.rate)] = run.largest("gain_forward")
    rates = sorted({rate for by_rate in losses.values() for rate in by_rate})
    rows = [[kind, what, *[form(values[kind][rate]) if rate in values[kind] else "-" for rate in rates]]
            for what, form, values in (("validation loss", loss, losses), ("largest forward gain", number, gains))
            for kind in KINDS if kind in values and (values is losses or kind == "hc")]
    table(["kind", "what", *[f"{rate:g}" for rate in rates]], rows)
    return losses


def entropy(path):
    """Of the tokens one by one, in nats: what a model reaches that knows how frequent each is.  None: no file."""
    if not path.exists():
        return None
    tokens = array.array("H", path.read_bytes())
    return -sum(count / len(tokens) * math.log(count / len(tokens)) for count in collections.Counter(tokens).values())


def show_checks(runs, rates, unigram):
    def say(good, words):
        print(f"- {'holds' if good else 'DOES NOT HOLD'}: {words}")

    for kind in ("residual", "mhc"):
        losses = [run.last("validation_loss") for run in runs if run.kind == kind]
        if losses and unigram is not None:
            say(max(losses) <= unigram - 0.5, f"{kind} ends {unigram - max(losses):.2f} nat or more under the unigram entropy, "
                f"{unigram:.3f}; 0.5 wanted")
        if 2e-3 in rates.get(kind, {}):
            best = min(rates[kind].values())
            say(rates[kind][2e-3] <= 1.03 * best, f"{kind} at 2e-3 is {100 * (rates[kind][2e-3] / best - 1):.1f} % above its best "
                "rate; 3 % allowed")
    mixing = [run.last("off_diagonal_mass") for run in runs if run.kind == "mhc"]
    if mixing:
        say(min(mixing) >= 0.05, f"mHC mixes at the end: off-diagonal mass {min(mixing):.3f} or more; 0.05 wanted")
    for way, limit in (("forward", 1.001), ("backward", 2.0)):
        gains = [run.largest(f"gain_{way}") for run in runs if run.kind == "mhc"]
        if gains:
            say(max(gains) < limit, f"mHC's largest {way} gain of all steps is {max(gains):.4f}; under {limit:g} wanted")
    gains = [run.largest("gain_forward") for run in runs if run.kind == "hc"]
    if gains:
        say(max(gains) >= 1000, f"HC's largest forward gain is {number(max(gains))} times; 1,000 expected")
    print()


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, default=pathlib.Path("data/corpus-val.bin"))
    arguments = parser.parse_args(words)
    kinds, rates, explosion = [read_study(arguments.folder / name) for name in ("deep-tiny", "rates", "explosion")]
    print(f"deep-tiny, 48 sub-layers: {len(kinds[0])} runs of {kinds[1]} that have begun\n")
    show_kinds(kinds[0])
    show_gains(kinds[0])
    print(f"deep-tiny by learning rate, one seed: {len(rates[0])} runs of {rates[1]} that have begun\n")
    show_checks(kinds[0], show_rates(rates[0]), entropy(arguments.text))
    print(f"explosion: {len(explosion[0])} runs of {explosion[1]} that have begun\n")
    show_explosion(explosion[0])


if __name__ == "__main__":
    main()
