"""How far rounding may move a number: a running error analysis over the engine's own graph.

Every operation rounds, by at most `LOCAL[operation]`. What that does to a result y is, to first order, the rounding of
each intermediate value v times |dy/dv|, and the engine has all of these from one backward pass (Linnainmaa 1976,
"Taylor expansion of the accumulated rounding error"; Higham 2002, "Accuracy and Stability of Numerical Algorithms",
chapter 3). Nothing is fitted: the constants count roundings. They hold for sums and products in any order, with or
without fused multiplication, and so for every BLAS, number of threads, size of a batch, and platform of IEEE
arithmetic whose exp, log and their relatives err by four units in the last place at most.
"""

import numpy as np

from tinyadv import ops
from tinyadv.backend import full_like
from tinyadv.tensor import Tensor, grad, history, raw

LIBM = 8  # roundings that exp, log, tanh, log1p and expm1 may be worth: four units in the last place
SECOND_ORDER = 2  # what first order leaves out is smaller by the bound itself; this allows for all of it and more


def gamma(n, u):
    """n roundings one after another."""
    return n * u / (1 - n * u)


def _relative(n):
    """A result with n roundings of its own size."""
    return lambda u, y, *args, **settings: n * u * abs(y)


def _exact(u, y, *args, **settings):
    return np.zeros_like(y)


# Sums: how many roundings a term goes through, and the sum of the terms' sizes


def _matmul(y, a, b):
    return a.shape[-1], abs(a) @ abs(b)


def _linear(y, x, W, b):
    sizes = abs(x) @ abs(W).reshape(-1, W.shape[-1]).T + abs(b).reshape(-1)
    return x.shape[1] + 1, sizes.reshape(y.shape)


def _sum(y, x, axis=None, keepdims=False):
    return x.size // max(1, y.size), abs(x).sum(axis=axis, keepdims=keepdims)


def _mean(y, x, axis=None, keepdims=False):
    return x.size // max(1, y.size) + 2, abs(x).mean(axis=axis, keepdims=keepdims)


def _rbf(y, x, mu, beta):
    d = abs(x - mu[:, None, :])
    forms = (d * abs(beta)[:, None, :] if beta.ndim == 2 else d @ abs(beta)) * d
    return 2 * x.shape[1] + 8, forms.sum(axis=-1).T


SUMS = {"matmul": _matmul, "linear": _linear, "reduce_sum": _sum, "reduce_mean": _mean, "rbf": _rbf}


# Other operations: the absolute error of the result


def _softplus(u, y, x):  # log1p of an exp, whose condition is at most 1, and a sum of positive numbers
    return (2 * LIBM + 2) * u * y


def _sigmoid(u, y, x):  # the exp of a softplus: its absolute error is relative here
    z = np.logaddexp(0, -x)
    return (LIBM + (2 * LIBM + 2) * z) * u * y


def _log1mexp(u, y, x):  # either branch: the inner function's relative error, at most doubled, and the outer one's
    return 3 * LIBM * u * abs(y)


def _shift(z):
    """z - max z, the softmax of it, and the mean distance from the maximum under it."""
    d = z - z.max(axis=-1, keepdims=True)
    p = np.exp(d) / np.exp(d).sum(axis=-1, keepdims=True)
    return abs(d), p, (p * abs(d)).sum(axis=-1, keepdims=True)


def _log_softmax(u, y, z):
    """u |d| of z - max z; of the log of the sum: the terms' relative errors, averaged, K of adding, those of log."""
    d, _, average = _shift(z)
    K = z.shape[-1]
    return u * (d + average + K + LIBM * (1 + np.log(K)) + abs(y))


def _softmax(u, y, z):
    d, p, average = _shift(z)
    return u * p * (d + average + z.shape[-1] + 2 * LIBM + 1)


def _softmax_cross_entropy(u, y, z, t):
    log_p = ops.log_softmax.forward(z)
    return (abs(t) * (_log_softmax(u, log_p, z) + gamma(z.shape[-1] + 1, u) * abs(log_p))).sum(axis=-1)


def _binary_cross_entropy(u, y, z, t):
    sizes = abs(t) * np.logaddexp(0, -z) + abs(1 - t) * np.logaddexp(0, z)
    return (2 * LIBM + 2 + 4) * u * sizes


LOCAL = {
    **dict.fromkeys(
        (
            *("reshape", "transpose", "broadcast_to", "take", "put", "join", "where", "reduce_max"),
            *("absolute", "sign", "relu", "clip", "negative"),
        ),
        _exact,
    ),
    **dict.fromkeys(("add", "subtract", "sqrt"), _relative(1)),
    **dict.fromkeys(("multiply", "divide"), _relative(2)),  # one of them a number's, when it becomes float32
    **dict.fromkeys(("exp", "log", "tanh", "power"), _relative(LIBM)),
    "softplus": _softplus,
    "sigmoid": _sigmoid,
    "log1mexp": _log1mexp,
    "log_softmax": _log_softmax,
    "softmax": _softmax,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
}


def bound(y, dtype):
    """How far `y`, a single number computed in float64 from Tensors, may be from what `dtype` makes of it."""
    kind = np.finfo(dtype)
    steps = [t for t in history(y) if t.op]
    total = 0.0
    for t, slope in zip(steps, grad(y, steps, cotangent=full_like(y.data, 1.0)), strict=True):
        args = [raw(a) for a in t.args]
        local = _local(repr(t.op), float(kind.eps) / 2, t.data, args, t.settings)
        if np.any(local):  # what is inexact may underflow, too: in every product of a sum
            local = local + float(kind.smallest_subnormal) * max(np.size(a) for a in args)
        total += float((np.where(local == 0, 0.0, abs(slope)) * local).sum())
    return SECOND_ORDER * total


def _local(name, u, y, args, settings):
    if name in SUMS:
        n, sizes = SUMS[name](y, *args, **settings)
        return gamma(n, u) * sizes
    return LOCAL[name](u, y, *args, **settings)


def representable(y, dtype):
    """Whether `dtype` has a number for every value on the way to y, and for every sum wherever it is cut."""
    values = [y.data, *(a.data for t in history(y) for a in t.args if isinstance(a, Tensor))]
    for t in history(y):
        if t.op and repr(t.op) in SUMS:
            n, sizes = SUMS[repr(t.op)](t.data, *[raw(a) for a in t.args], **t.settings)
            values.append(sizes * n if repr(t.op) == "reduce_mean" else sizes)
    return all(abs(v).max(initial=0) <= float(np.finfo(dtype).max) for v in values)


def same_side(y, z):
    """Whether two computations of the same graph took the same side of every kink and winner."""
    pairs = [(a, b) for a, b in zip(history(y), history(z), strict=True) if a.op]
    return all(np.array_equal(_side(a), _side(b)) for a, b in pairs)


def _side(t):
    name, x = repr(t.op), raw(t.args[0])
    if name == "reduce_max":
        return ops._winners(x, t.data, t.args[1] if len(t.args) > 1 else t.settings.get("axis"))
    if name in ("relu", "absolute"):
        return np.sign(x)
    return (x >= t.args[1]) & (x <= t.args[2]) if name == "clip" else None
