"""Section 2, what came before: adversarial examples by box-constrained L-BFGS, and what each of them costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from math import nan, sqrt
from time import perf_counter
from typing import Any

from ... import metrics
from ...attacks import fgsm
from ...backend import Array, array_module, generator, to_device
from ...models import Network
from ...tensor import Tensor, grad
from .. import recipes
from ..lab import EPS, Lab, Trained
from ..results import Measurement
from .common import Values, in_float64, measures, pictures

IMAGES = 20  # test images that are attacked, each by itself
START, STEP, TRIES = 0.1, 4.0, 5  # the search for c: where it starts, its factor, how many c are tried
ITERATIONS = 50  # of L-BFGS-B for one c


@dataclass(frozen=True)
class Found:
    """What the search found for one image: x' `(D,)` closest to x of those that get the target, or None; its cost."""

    x_adv: Array | None
    gradients: int
    seconds: float


@measures(
    "lbfgs-baseline",
    lambda profile, seed: {"naive": recipes.maxout(profile, seed)},
    quick=False,
    missing=lambda: "" if find_spec("scipy") else "it needs SciPy's L-BFGS-B: pip install 'tinyadv[scipy]'",
)
def lbfgs_baseline(lab: Lab, seed: int, naive: Trained) -> Measurement:
    """Success and cost of L-BFGS-B on a sample of test images, one at a time, beside FGSM's on the same."""
    from scipy.optimize import minimize  # not earlier: it takes a second to import

    model, rng = in_float64(naive.network), generator(seed, "L-BFGS")
    rows = rng.choice(len(lab.data.test.x), IMAGES, replace=False)
    x, y = (to_device(a, "cpu")[rows] for a in lab.data.test)
    x = x.astype("float64")
    says = metrics.predict(model, x)
    targets = [int(rng.choice([k for k in range(10) if k not in (a, b)])) for a, b in zip(y, says, strict=True)]
    found = [lbfgs(minimize, model, x[i : i + 1], targets[i]) for i in range(IMAGES)]
    one_by_one = [_timed_fgsm(model, x[i : i + 1], y[i : i + 1]) for i in range(IMAGES)]
    x_fgsm = array_module(x).concatenate([x_adv for x_adv, _ in one_by_one])
    hits = [(i, f.x_adv) for i, f in enumerate(found) if f.x_adv is not None]
    sizes = [(_length(x_adv - x[i]), float(abs(x_adv - x[i]).max())) for i, x_adv in hits]
    gradients = sum(f.gradients for f in found) / IMAGES
    seconds_ratio = sum(f.seconds for f in found) / sum(seconds for _, seconds in one_by_one)
    values = Values()
    values.add(metrics.evaluate(model, x_fgsm, y), error="fgsm_error")
    values.values |= {
        "gradients_per_example": gradients,
        "seconds_ratio": seconds_ratio,
        "l2": sum(l2 for l2, _ in sizes) / len(sizes) if sizes else nan,
        "l2_fgsm": sum(_length(row) for row in x_fgsm - x) / IMAGES,
        "largest_change": sum(largest for _, largest in sizes) / len(sizes) if sizes else nan,
    }
    values.share("success", len(hits), IMAGES)
    holds = len(hits) >= 0.95 * IMAGES and gradients >= 10 and seconds_ratio >= 10
    return values.measurement(holds=holds, details=_shown(x, x_fgsm, hits[:8], y, targets))


def lbfgs(minimise: Callable[..., Any], model: Network, x: Array, target: int) -> Found:
    """The closest x' in [0, 1] that is classified as `target`: min c ||x' - x||_2^2 + J(x', target), searched over c.

    Szegedy et al. 2014, section 4.1. A large c keeps x' near x: c is multiplied by a factor after a success and divided
    by it after a failure; from the first change on the factor is its own square root, a bisection on the log scale.

    Parameters
    ----------
    minimise : callable
        `scipy.optimize.minimize`.
    x : array `(1, D)`, float64, on the CPU
        Within [0, 1].
    """
    started, label, calls = perf_counter(), array_module(x).asarray([target]), 0
    best, closest, c, factor, before = None, float("inf"), START, STEP, None

    def value_and_gradient(flat: Array) -> tuple[float, Array]:
        nonlocal calls
        calls += 1
        point = flat[None]
        r = point - x
        X = Tensor(point)
        J = model.loss(model(X), label)
        (g,) = grad(J, [X])
        return c * float((r * r).sum()) + J.item(), (2.0 * c * r + g)[0]

    for _ in range(TRIES):
        end = minimise(
            value_and_gradient, x[0], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * x.shape[1],
            options={"maxiter": ITERATIONS},
        )  # fmt: skip
        succeeded = int(metrics.predict(model, end.x[None])[0]) == target
        if succeeded and _length(end.x - x[0]) < closest:
            best, closest = end.x, _length(end.x - x[0])
        if before is not None and succeeded != before:
            factor **= 0.5
        before = succeeded
        c = c * factor if succeeded else c / factor
    return Found(best, calls, perf_counter() - started)


def _timed_fgsm(model: Network, x: Array, y: Array) -> tuple[Array, float]:
    started = perf_counter()
    return fgsm(model, x, y, EPS), perf_counter() - started


def _length(r: Array) -> float:
    return sqrt(float((r * r).sum()))


def _shown(x: Array, x_fgsm: Array, hits: list[tuple[int, Array]], y: Array, targets: list[int]) -> dict[str, Any]:
    rows = [i for i, _ in hits]
    by_lbfgs = array_module(x).stack([x_adv for _, x_adv in hits]) if hits else x[:0]
    return {
        "clean": pictures(x[rows]),
        "lbfgs": pictures(by_lbfgs),
        "fgsm": pictures(x_fgsm[rows]),
        "label": [int(y[i]) for i in rows],
        "target": [targets[i] for i in rows],
    }
