"""One plain training loop: batches, an objective's gradients, an update; early stopping, checkpoints, resuming.

The one idea: everything random in an epoch comes from generators named by the seed and the epoch's number, so a
training that was interrupted continues from its last checkpoint to exactly the network it would have become.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .backend import Array, Generator, array_module, as_array, full_like, generator, to_device
from .layers import Dropout, takes_rng
from .losses import check_targets, targets
from .metrics import checked_outputs
from .ops import broadcast_to
from .optim import SGD
from .owned import (
    constants,
    depends_on,
    describe,
    differences,
    digest,
    empty_places,
    held_results,
    moving_numbers,
    named_parameters,
    named_state,
    parameters,
    set_state,
    walk,
)  # fmt: skip
from .progress import Progress, Silent
from .storage import StorageError, load_arrays, save_arrays
from .tensor import Tensor, raw

Objective = Callable[[Any, Array, Array, Generator], tuple[float, list[Array]]]
Validation = Callable[[Any], dict[str, float]]

CHECKPOINT_SECONDS = 5.0  # how much work an interruption may cost, to the nearest epoch


class DivergedError(RuntimeError):
    """J became NaN or infinite."""


@dataclass
class Stopping:
    """Stop when `quantity` has not fallen for `patience` epochs, and keep the epoch where it was smallest.

    It is "loss", or one of what validation gives: an error or a cost, never an accuracy. NaN is worse than any number.
    ValueError for a name such as "accuracy", and for a patience below 1.
    """

    quantity: str
    patience: int = 100

    def __post_init__(self) -> None:
        _check_falls(self.quantity)
        if self.patience < 1:
            raise ValueError(f"patience is a number of epochs, at least 1; got {self.patience}")


@dataclass
class Target:
    """Stop after the first epoch in which `quantity` is at most `value`; the last epoch's parameters count.

    ValueError for a name such as "accuracy", and for a value that is not finite.
    """

    quantity: str
    value: float

    def __post_init__(self) -> None:
        _check_falls(self.quantity)
        if not math.isfinite(self.value):
            raise ValueError(f"a target is a finite number, got {self.value}")


def _check_falls(quantity: str) -> None:
    """ValueError for what rises as a network improves: the epoch that was kept would be its worst."""
    words = re.split(r"[\W_\d]+", str(quantity).lower())
    if any(word in ("accuracy", "acc", "auc", "score", "correct") for word in words):
        raise ValueError(f"stopping watches what falls as the network improves, got {quantity!r}: validate an error")


@dataclass
class Training:
    """What a training did: an entry for each epoch, and which epoch's parameters the network has now."""

    log: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0


