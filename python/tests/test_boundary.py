#!/usr/bin/env python3
"""The operators against the same formulas in plain PyTorch: values, gradients, torch.compile, CUDA graphs.

    python3 python/tests/test_boundary.py [unittest's arguments]

tests the package that Python finds: an installed wheel, or the tree with PYTHONPATH=python and BIRKHOFF_TORCH_LIBRARIES naming
the folder of a build's libraries.  On the CPU in float64, also against differences.  On a GPU in bfloat16 and float32 against plain
PyTorch in float64: no worse than twice the error of plain PyTorch in the same type.
"""
import functools
import unittest

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import birkhoff_torch
from birkhoff_torch import Boundary, Head, library, operators, reference


# What rounding streams to 8 bits leaves of the gradients of a few numbers, which are sums of much that cancels.
BFLOAT16 = 0.02


def has(processor):
    try:
        library.load(processor)
    except birkhoff_torch.BoundaryError:
        return False
    return processor == "cpu" or torch.cuda.is_available()


class Model(nn.Module):
    """Some sub-layers, tanh of a product each, between boundaries; `plain` computes the same in plain PyTorch."""

    def __init__(self, channels, streams=4, depth=3, kind="mhc", mapping="sinkhorn", iterations=20, head=True, seed=1):
        super().__init__()
        self.kind, self.mapping, self.iterations = kind, mapping, iterations
        self.boundaries = nn.ModuleList(Boundary(channels, streams, index, kind, mapping, iterations) for index in range(depth))
        self.weights = nn.ParameterList(torch.empty(channels, channels) for _ in range(depth))
        self.head = Head(channels, kind) if head else None
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():  # away from every special point
            for name, parameter in self.named_parameters():
                drawn = torch.randn(parameter.shape, generator=generator)
                if name.endswith("gamma"):
                    parameter.copy_(1.0 + 0.2 * drawn)
                elif name.endswith("alpha"):
                    parameter.copy_(1.0 + 0.1 * drawn)
                else:
                    rows = {"projection": streams * channels, "bias": 1}.get(name.rpartition(".")[2], channels)
                    parameter.copy_(drawn * rows ** -0.5)

    def sub_layer(self, index, h):
        return torch.tanh(h @ self.weights[index].to(h.dtype))

    def forward(self, x):
        state, h = self.boundaries[0](x)
        for index in range(1, len(self.boundaries)):
            state, h = self.boundaries[index](state, self.sub_layer(index - 1, h))
        y = self.sub_layer(len(self.boundaries) - 1, h)
        return birkhoff_torch.contract(state, y, self.kind) if self.head is None else self.head(state, y)

    def coefficients(self, boundary, x):
        if self.kind == "residual":
            one = boundary.gamma.new_ones(())
            return one.expand(x.shape[0], 1), one.expand(x.shape[0], 1), one.expand(x.shape[0], 1, 1)
        if self.kind == "hc":
            return reference.hc_coefficients(x, boundary.projection, boundary.alpha, boundary.bias)
        return reference.coefficients(x, boundary.projection, boundary.alpha, boundary.bias, self.mapping, self.iterations)

    def plain(self, x):
        for index, boundary in enumerate(self.boundaries):
            pre, post, mix = self.coefficients(boundary, x)
            y = self.sub_layer(index, reference.norm(reference.read(x, pre), boundary.gamma, x.dtype))
            x = reference.merge(x, y, post, mix)
        if self.head is None:
            return x
        return reference.norm(x.to(self.head.gamma.dtype).mean(dim=1), self.head.gamma, x.dtype)


def gradients(function, model, x, weight):
    """The output, and the gradients of its sum weighted, of x and of all parameters by name."""
    x = x.detach().clone().requires_grad_()
    model.zero_grad(set_to_none=True)
    out = function(x)
    (out.to(weight.dtype) * weight).sum().backward()
    return out.detach(), {"x": x.grad, **{name: parameter.grad for name, parameter in model.named_parameters()}}


