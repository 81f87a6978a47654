#!/usr/bin/env python3
"""GPT-2 of 124M and of 1.5B parameters on one GPU: birkhoff beside llm.c, T = 1024, plain residual, bf16, one after the other.

usage: python3 bench/llmc_gpu.py [--llmc TRAIN_GPT2CU] [--shapes 124M 1.5B] [--steps N] [--build BUILD] [--json]

TRAIN_GPT2CU is the program that llm.c's `make train_gpt2cu USE_CUDNN=1` builds; without it birkhoff runs alone.  Weights and
tokens are random.  The models differ as configs/gpt2-124m.yaml says (RoPE, SwiGLU, RMSNorm; the same number of parameters).
Medians; the first steps of each warm up and do not count.
"""
import argparse
import json
import pathlib
import random
import re
import statistics
import tempfile

import job

LENGTH, VOCABULARY, WARM_UP = 1024, 50257, 3
# Tokens of a step, sequences of a micro-batch (llm.c's, ours), and the model in the words of both.
SHAPES = {
    "124M": {"tokens": 524288, "batch": (64, 64), "descriptor": "d12", "model": {}},
    "1.5B": {"tokens": 65536, "batch": (16, 16), "descriptor": "d48",
             "model": {"model.hidden_size": 1600, "model.num_hidden_layers": 48, "model.num_attention_heads": 25,
                       "model.num_key_value_heads": 25, "model.intermediate_size": 4272}},
}


def llmc_milliseconds(program, folder, shape, steps):
    """Of its steps."""
    command = [program, "-i", folder / "train.bin", "-j", folder / "val.bin", "-e", shape["descriptor"], "-b", shape["batch"][0],
               "-t", LENGTH, "-d", shape["tokens"], "-x", steps + WARM_UP, "-v", 10000, "-m", 1, "-s", 0, "-h", 0, "-l", 1e-4]
    output = job.run_program(command, folder)
    found = re.findall(r"^step +\d+/\d+ .*?\| *([0-9.]+) ms", output, re.MULTILINE)
    if len(found) < steps + WARM_UP:
        raise job.Failed(f"{program} made {len(found)} steps of {steps + WARM_UP}: {output[-2000:]}")
    return [float(each) for each in found[WARM_UP:]]


def birkhoff_milliseconds(build, folder, shape, steps):
    settings = {"model.residual.kind": "residual", "training.sequence_length": LENGTH,
                "training.micro_batch_size": shape["batch"][1], "training.global_batch_size": shape["tokens"] // LENGTH,
                "parallelism.pipeline_parallel_degree": 1, "parallelism.schedule": "1f1b", "parallelism.recompute": "none",
                "device": "cuda", **shape["model"]}
    rows = job.run(build, "gpt2-124m.yaml", folder, steps + WARM_UP, settings)
    return [1000.0 * row["step_seconds"] for row in rows[WARM_UP:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llmc", type=pathlib.Path)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--build", type=pathlib.Path, default=job.ROOT / "build/cuda")
    parser.add_argument("--json", action="store_true", help="a row a line, for bench/gpu_table.py")
    arguments = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory(prefix="birkhoff-llmc-") as name:
        folder = pathlib.Path(name)
        for kind in ("train", "val"):
            job.write_tokens(folder / f"{kind}.bin", 1 << 20, VOCABULARY)
        for shape_name in arguments.shapes:
            shape = SHAPES[shape_name]
            row = {"shape": shape_name}
            milliseconds = birkhoff_milliseconds(arguments.build.resolve(), folder, shape, arguments.steps)
            row["tokens_per_second"] = 1000.0 * shape["tokens"] / statistics.median(milliseconds)
            if arguments.llmc:
                theirs = llmc_milliseconds(arguments.llmc.resolve(), folder, shape, arguments.steps)
                row["llmc_tokens_per_second"] = 1000.0 * shape["tokens"] / statistics.median(theirs)
            if arguments.json:
                print(json.dumps(row), flush=True)
                continue
            print(f"GPT-2 {shape_name}: birkhoff {row['tokens_per_second']:.0f} tokens/s", end="")
            if arguments.llmc:
                ratio = row["tokens_per_second"] / row["llmc_tokens_per_second"]
                print(f", llm.c {row['llmc_tokens_per_second']:.0f}: {ratio:.3f} times as fast", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
