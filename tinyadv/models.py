"""The paper's networks, each a few lines: layers in a row, and what stands on top of them.

A network called as `model(x)` infers, as `model(x, rng=rng)` trains (dropout on). It carries the cost J that it is
trained with, `model.loss(outputs, y)`, and the reading of its outputs as class probabilities.

A model of one's own with layers in a row is a `Network` too: `Network("mine", {}, [Linear(784, 100, rng), ...],
"softmax")`. Any other is an object with these methods. Training and attacks ask for its `loss`, whose y are labels
`(N,)` or, in training, targets `(N, K)`; `metrics.evaluate` asks for its `probabilities`:

    class Mine:
        def __init__(self, rng): self.layer = Linear(784, 10, rng)
        def __call__(self, x): return self.layer(x)
        def loss(self, outputs, y): return losses.softmax_cross_entropy(outputs, y)
        def probabilities(self, outputs): return ops.softmax(outputs)

`save(model, path)` writes it, `load(path, into=Mine(rng))` reads it. `tinyadv attack mine:make` and `tinyadv audit
mine:make` take the trained model that make() in mine.py returns; it may be one of PyTorch (see `torch_model`).

The functions that make the paper's networks raise ValueError for arguments that cannot be, and TypeError for an `rng`
that is no generator. Their weights are float32, on the CPU.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from itertools import chain, pairwise, repeat
from math import prod
from operator import index
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from . import losses, ops
from .backend import Array, Generator, conversion, is_array, sharing_memory, to_device, uniform, zeros
from .dbm import DeepBoltzmannMachine
from .layers import (
    RBF,
    ConvMaxout,
    Dropout,
    Images,
    Layer,
    Linear,
    Maxout,
    Quadratic,
    RBFUnits,
    Relu,
    Rows,
    Rust,
    RustSquared,
    Sigmoid,
    call,
    takes_rng,
)
from .owned import describe, differences, empty_places, named_parameters, named_state, parameters, set_state
from .storage import StorageError, load_arrays, save_arrays
from .tensor import Alike, Tensor, Value, raw

_TOPS: dict[str, tuple[Callable[[Value, Array], Alike], Callable[[Value], Alike]]] = {
    # what stands on top: the cost J of the outputs, and the outputs as probabilities
    "softmax": (losses.softmax_cross_entropy, ops.softmax),
    "sigmoid": (losses.sigmoid_cross_entropy, ops.sigmoid),
    "rbf": (losses.rbf_cross_entropy, ops.exp),
    "rbf-true-class": (losses.rbf_log_likelihood, ops.exp),
    "rbf-squared": (losses.rbf_squared_error, ops.exp),
    "logistic": (losses.logistic_loss, ops.sigmoid),
}


class Network:
    """Layers in a row with a top. One's own: `Network("mine", {}, [Linear(4, 9, rng), ops.relu, ...], "softmax")`.

    Parameters
    ----------
    builder, arguments : str, dict
        The function of this module that made the network, and its arguments: how `load` makes it again. Any other
        name, and any arguments, for a network of one's own, which is loaded by `load(path, into=network)`.
    layers : sequence of layers
        Applied in order to x `(N, inputs)`. What a layer is, `tinyadv.layers` says.
    top : "softmax", "sigmoid", "rbf", "rbf-true-class", "rbf-squared" or "logistic"
        Which J and which probabilities. The outputs themselves are unnormalised: logits, or log p for RBF units.
    inputs : int, optional
        The length of a row of x, which is then checked; by default `arguments["inputs"]`, if that is there.

    Raises
    ------
    TypeError
        If a layer cannot be called, or is a class instead of its object.
    ValueError
        If there is no such top, or the last layer is `ops.softmax` or `ops.sigmoid`: the top makes probabilities.
    """

    def __init__(
        self, builder: str, arguments: dict[str, Any], layers: Sequence[Layer], top: str, inputs: int | None = None
    ) -> None:
        _check_top(top, *_TOPS)
        self.builder, self.arguments, self.layers, self.top = builder, arguments, list(layers), top
        self.inputs: int | None = arguments.get("inputs") if inputs is None else inputs
        for i, layer in enumerate(self.layers):
            if isinstance(layer, type) or not callable(layer):
                got = f"the class {layer.__name__}" if isinstance(layer, type) else f"a {type(layer).__name__}"
                raise TypeError(f"layer {i} is {got}: wanted an object that is called with x")
        if self.layers and any(self.layers[-1] is twice for twice in (ops.softmax, ops.sigmoid)):
            name = _name(self.layers[-1])
            raise ValueError(
                f"the outputs are logits, and the top {top!r} makes probabilities of them: leave out {name}"
            )

    def __call__(
        self, x: Value, rng: Generator | None = None, after: Mapping[int, Callable[[Value], Alike]] | None = None
    ) -> Alike:
        """The outputs for x `(N, inputs)`, an array for an array.

        `after` has functions that the outputs of layers go through, by number. TypeError for an x that is no array, or
        of another dtype than the parameters; ValueError for another shape, or for a number that no layer has.
        """
        if not isinstance(x, Tensor) and not is_array(x):
            raise TypeError(f"{self.builder} takes an array or a Tensor, got {type(x).__name__}")
        if self.inputs is not None and (x.ndim != 2 or x.shape[1] != self.inputs):
            raise ValueError(f"{self.builder} takes x of shape (N, {self.inputs}), got {x.shape}")
        if not isinstance(x, Tensor):
            self._check_dtype(x)  # of a Tensor, the first operation does
        if after and (unknown := sorted(after.keys() - set(range(len(self.layers))))):
            raise ValueError(f"the layers are 0 to {len(self.layers) - 1}, got functions after {unknown}")
        for i, layer in enumerate(self.layers):
            h = call(layer, x, rng)
            if not hasattr(h, "shape"):
                raise TypeError(f"layer {i}, {_name(layer)}, gives a {type(h).__name__}: wanted an array or a Tensor")
            x = h if isinstance(x, Tensor) else raw(h)
            if after and i in after:
                x = after[i](x)
        if self.top != "logistic":
            return x
        if x.ndim != 2 or x.shape[1] != 1:
            raise ValueError(f"logistic regression has one output, got outputs of shape {x.shape}: for more, softmax")
        return x[:, 0]

    def _check_dtype(self, x: Array) -> None:
        for p in parameters(self.layers)[:1]:
            if x.dtype != p.dtype:
                wanted = f"x{conversion(x, p.dtype)}"
                raise TypeError(f"{self.builder} computes in {p.dtype}, got x of {x.dtype}: use {wanted}")

    @property
    def hidden(self) -> list[int]:
        """The numbers of the layers whose outputs are activations of hidden units, first to last.

        A function without parameters, as `ops.relu`, belongs to the layer before it: `Linear` and `ops.relu` are one
        hidden layer, and its activations are what `ops.relu` gives. Dropout, and what is on top, is none.
        """
        found: list[int] = []
        for i, layer in enumerate(self.layers[:-1]):
            if isinstance(layer, (Dropout, Images, Rows)):
                continue
            if parameters([layer]):
                found.append(i)
            elif found and not takes_rng(layer):  # what takes rng is a kind of dropout
                found[-1] = i
        return found

    def loss(self, outputs: Value, y: Array) -> Alike:
        """J of outputs and labels, one number: the mean over the examples."""
        return _TOPS[self.top][0](outputs, y)

    def probabilities(self, outputs: Value) -> Alike:
        """The outputs as class probabilities `(N, K)`; of the class 1, `(N,)`, for logistic regression."""
        return _TOPS[self.top][1](outputs)

    def seeing_all_inputs(self) -> Network:
        """This network, with the same parameters, without dropout of its inputs: masks fall on hidden units alone."""
        first = next((i for i, layer in enumerate(self.layers) if parameters([layer])), 0)
        kept = [layer for i, layer in enumerate(self.layers) if i >= first or not isinstance(layer, Dropout)]
        network = copy(self)  # of a subclass too, with all that it has of its own
        network.layers = kept
        return network

    def to(self, device: str | None = None, dtype: str | None = None) -> Network:
        """This network, its parameters and state moved to "cpu" or "cuda", or turned into "float32" or "float64".

        An optimiser is made afterwards: its velocities are where, and of what kind, the parameters were. ValueError for
        another device or dtype, DeviceError where there is no GPU.
        """
        move(self, device, dtype)
        return self


def move(model: Any, device: str | None = None, dtype: str | None = None) -> None:
    """Move the parameters and the state of any model, as `Network.to` does."""
    if dtype not in (None, "float32", "float64"):
        raise ValueError(f"a network computes in 'float32' or 'float64', got {dtype!r}")

    def moved(a: Array) -> Array:
        a = to_device(a, device) if device else a
        return a.astype(dtype) if dtype and a.dtype.kind == "f" else a

    state = {name: moved(a) for name, a in named_state(model).items()}
    for p in named_parameters(model).values():
        p.data = moved(p.data)
    set_state(model, state)


def _name(layer: Any) -> str:
    return getattr(layer, "__name__", type(layer).__name__)


def softmax_regression(inputs: int = 784, classes: int = 10, scale: float = 0.0, *, rng: Generator) -> Network:
    """Shallow softmax regression, section 4; weights from U(-scale, scale).

    With the default 0, a pixel that is always dark keeps weights of exactly 0, and so a gradient of exactly 0.
    """
    arguments = {"inputs": inputs, "classes": classes, "scale": scale}
    return Network("softmax_regression", arguments, [Linear(inputs, classes, rng, scale)], "softmax")


def logistic_regression(inputs: int = 784, scale: float = 0.0, *, rng: Generator) -> Network:
    """Logistic regression of two classes, -1 and 1, section 5: activations `(N,)`."""
    return Network(
        "logistic_regression", {"inputs": inputs, "scale": scale}, [Linear(inputs, 1, rng, scale)], "logistic"
    )


def maxout_network(
    units: int = 240,
    pieces: int = 5,
    depth: int = 2,
    top: Literal["softmax", "sigmoid"] = "softmax",
    inputs: int = 784,
    classes: int = 10,
    keep: tuple[float, float] = (0.8, 0.5),
    scale: float | None = None,
    *,
    rng: Generator,
) -> Network:
    """The maxout network of sections 4 and 6, as published (Goodfellow et al. 2013, permutation-invariant MNIST).

    `depth` layers of `units` maxout units of `pieces` pieces. In training pixels are kept with probability `keep[0]`,
    not rescaled, and hidden units with `keep[1]`, rescaled.

    Weights start at U(-scale, scale), by default as large as `layers.Maxout` and `layers.Linear` say. The published
    scale is 0.005, for long training on many images: with 1,300 images of ten classes J stays at log 10 for 90 epochs.
    """
    _check_top(top, "softmax", "sigmoid")
    if depth < 1 or len(keep) != 2:
        raise ValueError(f"depth is at least 1 and keep is (of pixels, of hidden units); got {depth} and {keep}")
    arguments: dict[str, Any] = {"units": units, "pieces": pieces, "depth": depth, "top": top, "inputs": inputs}
    arguments |= {"classes": classes, "keep": list(keep), "scale": scale}
    layers: list[Layer] = [Dropout(keep[0], rescale=False)]
    for i in range(depth):
        layers += [Maxout(units if i else inputs, units, pieces, rng, scale), Dropout(keep[1])]
    return Network("maxout_network", arguments, [*layers, Linear(units, classes, rng, scale)], top)


def conv_maxout_network(
    channels: tuple[int, int, int] = (96, 192, 192),
    units: int = 500,
    pieces: tuple[int, int] = (2, 5),
    keep: tuple[float, float] = (0.8, 0.5),
    scale: float | None = None,
    size: int = 32,
    classes: int = 10,
    *,
    rng: Generator,
) -> Network:
    """The convolutional maxout network of CIFAR-10, section 4 and appendix, as its authors published it.

    Three layers of convolutional maxout, each with a max-pool: kernels of 8 x 8, 8 x 8 and 5 x 5, a dense maxout layer,
    a softmax; inputs are rows of three planes, `size` x `size`. Dropout on each layer's input, of pixels without
    rescaling. The smaller network that was published too is `channels=(48, 128, 128), units=240`.

    Parameters
    ----------
    channels : (int, int, int)
        Units of the convolutional layers.
    units : int
        Of the dense layer.
    pieces : (int, int)
        Of a convolutional unit, and of a dense one.
    keep : (float, float)
        Probability to keep a pixel, and a hidden unit.
    scale : float, optional
        Weights start from U(-scale, scale); by default as large as the layers say. The published scale is 0.005, for
        hundreds of epochs: few updates do not get away from it.
    """
    if len(channels) != 3 or len(pieces) != 2 or len(keep) != 2:
        raise ValueError(
            "channels are three numbers, pieces (of convolutional units, of dense ones), keep (of pixels, of hidden "
            f"units); got {channels}, {pieces} and {keep}"
        )
    arguments: dict[str, Any] = {"channels": list(channels), "units": units, "pieces": list(pieces)}
    arguments |= {"keep": list(keep), "scale": scale, "size": size, "classes": classes}
    layers: list[Layer] = [Dropout(keep[0], rescale=False), Images(3, size, size)]
    before, places = 3, size
    for now, (kernel, padding, pool) in zip(channels, ((8, 4, 4), (8, 3, 4), (5, 3, 2)), strict=True):
        layer = ConvMaxout(
            before, now, pieces[0], rng, kernel=kernel, padding=padding, pool=pool, stride=2, scale=scale
        )
        layers += [layer, Dropout(keep[1])]
        before, places = now, layer.places(places)
    layers += [Rows(), Maxout(before * places**2, units, pieces[1], rng, scale), Dropout(keep[1])]
    layers.append(Linear(units, classes, rng, scale))
    return Network("conv_maxout_network", arguments, layers, "softmax", inputs=3 * size**2)


# Published with the network above, for `SGD`: norms (of a kernel, over places and channels), factors of learning rates
CONV_MAX_NORMS = {f"layers.{i}.W": norm for i, norm in ((2, 0.9), (4, 1.9365), (6, 1.9365), (9, 1.9), (11, 1.9365))}
CONV_RATE_FACTORS = {f"layers.{i}.{name}": 0.05 for i in (2, 4, 6) for name in ("W", "b")}

# The published schedules are `LinearSchedule()` and, for the smaller network, `LinearSchedule(0.1, epochs=250)`. They
# start slowly. This one is ours, for lessons: half the smaller network's channels in eight epochs, with a larger start,
# more momentum, learning rates of the kernels four times as large, and less dropout. 19.5 % test error, one seed.
CONV_LESSON: dict[str, Any] = {
    "arguments": {"channels": [24, 64, 64], "units": 240, "keep": [1.0, 0.8], "scale": 0.03},
    "schedule": {"kind": "linear", "learning_rate": 0.05, "epochs": 8, "momentum": 0.9, "final_momentum": 0.9},
    "max_norm": CONV_MAX_NORMS,
    "rate_factors": dict.fromkeys(CONV_RATE_FACTORS, 0.2),
    "batch": 128,
}


def saturating_network(
    unit: Literal["sigmoid", "rust", "rust-squared"] = "sigmoid",
    units: int = 240,
    depth: int = 2,
    inputs: int = 784,
    classes: int = 10,
    keep: tuple[float, float] = (0.8, 0.5),
    scale: float | None = None,
    *,
    rng: Generator,
) -> Network:
    """A network of hidden units that saturate, section 6: sigmoids, or Rust units (`ops.rust`, `ops.rust_squared`).

    `depth` layers of `units` units, dropout as in the maxout network, softmax on top. Weights start at U(-scale,
    scale), by default as large as the layers say. The networks of `tinyadv.paper` start at 0.05, or sigmoids at 0.2:
    from 0.05, sigmoids do not learn from 1,300 images in 30 epochs.
    """
    kinds: dict[str, Callable[..., Layer]] = {"sigmoid": Sigmoid, "rust": Rust, "rust-squared": RustSquared}
    if unit not in kinds or depth < 1 or len(keep) != 2:
        raise ValueError(
            f"unit is {' or '.join(map(repr, kinds))}, depth is at least 1, keep is (of pixels, of hidden units); "
            f"got {unit!r}, {depth} and {keep}"
        )
    arguments: dict[str, Any] = {"unit": unit, "units": units, "depth": depth, "inputs": inputs}
    arguments |= {"classes": classes, "keep": list(keep), "scale": scale}
    layers: list[Layer] = [Dropout(keep[0], rescale=False)]
    for i in range(depth):
        layers += [kinds[unit](units if i else inputs, units, rng, scale), Dropout(keep[1])]
    return Network("saturating_network", arguments, [*layers, Linear(units, classes, rng, scale)], "softmax")


def rbf_network(
    inputs: int = 784,
    classes: int = 10,
    beta: float = 0.1,
    full: bool = False,
    top: Literal["rbf", "rbf-true-class", "rbf-squared"] = "rbf",
    *,
    rng: Generator,
) -> Network:
    """The shallow RBF network of section 7: p_k = exp(-(x - mu_k)^T beta_k (x - mu_k)), one unit a class.

    Centres start at U(0, 1) noise of pixels, beta at `beta` in every direction; `full` gives each unit a whole
    matrix instead of a diagonal. The top says which J trains it: the sum of binary cross-entropies, -log p_y, or
    the sum of squared errors.
    """
    _check_top(top, "rbf", "rbf-true-class", "rbf-squared")
    arguments = {"inputs": inputs, "classes": classes, "beta": beta, "full": full, "top": top}
    mu = uniform(rng, (classes, inputs), 0.5) + 0.5
    return Network("rbf_network", arguments, [RBF(mu, beta, full)], top)


def deep_rbf_network(
    units: int = 240,
    depth: int = 1,
    beta: float = 0.03,
    hidden_beta: float = 0.1,
    top: Literal["rbf", "rbf-squared", "softmax"] = "rbf",
    inputs: int = 784,
    classes: int = 10,
    *,
    rng: Generator,
) -> Network:
    """A deep RBF network, section 7: `depth` layers of `units` RBF units, then one RBF unit a class, or a softmax.

    The paper tried such networks and does not describe them. Centres start at U(0, 1) noise, as both pixels and RBF
    units lie between 0 and 1; beta starts at `beta` in the first layer and at `hidden_beta` above.
    """
    _check_top(top, "rbf", "rbf-squared", "softmax")
    if depth < 1:
        raise ValueError(f"depth is at least 1, got {depth}")
    arguments: dict[str, Any] = {"units": units, "depth": depth, "beta": beta, "hidden_beta": hidden_beta, "top": top}
    arguments |= {"inputs": inputs, "classes": classes}
    sizes = chain([inputs], repeat(units, depth), [classes])
    centres = [uniform(rng, (n, m), 0.5) + 0.5 for m, n in pairwise(sizes)]
    layers: list[Layer] = [RBFUnits(mu, hidden_beta if i else beta) for i, mu in enumerate(centres[:-1])]
    last: Layer = Linear(units, classes, rng, units**-0.5) if top == "softmax" else RBF(centres[-1], hidden_beta)
    return Network("deep_rbf_network", arguments, [*layers, last], top)


def quadratic_network(
    units: int = 240,
    depth: int = 2,
    inhibition: float = 0.01,
    top: Literal["softmax", "sigmoid"] = "softmax",
    inputs: int = 784,
    classes: int = 10,
    scale: float = 0.05,
    *,
    rng: Generator,
) -> Network:
    """A network of linear units with quadratic inhibition, rectified, under a softmax or sigmoids, section 7.

    The paper tried models with quadratic units and does not describe them. `depth` layers of `units` units
    max(0, w . x + b - beta . x^2), every beta starting at `inhibition`. Independent sigmoids can decline to answer
    where all hidden units are inhibited; a softmax cannot.
    """
    _check_top(top, "softmax", "sigmoid")
    if depth < 1:
        raise ValueError(f"depth is at least 1, got {depth}")
    arguments: dict[str, Any] = {"units": units, "depth": depth, "inhibition": inhibition, "top": top}
    arguments |= {"inputs": inputs, "classes": classes, "scale": scale}
    layers: list[Layer] = []
    for i in range(depth):
        layers += [Quadratic(units if i else inputs, units, rng, scale, inhibition), Relu()]
    return Network("quadratic_network", arguments, [*layers, Linear(units, classes, rng, scale)], top)


def mp_dbm(
    units: tuple[int, int] = (2087, 3200), iterations: int = 14, inputs: int = 784, classes: int = 10, *, rng: Generator
) -> Network:
    """The multi-prediction deep Boltzmann machine of section 9, by default of the published size: see `dbm`.

    It is trained by `dbm.multi_prediction_objective`; before that, `dbm.machine_of(model).start_from(images)` sets its
    visible biases. J, which attacks climb, is the cross-entropy of the label inferred from all pixels.
    """
    arguments: dict[str, Any] = {"units": list(units), "iterations": iterations, "inputs": inputs, "classes": classes}
    machine = DeepBoltzmannMachine(units, iterations, inputs, classes, rng=rng)
    return Network("mp_dbm", arguments, [machine], "softmax", inputs)


def _check_top(top: str, *known: str) -> None:
    if top not in known:
        raise ValueError(f"top is {' or '.join(map(repr, known))}, got {top!r}")


_BUILDERS: dict[str, Callable[..., Network]] = {
    f.__name__: f
    for f in (
        softmax_regression,
        logistic_regression,
        maxout_network,
        conv_maxout_network,
        mp_dbm,
        saturating_network,
        rbf_network,
        deep_rbf_network,
        quadratic_network,
    )
}


def build(builder: str, arguments: dict[str, Any], rng: Any) -> Network:
    """The network that `builder(**arguments, rng=rng)` makes, the builder given by its name.

    Raises
    ------
    ValueError
        If there is no such builder, or it does not take these arguments.
    """
    if builder not in _BUILDERS:
        raise ValueError(f"no network {builder!r}: there are {', '.join(_BUILDERS)}")
    try:
        return _BUILDERS[builder](**arguments, rng=rng)
    except TypeError as error:
        raise ValueError(f"{builder} does not take {arguments}: {error}") from error


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a network, or a model of one's own, to `path` (safetensors): whole or not at all.

    The file holds the parameters and the state by their names (see `named_parameters`), and what makes the model: of a
    network as a function of this module makes it, that function's name and arguments, so that `load(path)` makes it
    again; of any other, a description, which `load(path, into=model)` compares.

    PyTorch reads such a file by `safetensors.torch.load_file(path)`, and `load_parameters` takes what PyTorch wrote
    there. `layers.Linear` is `torch.nn.Linear`: W is its weight `(units, inputs)`, b its bias. `Maxout` is a Linear of
    pieces * units outputs with weight W.reshape(pieces * units, inputs) and bias b, then
    z.reshape(N, pieces, units).amax(1). Names are paths: of a network "layers.0.W", numbers counting all its layers, of
    `nn.Sequential` "0.weight"::

        theirs = safetensors.numpy.load_file("mlp.safetensors")  # nn.Sequential(Linear, ReLU, Linear).state_dict()
        mine = Network("mlp", {}, [Linear(784, 100, rng), ops.relu, Linear(100, 10, rng)], "softmax")
        names = {"weight": "W", "bias": "b"}
        load_parameters(mine, {f"layers.{i}.{names[kind]}": a for (i, kind), a in
                               ((name.split("."), a) for name, a in theirs.items())})

    Raises
    ------
    ValueError
        If `load` would refuse the file: parameters are NaN or infinite, not all float32 or all float64, or share
        memory.
    OSError
        If it cannot be written.
    """
    parameters = {name: to_device(p.data, "cpu") for name, p in named_parameters(model).items()}
    if problem := _problem(parameters):
        raise ValueError(f"this {_name(model)} cannot be saved: {problem}")
    state = {name: to_device(a, "cpu") for name, a in named_state(model).items()}
    if is_as_built(model):
        about = {"network": model.builder, "arguments": model.arguments}
    else:
        about = {"description": describe(model)}
    save_arrays(path, parameters | state, about)


