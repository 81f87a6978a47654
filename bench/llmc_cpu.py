#!/usr/bin/env python3
"""GPT-2 124M on CPU threads: birkhoff beside llm.c's CPU trainer, batch 4 x 64, plain residual, in alternating runs.

usage: python3 bench/llmc_cpu.py LLMC_TRAIN_GPT2 [--threads N] [--rounds N] [--steps N] [--build BUILD]

LLMC_TRAIN_GPT2 is the program that llm.c's `make train_gpt2` builds.  Weights and tokens are random, of the sizes that it
wants: 1.5 GB in a temporary folder.  The models differ as configs/gpt2-124m.yaml says (RoPE, SwiGLU, RMSNorm; the same number
of parameters).  The first step of each run warms up and does not count.
"""
import argparse
import array
import os
import pathlib
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile

import job

BATCH, LENGTH, VOCABULARY, PADDED, LAYERS, HEADS, WIDTH, POSITIONS = 4, 64, 50257, 50304, 12, 12, 768, 1024


def write_weights(path):
    """llm.c's checkpoint of random weights, in its order; a row of random numbers is used again and again."""
    row = array.array("f", (random.gauss(0.0, 0.02) for _ in range(1 << 20))).tobytes()
    matrix_elements = PADDED * WIDTH + POSITIONS * WIDTH
    block = [("ones", WIDTH), ("zeros", WIDTH), ("random", 3 * WIDTH * WIDTH), ("zeros", 3 * WIDTH),
             ("random", WIDTH * WIDTH), ("zeros", WIDTH), ("ones", WIDTH), ("zeros", WIDTH),
             ("random", 4 * WIDTH * WIDTH), ("zeros", 4 * WIDTH), ("random", 4 * WIDTH * WIDTH), ("zeros", WIDTH)]
    parts = [("random", matrix_elements), *[(kind, LAYERS * count) for kind, count in block], ("ones", WIDTH), ("zeros", WIDTH)]
    with open(path, "wb") as file:
        job.write_header(file, 20240326, 3, POSITIONS, VOCABULARY, LAYERS, HEADS, WIDTH, PADDED)
        for kind, count in parts:
            if kind == "random":
                for first in range(0, count, 1 << 20):
                    file.write(row[:4 * min(1 << 20, count - first)])
            else:
                file.write(array.array("f", [float(kind == "ones")]).tobytes() * count)


def llmc_steps(program, folder, threads, steps):
    """Seconds of its steps; it is ended when it has made enough of them."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    # By lines, or they would come at its end.
    with subprocess.Popen(["stdbuf", "-oL", program], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        seconds = []
        for line in process.stdout:
            if found := re.search(r"^step \d+: .*took ([0-9.]+) ms", line):
                seconds.append(float(found[1]) / 1000.0)
            if len(seconds) > steps:
                break
        process.kill()
    if len(seconds) <= steps:
        sys.exit(f"{program} made {len(seconds)} steps of {steps + 1}")
    return seconds[1:]


def birkhoff_steps(build, folder, threads, steps):
    settings = {"model.residual.kind": "residual", "training.sequence_length": LENGTH, "training.micro_batch_size": BATCH,
                "training.global_batch_size": BATCH, "parallelism.pipeline_parallel_degree": 1, "parallelism.schedule": "1f1b",
                "parallelism.recompute": "none", "device": "cpu"}
    rows = job.run(build, "gpt2-124m.yaml", folder, steps + 1, settings, ["--threads", threads])
    return [row["step_seconds"] for row in rows if row.get("step_seconds")][1:]


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llmc", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--build", type=pathlib.Path, default=job.ROOT / "build")
    arguments = parser.parse_args()
    program, build = arguments.llmc.resolve(), arguments.build.resolve()
    random.seed(1)
    with tempfile.TemporaryDirectory(prefix="birkhoff-llmc-") as name:
        folder = pathlib.Path(name)
        data = folder / "dev/data/tinyshakespeare"
        data.mkdir(parents=True)
        write_weights(folder / "gpt2_124M.bin")
        for kind in ("train", "val"):
            job.write_tokens(folder / f"{kind}.bin", 64 * BATCH * LENGTH, VOCABULARY)
            (data / f"tiny_shakespeare_{kind}.bin").symlink_to(folder / f"{kind}.bin")
        theirs, ours = [], []
        for number in range(arguments.rounds):
            theirs += llmc_steps(program, folder, arguments.threads, arguments.steps)
            ours += birkhoff_steps(build, folder, arguments.threads, arguments.steps)
            print(f"round {number + 1}: llm.c {statistics.median(theirs[-arguments.steps:]):.3f} s, birkhoff "
                  f"{statistics.median(ours[-arguments.steps:]):.3f} s", flush=True)
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"{processor()}, {arguments.threads} threads, batch {BATCH} x {LENGTH}: llm.c {statistics.median(theirs):.3f} s a step, "
          f"birkhoff {statistics.median(ours):.3f} s: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
