"""Images before they reach a network: global contrast normalisation and ZCA whitening, and the way back to pixels.

The one idea: both steps are undone exactly, so that what an attack did in the whitened space can be drawn in pixels.
A reader who only trains may skip `Whitening.undo`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .backend import Array, array_module

SCALE = 55.0  # of the contrast, as published for the convolutional maxout network
BIAS = 0.1  # added to every variance before whitening: directions in which nothing varies aren't blown up
ROWS = 2000  # images at a time, so that temporaries stay small


def contrast(x: Array) -> tuple[Array, Array]:
    """The mean of each image x `(N, D)`, and the L2 norm of what is left without it, both `(N, 1)`.

    A norm below 1e-8 counts as 1: an image of one colour has no contrast to divide by. ValueError unless x is such rows
    of floating point numbers.
    """
    xp = array_module(_checked(x))
    mean = x.mean(axis=1, keepdims=True)
    norm = xp.sqrt(((x - mean) ** 2).sum(axis=1, keepdims=True))
    return mean, xp.where(norm < 1e-8, xp.ones_like(norm), norm)


def normalise_contrast(x: Array, scale: float = SCALE) -> Array:
    """Global contrast normalisation: x `(N, D)` minus each image's mean, divided by its L2 norm, times `scale`.

    The result doesn't depend on the units of the pixels. ValueError as of `contrast`.
    """
    mean, norm = contrast(x)
    return (x - mean) * (scale / norm)


@dataclass(frozen=True)
class Whitening:
    """Global contrast normalisation followed by ZCA whitening: z = (scale (x - mean(x)) / ||x - mean(x)|| - m) W.

    Whitened pixels are uncorrelated and have a variance of about 1 in every direction whose variance before was large
    against `BIAS`. Of all whitenings ZCA is the one whose result is nearest to x: it still looks like the image.

    Attributes
    ----------
    m : array `(D,)`
        The mean of the normalised training images.
    W : array `(D, D)`
        C^(-1/2), symmetric, of their covariance C with `BIAS` added to its diagonal.
    scale : float
        Of the contrast.
    """

    m: Array
    W: Array
    scale: float = SCALE

    def __call__(self, x: Array) -> Array:
        """Whiten images x `(N, D)` of pixels, floating point numbers; the dtype stays. ValueError as of `contrast`."""
        xp = array_module(_checked(x))
        z = xp.empty_like(x)
        for rows in _blocks(len(x)):
            z[rows] = (normalise_contrast(x[rows], self.scale) - self.m) @ self.W
        return z

    def undo(self, z: Array, like: Array | None = None) -> Array:
        """Whitened images z `(N, D)` back as pixels.

        Whitening forgets each image's brightness and contrast. `like`, pixels `(N, D)` or `(1, D)`, has those to give
        back: with the images that z was made from, `undo` is the exact inverse. Without `like` the result is only
        normalised: its mean is near 0 and its norm near `scale`.
        """
        xp = array_module(z)
        x = xp.linalg.solve(self.W.T, z.T).T + self.m
        if like is None:
            return x
        mean, norm = contrast(like)
        return mean + x * (norm / self.scale)


def fit_whitening(x: Array, scale: float = SCALE, bias: float = BIAS) -> Whitening:
    """The whitening of training images x `(N, D)`: C = (X - m)^T (X - m) / N + bias I of normalised images X.

    All components are kept. Float32 products, float64 for what adds up over the images and for the eigenvectors; for
    CIFAR-10 it takes about a minute and 1 GiB.

    Raises
    ------
    ValueError
        If x isn't a matrix of at least one image, in floating point numbers, or holds a NaN or an infinity; or if the
        bias isn't positive: normalised images lie in a plane, across which they have no variance.
    """
    xp = array_module(_checked(x))
    if not bias > 0:
        raise ValueError(f"a whitening has a positive bias, got {bias}")
    if not len(x) or not xp.isfinite(x).all():
        raise ValueError(f"a whitening is fitted to finite images of shape (N, D), N at least 1; got {x.shape}")
    D = x.shape[1]
    m = xp.zeros(D, dtype="float64")
    for rows in _blocks(len(x)):
        m += normalise_contrast(x[rows], scale).sum(axis=0, dtype="float64")
    m /= len(x)
    C = xp.zeros((D, D), dtype="float64")
    for rows in _blocks(len(x)):
        X = normalise_contrast(x[rows], scale) - m.astype(x.dtype)
        C += X.T @ X
    C /= len(x)
    C += bias * xp.eye(D)
    # C = V diag(v) V^T, so C^(-1/2) = V diag(v^(-1/2)) V^T
    v, V = xp.linalg.eigh(C)
    W = (V / xp.sqrt(v)) @ V.T
    return Whitening(m.astype(x.dtype), W.astype(x.dtype), scale)


def _checked(x: Array) -> Array:
    """x, or ValueError unless it is images as rows of floating point numbers: bytes would overflow without a word."""
    if x.ndim != 2 or x.dtype.kind != "f":
        raise ValueError(
            f"images are rows (N, D) of floating point numbers, got {x.dtype} of shape {x.shape}: "
            "use x.astype('float32').reshape(len(x), -1)"
        )
    return x


def _blocks(n: int) -> Iterator[slice]:
    return (slice(i, i + ROWS) for i in range(0, n, ROWS))
