"""Stochastic gradient descent with momentum, the max-norm constraint, and the published schedules.

The one idea: `step(gradients)` changes the parameters in place, v <- mu v - lr g, theta <- theta + v, and then
projects each unit's incoming weights back into a ball. The learning rate of `Schedule` follows the update's number,
that of `LinearSchedule`, and every momentum, the epoch's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Protocol

from .backend import Array, array_module, full_like, in_blocks, on_gpu, sharing_memory, unit_norms
from .owned import incoming_axes, named_parameters
from .tensor import raw


class AnySchedule(Protocol):
    """Learning rate and momentum of every update. Ours are frozen dataclasses of numbers, as a recipe can hold them."""

    def at(self, update: int, epoch: int) -> tuple[float, float]:
        """(learning rate, momentum) for an update's number from 0 and an epoch's from 1."""
        ...


@dataclass(frozen=True)
class Schedule:
    """Learning rate and momentum over training, by default as published for maxout on MNIST.

    The learning rate falls by the factor `decay` at every update, not below `floor`. Momentum goes linearly from
    `momentum` in epoch 1 to `final_momentum` in epoch `saturation`. Constant ones are
    `Schedule(0.01, decay=1, momentum=0.9, final_momentum=0.9)`. ValueError unless the learning rate is above 0 and not
    below `floor`, `decay` is at least 1, and momenta are in [0, 1).
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
        if self.floor > self.learning_rate:
            raise ValueError(f"the learning rate starts at its floor or above it, got {self}")

    def at(self, update: int, epoch: int) -> tuple[float, float]:
        """(learning rate, momentum) for an update's number from 0 and an epoch's from 1."""
        rate = max(self.floor, self.learning_rate * self.decay**-update)  # may underflow, not overflow
        return rate, _momentum(self, epoch)

    def continued(self, updates: int, epoch: int) -> Schedule:
        """The schedule of a training that goes on from here: the rate goes on falling, momentum stays where it is.

        `updates` are those that were made, `epoch` the last one's number.
        """
        rate, momentum = self.at(updates, epoch)
        return replace(self, learning_rate=rate, momentum=momentum, final_momentum=momentum)


@dataclass(frozen=True)
class LinearSchedule:
    """A learning rate that falls linearly, epoch by epoch; by default as published for maxout on CIFAR-10.

    Epoch e = 1, 2, ... has the learning rate learning_rate (1 - (1 - final_share) e / epochs), and every epoch after
    `epochs` has the last one, learning_rate final_share. Epoch 1 is already one step below `learning_rate`, as in the
    published software (pylearn2, `LinearDecayOverEpoch`). Momentum goes linearly from `momentum` in epoch 1 to
    `final_momentum` in epoch `saturation`. ValueError unless the learning rate is above 0, `final_share` is in [0, 1],
    `epochs` is at least 1, and momenta are in [0, 1).
    """

    learning_rate: float = 0.17
    final_share: float = 0.01
    epochs: int = 500
    momentum: float = 0.5
    final_momentum: float = 0.6
    saturation: int = 250

    def __post_init__(self) -> None:
        momenta = self.momentum, self.final_momentum
        rates = 0 < self.learning_rate < inf and 0 <= self.final_share <= 1
        if not (rates and self.epochs >= 1 and all(0 <= m < 1 for m in momenta)):
            raise ValueError(
                f"learning_rate > 0, final_share in [0, 1], epochs >= 1 and momenta in [0, 1) are wanted, got {self}"
            )

    def at(self, update: int, epoch: int) -> tuple[float, float]:
        """(learning rate, momentum) for an epoch's number from 1; the update's does not matter."""
        fallen = min(1.0, epoch / self.epochs)
        return self.learning_rate * (1.0 - (1.0 - self.final_share) * fallen), _momentum(self, epoch)

    def continued(self, updates: int, epoch: int) -> LinearSchedule:
        """The schedule of a training that goes on from here, at the rate and the momentum of this epoch, as published.

        `updates` are those that were made, `epoch` the last one's number.
        """
        rate, momentum = self.at(updates, epoch)
        return replace(self, learning_rate=rate, final_share=1.0, momentum=momentum, final_momentum=momentum)


