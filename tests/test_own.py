"""Layers and models as other people write them: found, trained, attacked, evaluated, saved, loaded, moved."""

import copy
import gc
import importlib
import os
import pickle
import queue
import random
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from functools import cache, partial
from io import StringIO
from pathlib import PurePosixPath
from textwrap import dedent
from typing import NamedTuple

import numpy as np
import pytest

from tinyadv import attacks, layers, losses, metrics, models, ops
from tinyadv.backend import generator, to_device
from tinyadv.datasets import mnist
from tinyadv.gradcheck import gradcheck
from tinyadv.layers import Dropout, Linear, Maxout, Relu, named_parameters, named_state, parameters
from tinyadv.models import Network, load, move, save
from tinyadv.optim import SGD, Schedule
from tinyadv.owned import constants, describe, incoming_axes
from tinyadv.paper.attacking import software
from tinyadv.paper.rounding import Rounded
from tinyadv.storage import StorageError, save_arrays
from tinyadv.tensor import Op, Tensor, grad, raw
from tinyadv.training import mean_objective, train

N, D, H, K = 1200, 6, 8, 3


def numbers(*shape, seed=0, scale=0.5):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype("float32")


@pytest.fixture(scope="module")
def data():
    """Three clouds of points, more of them than go through a network at once."""
    rng, y = np.random.default_rng(7), np.arange(N) % K
    return (np.eye(D)[y] + 0.2 * rng.normal(size=(N, D))).astype("float32"), y


# ---------------------------------------------------------------------------------------------------------
# Layers (N, D) -> (N, H) or (N, D), each written by another habit


class Affine:
    """W as (inputs, units), b first, no rng."""

    def __init__(self, inputs, units, seed=0):
        self.b = Tensor(np.zeros(units, dtype="float32"))
        self.W = Tensor(numbers(inputs, units, seed=seed))

    def __call__(self, x):
        return x @ self.W + self.b


class InDict:
    def __init__(self, kind=dict):
        self.params = kind([("W", Tensor(numbers(D, H))), ("b", Tensor(np.zeros(H, dtype="float32")))])

    def __call__(self, x):
        return x @ self.params["W"] + self.params["b"]


class InDeque:
    def __init__(self):
        self.weights = deque([Tensor(numbers(D, H)), Tensor(np.zeros(H, dtype="float32"))])

    def __call__(self, x):
        W, b = self.weights
        return x @ W + b


class InSlots:
    __slots__ = ("W", "__b", "unset")

    def __init__(self):
        self.W, self.__b = Tensor(numbers(D, H)), Tensor(np.zeros(H, dtype="float32"))

    def __call__(self, x):
        return x @ self.W + self.__b


@dataclass(slots=True)
class SlotsDataclass:
    W: Tensor = field(default_factory=lambda: Tensor(numbers(D, H)))

    def __call__(self, x):
        return x @ self.W


class InClass:
    W = Tensor(numbers(D, H))

    def __call__(self, x):
        return x @ self.W


class Scaled:
    """A scalar parameter first: its shape says nothing of the input."""

    def __init__(self):
        self.gain, self.W = Tensor(np.float32(1.5)), Tensor(numbers(D, H))

    def __call__(self, x, **options):
        return self.gain * (x @ self.W)


class BatchNorm:
    """Running statistics in NumPy; in training, when there is an rng, those of the batch."""

    def __init__(self, inputs=D):
        self.gamma, self.beta = Tensor(np.ones(inputs, "float32")), Tensor(np.zeros(inputs, "float32"))
        self.mean, self.var = np.zeros(inputs, "float32"), np.ones(inputs, "float32")

    def __call__(self, x, rng=None):
        mean, var = self.mean, self.var
        if rng is not None:
            mean = x.mean(axis=0)
            var = ((x - mean) * (x - mean)).mean(axis=0)
            self.mean = 0.9 * self.mean + 0.1 * raw(mean)
            self.var = 0.9 * self.var + 0.1 * raw(var)
        return self.gamma * (x - mean) / ops.sqrt(var + 1e-3) + self.beta


class InPlaceBatchNorm(BatchNorm):
    """The same, its statistics changed in place."""

    def __call__(self, x, rng=None):
        if rng is None:
            return super().__call__(x)
        mean = x.mean(axis=0)
        self.mean *= 0.9
        self.mean += 0.1 * raw(mean)
        return self.gamma * (x - mean) + self.beta


class LateBatchNorm:
    """Its running mean is made at the first batch, when it is known how long a row is."""

    def __init__(self):
        self.mean = None

    def __call__(self, x, rng=None):
        if rng is None:
            return x if self.mean is None else x - self.mean
        mean = x.mean(axis=0)
        self.mean = raw(mean) if self.mean is None else 0.9 * self.mean + 0.1 * raw(mean)
        return x - mean


class Module:
    """A base class that hands everything on, as other libraries have it."""

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)


class Forward(Module):
    def __init__(self):
        self.W = Tensor(numbers(D, H))

    def forward(self, x):
        return x @ self.W


class ForwardDropout(Module):
    trained = False

    def __init__(self):
        self.W = Tensor(numbers(D, H))

    def forward(self, x, rng=None):
        ForwardDropout.trained = ForwardDropout.trained or rng is not None
        return Dropout(0.9)(x @ self.W, rng=rng)


class Row(NamedTuple):
    W: Tensor
    b: Tensor

    def __call__(self, x):
        return x @ self.W + self.b


class DictLayer(dict):
    def __call__(self, x):
        return x @ self["W"]


class KeepsItsInput:
    """As those who write gradients by hand do, as an array."""

    def __init__(self):
        self.W, self.x = Tensor(numbers(D, H)), None

    def __call__(self, x):
        self.x = raw(x)
        return x @ self.W


class Residual:
    def __init__(self, *inner):
        self.inner = inner

    def __call__(self, x, rng=None):
        h = x
        for layer in self.inner:
            h = layer(h)
        return x + h


class Frozen:
    """A weight that training leaves alone: an array."""

    def __init__(self):
        self.W, self.b = numbers(D, H), Tensor(np.zeros(H, "float32"))

    def __call__(self, x):
        return x @ self.W + self.b


class Colour(Enum):
    RED = 1


class Cluttered:
    """Attributes of every kind, among them the way back up."""

    def __init__(self, parent=None):
        self.xp, self.colour, self.parent, self.lock, self.kind = np, Colour.RED, parent, threading.Lock(), Relu
        self.act, self.names, self.W = ops.relu, {"a", "b"}, Tensor(numbers(D, H))
        self.log, self.sizes, self.random = StringIO(), range(3), random.Random(0)
        self.itself = self

    def __call__(self, x):
        return self.act(x @ self.W)


class Remembering:
    """It keeps its last output to look at: no parameter."""

    def __init__(self):
        self.W, self.last = Tensor(numbers(D, H)), None

    def __call__(self, x):
        self.last = x @ self.W
        return self.last


class Noisy:
    """It asks for an rng without a default."""

    def __init__(self):
        self.W = Tensor(numbers(D, H))

    def __call__(self, x, rng):
        y = x @ self.W
        return y if rng is None else y + 0.01 * rng.normal(size=y.shape).astype("float32")


def closure():
    W = Tensor(numbers(D, H))
    return lambda x: ops.relu(x @ W)


def tied():
    """An autoencoder with one weight, then one layer twice."""
    W, square = Tensor(numbers(D, H)), Linear(D, D, generator(3))
    return [lambda x: x @ W, lambda h: h @ ops.transpose(W), square, ops.relu, square, Affine(D, H)]