def train(
    model: Any,
    objective: Objective,
    x: Array,
    y: Array,
    *,
    epochs: int,
    seed: int,
    optimiser: SGD,
    batch: int = 100,
    validate: Validation | None = None,
    stopping: Stopping | Target | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    title: str = "training",
) -> Training:
    """Train `model` in place.

    Every call is a training of its own, from epoch 1, with the order and the masks of `seed`. To train on, ask for more
    `epochs` of the same training with a `checkpoint`. A second stage has an optimiser of its own, with
    `schedule.continued(...)`; on the same images, another seed too.

    Parameters
    ----------
    model : Network, or a model of one's own
        Called as `model(x)` or `model(x, rng=rng)` it gives outputs; `model.loss(outputs, y)` is J.
    objective : callable
        `objective(model, x, y, rng)` gives J and its gradients for `parameters(model)`: see `losses`.
    x, y : arrays `(N, D)`, `(N,)`
        Training inputs, of the model's dtype, and labels (or targets, `(N, K)`), where the model is; columns and
        tables of pandas too, by position. Shuffled anew in every epoch. The objective is given targets, into which
        labels of several classes are turned once.
    epochs : int
        At most so many passes over the data.
    seed : int
        Of the order of the examples and of dropout. For the same digits on every run, train inside of
        `machine.blas_threads(1)`: with more threads a product of matrices is summed in another order.
    optimiser : SGD
        `SGD(model, ...)`, made after the model was moved to where it is.
    batch : int
        Examples a step.
    validate : callable, optional
        `validate(model)` after every epoch gives named figures for the log, under names other than "epoch" and "loss".
        With `stopping` it is asked once before the first epoch too, and with a checkpoint once before going on, only to
        see which names it gives.
    stopping : Stopping or Target, optional
        Stop early, and give the network the parameters of its best epoch; or stop once a target is reached. Without a
        `Stopping` the network has the last epoch's.
    checkpoint : path, optional
        Where to keep the state; a training that finds its own there continues from it. Its own is one of the same
        model, initial parameters, data, seed, batch size, optimiser and objective, which is told from others by its
        name and by the values that it uses: options, variables around it, constants of its module (see
        `owned.describe` and `owned.constants`). So the model has to be made anew before a training is continued.
        Kept are the model's arrays and SGD's velocities, and nothing that an objective or a schedule counts.
    progress : Progress, optional
        Is told how far the training is; by default nobody is.
    title : str
        What progress and errors call the training.

    Returns
    -------
    Training, with the log: for each epoch its number, the mean of J as "loss", and what validation gave

    Raises
    ------
    TypeError
        If x is not of the model's dtype; if the model has dropout and does not take `rng`; if the model, the objective
        or validation gives something else than is wanted. With a checkpoint, if the objective uses something that
        cannot be told from others, as an open file; or if training changes numbers or generators that the model, the
        objective, the schedule or an optimiser of one's own keeps. Also if the model keeps a Tensor that is computed
        from its value at the step before.
    ValueError
        If the data are empty, x and y differ in length, epochs or batch is not positive, the optimiser is another
        network's, or has made updates before a checkpoint is begun, inputs are not finite, labels do not fit, or
        stopping watches what validation does not give: all of it before the first update. After the first epoch, if
        validation gives an "epoch" or a "loss"; after any in which the model got other parameters, by another layer,
        say. At a step, if the objective's gradients have other shapes than the parameters.
    StorageError
        If the checkpoint is damaged or another training's, has more epochs than are wanted, its log has other figures
        than validation gives, or it was stopped by another rule than `stopping` and lacks the parameters that this one
        would keep.
    DivergedError
        If J, or a parameter, is no longer finite; the last checkpoint stays, and is named.
    """
    numbers = _not_kept(model, objective, optimiser) if checkpoint else {}
    x = as_array(x)
    y = _checked(model, x, as_array(y), epochs, batch, optimiser)
    progress = progress or Silent()
    settings = _settings(model, objective, x, y, seed, batch, optimiser) if checkpoint else {}
    state, best = Training(), _arrays(model)
    if checkpoint and Path(checkpoint).exists():
        state, best = _resume(checkpoint, model, optimiser, settings, epochs, stopping)
    elif checkpoint and optimiser.updates:
        raise ValueError(
            f"a training with a checkpoint begins with a new optimiser, this one has made {optimiser.updates} updates: "
            "wanted SGD(model, ...)"
        )
    if stopping:
        _check_stopping(stopping, state.log[-1] if state.log else _figures(model, validate))
        if state.log:
            _check_kept(checkpoint, state, stopping)
    if state.log and len(state.log) < epochs and not _exhausted(state, stopping):
        _check_same_figures(checkpoint, state.log[-1], _figures(model, validate))
    progress.begin(title, epochs, len(state.log))
    saved = time.monotonic()
    with closing(progress):  # also when interrupted: a bar left running spoils the terminal
        for epoch in range(len(state.log) + 1, epochs + 1):
            if _exhausted(state, stopping):
                break
            try:
                loss = _epoch(model, objective, x, y, epoch, seed, optimiser, batch, progress)
            except DivergedError as error:
                raise DivergedError(f"{title}: {error}; {_last_good(checkpoint)}") from None
            state.log.append({"epoch": epoch} | _figures(model, validate, loss))
            if not isinstance(stopping, Stopping) or _is_best(state.log, stopping.quantity):
                state.best_epoch, best = epoch, _arrays(model)
            last = epoch == epochs or _exhausted(state, stopping)
            if checkpoint and (last or time.monotonic() - saved > CHECKPOINT_SECONDS):
                _check_numbers(numbers, _not_kept(model, objective, optimiser))
                _save(checkpoint, model, optimiser, state, best, settings)
                saved = time.monotonic()
            progress.end(state.log[-1], last)
    _set_arrays(model, best)
    return state