def is_as_built(model: Any) -> bool:
    """Whether a network is what its builder makes of its arguments: nobody has changed a layer, or a number, since."""
    if getattr(model, "builder", None) not in _BUILDERS:
        return False
    try:
        return not differences(describe(build(model.builder, model.arguments, _Zeros())), describe(model))
    except (ValueError, TypeError, LookupError):
        return False


class _Zeros:
    """In place of a generator's numbers, zeros."""

    def random(self, shape: tuple[int, ...], dtype: object) -> Array:
        return zeros(shape)

    standard_normal = random


M = TypeVar("M")


@overload
def load(path: str | os.PathLike[str]) -> Network: ...
@overload
def load(path: str | os.PathLike[str], into: M) -> M: ...
def load(path: str | os.PathLike[str], into: Any = None) -> Any:
    """The network that `save` wrote to `path`, on the CPU.

    Parameters
    ----------
    into : model, optional
        A model made by the code that made the saved one: it gets the file's parameters and state, and is given back.
        Models of one's own are loaded so, since no code is read from files.

    Raises
    ------
    StorageError
        If the file is missing, damaged, not a network's, or another network's than `into`, which then stays as it is.
    """
    arrays, about = load_arrays(path)
    description: Any = about.get("description")
    if {"network", "arguments"} <= about.keys():
        model = _rebuilt(path, arrays, about)
        load_parameters(model, arrays, path, copy=False)
        if into is None:
            return model
        description = describe(model)
    if not isinstance(description, dict):
        raise StorageError(f"{path} holds arrays, but not a network")
    if into is None:
        raise StorageError(
            f"{path} holds a model of one's own, a {description.get('')}: make one by the code that made it, "
            "and load(path, into=model)"
        )
    here, places = describe(into), empty_places(into) & arrays.keys()
    here |= {place: description.get(place) for place in places}
    if others := differences(description, here):
        raise StorageError(f"{path} holds another model than the one given: it has {'; '.join(others)[:1000]}")
    load_parameters(into, arrays, path, places, copy=False)
    return into


