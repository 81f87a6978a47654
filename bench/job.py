"""Jobs of birkhoff on random tokens, for the scripts beside: data to run them on, and the rows of their steps."""
import array
import json
import os
import pathlib
import random
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Failed(SystemExit):
    """A program did not do what it was asked for; ends a script with what it said, where nobody catches it."""


def environment():
    """Of programs that use a GPU.  BIRKHOFF_CUDA_LIBRARIES names CUDA's folders for them alone: PyTorch finds its own."""
    folders = os.environ.get("BIRKHOFF_CUDA_LIBRARIES")
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", **({"LD_LIBRARY_PATH": folders} if folders else {})}


def run_program(command, folder=None):
    """What it prints, run in `folder`.  Raises Failed."""
    run = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, env=environment())
    if run.returncode != 0:
        raise Failed(f"{command[0]}: exit code {run.returncode}: {run.stderr.strip()[-2000:]}")
    return run.stdout


def write_header(file, *words):
    """llm.c's: 256 integers."""
    file.write(array.array("i", [*words, *[0] * (256 - len(words))]).tobytes())


def write_tokens(path, count, vocabulary):
    """A file of llm.c's format, which birkhoff reads too: tokens drawn evenly, of two bytes each."""
    with open(path, "wb") as file:
        write_header(file, 20240520, 1, count)
        file.write(array.array("H", (random.randrange(vocabulary) for _ in range(count))).tobytes())


def run(build, config, folder, steps, settings, options=()):
    """Rows of metrics.jsonl of a fresh job on FOLDER/train.bin, without validation and checkpoints; each has `since_start`,
    seconds from the start of the program to its report.
    """
    settings = {"training.steps": steps, "training.validation_interval": 0, "checkpoint.interval": 0,
                "lr_schedule.warmup_steps": 1, "data.tokenizer": "none", "data.train": f"{folder}/train.bin",
                "data.validation": f"{folder}/val.bin", **settings}
    out = pathlib.Path(folder) / "out"
    command = [build / "bin/birkhoff", "run", ROOT / "configs" / config, "--fresh", "--out", out, *options]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    began = time.time()
    run_program(command)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        reported = time.mktime(time.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        row["since_start"] = reported + float(row["time"][19:].rstrip("Z")) - began
    return rows
