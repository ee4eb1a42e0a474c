"""tinyadv: Explaining and Harnessing Adversarial Examples (Goodfellow, Shlens, Szegedy 2015), from scratch.

The engine is `tinyadv.tensor`, in which `Tensor` and `grad` live; the operations with their gradient formulas are
`tinyadv.ops`. What the paper does stands in `layers`, `models`, `losses`, `attacks`, `optim`, `training`,
`datasets` and `metrics`; its claims, measured, in `tinyadv.paper`.
"""

from . import attacks, datasets, layers, losses, metrics, models, ops, optim, training
from .gradcheck import gradcheck
from .layers import parameters
from .models import load, save
from .tensor import Tensor, grad

__version__ = "0.1.0"

__all__ = [
    "Tensor",
    "attacks",
    "datasets",
    "grad",
    "gradcheck",
    "layers",
    "load",
    "losses",
    "metrics",
    "models",
    "ops",
    "optim",
    "parameters",
    "save",
    "training",
]
