"""The gradient of the cross-entropy as most libraries compute it: p − t as it stands, and as float32 rounds it.

The one idea: where a network is so sure that p of the true class rounds to 1, its p − 1 is 0, and the gradient lacks
the one class that the attack is to lead away from. `ops.softmax_cross_entropy` takes care of that; an attack without
this care is weaker, the more so the surer the network is.
"""

from __future__ import annotations

from .. import ops
from ..backend import Array
from ..losses import targets
from ..models import Network
from ..ops import softmax
from ..tensor import Op, Value


@Op
def rounded_cross_entropy(z: Array, t: Array) -> Array:
    """J_n of logits and targets `(N, K)` as of `ops.softmax_cross_entropy`, its gradient as float32 rounds it."""
    return ops.softmax_cross_entropy.forward(z, t)


rounded_cross_entropy.gradients(lambda g, y, z, t: g.reshape(-1, 1) * (softmax(z) - t))


class Rounded:
    """A network with a softmax on top, for an attack that uses this gradient: `attack(Rounded(network), x, y)`."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, x: Value) -> Value:
        return self.network(x)

    def loss(self, outputs: Value, y: Array) -> Value:
        """J of logits and labels: the mean over the examples."""
        return rounded_cross_entropy(outputs, targets(y, outputs)).mean()


def certain(network: Network, x: Array, y: Array) -> Array:
    """For each image x `(N, D)` whether p of its true class y `(N,)` rounds to 1: truth values `(N,)`."""
    outputs = network(x)
    p = (network.probabilities(outputs) * targets(y, outputs)).sum(axis=1)
    return p == 1.0
