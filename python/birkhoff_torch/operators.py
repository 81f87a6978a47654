"""The boundary as custom operators of PyTorch: birkhoff::boundary (a sub-layer reads X), birkhoff::boundary_head, and
birkhoff::boundary_leave (X goes back to PyTorch), each with its backward operator, its fake kernel and its autograd formula.

The gradients of one boundary are made in a single pass, which takes dX of the boundary above, and y of its own sub-layer.
So what autograd hands down between boundaries is not the gradient of a tensor that anybody sees.  It travels along two
tensors without memory, the slots: the "gradient" of x_slot is dX_{l+1}, complete, before H_res of l has touched it; that of
y_slot is y_l itself.  X and the coefficients pass as values, with no gradient: nobody can take a wrong one from them.  What
enters the first boundary and what leaves the last, every y, every norm_out and all parameters have their true gradients.

Shapes: x [tokens, n, C], y and norm_out [tokens, C], coefficients [tokens, 2n + n^2].
"""
from typing import Optional

import torch
from torch import Tensor

from . import library
from .library import HEAD, KINDS, MERGE, NONE, RECEIVED, SUB_LAYER

RESIDUAL = KINDS["residual"]


def make_problem(x, sink, source, kind=RESIDUAL, mapping=0, iterations=1, mix_eps=1.0, norm_eps=1.0, contract=0):
    return library.Problem(dtype=library.DTYPES[x.dtype], kind=kind, mapping=mapping, sinkhorn_iterations=iterations,
                           streams=x.shape[1], sink=sink, contract=contract, source=source, tokens=x.shape[0],
                           channels=x.shape[2], mix_eps=mix_eps, norm_eps=norm_eps)


def require_shapes(**shapes):
    """Each a tensor, or none, and its shape."""
    for name, (tensor, *shape) in shapes.items():
        if tensor is not None and tuple(tensor.shape) != tuple(shape):
            raise library.BoundaryError(f"boundary: {name} is {tuple(tensor.shape)}; need {tuple(shape)}")


def slots(x):
    """Shapes that gradients travel along; one element of memory each."""
    tokens, streams, channels = x.shape
    return x.new_empty((1, 1, 1)).expand(tokens, streams, channels), x.new_empty((1, 1)).expand(tokens, channels)


def scalars(x, *shape):
    return x.new_empty(shape, dtype=library.scalar_type(x.dtype))


# --- A sub-layer reads X ---

def boundary_outputs(x, y, kind, mapping):
    """X (empty where it was received), norm_out, coefficients, logits, 1 / rms, and the slots."""
    tokens, streams, channels = x.shape
    size = library.sizes(kind, mapping, streams)
    return (x.new_empty((0,)) if y is None else torch.empty_like(x), x.new_empty((tokens, channels)),
            scalars(x, tokens, size.coefficients_per_token), scalars(x, tokens, size.logits_per_token), scalars(x, tokens),
            *slots(x))