def mean_objective(
    model: Any, objective: Objective, x: Array, y: Array, *, seed: int, batch: int = 100
) -> float:  # fmt: skip
    """The mean of an objective over x `(N, D)` with dropout on, without any update: what training minimises.

    The masks, and whatever else the objective draws, are those of `seed`, the same at every call; what the model keeps
    besides parameters, as running means, is afterwards what it was. ValueError if x and y differ in length or are
    empty, or `batch` is not at least 1.
    """
    x, y = as_array(x), as_array(y)
    if len(x) != len(y) or not len(x) or batch < 1:
        raise ValueError(
            "wanted as many inputs as labels, at least one, and a batch of at least 1; "
            f"got {len(x)} inputs, {len(y)} labels, batch {batch}"
        )
    x = array_module(x).ascontiguousarray(x)  # masks are drawn in memory order
    rng, total = generator(seed, "masks of the mean objective"), 0.0
    before = {name: a.copy() for name, a in named_state(model).items()}
    for start in range(0, len(x), batch):
        rows = slice(start, start + batch)
        J, _ = objective(model, x[rows], y[rows], rng)
        total += J * len(x[rows])
    set_state(model, before)
    return total / len(x)


def _checked(model: Any, x: Array, y: Array, epochs: int, batch: int, optimiser: SGD) -> Array:
    """The labels, as targets `(N, K)` once for all steps; ValueError if something does not fit."""
    if len(x) != len(y) or not len(x) or epochs < 1 or batch < 1:
        raise ValueError(
            f"training wants as many inputs as labels, at least one, and epochs and batch of at least 1; "
            f"got {len(x)} inputs, {len(y)} labels, {epochs} epochs, batch {batch}"
        )
    if not array_module(x).isfinite(x).all():
        raise ValueError("training wants finite inputs, got a NaN or an infinity among them")
    _check_masks(model)
    outputs = raw(checked_outputs(model(x[:1])))
    outputs = broadcast_to(outputs, (len(x), *outputs.shape[1:]))
    model.loss(outputs, y)  # labels that do not fit raise here
    _check_optimiser(model, optimiser)
    return y if outputs.ndim == 1 else _targets(model, y, outputs).copy()


def _targets(model: Any, y: Array, outputs: Array) -> Array:
    """Labels as targets. Targets that were given are checked if the model has a `top`, which says what they can be."""
    top = getattr(model, "top", None)
    return check_targets(targets(y, outputs), top) if top and y.ndim == 2 else targets(y, outputs)


def _check_masks(model: Any) -> None:
    """TypeError for a model that has dropout and no way to turn it on: it would train as if there were none."""
    if not takes_rng(model) and any(isinstance(value, Dropout) for _, value, _, _ in walk(model, plain=False)):
        name = type(model).__name__
        raise TypeError(
            f"{name} has dropout, but its __call__ takes no rng, without which there are no masks: wanted "
            "__call__(self, x, rng=None), which hands rng on to the layers that take it"
        )


def _check_optimiser(model: Any, optimiser: SGD) -> None:
    """ValueError unless it holds the very parameters of the model, as it does not once a layer was replaced."""
    if list(map(id, optimiser.parameters)) != list(map(id, parameters(model))):
        raise ValueError("the optimiser is not this network's: wanted SGD(model, ...)")
    for p, velocity in zip(optimiser.parameters, optimiser.velocities, strict=True):
        if p.dtype != velocity.dtype or array_module(p.data) is not array_module(velocity):
            raise ValueError("the optimiser was made before the model was moved or turned: make SGD(model, ...) anew")


def _check_stopping(stopping: Stopping | Target, figures: dict[str, float]) -> None:
    names = [name for name in figures if name != "epoch"]
    if stopping.quantity not in names:
        raise ValueError(f"stopping watches {stopping.quantity!r}, but training and validation give {', '.join(names)}")


