"""The table of operations: every one of ops.py and images.py, what it should compute in NumPy, and cases.

What it should compute is written differently here. A case is a call. Its float64 arrays are what is differentiated;
numbers, masks, shapes and settings are passed on as they are. Entries keep clear of kinks and ties; those have tests of
their own.
"""
# ruff: noqa: RUF005  (a long list is easier to read as a sum of rows)

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinyadv import images, ops
from tinyadv.tensor import Op

MODULES = (ops, images)

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


def rust_expected(x, W, b):
    z = np.einsum("nd,fud->fnu", x, W)
    f = np.sqrt(np.maximum(z[0] + b, 0) ** 2 + z[1] ** 2 + z[2] ** 2)
    g = np.sqrt(z[3] ** 2 + z[4] ** 2)
    return (f - g) / (1 + f + g)


def rust_squared_expected(x, W, b, excitatory):
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


def windows_of(x, size, stride, padding, fill, ceil=False):
    """Yields (p, q, window `(K, J, N, C)`) of images `(H, W, N, C)` with a border of `fill`."""
    (K, J), (H, W) = size, x.shape[:2]
    x = np.pad(x, [(padding, padding)] * 2 + [(0, 0)] * 2, constant_values=fill)
    P, Q = ((n + 2 * padding - k + (stride - 1 if ceil else 0)) // stride + 1 for n, k in ((H, K), (W, J)))
    P, Q = (count - (ceil and (count - 1) * stride >= n + padding) for count, n in ((P, H), (Q, W)))
    for p in range(P):
        for q in range(Q):
            yield p, q, x[p * stride : p * stride + K, q * stride : q * stride + J]


def conv2d_expected(x, w, stride=1, padding=0):
    found = {(p, q): np.einsum("ijnc,ijco->no", v, w) for p, q, v in windows_of(x, w.shape[:2], stride, padding, 0.0)}
    P, Q = max(found)
    return np.array([[found[p, q] for q in range(Q + 1)] for p in range(P + 1)])


def pool_expected(reduction, fill):
    def pool(x, size, stride, padding=0):
        found = {
            (p, q): reduction(v, axis=(0, 1)) for p, q, v in windows_of(x, (size, size), stride, padding, fill, True)
        }
        P, Q = max(found)
        return np.array([[found[p, q] for q in range(Q + 1)] for p in range(P + 1)])

    return pool


def partial_derivative(in_argument):
    """The derivative of <conv2d(x, w), g> with respect to x or w, by its definition: conv2d is linear in each."""

    def derivative(a, b, shape, stride, padding):
        (g, w), x = ((a, b), None) if in_argument == "x" else ((b, None), a)
        found = np.zeros(shape)
        for i in np.ndindex(shape):
            one = np.zeros(shape)
            one[i] = 1.0
            found[i] = (conv2d_expected(one if x is None else x, one if w is None else w, stride, padding) * g).sum()
        return found

    return derivative


def winners_expected(x, size, stride, padding):
    """(window, entry) for each window along the middle axis of x `(A, n, B)`, and its winner: an array of indices."""
    A, n, B = x.shape
    count = -(-(n + 2 * padding - size) // stride) + 1
    count -= (count - 1) * stride >= n + padding
    return np.array(
        [
            [[max(range(max(0, o * stride - padding), min(n, o * stride - padding + size)), key=lambda i: x[a, i, b])
              for b in range(B)] for o in range(count)]
            for a in range(A)
        ]
    )  # fmt: skip


def to_winners_expected(g, x, y, size, stride, padding):
    d = np.zeros(x.shape)
    for (a, o, b), i in np.ndenumerate(winners_expected(x, size, stride, padding)):
        d[a, i, b] += g[a, o, b]
    return d


def lrn_expected(x, size=5, alpha=1e-4, beta=0.75, k=1.0):
    squares = np.pad(x**2, [(0, 0)] * 3 + [(size // 2, size // 2)])
    total = sum(squares[..., i : i + x.shape[3]] for i in range(size))
    return x / (k + alpha / size * total) ** beta


def settings_of(**settings):
    return settings


CONVOLUTIONS = [
    ((5, 4, 2, 3), (3, 2, 3, 2), settings_of(stride=1, padding=0)),
    ((4, 5, 3, 2), (2, 3, 2, 3), settings_of(stride=2, padding=1)),
    ((3, 3, 2, 2), (2, 2, 2, 2), settings_of(stride=1, padding=2)),
    ((4, 4, 1, 2), (3, 3, 2, 1), settings_of(stride=3, padding=1)),
    ((1, 1, 1, 1), (1, 1, 1, 1), settings_of(stride=1, padding=0)),
    ((3, 3, 2, 2), (3, 3, 2, 2), settings_of(stride=1, padding=1)),  # all of one shape: only values tell them apart
    ((3, 4, 2, 2), (1, 1, 2, 3), settings_of(stride=2, padding=0)),  # a pixel at a time, but not of every place
    ((2, 3, 1, 2), (1, 1, 2, 3), settings_of(stride=1, padding=1)),
]
POOLS = [(5, (3, 2)), (6, (2, 2)), (4, (3, 1, 1)), (7, (4, 2)), (5, (2, 3, 1)), (2, (1, 1))]


def output_size(n, k, stride, padding):
    return (n + 2 * padding - k) // stride + 1


def outputs_like(x, w, stride, padding):
    return normal(*(output_size(n, k, stride, padding) for n, k in zip(x[:2], w[:2], strict=True)), x[2], w[3])


def constants(x, size, stride, padding):
    """x and its maxima, as float32: handed on as they are, not differentiated."""
    x = x.astype("float32")
    return x, np.take_along_axis(x, winners_expected(x, size, stride, padding), axis=1)


LINES = [((1, 5, 2), (3, 2, 0)), ((2, 6, 1), (3, 1, 1)), ((2, 7, 2), (4, 2, 0)), ((1, 5, 3), (2, 3, 1))]

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
        [call(normal(4, 3), normal(5, 2, 3), normal(2)), call(normal(3, 2), normal(5, 1, 2), normal(1))]
        + [call(normal(1, 1), normal(5, 1, 1), normal(1))],
    ),
    "rust_squared": (
        rust_squared_expected,
        [call(normal(4, 3), normal(4, 2, 3), normal(8), 2), call(normal(3, 2), normal(3, 1, 2), normal(3, 1), 1)]
        + [call(normal(2, 3), normal(5, 2, 3), normal(10), 4), call(normal(1, 1), normal(2, 1, 1), normal(2), 1)],
    ),
    "dropout": (
        np.multiply,
        [call(normal(3, 4), np.array([2.0, 0.0, 0.0, 2.0])), call(normal(3, 4), mask(3, 4) * 2.0)],
    ),
    "from_rows": (
        lambda x, shape: np.moveaxis(x.reshape(-1, *shape), (0, 1), (2, 3)),
        [call(normal(2, 12), (3, 2, 2)), call(normal(3, 6), (1, 3, 2)), call(normal(1, 1), (1, 1, 1))],
    ),
    "to_rows": (
        lambda x: np.stack([[x[p, q, n, c] for c in range(x.shape[3]) for p in range(len(x)) for q in range(x.shape[1])]
                            for n in range(x.shape[2])]),
        [call(normal(2, 3, 2, 2)), call(normal(1, 1, 3, 1))],
    ),
    "conv2d": (conv2d_expected, [call(normal(*x), normal(*w), **s) for x, w, s in CONVOLUTIONS]),
    "_correlate": (conv2d_expected, [call(normal(*x), normal(*w), **s) for x, w, s in CONVOLUTIONS]),
    "_correlate_to_x": (
        partial_derivative("x"),
        [call(outputs_like(x, w, **s), normal(*w), x, **s) for x, w, s in CONVOLUTIONS],
    ),
    "_correlate_to_w": (
        partial_derivative("w"),
        [call(normal(*x), outputs_like(x, w, **s), w, **s) for x, w, s in CONVOLUTIONS],
    ),
    "max_pool": (pool_expected(np.max, -np.inf), [call(apart(n, n + 1, 2, 2), *p) for n, p in POOLS]),
    "mean_pool": (pool_expected(np.nanmean, np.nan), [call(normal(n, n + 1, 2, 2), *p) for n, p in POOLS]),
    "_window_max": (
        lambda x, *where: np.take_along_axis(x, winners_expected(x, *where), axis=1),
        [call(apart(*shape), *where) for shape, where in LINES],
    ),
    "_to_winners": (
        to_winners_expected,
        [call(np.float64(1) * normal(*y.shape), x, y, *where)
         for where, (x, y) in [(where, constants(apart(*shape), *where)) for shape, where in LINES]],
    ),
    "_of_winners": (
        lambda d, x, y, *where: np.take_along_axis(d, winners_expected(x, *where), axis=1),
        [call(normal(*shape), *constants(apart(*shape), *where), *where) for shape, where in LINES],
    ),
    "local_response_normalisation": (
        lrn_expected,
        [call(normal(2, 2, 1, 6)), call(normal(1, 2, 2, 3), size=3, alpha=2.0, beta=0.5, k=2.0)]
        + [call(normal(1, 1, 2, 1), size=1, alpha=1.0)],
    ),
}  # fmt: skip


def function_of(name: str) -> Callable[..., Any]:
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


CASES = [
    Case(name, function_of(name), expected, args, settings)
    for name, (expected, calls) in TABLE.items()
    for args, settings in calls
]


def each(test: Callable[..., None], skipped: Callable[[Case], bool] = lambda case: False) -> Any:
    """Mark a test of a `case`: one test for each operation, which runs on all its cases; a failure names the case."""
    chosen = {name: [c for c in CASES if c.name == name and not skipped(c)] for name in TABLE}

    @wraps(test)
    def on_every_case(operation: str, **others: Any) -> None:
        for case in chosen[operation]:
            try:
                test(case=case, **others)
            except Exception as error:
                error.add_note(f"the case: {case}")
                raise

    wanted = ["operation", *(name for name in inspect.signature(test).parameters if name != "case")]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    on_every_case.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in wanted])
    return pytest.mark.parametrize("operation", [name for name, some in chosen.items() if some])(on_every_case)


def operations() -> set[str]:
    """The names of all that ops.py and images.py offer: their Ops, whatever their names, and public functions."""
    return set(all_ops()) | {
        name
        for module in MODULES
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def all_ops() -> dict[str, Op]:
    """Every Op of ops.py and images.py by its name."""
    return {name: op for module in MODULES for name, op in vars(module).items() if isinstance(op, Op)}
