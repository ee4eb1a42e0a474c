"""Operations on images: convolution, pooling, local response normalisation.

The one idea: images lie in memory as `(H, W, N, C)`, pixels first, so that a pixel of all examples and channels is one
contiguous piece: shifted windows are slices, a Fourier transform along an axis is one matrix product, and the
operations of `ops` give most derivatives. Networks still take rows `(N, D)`; `from_rows` and `to_rows` go back and
forth. A reader may skip `_spectral` at first: `_correlate` computes the same, as it stands in textbooks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

from .backend import Array, array_module, slices
from .ops import exp, log
from .tensor import Alike, Op, Value, raw

Shape = tuple[int, ...]


def from_rows(x: Value, shape: tuple[int, int, int]) -> Alike:
    """Rows `(N, D)`, each an image of `shape` (channels, height, width) in that order, as images `(H, W, N, C)`.

    ValueError for rows of another length.
    """
    if x.ndim != 2 or x.shape[1] != math.prod(shape):
        raise ValueError(
            f"images of {shape[0]} channels, {shape[1]} x {shape[2]}, are rows of {math.prod(shape)} numbers; "
            f"got {x.shape}"
        )
    return x.reshape(len(x), *shape).transpose(2, 3, 0, 1)


def to_rows(x: Value) -> Alike:
    """Images `(H, W, N, C)` as rows `(N, C * H * W)`: what `from_rows` does, undone."""
    H, W, N, C = x.shape
    return x.transpose(2, 3, 0, 1).reshape(N, C * H * W)


# ---------------------------------------------------------------------------------------------------------
# Convolution


def conv2d(x: Value, w: Value, stride: int = 1, padding: int = 0) -> Alike:
    """y[p, q, n, o] = sum_ijc x[s p + i - padding, s q + j - padding, n, c] w[i, j, c, o], zeros beyond the border.

    (Strictly a correlation: as everywhere in neural networks, the kernel is not mirrored.)

    Parameters
    ----------
    x : `(H, W, N, C)`
    w : `(K, J, C, F)`
    stride, padding : int
        The step s between windows, and how many zeros are laid around the image on each side.

    Returns
    -------
    `(P, Q, N, F)` with P = (H + 2 padding - K) // stride + 1, and Q likewise of W and J

    Raises
    ------
    ValueError
        If shapes do not fit, the kernel is larger than the padded image, the stride is below 1, or the padding below 0.
    TypeError
        If dtypes differ.
    """
    _check_convolution(x, w, stride, padding)
    if w.shape[:2] == (1, 1) and stride == 1 and padding == 0:
        return (x.reshape(-1, x.shape[3]) @ w.reshape(w.shape[2:])).reshape(*x.shape[:3], w.shape[3])
    if _spectral_is_cheaper(x.shape, w.shape, stride, padding):
        return _spectral(x, w, padding)
    return _correlate(x, w, stride=stride, padding=padding)


def _check_convolution(x: Value, w: Value, stride: int, padding: int) -> None:
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(f"conv2d takes images (H, W, N, C) and kernels (K, J, C, F); got {x.shape} and {w.shape}")
    if x.dtype != w.dtype:
        raise TypeError(f"conv2d takes images and kernels of one dtype, got {x.dtype} and {w.dtype}")
    if x.shape[3] != w.shape[2]:
        raise ValueError(f"these kernels are for images of {w.shape[2]} channels, the images have {x.shape[3]}")
    _check_windows("the kernel", x.shape, w.shape[:2], stride, padding)


def _check_windows(what: str, x: Shape, size: Shape, stride: int, padding: int) -> None:
    if stride < 1 or padding < 0 or min(size) < 1:
        raise ValueError(
            f"stride is at least 1, padding at least 0, {what} at least 1 x 1; "
            f"got stride {stride}, padding {padding}, {size[0]} x {size[1]}"
        )
    height, width = x[0] + 2 * padding, x[1] + 2 * padding
    if size[0] > height or size[1] > width:
        raise ValueError(f"{what}, {size[0]} x {size[1]}, is larger than the padded image, {height} x {width}")


def _size_after(n: int, k: int, stride: int, padding: int) -> int:
    return (n + 2 * padding - k) // stride + 1


MOVED = 40  # multiplications in the time that one number takes to be written between two products, measured


def _spectral_is_cheaper(x: Shape, w: Shape, stride: int, padding: int) -> bool:
    """Which way takes less: multiplications, and numbers written between the products, of either.

    In doubt windows: the spectral way counts as if its weights' and its images' gradients were both wanted.
    """
    if stride > 1:
        return False
    (H, W, N, C), (K, J, _, F) = x, w
    P, Q = _size_after(H, K, 1, padding), _size_after(W, J, 1, padding)
    U, V = H + padding, (W + padding) // 2 + 1  # frequencies along each axis
    of_x = (2 * V * W * H + 3 * U * 2 * H * V) * N * C
    of_w = (2 * V * J * K + 3 * U * 2 * K * V) * C * F
    of_y = (2 * P * 3 * U * V + Q * 2 * V * P) * N * F
    spectra = 3 * U * V * (N * C + C * F + N * F)
    spectral = 3 * U * V * N * C * F + of_x + of_w + of_y + MOVED * spectra
    by_windows = P * Q * N * K * J * C * (F + MOVED)
    return spectral < 0.8 * by_windows


# By the Fourier transform. A convolution is a product of spectra, and a small Fourier transform is a product with a
# constant matrix; so all of it is matmul of real arrays, and matmul's formulas give the derivatives of every order.


def _spectral(x: Value, w: Value, padding: int) -> Alike:
    """The convolution of stride 1 as a product of spectra, one product of matrices for each frequency.

    y = 1/L^2 sum_uv e^{i (u p + v q) 2 pi / L} X_uv conj(W)_uv, where X_uv is `(N, C)` and W_uv is `(C, F)`. Since x
    and w are real, half of the v are enough. A complex product is made of three real ones,

        (a + ib) (c + id) = (k1 - k3) + i (k1 + k2),   k1 = (a + b) c,  k2 = a (d - c),  k3 = b (c + d),

    so X, W and their product have three planes: those sums of a and b, of c and d, are in the constant matrices.
    """
    m = _matrices(array_module(raw(x)), x.shape[:2], w.shape[:2], padding, str(x.dtype))
    X = _transformed(x, m["x, columns"], m["x, rows"])  # `(3 U V, N, C)`
    Wc = _transformed(w, m["w, columns"], m["w, rows"])  # `(3 U V, C, F)`
    return _transformed_back(X @ Wc, m["y, rows"], m["y, columns"])


def _transformed(x: Value, columns: Array, rows: Array) -> Alike:
    """The spectrum of x `(H, W, A, B)`: along its columns, real to complex, then along its rows, to three planes."""
    H, W, A, B = x.shape
    t = rows @ (columns @ x.reshape(H, W, A * B)).reshape(2 * H, -1)
    return t.reshape(-1, A, B)


def _transformed_back(Y: Value, rows: Array, columns: Array) -> Alike:
    """The image of a spectrum in three planes, Y `(3 U V, A, B)` -> `(P, Q, A, B)`."""
    _, A, B = Y.shape
    P, Q = rows.shape[0] // 2, columns.shape[0]
    t = rows @ Y.reshape(rows.shape[1], -1)
    return (columns @ t.reshape(P, columns.shape[1], A * B)).reshape(P, Q, A, B)


@cache
def _matrices(xp: ModuleType, image: Shape, kernel: Shape, padding: int, dtype: str) -> dict[str, Array]:
    """The constant matrices of `_spectral`, real; complex numbers are pairs, or three planes (see there).

    A window that begins in the border before an image ends in the one after it, if the image is laid out in a circle:
    L = n + padding places are enough.
    """
    (H, W), (K, J) = image, kernel
    U, L = H + padding, W + padding
    V = L // 2 + 1
    P, Q = H + 2 * padding - K + 1, W + 2 * padding - J + 1
    planes_x = xp.asarray([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])  # a + b, a, b
    planes_w = xp.asarray([[1.0, 0.0], [-1.0, 1.0], [1.0, 1.0]])  # c, d - c, c + d
    complex_y = xp.asarray([[1.0, 0.0, -1.0], [1.0, 1.0, 0.0]])  # k1 - k3, k1 + k2
    # a frequency v stands for L - v too, unless they are the same
    twice = xp.asarray([1.0 if 2 * v in (0, L, 2 * L) else 2.0 for v in range(V)])
    found = {
        "x, columns": _turns(xp, V, W, L, -1)[:, 0].reshape(2 * V, W),
        "x, rows": xp.einsum("ks,srup->kupr", planes_x, _turns(xp, U, H, U, -1)).reshape(3 * U, 2 * H),
        "w, columns": _turns(xp, V, J, L, 1)[:, 0].reshape(2 * V, J),
        "w, rows": xp.einsum("ks,srup->kupr", planes_w, _turns(xp, U, K, U, 1)).reshape(3 * U, 2 * K),
        "y, rows": xp.einsum("srup,rk->psku", _turns(xp, U, P, U, 1, padding), complex_y).reshape(2 * P, 3 * U) / U,
        "y, columns": xp.einsum("rvq,v->qrv", _turns(xp, V, Q, L, 1, padding)[0], twice).reshape(Q, 2 * V) / L,
    }
    return {name: xp.ascontiguousarray(a.astype(dtype)) for name, a in found.items()}


def _turns(xp: ModuleType, frequencies: int, places: int, L: int, sign: int, before: int = 0) -> Array:
    """Multiplication by e^{sign i u (p - before) 2 pi / L} as a real 2 x 2 matrix: `(2, 2, frequencies, places)`."""
    u, p = xp.arange(frequencies)[:, None], xp.arange(places)[None, :] - before
    angle = (u * p).astype("float64") * (sign * 2 * math.pi / L)
    c, s = xp.cos(angle), xp.sin(angle)
    return xp.concatenate([c, -s, s, c]).reshape(2, 2, frequencies, places)


# By windows: every window of the image becomes a row of a matrix, some rows of the image at a time. The three
# operations are the three partial products of sum g[p, q, n, o] x[window p, q, n][i, j, c] w[i, j, c, o], so that the
# derivatives of each are the other two.


@Op
def _correlate(x: Array, w: Array, stride: int, padding: int) -> Array:
    """y `(P, Q, N, F)` of x `(H, W, N, C)` and w `(K, J, C, F)`."""
    (H, W, N, _), (K, J, C, F) = x.shape, w.shape
    P, Q = _size_after(H, K, stride, padding), _size_after(W, J, stride, padding)
    y = array_module(x).empty((P, Q, N, F), dtype=x.dtype)
    x, weights = _padded(x, padding), w.reshape(K * J * C, F)
    for rows in slices(x, P, Q * N * K * J * C):
        columns = _columns(x, (K, J), stride, rows, Q)
        y[rows] = (_as_matrix(columns) @ weights).reshape(-1, Q, N, F)
    return y


@Op
def _correlate_to_x(g: Array, w: Array, shape: Shape, stride: int, padding: int) -> Array:
    """dL/dx of `shape` for g = dL/dy `(P, Q, N, F)` and w `(K, J, C, F)`."""
    (P, Q, N, F), (K, J, C, _) = g.shape, w.shape
    H, W = shape[:2]
    d = array_module(g).zeros((H + 2 * padding, W + 2 * padding, N, C), dtype=g.dtype)
    weights = w.reshape(K * J * C, F)
    for rows in slices(g, P, Q * N * K * J * C):
        of_windows = _as_columns(g[rows].reshape(-1, F), weights, (rows.stop - rows.start, Q, N, K, J, C))
        for i, j, part in _shifts((K, J), stride, rows, Q):
            d[part] += of_windows[:, :, :, i, j]
    return d[padding : padding + H, padding : padding + W]


@Op
def _correlate_to_w(x: Array, g: Array, shape: Shape, stride: int, padding: int) -> Array:
    """dL/dw of `shape` for x `(H, W, N, C)` and g = dL/dy `(P, Q, N, F)`."""
    (P, Q, N, F), (K, J, C, _) = g.shape, shape
    d = array_module(g).zeros((K * J * C, F), dtype=g.dtype)
    x = _padded(x, padding)
    for rows in slices(x, P, Q * N * K * J * C):
        d += _as_matrix(_columns(x, (K, J), stride, rows, Q)).T @ g[rows].reshape(-1, F)
    return d.reshape(shape)


_correlate.gradients(
    lambda g, y, x, w, stride, padding: _correlate_to_x(g, w, x.shape, stride, padding),
    lambda g, y, x, w, stride, padding: _correlate_to_w(x, g, w.shape, stride, padding),
)
_correlate_to_x.gradients(
    lambda d, y, g, w, shape, stride, padding: _correlate(d, w, stride, padding),
    lambda d, y, g, w, shape, stride, padding: _correlate_to_w(d, g, w.shape, stride, padding),
)
_correlate_to_w.gradients(
    lambda d, y, x, g, shape, stride, padding: _correlate_to_x(g, d, x.shape, stride, padding),
    lambda d, y, x, g, shape, stride, padding: _correlate(x, d, stride, padding),
)


def _padded(x: Array, padding: int) -> Array:
    """x with zeros around its images."""
    if not padding:
        return x
    H, W, N, C = x.shape
    y = array_module(x).zeros((H + 2 * padding, W + 2 * padding, N, C), dtype=x.dtype)
    y[padding:-padding, padding:-padding] = x
    return y


def _shifts(kernel: Shape, stride: int, rows: slice, Q: int) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """For each place i, j in a kernel: the part of the image that it meets from some rows of windows, Q in a row."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            vertical = slice(i + stride * rows.start, i + stride * (rows.stop - 1) + 1, stride)
            yield i, j, (vertical, slice(j, j + stride * (Q - 1) + 1, stride))