def _check_same_figures(checkpoint: object, before: dict[str, Any], now: dict[str, float]) -> None:
    """StorageError where training and validation give other figures than the log of the checkpoint has."""
    if before.keys() - {"epoch"} != now.keys():
        has, gives = (", ".join(sorted(names.keys() - {"epoch"})) for names in (before, now))
        raise StorageError(
            f"{checkpoint} has a log of {has}, this training gives {gives}: to go on it has to give the same figures"
        )


def _figures(model: Any, validate: Validation | None, loss: float = math.nan) -> dict[str, float]:
    found = validate(model) if validate else {}
    if not isinstance(found, dict):
        raise TypeError(f'validate(model) gives figures by name, {{"error": 0.1}}; got a {type(found).__name__}')
    if own := sorted(found.keys() & {"epoch", "loss"}):
        raise ValueError(f"validation gives {own[0]!r}, which the log has of training: call it 'validation_{own[0]}'")
    return {"loss": loss} | {name: float(value) for name, value in found.items()}


def _epoch(
    model: Any, objective: Objective, x: Array, y: Array, epoch: int, seed: int,
    optimiser: SGD, batch: int, progress: Progress,
) -> float:  # fmt: skip
    """One pass over the data in a new order; the mean of J over its batches."""
    order = array_module(x).asarray(generator(seed, f"order of epoch {epoch}").permutation(len(x)))
    rng = generator(seed, f"masks of epoch {epoch}")
    total, starts, held = 0.0, range(0, len(x), batch), dict[str, Tensor]()
    for step, start in enumerate(starts):
        rows = order[start : start + batch]
        try:
            J, gradients = _given(objective(model, x[rows], y[rows], rng))
        except FloatingPointError as error:  # an attack on a network that is no number any more
            raise DivergedError(f"{error} in epoch {epoch}, step {step + 1} of {len(starts)}, seed {seed}") from None
        if not math.isfinite(J):
            raise DivergedError(f"J became {J} in epoch {epoch}, step {step + 1} of {len(starts)}, seed {seed}")
        optimiser.step(gradients, epoch)
        total += J * len(rows)
        if step < 2:
            held = _check_held(held, held_results(model))
        if step % 20 == 0:
            progress.advance(epoch - 1 + step / len(starts), J)
    _check_optimiser(model, optimiser)
    if not all(array_module(p.data).isfinite(p.data).all() for p in optimiser.parameters):
        # J was finite before the last update; what came of it would be kept as good
        raise DivergedError(
            f"a parameter became NaN or infinite in epoch {epoch}, step {len(starts)} of {len(starts)}, seed {seed}"
        )
    return total / len(x)


def _given(found: Any) -> tuple[float, list[Array]]:
    """What an objective gave; TypeError unless it is J, a number, and the gradients."""
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(f"an objective gives (J, gradients), got a {type(found).__name__}")
    if isinstance(found[0], Tensor):
        raise TypeError("an objective gives J as a number, got a Tensor: wanted J.item()")
    return found


def _check_held(before: dict[str, Tensor], now: dict[str, Tensor]) -> dict[str, Tensor]:
    """`now`, the results that a model keeps; TypeError where one was computed from that of the step before."""
    for path, result in now.items():
        if path in before and result is not before[path] and depends_on(result, [before[path]]):
            raise TypeError(
                f"{path} is computed from its value at the step before, and so remembers all steps: keep an array, "
                "which raw(...) of tinyadv.tensor gives"
            )
    return now


def _not_kept(model: Any, objective: Objective, optimiser: SGD) -> dict[str, Any]:
    """What a checkpoint does not keep, by path: numbers and generators; of an optimiser of one's own, arrays too."""
    found = moving_numbers(model) | moving_numbers({"objective": objective, "schedule": optimiser.schedule})
    own = {f"optimiser.{name}": value for name, value in _of_ones_own(optimiser).items()}
    arrays = {path: f"SHA-256 {digest(a)}" for path, a in named_state(own).items()}
    return found | moving_numbers(own) | arrays


