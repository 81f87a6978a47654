"""The boundary as modules: residual streams between the sub-layers of a transformer.

    model            attention = Boundary(C, index=0); feed_forward = Boundary(C, index=1); head = Head(C)
    forward          state, h = attention(expand(embedding, 4))
                     state, h = feed_forward(state, self_attention(h))
                     out = head(state, mlp(h))

h is what the sub-layer reads, normalised: F has no norm of its own.  A state is what one boundary hands to the next; it is to be
passed on and not to be looked into: its X has no gradient of its own (operators.py says why).
"""
from typing import NamedTuple, Union

import torch
from torch import Tensor, nn

from . import library, operators


class State(NamedTuple):
    """Between two boundaries; each is used by one boundary, once."""
    x: Tensor  # [tokens, n, C]
    coefficients: Tensor  # [tokens, 2n + n^2]
    x_slot: Tensor
    y_slot: Tensor


def expand(embedding, streams):
    """[..., C] to [..., n, C], all streams equal."""
    return embedding.unsqueeze(-2).expand(*embedding.shape[:-1], streams, embedding.shape[-1])


def contract(state, y, kind="mhc"):
    """X after the last sub-layer, [..., n, C]: for a head of one's own."""
    streams, channels = state.x.shape[1:]
    x = operators.boundary_leave(state.x, state.x_slot, y.reshape(-1, channels).contiguous(), state.y_slot, state.coefficients,
                                 library.KINDS[kind])
    return x.view(*y.shape[:-1], streams, channels)


class Boundary(nn.Module):
    """What stands before one sub-layer: merges the last one's output, reads X by its own coefficients, norms.

    kind: "mhc", "hc" or "residual" (n = 1).  mapping: of mhc, one of birkhoff_torch.mappings().  index: of the sub-layer, which
    chooses the stream that it reads and writes at first.  Streams are bfloat16 or float32 on a GPU, float32 or float64 on the
    CPU; parameters float32 (float64 with float64 streams).
    """

    def __init__(self, channels, streams=4, index=0, kind="mhc", mapping="sinkhorn", sinkhorn_iterations=20, mix_eps=1e-6,
                 norm_eps=1e-6, alpha_init=0.01, bias_on=1.0, bias_off=-1.0, bias_res_off_diagonal=-4.0):
        super().__init__()
        self.kind, self.mapping = library.KINDS[kind], library.mappings()[mapping]
        self.streams, self.iterations, self.mix_eps, self.norm_eps = streams, sinkhorn_iterations, mix_eps, norm_eps
        size = library.sizes(self.kind, self.mapping, streams, channels)
        self.gamma = nn.Parameter(torch.ones(channels))
        self.projection = self.alpha = self.bias = None
        if size.projection > 0:
            theta = kind == "hc"
            shape = (2 + streams, channels) if theta else (streams * channels, size.projection // (streams * channels))
            self.projection = nn.Parameter(torch.zeros(shape))
            self.alpha = nn.Parameter(torch.full((3,), alpha_init))
        if size.bias > 0:
            self.bias = nn.Parameter(torch.tensor(self.first_bias(kind, index % streams, bias_on, bias_off,
                                                                  bias_res_off_diagonal)))

    def first_bias(self, kind, chosen, on, off, off_diagonal):
        n = self.streams
        if kind == "hc":
            return [float(i == chosen) for i in range(n)] + [1.0] * n + [float(k // n == k % n) for k in range(n * n)]
        gates = [on if i == chosen else off for i in range(n)]
        # A learned number instead of 2 sigmoid: written whole.
        write = [1.0] * n if self.mapping == library.mappings()["gated"] else gates
        return gates + write + library.start(self.mapping, n, off_diagonal)

    def forward(self, state: Union[State, Tensor], y: Tensor = None):
        """state: the last boundary's, with y [..., C], what its sub-layer made; or, without y, X_0 [..., n, C].

        Returns the next state and what the sub-layer reads, [..., C].
        """
        if y is None:
            leading, channels = state.shape[:-2], state.shape[-1]
            x, equal = state.reshape(-1, self.streams, channels).contiguous(), state.stride(-2) == 0
            arguments = (x, None, None, None, None)
        else:
            leading, channels, equal = y.shape[:-1], y.shape[-1], False
            x = state.x
            arguments = (x, state.x_slot, y.reshape(-1, channels).contiguous(), state.y_slot, state.coefficients)
        merged, norm_out, coefficients, _, _, x_slot, y_slot = operators.boundary(
            *arguments, self.projection, self.alpha, self.bias, self.gamma, self.kind, self.mapping, self.iterations,
            self.mix_eps, self.norm_eps, equal)
        return State(x.detach() if y is None else merged.detach(), coefficients.detach(), x_slot,
                     y_slot), norm_out.view(*leading, channels)


class Head(nn.Module):
    """After the last sub-layer: the streams' mean or sum, normalised, [..., C]."""

    def __init__(self, channels, kind="mhc", contraction="mean", norm_eps=1e-6):
        super().__init__()
        self.kind, self.contraction, self.norm_eps = library.KINDS[kind], library.CONTRACTIONS[contraction], norm_eps
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, state: State, y: Tensor):
        channels = y.shape[-1]
        norm_out, _, _ = operators.boundary_head(state.x, state.x_slot, y.reshape(-1, channels).contiguous(), state.y_slot,
                                                 state.coefficients, self.gamma, self.kind, self.contraction, self.norm_eps)
        return norm_out.view(y.shape)
