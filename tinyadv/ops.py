"""Every differentiable operation: its forward on arrays and, right under it, one gradient formula per argument.

A formula takes g = dL/dy, the result y and the arguments, and gives dL/darg; it is written in operators, array
methods and other operations of this file, so the same line serves arrays (first derivatives, at full speed) and
Tensors (derivatives that can be differentiated again). A reader may skip "Shapes" and come back when needed; the
file's heart is "Losses on logits" and "Layers".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, reduce
from typing import Any

from .backend import Array, array_module, full_like, on_gpu
from .tensor import Alike, Op, Value, raw

Axis = int | tuple[int, ...] | None


# ---------------------------------------------------------------------------------------------------------
# Arithmetic, with NumPy's broadcasting: each argument's gradient is summed back to the argument's shape


@Op
def add(a: Array, b: Array) -> Array:
    """y = a + b, shapes broadcast to `(...)`."""
    return a + b


add.gradients(
    lambda g, y, a, b: sum_to(g, a.shape),
    lambda g, y, a, b: sum_to(g, b.shape),
)


@Op
def subtract(a: Array, b: Array) -> Array:
    """y = a - b, shapes broadcast to `(...)`."""
    return a - b


subtract.gradients(
    lambda g, y, a, b: sum_to(g, a.shape),
    lambda g, y, a, b: sum_to(-g, b.shape),
)


@Op
def multiply(a: Array, b: Array) -> Array:
    """y = a b elementwise, shapes broadcast to `(...)`."""
    return a * b


multiply.gradients(
    lambda g, y, a, b: sum_to(g * b, a.shape),
    lambda g, y, a, b: sum_to(g * a, b.shape),
)


@Op
def divide(a: Array, b: Array) -> Array:
    """y = a / b elementwise, shapes broadcast to `(...)`."""
    return a / b


divide.gradients(
    lambda g, y, a, b: sum_to(g / b, a.shape),
    lambda g, y, a, b: sum_to(-g * y / b, b.shape),
)


@Op
def power(a: Array, b: Array) -> Array:
    """y = a ** b elementwise, shapes broadcast to `(...)`; where the exponent is differentiated, a >= 0."""
    return a**b


power.gradients(
    # d/da a^b = b a^(b-1), which is 0 where b = 0, also at a = 0
    lambda g, y, a, b: sum_to(g * b * a ** _less_one(b, a), a.shape),
    # d/db a^b = a^b log a, which tends to 0 with a
    lambda g, y, a, b: sum_to(g * y * _log_or_zero(a), b.shape),
)


def _less_one(b: Value, a: Value) -> Alike:
    """b - 1, and 0 where a = b = 0: b a^(b-1) shall be 0 there, not 0 times infinity."""
    if isinstance(b, (int, float)):
        return b - 1 if b else 0
    return where((raw(b) == 0) & (raw(a) == 0), 0.0, b - 1.0)


def _log_or_zero(a: Value) -> Alike:
    """log a, and 0 where a = 0; a number stays a number, so that it leaves float32 as it is."""
    if isinstance(a, (int, float)):
        return math.log(a) if a else 0.0
    return log(where(raw(a) == 0, 1.0, a))


@Op
def negative(a: Array) -> Array:
    """y = -a."""
    return -a


negative.gradients(lambda g, y, a: -g)


def matmul(a: Value, b: Value) -> Alike:
    """y = a @ b for shapes `(..., n, k)` and `(..., k, m)`, leading axes broadcast; a vector is `(k,)`."""
    if a.ndim == 1:
        if b.ndim > 1:
            return matmul(reshape(a, (1, -1)), b)[..., 0, :]
        if a.shape != b.shape:
            raise ValueError(f"a product of vectors wants two of one length, got shapes {a.shape} and {b.shape}")
        return reduce_sum(a * b)
    if b.ndim == 1:
        return _matmul(a, reshape(b, (-1, 1)))[..., 0]
    return _matmul(a, b)


@Op
def _matmul(a: Array, b: Array) -> Array:
    return a @ b


_matmul.gradients(
    lambda g, y, a, b: sum_to(g @ swap_last(b), a.shape),
    lambda g, y, a, b: sum_to(_in_order_of(b, swap_last(a), g), b.shape),
)


def _in_order_of(b: Value, left: Value, right: Value) -> Alike:
    """left @ right, in memory in the order of b: for weights used as W and as W^T, sums of the two would be slow."""
    transposed = raw(b).flags.f_contiguous and not raw(b).flags.c_contiguous
    return swap_last(swap_last(right) @ swap_last(left)) if transposed else left @ right


# ---------------------------------------------------------------------------------------------------------
# Shapes


@Op
def reshape(x: Array, shape: int | tuple[int, ...]) -> Array:
    """The entries of x, shape `(...)`, in `shape`; one of its lengths may be -1."""
    return x.reshape(shape)


reshape.gradients(lambda g, y, x, shape: g.reshape(x.shape))


@Op
def transpose(x: Array, axes: tuple[int, ...] | None = None) -> Array:
    """x with its axes in the order `axes`; by default reversed."""
    return x.transpose(axes)


transpose.gradients(
    lambda g, y, x, axes=None: transpose(
        g, None if axes is None else tuple(sorted(range(x.ndim), key=[a % x.ndim for a in axes].__getitem__))
    )
)


def swap_last(x: Value) -> Alike:
    """x, shape `(..., n, m)`, with its last two axes exchanged."""
    return transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@Op
def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """x repeated to `shape`."""
    y = array_module(x).empty(shape, dtype=x.dtype)  # whole: what comes after is slower on a view that repeats
    y[...] = x
    return y


broadcast_to.gradients(lambda g, y, x, shape: sum_to(g, x.shape))


def sum_to(x: Value, shape: tuple[int, ...]) -> Alike:
    """x summed over the axes along which `shape` would be broadcast to get x's shape: broadcasting, undone."""
    if x.shape == shape:
        return x
    new = x.ndim - len(shape)
    repeated = tuple(i for i in range(x.ndim) if i < new or (shape[i - new] == 1 and x.shape[i] != 1))
    return reshape(reduce_sum(x, repeated), shape)


