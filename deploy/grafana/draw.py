#!/usr/bin/env python3
"""Draws the dashboards of deploy/grafana/dashboards from a running Prometheus, as SVG files for docs/pictures.

A renderer of our own, for pages and for machines without Grafana: it lays the panels out as their JSON says and asks
the queries that Grafana would ask; colours, fonts and legends are matplotlib's.  Needs python3-matplotlib.

usage: deploy/grafana/draw.py --prometheus http://127.0.0.1:9090 --minutes 10 --out docs/pictures
"""

import argparse
import json
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import MultipleLocator, NullFormatter, ScalarFormatter  # noqa: E402

FOLDER = pathlib.Path(__file__).parent / "dashboards"
POINTS = 50  # per curve
SERIES = 8  # per panel
ROW_INCHES = 0.34  # of one unit of Grafana's grid
WIDTH_INCHES = 13.0


class Source:
    """Prometheus, over one span of time."""

    def __init__(self, url, minutes, ago):
        self.url = url
        self.end = time.time() - 60 * ago
        self.begin = self.end - 60 * minutes
        self.step = max((self.end - self.begin) / POINTS, 1.0)

    def _ask(self, path, **arguments):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}") as answer:
            return json.load(answer)["data"]["result"]

    def over_time(self, expression):
        found = self._ask("query_range", query=self._plain(expression), start=self.begin, end=self.end, step=self.step)
        return [(s["metric"], [(float(t) - self.begin, float(v)) for t, v in s["values"]]) for s in found]

    def now(self, expression):
        return [(s["metric"], float(s["value"][1])) for s in self._ask("query", query=self._plain(expression), time=self.end)]

    def values(self, metric, label):
        return sorted({s.get(label, "") for s, _ in self.now(f"last_over_time({metric}[1h])")})

    def _plain(self, expression):
        """All variables at All; a range of four scrapes at least, as Grafana takes it."""
        expression = expression.replace("$__rate_interval", f"{max(int(4 * self.step), 20)}s")
        return re.sub(r'"\$(job|instance|job_id|attempt)"', '".+"', expression)


def name_of(legend, metric):
    return re.sub(r"{{(\w+)}}", lambda m: metric.get(m[1], ""), legend) or "value"


def human(value, unit):
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        for size, suffix in ((86400, "d"), (3600, "h"), (60, "min")):
            if abs(value) >= 2 * size:
                return f"{value / size:.3g} {suffix}"
        return f"{value:.3g} s" if abs(value) >= 1 or value == 0 else f"{1000 * value:.3g} ms"
    if unit == "bytes":
        for size, suffix in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if abs(value) >= size:
                return f"{value / size:.3g} {suffix}"
    if unit == "locale":
        return f"{value:,.0f}"
    return f"{value:.4g}"


def log_scale(axes):
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())


def in_minutes(axes, source):
    minutes = (source.end - source.begin) / 60
    axes.xaxis.set_major_locator(MultipleLocator(60 * max(1, round(minutes / 6))))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 60:.0f} min")


def no_data(axes):
    axes.text(0.5, 0.5, "no data", ha="center", va="center", fontsize=7, transform=axes.transAxes)
    axes.set_axis_off()


def draw_curves(axes, panel, source):
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    unit = panel["fieldConfig"]["defaults"].get("unit", "none")
    curves = [(name_of(t.get("legendFormat", ""), metric), points)
              for t in panel["targets"] for metric, points in source.over_time(t["expr"])]
    if not curves:
        return no_data(axes)
    for name, points in curves[:SERIES]:
        times, values = zip(*points)
        if custom.get("drawStyle") == "bars":
            axes.bar(times, values, width=source.step, label=name)
        else:
            axes.plot(times, values, linewidth=0.9, label=name, marker="." if len(points) < 3 else None)
    if custom.get("scaleDistribution", {}).get("type") == "log":
        log_scale(axes)
    elif panel["fieldConfig"]["defaults"].get("min") == 0 and axes.get_ylim()[1] > 0:
        axes.set_ylim(bottom=0)
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])[1:]:
        if custom.get("thresholdsStyle", {}).get("mode") == "dashed":
            axes.axhline(step["value"], linestyle="--", linewidth=0.6, color=step["color"])
    axes.set_xlim(0, source.end - source.begin)
    in_minutes(axes, source)
    axes.yaxis.set_major_formatter(lambda value, _: human(value, unit))
    axes.legend(fontsize=4.5, loc="best", frameon=False, ncol=2 if len(curves) > 4 else 1)
    if len(curves) > SERIES:
        axes.text(1, 1, f"{len(curves) - SERIES} more", fontsize=5, ha="right", va="bottom", transform=axes.transAxes)


def draw_number(axes, panel, source):
    unit = panel["fieldConfig"]["defaults"].get("unit", "none")
    names = panel["options"].get("textMode") == "name"
    found = [(name_of(t.get("legendFormat", ""), metric), value)
             for t in panel["targets"] for metric, value in source.now(t["expr"])][:4]
    lines = [name if names else f"{name}  {human(value, unit)}" for name, value in found] or ["no data"]
    axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=7 if len(lines) < 4 else 6)
    axes.set_axis_off()