def _of_ones_own(optimiser: SGD) -> dict[str, Any]:
    """What an optimiser has that SGD has not."""
    of_sgd = vars(SGD([Tensor(optimiser.velocities[0])], optimiser.schedule))
    return {name: value for name, value in vars(optimiser).items() if name not in of_sgd}


def _check_numbers(before: dict[str, Any], now: dict[str, Any]) -> None:
    """TypeError where training changed what a checkpoint does not keep."""
    if changed := [path for path, value in now.items() if before.get(path, value) != value]:
        raise TypeError(
            f"training changes {', '.join(changed)[:200]}, but a checkpoint keeps arrays alone, the model's and "
            "velocities: keep a model's number as an array of one entry, draw random numbers from the rng that a layer "
            "or an objective is given, and train with other things that count without a checkpoint"
        )


def _last_good(checkpoint: str | os.PathLike[str] | None) -> str:
    if not checkpoint or not Path(checkpoint).exists():
        return "there is no checkpoint from before"
    return f"the last good checkpoint is {checkpoint}, of epoch {len(load_arrays(checkpoint)[1]['log'])}"


def _is_best(log: list[dict[str, Any]], quantity: str) -> bool:
    *earlier, now = (math.inf if math.isnan(entry[quantity]) else entry[quantity] for entry in log)
    return all(now < value for value in earlier)


def best_epoch(log: list[dict[str, Any]], quantity: str) -> int:
    """The number of the first epoch in which a quantity was lowest; NaN counts as infinity."""
    return max(n for n in range(1, len(log) + 1) if _is_best(log[:n], quantity))


def _reached(entry: dict[str, Any], target: Target) -> bool:
    return bool(entry[target.quantity] <= target.value)


def _exhausted(state: Training, stopping: Stopping | Target | None) -> bool:
    if isinstance(stopping, Target):
        return bool(state.log) and _reached(state.log[-1], stopping)
    return stopping is not None and len(state.log) - state.best_epoch >= stopping.patience


def _arrays(model: Any) -> dict[str, Array]:
    """Copies of all that training changes: parameters and state, by name."""
    arrays = {name: p.data for name, p in named_parameters(model).items()} | named_state(model)
    return {name: a.copy() for name, a in arrays.items()}


def _set_arrays(model: Any, arrays: dict[str, Array]) -> None:
    for name, p in named_parameters(model).items():
        p.data = arrays[name]
    set_state(model, arrays)


def _settings(
    model: Any, objective: Objective, x: Array, y: Array, seed: int, batch: int, optimiser: SGD
) -> dict[str, Any]:
    """What makes a training this one and no other: a checkpoint carries it."""
    parts = {
        "model": describe(model),
        "objective": describe(objective, contents=True),
        "constants": constants({"model": model, "objective": objective, "optimiser": optimiser}),
        "schedule": describe(optimiser.schedule, contents=True),
        "optimiser": {} if type(optimiser) is SGD else {"": type(optimiser).__qualname__},
        "max_norm": describe(optimiser.max_norm),
        "rate_factors": describe(optimiser.rate_factors),
    }
    data = {"examples": len(x), "batch": batch, "seed": int(seed), "dtype": str(x.dtype)}
    contents = {"data": f"SHA-256 {digest(x, y)}", "initial parameters": f"SHA-256 {digest(*_arrays(model).values())}"}
    flat = {".".join(filter(None, (part, path))): v for part, values in parts.items() for path, v in values.items()}
    return data | flat | contents


def _save(
    path: str | os.PathLike[str], model: Any, optimiser: SGD, state: Training, best: dict[str, Array],
    settings: dict[str, Any],
) -> None:  # fmt: skip
    parts = {"now": _arrays(model), "velocity": _velocities(model, optimiser), "best": best}
    arrays = {f"{part}/{name}": to_device(a, "cpu") for part, arrays in parts.items() for name, a in arrays.items()}
    about = {"log": state.log, "best_epoch": state.best_epoch, "updates": optimiser.updates, "training": settings}
    save_arrays(path, arrays, about)


def _velocities(model: Any, optimiser: SGD) -> dict[str, Array]:
    return dict(zip(named_parameters(model), optimiser.velocities, strict=True))


