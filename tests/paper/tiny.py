"""A small world for the tests of the measurements: a few hundred digits, profiles that train in no time, a lab."""

from dataclasses import replace
from functools import cache

import numpy as np
import strict

from tinyadv import models, training
from tinyadv.backend import generator
from tinyadv.datasets import MNIST, Split, mnist, pair
from tinyadv.dbm import MAX_NORMS, machine_of, multi_prediction_objective
from tinyadv.layers import parameters
from tinyadv.models import build
from tinyadv.optim import SGD, LinearSchedule
from tinyadv.paper import audit, lab, recipes
from tinyadv.paper.lab import Lab, Recipe, Trained
from tinyadv.paper.measure import (
    MEASURES,
    cifar10,
    mp_dbm,
    section2,
    section4,
    section5,
    section6,
    section7,
    section8,
)
from tinyadv.paper.measure import common as measuring
from tinyadv.paper.profiles import Profile
from tinyadv.paper.stage2 import Stage2
from tinyadv.tensor import Tensor, grad

TINY = Profile(
    "tiny",
    1,
    {"softmax": 2, "logistic": 2, "rbf": 2, "naive": 1, "adversarial": 1, "controls": 1, "hidden": 1, "members": 1},
    dbm={"units": [8, 6], "iterations": 3, "epochs": 1},
)
SMALL = Recipe(  # the cheapest network with dropout, that learns something in a few epochs
    "maxout_network",
    {"units": 8, "pieces": 2, "scale": 0.1},
    epochs=3,
    schedule={"learning_rate": 0.05},
    max_norm=1.9365,
    batch=50,
)


CONV = Recipe(  # in place of CIFAR-10's network: rows of 3072 numbers, ten classes
    "conv_maxout_network", {"channels": [2, 3, 2], "units": 6, "pieces": [2, 2], "keep": [0.4, 0.3]}, data="cifar10"
)


@cache
def tiny_mnist(train=600, validation=200, test=300, dtype="float32"):
    """The first images of each part of MNIST; like the whole, train and validation are two parts of one array."""
    sizes = train, validation, test
    first, second, third = (Split(x[:n].astype(dtype), y[:n]) for (x, y), n in zip(mnist(), sizes, strict=True))
    x, y = np.concatenate([first.x, second.x]), np.concatenate([first.y, second.y])
    return MNIST(Split(x[:train], y[:train]), Split(x[train:], y[train:]), third)


def use(monkeypatch, data):
    """Let the labs of this test see `data` instead of MNIST, and the claims of CIFAR-10 a small network."""
    monkeypatch.setattr(lab, "mnist", lambda: data)
    monkeypatch.setattr(recipes, "conv_maxout", lambda profile, seed: replace(CONV, seed=seed))


def on_strict_device(monkeypatch):
    """Let "cuda" be the stub array library, which refuses what CuPy refuses."""

    def to_device(x, device):
        if device == "cuda":
            return strict.asarray(x)
        return x.get() if isinstance(x, strict.ndarray) else x

    for module in (
        audit,
        cifar10,
        lab,
        measuring,
        models,
        mp_dbm,
        section2,
        section4,
        section5,
        section6,
        section7,
        section8,
        training,
    ):
        monkeypatch.setattr(module, "to_device", to_device)


# ---------------------------------------------------------------------------------------------------------
# Networks that tell digits apart without any training, and a lab that gives them out for the recipes of the claims


def _ridge(h, t, penalty):
    """W, b with t close to h W^T + b: penalised least squares."""
    h1 = np.c_[h, np.ones(len(h))]
    solution = np.linalg.solve(h1.T @ h1 + penalty * np.eye(h1.shape[1]), h1.T @ t)
    return solution[:-1].T, solution[-1]


def _set(network, *arrays):
    for p, a in zip(parameters(network), arrays, strict=True):
        assert p.shape == a.shape
        p.data = a.astype("float64")
    return network


def _linear(builder, x, t, penalty, factor):
    seen = x.std(axis=0) > 0  # weights of pixels that are always dark are exactly 0, as after training
    W, b = _ridge(x, t, penalty)
    return _set(builder(rng=generator(0)), factor * W * seen, factor * b)