def _columns(x: Array, kernel: Shape, stride: int, rows: slice, Q: int) -> Array:
    """All windows of some rows, copied: `(rows, Q, N, K, J, C)`."""
    _, _, N, C = x.shape
    columns = _room(array_module(x), (rows.stop - rows.start, Q, N, *kernel, C), x.dtype)
    for i, j, part in _shifts(kernel, stride, rows, Q):
        columns[:, :, :, i, j] = x[part]
    return columns


def _room(xp: ModuleType, shape: Shape, dtype: Any) -> Array:
    """An empty array for windows. The longer of N and C lies innermost: copies of three floats at a time are slow."""
    P, Q, N, K, J, C = shape
    if C >= N:
        return xp.empty(shape, dtype=dtype)
    return xp.empty((K, J, C, P, Q, N), dtype=dtype).transpose(3, 4, 5, 0, 1, 2)


def _as_matrix(columns: Array) -> Array:
    """Windows as rows `(P Q N, K J C)`, without a copy, in either memory order of `_room`."""
    P, Q, N, K, J, C = columns.shape
    if C >= N:
        return columns.reshape(P * Q * N, K * J * C)
    return columns.transpose(3, 4, 5, 0, 1, 2).reshape(K * J * C, P * Q * N).T


def _as_columns(g: Array, weights: Array, shape: Shape) -> Array:
    """g weights^T as windows of `shape`, in the memory order of `_room`."""
    P, Q, N, K, J, C = shape
    if C >= N:
        return (g @ weights.T).reshape(shape)
    return (weights @ g.T).reshape(K, J, C, P, Q, N).transpose(3, 4, 5, 0, 1, 2)


