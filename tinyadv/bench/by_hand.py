"""The job in plain NumPy, derived and written by hand: no engine, no Tensor, the chain rule spelled out.

The one idea: it is the yardstick for the engine, so it is as fast as plain NumPy gets while each line can still be
read. Activations are stored `(units, N)`: then the pieces of a maxout layer are contiguous planes `(pieces, units, N)`,
the maximum runs over planes, and the gradient is routed by multiplying with the truth of z == max. The clean and the
adversarial pass fill the two halves of the same arrays, so that one product makes both gradients of a weight. It
works in the dtype of the parameters: in float64 it is a reference for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jobs import Arrays, Attack, Epoch, Job, Read, Step

Array = NDArray[Any]
Mask = Any  # an array of 0 and 1 / keep, or the number 1 where nothing is dropped


def start(threads: int, device: str) -> str:
    if device != "cpu":
        raise ValueError(f"by-hand runs on the CPU, not on {device!r}")
    return f"NumPy {np.__version__}"


def put(a: Array) -> Array:
    return a


@dataclass
class Columns:
    """Arrays for N examples, a column each: the inputs h_i `(inputs, N)` of every layer, dJ/dz_i `(outputs, N)`."""

    h: list[Array]
    dz: list[Array]

    @classmethod
    def empty(cls, W: Arrays, N: int) -> Columns:
        pixels = np.empty((N, W[0].shape[1]), W[0].dtype).T  # in memory an example's pixels stay together
        h = [pixels, *(np.empty((w.shape[1], N), w.dtype) for w in W[1:])]
        return cls(h, [np.empty((len(w), N), w.dtype) for w in W])

    def part(self, start: int, stop: int) -> Columns:
        return Columns([a[:, start:stop] for a in self.h], [a[:, start:stop] for a in self.dz])


class Net:
    """The maxout network: W_i `(pieces * units, inputs)`, b_i `(pieces * units,)`."""

    def __init__(self, theta: Arrays, job: Job) -> None:
        self.W = [W.reshape(-1, W.shape[-1]).copy() for W in theta[::2]]
        self.b = [b.reshape(-1).copy() for b in theta[1::2]]
        self.shapes, self.dtype, self.job = [a.shape for a in theta], theta[0].dtype, job

    def masks(self, rng: Any, N: int) -> list[Mask]:
        """What each layer's inputs `(inputs, N)` are multiplied by in training."""
        pixels = keep_mask(rng, (N, self.job.inputs), self.job.keep[0], self.dtype).T
        return [pixels, *(keep_mask(rng, (w.shape[1], N), self.job.keep[1], self.dtype) for w in self.W[1:])]

    def forward_and_back(self, x: Array, y: Array, masks: list[Mask], weight: Any, c: Columns) -> Array:
        """J_n of x `(N, D)`, one for each example; fills `c` with the layers' inputs and weight_n dJ_n/dz."""
        np.multiply(x.T, masks[0], out=c.h[0])
        won = []
        for i, mask in enumerate(masks[1:]):
            # h = max_p z_p,  z_p = W_p x + b_p
            z = self.W[i] @ c.h[i]
            z += self.b[i][:, None]
            z = z.reshape(self.job.pieces, self.job.units, -1)
            top = z.max(axis=0)
            np.multiply(top, mask, out=c.h[i + 1])
            won.append(winners(z, top))
        J, d = cross_entropy(self.W[-1] @ c.h[-1] + self.b[-1][:, None], y)
        np.multiply(d, weight, out=c.dz[-1])
        for i in range(len(won) - 1, -1, -1):
            # dJ/dz_p = dJ/dh where the piece p has won, else 0
            dh = self.W[i + 1].T @ c.dz[i + 1]
            dh *= masks[i + 1]
            np.multiply(won[i], dh, out=c.dz[i].reshape(won[i].shape))
        return J

    def sign_of_dx(self, mask: Mask, c: Columns) -> Array:
        """sign(dJ/dx) `(N, D)` after `forward_and_back`."""
        dx = c.dz[0].T @ self.W[0]
        dx *= mask.T
        np.sign(dx, out=dx)
        return dx

    def gradients(self, c: Columns, g: Arrays) -> None:
        """Fills g with dJ/dW1, dJ/db1, dJ/dW2, ..., summed over the examples in `c`."""
        ones = np.ones(c.dz[0].shape[1], self.dtype)
        for h, dz, dW, db in zip(c.h, c.dz, g[::2], g[1::2], strict=True):
            np.matmul(dz, h.T, out=dW)
            np.matmul(dz, ones, out=db)  # a sum over N; faster than sum() along short rows

    def theta(self) -> Arrays:
        return [a for W, b in zip(self.W, self.b, strict=True) for a in (W, b)]

    def read(self) -> Arrays:
        return [a.reshape(shape).copy() for a, shape in zip(self.theta(), self.shapes, strict=True)]