EMBEDDED = Path(__file__).parent / "data" / "networks"


def embedded_names() -> list[str]:
    """The names of the trained networks that travel with the package."""
    return sorted(path.stem for path in EMBEDDED.glob("*.safetensors"))


def embedded(name: str) -> Network:
    """A trained network that travels with the package, by its name, on the CPU and in float32.

    It may be kept as float16; `data_scripts/networks.py` tells how it is made, and `provenance` how it was trained.
    "conv-maxout" takes whitened images, those of `datasets.cifar10(whitened=True)`; all others take pixels from 0 to 1.

    Raises
    ------
    ValueError
        If no network has this name.
    StorageError
        If its file is damaged.
    """
    path = _embedded_path(name)
    arrays, about = load_arrays(path)
    arrays = {key: a.astype("float32") for key, a in arrays.items()}
    model = _rebuilt(path, arrays, about)
    load_parameters(model, arrays, path, copy=False)
    return model


def provenance(name: str) -> dict[str, Any]:
    """How an embedded network was trained: its recipe, log, and its figures before any rounding to float16.

    Raises
    ------
    ValueError, StorageError
        As `embedded` does.
    """
    return load_arrays(_embedded_path(name))[1]


def _embedded_path(name: str) -> Path:
    if name not in embedded_names():
        raise ValueError(f"no embedded network {name!r}: there are {', '.join(embedded_names())}")
    return EMBEDDED / f"{name}.safetensors"


