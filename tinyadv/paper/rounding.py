"""The gradient of the cross-entropy as most libraries compute it: p − t as it stands, and as float32 rounds it.

The one idea: where a network is so sure that p of the true class rounds to 1, its p − 1 is 0, and the gradient lacks
the one class that the attack is to lead away from. `ops.softmax_cross_entropy` takes care of that; an attack without
this care is weaker, the more so the surer the network is.
"""

from __future__ import annotations

from typing import Any, Literal

from .. import losses, ops
from ..backend import Array, Generator
from ..layers import call
from ..losses import targets
from ..models import Network
from ..ops import softmax
from ..tensor import Op, Value


@Op
def rounded_cross_entropy(z: Array, t: Array) -> Array:
    """J_n of logits and targets `(N, K)` as of `ops.softmax_cross_entropy`, its gradient as float32 rounds it."""
    return ops.softmax_cross_entropy.forward(z, t)


rounded_cross_entropy.gradients(lambda g, y, z, t: g.reshape(-1, 1) * (softmax(z) - t))


def can_be_rounded(network: Any) -> bool:
    """Whether a network says that it has a softmax on top, and has its cross-entropy as the cost."""
    return getattr(network, "top", None) == "softmax" and not _has_own_loss(network)


def _has_own_loss(network: Any) -> bool:
    return isinstance(network, Network) and type(network).loss is not Network.loss


class Rounded:
    """A network with a softmax on top whose cost has this gradient, for attacks: `attack(Rounded(network), x, y)`.

    It has the parameters of the network, and trains like it.
    """

    def __init__(self, network: Any) -> None:
        if (top := getattr(network, "top", "softmax")) != "softmax":
            raise ValueError(f"the rounded gradient is that of a softmax, but this network's top is {top!r}")
        if _has_own_loss(network):
            raise ValueError(
                f"the rounded gradient is that of the cross-entropy, but {type(network).__name__} has a loss of its own"
            )
        self.network = network

    def __call__(self, x: Value, rng: Generator | None = None) -> Value:
        return call(self.network, x, rng)

    def seeing_all_inputs(self) -> Rounded:
        """The same without dropout of the inputs."""
        return Rounded(self.network.seeing_all_inputs())

    def loss(self, outputs: Value, y: Array) -> Value:
        """J of logits and labels: the mean over the examples."""
        return rounded_cross_entropy(outputs, targets(y, outputs)).mean()


def adversarial_objective(
    model: Network,
    x: Array,
    y: Array,
    rng: Generator | None,
    gradient: Literal["exact", "rounded"] = "exact",
    **options: Any,
) -> tuple[float, list[Array]]:
    """`losses.adversarial_objective`, where the gradient may be "rounded": the attack's and that of the training.

    The paper's software has one gradient for both. Only the attack can tell: p - t of an example that the network is
    so sure of moves no parameter either way.

    Raises
    ------
    ValueError
        If the gradient is neither "exact" nor "rounded", or the network has no softmax on top to round.
    """
    if gradient not in ("exact", "rounded"):
        raise ValueError(f"gradient is 'exact' or 'rounded', got {gradient!r}")
    if gradient == "exact":
        return losses.adversarial_objective(model, x, y, rng, **options)
    return losses.adversarial_objective(Rounded(model), x, y, rng, **options)


def certain(network: Network, x: Array, y: Array) -> Array:
    """For each image x `(N, D)` whether p of its true class y `(N,)` rounds to 1: truth values `(N,)`."""
    outputs = network(x)
    p = (network.probabilities(outputs) * targets(y, outputs)).sum(axis=1)
    return p == 1.0
