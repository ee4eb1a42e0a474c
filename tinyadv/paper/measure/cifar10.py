"""The convolutional maxout network of CIFAR-10: FGSM on its test images, and what it sees in noise.

Three questions: how many images one step of 0.1 fools, in the whitened space; how many samples of N(0, I) some class
claims, and which; and whether one gradient step makes a sample of a chosen class. Only the first needs CIFAR-10. Every
gradient is the one that the paper's software computes, with p - t rounded in float32; the exact one stands beside it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from ... import metrics, ops
from ...attacks import fgsm, input_gradient
from ...backend import Array, array_module, to_device
from ...datasets import CIFAR10_CLASSES, cifar10
from ...models import Network
from ...preprocessing import SCALE, contrast
from .. import recipes
from ..lab import EPS, EPS_WHITENED, Lab, Trained
from ..profiles import Profile
from ..results import Measurement
from ..rounding import Rounded, certain
from .common import Values, gaussian, logged, measures, pictures

INPUTS = 3072
RUBBISH = 1000  # samples, as in the paper
A_CLASS = 200  # samples moved towards each class: the paper does not say how many
A_DIGIT = 1000  # the same for each digit of MNIST
SIZES = (0.02, 0.05, 0.1, 0.2, 0.5)  # of the step: the paper does not say how large
FEW = 50  # the first samples of each class, for these
TRIED, SHOWN = 100, 24  # samples moved towards the airplane for figure 5, and the first of them, which are drawn
BATCH = 250  # images at a time: a convolution's spectra take some megabytes an image
ABSENT = ("airplane", "automobile", "horse", "ship", "truck")  # classes that the paper's network never saw in noise


def the_network(profile: Profile, seed: int) -> dict[str, Any]:
    """The network of all rows."""
    return {"conv": recipes.conv_maxout(profile, seed)}


# ---------------------------------------------------------------------------------------------------------
# One step on images


@measures("fgsm-conv-maxout", the_network, quick=False, missing=recipes.cifar10_missing)
def fgsm_conv_maxout(lab: Lab, seed: int, conv: Trained) -> Measurement:
    """FGSM(0.1) on the 10,000 whitened test images; and what the log has of validation images after each epoch."""
    measurement = under_fgsm(conv.network, *lab.whitened("test"))
    measurement.details.update(logged("error", "adversarial_error", "software_error", curves=conv))
    return measurement


def under_fgsm(network: Network, x: Array, y: Array) -> Measurement:
    """What is measured of a network on whitened images x `(N, D)` with labels y `(N,)`."""
    values = Values()
    for end, attacked in (("", Rounded(network)), ("_exact", network)):
        x_adv = metrics.in_batches(partial(fgsm, attacked, eps=EPS_WHITENED), x, y, size=BATCH)
        values.add(
            metrics.evaluate(network, x_adv, y),
            error=f"error{end}",
            wrong_label_probability=f"wrong_label_probability{end}",
            confidence_on_mistakes=f"confidence_on_mistakes{end}",
        )
        values.values[f"zero_gradient_share{end}"] = float((x_adv == x).mean())  # FGSM moves every other entry
    values.add(metrics.evaluate(network, x, y), error="clean_error", confidence="clean_confidence")
    values.values["certain_share"] = float(metrics.in_batches(partial(certain, network), x, y, size=BATCH).mean())
    values.values["deviation"] = float(x.std())
    return values.measurement()


# ---------------------------------------------------------------------------------------------------------
# How much rubbish is claimed, and by which class


def _rubbish(lab: Lab, seed: int, network: Network) -> metrics.RubbishEvaluation:
    return metrics.evaluate_rubbish(network, gaussian(lab, seed, "rubbish for CIFAR-10", (RUBBISH, INPUTS)))


@measures("rubbish-conv", the_network)
def rubbish_conv(lab: Lab, seed: int, conv: Trained) -> Measurement:
    """The samples that some class claims."""
    evaluation, values = _rubbish(lab, seed, conv.network), Values()
    values.add(evaluation, error="error", confidence_on_mistakes="confidence_on_mistakes")
    return values.measurement(details={"by_class": list(evaluation.by_class)})


@measures("rubbish-skew-conv", the_network)
def rubbish_skew_conv(lab: Lab, seed: int, conv: Trained) -> Measurement:
    """How unevenly they fall on the classes."""
    counts = _rubbish(lab, seed, conv.network).by_class
    of = dict(zip(CIFAR10_CLASSES, counts, strict=True))
    wrong, values = sum(counts), Values()
    values.share("share_frogs", of["frog"], wrong)
    values.share("share_absent", sum(of[name] for name in ABSENT), wrong)
    values.share("share_most_frequent", max(counts), wrong)
    return values.measurement(details={"by_class": list(counts)})


# ---------------------------------------------------------------------------------------------------------
# One step to a chosen class


def directions(model: Any, x: Array, k: int, p: Array) -> dict[str, Array]:
    """What a step of size eps towards class k adds to x `(N, D)`, divided by eps; p is p(y = k | x) `(N,)`.

    gradient: grad_x p(y = k | x), but as long as the sign's step, sqrt(D). sign: its sign, which is that of
    grad_x log p, computed from the latter because p may underflow. raw: grad_x p as it is.
    """
    xp = array_module(x)
    g = -metrics.in_batches(lambda part: input_gradient(model, part, xp.full(len(part), k)), x, size=BATCH)
    length = (g * g).sum(axis=1, keepdims=True) ** 0.5
    unit = g / (length + (length == 0))
    return {"gradient": math.sqrt(x.shape[1]) * unit, "sign": ops.sign(g), "raw": p[:, None] * g}


def probability(network: Network, x: Array, k: int) -> Array:
    """p(y = k | x) of each row of x `(N, D)`, `(N,)`."""
    return network.probabilities(metrics.in_batches(network, x, size=BATCH))[:, k]


def fooled(p: Array) -> list[bool]:
    """Which probabilities are a success."""
    return [bool(success) for success in to_device(p >= 0.5, "cpu")]


def reached(network: Network, x: Array, k: int, step: Array) -> int:
    """For how many of x `(N, D)` a step `(N, D)` reaches class k."""
    return sum(fooled(probability(network, x + step, k)))


@measures("fooling-step", lambda profile, seed: {**the_network(profile, seed), "naive": recipes.maxout(profile, seed)})
def fooling_step(lab: Lab, seed: int, conv: Trained, naive: Trained) -> Measurement:
    """How often one step of 0.1 from a Gaussian sample reaches a chosen class; beside it other steps, and digits."""
    network, values = conv.network, Values()
    counts: dict[str, list[int]] = {way: [] for way in ("before", "gradient", "sign", "raw", "exact")}
    by_size: dict[str, list[list[int]]] = {"gradient": [], "sign": []}  # of the first samples, for each class
    for k, name in enumerate(CIFAR10_CLASSES):
        x = gaussian(lab, seed, f"fooling images of {name}", (A_CLASS, INPUTS))
        p = probability(network, x, k)
        counts["before"].append(sum(fooled(p)))
        found = directions(Rounded(network), x, k, p)
        for way in ("gradient", "sign", "raw"):
            counts[way].append(reached(network, x, k, EPS_WHITENED * found[way]))
        exact = directions(network, x, k, p)["gradient"]
        counts["exact"].append(reached(network, x, k, EPS_WHITENED * exact))
        for way, of_classes in by_size.items():
            of_classes.append([reached(network, x[:FEW], k, size * found[way][:FEW]) for size in SIZES])
    for way, end in (("gradient", ""), ("exact", "_exact")):
        of = dict(zip(CIFAR10_CLASSES, counts[way], strict=True))
        for name in ("frog", "truck", "airplane"):
            values.share(f"success_{name}{end}", of[name], A_CLASS)
        values.share(f"success_mean{end}", sum(counts[way]), 10 * A_CLASS)
    values.share("success_mean_before", sum(counts["before"]), 10 * A_CLASS)
    few = min(FEW, A_CLASS)
    varied = {way: _varied(counts[way], A_CLASS) for way in ("sign", "raw")}
    for key, way in (("step", "gradient"), ("sign-step", "sign")):
        for i, size in enumerate(SIZES):
            varied[f"{key}:{size:g}"] = _varied([of_sizes[i] for of_sizes in by_size[way]], few)
    details = {
        "eps": EPS_WHITENED,
        "by_class": {way: [count / A_CLASS for count in of_classes] for way, of_classes in counts.items()},
        "sizes": list(SIZES),
        "by_size": {
            way: [sum(column) / (10 * few) for column in zip(*of_classes, strict=True)]
            for way, of_classes in by_size.items()
        },
    }
    _of_digits(lab, seed, naive.network, values)
    return values.measurement(variations=varied, details=details)


def _varied(counts: list[int], n: int) -> dict[str, float]:
    """The published quantities, of the counts for each class of n samples."""
    of = dict(zip(CIFAR10_CLASSES, counts, strict=True))
    shares = {f"success_{name}": of[name] / n for name in ("frog", "truck", "airplane")}
    return shares | {"success_mean": sum(counts) / (10 * n)}


def _of_digits(lab: Lab, seed: int, network: Network, values: Values) -> None:
    """The same of digits, as context: steps of 0.25 from samples of N(0, I) of MNIST's size."""
    counts: dict[str, list[int]] = {"before": [], "gradient": [], "sign": []}
    for k in range(10):
        x = gaussian(lab, seed, f"fooling images of {k}", (A_DIGIT, 784))
        p = probability(network, x, k)
        counts["before"].append(sum(fooled(p)))
        found = directions(Rounded(network), x, k, p)
        for way in ("gradient", "sign"):
            counts[way].append(reached(network, x, k, EPS * found[way]))
    for way, name in (("before", "_before"), ("gradient", ""), ("sign", "_sign")):
        values.share(f"success_mean_mnist{name}", sum(counts[way]), 10 * A_DIGIT)
    values.share("success_lowest_mnist", min(counts["gradient"]), A_DIGIT)
    values.share("success_highest_mnist", max(counts["gradient"]), A_DIGIT)


