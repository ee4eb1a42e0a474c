"""Layers: they own parameters and their initial values; the arithmetic is that of `ops`.

A layer is anything that is called with x and gives an output; its parameters are the Tensors that it keeps. This
class is a layer that can be trained, saved and moved to a GPU:

    from tinyadv import Tensor
    from tinyadv.backend import uniform

    class Affine:
        def __init__(self, inputs, units, rng): self.W = Tensor(uniform(rng, (units, inputs), 0.1))
        def __call__(self, x): return x @ self.W.T

A network of such layers can be trained, attacked and evaluated: see `tinyadv.models`.

- x is an array or a Tensor `(N, D)`, one row an example; so is the output. A network called with an array gives an
  array, whatever its layers give.
- A layer that does something else in training takes a second argument, `rng`: a generator in training, from which
  dropout draws its masks, and None at inference. There is no mode to forget. Of a class whose `__call__(self, *args,
  **kwargs)` hands everything to a method `forward`, `forward` says whether it takes `rng`.
- Parameters are found in attributes, lists, dicts and objects in them (`named_parameters`); each counts once, wherever
  else it is kept. A weight that training shall leave alone is kept as an array. Arrays are state, as the running means
  of batch normalisation are: saved, loaded and moved with the parameters (`named_state`). So what training changes is
  kept as an array, `self.mean = 0.9 * self.mean + 0.1 * raw(mean)`: a Tensor would remember every step, and a number is
  not saved.
- Max-norm takes the last axis of a parameter for the weights that lead into a unit. A layer whose weights lie
  otherwise says so: `incoming_axes = {"W": 0}` for W `(inputs, units)`.
- A function is a layer too: `ops.relu`, or `lambda x: 2.0 * x`.
- A layer of this file raises ValueError for a size, a beta or a probability that cannot be, and TypeError for an `rng`
  that is no generator.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

from . import images, ops
from .backend import Array, Generator, array_module, full_like, keep_mask, once_a_type, stacked_identity, uniform, zeros
from .owned import incoming_axes as incoming_axes
from .owned import named_parameters as named_parameters
from .owned import named_state as named_state
from .owned import parameters as parameters
from .tensor import Alike, Op, Tensor, Value, raw

Layer: TypeAlias = Callable[..., Alike]  # layer(x), or layer(x, rng=rng)


def call(layer: Layer, x: Value, rng: Generator | None = None) -> Alike:
    """The output of a layer, or of a model, for x; `rng` is given to those that take one."""
    return layer(x, rng=rng) if takes_rng(layer) else layer(x)


def takes_rng(layer: Layer) -> bool:
    """Whether a layer is called with `rng`."""
    of_all = _class_takes_rng(type(layer))
    return _has_rng(layer) if of_all is None else of_all


@once_a_type
def _class_takes_rng(kind: type) -> bool | None:
    """Whether objects of a class are called with `rng`; None for functions and operations, of which each is asked."""
    if not inspect.isfunction(kind.__call__) or kind is Op:
        return None
    forward = getattr(kind, "forward", None)
    return _has_rng(kind.__call__, forward) if forward else _has_rng(kind.__call__)


def _has_rng(function: Callable[..., Any], inner: Callable[..., Any] | None = None) -> bool:
    """Whether a function takes `rng`; where it takes anything by name, whether `inner` does, to which that goes."""
    try:
        arguments = inspect.signature(function).parameters.values()
    except ValueError:  # what is written in C may not say
        return False
    if any(a.name == "rng" for a in arguments):
        return True
    return any(a.kind is a.VAR_KEYWORD for a in arguments) and (inner is None or _has_rng(inner))


class Linear:
    """y = x W^T + b: `(N, inputs)` -> `(N, units)`; initial weights U(-scale, scale), biases 0.

    By default `scale` is sqrt(6 / inputs): under a ReLU, layers then start with outputs as large as their inputs
    (He et al. 2015). The paper's networks start at 0.005, from where few updates do not get away.
    """

    def __init__(self, inputs: int, units: int, rng: Generator, scale: float | None = None) -> None:
        _check_sizes(inputs=inputs, units=units)
        self.W = Tensor(uniform(rng, (units, inputs), math.sqrt(6 / inputs) if scale is None else scale))
        self.b = Tensor(zeros(units))

    def __call__(self, x: Value) -> Alike:
        return ops.linear(x, *as_given(x, self.W, self.b))


class Maxout:
    """h_u = max_p (x . W_pu + b_pu): `(N, inputs)` -> `(N, units)`; initial weights U(-scale, scale), biases 0.

    W has shape `(pieces, units, inputs)`: the pieces are planes, so the maximum runs over whole planes. b has one axis,
    `(pieces * units,)`, because max-norm takes everything with more axes for weights. By default `scale` is
    sqrt(3 / inputs): every piece then starts with outputs as large as its inputs; the paper's start at 0.005.
    """

    def __init__(self, inputs: int, units: int, pieces: int, rng: Generator, scale: float | None = None) -> None:
        _check_sizes(inputs=inputs, units=units, pieces=pieces)
        self.W = Tensor(uniform(rng, (pieces, units, inputs), math.sqrt(3 / inputs) if scale is None else scale))
        self.b = Tensor(zeros(pieces * units))

    def __call__(self, x: Value) -> Alike:
        return ops.maxout(x, *as_given(x, self.W, self.b))


class Images:
    """Rows `(N, D)`, channel-major, as the images `(H, W, N, C)` that convolutions take."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        _check_sizes(channels=channels, height=height, width=width)
        self.shape = (channels, height, width)

    def __call__(self, x: Value) -> Alike:
        return images.from_rows(x, self.shape)


