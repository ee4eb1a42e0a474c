"""gradcheck: are the gradients right? The engine's derivatives of a function against finite differences.

The one idea: a gradient predicts how <g, f(x)> changes as x moves along v, and a difference quotient measures it;
g and v are random, since all ones miss many errors. The second order is the same check once more, of the function
(x, g) -> grad(f(x), x, cotangent=g). A reader may skip `_extrapolate` and `_hint`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import TypeAlias

from .backend import Array, Generator, as_array, check_generator, full_like, generator
from .tensor import Alike, Tensor, Value, grad, raw

Outputs: TypeAlias = Callable[..., list[Tensor]]  # Tensors in, several Tensors out


class GradientError(AssertionError):
    """A gradient of the engine differs from what finite differences measure."""


class KinkError(ValueError):
    """Finite differences give no verdict: f has a kink, a tie or a jump at x or within a step of it."""


def gradcheck(
    f: Callable[..., Alike],
    *xs: Value,
    order: int = 2,
    rng: Generator | None = None,
    rtol: float = 1e-8,
    step: float = 1e-3,
) -> None:
    """Check the derivatives of `f` at `xs`, up to those of `order`, against finite differences; silence is success.

    For a random cotangent g and, one argument after another, a random direction v (normally distributed entries),

        <g, f(x + h v) - f(x - h v)> / 2h    is compared with    <grad(f(x), [x], cotangent=g), v>,

    the quotient extrapolated from h = step, step/2 and step/4, which leaves an error of about 1e-11. The second order
    does the same with f replaced by its gradients, as functions of the xs and of g.

    Kinks and ties: at x = 0, relu has no derivative that could be measured, only a convention. Where the slopes ahead
    of x and behind it differ, or the quotients do not settle because a kink or a jump lies within a step of x, that is
    a `KinkError` and no verdict on the gradient: move x away from it, or take a smaller `step`.

    Parameters
    ----------
    f : function of as many arguments as there are xs
        Built from operations of tinyadv and deterministic; its result may have any shape.
    *xs : arrays or Tensors of float64, any shapes
        Where to check. What shall not be differentiated belongs into `f`: `lambda x: clip(x, 0, 1)`.
    order : int
        1 for the gradient alone, 2 for the second derivatives too.
    rng : Generator, optional
        Where cotangents and directions come from; by default the same ones every time.
    rtol : float
        How far the two may differ, relative to the larger, beyond the quotients' rounding error.
    step : float
        The largest h where the entries of x are at most 1 in size; in proportion where they are larger.

    Raises
    ------
    GradientError
        If a gradient is wrong: names f, the argument, the order and both numbers, and hints at what their ratio tells.
    KinkError
        If f has a kink, a tie or a jump there, or is not finite.
    TypeError
        If an x is not float64 (differences of float32 keep three digits), or f gives no Tensor of float64.
    ValueError
        If f changes an x, or gives two results for the same xs, or there would be nothing to check.
    """
    name = getattr(f, "__name__", repr(f))
    if not xs or order < 1 or not step > 0:
        raise ValueError(f"gradcheck wants an x, order >= 1 and step > 0; got {len(xs)}, {order} and {step}")
    rng = generator(0, "gradcheck") if rng is None else check_generator(rng)
    arrays = [as_array(raw(x)) for x in xs]
    for i, x in enumerate(arrays):
        if x.dtype != "float64":
            raise TypeError(f"gradcheck wants float64, got {x.dtype} as argument {i} of {name}: use .astype('float64')")

    def outputs(*tensors: Tensor) -> list[Tensor]:
        y = f(*tensors)
        if not isinstance(y, Tensor) or y.dtype != "float64":
            got = y.dtype if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(f"gradcheck wants {name} to give a Tensor of float64, got {got}")
        return [y]

    before = [a.copy() for a in arrays]
    once, again = outputs(*map(Tensor, arrays))[0].data, outputs(*map(Tensor, arrays))[0].data
    for i, (a, b) in enumerate(zip(arrays, before, strict=True)):
        if ((a != b) & (b == b)).any():
            raise ValueError(f"{name} changes its argument {i}: an operation makes a new array")
    if ((once != again) & (once == once)).any():  # NaN differs from itself, and is found below
        raise ValueError(f"gradcheck wants a deterministic function, {name} gave two results for the same arguments")
    results, inputs = [""], [f"argument {i}" for i in range(len(arrays))]
    for n in range(1, order + 1):
        gs = [_normal_like(y.data, rng) for y in outputs(*map(Tensor, arrays))]
        for i, x in enumerate(arrays):
            v = _normal_like(x, rng)
            h = step * max(1.0, float(abs(x).max()) if x.size else 0.0)
            for result, slopes in zip(results, _compare(outputs, arrays, gs, i, v, h), strict=True):
                _judge(f"{name}, order {n}, {result}{inputs[i]}", *slopes, h, rtol)
        results = [f"{r}gradient for {i}, differentiated by " for r in results for i in inputs]
        inputs += [f"cotangent {k}" for k in range(len(gs))]
        outputs, arrays = _gradients(outputs, len(arrays)), [*arrays, *gs]


def _gradients(outputs: Outputs, n: int) -> Outputs:
    """The function (xs, gs) -> the gradients for the `n` xs of every output, with its g as cotangent."""

    def gradients(*tensors: Tensor) -> list[Tensor]:
        xs, gs = tensors[:n], tensors[n:]
        ys = zip(outputs(*xs), gs, strict=True)
        return [d for y, g in ys for d in grad(y, xs, g, create_graph=True, allow_unused=True)]

    return gradients


def _compare(
    outputs: Outputs, arrays: Sequence[Array], gs: Sequence[Array], i: int, v: Array, h: float
) -> list[tuple[float, float, float, float]]:
    """For every output, as argument `i` moves along `v`: the engine's slope, and what `_extrapolate` measures."""

    def ys(t: float) -> tuple[Tensor, list[Tensor]]:
        xs = [Tensor(a + t * h * v if j == i else a) for j, a in enumerate(arrays)]
        return xs[i], outputs(*xs)

    x, at_x = ys(0.0)
    path = {0.0: at_x, **{t: ys(t)[1] for t in (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0)}}
    slopes = []
    for k, g in enumerate(gs):
        given = float((grad(at_x[k], [x], g, allow_unused=True)[0] * v).sum())
        measured = _extrapolate({t: float((g * y[k].data).sum()) for t, y in path.items()}, h)
        rounding = 64 * 2.0**-52 / h * float(abs(g * at_x[k].data).sum())
        slopes.append((given, *measured, rounding))
    return slopes


