"""How every row attacks: FGSM of the usual size with true labels, and noise of the same size to hold it against.

Numbers that are compared with the paper follow the gradient as the paper's software computes it, which float32 rounds
(see `rounding`): `attack(software(network), x, y)`. Without `software` the attack follows the exact gradient, and is
the stronger one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import metrics
from ..attacks import fgsm
from ..backend import Array, generator, noise
from ..models import Network
from ..ops import sign
from .lab import EPS
from .rounding import Rounded


def attack(model: Any, x: Array, y: Array, eps: float = EPS) -> Array:
    """FGSM with the true labels y `(N,)` on x `(N, D)`, not clipped, in batches: `(N, D)`."""
    return metrics.in_batches(partial(fgsm, model, eps=eps), x, y)


def software(network: Network) -> Any:
    """The network with the gradient of the paper's software, to attack: rounded where a softmax is on top, else as is.

    Sigmoids, logistic regression and RBF units lose nothing to rounding. TypeError for a model that is no `Network`,
    which does not say what its top is: one with a softmax is `rounding.Rounded(model)`.
    """
    if not hasattr(network, "top"):
        raise TypeError(f"a {type(network).__name__} does not say what its top is: for a softmax take Rounded(model)")
    return Rounded(network) if network.top == "softmax" else network


def random_signs(x: Array, seed: int, stream: str) -> Array:
    """Noise as large as the attack, +EPS or -EPS for each entry of x, from this stream of the seed."""
    return EPS * sign(noise(generator(seed, stream), x, 1.0))
