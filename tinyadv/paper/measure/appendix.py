"""The appendix, rubbish: samples of N(0, I) that belong to no class, and what networks claim of them.

Three questions: how many samples some class claims, and which; whether one gradient step makes a sample of a chosen
class; and whether a network can be trained out of it.
"""

from __future__ import annotations

import math

from ... import metrics, ops
from ...attacks import input_gradient
from ...backend import Array, array_module, generator, to_device
from ...models import Network
from .. import recipes
from ..lab import EPS, Lab, Trained
from ..results import Measurement
from .common import Values, measures, pictures, weights_l1

SAMPLES = 10_000
SCALES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)  # of the outputs: what a smaller or larger top layer would give
A_CLASS, FIRST = 1000, 100  # samples moved towards each class; the first of them for curves and figures
SIZES = (0.05, 0.1, 0.25, 0.5, 1.0)  # of the fooling step
STEPS, STEP = 20, 0.05  # of the iterated attack: in all one standard deviation of the noise
SHOWN = 36, 6  # fooling images of the hardest class, and of every class


def _gaussian(lab: Lab, seed: int, stream: str, n: int) -> Array:
    """n samples of N(0, I), float32 `(n, 784)`, not clipped, where the networks are."""
    return to_device(generator(seed, stream).standard_normal((n, 784), dtype="float32"), lab.device)


# ---------------------------------------------------------------------------------------------------------
# How much rubbish is claimed


@measures("rubbish-maxout-softmax", recipes.naive_at_length)
def rubbish_maxout_softmax(lab: Lab, seed: int, naive: Trained, longer: Trained | None = None) -> Measurement:
    """The naive maxout network with softmax on top."""
    measurement = _rubbish(lab, seed, naive.network)
    if longer:
        e = metrics.evaluate_rubbish(longer.network, _gaussian(lab, seed, "rubbish", SAMPLES))
        measurement.variations["longer"] = {
            "error": e.error, "confidence_on_mistakes": e.confidence_on_mistakes, "epochs": longer.epochs,
        }  # fmt: skip
    return measurement


@measures(
    "rubbish-maxout-sigmoid", lambda profile, seed: {"naive": recipes.maxout(profile, seed, top="sigmoid")}, quick=False
)
def rubbish_maxout_sigmoid(lab: Lab, seed: int, naive: Trained) -> Measurement:
    """The naive maxout network with independent sigmoids on top."""
    return _rubbish(lab, seed, naive.network)


@measures("rubbish-softmax", lambda profile, seed: {"softmax": recipes.softmax_regression(profile, seed)})
def rubbish_softmax(lab: Lab, seed: int, softmax: Trained) -> Measurement:
    """Softmax regression."""
    return _rubbish(lab, seed, softmax.network)


@measures("rubbish-rbf", lambda profile, seed: {"rbf": recipes.rbf_network(profile, seed)})
def rubbish_rbf(lab: Lab, seed: int, rbf: Trained) -> Measurement:
    """The RBF network."""
    return _rubbish(lab, seed, rbf.network)


def _rubbish(lab: Lab, seed: int, network: Network) -> Measurement:
    x = _gaussian(lab, seed, "rubbish", SAMPLES)
    evaluation = metrics.evaluate_rubbish(network, x)
    values = Values()
    values.add(evaluation, error="error", confidence_on_mistakes="confidence_on_mistakes")
    values.add(metrics.evaluate(network, *lab.data.test), error="clean_error")
    values.values["weights_l1"] = weights_l1(network)
    varied = _scaled(network, metrics.in_batches(network, x))
    return values.measurement(variations=varied, details={"by_class": list(evaluation.by_class)})


def _scaled(network: Network, outputs: Array) -> dict[str, dict[str, float]]:
    """Rubbish error and confidence if the outputs were smaller or larger; the largest class stays what it is."""
    found = {}
    for scale in SCALES:
        largest = network.probabilities(outputs * scale).max(axis=1)
        claimed = largest > 0.5
        confidence = float(largest[claimed].mean()) if claimed.any() else math.nan
        found[f"outputs:{scale:g}"] = {"error": float(claimed.mean()), "confidence_on_mistakes": confidence}
    return found


