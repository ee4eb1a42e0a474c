"""The job in JAX: a whole step is one jitted function, to which parameters and velocities are donated."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

_environment = os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # before JAX is imported
import jax  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
import jax.numpy as jnp  # type: ignore[import-not-found,unused-ignore]  # noqa: E402

from .images import DENSE_NORMS, LAYERS, PIECES, RATE_FACTOR, SIDE  # noqa: E402
from .jobs import MACHINE_NORMS, Arrays, Attack, Epoch, Job, Read, Step, as_rows, fixed_masks, from_rows  # noqa: E402

_device = "cpu"


def start(threads: int, device: str) -> str:
    """JAX's CPU client takes one thread for each core that the process may use."""
    global _device
    _device = device
    jax.config.update("jax_platforms", device)
    return f"jax {jax.__version__} ({jax.devices()[0].platform})"


def put(a: Any) -> Any:
    return a if _device == "cpu" else jax.device_put(a)


def _columns(parameters: Arrays) -> list[Any]:
    """Weights as (inputs, units * pieces), biases (units * pieces,)."""
    return [jnp.asarray(a.T) for a in as_rows(parameters)]


def _reader(state: list[Any], start: Arrays) -> Read:
    return lambda: from_rows([jax.device_get(p).T for p in state[0]], start)


def _stepper(update: Any, state: list[Any]) -> Step:
    """A call of `update`, which gives a new state, [parameters, velocities, key], and J."""

    def step(x: Any, y: Any) -> float:
        *state[:], J = update(*state, x, y)
        jax.block_until_ready(state[0])
        return float(J)

    return step


def _drop(h: Any, i: int, key: Any, job: Job) -> Any:
    """The inputs h of layer i with dropout, if there is a key."""
    keep = job.keep[1 if i else 0]
    if key is None or keep == 1:
        return h
    return jnp.where(jax.random.bernoulli(jax.random.fold_in(key, i), keep, h.shape), h / keep, 0)


def _logits(theta: list[Any], x: Any, key: Any, job: Job) -> Any:
    """With a key: training, dropout on."""
    h = x
    for i in range(job.depth):
        z = _drop(h, i, key, job) @ theta[2 * i] + theta[2 * i + 1]
        h = z.reshape(len(x), -1, job.pieces).max(axis=2)
    return _drop(h, job.depth, key, job) @ theta[-2] + theta[-1]


def _cross_entropy(z: Any, y: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1).mean()


def _loss(theta: list[Any], x: Any, y: Any, key: Any, job: Job) -> Any:
    return _cross_entropy(_logits(theta, x, key, job), y)


def train(start: Arrays, job: Job) -> tuple[Step, Read]:
    loss, alpha = partial(_loss, job=job), job.alpha

    def at_training(theta: Any, x: Any, y: Any, keys: Any) -> Any:
        clean, (g, g_x) = jax.value_and_grad(loss, argnums=(0, 1))(theta, x, y, keys[0])
        x_adv = x + job.eps * jnp.sign(g_x)
        adversarial, g_adv = jax.value_and_grad(loss)(theta, x_adv, y, keys[1])
        return alpha * clean + (1 - alpha) * adversarial, jax.tree.map(
            lambda a, b: alpha * a + (1 - alpha) * b, g, g_adv
        )

    def at_inference(theta: Any, x: Any, y: Any, keys: Any) -> Any:
        both = jnp.concatenate([x, x + job.eps * jnp.sign(jax.grad(loss, argnums=1)(theta, x, y, None))])

        def objective(theta: Any) -> Any:
            z = _logits(theta, both, keys[0], job)
            return alpha * _cross_entropy(z[: len(x)], y) + (1 - alpha) * _cross_entropy(z[len(x) :], y)

        return jax.value_and_grad(objective)(theta)

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(theta: Any, velocity: Any, key: Any, x: Any, y: Any) -> Any:
        key, *keys = jax.random.split(key, 3)
        J, g = (at_training if job.attacked == "training" else at_inference)(theta, x, y, keys)
        velocity = [job.momentum * v - job.learning_rate * d for v, d in zip(velocity, g, strict=True)]
        theta = [p + v for p, v in zip(theta, velocity, strict=True)]
        return [_project(p, job) if p.ndim == 2 else p for p in theta], velocity, key, J

    theta = _columns(start)
    state = [theta, [jnp.zeros_like(p) for p in theta], jax.random.key(0)]

    return _stepper(update, state), _reader(state, start)


