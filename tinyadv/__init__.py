"""tinyadv."""

from .tensor import Tensor, grad

__all__ = ["Tensor", "grad"]