def _normal_like(x: Array, rng: Generator) -> Array:
    return full_like(x, rng.standard_normal(x.shape))


def _extrapolate(phi: dict[float, float], h: float) -> tuple[float, float]:
    """The slope at 0 of a function known at multiples of `h`, and how far a kink there or nearby puts it in doubt.

    A central quotient has the error a h^2 + b h^4 + ...: two steps of Richardson's extrapolation remove both terms;
    that they settle shows that no kink is near. The slope ahead less the slope behind, kink + a h + b h^3 + ...,
    extrapolated likewise, leaves the kink at x itself.
    """
    central = [(phi[t] - phi[-t]) / (2 * t * h) for t in (1.0, 0.5, 0.25)]
    coarse, fine = (4 * central[1] - central[0]) / 3, (4 * central[2] - central[1]) / 3
    bend = [(phi[t] - 2 * phi[0.0] + phi[-t]) / (t * h) for t in (1.0, 0.5, 0.25)]
    kink = (8 * (2 * bend[2] - bend[1]) - (2 * bend[1] - bend[0])) / 7
    return (16 * fine - coarse) / 15, max(abs(fine - coarse), abs(kink))


def _judge(place: str, given: float, measured: float, kink: float, noise: float, h: float, rtol: float) -> None:
    """Raise unless the engine's slope `given` is the `measured` one, or cannot be judged."""
    if not isfinite(measured):
        raise KinkError(f"{place}: not finite within {h:.1g} of x: move x away, or take a smaller step")
    allowed, difference = rtol * max(abs(given), abs(measured)) + noise, abs(given - measured)
    if kink > 1000 * allowed or allowed < difference <= allowed + kink:
        raise KinkError(
            f"{place}: a kink, a tie or a jump at x or within {h:.1g} of it, where slopes differ by {kink:.2g}: "
            "no verdict on the gradient; move x away from it, or take a smaller step"
        )
    if not difference <= allowed:
        hint = _hint(given, measured, second="differentiated" in place)
        raise GradientError(f"{place}: the engine gives {given:.10g}, finite differences give {measured:.10g}{hint}")


def _hint(given: float, measured: float, second: bool) -> str:
    """What the ratio of a wrong slope to the right one tells about the formula."""
    if not isfinite(given):
        return ": the formula divides by zero or overflows"
    if abs(given) < 1e-9 * abs(measured):
        return ": the formula gives zero"
    if abs(measured) < 1e-9 * abs(given):
        return ": it should be zero"
    ratio = given / measured
    text = f", ratio {ratio:.6g}"
    N = round(max(abs(ratio), 1 / abs(ratio)))
    if abs(ratio + 1) < 1e-6:
        return f"{text}: the sign is wrong"
    if N > 1 and abs(ratio / N - 1) < 1e-6:
        return f"{text}: {N} times too large, is a 1/{N} missing?"
    if N > 1 and abs(ratio * N - 1) < 1e-6:
        return f"{text}: {N} times too small, is something divided by {N} that should not be, or a sum missing?"
    if abs(ratio - 1) < 1e-6:
        return f"{text}: nearly right, is something computed in float32?"
    return f"{text}: is a value kept from the forward, and so a constant to this derivative?" if second else text