def _project(W: Any, job: Job) -> Any:
    return W * (job.max_norm / jnp.maximum(jnp.linalg.norm(W, axis=0), job.max_norm))


def fgsm(start: Arrays, job: Job) -> Attack:
    theta = _columns(start)

    def x_adv(theta: Any, x: Any, y: Any) -> Any:
        return x + job.eps * jnp.sign(jax.grad(_loss, argnums=1)(theta, x, y, None, job))

    attack = jax.jit(x_adv)
    return lambda x, y: jax.device_get(attack(theta, x, y))


def _mean_field_cost(theta: list[Any], V: Any, Y: Any, M: Any, m: Any, rounds: int) -> Any:
    """J of multi-prediction after `rounds` of mean field."""
    W1, W2, W3, b1, b2, b3, b_v = theta
    V_given, Y_given = (1 - M) * V, (1 - m) * Y
    below = (V_given + M * jax.nn.sigmoid(jax.lax.stop_gradient(b_v))) @ W1.T
    h1 = jax.nn.sigmoid(2 * below + b1)
    h2 = jax.nn.sigmoid(h1 @ W2.T + b2 + (Y_given + m * jax.nn.softmax(b3)) @ W3)
    for i in range(rounds - 1):
        h1, z_y = jax.nn.sigmoid(below + b1 + h2 @ W2), h2 @ W3.T + b3
        z_v = h1 @ W1 + b_v
        if i < rounds - 2:
            y, below = Y_given + m * jax.nn.softmax(z_y), (V_given + M * jax.nn.sigmoid(z_v)) @ W1.T
            h2 = jax.nn.sigmoid(h1 @ W2.T + b2 + y @ W3)
    of_pixels = (M * (V * jax.nn.softplus(-z_v) + (1 - V) * jax.nn.softplus(z_v))).mean()
    return of_pixels + (m * -Y * jax.nn.log_softmax(z_y)).sum() / V.size


def dbm(start: Arrays, job: Job) -> tuple[Step, Read]:
    fixed = fixed_masks(job, job.batch)

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(theta: Any, velocity: Any, key: Any, x: Any, y: Any) -> Any:
        key, *keys = jax.random.split(key, 4)
        shapes = (x.shape, (len(x), 1))
        M, m = fixed or [jax.random.bernoulli(k, 0.5, s).astype(x.dtype) for k, s in zip(keys, shapes, strict=False)]
        V, Y = jax.random.bernoulli(keys[2], x).astype(x.dtype), jax.nn.one_hot(y, job.classes)
        J, g = jax.value_and_grad(_mean_field_cost)(theta, V, Y, M, m, job.iterations)
        velocity = [job.momentum * v - job.learning_rate * d for v, d in zip(velocity, g, strict=True)]
        theta = [p + v for p, v in zip(theta, velocity, strict=True)]
        norms = [norm / jnp.maximum(jnp.linalg.norm(W, axis=1), norm) for W, norm in zip(theta, MACHINE_NORMS)]  # noqa: B905
        return [W * n[:, None] for W, n in zip(theta, norms)] + theta[3:], velocity, key, J  # noqa: B905

    theta = [jnp.asarray(a) for a in start]
    state = [theta, [jnp.zeros_like(p) for p in theta], jax.random.key(0)]

    return _stepper(update, state), lambda: [jax.device_get(p) for p in state[0]]


