"""Attacks: inputs changed a little so that a network errs. Each is a few lines around one input gradient.

An attack changes nothing but the copy of x that it gives back: gradients are returned by `grad`, not stored, so no
parameter and no parameter's gradient is ever touched. Which label to move away from is always an explicit argument:
the true one (as in the paper), or the network's own prediction (`metrics.predict`), which cannot leak the label.
"""

from __future__ import annotations

import math
from typing import Any

from . import ops
from .backend import Array, Generator, array_module, noise
from .tensor import Tensor, grad


def input_gradient(model: Any, x: Array, y: Array) -> Array:
    """grad_x J(theta, x, y) of each example by itself, `(N, D)`: row n does not depend on the other rows.

    J is a mean over the batch; the seed N takes its factor 1 / N out again.
    """
    X = Tensor(x)
    J = model.loss(model(X), y)
    (g,) = grad(J, [X], seed=float(len(x)))
    return g


def fgsm(model: Any, x: Array, y: Array, eps: float, clip: tuple[float, float] | None = None) -> Array:
    """The fast gradient sign method, section 4: x + eps sign(grad_x J(theta, x, y)).

    Parameters
    ----------
    model : callable with a `loss`
        `model(x)` gives outputs, `model.loss(outputs, y)` the cost J to climb. Dropout is off.
    x : array `(N, D)`
        Clean inputs.
    y : integers `(N,)`, or targets `(N, K)`, or -1 and 1 `(N,)` for two classes
        The labels to move away from: true ones, or predicted ones.
    eps : float >= 0
        How far each entry moves, in units of x.
    clip : (low, high), optional
        Keep the result within these bounds. By default it is not clipped, as in the paper.

    Returns
    -------
    array `(N, D)` of the dtype of x; where the gradient is exactly 0, x has not moved

    Raises
    ------
    ValueError
        If eps is negative or not finite, x is empty or holds a NaN or an infinity, or the bounds are out of order.
    """
    eps, bounds = check_eps(eps), _check_clip(clip)
    _check_inputs(x)
    x_adv = x + eps * ops.sign(input_gradient(model, x, y))
    return x_adv.clip(*bounds) if bounds else x_adv


def pgd(
    model: Any,
    x: Array,
    y: Array,
    eps: float,
    steps: int = 20,
    rng: Generator | None = None,
    clip: tuple[float, float] | None = None,
) -> Array:
    """Projected gradient descent (Madry et al. 2018): FGSM in small steps, each projected back into the box.

    Not in the paper, but what its numbers are held against since: an attack that follows the gradient more than once.
    Each of the `steps` moves every entry by 2.5 eps / steps; with `rng` it starts anywhere in the box. The other
    arguments, the result `(N, D)` and the errors are those of `fgsm`.
    """
    eps, bounds = check_eps(eps), _check_clip(clip)
    _check_inputs(x)
    if steps < 1:
        raise ValueError(f"pgd takes at least 1 step, got {steps}")
    low, high = (x - eps, x + eps) if bounds is None else ((x - eps).clip(*bounds), (x + eps).clip(*bounds))
    x_adv = x if rng is None else (x + noise(rng, x, eps)).clip(low, high)
    for _ in range(steps):
        x_adv = (x_adv + 2.5 * eps / steps * ops.sign(input_gradient(model, x_adv, y))).clip(low, high)
    return x_adv


def check_eps(eps: float) -> float:
    """eps as a Python float, which leaves float32 as it is; ValueError unless it is finite and at least 0."""
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps is how far each entry may move: a finite number >= 0, got {eps}")
    return float(eps)


def _check_clip(clip: tuple[float, float] | None) -> tuple[float, float] | None:
    if clip is not None and not (len(clip) == 2 and clip[0] <= clip[1]):
        raise ValueError(f"clip is (low, high) with low <= high, got {clip}")
    return clip and (float(clip[0]), float(clip[1]))


def _check_inputs(x: Array) -> None:
    if not hasattr(x, "dtype") or isinstance(x, Tensor):
        raise TypeError(f"an attack starts from an array, got {type(x).__name__}")
    if not len(x) or not array_module(x).isfinite(x).all():
        raise ValueError("an attack starts from finite inputs, at least one; x is empty, or holds a NaN or an infinity")