@measures("rubbish-skew", lambda profile, seed: {"naive": recipes.maxout(profile, seed)})
def rubbish_skew(lab: Lab, seed: int, naive: Trained) -> Measurement:
    """How unevenly the samples that the naive maxout network claims fall on the classes."""
    counts = metrics.evaluate_rubbish(naive.network, _gaussian(lab, seed, "rubbish", SAMPLES)).by_class
    wrong, values = sum(counts), Values()
    for name, count in {"fives": counts[5], "eights": counts[8], "most_frequent": max(counts)}.items():
        values.share(f"share_{name}", count, wrong)
    return values.measurement(details={"by_class": list(counts)})


# ---------------------------------------------------------------------------------------------------------
# One step to a chosen class


def _directions(network: Network, x: Array, k: int, p: Array) -> dict[str, Array]:
    """What a step of size eps towards class k adds to x `(N, D)`, divided by eps; p is p(y = k | x) `(N,)`.

    sign: that of grad_x p(y = k | x), which is that of grad_x log p, computed from the latter because p may underflow.
    gradient: grad_x p itself, but as long as the sign's step, sqrt(D). raw: grad_x p as it is.
    """
    g = -input_gradient(network, x, array_module(x).full(len(x), k))  # grad_x log p(y = k | x) under a softmax
    length = (g * g).sum(axis=1, keepdims=True) ** 0.5
    unit = g / (length + (length == 0))
    return {
        "sign": ops.sign(g),
        "gradient": math.sqrt(x.shape[1]) * unit,
        "raw": p[:, None] * g,
    }


def _probability(network: Network, x: Array, k: int) -> Array:
    return network.probabilities(metrics.in_batches(network, x))[:, k]


def _fooled(p: Array) -> list[bool]:
    """Which probabilities are a success."""
    return [bool(success) for success in to_device(p >= 0.5, "cpu")]


# How a step is made, and which quantity is its success
WAYS = {"gradient": "success_mean_mnist", "sign": "success_mean_mnist_sign", "raw": "success_mean_mnist_raw"}


@measures("fooling-step", lambda profile, seed: {"naive": recipes.maxout(profile, seed)})
def fooling_step(lab: Lab, seed: int, naive: Trained) -> Measurement:
    """On MNIST: how often one step from a Gaussian sample reaches a chosen class."""
    network = naive.network
    counts: dict[str, list[int]] = {"before": [], "gradient": [], "sign": []}
    few = {way: [0] * len(SIZES) for way in WAYS}
    for k in range(10):
        x = _gaussian(lab, seed, f"fooling images of {k}", A_CLASS)
        p = _probability(network, x, k)
        counts["before"].append(sum(_fooled(p)))
        for way, direction in _directions(network, x, k, p).items():
            if way in counts:
                counts[way].append(sum(_fooled(_probability(network, x + EPS * direction, k))))
            for i, size in enumerate(SIZES):
                few[way][i] += sum(_fooled(_probability(network, x[:FIRST] + size * direction[:FIRST], k)))
    values = Values()
    for way, name in (("before", "mean_mnist_before"), ("gradient", "mean_mnist"), ("sign", "mean_mnist_sign")):
        values.share(f"success_{name}", sum(counts[way]), 10 * A_CLASS)
    values.share("success_lowest_mnist", min(counts["gradient"]), A_CLASS)
    values.share("success_highest_mnist", max(counts["gradient"]), A_CLASS)
    by_size = {way: [count / (10 * min(FIRST, A_CLASS)) for count in few[way]] for way in WAYS}
    details = {
        "by_class": {way: [count / A_CLASS for count in of_class] for way, of_class in counts.items()},
        "sizes": list(SIZES),
        "by_size": by_size,
    }
    varied = {f"step:{size:g}": {name: by_size[way][i] for way, name in WAYS.items()} for i, size in enumerate(SIZES)}
    return values.measurement(variations=varied, details=details)