def _maxout(x, t, seed, top="softmax"):
    """Hidden units that look for training images, then random ones; the top is fitted."""
    rng = generator(seed)
    network = models.maxout_network(
        24, 2, top=top, keep=(0.4, 0.3), rng=rng
    )  # dropout that cannot be overlooked where it is left on
    W1 = (x[rng.permutation(len(x))[:48]] - x.mean(axis=0)).reshape(2, 24, 784)
    h1 = (x @ W1.transpose(0, 2, 1)).max(axis=0)
    W2 = rng.standard_normal((2, 24, 24)) / 100
    h2 = (h1 @ W2.transpose(0, 2, 1)).max(axis=0)
    W, b = _ridge(h2, t, 100.0)
    return _set(network, W1, np.zeros(48), W2, np.zeros(48), 10 * W, 10 * b - 2 * (top == "sigmoid"))


def _rbf(x, y, top, beta):
    mu = np.stack([x[y == k].mean(axis=0) for k in range(10)])
    return _set(models.rbf_network(top=top, rng=generator(0)), mu, np.full(mu.shape, np.log(beta)))


@cache
def _control(name, unit=None):
    """A network of its own for each name: of maxout units, or of units that saturate."""
    x, y = tiny_mnist(dtype="float64").train
    seed, t = int(name, 16), np.eye(10)[y]
    if unit is None:
        return _maxout(x, t, seed)
    network = models.saturating_network(unit, 24, keep=(0.4, 0.3), scale=0.2, rng=generator(seed)).to(dtype="float64")
    h = x
    for layer in network.layers[:-1]:
        h = layer(h)
    W, b = _ridge(h, t, 1.0)
    return _set(network, *(p.data for p in parameters(network)[:-2]), 10 * W, 10 * b)


def _deep(x, builder, top, **arguments):
    """A network of quadratic units as it is before training; the first centres are training images."""
    network = build(builder, {"units": 20, "top": top, **arguments}, generator(6)).to(dtype="float64")
    if builder == "deep_rbf_network":
        network.layers[0].mu.data = x[:20].copy()
    return network


def _convolutional():
    """Random kernels under a top that is sure enough of noise to claim much of it, for several classes."""
    network = build(CONV.network, {**CONV.arguments, "scale": 0.1}, generator(8)).to(dtype="float64")
    h = generator(8, "noise").standard_normal((200, 3072))
    for layer in network.layers[:-1]:
        h = layer(h)
    W, b = parameters(network)[-2:]
    W.data = generator(8, "top").standard_normal(W.shape) * (3.0 / h.std())
    b.data = -(h @ W.data.T).mean(axis=0)
    return network


def _machine(x, y):
    """A deep Boltzmann machine, the only one that has to be trained to tell digits apart: some seconds' worth."""
    network = models.mp_dbm((24, 16), 4, rng=generator(7)).to(dtype="float64")
    machine_of(network).start_from(x)
    sgd, rng, t = (
        SGD(network, LinearSchedule(60.0, 0.02, 10, 0.9, 0.9), MAX_NORMS),
        generator(7, "masks"),
        np.eye(10)[y],
    )
    for epoch in range(1, 11):
        for start in range(0, len(x), 20):
            rows = slice(start, start + 20)
            sgd.step(multi_prediction_objective(network, x[rows], t[rows], rng)[1], epoch)
    return network


@cache
def networks():
    """Networks in float64 by network, objective and top of the recipes that they stand for."""
    x, y = tiny_mnist(dtype="float64").train
    t = np.eye(10)[y]
    x37, y37 = pair(Split(x, y), 7, 3)
    return {
        ("softmax_regression", "clean", None): _linear(models.softmax_regression, x, t, 1000.0, 20.0),
        ("logistic_regression", "clean", None): _linear(models.logistic_regression, x37, y37[:, None], 1000.0, 15.0),
        ("logistic_regression", "adversarial", None): _linear(
            models.logistic_regression, x37, y37[:, None], 5000.0, 15.0
        ),
        ("rbf_network", "clean", "rbf"): _rbf(x, y, "rbf", 0.02),
        ("rbf_network", "clean", "rbf-true-class"): _rbf(x, y, "rbf-true-class", 0.01),
        ("rbf_network", "clean", "rbf-squared"): _rbf(x, y, "rbf-squared", 0.03),
        ("deep_rbf_network", "clean", "rbf"): _deep(x, "deep_rbf_network", "rbf", beta=0.03),
        ("deep_rbf_network", "clean", "rbf-squared"): _deep(x, "deep_rbf_network", "rbf-squared", beta=0.1),
        ("deep_rbf_network", "clean", "softmax"): _deep(x, "deep_rbf_network", "softmax", beta=0.03),
        ("quadratic_network", "clean", "sigmoid"): _deep(x, "quadratic_network", "sigmoid"),
        ("maxout_network", "clean", "softmax"): _maxout(x, t, 1),
        ("maxout_network", "adversarial", "softmax"): _maxout(x, t, 2),
        ("maxout_network", "clean", "sigmoid"): _maxout(x, t, 3, "sigmoid"),
        ("maxout_network", "rubbish", "softmax"): _maxout(x, t, 4),
        ("maxout_network", "rubbish", "sigmoid"): _maxout(x, t, 5, "sigmoid"),
        ("mp_dbm", "multi-prediction", None): _machine(x, y),
        ("conv_maxout_network", "clean", None): _convolutional(),
    }


