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
from .tensor import Tensor, Value, grad, raw


def input_gradient(model: Any, x: Array, y: Array) -> Array:
    """grad_x J(theta, x, y) of each example by itself, `(N, D)`: row n does not depend on the other rows.

    J is a mean over the batch; the cotangent N takes its factor 1 / N out again.
    """
    X = Tensor(x)
    J = model.loss(model(X), y)
    (g,) = grad(J, [X], cotangent=float(len(x)))
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
    if not (hasattr(steps, "__index__") and steps >= 1):
        raise ValueError(f"pgd takes a whole number of steps, at least 1; got {steps!r}")
    low, high = (x - eps, x + eps) if bounds is None else ((x - eps).clip(*bounds), (x + eps).clip(*bounds))
    x_adv = x if rng is None else (x + noise(rng, x, eps)).clip(low, high)
    for _ in range(steps):
        x_adv = (x_adv + 2.5 * eps / steps * ops.sign(input_gradient(model, x_adv, y))).clip(low, high)
    return x_adv


def rotate(model: Any, x: Array, y: Array, angle: float) -> Array:
    """The rotation attack, section 4: x turned by `angle` towards grad_x J(theta, x, y), in the plane of the two.

    It keeps ||x||_2 of every example, where FGSM keeps a bound on the max norm. The other arguments and the result
    `(N, D)` are those of `fgsm`; how it turns, and when it does not, is said in `rotated`.

    Parameters
    ----------
    angle : float from 0 to pi
        In radians.

    Raises
    ------
    ValueError
        If the angle is not within 0 to pi, x is empty or holds a NaN or an infinity.
    """
    _check_inputs(x)
    return rotated(x, input_gradient(model, x, y), angle)


def rotated(x: Value, g: Value, angle: float) -> Value:
    """Each row of x turned by `angle` in the plane of x and g, towards g: cos(t) x + sin(t) ||x||_2 u.

    u is the unit vector along the part of g that is orthogonal to x; the length of g does not matter. Written in
    operations, so that it can be differentiated with respect to x and g, twice too: for training through the attack.

    Parameters
    ----------
    x, g : arrays or Tensors `(..., D)` of one shape
        Points, inputs or hidden activations, and where to turn them.
    angle : float from 0 to pi
        In radians.

    Returns
    -------
    like x; a row of x or of g that is 0, or a g parallel to x up to rounding, has no such plane: x stays
    """
    if not 0 <= angle <= math.pi:
        raise ValueError(f"an angle is in radians, from 0 to pi; got {angle}")
    limits = array_module(raw(x)).finfo(x.dtype)
    x_hat, length, has_x = unit(x, float(limits.tiny))
    g_hat, _, has_g = unit(g, float(limits.tiny))
    u, _, has_plane = unit(_orthogonal(g_hat, x_hat), 16 * float(limits.eps))
    u, _, _ = unit(_orthogonal(u, x_hat))  # once more: what rounding left of x in a short u, would turn by less
    turned = math.cos(angle) * x + math.sin(angle) * length * u
    return ops.where(has_x & has_g & has_plane, turned, x)


def unit(v: Value, least: float = 0.0) -> tuple[Value, Value, Array]:
    """v / ||v||_2 and ||v||_2 of each row, and whether its largest entry exceeds `least`; of other rows 0 and 1.

    ||v||_2 is computed as s ||v / s||_2, which nothing overflows or underflows. It is the same whatever the number s,
    so that s, the largest entry, may be a constant to the derivatives.
    """
    xp = array_module(raw(v))
    largest = abs(raw(v)).max(axis=-1, keepdims=True)
    is_long = largest > least
    s = xp.where(is_long, largest, xp.ones_like(largest))
    v = ops.where(is_long, v / s, 0.0)
    norm = ops.sqrt(ops.where(is_long, (v * v).sum(axis=-1, keepdims=True), 1.0))
    return v / norm, s * norm, is_long


def _orthogonal(v: Value, x_hat: Value) -> Value:
    """The part of each row of v that is orthogonal to the unit vector x_hat."""
    return v - (v * x_hat).sum(axis=-1, keepdims=True) * x_hat


def check_eps(eps: float) -> float:
    """eps as a Python float, which leaves float32 as it is; ValueError unless it is finite and at least 0."""
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps is how far each entry may move: a finite number >= 0, got {eps}")
    return float(eps)


def _check_clip(clip: tuple[float, float] | None) -> tuple[float, float] | None:
    if clip is None:
        return None
    try:
        low, high = map(float, clip)
    except (TypeError, ValueError):  # not two of them, or not numbers
        low, high = math.nan, math.nan
    if not low <= high:
        raise ValueError(f"clip is (low, high) with low <= high, got {clip!r}")
    return low, high


def _check_inputs(x: Array) -> None:
    if not hasattr(x, "dtype") or isinstance(x, Tensor):
        raise TypeError(f"an attack starts from an array, got {type(x).__name__}")
    if not len(x) or not array_module(x).isfinite(x).all():
        raise ValueError("an attack starts from finite inputs, at least one; x is empty, or holds a NaN or an infinity")
