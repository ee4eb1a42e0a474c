"""Attacks: inputs changed a little so that a network errs. Each is a few lines around one input gradient.

An attack changes nothing but the copy of x that it gives back: gradients are returned by `grad`, not stored, so no
parameter and no parameter's gradient is ever touched. Which label to move away from is always an explicit argument:
the true one (as in the paper), or the network's own prediction (`metrics.predict`), which cannot leak the label.
"""

from __future__ import annotations

import math
from functools import partial
from operator import index
from typing import Any

from . import ops
from .backend import Array, Generator, array_module, as_array, check_generator, conversion, noise
from .tensor import Alike, Tensor, Value, grad, raw


def input_gradient(model: Any, x: Array, y: Array) -> Array:
    """grad_x J(theta, x, y) of each example by itself, `(N, D)`: row n does not depend on the other rows.

    J is a mean over the batch; the cotangent N takes its factor 1 / N out again. TypeError if J is no Tensor: then the
    model has computed past the engine.
    """
    X = Tensor(x)
    J = model.loss(model(X), y)
    if not isinstance(J, Tensor):
        raise TypeError(
            f"the model's loss gave a {type(J).__name__}, which does not remember x: an attack wants a model that "
            "computes with operations of tinyadv.ops, on Tensors"
        )
    (g,) = grad(J, [X], cotangent=float(len(x)))
    return g


def finite_gradient(model: Any, x: Array, y: Array) -> Array:
    """`input_gradient`; FloatingPointError where it is NaN or infinite."""
    g = input_gradient(model, x, y)
    _check_gradient(g)
    return g


def _check_gradient(g: Array) -> None:
    """FloatingPointError where an entry is not finite: no direction is known in which to attack."""
    if not (finite := array_module(g).isfinite(g)).all():
        n = len(g) - int(finite.all(axis=tuple(range(1, g.ndim))).sum())
        raise FloatingPointError(
            f"the gradient of J is NaN or infinite for {n} of {len(g)} examples: has the network diverged, or does it "
            "overflow at these inputs?"
        )


