"""Stochastic gradient descent with momentum, the max-norm constraint, and the published schedules.

The one idea: `step(gradients)` changes the parameters in place, v <- mu v - lr g, theta <- theta + v, and then
projects each unit's incoming weights back into a ball. Learning rate and momentum follow the update's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from .backend import Array, array_module, full_like, in_blocks, row_norms
from .tensor import Tensor


@dataclass(frozen=True)
class Schedule:
    """Learning rate and momentum over training, by default as published for maxout on MNIST.

    The learning rate falls by the factor `decay` at every update, not below `floor`. Momentum goes linearly from
    `momentum` in epoch 1 to `final_momentum` in epoch `saturation`.
    """

    learning_rate: float = 0.1
    decay: float = 1.000004
    floor: float = 1e-6
    momentum: float = 0.5
    final_momentum: float = 0.7
    saturation: int = 250

    def __post_init__(self) -> None:
        momenta = self.momentum, self.final_momentum
        if not (0 < self.learning_rate < inf and self.decay >= 1 and all(0 <= m < 1 for m in momenta)):
            raise ValueError(f"learning_rate > 0, decay >= 1 and momenta in [0, 1) are wanted, got {self}")

    def at(self, update: int, epoch: int) -> tuple[float, float]:
        """(learning rate, momentum) for an update's number from 0 and an epoch's from 1."""
        share = min(1.0, max(0.0, (epoch - 1) / max(1, self.saturation - 1)))
        rate = max(self.floor, self.learning_rate * self.decay**-update)  # may underflow, not overflow
        return rate, self.momentum + share * (self.final_momentum - self.momentum)

    def continued(self, updates: int, epoch: int) -> Schedule:
        """The schedule of a training that goes on from here: the rate goes on falling, momentum stays where it is.

        `updates` are those that were made, `epoch` the last one's number.
        """
        rate, momentum = self.at(updates, epoch)
        return replace(self, learning_rate=rate, momentum=momentum, final_momentum=momentum)


PUBLISHED = Schedule()


class SGD:
    """Momentum, not dampened, and max-norm.

    Parameters
    ----------
    parameters : sequence of Tensors
        Changed in place by `step`.
    schedule : Schedule
    max_norm : float, optional
        After every update each unit's incoming weights, a row of every parameter with two axes or more, are scaled
        back to this L2 norm if they are longer.
    """

    def __init__(
        self, parameters: Sequence[Tensor], schedule: Schedule = PUBLISHED, max_norm: float | None = None
    ) -> None:
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm is positive, or None for no constraint; got {max_norm}")
        self.parameters, self.schedule, self.max_norm = list(parameters), schedule, max_norm
        self.velocities: list[Array] = [full_like(p.data, 0.0) for p in self.parameters]
        self.updates = 0

    def step(self, gradients: Sequence[Array], epoch: int = 1) -> None:
        """One update with dJ/dtheta, one array for each parameter, of its shape."""
        wanted, given = [p.data.shape for p in self.parameters], [g.shape for g in gradients]
        if wanted != given:
            raise ValueError(f"one gradient of its shape for each parameter: wanted {wanted}, got {given}")
        rate, momentum = self.schedule.at(self.updates, epoch)
        for p, v, g in zip(self.parameters, self.velocities, gradients, strict=True):
            for block, velocity, gradient in in_blocks(p.data, v, g):
                velocity *= momentum
                velocity -= rate * gradient
                block += velocity
                if self.max_norm is not None and p.data.ndim > 1:
                    project_rows(block, self.max_norm)
        self.updates += 1


def project_rows(W: Array, max_norm: float) -> None:
    """Scale each row of W `(..., inputs)` with an L2 norm above `max_norm` back to it, in place."""
    xp, norms = array_module(W), row_norms(W)
    if norms.size and norms.max() == inf:  # squares overflowed: bring these rows to where they can be squared
        W *= xp.where(norms == inf, max_norm / abs(W).max(axis=-1), xp.ones_like(norms))[..., None]
        norms = row_norms(W)
    if norms.size and norms.max() > max_norm:
        W *= (max_norm / xp.maximum(norms, max_norm))[..., None]