@Op
def take(x: Array, key: Any) -> Array:
    """x[key] for a key of integers, slices, None and Ellipsis, which takes no entry twice.

    Raises
    ------
    TypeError
        If the key holds an array or a list: picking entries by arrays may take one twice.
    """
    for k in key if isinstance(key, tuple) else (key,):
        if not (k is None or k is Ellipsis or isinstance(k, slice) or _is_integer(k)):
            raise TypeError(f"a Tensor is indexed by integers, slices, None and Ellipsis, got {type(k).__name__}")
    return x[key]


def _is_integer(k: Any) -> bool:
    """Whether k is one integer, of Python or of NumPy; True and False are not."""
    return hasattr(k, "__index__") and getattr(k, "ndim", 0) == 0 and not isinstance(k, bool)


take.gradients(lambda g, y, x, key: put(g, x.shape, key))


@Op
def put(g: Array, shape: tuple[int, ...], key: Any) -> Array:
    """Zeros of `shape` with g at `key`: what `take` takes, put back."""
    x = array_module(g).zeros(shape, dtype=g.dtype)
    x[key] = g
    return x


put.gradients(lambda gg, x, g, shape, key: take(gg, key))


def concatenate(xs: Sequence[Value], axis: int = 0) -> Alike:
    """The xs, alike but for their lengths along `axis`, one after another."""
    return reduce(lambda a, b: _join(a, b, axis), xs)


@Op
def _join(a: Array, b: Array, axis: int) -> Array:
    return array_module(a).concatenate((a, b), axis)


def _part(x: Value, axis: int, start: int | None, stop: int | None) -> Alike:
    return take(x, (*[slice(None)] * (axis % x.ndim), slice(start, stop)))


_join.gradients(
    lambda g, y, a, b, axis: _part(g, axis, None, a.shape[axis]),
    lambda g, y, a, b, axis: _part(g, axis, a.shape[axis], None),
)


@Op
def where(mask: Array, a: Array, b: Array) -> Array:
    """y = a where the mask is true, else b; shapes broadcast to `(...)`. The mask is a plain array of truth values.

    Raises
    ------
    TypeError
        If the mask holds anything but truth values.
    """
    if getattr(mask, "dtype", None) != "bool":
        raise TypeError(f"where wants a mask of truth values, got {getattr(mask, 'dtype', type(mask).__name__)}")
    return array_module(mask).where(mask, a, b)


where.gradients(
    None,
    lambda g, y, mask, a, b: sum_to(g * mask, a.shape),
    lambda g, y, mask, a, b: sum_to(g * ~mask, b.shape),
)