class Rows:
    """Images `(H, W, N, C)` as the rows `(N, D)` that other layers take, channel-major."""

    def __call__(self, x: Value) -> Alike:
        return images.to_rows(x)


class ConvMaxout:
    """Convolutional maxout, then max-pooling: images `(H, W, N, channels)` -> `(P, Q, N, units)`.

    A unit's pieces are convolutions with kernels of their own; their maximum is taken place by place. W has shape
    `(kernel, kernel, channels, pieces * units)`, b one number for each piece of a unit, the same at every place.
    Initial weights U(-scale, scale), biases 0. By default `scale` is that of `Maxout`, sqrt(3 / inputs) for the
    kernel^2 channels inputs of a piece; the published networks start at 0.005.

    Parameters
    ----------
    channels, units, pieces : int
    kernel, padding : int
        Size of the square kernels, and how many zeros are laid around an image.
    pool, stride : int
        Size of the square windows over which the maximum is taken, and the step between them.
    """

    incoming_axes: ClassVar = {"W": (0, 1, 2)}

    def __init__(
        self, channels: int, units: int, pieces: int, rng: Generator, *, kernel: int, padding: int, pool: int,
        stride: int, scale: float | None = None,
    ) -> None:  # fmt: skip
        _check_sizes(channels=channels, units=units, pieces=pieces, kernel=kernel, pool=pool, stride=stride)
        if padding < 0 or stride > pool:
            raise ValueError(f"padding is at least 0, the stride at most the pool, {pool}; got {padding} and {stride}")
        self.pieces, self.kernel, self.padding, self.pool, self.stride = pieces, kernel, padding, pool, stride
        scale = math.sqrt(3 / (kernel**2 * channels)) if scale is None else scale
        self.W = Tensor(uniform(rng, (kernel, kernel, channels, pieces * units), scale))
        self.b = Tensor(zeros(pieces * units))

    def places(self, n: int) -> int:
        """The height (or width) of the outputs, for images of height (or width) n; ValueError if n is too small."""
        n = n + 2 * self.padding - self.kernel + 1
        if n < self.pool:
            raise ValueError(f"images are too small: {n} places are left for a pool of {self.pool}")
        return -(-(n - self.pool) // self.stride) + 1

    def __call__(self, x: Value) -> Alike:
        W, b = as_given(x, self.W, self.b)
        z = images.conv2d(x, W, padding=self.padding) + b
        h = z.reshape(*z.shape[:3], self.pieces, -1).max(axis=3)
        return images.max_pool(h, self.pool, self.stride)


class Sigmoid:
    """h = sigmoid(x W^T + b), within (0, 1): `(N, inputs)` -> `(N, units)`; weights U(-scale, scale), biases 0.

    By default `scale` is 4 sqrt(6 / (inputs + units)): gradients are then as large below the layer as above it (Glorot
    and Bengio 2010).
    """

    def __init__(self, inputs: int, units: int, rng: Generator, scale: float | None = None) -> None:
        _check_sizes(inputs=inputs, units=units)
        self.W = Tensor(uniform(rng, (units, inputs), 4 * math.sqrt(6 / (inputs + units)) if scale is None else scale))
        self.b = Tensor(zeros(units))

    def __call__(self, x: Value) -> Alike:
        return ops.sigmoid(ops.linear(x, *as_given(x, self.W, self.b)))


class Rust:
    """h = (f - g) / (1 + f + g), the saturating unit of five filters of `ops.rust`: `(N, inputs)` -> `(N, units)`.

    W has shape `(5, units, inputs)`; weights start at U(-scale, scale), biases, one a unit, at 0. By default `scale` is
    that of `Linear`, sqrt(6 / inputs).
    """

    def __init__(self, inputs: int, units: int, rng: Generator, scale: float | None = None) -> None:
        _check_sizes(inputs=inputs, units=units)
        self.W = Tensor(uniform(rng, (5, units, inputs), math.sqrt(6 / inputs) if scale is None else scale))
        self.b = Tensor(zeros(units))

    def __call__(self, x: Value) -> Alike:
        return ops.rust(x, *as_given(x, self.W, self.b))


class RustSquared:
    """h = (E - S) / (1 + E + S), the unit of squared filters of `ops.rust_squared`: `(N, inputs)` -> `(N, units)`.

    W has shape `(excitatory + suppressive, units, inputs)`, the excitatory filters first; weights start at
    U(-scale, scale), biases at 0. By default `scale` is that of `Linear`, sqrt(6 / inputs).
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        rng: Generator,
        scale: float | None = None,
        excitatory: int = 2,
        suppressive: int = 2,
    ) -> None:
        _check_sizes(inputs=inputs, units=units, excitatory=excitatory, suppressive=suppressive)
        self.excitatory = excitatory
        scale = math.sqrt(6 / inputs) if scale is None else scale
        self.W = Tensor(uniform(rng, (excitatory + suppressive, units, inputs), scale))
        self.b = Tensor(zeros((excitatory + suppressive) * units))

    def __call__(self, x: Value) -> Alike:
        W, b = as_given(x, self.W, self.b)
        return ops.rust_squared(x, W, b, self.excitatory)


class RBF:
    """log p_k = -(x - mu_k)^T beta_k (x - mu_k), section 7: `(N, inputs)` -> `(N, units)`, all at most 0.

    beta stays positive because it is made of the parameter `root`: e^root for a diagonal, root `(units, inputs)`;
    root root^T for a full matrix, root `(units, inputs, inputs)`.

    Parameters
    ----------
    mu : array `(units, inputs)`
        The initial centres, which are copied; float32 if `full`.
    beta : float
        The initial beta, the same in every direction.
    full : bool
        Whether each unit has a whole matrix beta, instead of a diagonal.
    """

    def __init__(self, mu: Array, beta: float, full: bool = False) -> None:
        _check_beta(beta)
        self.mu = Tensor(mu.copy())  # training images, often, which an update would change
        units, inputs = mu.shape
        root = stacked_identity(units, inputs) if full else full_like(mu, math.log(beta))
        if full:
            root *= beta**0.5
        self.root = Tensor(root)

    def beta(self, x: Value) -> Alike:
        """beta as a Tensor or an array, as `x` is: `(units, inputs)`, or `(units, inputs, inputs)`."""
        (root,) = as_given(x, self.root)
        return ops.exp(root) if root.ndim == 2 else root @ ops.swap_last(root)

    def __call__(self, x: Value) -> Alike:
        return ops.rbf(x, *as_given(x, self.mu), self.beta(x))


class RBFUnits:
    """h_u = exp(-(x - mu_u)^T beta_u (x - mu_u)): RBF units as hidden units, `(N, inputs)` -> `(N, units)` in (0, 1].

    beta is a diagonal, e^s with `s` of shape `(units, inputs)`. The square is multiplied out, so that products of
    matrices do the work: with many units an array `(N, units, inputs)` would be too large. In float32 this rounds: near
    a centre h may exceed 1 a little, and far from it h is 0.

    Parameters
    ----------
    mu : array `(units, inputs)`
        The initial centres, which are copied.
    beta : float
        The initial beta, the same in every direction.
    """

    def __init__(self, mu: Array, beta: float) -> None:
        _check_beta(beta)
        self.mu = Tensor(mu.copy())  # training images, often, which an update would change
        self.s = Tensor(full_like(mu, math.log(beta)))

    def __call__(self, x: Value) -> Alike:
        mu, s = as_given(x, self.mu, self.s)
        beta = ops.exp(s)
        # (x - mu)^T beta (x - mu) = beta . x^2 - 2 (beta mu) . x + beta . mu^2
        return ops.exp(ops.linear(x, 2.0 * (beta * mu), -(beta * mu * mu).sum(axis=1)) - _squares_times(x, beta))


class Quadratic:
    """h_u = w_u . x + b_u - beta_u . x^2: linear units with quadratic inhibition, `(N, inputs)` -> `(N, units)`.

    Far from 0 in any direction the inhibition wins, as it does in an RBF unit. beta stays positive because it is
    e^s; `s` has the shape of W, `(units, inputs)`. Initial weights U(-scale, scale), and `inhibition` for every entry
    of beta; biases make up for the inhibition of a typical image, so that units do not start where nothing reaches
    them.
    """

    SQUARE = 0.112  # the mean square of a pixel of MNIST

    def __init__(self, inputs: int, units: int, rng: Generator, scale: float, inhibition: float) -> None:
        _check_sizes(inputs=inputs, units=units)
        _check_beta(inhibition)
        self.W = Tensor(uniform(rng, (units, inputs), scale))
        self.b = Tensor(zeros(units) + inhibition * inputs * self.SQUARE)
        self.s = Tensor(full_like(self.W.data, math.log(inhibition)))

    def __call__(self, x: Value) -> Alike:
        W, b, s = as_given(x, self.W, self.b, self.s)
        return ops.linear(x, W, b) - _squares_times(x, ops.exp(s))


class Relu:
    """y = max(x, 0), entry by entry."""

    def __call__(self, x: Value) -> Alike:
        return ops.relu(x)


def _squares_times(x: Value, beta: Value) -> Alike:
    """beta . x^2 for every unit: `(N, inputs)` and `(units, inputs)` -> `(N, units)`.

    A square is at most the largest number that there is: infinity would turn gradients of 0 into no number.
    """
    most = array_module(raw(x)).finfo(x.dtype).max  # of its dtype: as a float it would turn CuPy 13 to float64
    return ops.clip(x * x, 0.0, most) @ ops.transpose(beta)


def _check_beta(beta: float) -> None:
    if not 0 < beta < math.inf:
        raise ValueError(f"beta is a positive number, got {beta}")


class Dropout:
    """y = x * mask in training, y = x at inference: `(N, D)` -> `(N, D)`.

    Each entry is kept with probability `keep`, and then divided by `keep` if `rescale`. The published networks
    rescale hidden units, but not pixels. One mask per example.
    """

    def __init__(self, keep: float, rescale: bool = True) -> None:
        if not 0.0 < keep <= 1.0:
            raise ValueError(f"Dropout wants a probability to keep in (0, 1], got {keep}")
        self.keep, self.rescale = keep, rescale

    def __call__(self, x: Value, rng: Generator | None = None) -> Alike:
        if rng is None or self.keep == 1.0:
            return x
        return ops.dropout(x, keep_mask(rng, raw(x), self.keep, 1.0 / self.keep if self.rescale else 1.0))


def _check_sizes(**sizes: int) -> None:
    if min(sizes.values()) < 1:
        raise ValueError(f"a layer's sizes are at least 1, got {', '.join(f'{k} {n}' for k, n in sizes.items())}")


def as_given(x: Value, *tensors: Tensor) -> tuple[Alike, ...]:
    """Parameters as `x` is: Tensors for a Tensor, plain arrays for an array, so that nothing is recorded for nobody."""
    return tensors if isinstance(x, Tensor) else tuple(t.data for t in tensors)