def _rebuilt(path: str | os.PathLike[str], arrays: dict[str, Array], about: dict[str, Any]) -> Network:
    builder, arguments = about["network"], about["arguments"]
    try:
        if not isinstance(builder, str) or not isinstance(arguments, dict):
            raise ValueError("wanted a builder's name and a table of its arguments")
        return build(builder, arguments, _Room(arrays, bool(arguments.get("full"))))
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
        raise StorageError(f"{path} holds a network that cannot be made: {str(error)[:500]}") from error


class _Room:
    """In place of a generator's numbers, zeros: as many as a file has, so that no file makes a network larger than it.

    Every layer draws its weights first; only `full` matrices of RBF units are larger than what is drawn for them.
    """

    def __init__(self, arrays: dict[str, Array], full: bool) -> None:
        self.numbers, self.draws, self.full = sum(a.size for a in arrays.values()), len(arrays), full

    def random(self, shape: tuple[int, ...], dtype: object) -> Array:
        self.numbers -= prod(map(index, shape)) * (index(shape[-1]) if self.full else 1)
        self.draws -= 1
        if min(shape) < 1 or min(self.numbers, self.draws) < 0:
            raise ValueError(f"weights of shape {shape} where the file has no such room")
        return zeros(shape)

    def standard_normal(self, shape: tuple[int, ...], dtype: object) -> Array:
        """For entries of an array that `random` has been asked for already: see `backend.sparse_normal`."""
        return zeros(shape)


