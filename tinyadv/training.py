"""One plain training loop: batches, an objective's gradients, an update; early stopping, checkpoints, resuming.

The one idea: everything random in an epoch comes from generators named by the seed and the epoch's number, so a
training that was interrupted continues from its last checkpoint to exactly the network it would have become.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .backend import Array, Generator, generator, to_device
from .layers import named_parameters
from .models import Network, load_parameters
from .optim import SGD
from .progress import Progress, Silent
from .storage import load_arrays, save_arrays

Objective = Callable[[Network, Array, Array, Generator], tuple[float, list[Array]]]
Validation = Callable[[Network], dict[str, float]]

CHECKPOINT_SECONDS = 5.0  # how much work an interruption may cost, to the nearest epoch


class DivergedError(RuntimeError):
    """J became NaN or infinite."""


@dataclass
class Stopping:
    """Stop when `quantity`, one of what validation gives, has not fallen for `patience` epochs; keep the best."""

    quantity: str
    patience: int = 100


@dataclass
class Training:
    """What a training did: an entry for each epoch, and which epoch's parameters the network has now."""

    log: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0


def train(
    model: Network,
    objective: Objective,
    x: Array,
    y: Array,
    *,
    epochs: int,
    seed: int,
    optimiser: SGD,
    batch: int = 100,
    validate: Validation | None = None,
    stopping: Stopping | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    title: str = "training",
) -> Training:
    """Train `model` in place.

    Parameters
    ----------
    objective : callable
        `objective(model, x, y, rng)` gives J and its gradients for `parameters(model)`: see `losses`.
    x, y : arrays `(N, D)`, `(N,)`
        Training inputs and labels (or targets, `(N, K)`), where the model is. Shuffled anew in every epoch.
    epochs : int
        At most so many passes over the data.
    validate : callable, optional
        `validate(model)` after every epoch gives named figures for the log.
    stopping : Stopping, optional
        Stop early, and give the network the parameters of its best epoch. Without it, the last epoch's.
    checkpoint : path, optional
        Where to keep the state; a training that finds its own there continues from it.

    Raises
    ------
    ValueError
        If the data are empty, x and y differ in length, or epochs or batch is not positive.
    DivergedError
        If J is no longer finite; the last checkpoint stays.
    """
    if len(x) != len(y) or not len(x) or epochs < 1 or batch < 1:
        raise ValueError(
            f"training wants as many inputs as labels, at least one, and epochs and batch of at least 1; "
            f"got {len(x)} inputs, {len(y)} labels, {epochs} epochs, batch {batch}"
        )
    progress = progress or Silent()
    state, best = Training(), _parameters(model)
    if checkpoint and Path(checkpoint).exists():
        state, best = _resume(checkpoint, model, optimiser)
    progress.begin(title, epochs, len(state.log))
    saved = time.monotonic()
    for epoch in range(len(state.log) + 1, epochs + 1):
        if _exhausted(state, stopping):
            break
        loss = _epoch(model, objective, x, y, epoch, seed, optimiser, batch, progress)
        state.log.append({"epoch": epoch, "loss": loss, **(validate(model) if validate else {})})
        if stopping is None or _is_best(state.log, stopping.quantity):
            state.best_epoch, best = epoch, _parameters(model)
        last = epoch == epochs or _exhausted(state, stopping)
        if checkpoint and (last or time.monotonic() - saved > CHECKPOINT_SECONDS):
            _save(checkpoint, model, optimiser, state, best)
            saved = time.monotonic()
        progress.end(state.log[-1], last)
    for name, p in named_parameters(model).items():
        p.data = best[name]
    return state


def _epoch(
    model: Network, objective: Objective, x: Array, y: Array, epoch: int, seed: int,
    optimiser: SGD, batch: int, progress: Progress,
) -> float:  # fmt: skip
    """One pass over the data in a new order; the mean of J over its batches."""
    order = generator(seed, f"order of epoch {epoch}").permutation(len(x))
    rng = generator(seed, f"masks of epoch {epoch}")
    total, starts = 0.0, range(0, len(x), batch)
    for step, start in enumerate(starts):
        rows = order[start : start + batch]
        J, gradients = objective(model, x[rows], y[rows], rng)
        if not math.isfinite(J):
            raise DivergedError(f"J became {J} in epoch {epoch}, step {step + 1} of {len(starts)}, seed {seed}")
        optimiser.step(gradients, epoch)
        total += J
        if step % 20 == 0:
            progress.advance(epoch - 1 + step / len(starts), J)
    return total / len(starts)


def _is_best(log: list[dict[str, Any]], quantity: str) -> bool:
    if quantity not in log[-1]:
        raise ValueError(f"stopping watches {quantity!r}, but validation gives {', '.join(log[-1])}")
    return all(log[-1][quantity] < entry[quantity] for entry in log[:-1])


def _exhausted(state: Training, stopping: Stopping | None) -> bool:
    return stopping is not None and len(state.log) - state.best_epoch >= stopping.patience


def _parameters(model: Network) -> dict[str, Array]:
    return {name: p.data.copy() for name, p in named_parameters(model).items()}


def _save(
    path: str | os.PathLike[str], model: Network, optimiser: SGD, state: Training, best: dict[str, Array]
) -> None:
    arrays: dict[str, Array] = {}
    for (name, p), v in zip(named_parameters(model).items(), optimiser.velocities, strict=True):
        arrays |= {f"now/{name}": p.data, f"velocity/{name}": v, f"best/{name}": best[name]}
    arrays = {name: to_device(a, "cpu") for name, a in arrays.items()}
    about = {"log": state.log, "best_epoch": state.best_epoch, "updates": optimiser.updates}
    save_arrays(path, arrays, about)


def _resume(path: str | os.PathLike[str], model: Network, optimiser: SGD) -> tuple[Training, dict[str, Array]]:
    arrays, about = load_arrays(path)
    device = "cpu" if isinstance(next(iter(arrays.values())), type(optimiser.velocities[0])) else "cuda"
    parts: dict[str, dict[str, Array]] = {"now": {}, "velocity": {}, "best": {}}
    for name, a in arrays.items():
        part, _, parameter = name.partition("/")
        parts[part][parameter] = to_device(a, device)
    load_parameters(model, parts["now"], path)
    optimiser.velocities = [parts["velocity"][name] for name in named_parameters(model)]
    optimiser.updates = about["updates"]
    return Training(about["log"], about["best_epoch"]), parts["best"]
