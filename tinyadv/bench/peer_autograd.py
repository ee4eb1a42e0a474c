"""The job in HIPS autograd: NumPy with a tape, the nearest relative of our engine."""

from __future__ import annotations

from functools import partial
from typing import Any

import autograd.numpy as anp  # type: ignore[import-not-found,unused-ignore]
import numpy as np
from autograd import grad, value_and_grad  # type: ignore[import-not-found,unused-ignore]

from .jobs import Arrays, Attack, Epoch, Job, Read, Step, as_rows, from_rows


def start(threads: int, device: str) -> str:
    from importlib.metadata import version

    if device != "cpu":
        raise RuntimeError(f"autograd runs on the CPU, not on {device!r}")
    return f"autograd {version('autograd')}, numpy {np.__version__}"


def put(a: Any) -> Any:
    return a


def _columns(parameters: Arrays) -> list[Any]:
    """Weights as (inputs, units * pieces), biases (units * pieces,)."""
    return [np.ascontiguousarray(a.T) for a in as_rows(parameters)]


def _reader(theta: list[Any], start: Arrays) -> Read:
    return lambda: from_rows([p.T for p in theta], start)


def _cross_entropy(z: Any, y: Any) -> Any:
    z = z - anp.max(z, axis=1, keepdims=True)
    return anp.mean(anp.log(anp.sum(anp.exp(z), axis=1)) - z[np.arange(len(y)), y])


def _logits(theta: list[Any], x: Any, masks: list[Any] | None, job: Job) -> Any:
    h = x
    for i in range(job.depth):
        z = anp.dot(h if masks is None else h * masks[i], theta[2 * i]) + theta[2 * i + 1]
        h = anp.max(anp.reshape(z, (len(x), -1, job.pieces)), axis=2)
    return anp.dot(h if masks is None else h * masks[-1], theta[-2]) + theta[-1]


def _loss(theta: list[Any], x: Any, y: Any, masks: list[Any] | None, job: Job) -> Any:
    return _cross_entropy(_logits(theta, x, masks, job), y)


def train(start: Arrays, job: Job) -> tuple[Step, Read]:
    theta, rng, alpha = _columns(start), np.random.default_rng(0), job.alpha
    velocities = [np.zeros_like(p) for p in theta]
    with_x, without_x = value_and_grad(_loss, argnum=(0, 1)), value_and_grad(_loss)
    attack = grad(_loss, argnum=1)

    def masks(N: int) -> list[Any] | None:
        if job.keep == (1.0, 1.0):
            return None
        widths = [(job.inputs, job.keep[0])] + [(job.units, job.keep[1])] * job.depth
        return [(rng.random((N, n), dtype=np.float32) < keep) * np.float32(1 / keep) for n, keep in widths]

    def objective(theta: list[Any], both: Any, y: Any, masks: Any) -> Any:
        z = _logits(theta, both, masks, job)
        return alpha * _cross_entropy(z[: len(y)], y) + (1 - alpha) * _cross_entropy(z[len(y) :], y)

    def gradients(x: Any, y: Any) -> tuple[float, list[Any]]:
        if job.attacked == "inference":
            x_adv = x + np.float32(job.eps) * np.sign(attack(theta, x, y, None, job))
            J, g = value_and_grad(objective)(theta, np.concatenate([x, x_adv]), y, masks(2 * len(x)))
            return J, g
        clean, (g, g_x) = with_x(theta, x, y, masks(len(x)), job)
        x_adv = x + np.float32(job.eps) * np.sign(g_x)
        adversarial, g_adv = without_x(theta, x_adv, y, masks(len(x)), job)
        both = [alpha * a + (1 - alpha) * b for a, b in zip(g, g_adv, strict=True)]
        return alpha * clean + (1 - alpha) * adversarial, both

    def step(x: Any, y: Any) -> float:
        J, g = gradients(x, y)
        for p, v, d in zip(theta, velocities, g, strict=True):
            v *= job.momentum
            v -= job.learning_rate * d
            p += v
            if p.ndim == 2:
                p *= job.max_norm / np.maximum(np.linalg.norm(p, axis=0), np.float32(job.max_norm))
        return float(J)

    return step, _reader(theta, start)


def fgsm(start: Arrays, job: Job) -> Attack:
    attack = partial(grad(_loss, argnum=1), _columns(start))
    return lambda x, y: x + np.float32(job.eps) * np.sign(attack(x, y, None, job))


def softmax(start: Arrays, job: Job) -> tuple[Epoch, Read]:
    theta = _columns(start)
    gradient = grad(lambda theta, x, y: _cross_entropy(anp.dot(x, theta[0]) + theta[1], y))

    def epoch(x: Any, y: Any) -> None:
        for i in range(0, len(x), job.batch):
            for p, d in zip(theta, gradient(theta, x[i : i + job.batch], y[i : i + job.batch]), strict=True):
                p -= np.float32(job.learning_rate) * d

    return epoch, _reader(theta, start)