# name: the layers below the top, and how many parameters they have
HABITS = {
    "W as (inputs, units)": (lambda: [Affine(D, H)], 2),
    "dict": (lambda: [InDict()], 2),
    "OrderedDict": (lambda: [InDict(OrderedDict)], 2),
    "deque": (lambda: [InDeque()], 2),
    "slots": (lambda: [InSlots()], 2),
    "slots dataclass": (lambda: [SlotsDataclass()], 1),
    "class attribute": (lambda: [InClass()], 1),
    "scalar first": (lambda: [Scaled()], 2),
    "batch normalisation": (lambda: [BatchNorm(), Affine(D, H)], 4),
    "batch normalisation in place": (lambda: [InPlaceBatchNorm(), Affine(D, H)], 4),
    "batch normalisation made late": (lambda: [LateBatchNorm(), Affine(D, H)], 2),
    "forward": (lambda: [Forward()], 1),
    "forward with rng": (lambda: [ForwardDropout()], 1),
    "named tuple": (lambda: [Row(Tensor(numbers(D, H)), Tensor(np.zeros(H, "float32")))], 2),
    "subclass of dict": (lambda: [DictLayer(W=Tensor(numbers(D, H)))], 1),
    "keeps its input": (lambda: [KeepsItsInput()], 1),
    "residual": (lambda: [Residual(Affine(D, D), ops.tanh), Affine(D, H)], 4),
    "nested network": (lambda: [Network("inner", {}, [Affine(D, H), Dropout(0.9)], "softmax")], 2),
    "frozen": (lambda: [Frozen()], 1),
    "clutter": (lambda: [Cluttered()], 1),
    "remembering": (lambda: [Remembering()], 1),
    "rng without default": (lambda: [Noisy()], 1),
    "function": (lambda: [lambda x: x[:, :4], Affine(4, H)], 2),
    "partial": (lambda: [partial(ops.clip, low=-2.0, high=2.0), Affine(D, H)], 2),
    "closure": (lambda: [closure()], 1),
    "shared": (tied, 5),
}


def network(habit):
    layers = HABITS[habit][0]()
    model = Network("mine", {}, [*layers, ops.relu, Linear(H, K, generator(1))], "softmax")
    for value in [*vars(layers[0]).values()] if isinstance(layers[0], Cluttered) else ():
        if value is None:
            layers[0].parent = model
    return model


def fit(model, data, epochs=3, objective=losses.adversarial_objective, **options):
    optimiser = SGD(model, Schedule(0.1))
    objective = partial(objective, eps=0.05) if objective is losses.adversarial_objective else objective
    return train(model, objective, *data, epochs=epochs, seed=0, optimiser=optimiser, batch=50, **options)


@pytest.fixture(params=HABITS)
def habit(request):
    InClass.W.data = numbers(D, H)
    return request.param


def test_every_habit_trains_is_attacked_evaluated_saved_and_loaded(habit, data, tmp_path):
    x, y = data
    model, untrained = network(habit), network(habit)
    assert len(parameters(model)) == HABITS[habit][1] + 2
    before = [p.data.copy() for p in parameters(model)]
    fit(model, data)
    assert all((p.data != old).any() for p, old in zip(parameters(model), before, strict=True))  # each was trained
    clean = metrics.evaluate(model, x, y)
    assert clean.error < 0.05
    attacked = metrics.evaluate(model, attacks.fgsm(model, x, y, 0.4), y)
    assert attacked.error > clean.error
    assert (
        metrics.predict(model, x).tolist()
        == metrics.predict(model, x[:900]).tolist() + metrics.predict(model, x[900:]).tolist()
    )
    outputs = model(x)
    assert isinstance(outputs, np.ndarray)
    assert outputs.tobytes() == model(Tensor(x)).data.tobytes()
    save(model, tmp_path / "mine")
    assert load(tmp_path / "mine", into=untrained) is untrained
    assert untrained(x).tobytes() == outputs.tobytes()
    with pytest.raises(StorageError, match=r"a model of one's own, a Network: make one .* load\(path, into=model\)"):
        load(tmp_path / "mine")


def test_every_habit_goes_on_from_its_checkpoint_to_the_same_bits(habit, data, tmp_path):
    if habit == "class attribute":
        pytest.skip("its objects share the one Tensor of the class")
    straight = network(habit)
    fit(straight, data, epochs=3)
    fit(network(habit), data, epochs=2, checkpoint=tmp_path / "checkpoint")
    continued = network(habit)
    fit(continued, data, epochs=3, checkpoint=tmp_path / "checkpoint")
    assert continued(data[0]).tobytes() == straight(data[0]).tobytes()


def test_every_habit_is_moved(habit, data):
    x = data[0].astype("float64")
    model = network(habit)
    expected = model(data[0])
    move(model, dtype="float64")
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)
    assert {str(p.dtype) for p in parameters(model)} == {"float64"}
    assert {str(a.dtype) for a in named_state(model).values()} <= {"float64"}


def test_layers_run_on_another_library(habit, data, xp):
    if habit in ("rng without default",):
        pytest.skip("its noise is NumPy's")
    model = network(habit)
    expected = model(data[0][:5])
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    from tinyadv.owned import set_state

    set_state(model, {name: xp.asarray(a) for name, a in named_state(model).items()})
    np.testing.assert_allclose(to_device(model(xp.asarray(data[0][:5])), "cpu"), expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------
# What is found


def test_names_lead_to_the_parameters():
    assert list(named_parameters(InDict())) == ["params.W", "params.b"]
    assert list(named_parameters(InDeque())) == ["weights.0", "weights.1"]
    assert list(named_parameters(InSlots())) == ["W", "_InSlots__b"]
    assert list(named_parameters(Residual(Affine(2, 2), Linear(2, 2, generator(0))))) == [
        "inner.0.b", "inner.0.W", "inner.1.W", "inner.1.b",
    ]  # fmt: skip
    assert list(named_parameters(closure())) == ["W"]
    assert list(named_parameters(partial(lambda W, x: x @ W, Tensor(numbers(2, 2))))) == ["args.0"]


def test_each_parameter_counts_once():
    layer = Affine(D, D)
    layer.all = [layer.W, layer.b]
    twice = Network("mine", {}, [layer, layer], "softmax")
    assert list(named_parameters(twice)) == ["layers.0.b", "layers.0.W"]
    x, y = numbers(5, D), np.arange(5) % D
    W = layer.W.data.copy()
    (g,) = grad(twice.loss(twice(Tensor(x)), y), [layer.W])
    _, gradients = losses.clean_objective(twice, x, y, None)
    SGD(twice, Schedule(0.5, momentum=0.0, final_momentum=0.0)).step(gradients)
    np.testing.assert_allclose(layer.W.data, W - 0.5 * g, rtol=1e-6)


def test_ties_survive_a_file(tmp_path):
    def make(*, is_tied):
        first = Affine(D, D)
        return Network("mine", {}, [first, ops.tanh, first if is_tied else Affine(D, D)], "softmax")

    save(make(is_tied=True), tmp_path / "tied")
    back = load(tmp_path / "tied", into=make(is_tied=True))
    assert back.layers[0].W is back.layers[2].W
    for a, b in ((True, False), (False, True)):
        save(make(is_tied=a), tmp_path / "file")
        with pytest.raises(StorageError, match=r"layers.2 (the same as layers.0|Affine), not"):
            load(tmp_path / "file", into=make(is_tied=b))


def filled(held, W):
    held.put(W)
    return held


def objects(*values):
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda W: {W, 1}, "layer is a set, which cannot be searched"),
        (lambda W: frozenset([W]), "layer is a frozenset, which"),
        (lambda W: map(Tensor, []), "layer is a map, which"),
        (lambda W: (w for w in [W]), "layer is a generator, which"),
        (lambda W: {"W": W}.values(), "layer is a dict_values, which"),
        (lambda W: objects(W), "layer is an array of objects, which"),
        (lambda W: filled(queue.SimpleQueue(), W), "layer is a SimpleQueue, which"),
        (
            lambda W: 0.1 * W,
            "layer is computed by multiply, from Tensors that are no parameters: .* Tensor\\(0.1 \\* a",
        ),
    ],
)
def test_what_cannot_be_searched_is_named(value, message):
    class Holder:
        def __init__(self):
            self.layer = value(Tensor(numbers(2, 2)))

    with pytest.raises(TypeError, match=message):
        parameters(Holder())


