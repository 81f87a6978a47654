#!/usr/bin/env python3
"""What one GPU gives, a row for each measure, beside what it is measured against in the same call: Markdown on stdout.

usage: bash tests/gpu.sh bench-all [PART...] [--steps N] [--llmc TRAIN_GPT2CU]      (it sets the paths; or with --build BUILD)

PART: boundary (the kernels beside the copy rate), steps (whole steps of this program), torch (PyTorch's), graphs (replay beside
launches), peers (mHC's kernels in PyTorch), llmc (GPT-2's shapes).  All of them where none is named; what is not there is said.
Shapes: A is C=2560 F=6912 L=6, B is C=2048 F=5632 L=8; a step is 4 sequences of 4,096 random tokens, V=32768; medians after a
warm-up.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import job

HERE = pathlib.Path(__file__).resolve().parent
WARM_UP = 3
CONFIGS = {"A": "gpu-c2560.yaml", "B": "gpu-545m.yaml"}
CHANNELS = {"A": 2560, "B": 2048}
SUBLAYERS = {"A": 12, "B": 16}
TOKENS = 4 * 4096
RESIDUALS = {"plain": {"model.residual.kind": "residual"}, "mHC": {"model.residual.kind": "mhc"}}
PERSISTENT_BYTES = 18  # of a parameter: fp32 master, gradient and moments, bf16 copy


class Table:
    """Rows as they come: measure, figure, beside what, ratio, bar."""

    def head(self):
        print("\n| measure | here | beside | ratio | bar |\n|---|---|---|---|---|")

    def row(self, measure, here, beside="", ratio="", bar=""):
        print(f"| {measure} | {here} | {beside} | {ratio} | {bar} |", flush=True)


def lines_of(command, what, table):
    """Its JSON rows, as they come; the end of what it says where it fails."""
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            for line in process.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
        if process.returncode != 0:
            errors.seek(0)
            table.row(what, "failed: " + " ".join(errors.read().split()[-30:]).replace("|", "/"))


def boundary(table, arguments, found):
    """Lines of boundary_benchmark: kind n C pass path us units TB/s share% kernel; kind n C gains of a sub-layer us."""
    output = "".join(job.run_program([arguments.build / "bin/boundary_benchmark", TOKENS, "", 0, channels])
                     for channels in CHANNELS.values())
    print(output.splitlines()[0])
    table.head()
    pattern = re.compile(r"^(\w+) +(\d+) +(\d+) (\w+) +(streaming|single pass) +([0-9.]+) +\d+ +[0-9.]+ +([0-9.]+)%",
                         re.MULTILINE)
    best = {}  # the faster of the two paths
    for kind, streams, channels, way, path, time, share in pattern.findall(output):
        key = kind, int(streams), int(channels), way
        best[key] = min(best.get(key, (1e30,)), (float(time), float(share), path))
    for name, channels in CHANNELS.items():
        bars = {"A": ("88 % H100, 84 % H200", "84 %, 72 %"), "B": ("88 % H100, 82 % H200", "85 %, 75 %")}[name]
        for way, bar in zip(("forward", "backward"), bars):
            time, share, path = best["mhc", 4, channels, way]
            table.row(f"boundary {way}, {name}, alone, {path}", f"{time:.0f} us", "copy rate by counted units",
                      f"{share:.1f} %", bar)
        both = {key: best[(*key, channels, "forward")][0] + best[(*key, channels, "backward")][0]
                for key in (("mhc", 4), ("mhc", 3), ("identity", 4))}
        table.row(f"identity, n = 4, {name}", f"{both['identity', 4]:.0f} us", f"mHC {both['mhc', 4]:.0f} us",
                  f"{both['identity', 4] / both['mhc', 4]:.3f}", "1.0")
        found[name, "gains"] = float(re.search(rf"^mhc +4 +{channels} gains of a sub-layer ([0-9.]+) us", output, re.M)[1])
        table.row(f"mHC, n = 3, {name}", f"{both['mhc', 3]:.0f} us", f"n = 4 {both['mhc', 4]:.0f} us",
                  f"{both['mhc', 3] / both['mhc', 4]:.3f}", "0.85")


def plan(arguments, shape, settings, folder):
    """What the planner says of a job: predicted milliseconds, and bytes beside PERSISTENT_BYTES of a parameter."""
    command = [arguments.build / "bin/birkhoff", "plan", job.ROOT / "configs" / CONFIGS[shape], "--output", "json"]
    for name, value in {**settings, "data.tokenizer": "none", "data.train": f"{folder}/train.bin"}.items():
        command += ["--set", f"{name}={value}"]
    found = json.loads(job.run_program(command))
    worker = found["workers"][0]
    weights = next(item["bytes"] for item in worker["memory"] if item["name"] == "weights")
    return {"predicted": 1000.0 * found["predicted_step_seconds"], "persistent": PERSISTENT_BYTES * weights / 4,
            "bytes": worker["device_bytes"]}


def run(arguments, config, folder, settings, options=()):
    """Milliseconds of a step, and the rows."""
    rows = job.run(arguments.build, config, folder, arguments.steps + WARM_UP, settings, [*arguments.run_option, *options])
    return 1000.0 * statistics.median(row["step_seconds"] for row in rows[WARM_UP:]), rows


def steps(table, arguments, found):
    bars = {"A": "1.067", "B": "1.08"}
    batch = {"training.global_batch_size": 4, "training.micro_batch_size": 4, "device": "cuda"}
    with tempfile.TemporaryDirectory(prefix="birkhoff-step-") as folder:
        for kind in ("train", "val"):
            job.write_tokens(f"{folder}/{kind}.bin", 1 << 20, 32768)
        for shape in CONFIGS:
            for residual, kind in RESIDUALS.items():
                settings = {**batch, **kind}
                time, rows = run(arguments, CONFIGS[shape], folder, settings)
                predicted = plan(arguments, shape, settings, folder)["predicted"]
                found[shape, residual] = time
                table.row(f"step, {residual}, {shape}: predicted over measured", f"{time:.1f} ms", f"{predicted:.1f} ms",
                          f"{predicted / time:.3f}", "0.97 to 1.03")
                table.row(f"first step after start, {residual}, {shape}", f"{rows[0]['since_start']:.1f} s", bar="5 s")
            plain, mhc = found[shape, "plain"], found[shape, "mHC"]
            table.row(f"step of mHC over plain, {shape}", f"{mhc:.1f} ms", f"{plain:.1f} ms", f"{mhc / plain:.3f}", bars[shape])
            if (shape, "gains") in found:
                gains = SUBLAYERS[shape] * found[shape, "gains"] / 1000.0
                table.row(f"all measures of gain, alone, of the step of mHC, {shape}", f"{gains:.2f} ms", f"{mhc:.1f} ms",
                          f"{100.0 * gains / mhc:.2f} %", "0.5 %")
        # The last run was mHC's, B.
        planned = plan(arguments, "B", settings, folder)
        measured = rows[-1]["memory_bytes"]
        table.row("memory, mHC, B: allocated, planned", f"{measured} B", f"{planned['bytes']} B",
                  f"{measured / planned['bytes']:.6f}", "exact")
        for recompute, bar in (("none", "12 GiB"), ("4", "8.5 GiB")):
            planned = plan(arguments, "B", {**settings, "parallelism.recompute": recompute}, folder)
            table.row(f"activations and workspace beside {PERSISTENT_BYTES} B a parameter, mHC, B, recompute {recompute}",
                      f"{(planned['bytes'] - planned['persistent']) / 2**30:.2f} GiB", bar=bar)


def graphs(table, arguments, _):
    settings = {"training.sequence_length": 1024, "training.global_batch_size": 2, "training.micro_batch_size": 2,
                "parallelism.pipeline_parallel_degree": 1, "parallelism.schedule": "1f1b", "parallelism.recompute": "none",
                "device": "cuda"}
    with tempfile.TemporaryDirectory(prefix="birkhoff-graph-") as folder:
        for kind in ("train", "val"):
            job.write_tokens(f"{folder}/{kind}.bin", 1 << 17, 50257)
        for residual, kind in RESIDUALS.items():
            replayed, _ = run(arguments, "gpt2-124m.yaml", folder, {**settings, **kind})
            launched, _ = run(arguments, "gpt2-124m.yaml", folder, {**settings, **kind}, ["--no-graphs"])
            table.row(f"graph replay over launches, {residual}, C=768, 2,048 tokens", f"{replayed:.2f} ms", f"{launched:.2f} ms",
                      f"{replayed / launched:.3f}", "0.97")


def torch(table, arguments, found):
    rows = lines_of([sys.executable, HERE / "torch_step.py", "--json", "--steps", arguments.steps], "torch_step.py", table)
    for row in rows:
        theirs = row["tokens_per_second"]
        table.row(f"PyTorch, {row['residual']}, {row['shape']}", f"{theirs:.0f} tokens/s, {row['milliseconds']:.1f} ms, "
                  f"{row['gib']:.1f} GiB, first step {row['first_step_seconds']:.0f} s")
        for residual, bar in (("plain", "1.02"), ("mHC", "0.96")):
            if (row["shape"], residual) in found:
                ours = 1000.0 * TOKENS / found[row["shape"], residual]
                table.row(f"{residual} over PyTorch's {row['residual']}, {row['shape']}", f"{ours:.0f} tokens/s",
                          f"{theirs:.0f} tokens/s", f"{ours / theirs:.3f}", bar)


def peers(table, _, __):
    ours = {}  # the first peer of each C
    for row in lines_of([sys.executable, HERE / "mhc_peers.py", "--json"], "mhc_peers.py", table):
        if row["peer"] == "birkhoff" and "total_us" in row:
            ours[row["channels"]] = row["total_us"]
        name = f"mHC in PyTorch, C={row['channels']}, {row['peer']}"
        if "missing" in row:
            table.row(name, "not here: " + " ".join(row["missing"].split())[:160].replace("|", "/"))
            continue
        figures = (f"forward {row['forward_us']:.0f}, with backward {row['total_us']:.0f} us a sub-layer, errors "
                   f"{row['error']:.0e} {row['gradient_error']:.0e}")
        if row["channels"] in ours:
            ratio = row["total_us"] / ours[row["channels"]]
            table.row(name, figures, f"birkhoff {ours[row['channels']]:.0f} us", f"{ratio:.2f}")
        else:
            table.row(name, figures)


def llmc(table, arguments, _):
    command = [sys.executable, HERE / "llmc_gpu.py", "--json", "--build", arguments.build, "--steps", arguments.steps]
    for row in lines_of([*command, *(["--llmc", arguments.llmc] if arguments.llmc else [])], "llmc_gpu.py", table):
        name, here = f"GPT-2 {row['shape']}", f"{row['tokens_per_second']:.0f} tokens/s"
        if theirs := row.get("llmc_tokens_per_second"):
            table.row(name, here, f"llm.c {theirs:.0f}", f"{row['tokens_per_second'] / theirs:.3f}", "1.08")
        else:
            table.row(name, here, "no llm.c given")


PARTS = {"boundary": boundary, "steps": steps, "torch": torch, "graphs": graphs, "peers": peers, "llmc": llmc}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--llmc", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=job.ROOT / "build/cuda")
    parser.add_argument("--run-option", action="append", default=[], metavar="OPTION",
                        help="of birkhoff run, as in --run-option=--no-graphs")
    arguments = parser.parse_args()
    arguments.build = arguments.build.resolve()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no part; need {', '.join(PARTS)}")
    table, found = Table(), {}
    for name in arguments.parts or PARTS:
        if name != "boundary":
            table.head()
        try:
            PARTS[name](table, arguments, found)
        except job.Failed as failure:
            table.row(name, "failed: " + " ".join(str(failure).split())[:300].replace("|", "/"))


if __name__ == "__main__":
    main()
