"""How every row attacks: FGSM of the usual size with true labels, and noise of the same size to hold it against."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import metrics
from ..attacks import fgsm
from ..backend import Array, generator, noise
from ..ops import sign
from .lab import EPS


def attack(model: Any, x: Array, y: Array, eps: float = EPS) -> Array:
    """FGSM with the true labels y `(N,)` on x `(N, D)`, not clipped, in batches: `(N, D)`."""
    return metrics.in_batches(partial(fgsm, model, eps=eps), x, y)


def random_signs(x: Array, seed: int, stream: str) -> Array:
    """Noise as large as the attack, +EPS or -EPS for each entry of x, from this stream of the seed."""
    return EPS * sign(noise(generator(seed, stream), x, 1.0))