def _resume(
    path: str | os.PathLike[str], model: Any, optimiser: SGD, settings: dict[str, Any], epochs: int,
    stopping: Stopping | Target | None,
) -> tuple[Training, dict[str, Array]]:  # fmt: skip
    arrays, about = load_arrays(path)
    state = _checked_state(path, about, settings, epochs, stopping)
    if not isinstance(stopping, Stopping):
        state.best_epoch = len(state.log)
    here = {"now": _arrays(model), "velocity": _velocities(model, optimiser), "best": _arrays(model)}
    for part in ("now", "best"):
        places = (place for place in empty_places(model) if f"{part}/{place}" in arrays)
        here[part] |= {place: arrays[f"{part}/{place}"] for place in places}
    wanted = {f"{part}/{name}": a.shape for part, named in here.items() for name, a in named.items()}
    of_any_shape = {f"{part}/{name}" for part in here for name in named_state(model)} & wanted.keys()
    if {name: wanted[name] if name in of_any_shape else a.shape for name, a in arrays.items()} != wanted:
        raise StorageError(f"{path} is the checkpoint of another training: it has other parameters")
    now, velocities, best = (
        {name: full_like(a, arrays[f"{part}/{name}"]) for name, a in named.items()} for part, named in here.items()
    )
    _set_arrays(model, now)
    optimiser.velocities[:] = velocities.values()
    optimiser.updates = about["updates"]
    return state, best if isinstance(stopping, Stopping) else {name: a.copy() for name, a in now.items()}


def _checked_state(
    path: str | os.PathLike[str], about: dict[str, Any], settings: dict[str, Any], epochs: int,
    stopping: Stopping | Target | None,
) -> Training:  # fmt: skip
    """How far a checkpoint's training was; StorageError where it was another's, or does not say so."""
    found = about.get("training")
    if not isinstance(found, dict):
        raise StorageError(f"{path} is not the checkpoint of a training")
    if others := differences(found, settings):
        raise StorageError(f"{path} is the checkpoint of another training: it has {'; '.join(others)[:2000]}")
    log, best_epoch = check_log(about.get("log"), path), about.get("best_epoch", 0)
    if len(log) > epochs:
        raise StorageError(f"{path} has done {len(log)} epochs already, wanted are {epochs}")
    updates = len(log) * math.ceil(settings["examples"] / settings["batch"])
    if about.get("updates") != updates or best_epoch not in range(1, len(log) + 1):
        raise StorageError(f"{path} does not fit its own log: wanted {updates} updates and a best epoch among its own")
    if stopping and stopping.quantity not in log[0]:
        raise StorageError(f"{path} is the checkpoint of another training: its log has no {stopping.quantity!r}")
    return Training(log, best_epoch)


def _check_kept(path: object, state: Training, stopping: Stopping | Target) -> None:
    """StorageError unless a checkpoint keeps the parameters that a training with this `stopping` would have."""
    if isinstance(stopping, Target):
        if any(_reached(entry, stopping) for entry in state.log[:-1]):
            raise StorageError(f"{path} went on after an epoch whose {stopping.quantity} was at most {stopping.value}")
    elif state.best_epoch != (best := best_epoch(state.log, stopping.quantity)):
        raise StorageError(
            f"{path} was not stopped by {stopping.quantity!r}: it keeps the parameters of epoch {state.best_epoch}, "
            f"those of its best one, {best}, are lost"
        )


def check_log(log: Any, source: object) -> list[dict[str, Any]]:
    """The log of a training as a file has it, an entry of figures for each epoch from 1; StorageError if it is none."""
    if (
        isinstance(log, list)
        and log
        and all(isinstance(entry, dict) and entry.keys() == log[0].keys() for entry in log)
        and [entry.get("epoch") for entry in log] == [*range(1, len(log) + 1)]
        and "loss" in log[0]
        and all(isinstance(value, float) for entry in log for name, value in entry.items() if name != "epoch")
    ):
        return log
    raise StorageError(f"{source} has a log that does not give figures for each epoch of a training")