@measures("fig5-fooling", lambda profile, seed: {"naive": recipes.maxout(profile, seed)})
def fig5_fooling(lab: Lab, seed: int, naive: Trained) -> Measurement:
    """On MNIST: fooling images of every digit by the gradient's sign, more of the digit that is hardest to reach."""
    network, stepped, framed = naive.network, [], []
    for k in range(10):
        x = _gaussian(lab, seed, f"fooling images of {k}", FIRST)
        stepped.append(x + EPS * _directions(network, x, k, _probability(network, x, k))["sign"])
        framed.append(_fooled(_probability(network, stepped[k], k)))
    hardest = min(range(10), key=lambda k: sum(framed[k]))
    many, some = SHOWN
    details = {
        "hardest": hardest,
        "framed": framed,
        "hardest_images": pictures(stepped[hardest][:many]),
        "images": [pictures(images[:some]) for images in stepped],
    }
    values = Values()
    values.share("success_hardest_mnist", sum(framed[hardest]), FIRST)
    return values.measurement(details=details)  # the predicate is about CIFAR-10's airplanes: it is not measured here


# ---------------------------------------------------------------------------------------------------------
# Training on rubbish


@measures(
    "rubbish-training",
    lambda profile, seed: {
        "without": recipes.maxout_rubbish(profile, seed, trained=False),
        "trained": recipes.maxout_rubbish(profile, seed),
        "sigmoids": recipes.maxout_rubbish(profile, seed, top="sigmoid"),
    },
    quick=False,
)
def rubbish_training(lab: Lab, seed: int, without: Trained, trained: Trained, sigmoids: Trained) -> Measurement:
    """Rubbish error, clean cost, and what an iterated attack from new rubbish makes of it; two readings of no class."""
    x, y = lab.data.test
    new, start = _gaussian(lab, seed, "rubbish", SAMPLES), _gaussian(lab, seed, "rubbish to step from", A_CLASS)
    k = array_module(start).asarray(generator(seed, "classes to step to").integers(0, 10, A_CLASS))
    networks = {"without": without.network, "trained": trained.network, "sigmoids": sigmoids.network}
    values, varied, curves = Values(), {}, {}
    for name, network in networks.items():
        rubbish, clean = metrics.evaluate_rubbish(network, new), metrics.evaluate(network, x, y)
        curves[name] = _iterated(network, start, k)
        varied[name] = {
            "error": rubbish.error, "clean_error": clean.error, "fooled_after_steps": curves[name][-1],
        }  # fmt: skip
        if name == "without":
            values.add(clean, error="clean_error_without")
        if name == "trained":
            values.add(rubbish, error="error")
            values.add(clean, error="clean_error")
            values.share("fooled_after_steps", round(curves[name][-1] * A_CLASS), A_CLASS)
    wrong = {name: metrics.predict(network, x) != y for name, network in networks.items()}
    cost, low, high = _difference(wrong["trained"], wrong["without"])
    values.values["clean_cost"], values.intervals["clean_cost"] = cost, (low, high)
    holds = low <= 0 and values.values["fooled_after_steps"] >= 0.5
    return values.measurement(holds=holds, variations=varied, details={"fooled": curves})


def _difference(a: Array, b: Array) -> tuple[float, float, float]:
    """By how much mistakes a `(N,)` are more frequent than mistakes b of the same inputs, with its 95 % interval."""
    d = a.astype("float64") - b.astype("float64")
    return (float(d.mean()), *metrics.mean_interval(d))


def _iterated(network: Network, x: Array, k: Array) -> list[float]:
    """The share of x that some class claims after 0, 1, ... steps x <- x - STEP sign(grad_x J(x, k))."""
    shares = [metrics.evaluate_rubbish(network, x).error]
    for _ in range(STEPS):
        x = x - STEP * ops.sign(metrics.in_batches(lambda *batch: input_gradient(network, *batch), x, k))
        shares.append(metrics.evaluate_rubbish(network, x).error)
    return shares