def softmax(start: Arrays, job: Job) -> tuple[Epoch, Read]:
    @partial(jax.jit, donate_argnums=0)
    def update(theta: Any, x: Any, y: Any) -> Any:
        g = jax.grad(lambda theta: _cross_entropy(x @ theta[0] + theta[1], y))(theta)
        return [p - job.learning_rate * d for p, d in zip(theta, g, strict=True)]

    state = [_columns(start)]

    def epoch(x: Any, y: Any) -> None:
        for i in range(0, len(x), job.batch):
            state[0] = update(state[0], x[i : i + job.batch], y[i : i + job.batch])
        jax.block_until_ready(state[0])

    return epoch, _reader(state, start)


# ---------------------------------------------------------------------------------------------------------
# Images `(N, H, W, C)`, kernels `(K, K, C, F)`, JAX's own preference on a CPU


def _conv_logits(theta: list[Any], x: Any, key: Any, job: Job) -> Any:
    """With a key: training, dropout on."""
    h = x.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    for i, (_, padding, pool, _) in enumerate(LAYERS):
        z = jax.lax.conv_general_dilated(
            _drop(h, i, key, job),
            theta[2 * i],
            (1, 1),
            [(padding, padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        z = z + theta[2 * i + 1]
        h = z.reshape(*z.shape[:3], PIECES, -1).max(axis=3)
        beyond = -(h.shape[1] - pool) % 2  # the last window may stick out
        edges = [(0, 0), (0, beyond), (0, beyond), (0, 0)]
        h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, pool, pool, 1), (1, 2, 2, 1), edges)
    h = h.transpose(0, 3, 1, 2).reshape(len(x), -1)
    z = _drop(h, 3, key, job) @ theta[6] + theta[7]
    h = z.reshape(len(x), -1, job.pieces).max(axis=2)
    return _drop(h, 4, key, job) @ theta[8] + theta[9]


def _conv_start(start: Arrays) -> list[Any]:
    return [*(jnp.asarray(a) for a in start[:6]), *_columns(start[6:])]


def conv_train(start: Arrays, job: Job) -> tuple[Step, Read]:
    norms = [norm for *_, norm in LAYERS] + list(DENSE_NORMS)
    rates = [RATE_FACTOR * job.learning_rate] * 6 + [job.learning_rate] * 4

    def project(W: Any, norm: float) -> Any:
        squares = (W * W).sum(axis=tuple(range(W.ndim - 1)))
        return W * (norm / jnp.maximum(jnp.sqrt(squares), norm))

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(theta: Any, velocity: Any, key: Any, x: Any, y: Any) -> Any:
        key, masks = jax.random.split(key)
        J, g = jax.value_and_grad(lambda theta: _cross_entropy(_conv_logits(theta, x, masks, job), y))(theta)
        velocity = [job.momentum * v - rate * d for v, d, rate in zip(velocity, g, rates, strict=True)]
        theta = [p + v for p, v in zip(theta, velocity, strict=True)]
        theta[::2] = [project(W, norm) for W, norm in zip(theta[::2], norms, strict=True)]
        return theta, velocity, key, J

    theta = _conv_start(start)
    state = [theta, [jnp.zeros_like(p) for p in theta], jax.random.key(0)]

    def read() -> Arrays:
        arrays = [jax.device_get(p) for p in state[0]]
        return [*arrays[:6], *from_rows([a.T for a in arrays[6:]], start[6:])]

    return _stepper(update, state), read


def conv_fgsm(start: Arrays, job: Job) -> Attack:
    theta = _conv_start(start)

    def x_adv(theta: Any, x: Any, y: Any) -> Any:
        g = jax.grad(lambda x: _cross_entropy(_conv_logits(theta, x, None, job), y))(x)
        return x + job.eps * jnp.sign(g)

    attack = jax.jit(x_adv)
    return lambda x, y: jax.device_get(attack(theta, x, y))
