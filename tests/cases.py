"""The table of operations: every one of ops.py, what it should compute (in NumPy, written differently), and cases.

A case is a call. Its float64 arrays are what is differentiated; numbers, masks, shapes and settings are passed on as
they are. Entries keep clear of kinks and ties; those have tests of their own.
"""
# ruff: noqa: RUF005  (a long list is easier to read as a sum of rows)

from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from tinyadv import ops
from tinyadv.tensor import Op

_rng = np.random.default_rng(1412_6572)


@dataclass(frozen=True)
class Case:
    """One call of `function`, `function(*args, **settings)`; `expected` is the same in NumPy."""

    name: str
    function: Callable[..., Any]
    expected: Callable[..., Any]
    args: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self):
        def short(a):
            if isinstance(a, (list, tuple)) and any(isinstance(b, np.ndarray) for b in a):
                return "+".join(map(short, a))
            return "x".join(map(str, a.shape)) or "scalar" if isinstance(a, np.ndarray) else repr(a)

        return f"{self.name}({', '.join([*map(short, self.args), *(f'{k}={v!r}' for k, v in self.settings.items())])})"

    def bind(self, xp=np, dtype="float64"):
        """`f` and `xs` in the library `xp`, such that f(*xs) is this call."""
        xs = []

        def slots(arg):
            """`arg` with each differentiable array replaced by its place among the xs."""
            if isinstance(arg, list):
                return [slots(a) for a in arg]
            if not isinstance(arg, np.ndarray):
                return arg
            if arg.dtype != "float64":
                return xp.asarray(arg)
            xs.append(xp.asarray(arg.astype(dtype)))
            return SimpleNamespace(place=len(xs) - 1)

        def fill(arg, values):
            if isinstance(arg, list):
                return [fill(a, values) for a in arg]
            return values[arg.place] if isinstance(arg, SimpleNamespace) else arg

        template = [slots(a) for a in self.args]

        def f(*values):
            return self.function(*(fill(a, values) for a in template), **self.settings)

        f.__name__ = str(self)
        return f, xs


def normal(*shape: int) -> np.ndarray:
    return _rng.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return _rng.uniform(0.4, 2.0, size=shape)


def apart(*shape: int) -> np.ndarray:
    """Numbers at least 0.05 away from each other, from 0 and from every multiple of 0.25: no kink, no tie is near."""
    n = int(np.prod(shape))
    grid = 0.25 * np.arange(-(n // 2), n - n // 2) + 0.125
    return (_rng.permutation(grid) + _rng.uniform(-0.07, 0.07, n)).reshape(shape)


def rows(*shape: int) -> np.ndarray:
    """Rows that sum to 1: targets."""
    t = _rng.uniform(0.1, 1.0, size=shape)
    return t / t.sum(axis=-1, keepdims=True)


def mask(*shape: int) -> np.ndarray:
    m = _rng.uniform(size=shape) < 0.5
    m.flat[:1] = True
    return m


BROADCASTS = [
    ((3, 2), (3, 2)),
    ((3, 2), (2,)),
    ((2,), (3, 2)),
    ((), (2, 3)),
    ((2, 3), ()),
    ((1,), (2, 3)),
    ((2, 1, 3), (4, 1)),
]
BROADCASTS += [((1, 1), (1,)), ((0, 3), (3,)), ((), ())]
AXES = [
    {},
    {"axis": 0},
    {"axis": -1},
    {"axis": (0, 2)},
    {"axis": (-1, 0), "keepdims": True},
    {"axis": 1, "keepdims": True},
]
AXES += [{"keepdims": True}, {"axis": (0, 1, 2)}]


def call(*args, **settings):
    """A call; where indexing made NumPy scalars of 0-d arrays, they are arrays again."""
    return tuple(np.asarray(a) if isinstance(a, np.generic) else a for a in args), settings


def pairs(a, b):
    """Calls with two arrays for each pair of shapes, and with a Python number on either side."""
    arrays = [call(a(*left), b(*right)) for left, right in BROADCASTS]
    return [*arrays, call(a(2, 3), 1.5), call(2.5, b(2, 3)), call(a(2), 2), call(3, b())]


def each(x):
    return [call(x(3, 4)), call(x()), call(x(1)), call(x(0, 2))]


def axes(x):
    return [*(call(x(2, 3, 4), **s) for s in AXES), call(x(5)), call(x()), call(x(2, 1), axis=1)]


def maxout_expected(x, W, b):
    return np.stack([x @ W[p].T + b[p] for p in range(len(W))]).max(axis=0)


def rust_expected(x, W, b, excitatory):
    z = np.einsum("nd,fud->fnu", x, W) + b.reshape(W.shape[0], 1, W.shape[1])
    weights = np.where(np.arange(len(W)) < excitatory, 1.0, -1.0)[:, None, None]
    squares = np.concatenate([np.where(z[:1] > 0, z[:1], 0.0), z[1:]]) ** 2
    return (weights * squares).sum(axis=0) / (1 + squares.sum(axis=0))


def rbf_expected(x, mu, beta):
    full = beta if beta.ndim == 3 else np.stack([np.diag(row) for row in beta])
    d = x[:, None] - mu
    return -np.einsum("nki,kij,nkj->nk", d, full, d)


def put_expected(g, shape, key):
    x = np.zeros(shape)
    x[key] = g
    return x


def sum_to_expected(x, shape):
    """The adjoint of broadcasting, by its definition: entry i gets what came from it."""
    source = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), x.shape)
    return np.bincount(source.ravel(), weights=x.ravel(), minlength=int(np.prod(shape))).reshape(shape)