# ---------------------------------------------------------------------------------------------------------
# Sums and maxima along axes


@Op
def reduce_sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum over `axis` (all by default)."""
    return x.sum(axis=axis, keepdims=keepdims)


reduce_sum.gradients(lambda g, y, x, axis=None, keepdims=False: broadcast_to(_with_kept(g, x, axis), x.shape))


def _with_kept(g: Value, x: Value, axis: Axis) -> Alike:
    """g of a reduction of x with the reduced axes at length 1, so that it broadcasts to x."""
    return g if axis is None else reshape(g, _kept(x.shape, axis))  # a single number broadcasts as it is


@Op
def reduce_mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean over `axis` (all by default); of nothing it is NaN, with NumPy's warning."""
    if not x.size:
        return x.mean(axis=axis, keepdims=keepdims)
    total = x.sum(axis=axis, keepdims=keepdims)  # `x.mean` takes twice the time for short axes
    return total * (total.size / x.size)


reduce_mean.gradients(
    lambda g, y, x, axis=None, keepdims=False: broadcast_to(_with_kept(g * (y.size / max(x.size, 1)), x, axis), x.shape)
)


@Op
def reduce_max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The maximum over `axis` (all by default). Its gradient goes to one winner: of several equal, the first in x."""
    return x.max(axis=axis, keepdims=keepdims)


reduce_max.gradients(
    lambda g, y, x, axis=None, keepdims=False: reshape(g, _kept(x.shape, axis)) * _winners(raw(x), raw(y), axis)
)


def _winners(x: Array, y: Array, axis: Axis) -> Array:
    """Where x is the maximum y over `axis`, as truth values; of several equal along it, the first alone."""
    kept_shape = _kept(x.shape, axis)
    mask = x == y.reshape(kept_shape)
    if on_gpu(x) and isinstance(axis, int):  # without waiting to hear whether there are ties
        places = array_module(x).arange(x.shape[axis]).reshape([-1, *[1] * (x.ndim - 1 - axis % x.ndim)])
        return mask & (places == x.argmax(axis=axis).reshape(kept_shape))
    if array_module(mask).count_nonzero(mask) > y.size:  # ties are rare: only then is each looked for
        axes = _axes(x.ndim, axis)
        kept = tuple(i for i in range(x.ndim) if i not in axes)
        rows = mask.transpose(kept + axes).reshape(y.size, -1)  # the candidates for one maximum, a row each
        first = (rows.cumsum(axis=1) == 1) & rows
        lengths = [x.shape[i] for i in kept + axes]
        mask = first.reshape(lengths).transpose(tuple((kept + axes).index(i) for i in range(x.ndim)))
    return mask


def _axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """The axes that `axis` names, in their order in the array."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))))


