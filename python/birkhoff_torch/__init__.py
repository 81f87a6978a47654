"""Manifold-constrained hyper-connections for PyTorch, by Birkhoff's kernels: see README.md."""
from .library import BoundaryError, mappings
from .modules import Boundary, Head, State, contract, expand

__all__ = ["Boundary", "BoundaryError", "Head", "State", "contract", "expand", "mappings"]