KEYS = [
    (5, 1),
    (5, -1),
    (5, slice(1, 4)),
    (5, slice(None, None, -2)),
    ((3, 4), (slice(None), 2)),
    ((3, 4), (..., None)),
]
KEYS += [((2, 3, 4), (1, ..., slice(0, 3, 2))), ((3, 4), (slice(3, 3),)), ((3, 4), ()), ((3, 4), (2, -1))]


def _takes(shape):
    return shape if isinstance(shape, tuple) else (shape,)


matrices = [
    ((2, 3), (3, 4)),
    ((3, 3), (3, 3)),
    ((1, 1), (1, 1)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((2, 1, 2, 3), (4, 3, 2)),
    ((0, 3), (3, 2)),
]
vectors = [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (5, 3, 2)), ((5, 2, 3), (3,)), ((1,), (1,))]

# name: (what it should be, calls)
TABLE: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "add": (np.add, pairs(normal, normal)),
    "subtract": (np.subtract, pairs(normal, normal)),
    "multiply": (np.multiply, pairs(normal, normal)),
    "divide": (np.divide, pairs(normal, positive)),
    "power": (
        np.power,
        [
            *pairs(positive, normal),
            *(call(normal(3), n) for n in (0, 1, 2, 3)),
            *(call(positive(3), p) for p in (0.5, -1, -2.5, 0.0)),
            call(positive(4), np.array([0.0, 1.0, 2.0, -1.0])),
        ],
    ),
    "negative": (np.negative, each(normal)),
    "matmul": (np.matmul, [call(normal(*a), normal(*b)) for a, b in matrices + vectors]),
    "_matmul": (np.matmul, [call(normal(*a), normal(*b)) for a, b in matrices]),
    "reshape": (
        np.reshape,
        [call(normal(3, 4), (2, 6)), call(normal(3, 4), -1), call(normal(3, 4), (-1, 2)), call(normal(), (1, 1))]
        + [call(normal(1), ()), call(normal(0, 3), (3, 0))],
    ),
    "transpose": (
        np.transpose,
        [call(normal(3, 4)), call(normal(2, 3, 4), (1, 2, 0)), call(normal(2, 3, 4), (-1, 0, 1)), call(normal(3))]
        + [call(normal(2, 3, 4), axes=(0, -1, -2)), call(normal())],
    ),
    "swap_last": (
        lambda x: np.swapaxes(x, -1, -2),
        [call(normal(3, 4)), call(normal(2, 3, 4)), call(normal(2, 1, 1, 3))],
    ),
    "broadcast_to": (
        np.broadcast_to,
        [call(normal(3), (2, 3)), call(normal(), (2, 3)), call(normal(2, 1), (4, 2, 3)), call(normal(2), (2,))]
        + [call(normal(1), (0,))],
    ),
    "sum_to": (
        sum_to_expected,
        [call(normal(2, 3), (3,)), call(normal(2, 3), ()), call(normal(4, 2, 3), (2, 1)), call(normal(2, 3), (2, 3))]
        + [call(normal(2, 3), (1, 3)), call(normal(1, 3), (1,)), call(normal(0, 3), (3,))],
    ),
    "take": (lambda x, key: x[key], [call(normal(*_takes(shape)), key) for shape, key in KEYS]),
    "put": (put_expected, [call(np.zeros(_takes(s))[k] + _rng.normal(), _takes(s), k) for s, k in KEYS]),
    "concatenate": (
        np.concatenate,
        [call([normal(2, 3), normal(1, 3)]), call([normal(2, 3), normal(2, 1), normal(2, 2)], axis=1)]
        + [call([normal(2), normal(3)], -1), call([normal(2, 3)]), call([normal(0, 3), normal(2, 3)], 0)],
    ),
    "_join": (
        lambda a, b, axis: np.concatenate([a, b], axis),
        [
            call(normal(2, 3), normal(1, 3), 0),
            call(normal(2, 3), normal(2, 3), 1),
            call(normal(2, 2), normal(2, 2), -1),
        ],
    ),
    "where": (
        np.where,
        [
            call(mask(2, 3), normal(2, 3), normal(2, 3)),
            call(mask(2, 3), normal(3), normal(2, 1)),
            call(mask(3), 0.0, normal(3)),
        ]
        + [
            call(mask(2, 3), normal(2, 3), 1.0),
            call(mask(2, 1), normal(), normal(4, 1, 3)),
            call(mask(), normal(2), normal(2)),
        ],
    ),
    "reduce_sum": (np.sum, axes(normal)),
    "reduce_mean": (np.mean, axes(normal)),
    "reduce_max": (np.max, axes(apart)),
    "exp": (np.exp, each(normal)),
    "log": (np.log, each(positive)),
    "sqrt": (lambda x: x**0.5, each(positive)),
    "absolute": (np.abs, each(apart)),
    "sign": (np.sign, each(apart)),
    "tanh": (np.tanh, each(normal)),
    "softplus": (lambda x: np.log1p(np.exp(x)), each(normal)),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), each(normal)),
    "log1mexp": (lambda x: np.log(1 - np.exp(x)), [call(-positive(3, 4)), call(-positive()), call(-positive(0, 2))]),
    "relu": (lambda x: np.where(x > 0, x, 0), each(apart)),
    "clip": (
        lambda x, low, high: np.minimum(np.maximum(x, low), high),
        [call(apart(3, 4), -0.5, 0.75), call(apart(5), 0.0, 1.0), call(apart(), -1, 1), call(apart(3), -np.inf, 0.0)],
    ),
    "log_softmax": (
        lambda z: z - np.log(np.exp(z).sum(axis=-1, keepdims=True)),
        [call(normal(3, 4)), call(normal(4)), call(normal(2, 3, 2)), call(normal(3, 1)), call(normal(0, 3))],
    ),
    "softmax": (
        lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True),
        [call(normal(3, 4)), call(normal(4)), call(normal(2, 3, 2)), call(normal(3, 1)), call(normal(0, 3))],
    ),
    "softmax_cross_entropy": (
        lambda z, t: -(t * np.log(np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True))).sum(axis=-1),
        [call(normal(3, 4), rows(3, 4)), call(normal(1, 2), rows(1, 2)), call(normal(3, 1), rows(3, 1))]
        + [call(normal(0, 3), rows(0, 3)), call(normal(2, 3), np.eye(3)[:2])],
    ),
    "binary_cross_entropy": (
        lambda z, t: -t * np.log(1 / (1 + np.exp(-z))) - (1 - t) * np.log(1 / (1 + np.exp(z))),
        [call(normal(3, 4), positive(3, 4) / 2), call(normal(3), np.array([0.0, 1.0, 1.0])), call(normal(), positive())]
        + [call(normal(0, 2), normal(0, 2))],
    ),
    "linear": (
        lambda x, W, b: np.einsum("nd,kd->nk", x, W) + b,
        [call(normal(5, 3), normal(2, 3), normal(2)), call(normal(1, 1), normal(1, 1), normal(1))]
        + [call(normal(3, 3), normal(3, 3), normal(3)), call(normal(0, 3), normal(2, 3), normal(2))],
    ),
    "maxout": (
        maxout_expected,
        [call(normal(4, 3), normal(5, 2, 3), normal(5, 2)), call(normal(4, 3), normal(1, 2, 3), normal(1, 2))]
        + [call(normal(1, 1), normal(2, 1, 1), normal(2, 1))],
    ),
    "rbf": (
        rbf_expected,
        [call(normal(4, 3), normal(2, 3), positive(2, 3)), call(normal(4, 3), normal(2, 3), normal(2, 3, 3))]
        + [call(normal(2, 2), normal(2, 2), normal(2, 2, 2)), call(normal(3, 3), normal(3, 3), positive(3, 3))]
        + [call(normal(1, 1), normal(1, 1), normal(1, 1)), call(normal(1, 1), normal(1, 1), normal(1, 1, 1))],
    ),
    "rust": (
        rust_expected,
        [call(normal(4, 3), normal(4, 2, 3), normal(8), 2), call(normal(3, 2), normal(3, 1, 2), normal(3, 1), 1)]
        + [call(normal(2, 3), normal(5, 2, 3), normal(10), 4), call(normal(1, 1), normal(2, 1, 1), normal(2), 1)],
    ),
    "dropout": (
        np.multiply,
        [call(normal(3, 4), np.array([2.0, 0.0, 0.0, 2.0])), call(normal(3, 4), mask(3, 4) * 2.0)],
    ),
}

CASES = [
    Case(name, getattr(ops, name), expected, args, settings)
    for name, (expected, calls) in TABLE.items()
    for args, settings in calls
]


def operations() -> set[str]:
    """The names of all that ops.py offers: its Ops, whatever their names, and its public functions."""
    return {
        name
        for name, value in vars(ops).items()
        if isinstance(value, Op)
        or (isinstance(value, FunctionType) and value.__module__ == ops.__name__ and not name.startswith("_"))
    }
