"""Section 3, the linear explanation: in many dimensions a small change of every input adds up."""

from __future__ import annotations

from math import sqrt

from numpy import log, polyfit, sign
from numpy.random import Generator

from ...backend import generator
from ..lab import EPS, Lab
from ..results import Measurement
from .common import measures

DIMENSIONS = (10, 32, 100, 316, 1_000, 3_162, 10_000, 31_623, 100_000)
RANDOM_SIGNS = 20  # how many perturbations with random signs are tried at each n


@measures("linear-growth")
def linear_growth(lab: Lab, seed: int) -> Measurement:
    """w^T (x + eta) - w^T x for eta = eps sign(w), against eps m n and against random signs."""
    rows = [_growth(generator(seed, f"linear growth {n}"), n) for n in DIMENSIONS]
    exponent, random_exponent = (
        float(polyfit(log(DIMENSIONS), log([row[key] for row in rows]), 1)[0]) for key in ("growth", "random")
    )
    relative = max(row["relative_difference"] for row in rows)
    return Measurement(
        {"relative_difference": relative, "exponent": exponent, "random_exponent": random_exponent},
        holds=relative <= 1e-9 and all(row["largest_eta"] == EPS and row["random_excess"] <= 1e-9 for row in rows),
        details={"rows": rows},
    )


def _growth(rng: Generator, n: int) -> dict[str, float]:
    w = rng.standard_normal(n)
    w /= abs(w).mean()  # so that m = 1 at every n
    x = rng.random(n)
    eta = EPS * sign(w)
    growth = float(w @ (x + eta) - w @ x)
    expected = EPS * float(abs(w).mean()) * n
    random = [float(w @ (x + EPS * rng.choice((-1.0, 1.0), n)) - w @ x) for _ in range(RANDOM_SIGNS)]
    return {
        "n": n,
        "growth": growth,
        "relative_difference": abs(growth - expected) / expected,
        "largest_eta": float(abs(eta).max()),
        "random": sqrt(sum(r * r for r in random) / RANDOM_SIGNS),  # their typical size: the root of the mean square
        "random_excess": (max(random) - growth) / growth,  # in few dimensions random signs may be the best ones
    }