@cache
def _kept(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The shape of a reduction that keeps the reduced axes, at length 1."""
    reduced = _axes(len(shape), axis)
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


# ---------------------------------------------------------------------------------------------------------
# Functions of each entry


@Op
def exp(x: Array) -> Array:
    """y = e^x."""
    return array_module(x).exp(x)


exp.gradients(lambda g, y, x: g * y)


@Op
def log(x: Array) -> Array:
    """y = log x, natural."""
    return array_module(x).log(x)


log.gradients(lambda g, y, x: g / x)


@Op
def sqrt(x: Array) -> Array:
    """y = x^(1/2)."""
    return array_module(x).sqrt(x)


sqrt.gradients(lambda g, y, x: g * 0.5 / y)


@Op
def absolute(x: Array) -> Array:
    """y = |x|; at 0 the slope is taken as 0."""
    return abs(x)


absolute.gradients(lambda g, y, x: g * sign(raw(x)))


@Op
def sign(x: Array) -> Array:
    """y = -1, 0 or 1; constant but for its jump at 0, where the slope is taken as 0 too."""
    return array_module(x).sign(x)


sign.gradients(lambda g, y, x: 0.0 * g)


@Op
def tanh(x: Array) -> Array:
    """y = tanh x."""
    return array_module(x).tanh(x)


tanh.gradients(lambda g, y, x: g * (1.0 - y * y))


@Op
def softplus(x: Array) -> Array:
    """y = log(1 + e^x), the zeta of section 5, for every x without overflow: as max(x, 0) + log(1 + e^-|x|)."""
    xp = array_module(x)
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-abs(x)))  # logaddexp would take ten times as long


softplus.gradients(lambda g, y, x: g * sigmoid(x))


@Op
def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + e^-x), to full relative precision also where it is tiny: as e^x / (1 + e^x) for x < 0."""
    xp = array_module(x)
    e = xp.exp(-abs(x))
    return xp.maximum(e, x >= 0) / (1.0 + e)  # where() would be slower than the exp


sigmoid.gradients(lambda g, y, x: g * y * sigmoid(-x))


@Op
def log1mexp(x: Array) -> Array:
    """y = log(1 - e^x) for x <= 0, to full relative precision: the log of what a probability e^x leaves over."""
    xp = array_module(x)
    return xp.where(x > -0.7, xp.log(-xp.expm1(x)), xp.log1p(-xp.exp(xp.minimum(x, -0.7))))


log1mexp.gradients(lambda g, y, x: -g * exp(x - y))


@Op
def relu(x: Array) -> Array:
    """y = max(x, 0); at 0 the slope is taken as 0."""
    return array_module(x).maximum(x, 0.0)


relu.gradients(lambda g, y, x: g * (raw(x) > 0))


@Op
def clip(x: Array, low: float, high: float) -> Array:
    """y = x kept within [low, high]; at the bounds the slope is taken as 1. For one bound alone, the other is ±inf."""
    if low is None or high is None:
        raise TypeError(f"clip takes two numbers, -inf or inf where there is no bound; got {low} and {high}")
    return x.clip(low, high)


clip.gradients(lambda g, y, x, low, high: g * ((raw(x) >= low) & (raw(x) <= high)))


# ---------------------------------------------------------------------------------------------------------
# Losses on logits: z (N, K) are unnormalised log-probabilities, each row an example


@Op
def log_softmax(z: Array) -> Array:
    """y = log softmax(z) over the last axis, shape `(..., K)`; shifted by the maximum so that nothing overflows."""
    xp, z = array_module(z), _not_below_all(z - z.max(axis=-1, keepdims=True))
    return z - xp.log(xp.exp(z).sum(axis=-1, keepdims=True))


def _not_below_all(log_p: Array) -> Array:
    """log p, at least the lowest number that there is: times a target of 0, minus infinity would be no number."""
    xp = array_module(log_p)
    return xp.maximum(log_p, xp.finfo(log_p.dtype).min)  # of its dtype: as a float it would turn CuPy 13 to float64


log_softmax.gradients(lambda g, y, z: g - softmax(z) * g.sum(axis=-1, keepdims=True))


@Op
def softmax(z: Array) -> Array:
    """p = e^z / sum e^z over the last axis, shape `(..., K)`."""
    p = array_module(z).exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


softmax.gradients(lambda g, p, z: p * (g - (g * p).sum(axis=-1, keepdims=True)))


@Op
def softmax_cross_entropy(z: Array, t: Array) -> Array:
    """J_n = -sum_k t_nk log softmax(z)_nk, for logits z `(N, K)` and targets t `(N, K)` (rows sum to 1) -> `(N,)`.

    ValueError for other shapes: labels become targets in `losses`.
    """
    _check_alike(z, t)
    if z.ndim != 2:
        raise ValueError(f"logits are of shape (N, K), got {z.shape}: reshape them, and the targets")
    return -(t * log_softmax.forward(z)).sum(axis=-1)


softmax_cross_entropy.gradients(
    # dJ/dz_k = p_k - t_k
    lambda g, y, z, t: g.reshape(-1, 1) * _difference(softmax(z), t),
    lambda g, y, z, t: g.reshape(-1, 1) * -log_softmax(z),
)


def _check_alike(z: Array, t: Array) -> None:
    """ValueError for targets of another shape: labels, say, which would be broadcast to a plausible number."""
    if z.shape != t.shape:
        raise ValueError(f"logits and targets are of one shape, got {z.shape} and {t.shape}: labels go into losses")


def _difference(p: Value, t: Value) -> Alike:
    """p sum(t) - t for each row: p - t, without the cancellation that makes it 0 where the network is sure of t.

    The rows of p sum to 1, so those of the difference sum to 0: an entry is minus the sum of the others. Where p is
    near 1 it is computed so, from the others, which are small and have their full relative precision.
    """
    sure = raw(p) > 0.75  # one entry of a row at most
    others = (p * t.sum(axis=-1, keepdims=True) - t) * ~sure
    return others - others.sum(axis=-1, keepdims=True) * sure


@Op
def binary_cross_entropy(z: Array, t: Array) -> Array:
    """J = -t log sigmoid(z) - (1 - t) log(1 - sigmoid(z)) of each entry, logits z and targets t.

    ValueError unless these have the same shape, `(...)`, which is also that of J.
    """
    _check_alike(z, t)
    return t * softplus.forward(-z) + (1.0 - t) * softplus.forward(z)


binary_cross_entropy.gradients(
    # dJ/dz = sigmoid(z) - t, without its cancellation
    lambda g, y, z, t: g * ((1.0 - t) * sigmoid(z) - t * sigmoid(-z)),
    lambda g, y, z, t: -g * z,
)


# ---------------------------------------------------------------------------------------------------------
# Layers: what a layer computes with its parameters; a row of x `(N, D)` is an example


@Op
def linear(x: Array, W: Array, b: Array) -> Array:
    """y = x W^T + b: x `(N, D)`, W `(..., D)` with a unit's weights along its last axis, b one a unit -> `(N, ...)`."""
    y = (_matrix(W) @ x.T).T  # a unit's outputs lie side by side in memory, so the pieces of a maxout layer are planes
    y += b.reshape(-1)
    return y.reshape(len(x), *W.shape[:-1])


linear.gradients(
    # g W, in the memory order of x
    lambda g, y, x, W, b: _flat(g) @ _matrix(W) if raw(x).flags.c_contiguous else (_matrix(W).T @ _flat(g).T).T,
    lambda g, y, x, W, b: (_flat(g).T @ x).reshape(W.shape),
    lambda g, y, x, W, b: _column_sums(_flat(g)).reshape(b.shape),
)


def _matrix(W: Value) -> Alike:
    """W `(..., D)` as `(K, D)`, a unit's weights in a row."""
    return W.reshape(math.prod(W.shape[:-1]), W.shape[-1])


def _flat(g: Value) -> Alike:
    """g `(N, ...)` as `(N, K)`."""
    return g.reshape(len(g), math.prod(g.shape[1:]))


def _column_sums(g: Value) -> Alike:
    """sum_n g_nk of g `(N, K)`, as a product: in memory an activation's rows are short, and sums along them slow."""
    return array_module(raw(g)).ones(len(g), dtype=g.dtype) @ g


def maxout(x: Value, W: Value, b: Value) -> Alike:
    """h_nu = max_p (x_n . W_pu + b_pu), the maximum of linear pieces (Goodfellow et al. 2013, "Maxout networks").

    x `(N, D)`, W `(pieces, units, D)`, b `(pieces, units)`, flat or not -> h `(N, units)`. The gradient goes to one
    piece: of several equal, the first.
    """
    return reduce_max(linear(x, W, b), 1)  # one product for all pieces


@Op
def rbf(x: Array, mu: Array, beta: Array) -> Array:
    """log p_nk = -(x_n - mu_k)^T beta_k (x_n - mu_k), the RBF unit of section 7 on the log scale.

    x `(N, D)`, mu `(K, D)`, beta `(K, D)`, the diagonal, or `(K, D, D)` -> log p `(N, K)`. (In print the exponent lacks
    its minus sign; on the log scale nothing underflows.)
    """
    d = x - mu[:, None, :]
    return _not_below_all(-(_times(d, beta) * d).sum(axis=-1).T)


def _times(d: Value, beta: Value) -> Alike:
    """The rows of d `(K, N, D)`, each times its class's beta."""
    return d * beta[:, None, :] if beta.ndim == 2 else d @ beta


def _pull(g: Value, x: Value, mu: Value, beta: Value) -> Alike:
    """dL/dx through each unit, `(K, N, D)`: -g (beta + beta^T) (x - mu)."""
    d = x - mu[:, None, :]
    both = beta * 2.0 if beta.ndim == 2 else beta + swap_last(beta)
    return -(g.T[:, :, None] * _times(d, both))


rbf.gradients(
    lambda g, y, x, mu, beta: _pull(g, x, mu, beta).sum(axis=0),
    lambda g, y, x, mu, beta: -_pull(g, x, mu, beta).sum(axis=1),
    lambda g, y, x, mu, beta: _spread(g, x - mu[:, None, :], beta.ndim),
)


def _spread(g: Value, d: Value, ndim: int) -> Alike:
    """dL/dbeta: -sum_n g_nk d_kn d_kn^T, or its diagonal."""
    gd = g.T[:, :, None] * d
    return -(gd * d).sum(axis=1) if ndim == 2 else -(swap_last(gd) @ d)


def rust(x: Value, W: Value, b: Value) -> Alike:
    """h = (f - g) / (1 + f + g), within (-1, 1): a unit that five filters excite and suppress.

    A sentence commented out in the LaTeX source of the paper's third version on arXiv describes this unit, after
    Rust, Schwartz, Movshon and Simoncelli (2005), with f = sqrt(max(0, w . x + b)^2 + ||U x||^2) and g = ||V x||; U
    and V have two rows each. It prints 1 + f - g below the bar, which can be 0: taken for a slip.

    x `(N, D)`, W `(5, units, D)`: w, the rows of U, the rows of V; b `(units,)` -> h `(N, units)`. The gradient of a
    root at 0 is 0: black images, and units whose inputs were all dropped, train nothing.

    Raises
    ------
    ValueError
        If there are not five filters.
    """
    if W.shape[0] != 5:
        raise ValueError(f"a Rust unit has five filters, W of shape (5, units, D); got W of shape {W.shape}")
    z = linear(x, W, full_like(raw(W)[:, :, 0], 0.0).reshape(-1))  # `(N, 5, units)`
    w = relu(z[:, 0] + b)
    f, g = _length([w, z[:, 1], z[:, 2]]), _length([z[:, 3], z[:, 4]])
    return (f - g) / (1.0 + f + g)


def _length(parts: Sequence[Value]) -> Alike:
    """sqrt(a^2 + b^2 + ...), entry by entry; where all are 0 its gradient is 0.

    Computed as s sqrt((a / s)^2 + ...), which nothing overflows or underflows; s, the largest of them, may be a
    constant to the derivatives, because the length is the same whatever s.
    """
    xp = array_module(raw(parts[0]))
    largest = abs(raw(parts[0]))
    for part in parts[1:]:
        largest = xp.maximum(largest, abs(raw(part)))
    is_long = largest > 0
    s = xp.where(is_long, largest, xp.ones_like(largest))
    squares = [(part / s) * (part / s) for part in parts]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return where(is_long, s * sqrt(where(is_long, total, xp.ones_like(s))), 0.0)


def rust_squared(x: Value, W: Value, b: Value, excitatory: int) -> Alike:
    """h = (E - S) / (1 + E + S), within (-1, 1): a unit of squared filters that excite, and others that suppress.

    After the model of V1 cells of Rust, Schwartz, Movshon, Simoncelli (2005), "Spatiotemporal elements of macaque V1
    receptive fields", Neuron 46: their response is alpha + (beta E^rho - delta S^rho) / (gamma E^rho + epsilon S^rho
    + 1) of pooled squared outputs of filters, those of excitatory ones in E, the first of them half-squared, and those
    of suppressive ones in S. This definition is ours: all constants are 1, but alpha is 0. It has squares where
    `rust`, the unit of the paper's draft, has their roots.

    x `(N, D)`, W `(filters, units, D)`, b `(filters * units,)` -> h `(N, units)`. With z_f = x . W_f + b_f,
    E = max(z_1, 0)^2 + z_2^2 + ... over the first `excitatory` filters and S = z^2 + ... over the others.
    """
    z = linear(x, W, b)  # `(N, filters, units)`
    s = _scale(raw(z))  # h is the same whatever s, which may be a constant to the derivatives
    z = z / s
    first, rest, suppressive = relu(z[:, 0]), z[:, 1:excitatory], z[:, excitatory:]
    E = first * first + reduce_sum(rest * rest, 1)
    S = reduce_sum(suppressive * suppressive, 1)
    return (E - S) / (s[:, 0] ** -2 + E + S)


def _scale(z: Array) -> Array:
    """The largest |z_f| of each unit, `(N, 1, units)`, where squares of such numbers would overflow; elsewhere 1."""
    xp = array_module(z)
    largest = abs(z).max(axis=1, keepdims=True)
    return xp.where(largest > float(xp.finfo(z.dtype).max) ** 0.25, largest, xp.ones_like(largest))


def dropout(x: Value, mask: Array) -> Alike:
    """y = x * mask: x `(N, D)`; the mask, 0 where a unit is dropped, is constant (see `backend.keep_mask`)."""
    return x * mask
