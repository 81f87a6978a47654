#!/usr/bin/env python3
"""mHC's kernels for PyTorch side by side on one GPU: birkhoff_torch, TransformerEngine's and Liger's Triton kernels, and
torch.compile of plain PyTorch, in one process on the same random numbers.

usage: python3 bench/mhc_peers.py [--channels 2560 2048] [--tokens N] [--json]

Four sub-layers whose F is nothing, n = 4, 20 iterations, bf16 streams: what is timed is coefficients, read, block norm and
merge, forward, and forward with backward, by sub-layer; medians.  The shares are of the copy rate of this card by the 10 + 15
rows of C that a single pass must move.  The errors are of X behind the last sub-layer and of its gradient before the first,
against float64, over 256 tokens: all compute the same, Liger with rows before columns and 1e-6 in its sums.
What is not installed is named.  TransformerEngine's Python files suffice: where its compiled library is missing, one product
of its backward pass (dphi) is PyTorch's.
"""
import argparse
import importlib.util
import json
import pathlib
import statistics
import sys
import types

import torch
import torch.nn.functional as F

from birkhoff_torch import Boundary, contract, reference

DEPTH, STREAMS, REPEATS, WARM_UP = 4, 4, 10, 3
FORWARD_UNITS, BACKWARD_UNITS = 2 * STREAMS + 2, 3 * STREAMS + 3


def make_boundaries(channels):
    generator = torch.Generator().manual_seed(1)
    boundaries = [Boundary(channels, STREAMS, index) for index in range(DEPTH)]
    with torch.no_grad():
        for boundary in boundaries:
            boundary.projection.copy_(torch.randn(boundary.projection.shape, generator=generator)
                                      / (STREAMS * channels) ** 0.5)
            boundary.alpha.fill_(1.0)
    return torch.nn.ModuleList(boundaries).cuda()


class Birkhoff:
    """By the single operator between two sub-layers."""

    def __init__(self, boundaries):
        self.boundaries = boundaries
        self.parameters = list(boundaries.parameters())

    def __call__(self, x):
        state, h = self.boundaries[0](x)
        for boundary in self.boundaries[1:]:
            state, h = boundary(state, h)
        return contract(state, h)


class Reference:
    """Plain PyTorch."""

    def __init__(self, boundaries):
        self.boundaries = boundaries
        self.parameters = list(boundaries.parameters())

    def __call__(self, x):
        for boundary in self.boundaries:
            pre, post, mix = reference.coefficients(x, boundary.projection, boundary.alpha, boundary.bias)
            x = reference.merge(x, reference.norm(reference.read(x, pre), boundary.gamma, x.dtype), post, mix)
        return x


class Compiled(Reference):
    """Plain PyTorch by torch.compile."""

    def __init__(self, boundaries):
        super().__init__(boundaries)
        self.compiled = torch.compile(super().__call__, fullgraph=True)

    def __call__(self, x):
        return self.compiled(x)


def block_norm(u, gamma):
    return F.rms_norm(u, (u.shape[-1],), gamma, 1e-6)


class Liger:
    """liger-kernel: coefficients, read and merge, each forward and backward; phi in bf16, as its speed wants."""

    def __init__(self, boundaries):
        from liger_kernel.transformers import functional
        self.functional, self.norm = functional, torch.compile(block_norm)
        self.layers = [[boundary.projection.detach().bfloat16(), boundary.bias.detach().clone(),
                        *boundary.alpha.detach().clone().unbind(), boundary.gamma.detach().bfloat16()]
                       for boundary in boundaries]
        self.parameters = [each.clone().requires_grad_() for layer in self.layers for each in layer]

    def __call__(self, x):
        for first in range(0, len(self.parameters), 6):
            *coefficients, gamma = self.parameters[first:first + 6]
            pre, post, mix = self.functional.liger_mhc_coeffs(x, *coefficients, tmax=20, rms_eps=1e-6)
            y = self.norm(self.functional.liger_mhc_pre(x, pre).to(x.dtype), gamma)
            x = self.functional.liger_mhc_post_res(x, y, post, mix)
        return x