def drawn(*shape, dtype, device, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(device, dtype)


def difference(got, want):
    """Of the root mean squares."""
    got, want = got.double(), want.double()
    return ((got - want).norm() / want.norm().clamp_min(1e-30)).item()


class Case(unittest.TestCase):
    def errors(self, function, model, x, weight, want):
        out, got = gradients(function, model, x, weight.to(x.dtype))
        alphas = [name for name in got if name.endswith("alpha")]
        errors = {name: difference(got[name], want[name]) for name in got if name not in alphas}
        # Three numbers each, sums over tokens that nearly cancel: those of all boundaries together.
        if alphas:
            errors["alpha"] = difference(*(torch.cat([side[name] for name in alphas]) for side in (got, want)))
        return {"out": difference(out, want["out"]), **errors}

    def follows(self, model, wide, x, bar):
        """The operators in x's type, and plain PyTorch in it, against plain PyTorch in float64: values and all gradients, within
        `bar` or twice the error of plain PyTorch.
        """
        out_shape = x.shape if model.head is None else (x.shape[0], x.shape[2])
        weight = drawn(*out_shape, dtype=torch.float64, device=x.device, seed=9)
        want_out, want = gradients(wide.plain, wide, x.double(), weight)
        want["out"] = want_out
        ours = self.errors(model, model, x, weight, want)
        plain = self.errors(model.plain, model, x, weight, want)
        name = max(ours, key=lambda name: ours[name] / max(bar, 2.0 * plain[name]))
        print(f"\n    {tuple(x.shape)} {str(x.dtype)[6:]}: out {ours['out']:.2e} (plain {plain['out']:.2e}), dx {ours['x']:.2e} "
              f"({plain['x']:.2e}), nearest its bar {name} {ours[name]:.2e} ({plain[name]:.2e})", end=" ", flush=True)
        self.assertLess(ours[name], max(bar, 2.0 * plain[name]), (ours, plain))


@unittest.skipUnless(has("cpu"), "no kernels for the CPU")
class CpuTest(Case):
    def model(self, channels=6, **settings):
        return Model(channels, **settings).double()

    def check(self, tokens=5, channels=6, streams=4, **settings):
        model = self.model(channels, streams=streams, **settings)
        self.follows(model, model, drawn(tokens, streams, channels, dtype=torch.float64, device="cpu", seed=2), 1e-11)

    def test_sinkhorn(self):
        self.check()

    def test_streams_of_2_3_and_8(self):
        for streams in (2, 3, 8):
            self.check(streams=streams, channels=5)

    def test_identity(self):
        self.check(mapping="identity")

    def test_hyper_connections(self):
        self.check(kind="hc")

    def test_plain_residual(self):
        self.check(kind="residual", streams=1)

    def test_x_leaves(self):
        self.check(head=False)

    def test_gradients_are_differences(self):
        model = self.model(channels=3, streams=2, depth=2)
        x = drawn(2, 2, 3, dtype=torch.float64, device="cpu", seed=2).requires_grad_()
        self.assertTrue(torch.autograd.gradcheck(lambda x, *_: model(x), (x, *model.parameters())))

    def test_equal_streams(self):
        model = self.model()
        embedding = drawn(5, 6, dtype=torch.float64, device="cpu", seed=3)
        weight = drawn(5, 6, dtype=torch.float64, device="cpu", seed=4)
        _, got = gradients(lambda e: model(birkhoff_torch.expand(e, 4)), model, embedding, weight)
        _, want = gradients(lambda e: model.plain(birkhoff_torch.expand(e, 4)), model, embedding, weight)
        self.assertEqual(got["boundaries.0.bias"][8:].abs().max(), 0.0)  # exactly: all rows of H_res sum to 1
        for name in want:
            if not name.startswith("boundaries.0."):
                self.assertLess(difference(got[name], want[name]), 1e-11, name)

    def test_leading_dimensions(self):
        model = self.model()
        x = drawn(2, 3, 4, 6, dtype=torch.float64, device="cpu", seed=2)
        torch.testing.assert_close(model(x), model(x.view(6, 4, 6)).view(2, 3, 6), rtol=0, atol=0)

    def test_compiled(self):
        model = self.model()
        x = drawn(5, 4, 6, dtype=torch.float64, device="cpu", seed=2)
        weight = drawn(5, 6, dtype=torch.float64, device="cpu", seed=9)
        out, want = gradients(model, model, x, weight)
        compiled = torch.compile(model, fullgraph=True)
        got_out, got = gradients(compiled, model, x, weight)
        torch.testing.assert_close(got_out, out, rtol=1e-12, atol=1e-12)
        for name in want:
            torch.testing.assert_close(got[name], want[name], rtol=1e-10, atol=1e-10)

    def test_fake_kernels(self):
        tensors = {name: drawn(*shape, dtype=torch.float64, device="cpu", seed=seed) for seed, (name, shape) in enumerate(
            {"x": (5, 4, 6), "y": (5, 6), "coefficients": (5, 24), "projection": (24, 24), "alpha": (3,), "bias": (24,),
             "gamma": (6,)}.items())}
        for name in ("y", "projection", "alpha", "bias", "gamma"):
            tensors[name].requires_grad_()
        x_slot, y_slot = (slot.requires_grad_() for slot in operators.slots(tensors["x"]))
        settings = (library.KINDS["mhc"], library.mappings()["sinkhorn"], 20, 1e-6, 1e-6, False)
        parameters = [tensors[name] for name in ("projection", "alpha", "bias", "gamma")]
        merge = (tensors["x"], x_slot, tensors["y"], y_slot, tensors["coefficients"])
        tests = ("test_schema", "test_autograd_registration", "test_faketensor")
        torch.library.opcheck(operators.boundary, (*merge, *parameters, *settings), test_utils=tests)
        torch.library.opcheck(operators.boundary_head, (*merge, tensors["gamma"], settings[0], 0, 1e-6), test_utils=tests)
        torch.library.opcheck(operators.boundary_leave, (*merge, settings[0]), test_utils=tests)

    def test_dynamic_shapes(self):
        model = self.model()
        compiled = torch.compile(model, fullgraph=True, dynamic=True)
        for tokens in (5, 8, 13):
            x = drawn(tokens, 4, 6, dtype=torch.float64, device="cpu", seed=2)
            weight = drawn(tokens, 6, dtype=torch.float64, device="cpu", seed=9)
            _, want = gradients(model, model, x, weight)
            _, got = gradients(compiled, model, x, weight)
            for name in want:
                torch.testing.assert_close(got[name], want[name], rtol=1e-10, atol=1e-10)

    def test_checkpointed_sub_layers(self):
        model = self.model()
        x = drawn(5, 4, 6, dtype=torch.float64, device="cpu", seed=2)
        weight = drawn(5, 6, dtype=torch.float64, device="cpu", seed=9)
        _, want = gradients(model, model, x, weight)
        direct = model.sub_layer
        model.sub_layer = lambda index, h: checkpoint(direct, index, h, use_reentrant=False)
        _, got = gradients(model, model, x, weight)
        for name in want:
            torch.testing.assert_close(got[name], want[name], rtol=0, atol=0)

    def test_refusals(self):
        model = self.model()
        x = drawn(5, 4, 6, dtype=torch.float64, device="cpu", seed=2)
        state, h = model.boundaries[0](x)
        refused = functools.partial(self.assertRaisesRegex, birkhoff_torch.BoundaryError)
        with refused("dtype=3; need 1 or 2"):
            Model(6)(torch.zeros(5, 4, 6, dtype=torch.bfloat16))
        with refused("source_y is torch.float32 on cpu"):
            model.boundaries[1](state, h.float())
        with refused("y is \\(3, 6\\); need \\(5, 6\\)"):
            model.boundaries[1](state, h[:3])
        with refused("projection is torch.float32"):
            Model(6)(x)
        with refused("gamma is \\(7,\\); need \\(6,\\)"):
            Boundary(7).double()(x)


@unittest.skipUnless(has("cuda"), "no GPU, or no kernels for it")
class CudaTest(Case):
    def check(self, dtype, bar, tokens=300, channels=512, streams=4, **settings):
        model = Model(channels, streams=streams, **settings).cuda()
        wide = Model(channels, streams=streams, **settings).double().cuda()
        self.follows(model, wide, drawn(tokens, streams, channels, dtype=dtype, device="cuda", seed=2), bar)

    def test_float32(self):
        for streams in (2, 4, 8):
            self.check(torch.float32, 1e-5, streams=streams)

    def test_bfloat16(self):
        for channels in (512, 2048, 2560):
            self.check(torch.bfloat16, BFLOAT16, channels=channels)

    def test_bfloat16_streams(self):
        for streams in (2, 3, 8):
            self.check(torch.bfloat16, BFLOAT16, streams=streams)

    def test_identity(self):
        self.check(torch.bfloat16, BFLOAT16, mapping="identity")

    def test_hyper_connections(self):
        self.check(torch.bfloat16, BFLOAT16, kind="hc")

    def test_plain_residual(self):
        self.check(torch.bfloat16, BFLOAT16, kind="residual", streams=1)

    def test_x_leaves(self):
        self.check(torch.bfloat16, BFLOAT16, head=False)

    def step(self, model, x, weight):
        model.zero_grad(set_to_none=False)
        (model(x).float() * weight).sum().backward()

    def test_the_same_bits_again(self):
        model = Model(2048).cuda()
        x = drawn(1000, 4, 2048, dtype=torch.bfloat16, device="cuda", seed=2)
        weight = drawn(1000, 2048, dtype=torch.float32, device="cuda", seed=3)
        _, first = gradients(model, model, x, weight)
        _, again = gradients(model, model, x, weight)
        for name in first:
            if "weights" not in name:  # a product of PyTorch's
                self.assertTrue(torch.equal(first[name], again[name]), name)

    def test_compiled(self):
        model = Model(512).cuda()
        x = drawn(300, 4, 512, dtype=torch.bfloat16, device="cuda", seed=2)
        weight = drawn(300, 512, dtype=torch.float32, device="cuda", seed=3)
        out, want = gradients(model, model, x, weight)
        got_out, got = gradients(torch.compile(model, fullgraph=True), model, x, weight)
        self.assertLess(difference(got_out, out), BFLOAT16)
        for name in want:  # the sub-layers round elsewhere
            self.assertLess(difference(got[name], want[name]), 2.0 * BFLOAT16, name)

    def test_captured(self):
        """A step, forward and backward, in a CUDA graph."""
        model = Model(512).cuda()
        x = drawn(300, 4, 512, dtype=torch.bfloat16, device="cuda", seed=2)
        weight = drawn(300, 512, dtype=torch.float32, device="cuda", seed=3)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self.step(model, x, weight)
        torch.cuda.current_stream().wait_stream(side)
        want = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step(model, x, weight)
        for parameter in model.parameters():
            parameter.grad.fill_(7.0)
        graph.replay()
        torch.cuda.synchronize()
        for name, parameter in model.named_parameters():
            self.assertLess(difference(parameter.grad, want[name]), 1e-6, name)


if __name__ == "__main__":
    print(f"torch {torch.__version__}, kernels {library.any_library().birkhoff_boundary_version().decode()}, "
          + (torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"), flush=True)
    unittest.main(verbosity=2)