class GivenLab(Lab):
    """A lab that trains nothing: it has copies of `networks`, in its own dtype and on its device."""

    def __init__(self, device="cpu", dtype="float64"):
        super().__init__("nowhere", device)
        self.given = {}
        self.dtype = dtype
        for kind, network in networks().items():
            self.given[kind] = self._copy(network)

    def _copy(self, network):
        copy = build(network.builder, network.arguments, generator(0))
        for p, q in zip(parameters(copy), parameters(network), strict=True):
            p.data = lab.to_device(q.data.astype(self.dtype), self.device)
        return copy

    def trained(self, recipe):
        return self.as_trained(self.network(recipe))

    def stage2(self, recipe):
        """A second stage of one epoch, that reached its target."""
        return Stage2(1.0, [{"epoch": 1, "loss": 1.0, "validation_objective": 1.0}])

    def as_trained(self, network):
        """A network with the training that this lab says it had."""
        return Trained(network, self.log(network), self.epochs(network))

    def network(self, recipe):
        kind = recipe.network, recipe.objective, recipe.arguments.get("top")
        if recipe.objective in ("noise", "through-attack", "hidden-layer") or recipe.network == "saturating_network":
            kind = recipe.hash  # they differ in their options
            if kind not in self.given:
                self.given[kind] = self._copy(_control(recipe.hash, recipe.arguments.get("unit")))
        return self.given[kind]

    def log(self, network):
        return LOG

    def epochs(self, network):
        return self.log(network)[-1]["epoch"]


def given(kind):
    """The network of a kind that a lab in float32 gives out."""
    return GivenLab(dtype="float32").given[kind]


def measured(claim, lab, seed=0):
    """What a claim's measuring function finds in a lab's networks."""
    return MEASURES[claim](lab, TINY, seed)


def measure(claim, lab, seed=0, **networks):
    """A claim's measuring function on networks that are given by its names for them, or several in a list or table."""

    def trained(some):
        if isinstance(some, dict):
            return {key: trained(one) for key, one in some.items()}
        if isinstance(some, list):
            return [trained(one) for one in some]
        return some if some is None or isinstance(some, Trained) else lab.as_trained(some)

    return MEASURES[claim].function(lab, seed, **{name: trained(some) for name, some in networks.items()})


def made_sure(network, times):
    """The network, its logits so many times as large: p of the class it says rounds to 1 for some images."""
    W, b = parameters(network)[-2:]
    W.data, b.data = W.data * times, b.data * times


def softmax(z):
    """Probabilities from logits; classes are the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rounded_fgsm(network, x, y, eps=0.25):
    """FGSM with p - t in the network's dtype as the gradient for the logits, put there by hand."""
    z = network(x)
    p = softmax(z)
    for_logits = p - np.eye(p.shape[1], dtype=p.dtype)[y]
    X = Tensor(x)
    (g,) = grad((network(X) * for_logits).sum(), [X])
    return (x + eps * np.sign(g)).astype(x.dtype)


LOG = [  # of a training of two epochs, the first of which made no mistakes under attack
    {
        "epoch": 1, "loss": 2.5, "error": 0.2, "adversarial_error": 0.0, "confidence": 0.7,
        "adversarial_confidence_on_mistakes": float("nan"),
    },
    {
        "epoch": 2, "loss": 2.0, "error": 0.1, "adversarial_error": 0.5, "confidence": 0.6,
        "adversarial_confidence_on_mistakes": 0.25,
    },
]  # fmt: skip
