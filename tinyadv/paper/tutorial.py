"""Softmax regression as the paper's first author taught it: from 0, by conjugate gradients, stopped early.

The paper does not say how its softmax regression was trained. pylearn2's tutorial on it, by the paper's first author,
minimises J on 10,000 images at a time, ten steps of nonlinear conjugate gradients with a line search each, from weights
of 0 and without any decay, until the validation error falls no more; it reports a test error of 7.59 %. SciPy has the
minimiser: `pip install scipy`.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .. import metrics
from ..backend import Array, generator
from ..datasets import Split
from ..layers import parameters
from ..losses import clean_objective
from ..models import Network, softmax_regression


def softmax_by_conjugate_gradients(
    train: Split,
    validation: Split,
    *,
    batch: int = 10_000,
    steps: int = 10,
    patience: int = 5,
    least: float = 0.01,
    epochs: int = 1000,
) -> tuple[Network, list[dict[str, Any]]]:
    """Train softmax regression by the tutorial's recipe, on the CPU.

    Parameters
    ----------
    train, validation : Split
    batch, steps : int
        Images that J is minimised on at a time, and steps of conjugate gradients on each batch.
    patience, least : int, float
        Stop when it is `patience` epochs since the validation error fell by the share `least` of what it was when it
        last did: as pylearn2 does.
    epochs : int
        At most so many passes over the training images.

    Returns
    -------
    the network with the lowest validation error, and an entry with J on the last batch and this error for each epoch

    Raises
    ------
    ImportError
        If SciPy is not installed.
    """
    from scipy.optimize import minimize

    model = softmax_regression(train.x.shape[1], int(train.y.max()) + 1, rng=generator(0))
    model = model.to(dtype=str(train.x.dtype))
    theta = parameters(model)
    flat = best = _flat([p.data for p in theta])
    log: list[dict[str, Any]] = []
    lowest, last_fall = inf, 0  # the validation error when it last fell by enough, and after which epoch
    for epoch in range(1, epochs + 1):
        for start in range(0, len(train.x), batch):
            rows = slice(start, start + batch)
            x, y = train.x[rows], train.y[rows]

            def J_and_gradient(flat: Array, x: Array = x, y: Array = y) -> tuple[float, Array]:
                _set(model, flat)
                J, gradients = clean_objective(model, x, y, None)
                return J, _flat(gradients)

            found = minimize(J_and_gradient, flat, jac=True, method="CG", options={"maxiter": steps})
            flat, loss = found.x, float(found.fun)
        _set(model, flat)
        error = metrics.evaluate(model, *validation).error
        if not log or error < min(entry["error"] for entry in log):
            best = flat
        log.append({"epoch": epoch, "loss": loss, "error": error})
        if error < (1.0 - least) * lowest:
            lowest, last_fall = error, epoch
        if epoch - last_fall == patience:
            break
    _set(model, best)
    return model, log


def _flat(arrays: list[Array]) -> Array:
    """All numbers in one row, as float64: what the minimiser works on."""
    from numpy import concatenate

    return concatenate([a.ravel() for a in arrays]).astype("float64")


def _set(model: Network, flat: Array) -> None:
    """Give the network the numbers of `_flat`, in its own dtype."""
    start = 0
    for p in parameters(model):
        p.data = flat[start : start + p.data.size].reshape(p.shape).astype(p.dtype)
        start += p.data.size
