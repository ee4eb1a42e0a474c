"""Other people's code as judges: PyTorch's gradients, SciPy's functions at extreme values, SciPy's check_grad.

PyTorch and the table of cases share nothing but NumPy arrays; both orders are compared, operation by operation and on
whole networks. The end of the file is about digits: what float32 keeps where a network is saturated.
"""

import math
from dataclasses import replace
from functools import partial

import cases
import numpy as np
import pytest

from tinyadv import ops
from tinyadv.backend import to_device
from tinyadv.tensor import Tensor, grad

scipy_special = pytest.importorskip("scipy.special", reason="SciPy is not installed: an oracle less")
scipy_optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed: an oracle less")


def in_torch(torch):
    """Each operation in PyTorch's own words."""
    F = torch.nn.functional

    def axes(axis):
        return {} if axis is None else {"dim": axis}

    def number(a):
        return a if torch.is_tensor(a) else torch.tensor(a, dtype=torch.float64)

    def put(g, shape, key):
        x = torch.zeros(shape, dtype=g.dtype)
        x[key] = g
        return x

    def rbf(x, mu, beta):
        d = x[:, None] - mu
        return -((d * d * beta).sum(-1) if beta.ndim == 2 else torch.einsum("nki,kij,nkj->nk", d, beta, d))

    def rust(x, W, b):
        z = torch.einsum("nd,fud->fnu", x, W)
        f = (F.relu(z[0] + b).pow(2) + z[1].pow(2) + z[2].pow(2)).sqrt()
        g = (z[3].pow(2) + z[4].pow(2)).sqrt()
        return (f - g) / (1 + f + g)

    def rust_squared(x, W, b, excitatory):
        first, *others = torch.einsum("nd,fud->fnu", x, W) + b.reshape(W.shape[0], 1, W.shape[1])
        E, S = [F.relu(first), *others[: excitatory - 1]], others[excitatory - 1 :]
        E, S = (sum(z.pow(2) for z in part) for part in (E, S))
        return (E - S) / (1 + E + S)

    def sum_of(x, axis=None, keepdims=False):
        return x.sum(dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims)

    def max_of(x, axis=None, keepdims=False):
        return x.amax(dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims)

    def outside(x):
        """Images `(H, W, N, C)` as PyTorch has them, `(N, C, H, W)`."""
        return x.permute(2, 3, 0, 1)

    def inside(x):
        return x.permute(2, 3, 0, 1)

    def conv2d(x, w, stride=1, padding=0):
        return inside(F.conv2d(outside(x), w.permute(3, 2, 0, 1), stride=stride, padding=padding))

    def conv2d_to_x(g, w, shape, stride, padding):
        H, W, N, C = shape
        d = torch.nn.grad.conv2d_input((N, C, H, W), w.permute(3, 2, 0, 1), outside(g), stride, padding)
        return inside(d)

    def conv2d_to_w(x, g, shape, stride, padding):
        K, J, C, maps = shape
        d = torch.nn.grad.conv2d_weight(outside(x), (maps, C, K, J), outside(g), stride, padding)
        return d.permute(2, 3, 1, 0)

    def max_pool(x, size, stride, padding=0):
        x = F.pad(outside(x), (padding,) * 4, value=-math.inf)  # its own padding is at most half the window
        H, W = x.shape[2:]
        y = F.max_pool2d(x, size, stride, ceil_mode=True)
        P, Q = ((n - size + stride - 1) // stride + 1 for n in (H, W))
        P, Q = (k - ((k - 1) * stride >= n - padding) for k, n in ((P, H), (Q, W)))
        return inside(y[:, :, :P, :Q])

    def mean_pool(x, size, stride, padding=0):
        return inside(F.avg_pool2d(outside(x), size, stride, padding, ceil_mode=True, count_include_pad=False))

    def line_max(x, size, stride, padding):
        return max_pool_indices(x, size, stride, padding)[0]

    def max_pool_indices(x, size, stride, padding):
        y, places = F.max_pool1d(x.permute(0, 2, 1), size, stride, padding, ceil_mode=True, return_indices=True)
        return y.permute(0, 2, 1), places.permute(0, 2, 1)

    def to_winners(g, x, y, *where):
        places = max_pool_indices(torch.tensor(x), *where)[1]
        return torch.zeros(x.shape, dtype=g.dtype).scatter_add(1, places, g)

    def of_winners(d, x, y, *where):
        return d.gather(1, max_pool_indices(torch.tensor(x), *where)[1])

    def lrn(x, size=5, alpha=1e-4, beta=0.75, k=1.0):
        return inside(F.local_response_norm(outside(x), size, alpha, beta, k))

    return {
        "from_rows": lambda x, shape: inside(x.reshape(-1, *shape)),
        "to_rows": lambda x: outside(x).reshape(x.shape[2], -1),
        "conv2d": conv2d,
        "_correlate": conv2d,
        "_correlate_to_x": conv2d_to_x,
        "_correlate_to_w": conv2d_to_w,
        "max_pool": max_pool,
        "mean_pool": mean_pool,
        "_window_max": line_max,
        "_to_winners": to_winners,
        "_of_winners": of_winners,
        "local_response_normalisation": lrn,
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "divide": lambda a, b: a / b,
        "power": lambda a, b: torch.pow(a, b),
        "negative": torch.neg,
        "matmul": torch.matmul,
        "_matmul": torch.matmul,
        "reshape": lambda x, shape: x.reshape(shape if isinstance(shape, tuple) else (shape,)),
        "transpose": lambda x, axes=None: x.permute(axes or tuple(reversed(range(x.ndim)))),
        "swap_last": lambda x: x.transpose(-1, -2),
        "broadcast_to": torch.broadcast_to,
        "sum_to": lambda x, shape: x.sum_to_size(shape),
        "put": put,
        "take": lambda x, key: x[key],
        "concatenate": lambda xs, axis=0: torch.cat(xs, axis),
        "_join": lambda a, b, axis: torch.cat([a, b], axis),
        "where": lambda mask, a, b: torch.where(torch.as_tensor(mask), number(a), number(b)),
        "reduce_sum": sum_of,
        "reduce_mean": lambda x, axis=None, keepdims=False: x.mean(
            dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims
        ),
        "reduce_max": max_of,
        "exp": torch.exp,
        "log": torch.log,
        "sqrt": torch.sqrt,
        "absolute": torch.abs,
        "sign": torch.sign,
        "tanh": torch.tanh,
        "softplus": lambda x: F.softplus(x, threshold=100),
        "sigmoid": torch.sigmoid,
        "relu": torch.relu,
        "clip": torch.clamp,
        "log1mexp": lambda x: torch.log(-torch.expm1(x)),
        "log_softmax": lambda z: torch.log_softmax(z, -1),
        "softmax": lambda z: torch.softmax(z, -1),
        "softmax_cross_entropy": lambda z, t: F.cross_entropy(z, t, reduction="none"),
        "binary_cross_entropy": lambda z, t: F.binary_cross_entropy_with_logits(z, t, reduction="none"),
        "linear": F.linear,
        "maxout": lambda x, W, b: (torch.einsum("nd,pud->npu", x, W) + b).amax(1),
        "rbf": rbf,
        "rust": rust,
        "rust_squared": rust_squared,
        "dropout": lambda x, mask: x * mask,
    }


def cotangents(ys, seed=0):
    r = np.random.default_rng(seed)
    return [r.normal(size=tuple(y.shape)) for y in ys]


def ours(f, xs):
    """Value, first gradients, and the gradients of those in every argument and the cotangent, as NumPy arrays."""
    xs = [Tensor(x) for x in xs]
    y = f(*xs)
    (g,) = map(Tensor, cotangents([y]))
    firsts = grad(y, xs, g, create_graph=True, allow_unused=True)
    total = [np.zeros(x.shape) for x in [*xs, g]]
    for d, v in zip(firsts, cotangents(firsts, 1), strict=True):
        total = [a + b for a, b in zip(total, grad(d, [*xs, g], v, allow_unused=True), strict=True)]
    return [y.data, *(d.data for d in firsts), *total]


def theirs(torch, f, xs):
    xs = [torch.tensor(x, requires_grad=True) for x in xs]
    y = f(*xs)
    g = torch.tensor(cotangents([y])[0], requires_grad=True)
    firsts = torch.autograd.grad(y, xs, g, create_graph=True, allow_unused=True, materialize_grads=True)
    total = sum((d * torch.tensor(v)).sum() for d, v in zip(firsts, cotangents(firsts, 1), strict=True))
    seconds = [torch.zeros_like(t) for t in (*xs, g)]
    if total.requires_grad:
        seconds = torch.autograd.grad(total, [*xs, g], allow_unused=True, materialize_grads=True)
    return [t.numpy(force=True) for t in (y, *firsts, *seconds)]


def assert_alike(torch, f, f_torch, xs):
    for a, b in zip(ours(f, xs), theirs(torch, f_torch, xs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_torch_has_every_operation(torch):
    assert set(in_torch(torch)) == cases.operations()


def is_beyond_torch(case):
    """Slices of negative step; and d^2/da db of a^b at b = 0, where PyTorch gives 0 and gradcheck sides with us."""
    keys = [k for a in case.args for k in (a if isinstance(a, tuple) else (a,))]
    negative = any(isinstance(k, slice) and (k.step or 1) < 0 for k in keys)
    return negative or (case.name == "power" and isinstance(keys[1], np.ndarray) and not np.all(keys[1]))


@partial(cases.each, skipped=is_beyond_torch)
def test_gradients_agree_with_torch(torch, case):
    f, xs = case.bind()
    assert_alike(torch, f, replace(case, function=in_torch(torch)[case.name]).bind()[0], xs)


# ---------------------------------------------------------------------------------------------------------
# Whole networks


def maxout_parameters(rng, D=5, units=4, pieces=3, K=3):
    shapes = [(pieces, units, D), (pieces, units), (pieces, units, units), (pieces, units), (K, units), (K,)]
    return [rng.normal(size=shape) for shape in shapes]


def maxout_logits(x, W1, b1, W2, b2, W3, b3):
    return ops.linear(ops.maxout(ops.maxout(x, W1, b1), W2, b2), W3, b3)


@pytest.fixture
def batch(rng):
    return rng.normal(size=(6, 5)), np.eye(3)[rng.integers(0, 3, size=6)]


NETWORKS = {
    "maxout, softmax cross-entropy": (
        lambda t: lambda *p: ops.softmax_cross_entropy(maxout_logits(*p), t).sum() / 6.0,
        lambda torch, T, t: lambda *p: torch.nn.functional.cross_entropy(torch_maxout(torch, T, *p), t),
    ),
    "maxout, sigmoids with binary cross-entropy": (
        lambda t: lambda *p: ops.binary_cross_entropy(maxout_logits(*p), t).sum(axis=1).mean(),
        lambda torch, T, t: (
            lambda *p: (
                torch.nn.functional.binary_cross_entropy_with_logits(torch_maxout(torch, T, *p), t, reduction="none")
                .sum(1)
                .mean()
            )
        ),
    ),
}


def torch_maxout(torch, T, x, W1, b1, W2, b2, W3, b3):
    return T["linear"](T["maxout"](T["maxout"](x, W1, b1), W2, b2), W3, b3)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_agree_with_torch_to_second_order(torch, batch, rng, name):
    """In x and in every parameter, and the gradient's own gradient in all of them."""
    x, t = batch
    network, in_their_words = NETWORKS[name]
    f_torch = in_their_words(torch, in_torch(torch), torch.tensor(t))
    assert_alike(torch, network(t), f_torch, [x, *maxout_parameters(rng)])


@pytest.mark.parametrize("full", [False, True])
def test_an_rbf_network_agrees_with_torch_to_second_order(torch, batch, rng, full):
    x, t = batch
    mu, beta = rng.normal(size=(3, 5)), rng.uniform(0.05, 0.2, size=(3, 5))
    if full:
        beta = np.stack([np.diag(row) for row in beta]) + rng.uniform(0.0, 0.01, size=(3, 5, 5))  # positive definite

    def J(x, mu, beta):  # all units with binary cross-entropy on p = e^(log p)
        log_p = ops.rbf(x, mu, beta)
        return -(t * log_p + (1.0 - t) * ops.log1mexp(log_p)).sum(axis=1).mean()

    def J_torch(x, mu, beta):  # by hand: its binary_cross_entropy holds p (1 - p) at 1e-12 or more
        log_p, T = in_torch(torch)["rbf"](x, mu, beta), torch.tensor(t)
        return -(T * log_p + (1 - T) * torch.log(-torch.expm1(log_p))).sum(1).mean()

    assert_alike(torch, J, J_torch, [x, mu, beta])


def test_the_gradient_of_a_gradient_penalty_agrees_with_torch(torch, batch, rng):
    """A whole objective with a gradient inside: J + |dJ/dx|^2, as in the closed forms of section 5 and later work."""
    x, t = batch
    parameters = maxout_parameters(rng)

    def ours():
        X, P = Tensor(x), [Tensor(p) for p in parameters]
        J = ops.softmax_cross_entropy(maxout_logits(X, *P), t).mean()
        (dx,) = grad(J, [X], create_graph=True)
        return grad(J + (dx * dx).sum(), P)

    def theirs():
        X = torch.tensor(x, requires_grad=True)
        P = [torch.tensor(p, requires_grad=True) for p in parameters]
        J = torch.nn.functional.cross_entropy(torch_maxout(torch, in_torch(torch), X, *P), torch.tensor(t))
        (dx,) = torch.autograd.grad(J, [X], create_graph=True)
        return torch.autograd.grad(J + (dx * dx).sum(), P)

    for a, b in zip(ours(), theirs(), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("top", ["softmax", "sigmoid", "rbf"])
def test_scipy_check_grad_on_whole_networks(batch, rng, top):
    """All parameters and x in one vector, as an optimiser of SciPy sees a network."""
    x, t = batch
    if top == "rbf":
        arrays = [x, rng.normal(size=(3, 5)), rng.uniform(0.1, 0.5, size=(3, 5))]
    else:
        arrays = [x, *maxout_parameters(rng)]

    def J(*arrays):
        if top == "rbf":
            return -(t * ops.rbf(*arrays)).sum() / 6.0
        loss = ops.softmax_cross_entropy if top == "softmax" else ops.binary_cross_entropy
        return loss(maxout_logits(*arrays), t).sum() / 6.0

    def unpack(v):
        parts = np.split(v, np.cumsum([a.size for a in arrays])[:-1])
        return [part.reshape(a.shape) for part, a in zip(parts, arrays, strict=True)]

    def gradient(v):
        tensors = [Tensor(a) for a in unpack(v)]
        return np.concatenate([d.ravel() for d in grad(J(*tensors), tensors)])

    v = np.concatenate([a.ravel() for a in arrays])
    error = scipy_optimize.check_grad(lambda v: float(J(*unpack(v))), gradient, v)
    assert error < 2e-6 * np.linalg.norm(gradient(v))


# ---------------------------------------------------------------------------------------------------------
# Digits: extreme values, and saturated networks in float32

EXTREME = np.array([-1e4, -800.0, -100.0, -50.0, -20.0, -1.0, -1e-8, 0.0, 1e-8, 1.0, 20.0, 50.0, 100.0, 800.0, 1e4])


@pytest.mark.parametrize(("dtype", "digits"), [("float64", 1e-14), ("float32", 5e-7)])
@pytest.mark.filterwarnings("ignore:underflow:RuntimeWarning")
def test_sigmoid_and_softplus_keep_their_digits_at_extreme_values(xp, dtype, digits):
    x = EXTREME.astype(dtype)
    smallest = np.finfo(dtype).smallest_subnormal
    for op, oracle in [
        (ops.sigmoid, scipy_special.expit),
        (ops.softplus, lambda x: -scipy_special.log_expit(-x)),
    ]:
        T = Tensor(xp.asarray(x))
        y = op(T)
        expected = oracle(x.astype("float64"))
        np.testing.assert_allclose(to_device(y.data, "cpu"), expected, rtol=digits, atol=smallest)
        slope = scipy_special.expit(x.astype("float64"))
        if op is ops.sigmoid:
            slope = slope * scipy_special.expit(-x.astype("float64"))
        found = to_device(grad(y.sum(), [T])[0], "cpu")
        np.testing.assert_allclose(found, slope, rtol=2 * digits, atol=smallest)


@pytest.mark.parametrize("shift", [0.0, 1e3, -1e3, 1e5])
def test_softmax_and_its_log_agree_with_scipy_at_extreme_values(rng, shift):
    z = rng.normal(size=(5, 6)) * np.array([[1.0], [10.0], [100.0], [1000.0], [0.0]]) + shift
    np.testing.assert_allclose(ops.log_softmax(z), scipy_special.log_softmax(z, axis=-1), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(ops.softmax(z), scipy_special.softmax(z, axis=-1), rtol=1e-12, atol=1e-300)
    t = np.eye(6)[[0, 1, 2, 3, 4]]
    expected = -scipy_special.log_softmax(z, axis=-1)[np.arange(5), np.arange(5)]
    np.testing.assert_allclose(ops.softmax_cross_entropy(z, t), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gap", [5.0, 8.0, 12.0, 20.0, 40.0, 80.0])
def test_the_softmax_cross_entropy_of_a_saturated_network_keeps_its_gradient(gap):
    """Sure and right, p - t is 1 - 1 in float32 and the attack has no direction; the engine's has all its digits."""
    z = np.array([[gap, 0.0, -1.0, 0.5]], dtype="float32")
    t = np.eye(4, dtype="float32")[:1]
    Z = Tensor(z)
    (ours,) = grad(ops.softmax_cross_entropy(Z, t).sum(), [Z])
    p = scipy_special.softmax(z.astype("float64"), axis=1)
    exact = np.concatenate([[-p[0, 1:].sum()], p[0, 1:]])
    np.testing.assert_allclose(ours[0], exact, rtol=1e-5)
    naive = ops.softmax(z) - t
    if gap >= 20:
        assert naive[0, 0] == 0.0  # this is what the formula in the books leaves
    assert ours[0, 0] < 0


@pytest.mark.parametrize("size", [5.0, 20.0, 50.0, 85.0])
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_the_binary_cross_entropy_of_a_saturated_network_keeps_its_gradient(size, t):
    z = np.array([size, -size], dtype="float32")
    Z = Tensor(z)
    (ours,) = grad(ops.binary_cross_entropy(Z, np.full(2, t, dtype="float32")).sum(), [Z])
    wide = z.astype("float64")
    exact = -scipy_special.expit(-wide) if t == 1 else scipy_special.expit(wide)
    np.testing.assert_allclose(ours, exact, rtol=1e-5)
    if size >= 20 and t == 1:
        assert (ops.sigmoid(z) - np.float32(t))[0] == 0.0


def test_half_certain_targets_lose_nothing_either(rng):
    z = rng.normal(size=(20, 5)) * 5
    t = rng.dirichlet(np.full(5, 0.3), size=20)
    Z = Tensor(z.astype("float32"))
    (ours,) = grad(ops.softmax_cross_entropy(Z, t.astype("float32")).sum(), [Z])
    exact = scipy_special.softmax(Z.data.astype("float64"), axis=1) - t
    np.testing.assert_allclose(ours, exact, atol=3e-7)


@pytest.mark.parametrize("x", [-1e-30, -1e-8, -0.1, -0.69, -0.7, -0.71, -5.0, -6.9, -50.0, -300.0])
def test_log1mexp_keeps_its_digits(x):
    mpmath = pytest.importorskip("mpmath", reason="mpmath is not installed: an oracle less")
    with mpmath.workdps(200):
        exact = float(mpmath.log(1 - mpmath.exp(mpmath.mpf(x))))
        slope = float(1 / (1 - mpmath.exp(-mpmath.mpf(x))))
    T = Tensor(np.array([x]))
    np.testing.assert_allclose(ops.log1mexp(T).data, exact, rtol=1e-14)
    np.testing.assert_allclose(grad(ops.log1mexp(T).sum(), [T])[0], slope, rtol=1e-13)