def _momentum(schedule: Schedule | LinearSchedule, epoch: int) -> float:
    """Linear from `momentum` in epoch 1 to `final_momentum` in epoch `saturation`."""
    share = min(1.0, max(0.0, (epoch - 1) / max(1, schedule.saturation - 1)))
    return schedule.momentum + share * (schedule.final_momentum - schedule.momentum)


SCHEDULES: dict[str, type[Schedule] | type[LinearSchedule]] = {"exponential": Schedule, "linear": LinearSchedule}


def schedule_of(kind: str = "exponential", **values: Any) -> Schedule | LinearSchedule:
    """The schedule that a recipe's plain data describe: `schedule_of(kind="linear", epochs=250)`.

    Raises
    ------
    ValueError
        If there is no such kind, or it does not take these values.
    """
    if kind not in SCHEDULES:
        raise ValueError(f"a schedule is {' or '.join(map(repr, SCHEDULES))}, got {kind!r}")
    try:
        return SCHEDULES[kind](**values)
    except TypeError as error:
        raise ValueError(f"the {kind} schedule does not take {values}: {error}") from error


PUBLISHED = Schedule()


class SGD:
    """Stochastic gradient descent with momentum (not dampened), and the max-norm constraint.

    Parameters
    ----------
    owner : a network, a layer, or a list of Tensors
        What owns the parameters, which `step` changes in place. A network's layers say along which axes a unit's
        weights lie, and its parameters have names as "layers.0.W"; those of a bare list are called "0", "1" and so on.
    schedule : Schedule or LinearSchedule, or anything with their `at`
        By default the published one of maxout on MNIST, `Schedule()`.
    max_norm : float, or a mapping of names to floats, optional
        After every update each unit's incoming weights are scaled back to this L2 norm if they are longer. A number
        holds for every parameter with two axes or more; a mapping holds for the parameters that it names, as in
        `{"layers.1.W": 1.9}`. A unit's incoming weights are a row, the last axis, unless its layer says otherwise
        (`owned.incoming_axes`); a bare list of Tensors has no layers to ask.
    rate_factors : mapping of names to floats, optional
        Multiples of the schedule's learning rate for single parameters, as in `{"layers.1.W": 0.05}`; others have 1.
        With 0 a parameter stays as it is, whatever `max_norm` says.

    Raises
    ------
    TypeError
        If `schedule` has no method `at`: a bare learning rate, say.
    ValueError
        If `owner` has no parameters, two of them share memory, a norm is not positive, a factor is negative or not
        finite, or a name is none of `named_parameters(owner)`; or if max-norm is wanted of kernels in a bare list,
        which does not say which of their axes are a unit's.
    """

    def __init__(
        self,
        owner: Any,
        schedule: AnySchedule = PUBLISHED,
        max_norm: float | Mapping[str, float] | None = None,
        rate_factors: Mapping[str, float] | None = None,
    ) -> None:
        if not callable(getattr(schedule, "at", None)):
            raise TypeError(
                f"wanted a schedule, as Schedule(0.01, decay=1, momentum=0.9, final_momentum=0.9); got {schedule!r}"
            )
        named, axes = named_parameters(owner), incoming_axes(owner)
        if not named:
            raise ValueError(
                f"nothing to train in a {type(owner).__name__}: wanted a list of Tensors, or an object that keeps "
                "its layers and Tensors in attributes"
            )
        if shared := sharing_memory({name: p.data for name, p in named.items()}):
            raise ValueError(f"{' and '.join(shared)} share memory, and training would part them: share the Tensor")
        self.parameters, self.schedule = list(named.values()), schedule
        self.max_norm = dict(max_norm) if isinstance(max_norm, Mapping) else max_norm
        self.rate_factors = dict(rate_factors or {})
        if isinstance(self.max_norm, dict):
            norms = self.max_norm
        else:
            norms = {name: self.max_norm for name, p in named.items() if self.max_norm is not None and p.ndim > 1}
        _check_names("max_norm", norms, [name for name, p in named.items() if p.ndim > 1])
        _check_names("rate_factors", self.rate_factors, named)
        if not all(norm > 0 for norm in ([max_norm] if isinstance(max_norm, int | float) else norms.values())):
            raise ValueError(f"max_norm is positive, or None for no constraint; got {max_norm}")
        if not all(0 <= factor < inf for factor in self.rate_factors.values()):
            raise ValueError(f"rate_factors are finite numbers, at least 0; got {self.rate_factors}")
        if isinstance(owner, list | tuple) and (unknown := [n for n in norms if named[n].ndim > 3 and n not in axes]):
            raise ValueError(
                f"max_norm of parameter {unknown[0]}, of shape {named[unknown[0]].shape}: a bare list does not say "
                "along which axes a unit's weights lie; give SGD the network"
            )
        frozen = [name for name, factor in self.rate_factors.items() if factor == 0]  # max-norm would move them
        norms = {name: norm for name, norm in norms.items() if name not in frozen}
        self._each = [(self.rate_factors.get(name, 1.0), norms.get(name), axes.get(name)) for name in named]
        self.velocities: list[Array] = [full_like(p.data, 0.0) for p in self.parameters]
        self.updates = 0

    def step(self, gradients: Sequence[Array], epoch: int = 1) -> None:
        """One update with dJ/dtheta, one array for each parameter, of its shape.

        Momentum and `LinearSchedule` go by the `epoch`, counted from 1: a loop of one's own has to pass it. ValueError
        for gradients of other shapes.
        """
        gradients = [raw(g) for g in gradients]  # of a second-order objective they are Tensors
        wanted, given = [p.shape for p in self.parameters], [g.shape for g in gradients]
        if wanted != given:
            raise ValueError(f"one gradient of its shape for each parameter: wanted {wanted}, got {given}")
        rate, momentum = self.schedule.at(self.updates, epoch)
        for p, v, g, (factor, max_norm, axes) in zip(
            self.parameters, self.velocities, gradients, self._each, strict=True
        ):
            W = p.data
            for block, velocity, gradient in in_blocks(W, v, g):
                velocity *= momentum
                velocity -= factor * rate * gradient
                block += velocity
                if max_norm is not None and axes is None:  # rows are whole in every block
                    project_rows(block, max_norm)
            if max_norm is not None and axes is not None:
                project_rows(W, max_norm, axes)
            p.data = W  # as changed: `grad` of what was computed before raises
        self.updates += 1


def _check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{what} can be set for {', '.join(known)}; got {', '.join(map(str, unknown))}")


def project_rows(W: Array, max_norm: float, axes: tuple[int, ...] | None = None) -> None:
    """Scale each unit's incoming weights with an L2 norm above `max_norm` back to it, in place.

    They are the rows of W `(..., inputs)`; or, if `axes` are given, what lies along these.
    """
    xp, norms = array_module(W), unit_norms(W, axes)
    if on_gpu(W):  # a unit that is short enough is multiplied by 1
        W *= max_norm / xp.maximum(norms, max_norm)
        return
    if norms.size and norms.max() == inf:  # squares overflowed: bring these units to where they can be squared
        largest = abs(W).max(axis=-1 if axes is None else axes, keepdims=True)
        W *= xp.where(norms == inf, max_norm / largest, xp.ones_like(norms))
        norms = unit_norms(W, axes)
    if norms.size and norms.max() > max_norm:
        W *= max_norm / xp.maximum(norms, max_norm)