def transformer_engine():
    """The module of its mHC operators."""
    try:
        from transformer_engine.pytorch.triton import mhc
        return mhc
    except (ImportError, OSError, RuntimeError):
        pass
    # Without the compiled library the packages cannot be imported; the files of the kernels can.
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformer_engine"]:
        del sys.modules[name]
    spec = importlib.util.find_spec("transformer_engine")
    if spec is None:
        raise ImportError("no transformer_engine")
    root = pathlib.Path(next(iter(spec.submodule_search_locations)))
    for name in ("", ".common", ".common.triton", ".pytorch", ".pytorch.triton", ".pytorch.cpp_extensions"):
        package = types.ModuleType("transformer_engine" + name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[package.__name__] = package
    gemm = types.ModuleType("transformer_engine.pytorch.cpp_extensions.gemm")
    gemm.general_gemm = lambda a, b, out_dtype, layout: [(b.T @ a).to(out_dtype)]
    sys.modules[gemm.__name__] = gemm
    from transformer_engine.pytorch.triton import mhc
    return mhc


class TransformerEngine:
    """TransformerEngine's operators: projection, scale, Sinkhorn, read; merge, as its own example calls them.  Its streams are
    the last dimension, its phi lies [columns, C n], its H_res is the transpose of ours.
    """

    def __init__(self, boundaries):
        self.mhc, self.norm = transformer_engine(), torch.compile(block_norm)
        order = [*range(2 * STREAMS), *(2 * STREAMS + j * STREAMS + i for i in range(STREAMS) for j in range(STREAMS))]
        self.parameters = []
        for boundary in boundaries:
            channels = boundary.gamma.numel()
            phi = boundary.projection.detach().view(STREAMS, channels, -1).permute(2, 1, 0).reshape(-1, channels * STREAMS)
            self.parameters += [phi[order], boundary.alpha.detach().clone(), boundary.bias.detach()[order][None],
                                boundary.gamma.detach().bfloat16()]
        self.parameters = [each.requires_grad_() for each in self.parameters]

    def buffer(self, _):
        """For the gradient of X, where its three operators shall add into one; none by default."""

    def __call__(self, x):
        x = x.transpose(1, 2).contiguous().unsqueeze(1)  # once, before the first
        buffer = self.buffer(x)
        for first in range(0, len(self.parameters), 4):
            phi, alpha, beta, gamma = self.parameters[first:first + 4]
            u, post, mix = self.mhc.mhc_generate_mix_and_aggregate(x, phi, alpha, beta, fused_grad_x_acc_buffer=buffer)
            y = self.norm(u, gamma)
            x = self.mhc.mhc_fused_expand_combine(y, None, post, x, mix, STREAMS, fused_grad_x_acc_buffer=buffer)
        return x.squeeze(1).transpose(1, 2)


class TransformerEngineOneBuffer(TransformerEngine):
    """The same with the fp32 buffer that it offers against autograd's sums."""

    def buffer(self, x):
        return torch.empty(x.shape, dtype=torch.float32, device=x.device)


PEERS = {"birkhoff": Birkhoff, "transformer_engine": TransformerEngine,
         "transformer_engine_one_buffer": TransformerEngineOneBuffer, "liger": Liger, "torch.compile": Compiled}


def median_microseconds(call):
    times = []
    for repeat in range(WARM_UP + REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        if repeat >= WARM_UP:
            times.append(1000.0 * begin.elapsed_time(end))
    return statistics.median(times)


def copy_rate():
    """Bytes a second, read and written."""
    count = 1 << 31
    source, target = (torch.empty(count, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2e6 * count / median_microseconds(lambda: target.copy_(source))


def float64(boundaries, x, weight):
    """X behind the last sub-layer, and its gradient before the first."""
    wide = torch.nn.ModuleList(Boundary(x.shape[-1], STREAMS, index) for index in range(DEPTH)).double().cuda()
    wide.load_state_dict({name: value.double() for name, value in boundaries.state_dict().items()})
    x = x.double().requires_grad_()
    out = Reference(wide)(x)
    return out.detach(), *torch.autograd.grad(out, x, weight.double())


def difference(got, want):
    return ((got[:len(want)].double() - want).norm() / want.norm()).item()


def measure(name, boundaries, x, weight, want, rate):
    peer = PEERS[name](boundaries)
    inputs = x.detach().clone().requires_grad_()

    def both():
        return torch.autograd.grad(peer(inputs), (inputs, *peer.parameters), weight)

    with torch.no_grad():
        error = difference(peer(x), want[0])
        forward = median_microseconds(lambda: peer(x)) / DEPTH
    gradient_error = difference(both()[0], want[1])
    total = median_microseconds(both) / DEPTH
    row_bytes = 2.0 * x.shape[0] * x.shape[2]
    return {"peer": name, "channels": x.shape[2], "forward_us": forward, "total_us": total, "error": error,
            "gradient_error": gradient_error, "forward_share": FORWARD_UNITS * row_bytes / (1e-6 * forward) / rate,
            "total_share": (FORWARD_UNITS + BACKWARD_UNITS) * row_bytes / (1e-6 * total) / rate}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", nargs="+", type=int, default=[2560, 2048])
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--json", action="store_true", help="a row a line, for bench/gpu_table.py")
    arguments = parser.parse_args()
    rate = copy_rate()
    if not arguments.json:
        print(f"{torch.cuda.get_device_name()}, {arguments.tokens} tokens; copy {1e-12 * rate:.2f} TB/s; microseconds a "
              "sub-layer")
    for channels in arguments.channels:
        boundaries = make_boundaries(channels)
        generator = torch.Generator(device="cuda").manual_seed(2)
        x, weight = (torch.randn(arguments.tokens, STREAMS, channels, device="cuda", generator=generator).bfloat16()
                     for _ in range(2))
        want = float64(boundaries, x[:256], weight[:256])
        for name in arguments.peers:
            torch._dynamo.reset()
            try:
                row = measure(name, boundaries, x, weight, want, rate)
            except Exception as error:  # a peer that is not there, or does not run here, ends no other
                row = {"peer": name, "channels": channels, "missing": f"{type(error).__name__}: {str(error)[:300]}"}
            if arguments.json:
                print(json.dumps(row), flush=True)
                continue
            print(f"C={channels} {name:29}", row["missing"] if "missing" in row else
                  f"forward {row['forward_us']:7.0f} ({100 * row['forward_share']:.0f} %), with backward {row['total_us']:7.0f} "
                  f"({100 * row['total_share']:.0f} %), errors {row['error']:.1e} {row['gradient_error']:.1e}", flush=True)


if __name__ == "__main__":
    main()