def test_two_parameters_of_one_name_are_named():
    with pytest.raises(ValueError, match="two parameters have the name 1"):
        parameters({1: Tensor(numbers(2)), "1": Tensor(numbers(2))})


def test_a_list_of_tensors_owns_them_and_numbers_own_nothing():
    W = Tensor(numbers(2, 2))
    assert named_parameters([W, W]) == {"0": W}
    assert named_parameters({"names": ("a", 1, None), "f": abs, "rng": generator(0)}) == {}


def test_deep_structures_are_no_deeper_than_the_stack():
    chain = Tensor(numbers(1))
    for _ in range(20_000):
        chain = [chain]
    assert len(parameters(chain)) == 1
    while isinstance(chain, list):  # a chain is freed link by link
        chain = chain[0]


def test_searching_keeps_nothing_alive():
    layer = Affine(D, H)
    gone = id(layer)
    parameters(layer)
    describe(layer)
    del layer
    gc.collect()
    assert not [o for o in gc.get_objects() if id(o) == gone and isinstance(o, Affine)]


def test_layers_say_which_axes_are_incoming():
    layer = Affine(D, H)
    layer.incoming_axes = {"W": 0}
    assert incoming_axes(Network("mine", {}, [Relu(), layer], "softmax")) == {"layers.1.W": (0,)}


# ---------------------------------------------------------------------------------------------------------
# Layers that are none


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Relu, "layer 1 is the class Relu: wanted an object"),
        (numbers(2, 2), "layer 1 is a ndarray"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_layer_is_named(layer, message):
    with pytest.raises(TypeError, match=message):
        Network("mine", {}, [ops.relu, layer], "softmax")


def test_a_layer_that_forgets_to_return_is_named():
    class Forgetful:
        def __call__(self, x):
            x + 1.0

    model = Network("mine", {}, [ops.relu, Forgetful()], "softmax")
    with pytest.raises(TypeError, match="layer 1, Forgetful, gives a NoneType: wanted an array or a Tensor"):
        model(numbers(2, 2))


# ---------------------------------------------------------------------------------------------------------
# Models of one's own class


class Model:
    def __init__(self, seed=0):
        self.first, self.last = Affine(D, H, seed), Affine(H, K, seed + 1)

    def __call__(self, x):
        return self.last(ops.relu(self.first(x)))

    def loss(self, outputs, y):
        return losses.softmax_cross_entropy(outputs, y)

    def probabilities(self, outputs):
        return ops.softmax(outputs)


@pytest.mark.parametrize(
    "objective", [losses.clean_objective, losses.adversarial_objective, losses.noise_objective,
                  losses.through_attack_objective, partial(losses.adversarial_objective, attacked="training", eps=0.1)],
)  # fmt: skip
def test_a_model_of_one_s_own_class_trains_and_is_saved(objective, data, tmp_path):
    model, (x, y) = Model(), data
    fit(model, data, objective=objective, checkpoint=tmp_path / "checkpoint")
    assert metrics.evaluate(model, x, y).error < 0.05
    assert metrics.evaluate(model, attacks.pgd(model, x, y, 0.5, steps=3), y).error > 0.1
    save(model, tmp_path / "mine")
    assert load(tmp_path / "mine", into=Model(5))(Tensor(x)).data.tobytes() == model(Tensor(x)).data.tobytes()
    with pytest.raises(StorageError, match="another model than the one given: it has class Model, not Affine"):
        load(tmp_path / "mine", into=Affine(D, H))


# ---------------------------------------------------------------------------------------------------------
# What is saved is what is loaded


def append_layer(q):
    q.layers.append(lambda z: 2.0 * z)


CHANGES = {
    "another layer": lambda q: q.layers.__setitem__(1, ops.tanh),
    "an appended layer": append_layer,
    "an inserted normalising layer": lambda q: q.layers.insert(0, BatchNorm()),
    "a subclass": lambda q: setattr(q.layers[1], "__class__", type("Leaky", (Relu,), {})),
    "another top": lambda q: setattr(q, "top", "sigmoid"),
    "another number": lambda q: setattr(q.layers[0], "SQUARE", 0.5),
    "a subclass of Network": lambda q: setattr(q, "__class__", type("Mine", (Network,), {})),
    "other arguments": lambda q: q.arguments.__setitem__("units", 5),
    "another builder": lambda q: setattr(q, "builder", "mine"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_is_not_loaded_as_the_unchanged_one(change, tmp_path):
    def make(*changes):
        q = models.quadratic_network(4, 1, inputs=D, classes=K, rng=generator(0))
        for each in changes:
            CHANGES[each](q)
        return q

    changed = make(change)
    save(changed, tmp_path / "file")
    with pytest.raises(StorageError, match="a model of one's own"):
        load(tmp_path / "file")
    with pytest.raises(StorageError, match="holds another model than the one given: it has "):
        load(tmp_path / "file", into=make())
    x = numbers(9, D)
    assert load(tmp_path / "file", into=make(change))(x).tobytes() == changed(x).tobytes()


def test_dropout_with_another_keep_is_another_network(tmp_path):
    model = models.maxout_network(4, 2, inputs=D, classes=K, rng=generator(0))
    model.layers[0].keep = 0.7
    save(model, tmp_path / "file")
    other = models.maxout_network(4, 2, inputs=D, classes=K, rng=generator(0))
    with pytest.raises(StorageError, match=r"it has layers.0.keep 0.7, not 0.8$"):
        load(tmp_path / "file", into=other)


def test_a_file_of_a_builder_s_network_is_loaded_into_an_equal_one_only(tmp_path):
    model = models.maxout_network(4, 2, inputs=D, classes=K, rng=generator(0))
    save(model, tmp_path / "file")
    into = models.maxout_network(4, 2, inputs=D, classes=K, rng=generator(1))
    assert load(tmp_path / "file", into=into) is into
    assert into(numbers(3, D)).tobytes() == model(numbers(3, D)).tobytes()
    into.layers[2].keep = 0.9
    before = into.layers[1].W.data.copy()
    into.layers[1].W.data = before
    with pytest.raises(StorageError, match=r"layers.2.keep 0.5, not 0.9"):
        load(tmp_path / "file", into=into)
    assert into.layers[1].W.data is before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: m.layers[0].b.data.__setitem__(0, np.nan), "layers.0.b is NaN or infinite"),
        (
            lambda m: setattr(m.layers[0].W, "data", m.layers[0].W.data.astype("float64")),
            "are float32, float64: wanted",
        ),
        (lambda m: setattr(m.layers[1].W, "data", m.layers[0].W.data.T), "layers.0.W and layers.1.W share memory"),
        (lambda m: [setattr(p, "data", p.data.astype("float16")) for p in parameters(m)], "float16: wanted"),
    ],
)
def test_what_would_not_be_loaded_is_not_saved(spoil, message, tmp_path):
    model = Network("mine", {}, [Affine(D, D), Affine(D, D, 1)], "softmax")
    spoil(model)
    with pytest.raises(ValueError, match=f"this Network cannot be saved: .*{message}"):
        save(model, tmp_path / "file")
    assert not [*tmp_path.iterdir()]