def load_parameters(
    model: Any,
    arrays: dict[str, Array],
    source: object = "these arrays",
    places: Collection[str] = (),
    copy: bool = True,
) -> None:
    """Give `model` arrays by the names of `named_parameters` and `named_state`; or of `places` where it has None.

    They are copied, so that training this model changes no other, whose arrays they may be; without `copy` they are
    the model's from then on.

    Raises
    ------
    StorageError
        Unless they are all there, of these shapes, and parameters finite and all float32 or all float64; `source` is
        what it names. The model then stays as it is.
    """
    named, state = named_parameters(model), named_state(model)
    wanted = {name: tuple(a.shape) for name, a in (named | state).items()}
    found = {name: a.shape for name, a in arrays.items() if name not in places}
    if wanted != found:
        shown = f"wanted arrays {str(wanted)[:500]}, found {str(found)[:500]}"
        raise StorageError(f"{source} does not fit {getattr(model, 'builder', type(model).__name__)}: {shown}")
    if problem := _problem({name: arrays[name] for name in named}):
        raise StorageError(f"{source} cannot be loaded: {problem}")
    for name, p in named.items():
        p.data = arrays[name].copy() if copy else arrays[name]
    set_state(model, {name: arrays[name].copy() if copy else arrays[name] for name in [*state, *places]})


def _problem(parameters: dict[str, Array]) -> str:
    """Why arrays cannot be the parameters of one network; nothing if they can."""
    kinds = sorted({a.dtype.name for a in parameters.values()})
    if kinds not in ([], ["float32"], ["float64"]):
        return f"its parameters are {', '.join(kinds)}: wanted float32 alone, or float64"
    for name, a in parameters.items():
        if not a.dtype.isnative:
            return f"{name} has its bytes in another order than this machine: use .astype('{a.dtype.name}')"
        if a.size and not all(math.isfinite(end) for end in (a.min(), a.max())):  # NaN is both
            return f"{name} is NaN or infinite"
    if shared := sharing_memory(parameters):
        return f"{' and '.join(shared)} share memory: to share parameters, share the Tensor"
    return ""
