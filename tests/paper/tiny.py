"""A small world for the tests of the measurements: a few hundred digits, profiles that train in no time, a lab."""

from functools import cache

import numpy as np
import strict

from tinyadv import models, training
from tinyadv.datasets import MNIST, Split, mnist
from tinyadv.paper import appendix, measuring, recipes, section4, section5, section7
from tinyadv.paper.recipes import Profile, Recipe

TINY = Profile("tiny", 1, {"softmax": 2, "logistic": 2, "rbf": 2, "naive": 1, "adversarial": 1})
SMALL = Recipe(  # the cheapest network with dropout, that learns something in a few epochs
    "maxout_network",
    {"units": 8, "pieces": 2, "scale": 0.1},
    epochs=3,
    schedule={"learning_rate": 0.05},
    max_norm=1.9365,
    batch=50,
)


@cache
def tiny_mnist(train=600, validation=200, test=300, dtype="float32"):
    """The first images of each part of MNIST; like the whole, train and validation are two parts of one array."""
    sizes = train, validation, test
    first, second, third = (Split(x[:n].astype(dtype), y[:n]) for (x, y), n in zip(mnist(), sizes, strict=True))
    x, y = np.concatenate([first.x, second.x]), np.concatenate([first.y, second.y])
    return MNIST(Split(x[:train], y[:train]), Split(x[train:], y[train:]), third)


def use(monkeypatch, data):
    """Let the labs of this test see `data` instead of MNIST."""
    monkeypatch.setattr(recipes, "mnist", lambda: data)


def on_strict_device(monkeypatch):
    """Let "cuda" be the stub array library, which refuses what CuPy refuses."""

    def to_device(x, device):
        if device == "cuda":
            return strict.asarray(x)
        return x.get() if isinstance(x, strict.ndarray) else x

    for module in (appendix, measuring, models, recipes, section4, section5, section7, training):
        monkeypatch.setattr(module, "to_device", to_device)
