"""The kernels: libbirkhoff_boundary_cuda.so and libbirkhoff_boundary_cpu.so by ctypes, as kernels/boundary_c.h declares them.

No C++ passes between this package and PyTorch: calls take addresses and a stream, so one library serves every version of
PyTorch.  The GPU's library needs NVIDIA's driver and nothing else; the CPU's, where a wheel has it, loads oneDNN and
OpenBLAS of the system (Debian: libdnnl2, libopenblas0).
"""
import ctypes
import functools
import os
import pathlib
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_int32, c_int64, c_void_p

import torch

ABI = 1
KINDS = {"residual": 0, "hc": 1, "mhc": 2}
RECEIVED, MERGE = 1, 2  # where X comes from
SUB_LAYER, HEAD, NONE = 0, 1, 2  # who reads it
CONTRACTIONS = {"mean": 0, "sum": 1}
DTYPES = {torch.float32: 1, torch.float64: 2, torch.bfloat16: 3}
# Streams and activations; all else has the type of scalars.
STREAM_TENSORS = {"source_x", "source_y", "x", "contracted", "norm_out", "dx_above", "y", "dnorm", "dx", "dy_below"}


class Problem(Structure):
    _fields_ = [(name, c_int32) for name in ("dtype", "kind", "mapping", "sinkhorn_iterations", "streams", "sink", "contract",
                                             "source")]
    _fields_ += [("tokens", c_int64), ("channels", c_int64), ("mix_eps", c_double), ("norm_eps", c_double)]


class Sizes(Structure):
    _fields_ = [(name, c_int64) for name in ("coefficients_per_token", "logits_per_token", "projection", "bias",
                                             "workspace_bytes")]


class ForwardArgs(Structure):
    _fields_ = [("problem", Problem)]
    _fields_ += [(name, c_void_p) for name in ("source_x", "source_y", "source_coefficients", "x", "projection", "alpha", "bias",
                                               "gamma", "coefficients", "logits", "contracted", "norm_out", "norm_inv_rms")]


class BackwardArgs(Structure):
    _fields_ = [("problem", Problem), ("equal_streams", c_int32)]
    _fields_ += [(name, c_void_p) for name in ("dx_above", "x", "contracted", "y", "dnorm", "norm_inv_rms", "coefficients",
                                               "logits", "projection", "alpha", "bias", "gamma", "dprojection", "dalpha", "dbias",
                                               "dgamma", "dx", "coefficients_below", "dy_below", "workspace")]


class BoundaryError(RuntimeError):
    """What a call of the library refuses, in its words."""


def scalar_type(dtype):
    """Of coefficients, parameters and their gradients, where streams have `dtype`."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def folder():
    """Where the libraries lie: BIRKHOFF_TORCH_LIBRARIES, or the package's own."""
    return pathlib.Path(os.environ.get("BIRKHOFF_TORCH_LIBRARIES") or pathlib.Path(__file__).parent / "lib")


@functools.cache
def load(processor):
    """The library of "cuda" or "cpu"."""
    path = folder() / f"libbirkhoff_boundary_{processor}.so"
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise BoundaryError(f"no kernels for {processor}: {error}; BIRKHOFF_TORCH_LIBRARIES names another folder") from error
    if library.birkhoff_boundary_abi() != ABI:
        raise BoundaryError(f"{path} is of another version of this package")
    library.birkhoff_boundary_mapping.restype = c_char_p
    library.birkhoff_boundary_version.restype = c_char_p
    tail = [c_char_p, c_int64]
    library.birkhoff_boundary_size.argtypes = [POINTER(Problem), POINTER(Sizes), *tail]
    library.birkhoff_boundary_start.argtypes = [POINTER(Problem), c_double, POINTER(c_double), *tail]
    library.birkhoff_boundary_forward.argtypes = [POINTER(ForwardArgs), c_void_p, *tail]
    library.birkhoff_boundary_backward.argtypes = [POINTER(BackwardArgs), c_void_p, *tail]
    return library


@functools.cache
def any_library():
    """For questions about shapes: whichever there is."""
    try:
        return load("cuda")
    except BoundaryError:
        return load("cpu")


def call(function, *arguments):
    message = ctypes.create_string_buffer(512)
    if function(*arguments, message, len(message)) != 0:
        raise BoundaryError(message.value.decode())


@functools.cache
def mappings():
    """Numbers by name."""
    names = []
    while (name := any_library().birkhoff_boundary_mapping(len(names))) is not None:
        names.append(name.decode())
    return {name: number for number, name in enumerate(names)}


@functools.cache
def sizes(kind, mapping, streams, channels=1):
    """Of a token and of the parameters, in elements."""
    result = Sizes()
    problem = Problem(dtype=1, kind=kind, mapping=mapping, sinkhorn_iterations=1, streams=streams, source=RECEIVED,
                      channels=channels, mix_eps=1.0, norm_eps=1.0)
    call(any_library().birkhoff_boundary_size, byref(problem), byref(result))
    return result


def start(mapping, streams, off_diagonal):
    """Where the biases of H_res start."""
    size = sizes(KINDS["mhc"], mapping, streams)
    values = (c_double * max(size.bias - 2 * streams, 1))()
    problem = Problem(dtype=1, kind=KINDS["mhc"], mapping=mapping, sinkhorn_iterations=1, streams=streams, source=RECEIVED,
                      channels=1, mix_eps=1.0, norm_eps=1.0)
    call(any_library().birkhoff_boundary_start, byref(problem), off_diagonal, values)
    return list(values)[:size.bias - 2 * streams]


def address(name, tensor, dtype, device):
    """Of what a call reads or writes: the library sees no types, so they are looked at here."""
    if tensor is None:
        return None
    wanted = dtype if name in STREAM_TENSORS else scalar_type(dtype)
    if tensor.dtype != wanted or tensor.device != device or not tensor.is_contiguous():
        raise BoundaryError(f"boundary: {name} is {tensor.dtype} on {tensor.device}, of strides {tensor.stride()}; "
                            f"need {wanted} on {device}, contiguous")
    return tensor.data_ptr()


def addresses(problem, device, tensors):
    dtype = next(dtype for dtype, number in DTYPES.items() if number == problem.dtype)
    return {name: address(name, tensor, dtype, device) for name, tensor in tensors.items()}


def stream_of(device):
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else None


def run(name, args, device):
    """forward or backward, on the current stream of the device."""
    library = load(device.type)
    function = getattr(library, f"birkhoff_boundary_{name}")
    if device.type != "cuda":
        return call(function, byref(args), None)
    with torch.cuda.device(device):
        return call(function, byref(args), stream_of(device))


def forward(problem, device, **tensors):
    """By the names of ForwardArgs; outputs are written."""
    run("forward", ForwardArgs(problem=problem, **addresses(problem, device, tensors)), device)


def backward(problem, device, equal_streams=False, **tensors):
    """By the names of BackwardArgs; gradients of parameters are added to."""
    needed = Sizes()
    call(load(device.type).birkhoff_boundary_size, byref(problem), byref(needed))
    workspace = torch.empty(needed.workspace_bytes, dtype=torch.uint8, device=device)
    args = BackwardArgs(problem=problem, equal_streams=int(equal_streams), workspace=workspace.data_ptr(),
                        **addresses(problem, device, tensors))
    run("backward", args, device)