def test_transposed_parameters_come_back_and_big_endian_ones_are_refused(tmp_path):
    model = Network("mine", {}, [Affine(D, K)], "softmax")
    expected = model(numbers(4, D))
    W = model.layers[0].W
    W.data = np.asfortranarray(W.data)
    with pytest.raises(TypeError, match="native floating point numbers, got >f4"):
        model.layers[0].b.data = model.layers[0].b.data.astype(">f4")
    save(model, tmp_path / "file")
    assert load(tmp_path / "file", into=Network("mine", {}, [Affine(D, K)], "softmax"))(numbers(4, D)).tobytes() == (
        expected.tobytes()
    )


def test_running_means_are_in_the_file_and_in_the_best_epoch(data, tmp_path):
    from tinyadv.training import Stopping

    model = network("batch normalisation")
    means = []

    def validate(model):
        means.append(model.layers[0].mean.copy())
        return {"error": float(len(means))}

    fit(model, data, validate=validate, stopping=Stopping("error", 2))
    assert (model.layers[0].mean == means[1]).all()  # the first is from before training
    assert (means[1] != means[2]).any()
    save(model, tmp_path / "file")
    assert (load(tmp_path / "file", into=network("batch normalisation")).layers[0].mean == means[1]).all()


def test_a_copy_is_a_model_of_its_own(data):
    model = Model()
    other = copy.deepcopy(model)
    fit(other, data, epochs=1)
    assert model(data[0]).data.tobytes() == Model()(data[0]).data.tobytes()


def with_constant(kind, value):
    """A network that multiplies its input by a constant array, held where nothing can be put in its place."""
    a = np.full(D, value, "float32")
    scale = {
        "closure": lambda x: x * a,
        "default": lambda x, a=a: x * a,
        "partial": partial(ops.multiply, a),
        "tuple": lambda x, held=(a,): x * held[0],
    }[kind]
    return Network("mine", {}, [scale, Affine(D, K)], "softmax")


@pytest.mark.parametrize("kind", ["closure", "default", "partial", "tuple"])
def test_a_constant_belongs_to_the_model(kind, data, tmp_path):
    model = with_constant(kind, 2.0)
    fit(model, data, epochs=1, checkpoint=tmp_path / "checkpoint")
    save(model, tmp_path / "file")
    assert load(tmp_path / "file", into=with_constant(kind, 2.0))(data[0]).tobytes() == model(data[0]).tobytes()
    with pytest.raises(StorageError, match=r"another model than the one given: it has layers\.0\.\S* array \(6,\)"):
        load(tmp_path / "file", into=with_constant(kind, 3.0))
    with pytest.raises(StorageError, match=r"another training: it has model\.layers\.0\.\S* array \(6,\)"):
        fit(with_constant(kind, 3.0), data, epochs=2, checkpoint=tmp_path / "checkpoint")


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_numbers_of_numpy_are_arguments_of_a_builder(kind, tmp_path):
    model = models.maxout_network(kind(4), kind(2), inputs=D, classes=K, scale=np.float32(0.25), rng=generator(0))
    save(model, tmp_path / "file")
    assert load(tmp_path / "file")(numbers(3, D)).tobytes() == model(numbers(3, D)).tobytes()


def test_an_argument_that_json_does_not_know_is_named(tmp_path):
    model = Network("mine", {}, [Affine(D, K)], "softmax")
    with pytest.raises(TypeError, match="JSON has numbers, texts, lists and tables, got a object"):
        save_arrays(tmp_path / "file", {"a": numbers(1)}, {"model": object()})
    save(model, tmp_path / "file")


# ---------------------------------------------------------------------------------------------------------
# What training changes, and a file does not keep


class Counting:
    """A running mean by a counter."""

    def __init__(self, count=0):
        self.mean, self.count = np.zeros(D, "float32"), count

    def __call__(self, x, rng=None):
        if rng is not None:
            self.count = self.count + 1
            self.mean = self.mean + (raw(x).mean(axis=0) - self.mean) / np.float32(self.count)
        return x - self.mean


class OwnRandom:
    def __init__(self):
        self.rng = np.random.default_rng(3)

    def __call__(self, x, rng=None):
        return x if rng is None else x + self.rng.normal(size=x.shape).astype("float32")


class RememberingMean:
    """Its running mean is computed with Tensors, and so remembers every step."""

    def __init__(self):
        self.mean = np.zeros(H, "float32")

    def __call__(self, x, rng=None):
        if rng is None:
            return x - self.mean
        mean = x.mean(axis=0)
        self.mean = 0.9 * self.mean + 0.1 * mean
        return x - mean


