#!/usr/bin/env python3
"""The training step of PyTorch on one GPU, beside which ours is measured: a transformer of this project's shape (RMSNorm, RoPE,
SwiGLU, untied head), torch.compile, attention of cuDNN, fused AdamW with weights and moments in bf16.

usage: python3 bench/torch_step.py [--shapes A B] [--residual plain birkhoff reference] [--steps N] [--json]

plain: x + F(norm(x)).  birkhoff: mHC by this project's operators (birkhoff_torch must be installed).  reference: mHC in plain
PyTorch, by torch.compile.  Attention is chosen by switching the other backends off for the whole process: a context manager
around a compiled call is not honoured once the graph is in the cache.  Random tokens; medians over the steps after a warm-up.
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

HEAD = 128
SHAPES = {"A": {"channels": 2560, "inner": 6912, "blocks": 6}, "B": {"channels": 2048, "inner": 5632, "blocks": 8}}
WARM_UP = 3


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.qkv, self.out = nn.Linear(channels, 3 * channels, bias=False), nn.Linear(channels, channels, bias=False)

    def forward(self, x, rotation):
        batch, length, channels = x.shape
        queries, keys, values = self.qkv(x).view(batch, length, 3, channels // HEAD, HEAD).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(rotate(queries, *rotation), rotate(keys, *rotation), values, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, channels))


class FeedForward(nn.Module):
    def __init__(self, channels, inner):
        super().__init__()
        self.up, self.down = nn.Linear(channels, 2 * inner, bias=False), nn.Linear(inner, channels, bias=False)

    def forward(self, x, _):
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


def rotate(x, cosine, sine):
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class PlainResidual(nn.Module):
    """x + F(norm(x)), and the last norm."""

    def __init__(self, channels, sub_layers):
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(channels, eps=1e-6) for _ in range(sub_layers + 1)).bfloat16()

    def forward(self, x, sub_layers):
        for norm, sub_layer in zip(self.norms, sub_layers):
            x = x + sub_layer(norm(x))
        return self.norms[-1](x)


class Streams(nn.Module):
    """Four residual streams and mHC by birkhoff_torch."""

    def __init__(self, channels, sub_layers):
        super().__init__()
        from birkhoff_torch import Boundary, Head
        self.boundaries = nn.ModuleList(Boundary(channels, index=index) for index in range(sub_layers))
        self.head = Head(channels)

    def forward(self, x, sub_layers):
        from birkhoff_torch import expand
        state, h = self.boundaries[0](expand(x, 4))
        for boundary, sub_layer in zip(self.boundaries[1:], sub_layers):
            state, h = boundary(state, sub_layer(h))
        return self.head(state, sub_layers[-1](h))


class ReferenceStreams(Streams):
    """The same in plain PyTorch."""

    def forward(self, x, sub_layers):
        from birkhoff_torch import expand, reference
        shape = x.shape
        x = expand(x, 4).reshape(-1, 4, shape[-1])
        for boundary, sub_layer in zip(self.boundaries, sub_layers):
            pre, post, mix = reference.coefficients(x, boundary.projection, boundary.alpha, boundary.bias)
            h = reference.norm(reference.read(x, pre), boundary.gamma, x.dtype).view(shape)
            x = reference.merge(x, sub_layer(h).reshape(-1, shape[-1]), post, mix)
        return reference.norm(x.float().mean(dim=1), self.head.gamma, x.dtype).view(shape)


RESIDUALS = {"plain": PlainResidual, "birkhoff": Streams, "reference": ReferenceStreams}


class Model(nn.Module):
    def __init__(self, residual, channels, inner, blocks, length, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, channels, dtype=torch.bfloat16)
        self.sub_layers = nn.ModuleList()
        for _ in range(blocks):
            self.sub_layers += [Attention(channels), FeedForward(channels, inner)]
        self.sub_layers.bfloat16()
        self.residual = RESIDUALS[residual](channels, 2 * blocks)
        self.logits = nn.Linear(channels, vocabulary, bias=False, dtype=torch.bfloat16)
        angles = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, HEAD, 2) / HEAD)[None]
        self.register_buffer("cosine", angles.cos().bfloat16())
        self.register_buffer("sine", angles.sin().bfloat16())

    def forward(self, tokens, targets):
        rotation = (self.cosine, self.sine)
        sub_layers = [lambda h, sub_layer=sub_layer: sub_layer(h, rotation) for sub_layer in self.sub_layers]
        logits = self.logits(self.residual(self.embedding(tokens), sub_layers))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


def measure(residual, shape, arguments):
    """A row: milliseconds of a step, tokens a second, GiB, seconds of the first step."""
    torch.manual_seed(1)
    torch._dynamo.reset()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = Model(residual, **SHAPES[shape], length=arguments.length, vocabulary=arguments.vocabulary).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    compiled = torch.compile(model, fullgraph=True)
    tokens, targets = torch.randint(arguments.vocabulary, (2, arguments.batch, arguments.length), device="cuda")

    def step():
        compiled(tokens, targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    began = time.perf_counter()
    step()
    torch.cuda.synchronize()
    first = time.perf_counter() - began
    for _ in range(WARM_UP):
        step()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(arguments.steps + 1)]
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize()
    milliseconds = statistics.median(a.elapsed_time(b) for a, b in zip(events, events[1:]))
    return {"residual": residual, "shape": shape, "milliseconds": milliseconds,
            "tokens_per_second": 1000.0 * arguments.batch * arguments.length / milliseconds,
            "gib": torch.cuda.max_memory_allocated() / 2**30, "first_step_seconds": first}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["A", "B"])
    parser.add_argument("--residual", nargs="+", choices=RESIDUALS, default=["plain"])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=32768)
    parser.add_argument("--json", action="store_true", help="a row a line, for bench/gpu_table.py")
    arguments = parser.parse_args()
    for name, wanted in (("math", False), ("mem_efficient", False), ("flash", False), ("cudnn", True)):
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(wanted)
    for shape in arguments.shapes:
        for residual in arguments.residual:
            row = measure(residual, shape, arguments)
            if arguments.json:
                print(json.dumps(row), flush=True)
            else:
                print(f"{torch.cuda.get_device_name()}, {shape}, {residual}: {row['milliseconds']:.1f} ms, "
                      f"{row['tokens_per_second']:.0f} tokens/s, {row['gib']:.1f} GiB, first step "
                      f"{row['first_step_seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
