"""The appendix, rubbish: samples of N(0, I) that belong to no class, and what networks claim of them.

Two questions: how many samples some class claims, and which; and whether a network can be trained out of it. Whether
one gradient step makes a sample of a chosen class is in `cifar10`.
"""

from __future__ import annotations

import math
from functools import partial

from ... import metrics, ops
from ...attacks import input_gradient
from ...backend import Array, array_module, generator
from ...models import Network
from .. import recipes
from ..attacking import software
from ..lab import EPS, Lab, Recipe, Trained
from ..profiles import Profile
from ..results import Measurement
from .common import Values, gaussian, measures, weights_l1

SAMPLES = 10_000
SCALES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)  # of the outputs: what a smaller or larger top layer would give
MOVED = 1000  # samples that the iterated attack moves
STEPS, STEP = 20, 0.05  # of the iterated attack: in all one standard deviation of the noise


# ---------------------------------------------------------------------------------------------------------
# How much rubbish is claimed


@measures("rubbish-maxout-softmax", recipes.naive_at_length)
def rubbish_maxout_softmax(lab: Lab, seed: int, naive: Trained, longer: Trained | None = None) -> Measurement:
    """The naive maxout network with softmax on top."""
    measurement = _rubbish(lab, seed, naive.network)
    if longer:
        e = metrics.evaluate_rubbish(longer.network, gaussian(lab, seed, "rubbish", (SAMPLES, 784)))
        measurement.variations["longer"] = {
            "error": e.error, "confidence_on_mistakes": e.confidence_on_mistakes, "epochs": longer.epochs,
        }  # fmt: skip
    return measurement


def _with_sigmoids(profile: Profile, seed: int) -> dict[str, Recipe]:
    """J is the mean over the ten sigmoids, as in the paper's software; where choices are varied also their sum."""
    summed = recipes.maxout(profile, seed, top="sigmoid")
    return {"naive": recipes.sigmoid_mean(summed), **({"summed": summed} if profile.varies(seed) else {})}


@measures("rubbish-maxout-sigmoid", _with_sigmoids, quick=False)
def rubbish_maxout_sigmoid(lab: Lab, seed: int, naive: Trained, summed: Trained | None = None) -> Measurement:
    """The naive maxout network with independent sigmoids on top; varied is their J, the sum instead of the mean."""
    measurement = _rubbish(lab, seed, naive.network)
    if summed:
        of_summed = _rubbish(lab, seed, summed.network).values
        names = ("error", "confidence_on_mistakes", "clean_error")
        measurement.variations["sum"] = {name: of_summed[name] for name in names}
    return measurement


@measures("rubbish-softmax", lambda profile, seed: {"softmax": recipes.softmax_regression(profile, seed)})
def rubbish_softmax(lab: Lab, seed: int, softmax: Trained) -> Measurement:
    """Softmax regression."""
    return _rubbish(lab, seed, softmax.network)


@measures("rubbish-rbf", lambda profile, seed: {"rbf": recipes.rbf_network(profile, seed)})
def rubbish_rbf(lab: Lab, seed: int, rbf: Trained) -> Measurement:
    """The RBF network."""
    return _rubbish(lab, seed, rbf.network)


def _rubbish(lab: Lab, seed: int, network: Network) -> Measurement:
    x = gaussian(lab, seed, "rubbish", (SAMPLES, 784))
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
    counts = metrics.evaluate_rubbish(naive.network, gaussian(lab, seed, "rubbish", (SAMPLES, 784))).by_class
    wrong, values = sum(counts), Values()
    for name, count in {"fives": counts[5], "eights": counts[8], "most_frequent": max(counts)}.items():
        values.share(f"share_{name}", count, wrong)
    return values.measurement(details={"by_class": list(counts)})


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
    """Rubbish error, clean cost, and what one step from new rubbish makes of it; two readings of no class.

    Many small steps in place of the one are context.
    """
    x, y = lab.data.test
    new = gaussian(lab, seed, "rubbish", (SAMPLES, 784))
    start = gaussian(lab, seed, "rubbish to step from", (MOVED, 784))
    k = array_module(start).asarray(generator(seed, "classes to step to").integers(0, 10, MOVED))
    networks = {"without": without.network, "trained": trained.network, "sigmoids": sigmoids.network}
    values, varied, curves = Values(), {}, {}
    for name, network in networks.items():
        rubbish, clean = metrics.evaluate_rubbish(network, new), metrics.evaluate(network, x, y)
        curves[name] = _iterated(network, start, k)
        one = metrics.evaluate_rubbish(network, _stepped(network, start, k, EPS)).error
        varied[name] = {
            "error": rubbish.error,
            "clean_error": clean.error,
            "fooled_after_one_step": one,
            "fooled_after_steps": curves[name][-1],
        }
        if name == "without":
            values.add(clean, error="clean_error_without")
        if name == "trained":
            values.add(rubbish, error="error")
            values.add(clean, error="clean_error")
            values.share("fooled_after_one_step", round(one * MOVED), MOVED)
            values.share("fooled_after_steps", round(curves[name][-1] * MOVED), MOVED)
    wrong = {name: metrics.predict(network, x) != y for name, network in networks.items()}
    cost, low, high = _difference(wrong["trained"], wrong["without"])
    values.values["clean_cost"], values.intervals["clean_cost"] = cost, (low, high)
    holds = low <= 0 and values.values["fooled_after_one_step"] >= 0.5
    return values.measurement(holds=holds, variations=varied, details={"fooled": curves})


def _difference(a: Array, b: Array) -> tuple[float, float, float]:
    """By how much mistakes a `(N,)` are more frequent than mistakes b of the same inputs, with its 95 % interval."""
    d = a.astype("float64") - b.astype("float64")
    return (float(d.mean()), *metrics.mean_interval(d))


def _stepped(network: Network, x: Array, k: Array, eps: float) -> Array:
    """x - eps sign(grad_x J(x, k)): one fast gradient sign step towards the classes k."""
    return x - eps * ops.sign(metrics.in_batches(partial(input_gradient, software(network)), x, k))


def _iterated(network: Network, x: Array, k: Array) -> list[float]:
    """The share of x that some class claims after 0, 1, ... steps x <- x - STEP sign(grad_x J(x, k))."""
    shares = [metrics.evaluate_rubbish(network, x).error]
    for _ in range(STEPS):
        x = _stepped(network, x, k, STEP)
        shares.append(metrics.evaluate_rubbish(network, x).error)
    return shares