# ---------------------------------------------------------------------------------------------------------
# Pooling


def max_pool(x: Value, size: int, stride: int, padding: int = 0) -> Alike:
    """The maximum of every window, x `(H, W, N, C)` -> `(P, Q, N, C)`.

    P = ceil((H + 2 padding - size) / stride) + 1: windows that stick out at the far edge count with what they hold; one
    that would hold nothing of the image is left out. The gradient goes to one winner: of several equal, the first, row
    by row.

    Raises
    ------
    ValueError
        If x is not `(H, W, N, C)`, the window is larger than the padded image, or not larger than the padding, or the
        stride is below 1.
    """
    _check_pooling(x, size, stride, padding)
    H, W, N, C = x.shape
    # along rows first: of several equal in a window the first column wins in each row, and then the first row
    y = _window_max(x.reshape(H, W, N * C), size=size, stride=stride, padding=padding)
    Q = y.shape[1]
    y = _window_max(y.reshape(1, H, Q * N * C), size=size, stride=stride, padding=padding)
    return y.reshape(y.shape[1], Q, N, C)


def mean_pool(x: Value, size: int, stride: int, padding: int = 0) -> Alike:
    """The mean of every window, over what it holds of the image; windows and errors as of `max_pool`."""
    _check_pooling(x, size, stride, padding)
    H, W, N, C = x.shape
    rows, columns = (_means(raw(x), n, size, stride, padding) for n in (H, W))
    y = columns @ x.reshape(H, W, N * C)
    return (rows @ y.reshape(H, -1)).reshape(len(rows), len(columns), N, C)