def draw_heat(axes, panel, source, job):
    expression = panel["targets"][0]["expr"].replace('"$job_id"', f'"{job}"')
    found = source.over_time(expression)
    if not found:
        return no_data(axes)
    times = sorted({t for _, points in found for t, _ in points})
    cells = [[dict(points).get(t, float("nan")) for t in times] for _, points in found]
    edges = [t - source.step / 2 for t in times] + [times[-1] + source.step / 2]
    mesh = axes.pcolormesh(edges, range(len(found) + 1), cells, cmap="turbo", rasterized=True)
    plain_numbers = ScalarFormatter(useOffset=False)
    axes.get_figure().colorbar(mesh, ax=axes, pad=0.01, format=plain_numbers).ax.tick_params(labelsize=5)
    axes.set_ylabel("sub-layer", fontsize=5)
    in_minutes(axes, source)


def draw_profile(axes, panel, source):
    field = panel["options"]["xField"]
    renamed = panel["transformations"][-1]["options"]["renameByName"]
    for target in panel["targets"]:
        points = sorted((int(metric[field]), value) for metric, value in source.now(target["expr"]))
        if points:
            axes.plot(*zip(*points), linewidth=0.9, marker=".", markersize=3, label=renamed[f"Value #{target['refId']}"])
    if panel["fieldConfig"]["defaults"].get("custom", {}).get("scaleDistribution", {}).get("type") == "log":
        log_scale(axes)
    axes.set_xlabel(field, fontsize=5)
    axes.legend(fontsize=5, frameon=False)


def draw_table(axes, panel, source):
    options = panel["transformations"][-1]["options"]
    columns, found = [], {}
    for target in panel["targets"]:
        value_name = options["renameByName"]["Value" if len(panel["targets"]) == 1 else f"Value #{target['refId']}"]
        for metric, value in source.now(target["expr"]):
            row = {k: v for k, v in metric.items() if k not in options["excludeByName"]}
            key = row.get("job_id", "") + ("" if "state" in row or len(panel["targets"]) > 1 else str(row))
            found.setdefault(key, {}).update(row | {value_name: human(value, "none")})
    for row in found.values():
        columns += [column for column in row if column not in columns]
    if not found:
        return no_data(axes)
    cells = [[row.get(column, "") for column in columns] for row in found.values()][:10]
    table = axes.table(cellText=cells, colLabels=columns, loc="upper center", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(5.5)
    table.auto_set_column_width(range(len(columns)))
    axes.set_axis_off()


def draw_panel(figure, box, panel, source, jobs):
    repeated = jobs if panel.get("repeat") == "job_id" else [""]
    left, bottom, width, height = box
    for index, job in enumerate(repeated):
        share = width / len(repeated)
        axes = figure.add_axes((left + share * index + 0.04, bottom + 0.16 * height, share - 0.05, 0.66 * height))
        axes.set_title(panel["title"].replace("$job_id", job), fontsize=7, loc="left")
        axes.tick_params(labelsize=5)
        axes.spines[["top", "right"]].set_visible(False)
        kind = panel["type"]
        if kind == "heatmap":
            draw_heat(axes, panel, source, job)
        else:
            {"timeseries": draw_curves, "stat": draw_number, "trend": draw_profile, "table": draw_table}[kind](
                axes, panel, source)


def draw(dashboard, source, path):
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"])
    figure = plt.figure(figsize=(WIDTH_INCHES, rows * ROW_INCHES))
    jobs = source.values("birkhoff_amax_gain", "job_id")[:2]
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        box = (at["x"] / 24, 1 - (at["y"] + at["h"]) / rows, at["w"] / 24, at["h"] / rows)
        if panel["type"] == "row":
            figure.text(0.01, box[1] + box[3] / 4, panel["title"], fontsize=9, weight="bold")
        else:
            draw_panel(figure, box, panel, source, jobs)
    figure.savefig(path, metadata={"Date": None}, dpi=60)
    plt.close(figure)
    # A hundredth of a point is finer than anybody sees.
    text = re.sub(r"(?<=[ \"(-])(\d+\.\d{2})\d+", r"\1", path.read_text())
    path.write_text(re.sub(r"^ +", "", text, flags=re.M))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--ago", type=float, default=0.0, help="minutes between the end of what is drawn and now")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/pictures"))
    arguments = parser.parse_args()
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "birkhoff", "font.sans-serif": ["DejaVu Sans"], "path.simplify_threshold": 1.0})
    source = Source(arguments.prometheus, arguments.minutes, arguments.ago)
    for path in sorted(FOLDER.glob("*.json")):
        target = arguments.out / f"{path.stem}.svg"
        draw(json.loads(path.read_text()), source, target)
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