@pytest.mark.parametrize(
    ("layer", "name"), [(Counting, "count"), (lambda: Counting(np.array(0)), "count"), (OwnRandom, "rng")]
)
def test_a_checkpoint_that_would_not_be_gone_on_from_is_not_written(layer, name, data, tmp_path):
    def make():
        return Network("mine", {}, [layer(), Affine(D, K)], "softmax")

    fit(make(), data, epochs=1)
    with pytest.raises(TypeError, match=rf"training changes layers\.0\.{name}, but a checkpoint keeps arrays alone"):
        fit(make(), data, epochs=1, checkpoint=tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_a_count_in_an_array_is_gone_on_with(data, tmp_path):
    class InArray(Counting):
        def __call__(self, x, rng=None):
            count = self.count
            y = super().__call__(x, rng)
            self.count = count + (rng is not None)
            return y

    def make():
        return Network("mine", {}, [InArray(np.zeros(1)), Affine(D, K)], "softmax")

    straight, continued = make(), make()
    fit(straight, data, epochs=2)
    fit(make(), data, epochs=1, checkpoint=tmp_path / "checkpoint")
    fit(continued, data, epochs=2, checkpoint=tmp_path / "checkpoint")
    assert continued(data[0]).tobytes() == straight(data[0]).tobytes()


def test_a_result_that_remembers_the_step_before_is_named(data):
    model = Network("mine", {}, [Affine(D, H), RememberingMean(), Affine(H, K)], "softmax")
    with pytest.raises(TypeError, match=r"layers\.1\.mean is computed from its value at the step before, .* an array"):
        fit(model, data, epochs=1)


def test_forward_says_whether_a_layer_takes_rng(data):
    ForwardDropout.trained = False
    fit(network("forward with rng"), data, epochs=1)
    assert ForwardDropout.trained


# ---------------------------------------------------------------------------------------------------------
# Labels and tables of others


class Column:
    """Like a column of pandas whose index was shuffled: an array of rows is looked up in the index."""

    def __init__(self, values, index):
        self.values, self.index = values, index

    shape, dtype, ndim = property(lambda s: s.values.shape), property(lambda s: s.values.dtype), 1

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return Column(self.values[key], self.index[key])
        at = [list(self.index).index(k) for k in key]
        return Column(self.values[at], self.index[at])

    def __mul__(self, other):
        raise AssertionError("by labels")

    __rmul__ = __add__ = __radd__ = __mul__


LABELS = {"list": lambda y: y.tolist(), "column": lambda y: Column(y, np.random.default_rng(3).permutation(len(y)))}
ATTACKS = {
    "fgsm": lambda model, x, y: attacks.fgsm(model, x, y, 0.3),
    "pgd": lambda model, x, y: attacks.pgd(model, x, y, 0.3, steps=2),
    "pgd_l2": lambda model, x, y: attacks.pgd_l2(model, x, y, 0.3, steps=2),
    "apgd": lambda model, x, y: attacks.apgd(model, x, y, 0.3, steps=2),
    "rotate": lambda model, x, y: attacks.rotate(model, x, y, 0.3),
    "square": lambda model, x, y: attacks.square(model, x, y, 0.3, queries=20, rng=generator(0)),
}


class Square(Model):
    """A model of one's own of images of 2 by 2 pixels; called with an array it gives a Tensor."""

    def __init__(self):
        self.first, self.last = Affine(4, H), Affine(H, K, 1)


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_labels_belong_to_inputs_by_position_in_every_attack_on_a_model_of_one_s_own(attack, kind):
    x, y, model = numbers(30, 4), np.arange(30) % K, Square()
    attacked = ATTACKS[attack](model, x, y)
    assert isinstance(attacked, np.ndarray)
    assert (attacked != x).any()
    assert ATTACKS[attack](model, x, LABELS[kind](y)).tobytes() == attacked.tobytes()


@pytest.mark.parametrize("kind", LABELS)
def test_labels_belong_to_inputs_by_position_in_measures_and_trainings(kind, data):
    x, y = data
    order = np.random.default_rng(1).permutation(len(y))
    x, y, model = x[order], y[order], Model()
    labels = LABELS[kind](y)
    assert metrics.evaluate(model, x, labels) == metrics.evaluate(model, x, y)
    assert metrics.zero_gradient_share(model, x, labels) == metrics.zero_gradient_share(model, x, y)
    fit(model, (x, labels), epochs=1)
    expected = Model()
    fit(expected, (x, y), epochs=1)
    assert model(x).data.tobytes() == expected(x).data.tobytes()


def test_a_column_is_used_by_position_in_arithmetic():
    t, index = Tensor(numbers(3)), np.array([2, 0, 1])
    a, b = Column(numbers(3, seed=1), index), Column(numbers(3, seed=2), index[::-1])
    y = (t * a + t * b - a).sum()
    (g,) = grad(y, [t])
    np.testing.assert_array_equal(g, a.values + b.values)
    assert isinstance(y.data, np.generic | np.ndarray)


@pytest.mark.parametrize("x", [[[1.0, 2.0]], Column(numbers(3), np.arange(3)), "images", None])
def test_inputs_that_are_no_array_are_named(x):
    model = Network("mine", {}, [Affine(2, K)], "softmax")
    with pytest.raises(TypeError, match=f"mine takes an array or a Tensor, got {type(x).__name__}"):
        model(x)


@pytest.mark.parametrize("use", [metrics.predict, lambda m, x: metrics.evaluate(m, x, np.arange(5) % K)])
@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_bytes_and_integers_are_to_be_divided(use, dtype):
    model = Network("mine", {}, [Affine(D, K)], "softmax")
    wanted = r"use x\.astype\('float32'\), divided by 255 if they are pixels of 0 to 255"
    with pytest.raises(TypeError, match=f"mine computes in float32, got x of {dtype}: {wanted}"):
        use(model, np.ones((5, D), dtype))


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (losses.hidden_objective, "hidden layers are those of a Network, got a Model"),
        (losses.rubbish_objective, "rubbish wants a model whose `top` says what no class is, got a Model"),
    ],
)
def test_objectives_that_want_a_network_say_so(objective, message, data):
    with pytest.raises(TypeError, match=message):
        fit(Model(), data, objective=objective)


# ---------------------------------------------------------------------------------------------------------
# Which start learns


@pytest.mark.parametrize("make", [
    lambda rng: Network("mine", {}, [Linear(D, H, rng), ops.relu, Linear(H, K, rng)], "softmax"),
    lambda rng: Network("mine", {}, [Maxout(D, H, 3, rng), Maxout(H, H, 3, rng), Linear(H, K, rng)], "softmax"),
    lambda rng: models.maxout_network(H, 3, inputs=D, classes=K, rng=rng),
    *(partial(models.saturating_network, unit, H, 1, D, K, (1.0, 1.0)) for unit in ("sigmoid", "rust", "rust-squared")),
])  # fmt: skip
def test_the_default_start_learns_from_few_images_in_few_epochs(make, data):
    model, few = make(rng=generator(0)), (data[0][:300], data[1][:300])
    fit(model, few, epochs=10, objective=losses.clean_objective)
    assert metrics.evaluate(model, *data).error < 0.05


def test_the_examples_in_the_documentation_are_trained_attacked_and_evaluated(tmp_path):
    def example(module):
        lines = module.__doc__.splitlines()
        return "\n".join(line.removeprefix("    ") for line in lines if line.startswith("    "))

    names = {"Linear": Linear, "losses": losses, "ops": ops}
    exec(example(layers), names)
    exec(example(models), names)
    x, y = (a[:500] for a in mnist().train)
    of_layers = Network("mine", {}, [names["Affine"](784, 9, generator(0)), Linear(9, 10, generator(1))], "softmax")
    for model in (names["Mine"](generator(0)), of_layers):
        train(model, losses.clean_objective, x, y, epochs=5, seed=0, optimiser=SGD(parameters(model)))
        clean = metrics.evaluate(model, x, y)
        assert clean.error < 0.3
        assert metrics.evaluate(model, attacks.fgsm(model, x, y, 0.25), y).error > 0.7
        save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors", into=of_layers)
    assert metrics.evaluate(again, x, y) == clean


class Plain:
    """The methods that training, attacks and figures ask for, and no checks."""

    def __init__(self, **first):
        self.first = first
        self.W = Tensor(numbers(K, D))

    def __call__(self, x):
        return ops.linear(x, self.W, np.zeros(K, "float32")) if isinstance(x, Tensor) else x @ self.W.data.T

    def loss(self, outputs, y):
        return losses.softmax_cross_entropy(outputs, y)

    def probabilities(self, outputs):
        return ops.softmax(outputs)


FIGURES = [
    metrics.predict,
    metrics.evaluate_rubbish,
    lambda m, x: metrics.evaluate(m, x, np.arange(len(x)) % K),
]


@pytest.mark.parametrize("figure", FIGURES)
def test_bytes_are_refused_for_a_model_that_would_take_them(figure):
    with pytest.raises(TypeError, match=r"floating point numbers, got x of uint8: use .*, divided by 255"):
        figure(Plain(), np.ones((5, D), "uint8"))
    with pytest.raises(TypeError, match=r"floating point numbers, got x of bool: use x\.astype\('float32'\)$"):
        figure(Plain(), np.ones((5, D), "bool"))


@pytest.mark.parametrize("figure", FIGURES)
def test_a_diverged_model_has_no_figures(figure):
    model = Plain()
    model.W.data *= np.nan
    with pytest.raises(FloatingPointError, match="the network's outputs are NaN for 5 of 5 inputs"):
        figure(model, np.ones((5, D), "float32"))
    with pytest.raises(FloatingPointError, match="the gradient of J is NaN or infinite for 5 of 5"):
        metrics.zero_gradient_share(model, np.ones((5, D), "float32"), np.arange(5) % K)