@torch.library.custom_op("birkhoff::boundary", mutates_args=())
def boundary(x: Tensor, x_slot: Optional[Tensor], y: Optional[Tensor], y_slot: Optional[Tensor],
             coefficients: Optional[Tensor], projection: Optional[Tensor], alpha: Optional[Tensor], bias: Optional[Tensor],
             gamma: Tensor, kind: int, mapping: int, iterations: int, mix_eps: float, norm_eps: float, equal_streams: bool
             ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    tokens, streams, channels = x.shape
    size = library.sizes(kind, mapping, streams, channels)
    require_shapes(y=(y, tokens, channels), coefficients=(coefficients, tokens, size.coefficients_per_token),
                   bias=(bias, size.bias), alpha=(alpha, 3), gamma=(gamma, channels))
    if (0 if projection is None else projection.numel()) != size.projection:
        raise library.BoundaryError(f"boundary: projection needs {size.projection} elements")
    outputs = boundary_outputs(x, y, kind, mapping)
    merged, norm_out, coefficients_out, logits, inverse = outputs[:5]
    problem = make_problem(x, SUB_LAYER, RECEIVED if y is None else MERGE, kind, mapping, iterations, mix_eps, norm_eps)
    library.forward(problem, x.device, source_x=x, source_y=y, source_coefficients=coefficients,
                    x=x if y is None else merged, projection=projection, alpha=alpha, bias=bias, gamma=gamma,
                    coefficients=coefficients_out, logits=logits, norm_out=norm_out, norm_inv_rms=inverse)
    return outputs


@boundary.register_fake
def _(x, x_slot, y, y_slot, coefficients, projection, alpha, bias, gamma, kind, mapping, iterations, mix_eps, norm_eps,
      equal_streams):
    return boundary_outputs(x, y, kind, mapping)


def boundary_gradients(x, y_below, projection, alpha, bias, gamma):
    """dX, dy of the boundary below (empty where X was received), and zeros for the parameters' gradients."""
    parameters = [scalars(x, 0) if each is None else torch.zeros_like(each) for each in (projection, alpha, bias, gamma)]
    return (torch.empty_like(x), x.new_empty((0,)) if y_below is None else torch.empty_like(y_below), *parameters)


@torch.library.custom_op("birkhoff::boundary_backward", mutates_args=())
def boundary_backward(dx_above: Tensor, y: Tensor, dnorm: Tensor, x: Tensor, coefficients: Tensor, logits: Tensor,
                      inverse: Tensor, y_below: Optional[Tensor], coefficients_below: Optional[Tensor],
                      projection: Optional[Tensor], alpha: Optional[Tensor], bias: Optional[Tensor], gamma: Tensor, kind: int,
                      mapping: int, iterations: int, mix_eps: float, norm_eps: float, equal_streams: bool
                      ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    gradients = boundary_gradients(x, y_below, projection, alpha, bias, gamma)
    dx, dy, dprojection, dalpha, dbias, dgamma = gradients
    problem = make_problem(x, SUB_LAYER, RECEIVED if y_below is None else MERGE, kind, mapping, iterations, mix_eps, norm_eps)
    library.backward(problem, x.device, equal_streams=equal_streams, dx_above=dx_above.contiguous(), x=x, y=y.contiguous(),
                     dnorm=dnorm.contiguous(), norm_inv_rms=inverse, coefficients=coefficients, logits=logits,
                     projection=projection, alpha=alpha, bias=bias, gamma=gamma, dprojection=dprojection, dalpha=dalpha,
                     dbias=dbias, dgamma=dgamma, dx=dx, coefficients_below=coefficients_below, dy_below=dy)
    return gradients


@boundary_backward.register_fake
def _(dx_above, y, dnorm, x, coefficients, logits, inverse, y_below, coefficients_below, projection, alpha, bias, gamma, kind,
      mapping, iterations, mix_eps, norm_eps, equal_streams):
    return boundary_gradients(x, y_below, projection, alpha, bias, gamma)


def boundary_setup(ctx, inputs, output):
    x, _, y, _, coefficients, projection, alpha, bias, gamma, *ctx.settings = inputs
    merged, _, coefficients_out, logits, inverse, _, _ = output
    ctx.received = y is None
    ctx.save_for_backward(x if y is None else merged, y, coefficients, projection, alpha, bias, gamma, coefficients_out, logits,
                          inverse)


def boundary_formula(ctx, _, dnorm, __, ___, ____, dx_above, y):
    x, y_below, coefficients_below, projection, alpha, bias, gamma, coefficients, logits, inverse = ctx.saved_tensors
    dx, dy, dprojection, dalpha, dbias, dgamma = torch.ops.birkhoff.boundary_backward(
        dx_above, y, dnorm, x, coefficients, logits, inverse, y_below, coefficients_below, projection, alpha, bias, gamma,
        *ctx.settings)
    parameters = [gradient if given is not None else None
                  for gradient, given in ((dprojection, projection), (dalpha, alpha), (dbias, bias))]
    carried = (dx, None, None, None) if ctx.received else (None, dx, dy, y_below)
    return (*carried, None, *parameters, dgamma, *[None] * len(ctx.settings))


boundary.register_autograd(boundary_formula, setup_context=boundary_setup)


# --- The head reads X: norm of the streams' mean or sum ---

def head_outputs(x):
    """norm_out, the contraction, 1 / rms."""
    tokens, _, channels = x.shape
    return x.new_empty((tokens, channels)), x.new_empty((tokens, channels)), scalars(x, tokens)


@torch.library.custom_op("birkhoff::boundary_head", mutates_args=())
def boundary_head(x: Tensor, x_slot: Tensor, y: Tensor, y_slot: Tensor, coefficients: Tensor, gamma: Tensor, kind: int,
                  contract: int, norm_eps: float) -> tuple[Tensor, Tensor, Tensor]:
    tokens, _, channels = x.shape
    require_shapes(y=(y, tokens, channels), gamma=(gamma, channels))
    outputs = head_outputs(x)
    norm_out, contracted, inverse = outputs
    problem = make_problem(x, HEAD, MERGE, kind, norm_eps=norm_eps, contract=contract)
    library.forward(problem, x.device, source_x=x, source_y=y, source_coefficients=coefficients, x=torch.empty_like(x),
                    gamma=gamma, contracted=contracted, norm_out=norm_out, norm_inv_rms=inverse)
    return outputs


@boundary_head.register_fake
def _(x, x_slot, y, y_slot, coefficients, gamma, kind, contract, norm_eps):
    return head_outputs(x)


@torch.library.custom_op("birkhoff::boundary_head_backward", mutates_args=())
def boundary_head_backward(dnorm: Tensor, contracted: Tensor, inverse: Tensor, coefficients: Tensor, gamma: Tensor, streams: int,
                           kind: int, contract: int, norm_eps: float) -> tuple[Tensor, Tensor, Tensor]:
    tokens, channels = contracted.shape
    dx, dy, dgamma = contracted.new_empty((tokens, streams, channels)), torch.empty_like(contracted), torch.zeros_like(gamma)
    problem = make_problem(dx, HEAD, MERGE, kind, norm_eps=norm_eps, contract=contract)
    library.backward(problem, dx.device, contracted=contracted, dnorm=dnorm.contiguous(), norm_inv_rms=inverse, gamma=gamma,
                     dgamma=dgamma, dx=dx, coefficients_below=coefficients, dy_below=dy)
    return dx, dy, dgamma


@boundary_head_backward.register_fake
def _(dnorm, contracted, inverse, coefficients, gamma, streams, kind, contract, norm_eps):
    tokens, channels = contracted.shape
    return contracted.new_empty((tokens, streams, channels)), torch.empty_like(contracted), torch.zeros_like(gamma)


def head_setup(ctx, inputs, output):
    x, _, y, _, coefficients, gamma, *ctx.settings = inputs
    _, contracted, inverse = output
    ctx.streams = x.shape[1]
    ctx.save_for_backward(y, coefficients, gamma, contracted, inverse)


def head_formula(ctx, dnorm, _, __):
    y, coefficients, gamma, contracted, inverse = ctx.saved_tensors
    dx, dy, dgamma = torch.ops.birkhoff.boundary_head_backward(dnorm, contracted, inverse, coefficients, gamma, ctx.streams,
                                                               *ctx.settings)
    return None, dx, dy, y, None, dgamma, None, None, None


boundary_head.register_autograd(head_formula, setup_context=head_setup)


# --- X leaves, for a head of PyTorch's own ---

@torch.library.custom_op("birkhoff::boundary_leave", mutates_args=())
def boundary_leave(x: Tensor, x_slot: Tensor, y: Tensor, y_slot: Tensor, coefficients: Tensor, kind: int) -> Tensor:
    tokens, _, channels = x.shape
    require_shapes(y=(y, tokens, channels))
    merged = torch.empty_like(x)
    library.forward(make_problem(x, NONE, MERGE, kind), x.device, source_x=x, source_y=y, source_coefficients=coefficients,
                    x=merged)
    return merged


@boundary_leave.register_fake
def _(x, x_slot, y, y_slot, coefficients, kind):
    return torch.empty_like(x)


@torch.library.custom_op("birkhoff::boundary_leave_backward", mutates_args=())
def boundary_leave_backward(dx: Tensor, coefficients: Tensor, kind: int) -> Tensor:
    dy = dx.new_empty((dx.shape[0], dx.shape[2]))
    dx = dx.contiguous()
    library.backward(make_problem(dx, NONE, MERGE, kind), dx.device, dx=dx, coefficients_below=coefficients, dy_below=dy)
    return dy


@boundary_leave_backward.register_fake
def _(dx, coefficients, kind):
    return dx.new_empty((dx.shape[0], dx.shape[2]))


def leave_setup(ctx, inputs, output):
    _, _, y, _, coefficients, ctx.kind = inputs
    ctx.save_for_backward(y, coefficients)


def leave_formula(ctx, dx):
    y, coefficients = ctx.saved_tensors
    return None, dx, torch.ops.birkhoff.boundary_leave_backward(dx, coefficients, ctx.kind), y, None, None


boundary_leave.register_autograd(leave_formula, setup_context=leave_setup)