def fgsm(model: Any, x: Array, y: Array, eps: float, clip: tuple[float, float] | None = None) -> Array:
    """The fast gradient sign method, section 4: x + eps sign(grad_x J(theta, x, y)).

    The gradient is exact to rounding, also where the network is sure. The paper's software lost a part of it there: a
    model with its gradient is `tinyadv.paper.rounding.Rounded(model)`.

    Parameters
    ----------
    model : callable with a `loss`
        `model(x)` gives outputs, `model.loss(outputs, y)` the cost J to climb. Dropout is off.
    x : array `(N, D)`, in the dtype of the model
        Clean inputs. A model of one's own may take examples of any shape, `(N, ...)`, and get them back attacked.
    y : integers `(N,)`, or targets `(N, K)`, or -1 and 1 `(N,)` for two classes
        The labels to move away from: true ones, or predicted ones.
    eps : float >= 0
        How far each entry moves, in units of x.
    clip : (low, high), optional
        Keep the result within these bounds, within which x is. By default it is not clipped, as in the paper.

    Returns
    -------
    array like x; where the gradient is exactly 0, x has not moved

    Raises
    ------
    ValueError
        If eps is negative or not finite, x is empty or holds a NaN or an infinity, y are not its labels, or the bounds
        are out of order, or x is not within them.
    TypeError
        If x is no array of floating point numbers, or of another dtype than the model's; or if the model's loss does
        not remember x (see `input_gradient`).
    FloatingPointError
        If the gradient is not finite: the network has diverged, or overflows.
    """
    eps = check_eps(eps)
    _check_inputs(x)
    bounds = _check_clip(clip, x)
    x_adv = x + eps * ops.sign(finite_gradient(model, x, y))
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
    arguments, the result and the errors are those of `fgsm`; `steps` below 1 are a ValueError too, and an `rng` that is
    no generator a TypeError.
    """
    eps = check_eps(eps)
    _check_inputs(x)
    bounds = _check_clip(clip, x)
    steps = _checked_count("pgd", "steps", steps)
    low, high = _box(x, eps, bounds)
    x_adv = x if rng is None else (x + noise(rng, x, eps)).clip(low, high)
    for _ in range(steps):
        x_adv = (x_adv + 2.5 * eps / steps * ops.sign(finite_gradient(model, x_adv, y))).clip(low, high)
    return x_adv


def pgd_l2(
    model: Any,
    x: Array,
    y: Array,
    radius: float,
    steps: int = 20,
    clip: tuple[float, float] | None = None,
) -> Array:
    """Projected gradient descent in the L2 norm: steps along the gradient, each projected back to `radius` from x.

    Each of the `steps` is 2.5 radius / steps long; an example whose gradient is 0 stays. Where `clip` is given, a
    clipped point may end nearer than `radius`. The other arguments, the result and the errors are those of `fgsm`; an
    x that is not `(N, D)` is a ValueError too, because the length of a perturbation is that of a row; and so are
    `steps` below 1, and a radius that is negative or not finite.
    """
    if not 0 <= radius < math.inf:
        raise ValueError(f"radius is how far an example may move: a finite number >= 0, got {radius}")
    radius = float(radius)
    _check_rows("pgd_l2", x)
    bounds = _check_clip(clip, x)
    steps = _checked_count("pgd_l2", "steps", steps)
    x_adv = x
    for _ in range(steps):
        direction, _, _ = unit(finite_gradient(model, x_adv, y))
        away, length, _ = unit(x_adv + 2.5 * radius / steps * direction - x)
        x_adv = x + away * length.clip(0.0, radius)
        x_adv = x_adv.clip(*bounds) if bounds else x_adv
    return x_adv


def apgd(
    model: Any,
    x: Array,
    y: Array,
    eps: float,
    steps: int = 100,
    rng: Generator | None = None,
    clip: tuple[float, float] | None = None,
) -> Array:
    """Auto-PGD on J (Croce & Hein 2020, algorithm 1): gradient ascent whose step halves when it no longer helps.

    Not in the paper: what plain PGD is held against since, because no step size has to be chosen. Every example has
    its own step, 2 eps at first. At checkpoints, ever closer to each other, it is halved, and the example goes back to
    its best point, if no more than three quarters of the steps since the last one raised J, or if neither the step
    nor the best J has changed. With `rng` it starts anywhere in the box. The other arguments and the errors are those
    of `pgd`; an x that is not `(N, D)` is a ValueError too.

    Returns
    -------
    array `(N, D)` of the dtype of x: the point of highest J that each example has seen
    """
    eps = check_eps(eps)
    _check_rows("apgd", x)
    bounds = _check_clip(clip, x)
    steps = _checked_count("apgd", "steps", steps)
    xp = array_module(x)
    low, high = _box(x, eps, bounds)
    x_now = x.clip(low, high) if rng is None else (x + noise(rng, x, eps)).clip(low, high)
    x_before, x_best = x_now, x_now
    J_best, g = _losses_and_gradient(model, x_now, y)
    J_now, J_at_checkpoint, g_best = J_best, J_best, g
    step = xp.full((len(x), 1), 2.0 * eps, dtype=x.dtype)
    halved, risen = xp.ones(len(x), dtype=bool), xp.zeros(len(x), dtype=int)
    checkpoints, last = _checkpoints(steps), 0
    for k in range(steps):
        # z = P(x_k + step sign(g)),  x_k+1 = P(x_k + a (z - x_k) + (1 - a) (x_k - x_k-1)), with a = 3/4
        z = (x_now + step * ops.sign(g)).clip(low, high)
        a = 0.75 if k else 1.0
        x_next = (x_now + a * (z - x_now) + (1.0 - a) * (x_now - x_before)).clip(low, high)
        x_before, x_now, J_before = x_now, x_next, J_now
        J_now, g = _losses_and_gradient(model, x_now, y)
        risen = risen + (J_now > J_before)
        better = J_now > J_best
        J_best = xp.where(better, J_now, J_best)
        x_best, g_best = (xp.where(better[:, None], new, old) for new, old in ((x_now, x_best), (g, g_best)))
        if k + 1 in checkpoints:
            stalled = ~halved & (J_best == J_at_checkpoint)
            halved = stalled | (risen <= 0.75 * (k + 1 - last))
            step = xp.where(halved[:, None], step / 2.0, step)
            x_now, g = (xp.where(halved[:, None], best, now) for best, now in ((x_best, x_now), (g_best, g)))
            J_now = xp.where(halved, J_best, J_now)
            J_at_checkpoint, risen, last = J_best, 0 * risen, k + 1
    return x_best


def _checkpoints(steps: int) -> set[int]:
    """After how many steps `apgd` looks back: after 22 % of them, then at distances shorter by 3 %, down to 6 %."""
    period, found, at = max(int(0.22 * steps), 1), set[int](), 0
    while at + period <= steps:
        at += period
        found.add(at)
        period = max(period - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return found


def _losses_and_gradient(model: Any, x: Array, y: Array) -> tuple[Array, Array]:
    """J of each example by itself `(N,)`, and its gradient `(N, D)`, from one forward pass."""
    X = Tensor(x)
    outputs, y = model(X), as_array(y)
    (g,) = grad(model.loss(outputs, y), [X], cotangent=float(len(x)))
    _check_gradient(g)
    z = raw(outputs)
    J = [raw(model.loss(z[n : n + 1], y[n : n + 1])).reshape(1) for n in range(len(x))]
    return array_module(x).concatenate(J), g


def square(
    model: Any,
    x: Array,
    y: Array,
    eps: float,
    queries: int = 5000,
    *,
    rng: Generator,
    channels: int = 1,
    clip: tuple[float, float] | None = None,
) -> Array:
    """The square attack in the max norm (Andriushchenko et al. 2020): random search that never asks for a gradient.

    Not in the paper: no gradient that is masked, by rounding or otherwise, can mislead it. It starts from vertical
    stripes of +eps and -eps, and then tries, again and again, to set a random square of the perturbation to one of
    them; it keeps what lowers the margin z_y - max z_k, over the other classes k. The squares shrink on the published
    schedule, from 0.8 of the image's area. Every example gets the stripes; the search for one ends as soon as the
    network misclassifies it.

    Parameters
    ----------
    model, x, y, eps, clip
        As for `fgsm`, the network of several classes, y integers `(N,)`; x are square images `(N, D)`, channel by
        channel.
    queries : int >= 1
        How often the network is asked, the start included.
    rng : Generator
        Of stripes and squares.
    channels : int >= 1
        How many channels an image has.

    Raises
    ------
    ValueError
        As `fgsm`, and if x is not `(N, D)`, D is not `channels` squares, `queries` or `channels` is no whole number of
        at least 1, the network has two classes only, or y are not integers that are classes of it.
    TypeError
        If x is not an array of floating point numbers, or `rng` is no generator.
    FloatingPointError
        If an output is NaN.
    """
    eps = check_eps(eps)
    _check_rows("square", x)
    bounds = _check_clip(clip, x)
    queries = _checked_count("square", "queries", queries)
    channels = _checked_count("square", "channels", channels)
    y, rng = array_module(x).asarray(as_array(y)), check_generator(rng)
    N, side = len(x), math.isqrt(x.shape[1] // channels)
    if channels * side * side != x.shape[1]:
        raise ValueError(f"square takes {channels} channels of square images, got rows of {x.shape[1]} numbers")
    xp = array_module(x)
    low, high = _box(x, eps, bounds)
    to_device = partial(xp.asarray, dtype=x.dtype)  # all random numbers are drawn on the CPU
    stripes = rng.choice([-eps, eps], (N, channels, 1, side)).repeat(side, axis=2)
    best = (x + to_device(stripes.reshape(N, -1))).clip(low, high)
    margins = _margins(model, best, y)
    for query in range(queries - 1):
        left = xp.flatnonzero(margins >= 0.0)
        if not len(left):
            break
        area = 0.8 / 2 ** sum(query * 10000 > start * queries for start in SQUARE_HALVINGS)
        size = max(round(math.sqrt(area) * side), 1)
        corner = xp.asarray(rng.integers(0, side - size + 1, (2, len(left), 1)))
        inside = (corner <= xp.arange(side)) & (xp.arange(side) < corner + size)  # of rows and columns: (2, n, side)
        window = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        value = to_device(rng.choice([-eps, eps], (len(left), channels, 1, 1)))
        now, images = best[left], (len(left), channels, side, side)
        moved = xp.where(window, x[left].reshape(images) + value, now.reshape(images)).reshape(now.shape)
        moved = moved.clip(low[left], high[left])
        new = _margins(model, moved, y[left])
        better = new < margins[left]
        best[left] = xp.where(better[:, None], moved, now)
        margins[left] = xp.where(better, new, margins[left])
    return best


SQUARE_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries: after them squares halve


def _margins(model: Any, x: Array, y: Array) -> Array:
    """z_y - max z_k over the other classes k of each example, `(N,)`: below 0 where the network errs."""
    z = raw(model(x))
    if z.ndim != 2:
        raise ValueError("square takes a network of several classes, got one of two")
    xp, K = array_module(z), z.shape[1]
    if y.shape != (len(z),) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= K:
        got = f"{y.dtype} of shape {y.shape}, from {y.min()} to {y.max()}" if y.size else "none"
        raise ValueError(f"square takes labels of {len(z)} examples, integers from 0 to {K - 1}; got {got}")
    if nans := int(xp.isnan(z).any(axis=1).sum()):
        raise FloatingPointError(f"the network's outputs are NaN for {nans} of {len(z)} examples: has it diverged?")
    true = xp.arange(K) == y[:, None]
    return xp.where(true, z, -math.inf).max(axis=1) - xp.where(true, -math.inf, z).max(axis=1)


def _box(x: Array, eps: float, bounds: tuple[float, float] | None) -> tuple[Array, Array]:
    """The smallest and the largest that each entry may become: eps from x, and within the bounds."""
    return (x - eps, x + eps) if bounds is None else ((x - eps).clip(*bounds), (x + eps).clip(*bounds))


def _checked_count(attack: str, what: str, count: Any) -> int:
    if not (hasattr(count, "__index__") and count >= 1):
        raise ValueError(f"{attack} takes a whole number of {what}, at least 1; got {count!r}")
    return index(count)


def rotate(model: Any, x: Array, y: Array, angle: float) -> Array:
    """The rotation attack, section 4: x turned by `angle` towards grad_x J(theta, x, y), in the plane of the two.

    It keeps ||x||_2 of every example, where FGSM keeps a bound on the max norm. The other arguments and the result are
    those of `fgsm`, x being `(N, D)`; how it turns, and when it does not, is said in `rotated`.

    Parameters
    ----------
    angle : float from 0 to pi
        In radians.

    Raises
    ------
    ValueError
        As `fgsm`, and if the angle is not within 0 to pi, or x is not `(N, D)`.
    TypeError, FloatingPointError
        As `fgsm`.
    """
    _check_rows("rotate", x)
    return rotated(x, finite_gradient(model, x, y), angle)


def rotated(x: Value, g: Value, angle: float) -> Alike:
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

    Raises
    ------
    ValueError
        If the angle is not within 0 to pi.
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


def unit(v: Value, least: float = 0.0) -> tuple[Alike, Alike, Array]:
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


def _orthogonal(v: Value, x_hat: Value) -> Alike:
    """The part of each row of v that is orthogonal to the unit vector x_hat."""
    return v - (v * x_hat).sum(axis=-1, keepdims=True) * x_hat


def check_eps(eps: float) -> float:
    """eps as a Python float, which leaves float32 as it is; ValueError unless it is finite and at least 0."""
    try:
        number = float(eps)
    except (TypeError, ValueError):  # an array of several, a text
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"eps is how far each entry may move: a finite number >= 0, got {eps}")
    return number


def _check_clip(clip: tuple[float, float] | None, x: Array) -> tuple[float, float] | None:
    """The bounds; ValueError unless they are two in order, and x lies within them, to rounding."""
    if clip is None:
        return None
    try:
        low, high = map(float, clip)
    except (TypeError, ValueError):  # not two of them, or not numbers
        low, high = math.nan, math.nan
    if not low <= high:
        raise ValueError(f"clip is (low, high) with low <= high, got {clip!r}")
    beyond = _rounding(low, high)
    if x.min() < low - beyond or x.max() > high + beyond:
        ends = f"{x.min():g} to {x.max():g}"
        raise ValueError(f"clip is {clip!r}, but x runs from {ends}: clipping would move it by more than eps")
    return low, high


def _rounding(low: float, high: float) -> float:
    """How far beyond the bounds an entry may lie that rounding put there."""
    return 5e-7 * max(abs(bound) for bound in (1.0, low, high) if math.isfinite(bound))


def _check_inputs(x: Array) -> None:
    if not hasattr(x, "dtype") or isinstance(x, Tensor):
        raise TypeError(f"an attack starts from an array, got {type(x).__name__}")
    if x.dtype.kind != "f":
        raise TypeError(f"an attack starts from floating point numbers, got {x.dtype}: use x{conversion(x)}")
    if not len(x) or not array_module(x).isfinite(x).all():
        raise ValueError("an attack starts from finite inputs, at least one; x is empty, or holds a NaN or an infinity")


def _check_rows(attack: str, x: Array) -> None:
    """`_check_inputs`, for an attack that looks at an example as one row."""
    _check_inputs(x)
    if x.ndim != 2:
        raise ValueError(
            f"{attack} takes x of shape (N, D), a row for each example; got {x.shape}: "
            "give it x.reshape(len(x), -1), and let the model reshape the rows"
        )