@pytest.mark.parametrize("decay", ["l1", "l2"])
def test_weight_decay_of_what_are_no_weights_is_refused(decay):
    biased = Plain(b=Tensor(np.ones(K, "float32")))
    x, y = numbers(5, D), np.arange(5) % K
    with pytest.raises(ValueError, match=r"of the first parameter, which is of shape \(3,\): wanted weights"):
        losses.clean_objective(biased, x, y, None, **{decay: 0.1})
    model = Plain()
    J, _ = losses.clean_objective(model, x, y, None)
    W, power = abs(model.W.data), 1 if decay == "l1" else 2
    assert losses.clean_objective(model, x, y, None, **{decay: 0.1})[0] == pytest.approx(J + 0.1 * (W**power).sum())


def test_a_model_without_parts_of_a_network_has_the_software_s_gradient_by_its_name():
    model, x, y = Plain(), numbers(5, D), np.arange(5) % K
    attacked = attacks.fgsm(Rounded(model), x, y, 0.1)
    assert attacked.tobytes() == attacks.fgsm(model, x, y, 0.1).tobytes()  # it is not sure of anything
    with pytest.raises(TypeError, match=r"a Plain does not say what its top is: .* Rounded\(model\)"):
        software(model)
    with pytest.raises(TypeError, match=r"'hidden-masks' wants a model with seeing_all_inputs\(\), got a Plain"):
        losses.adversarial_objective(model, x, y, generator(0), attacked="hidden-masks")


class KindOfDropout:
    """Not by its class, but by what it takes."""

    def __call__(self, x, rng=None):
        return x


@pytest.mark.parametrize(
    ("between", "hidden"),
    [
        ([ops.relu], [1, 3]),
        ([Relu()], [1, 3]),
        ([lambda x: x * x], [1, 3]),
        ([ops.relu, Dropout(0.5)], [1, 4]),
        ([KindOfDropout()], [0, 2]),
        ([], [0, 1]),
    ],
)
def test_an_activation_function_belongs_to_the_layer_before_it(between, hidden):
    layers = [Linear(D, H, generator(0)), *between, Linear(H, H, generator(1)), *between, Linear(H, K, generator(2))]
    assert Network("mine", {}, layers, "softmax").hidden == hidden
    assert Network("mine", {}, [np.tanh, *layers], "softmax").hidden == [i + 1 for i in hidden]


def test_max_norm_of_kernels_wants_the_layers_that_say_what_a_unit_s_weights_are():
    kernels = layers.ConvMaxout(3, 2, 2, generator(0), kernel=3, padding=0, pool=1, stride=1)
    with pytest.raises(ValueError, match=r"parameter 0, of shape \(3, 3, 3, 4\): a bare list does not say"):
        SGD(parameters(kernels), max_norm=0.1)
    optimiser = SGD(kernels, max_norm=0.1)
    optimiser.step([np.zeros_like(p.data) for p in optimiser.parameters])
    np.testing.assert_allclose((kernels.W.data**2).sum(axis=(0, 1, 2)) ** 0.5, 0.1, rtol=1e-5)
    assert SGD(parameters(kernels)).max_norm is None