# ---------------------------------------------------------------------------------------------------------
# Figure 5


@measures("fig5-fooling", the_network, at_hand=lambda: _in_which_space())
def fig5_fooling(lab: Lab, seed: int, conv: Trained) -> Measurement:
    """Samples after one step of 0.1 of the gradient's sign towards the airplane, and which of them succeed."""
    network, airplane = conv.network, CIFAR10_CLASSES.index("airplane")
    x = gaussian(lab, seed, "fooling images of airplane", (TRIED, INPUTS))
    p = probability(network, x, airplane)
    stepped = x + EPS_WHITENED * directions(Rounded(network), x, airplane, p)["sign"]
    exact = EPS_WHITENED * directions(network, x, airplane, p)["sign"]
    framed, values = fooled(probability(network, stepped, airplane)), Values()
    values.share("success_airplane", sum(framed), TRIED)
    values.share("success_airplane_exact", reached(network, x, airplane, exact), TRIED)
    images, space = _in_pixels(to_device(stepped[:SHOWN], "cpu"))
    details = {"space": space, "framed": framed, "images": pictures(images)}
    return values.measurement(holds=0 < sum(framed) < TRIED, details=details)


def _in_which_space() -> str:
    return "whitened" if recipes.cifar10_missing() else "pixels"


def _in_pixels(z: Array) -> tuple[Array, str]:
    """Whitened images z `(n, 3072)` as pixels, and "pixels"; where CIFAR-10 is not at hand, z itself, and "whitened".

    A whitened image has lost its brightness and contrast: these are the means over the test images.
    """
    if _in_which_space() == "whitened":
        return z, "whitened"
    whitening = cifar10(whitened=True).whitening
    assert whitening is not None
    mean, norm = contrast(cifar10().test.x)
    return float(mean.mean()) + whitening.undo(z) * (float(norm.mean()) / SCALE), "pixels"