def keep_mask(rng: Any, shape: tuple[int, int], keep: float, dtype: Any) -> Mask:
    """1 / keep with probability `keep`, else 0, from 16 random bits an entry."""
    if keep == 1.0:
        return np.ones((), dtype)
    size = shape[0] * shape[1]
    kept = rng.bit_generator.random_raw(-(-size // 4)).view(np.uint16)[:size] < round(keep * 65536)
    return (kept * np.asarray(1 / keep, dtype)).reshape(shape)


def winners(z: Array, top: Array) -> Array:
    """Where the planes z `(pieces, units, N)` equal their maximum; of several equal ones the first."""
    won: Array = z == top
    if np.count_nonzero(won) > top.size:
        won &= won.cumsum(axis=0) == 1
    return won


def cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    """J_n = -log softmax(z_n)[y_n] `(N,)` and dJ_n/dz_n = softmax(z_n) - onehot(y_n), both for logits z `(K, N)`."""
    label = (y, np.arange(len(y)))
    z -= z.max(axis=0)
    p = np.exp(z)
    total = p.sum(axis=0)
    J = np.log(total) - z[label]
    p /= total
    p[label] -= 1
    return J, p


def train(start: Arrays, job: Job, rng: Any = None) -> tuple[Step, Read]:
    net, N = Net(start, job), job.batch
    velocities, gradients = ([np.zeros_like(a) for a in net.theta()] for _ in range(2))
    rng = rng or np.random.Generator(np.random.SFC64(0))
    both = Columns.empty(net.W, 2 * N)
    clean, adversarial = both.part(0, N), both.part(N, 2 * N)
    of_clean, of_adversarial = job.alpha / N, (1 - job.alpha) / N
    weight = np.repeat([of_clean, of_adversarial], N).astype(net.dtype)
    attack = fgsm_of(net)

    def step(x: Array, y: Array) -> float:
        if job.attacked == "training":
            masks = net.masks(rng, N)
            J = net.forward_and_back(x, y, masks, of_clean, clean)
            x_adv = x + job.eps * net.sign_of_dx(masks[0], clean)
            J_adv = net.forward_and_back(x_adv, y, net.masks(rng, N), of_adversarial, adversarial)
            J = np.concatenate([J, J_adv])
        else:
            x2, y2 = np.concatenate([x, attack(x, y)]), np.concatenate([y, y])
            J = net.forward_and_back(x2, y2, net.masks(rng, 2 * N), weight, both)
        net.gradients(both, gradients)
        for theta, v, g in zip(net.theta(), velocities, gradients, strict=True):
            descend(theta, v, g, job)
        return float(weight @ J)

    return step, net.read


def descend(theta: Array, v: Array, g: Array, job: Job, block: int = 1 << 15) -> None:
    """One update in place; `block` entries at a time stay in the processor's cache until they are done with."""
    rows = max(1, block // theta[0].size)
    for i in range(0, len(theta), rows):
        w, u, d = theta[i : i + rows], v[i : i + rows], g[i : i + rows]
        # v <- mu v - lr g,  theta <- theta + v
        d *= job.learning_rate
        u *= job.momentum
        u -= d
        w += u
        if w.ndim > 1:
            # w <- w min(1, max_norm / |w|), a row each
            squares = np.vecdot(w, w)
            if squares.max() > job.max_norm**2:
                w *= (job.max_norm / np.sqrt(np.maximum(squares, job.max_norm**2)))[:, None]


def fgsm_of(net: Net) -> Attack:
    columns: dict[int, Columns] = {}  # by batch size
    nothing_dropped = [np.ones((), net.dtype)] * len(net.W)

    def attack(x: Array, y: Array) -> Array:
        c = columns.setdefault(len(x), Columns.empty(net.W, len(x)))
        net.forward_and_back(x, y, nothing_dropped, 1, c)
        step = net.sign_of_dx(nothing_dropped[0], c)
        step *= net.job.eps
        step += x
        return step

    return attack


def fgsm(start: Arrays, job: Job) -> Attack:
    return fgsm_of(Net(start, job))


def softmax(start: Arrays, job: Job) -> tuple[Epoch, Read]:
    W, b = (a.copy() for a in start)

    def epoch(x: Array, y: Array) -> None:
        for i in range(0, len(x), job.batch):
            x_i = x[i : i + job.batch]
            z = W @ x_i.T
            z += b[:, None]
            _, dz = cross_entropy(z, y[i : i + job.batch])
            dz *= job.learning_rate / len(x_i)
            np.subtract(W, dz @ x_i, out=W)
            np.subtract(b, dz.sum(axis=1), out=b)

    return epoch, lambda: [W.copy(), b.copy()]