def _means(like: Array, n: int, size: int, stride: int, padding: int) -> Array:
    """The matrix `(windows, n)` whose product with n entries is the mean in each window."""
    matrix = array_module(like).zeros((_windows(n, size, stride, padding), n), dtype=like.dtype)
    for i in range(len(matrix)):
        start, stop = max(0, i * stride - padding), min(n, i * stride - padding + size)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def _check_pooling(x: Value, size: int, stride: int, padding: int) -> None:
    if x.ndim != 4:
        raise ValueError(f"pooling takes images (H, W, N, C), got {x.shape}")
    _check_windows("the window", x.shape, (size, size), stride, padding)
    if padding >= size:
        raise ValueError(f"padding is smaller than the window, so that each holds something; got {padding} and {size}")


def _windows(n: int, size: int, stride: int, padding: int = 0) -> int:
    """How many windows n places have in `max_pool`: the last may stick out, but begins before the far border does."""
    count = -(-(n + 2 * padding - size) // stride) + 1
    return count - 1 if (count - 1) * stride >= n + padding else count


def _meetings(n: int, size: int, stride: int, padding: int) -> Iterator[tuple[slice, slice]]:
    """For each place in a window: which of n entries are met by it, and in which windows."""
    count = _windows(n, size, stride, padding)
    for j in range(size):
        first = max(0, -(-(padding - j) // stride))
        last = min(count - 1, (n - 1 + padding - j) // stride)
        if first <= last:
            start = first * stride + j - padding
            yield slice(start, start + (last - first) * stride + 1, stride), slice(first, last + 1)


@Op
def _window_max(x: Array, size: int, stride: int, padding: int) -> Array:
    """The maximum of each window along the middle axis: `(A, n, B)` -> `(A, windows, B)`."""
    xp, (A, n, B) = array_module(x), x.shape
    y = xp.full((A, _windows(n, size, stride, padding), B), -math.inf, dtype=x.dtype)
    for entries, windows in _meetings(n, size, stride, padding):
        part = y[:, windows]
        xp.maximum(part, x[:, entries], out=part)
    return y


def _winners(x: Array, y: Array, size: int, stride: int, padding: int) -> Iterator[tuple[slice, slice, Array]]:
    """For each place in a window: entries, windows as of `_meetings`, and where the entry is the window's winner."""
    undecided = y == y
    for entries, windows in _meetings(x.shape[1], size, stride, padding):
        won = (x[:, entries] == y[:, windows]) & undecided[:, windows]
        undecided[:, windows] &= ~won
        yield entries, windows, won


@Op
def _to_winners(g: Array, x: Array, y: Array, size: int, stride: int, padding: int) -> Array:
    """g `(A, windows, B)` at the winners of x `(A, n, B)`, summed; y is `_window_max` of x; both are constant."""
    d = array_module(x).zeros(x.shape, dtype=g.dtype)
    for entries, windows, won in _winners(x, y, size, stride, padding):
        d[:, entries] += g[:, windows] * won
    return d


@Op
def _of_winners(d: Array, x: Array, y: Array, size: int, stride: int, padding: int) -> Array:
    """The entries of d `(A, n, B)` where the winners of x are, `(A, windows, B)`."""
    g = array_module(x).zeros(y.shape, dtype=d.dtype)
    for entries, windows, won in _winners(x, y, size, stride, padding):
        g[:, windows] += d[:, entries] * won
    return g


_window_max.gradients(
    lambda g, y, x, size, stride, padding: _to_winners(g, raw(x), raw(y), size, stride, padding),
)
_to_winners.gradients(
    lambda d, out, g, x, y, size, stride, padding: _of_winners(d, x, y, size, stride, padding),
    None,
    None,
)
_of_winners.gradients(
    lambda g, out, d, x, y, size, stride, padding: _to_winners(g, x, y, size, stride, padding),
    None,
    None,
)


# ---------------------------------------------------------------------------------------------------------
# Normalisation


def local_response_normalisation(
    x: Value, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Alike:
    """y_c = x_c (k + alpha / size * sum of x_d^2 over the `size` channels d around c)^-beta, x `(H, W, N, C)`.

    Krizhevsky, Sutskever, Hinton (2012), "ImageNet classification with deep convolutional neural networks", section
    3.3, with alpha divided by the size, as in Caffe. Channels beyond the first and the last count as 0.
    ValueError if `size` is even or below 1, or x has other axes.
    """
    if x.ndim != 4 or size < 1 or size % 2 == 0:
        raise ValueError(
            f"normalisation takes images (H, W, N, C) and an odd number of channels, got {x.shape}, {size}"
        )
    near = _near(array_module(raw(x)), x.shape[3], size // 2, str(x.dtype))
    # a power, by way of the logarithm: on most processors NumPy's own is ten times slower
    return x * exp(log((x * x) @ near * (alpha / size) + k) * -beta)


@cache
def _near(xp: ModuleType, C: int, reach: int, dtype: str) -> Array:
    """`(C, C)`: 1 for two channels at most `reach` apart, else 0."""
    c = xp.arange(C)
    return (abs(c[:, None] - c[None, :]) <= reach).astype(dtype)