def test_the_layer_of_the_documentation_has_its_units_in_rows():
    namespace = {}
    example = layers.__doc__.split("saved and moved to a GPU:\n")[1].split("\nA network")[0]
    exec(dedent(example), namespace)
    layer = namespace["Affine"](D, H, generator(0))
    assert layer(numbers(5, D)).shape == (5, H)
    optimiser = SGD(layer, max_norm=0.01)
    optimiser.step([np.zeros_like(layer.W.data)])
    np.testing.assert_allclose((layer.W.data**2).sum(axis=1) ** 0.5, 0.01, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------
# Plausible numbers that would be wrong


def test_centres_that_are_images_leave_the_images_as_they_are():
    x = numbers(9, D)
    before = x.copy()
    for layer in (layers.RBF(x[:K], 0.1), layers.RBFUnits(x[:K], 0.1)):
        SGD(layer).step([np.ones_like(p.data) for p in parameters(layer)])
    np.testing.assert_array_equal(x, before)


def test_weights_that_are_given_to_another_model_are_copies():
    one, other = (Network("mine", {}, [Linear(D, K, generator(i))], "softmax") for i in (0, 1))
    models.load_parameters(other, {name: p.data for name, p in named_parameters(one).items()})
    before = one.layers[0].W.data.copy()
    SGD(other).step([np.ones_like(p.data) for p in parameters(other)])
    np.testing.assert_array_equal(one.layers[0].W.data, before)
    assert (other.layers[0].W.data != before).all()


def test_state_that_is_given_to_another_model_is_a_copy():
    class Normalised:
        def __init__(self):
            self.W, self.mean = Tensor(np.ones((2, 3), "float32")), np.zeros(3, "float32")

    one, other = Normalised(), Normalised()
    models.load_parameters(other, {"W": one.W.data, "mean": one.mean})
    other.mean += 1.0  # as training does that keeps running means
    assert not one.mean.any()


@pytest.mark.parametrize(("last", "top"), [(ops.softmax, "softmax"), (ops.sigmoid, "sigmoid")])
def test_probabilities_are_not_made_twice(last, top):
    with pytest.raises(ValueError, match=f"the outputs are logits.*leave out {last}"):
        Network("mine", {}, [Linear(D, K, generator(0)), last], top)


def test_logistic_regression_has_one_output():
    model = Network("mine", {}, [Linear(D, 2, generator(0))], "logistic")
    with pytest.raises(ValueError, match=r"one output, got outputs of shape \(5, 2\)"):
        model(numbers(5, D))


def test_probabilities_above_1_are_refused():
    model = Network("mine", {}, [Linear(D, K, generator(0), scale=3.0)], "rbf")  # log p of an RBF unit is at most 0
    with pytest.raises(ValueError, match=r"probabilities of up to .*: is its top the right one\?"):
        metrics.evaluate(model, numbers(5, D), np.arange(5) % K)
    model.probabilities = lambda outputs: np.full(outputs.shape, 1.01)
    with pytest.raises(ValueError, match=r"probabilities of up to 1\.01: is its top the right one\?"):
        metrics.evaluate(model, numbers(5, D), np.arange(5) % K)


def test_dropout_of_inputs_is_left_out_wherever_it_stands_before_the_weights():
    made = [layers.Images(1, 2, 3), Dropout(0.5), layers.Rows(), Linear(D, H, generator(0)), Dropout(0.5)]
    made += [Linear(H, K, generator(1))]
    whole = Network("mine", {}, made, "softmax", inputs=D).seeing_all_inputs()
    assert whole.layers == [*made[:1], *made[2:]]
    assert whole.inputs == D  # of another number it says so still


@pytest.mark.parametrize("loss", [ops.softmax_cross_entropy, ops.binary_cross_entropy])
@pytest.mark.parametrize("targets", [np.arange(3.0), np.ones((3, 1)), np.ones(())])
def test_targets_of_another_shape_are_not_broadcast(loss, targets):
    z = np.ones((3, 3))
    for logits in (z, Tensor(z)):
        with pytest.raises(ValueError, match=r"logits and targets are of one shape, got \(3, 3\) and"):
            loss(logits, targets)


def test_the_rounded_gradient_is_that_of_a_softmax():
    with pytest.raises(ValueError, match="that of a softmax, but this network's top is 'rbf'"):
        Rounded(models.rbf_network(D, K, rng=generator(0)))


@pytest.mark.parametrize(
    "attack",
    [
        lambda *a: attacks.fgsm(*a, 0.25, clip=(0, 1)),
        lambda *a: attacks.pgd(*a, 0.25, clip=(0, 1)),
        lambda *a: attacks.pgd_l2(*a, 0.25, clip=(0, 1)),
        lambda *a: attacks.apgd(*a, 0.25, clip=(0, 1)),
        lambda *a: attacks.square(*a, 0.25, clip=(0, 1), rng=generator(0)),
    ],
    ids=["fgsm", "pgd", "pgd_l2", "apgd", "square"],
)
def test_clipping_does_not_move_images_beyond_eps(attack):
    model = Network("mine", {}, [Linear(4, K, generator(0))], "softmax")
    x, y = abs(numbers(5, 4)).clip(0, 1), np.arange(5) % K
    assert abs(attack(model, x, y) - x).max() <= 0.5
    with pytest.raises(ValueError, match=r"clip is \(0, 1\), but x runs from .* by more than eps"):
        attack(model, 255 * x, y)


# ---------------------------------------------------------------------------------------------------------
# What gave wrong numbers without a word


def test_dropout_of_images_made_of_rows_keeps_or_drops_each_entry():
    images = layers.Images(3, 4, 4)(np.ones((20, 48), "float32"))  # a view in an order of memory of its own
    for x in (images, images.transpose(2, 3, 0, 1), images[::2], images[:, :, ::-1]):
        assert set(np.unique(Dropout(0.5)(x, rng=generator(0)))) == {0.0, 2.0}
    network = Network(
        "own", {}, [layers.Images(3, 4, 4), Dropout(0.5), layers.Rows(), Linear(48, 3, generator(0))], "softmax"
    )
    kept = Network("own", {}, [network.layers[3]], "softmax")
    x = np.random.default_rng(0).random((500, 48), dtype="float32")
    mean = np.mean([network(x, rng=generator(seed)) for seed in range(40)], axis=(0, 1))
    np.testing.assert_allclose(mean, kept(x).mean(axis=0), atol=0.02)


class Temperature:
    """Logits times a number that is learnt, of no axes."""

    def __init__(self):
        self.W = Tensor(np.arange(12.0).reshape(4, 3) / 3)
        self.t = Tensor(np.array(0.3))

    def __call__(self, x):
        return x @ self.W * ops.exp(self.t)

    def loss(self, outputs, y):
        return losses.softmax_cross_entropy(outputs, y)


def test_a_parameter_of_no_axes_has_both_halves_of_its_gradient():
    x, y = np.random.default_rng(0).random((6, 4)), np.array([0, 1, 2] * 2)
    _, wanted = losses.adversarial_objective(Temperature(), x, y, None, eps=0.1, attacked="inference")
    for attacked in ("training", "same-masks"):
        _, found = losses.adversarial_objective(Temperature(), x, y, None, eps=0.1, attacked=attacked)
        for g, w in zip(found, wanted, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-12)


class InItsClass:
    layer = Linear(4, 3, generator(0))

    def __call__(self, x):
        return self.layer(x)


@pytest.mark.parametrize("owner", [InItsClass(), Tensor(np.ones(3)), Linear, [], lambda x: x])
def test_an_optimiser_of_nothing_is_refused(owner):
    with pytest.raises(ValueError, match="nothing to train in a"):
        SGD(owner)


class Axes:
    def __init__(self, axes, shared=False):
        self.first = self.layer = None
        layer = OfAxes(axes)
        self.first, self.layer = (layer.W if shared else None), layer


class OfAxes:
    def __init__(self, axes):
        self.W, self.incoming_axes = Tensor(np.ones((3, 4))), axes


@pytest.mark.parametrize("owner", [Axes({"W": 0}), Axes({"W": -2}), Axes({"W": (0,)}), Axes({"W": 0}, shared=True)])
def test_max_norm_follows_the_axes_under_whatever_name(owner):
    optimiser = SGD(owner, max_norm=1.2)
    optimiser.step([np.zeros((3, 4))])
    np.testing.assert_allclose(np.linalg.norm(owner.layer.W.data, axis=0), 1.2)


@pytest.mark.parametrize("axes", [{"W": 2}, {"W": (0, -3)}, {"w": 0}])
def test_axes_that_are_not_there_are_refused(axes):
    with pytest.raises(ValueError, match="incoming_axes of "):
        SGD(Axes(axes), max_norm=1.2)


@pytest.mark.parametrize(
    "d",
    [
        {"a.b": Tensor(np.ones(2)), "a": {"b": np.zeros(2)}},
        {"a.b": np.ones(2), "a": {"b": np.zeros(2)}},
        {1: np.ones(2), "1": np.zeros(2)},
    ],
)
def test_two_arrays_of_one_name_are_refused(d, tmp_path):
    class Model:
        def __init__(self):
            self.d, self.W = d, Tensor(np.ones(1))

    with pytest.raises(ValueError, match="two arrays or parameters have the name d"):
        save(Model(), tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_order_of_memory_moves_no_mean_objective():
    model = Network("own", {}, [Dropout(0.5), Linear(4, 3, generator(0))], "softmax")
    x, y = np.random.default_rng(0).random((50, 4), dtype="float32"), np.arange(50) % 3
    found = [mean_objective(model, losses.clean_objective, a, y, seed=0) for a in (x, np.asfortranarray(x))]
    assert found[0] == found[1]
    for arguments in ((x, y[:-1], 10), (x[:0], y[:0], 10), (x, y, 0), (x, y, -3)):
        with pytest.raises(ValueError, match="wanted as many inputs as labels, at least one, and a batch"):
            mean_objective(model, losses.clean_objective, *arguments[:2], seed=0, batch=arguments[2])


# ---------------------------------------------------------------------------------------------------------
# Found by somebody who did things differently


class Stretched(Network):
    """A subclass that does something with its inputs, and has a loss of its own."""

    factor = 10.0

    def __call__(self, x, rng=None, after=None):
        return super().__call__(x * self.factor - 3.0, rng, after)

    def loss(self, outputs, y):
        return 3.0 * super().loss(outputs, y)


def stretched():
    return Stretched("mine", {}, [layers.Dropout(0.8), Affine(D, 5), ops.relu, Affine(5, K)], "softmax")


def test_a_subclass_without_dropout_of_its_inputs_computes_what_it_did(data):
    model = stretched()
    assert (model.seeing_all_inputs()(data[0]) == model(data[0])).all()
    assert len(model.layers) == 4


def test_the_rounded_gradient_is_not_that_of_a_loss_of_one_s_own():
    with pytest.raises(ValueError, match="Stretched has a loss of its own"):
        Rounded(stretched())


@Op
def relu(x):
    return x * ((x > 0) + 5.0 * (x < 0)).astype(x.dtype)


def test_an_operation_of_one_s_own_is_not_taken_for_one_of_the_same_name(tmp_path):
    def make(operation):
        return Network("mine", {}, [Affine(D, 5), operation, Affine(5, K)], "softmax")

    for saved, other in ((ops.relu, relu), (relu, ops.relu)):
        save(make(saved), tmp_path / "network")
        load(tmp_path / "network", into=make(saved))
        with pytest.raises(StorageError, match="another model"):
            load(tmp_path / "network", into=make(other))


SCRIPT = """
import sys
from tinyadv import layers, models, save, load
from tinyadv.backend import generator

def act(x):
    return 0.5 * x

class Mine:
    def __init__(self):
        self.layers = [layers.Linear(4, 3, generator(0)), act]
        self.kind = Mine
    def __call__(self, x):
        return act(self.layers[0](x))

if __name__ == "__main__":
    save(Mine(), sys.argv[1])
"""


@pytest.mark.parametrize("how", [["mine_as_script.py"], ["-m", "mine_as_script"]])
def test_a_script_saves_what_an_import_of_it_loads(how, tmp_path, monkeypatch):
    (tmp_path / "mine_as_script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    subprocess.run([sys.executable, *how, "network.st"], cwd=tmp_path, env=environment, check=True, timeout=120)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("mine_as_script")
    load(tmp_path / "network.st", into=module.Mine())


SLOPE = 0.5


@cache
def sloped(x: float, slope: float = SLOPE) -> float:
    """A function
    whose docstring Python 3.13 keeps without the indentation."""
    return x * slope


@dataclass
class OfEveryVersion:
    """Holds what versions of Python, or of NumPy, keep in different ways."""

    path: PurePosixPath
    third: Fraction = Fraction(1, 3)
    remembered: object = sloped
    universal: np.ufunc = np.tanh
    builtin: object = dict.fromkeys

    def __call__(self, x):
        return [SLOPE * entry for entry in x], type(self).__name__


def test_every_version_of_python_and_of_numpy_gives_the_same_description():
    """Else a network that one wrote can't be loaded, nor a training gone on with, by another."""
    owner = OfEveryVersion(PurePosixPath("a/b"))
    wanted = {
        "": "OfEveryVersion",
        "path": "a/b",
        "third": "Fraction",
        "third._numerator": 1,
        "third._denominator": 3,
        "remembered": "_lru_cache_wrapper",
        "remembered.__wrapped__": "test_own.sloped",
        "remembered.__wrapped__.slope": 0.5,
        "remembered.cache_parameters": "functools.lru_cache.<locals>.decorating_function.<locals>.<lambda>",
        "remembered.cache_parameters.maxsize": None,
        "remembered.cache_parameters.typed": False,
        "universal": "ufunc tanh",
        "builtin": "dict.fromkeys",
    }
    assert describe(owner, contents=True) == describe(owner) == wanted
    assert constants(owner) == {".SLOPE": "0.5"}
    assert constants([SlotsDataclass()]) == {}
    assert constants([Row(1, 2)]) == {"0._fields": "('W', 'b')"}


def test_a_path_that_was_looked_at_is_the_same_path():
    """Python keeps a path's text, its parts and its hash, which is another in each process, in the path."""
    path = PurePosixPath("a/b")
    before = describe([path])
    assert hash(path)
    assert path.parts == ("a", "b")
    assert describe([path]) == before == {"": "list", "0": "a/b"}


def test_a_pickled_model_is_attacked_in_another_process(tmp_path, data):
    tensors = [Tensor(1.0) for _ in range(1000)]  # births that the other process does not know of
    model = models.maxout_network(4, 2, 1, "softmax", D, K, scale=0.1, rng=generator(0, "weights"))
    model.layers.append(ops.relu)
    x_adv = attacks.fgsm(model, *data, 0.1)
    with (tmp_path / "model").open("wb") as file:
        pickle.dump((model, *data), file)
    code = (
        "import pickle, sys; from tinyadv import attacks; import numpy as np\n"
        "model, x, y = pickle.load(open(sys.argv[1], 'rb'))\n"
        "np.save(sys.argv[2], attacks.fgsm(model, x, y, 0.1))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = [sys.executable, "-c", code, tmp_path / "model", tmp_path / "x.npy"]
    subprocess.run(arguments, env=environment, check=True, timeout=120)
    assert (np.load(tmp_path / "x.npy") == x_adv).all()
    assert len(tensors) == 1000


def test_a_copy_of_an_operation_is_that_operation():
    assert copy.deepcopy(ops.softmax) is ops.softmax
    assert pickle.loads(pickle.dumps(ops.relu)) is ops.relu


def test_outputs_that_are_none_are_named(data):
    x, y = data

    class Two(Affine):
        def __call__(self, x):
            return super().__call__(x), x

        loss = staticmethod(losses.softmax_cross_entropy)
        probabilities = staticmethod(ops.softmax)

    class Deep(Two):
        def __call__(self, x):
            return Affine.__call__(self, x).reshape(len(x), 1, K)

    for model, error, message in ((Two(D, K), TypeError, "got a tuple"), (Deep(D, K), ValueError, r"\(\d+, 1, 3\)")):
        for use in (lambda m: metrics.predict(m, x), lambda m: metrics.evaluate(m, x, y), lambda m: fit(m, data)):
            with pytest.raises(error, match=message):
                use(model)


class WithoutRng(Model):
    """A model with dropout that cannot be told when it is trained."""

    def __init__(self):
        self.dropout, self.layer = layers.Dropout(0.5), Affine(D, K)

    def __call__(self, x):
        return self.layer(self.dropout(x))


def test_dropout_that_would_never_be_on_is_named(data):
    with pytest.raises(TypeError, match=r"WithoutRng has dropout, .* wanted __call__\(self, x, rng=None\)"):
        fit(WithoutRng(), data, objective=losses.clean_objective)


def test_the_mean_objective_leaves_running_means_alone(data):
    model = Network("mine", {}, [BatchNorm(D), Affine(D, K)], "softmax")
    before = {name: a.copy() for name, a in named_state(model).items()}
    mean_objective(model, losses.clean_objective, *data, seed=0)
    assert before
    assert all((a == before[name]).all() for name, a in named_state(model).items())


def test_a_loss_that_forgets_x_is_named(data):
    class Forgets(Affine):
        def __call__(self, x):
            return raw(x) @ raw(self.W)

        loss = staticmethod(losses.softmax_cross_entropy)

    with pytest.raises(TypeError, match="does not remember x"):
        attacks.fgsm(Forgets(D, K), *data, 0.1)


def test_small_refusals(data):
    x, y = data
    model = models.softmax_regression(D, K, rng=generator(0))
    with pytest.raises(ValueError, match=r"layers are 0 to 0, got functions after \[7\]"):
        model(x, after={7: ops.relu})
    with pytest.raises(ValueError, match="eps is how far"):
        attacks.fgsm(model, x, y, np.array([0.1, 0.2]))
    with pytest.raises(TypeError, match="clip takes two numbers"):
        ops.clip(x, None, 0.5)
    with pytest.raises(ValueError, match=r"logits are of shape \(N, K\)"):
        ops.softmax_cross_entropy(np.zeros((2, 2, 3)), np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="at least 1; got 0"):
        metrics.evaluate(model, x, y, size=0)
    with pytest.raises(TypeError, match=r"wanted a schedule, .* got 0.1"):
        SGD(model, 0.1)
    assert hash(metrics.evaluate(model, x, y)) == hash(metrics.evaluate(model, x, y))


def test_frozen_parameters_stay_whatever_max_norm_says():
    W = Tensor(np.full((2, 3), 5.0, "float32"))
    SGD([W], max_norm=1.0, rate_factors={"0": 0.0}).step([np.ones((2, 3), "float32")])
    assert (W.data == 5.0).all()


def test_an_operation_that_changes_its_argument_is_found():
    @Op
    def greedy(x):
        x += 1.0
        return x

    greedy.gradients(lambda g, y, x: g)
    with pytest.raises(ValueError, match="greedy changes its argument 0"):
        gradcheck(greedy, np.ones((2, 2)))
