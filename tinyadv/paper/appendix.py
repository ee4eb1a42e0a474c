"""The appendix, rubbish: samples of N(0, I) that belong to no class, and what networks claim of them.

Three questions: how many samples some class claims, and which; whether one gradient step makes a sample of a chosen
class; and whether a network can be trained out of it.
"""

from __future__ import annotations

import math
from typing import Any

from .. import metrics, ops
from ..attacks import input_gradient
from ..backend import Array, array_module, generator, to_device
from ..models import Network
from . import recipes
from .figures import BLUE, GREEN, GREY, ORANGE, draws, show_image
from .lab import EPS, Lab
from .measuring import Values, explains, mean, measures, pictures, weights_l1
from .registry import claims
from .results import Measurement, Result
from .variations import means, table

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
def rubbish_maxout_softmax(lab: Lab, seed: int, network: Network, *longer: Network) -> Measurement:
    """The naive maxout network with softmax on top."""
    measurement = _rubbish(lab, seed, network)
    for model in longer:
        e = metrics.evaluate_rubbish(model, _gaussian(lab, seed, "rubbish", SAMPLES))
        row = [f"trained for {lab.epochs(model)} epochs", e.error, e.confidence_on_mistakes]
        measurement.details["variations"]["rows"].append(row)
    return measurement


@measures("rubbish-maxout-sigmoid", lambda profile, seed: [recipes.maxout(profile, seed, top="sigmoid")], quick=False)
def rubbish_maxout_sigmoid(lab: Lab, seed: int, network: Network) -> Measurement:
    """The naive maxout network with independent sigmoids on top."""
    return _rubbish(lab, seed, network)


@measures("rubbish-softmax", lambda profile, seed: [recipes.softmax_regression(profile, seed)])
def rubbish_softmax(lab: Lab, seed: int, network: Network) -> Measurement:
    """Softmax regression."""
    return _rubbish(lab, seed, network)


@measures("rubbish-rbf", lambda profile, seed: [recipes.rbf_network(profile, seed)])
def rubbish_rbf(lab: Lab, seed: int, network: Network) -> Measurement:
    """The RBF network."""
    return _rubbish(lab, seed, network)


def _rubbish(lab: Lab, seed: int, network: Network) -> Measurement:
    x = _gaussian(lab, seed, "rubbish", SAMPLES)
    evaluation = metrics.evaluate_rubbish(network, x)
    values = Values()
    values.add(evaluation, error="error", confidence_on_mistakes="confidence_on_mistakes")
    values.add(metrics.evaluate(network, *lab.data.test), error="clean_error")
    values.values["weights_l1"] = weights_l1(network)
    details = {"by_class": list(evaluation.by_class), "variations": _scaled(network, metrics.in_batches(network, x))}
    return values.measurement(details=details)


def _scaled(network: Network, outputs: Array) -> dict[str, Any]:
    """Rubbish error and confidence if the outputs were smaller or larger; the largest class stays what it is."""
    rows: list[list[Any]] = []
    for scale in SCALES:
        largest = network.probabilities(outputs * scale).max(axis=1)
        claimed = largest > 0.5
        confidence = float(largest[claimed].mean()) if claimed.any() else math.nan
        rows.append([f"outputs × {scale:g}", float(claimed.mean()), confidence])
    return table(["top layer", "rubbish error", "confidence on mistakes"], rows)


@explains("rubbish-maxout-softmax")
@explains("rubbish-maxout-sigmoid")
@explains("rubbish-softmax")
@explains("rubbish-rbf")
def _explain_rubbish(result: Result) -> str:
    """Whether another size of the top layer alone, which changes no class, would give the paper's numbers.

    Of the table's sizes it tells the one that comes nearest to them, in units of the registry's tolerances.
    """
    published = claims()[result.claim].published
    rows = means(result)
    sizes = [row for row in rows if row[0].startswith("outputs")]

    def distances(size: list[Any]) -> list[float]:
        ours = dict(zip(("error", "confidence_on_mistakes"), size[1:], strict=True))
        found = [abs(ours[q.name] - (q.paper or 0.0)) / (q.tolerance or math.inf) for q in published]
        return [d if math.isfinite(d) else math.inf for d in found]

    name, error, confidence = best = min(sizes, key=lambda size: sum(distances(size)))
    sure = f" with a confidence of {100 * confidence:.1f} %" if math.isfinite(confidence) else ""
    claimed = f"{100 * error:.1f} % of the samples would be claimed{sure}"
    if name == "outputs × 1":
        told = "No other size of the top layer in the table comes nearer to the paper's numbers."
    elif max(distances(best)) <= 1:
        told = f"With {name}, which changes no class, {claimed}: the size of the weights is enough to explain it."
    else:
        told = f"With {name}, which changes no class, {claimed}: its size alone does not give the paper's numbers."
    longer = [f" {row[0][0].upper()}{row[0][1:]}, the first seed's network gives {100 * row[1]:.1f} % and "
              f"{100 * row[2]:.1f} %." for row in rows if row[0].startswith("trained")]  # fmt: skip
    return told + "".join(longer)


RUBBISH = (
    "Of the samples of N(0, I) that some class claims with a probability above one half, the share of each class of "
    "largest probability."
)


@draws("rubbish-softmax", "Which class softmax regression sees in noise", RUBBISH)
@draws("rubbish-maxout-softmax", "Which class the maxout network sees in noise", RUBBISH)
@draws("rubbish-maxout-sigmoid", "Which class the maxout network with sigmoids on top sees in noise", RUBBISH)
def _draw_rubbish(canvas: Any, details: dict[str, Any]) -> None:
    axes, counts = canvas.subplots(), details["by_class"]
    total = max(1, sum(counts))
    bars = axes.bar(range(10), [100 * c / total for c in counts], color=BLUE)
    axes.bar_label(bars, [f"{100 * c / total:.1f}" for c in counts])
    axes.set(xlabel="class that claims the sample", ylabel=f"share of {sum(counts):,} errors, %", xticks=range(10))


@measures("rubbish-skew", lambda profile, seed: [recipes.maxout(profile, seed)])
def rubbish_skew(lab: Lab, seed: int, network: Network) -> Measurement:
    """How unevenly the samples that the naive maxout network claims fall on the classes."""
    counts = metrics.evaluate_rubbish(network, _gaussian(lab, seed, "rubbish", SAMPLES)).by_class
    wrong, values = sum(counts), Values()
    for name, count in {"fives": counts[5], "eights": counts[8], "most_frequent": max(counts)}.items():
        values.share(f"share_{name}", count, wrong)
    return values.measurement(details={"by_class": list(counts)})


@explains("rubbish-skew")
def _explain_skew(result: Result) -> str:
    """Which class is the most frequent, network by network."""
    counts = [m.details["by_class"] for m in result.measurements]
    if not all(map(sum, counts)):
        return "A network claims none of the samples."
    winners = [max(range(10), key=by_class.__getitem__) for by_class in counts]
    told = ", ".join(f"{k} ({100 * c[k] / sum(c):.1f} %)" for k, c in zip(winners, counts, strict=True))
    if len(counts) == 1:
        return f"This network's most frequent class is {told}."
    if len(set(winners)) > 1:
        return f"Which class is the most frequent changes with the seed: {told}."
    return f"With every seed the most frequent class is the same, with its own share: {told}."


@draws(
    "rubbish-skew",
    "How uneven the classes are that a maxout network sees in noise",
    "Bars: the share of each class among the samples of N(0, I) that some class claims. Orange diamonds: the two "
    "shares that the paper gives, fives and eights. Dotted: all classes alike.",
)
def _draw_skew(canvas: Any, details: dict[str, Any]) -> None:
    _draw_rubbish(canvas, details)
    axes = canvas.axes[0]
    paper = {
        int(name): 100 * (q.paper or 0.0) for name, q in zip((5, 8), claims()["rubbish-skew"].published, strict=True)
    }
    axes.plot(list(paper), list(paper.values()), "D", color=ORANGE, label="the paper's network", clip_on=False)
    axes.axhline(10, color=GREY, linestyle=":", linewidth=1.5, label="all classes alike")
    axes.legend(frameon=False)


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


WAYS = {"gradient": "gradient, scaled", "sign": "gradient's sign", "raw": "ε∇p, not scaled"}


@measures("fooling-step", lambda profile, seed: [recipes.maxout(profile, seed)])
def fooling_step(lab: Lab, seed: int, network: Network) -> Measurement:
    """On MNIST: how often one step from a Gaussian sample reaches a chosen class."""
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
        "variations": table(
            ["MNIST, one step of size", *WAYS.values()],
            [[f"ε = {size:g}", *(by_size[way][i] for way in WAYS)] for i, size in enumerate(SIZES)],
        ),
    }
    return values.measurement(details=details)


@explains("fooling-step")
def _explain_fooling(result: Result) -> str:
    """What MNIST gives, because the published numbers are for CIFAR-10."""
    of_seeds = [m.details["by_class"]["gradient"] for m in result.measurements]
    of_class = [mean(shares) for shares in zip(*of_seeds, strict=True)]
    easiest, hardest = (choose(range(10), key=of_class.__getitem__) for choose in (max, min))
    after, before = (100 * result.mean(f"success_mean_mnist{when}") for when in ("", "_before"))
    return (
        f"The published numbers are for CIFAR-10; on MNIST one step succeeds for {after:.1f} % of the samples, after "
        f"{before:.1f} % without it, from {100 * of_class[hardest]:.1f} % for the digit {hardest} to "
        f"{100 * of_class[easiest]:.1f} % for {easiest}."
    )


@draws(
    "fooling-step",
    "One gradient step from noise to a chosen digit",
    "Left: of samples of N(0, I), the share with p(y = i) of at least one half after one step towards the digit i, and "
    "before it; ε = .25, and the gradient is scaled to the length of its sign. Right: the mean over the digits against "
    "the size of the step; ε∇p as it is, not scaled, is so short that it hardly moves a sample.",
)
def _draw_fooling_step(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subplots(1, 2, width_ratios=[3, 2])
    kinds = (("before", "no step", GREY), ("gradient", WAYS["gradient"], BLUE), ("sign", WAYS["sign"], ORANGE))
    for i, (way, label, colour) in enumerate(kinds):
        shares = [100 * s for s in details["by_class"][way]]
        hatch = "" if way == "gradient" else "///"
        left.bar(
            [k + 0.28 * (i - 1) for k in range(10)],
            shares,
            0.26,
            color=colour,
            label=label,
            hatch=hatch,
            edgecolor="white",
        )
    left.set(xlabel="digit that the step goes to", ylabel="success, %", xticks=range(10), ylim=(0, 100))
    left.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=10)
    for (way, label), colour, style in zip(WAYS.items(), (BLUE, ORANGE, GREEN), ("o-", "s--", "^:"), strict=True):
        right.plot(
            details["sizes"],
            [100 * s for s in details["by_size"][way]],
            style,
            color=colour,
            label=label,
            clip_on=False,
        )
    right.set(xlabel="ε, in standard deviations of the noise", ylabel="success, mean of the digits, %", ylim=(0, 100))
    right.legend(frameon=False, fontsize=10)
    canvas.set_size_inches(10, 4)


@measures("fig5-fooling", lambda profile, seed: [recipes.maxout(profile, seed)])
def fig5_fooling(lab: Lab, seed: int, network: Network) -> Measurement:
    """On MNIST: fooling images of every digit by the gradient's sign, more of the digit that is hardest to reach."""
    stepped, framed = [], []
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


@explains("fig5-fooling")
def _explain_fig5(result: Result) -> str:
    """What is drawn instead."""
    told = []
    for seed, m in zip(result.seeds, result.measurements, strict=True):
        framed, k = m.details["framed"], m.details["hardest"]
        told.append(f"seed {seed}: {k}, {sum(framed[k])} of {len(framed[k])}")
    return (
        "The figure and its predicate are about CIFAR-10. Drawn here are digits, most of them of the one that is "
        f"hardest to make ({'; '.join(told)})."
    )


@draws(
    "fig5-fooling",
    "Random fooling images for digits, as in figure 5 of the paper",
    "Samples of N(0, I) after one step of the gradient's sign, ε = .25, towards a digit. Thick orange frames are those "
    "that fool the network: it says that the digit is there with a probability of at least one half. Left: the digit "
    "that is hardest to reach, as the paper shows the airplane; right: all ten. Black is the lowest value of the "
    "images, white the highest.",
)
def _draw_fig5(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subfigures(1, 2, width_ratios=[2, 3])
    many, rows = details["hardest_images"], len(details["images"][0])
    side, hardest = math.isqrt(len(many)), details["hardest"]
    grid = left.subplots(side, side, squeeze=False)
    for i, image in enumerate(many):
        _framed(grid[divmod(i, side)], image, details["framed"][hardest][i])
    left.suptitle(f"towards {hardest}, the hardest")
    grid = right.subplots(rows, 10, squeeze=False)
    for k, images in enumerate(details["images"]):
        for i, image in enumerate(images):
            _framed(grid[i, k], image, details["framed"][k][i])
        grid[0, k].set_title(str(k))
    right.suptitle("towards each digit")
    canvas.set_size_inches(10, 4)


def _framed(axes: Any, image: Any, framed: bool) -> None:
    show_image(axes, image, low=-4, high=4)
    axes.spines[:].set(color=ORANGE if framed else GREY, linewidth=2.5 if framed else 0.5)


# ---------------------------------------------------------------------------------------------------------
# Training on rubbish


@measures(
    "rubbish-training",
    lambda profile, seed: [
        recipes.maxout_rubbish(profile, seed, trained=False),
        recipes.maxout_rubbish(profile, seed),
        recipes.maxout_rubbish(profile, seed, top="sigmoid"),
    ],
    quick=False,
)
def rubbish_training(lab: Lab, seed: int, without: Network, trained: Network, sigmoids: Network) -> Measurement:
    """Rubbish error, clean cost, and what an iterated attack from new rubbish makes of it; two readings of no class."""
    x, y = lab.data.test
    new, start = _gaussian(lab, seed, "rubbish", SAMPLES), _gaussian(lab, seed, "rubbish to step from", A_CLASS)
    k = array_module(start).asarray(generator(seed, "classes to step to").integers(0, 10, A_CLASS))
    values, rows, curves = Values(), [], {}
    names = ("without rubbish training", "uniform under a softmax", "none under sigmoids")
    for name, network in zip(names, (without, trained, sigmoids), strict=True):
        rubbish, clean = metrics.evaluate_rubbish(network, new), metrics.evaluate(network, x, y)
        curves[name] = _iterated(network, start, k)
        rows.append([name, rubbish.error, clean.error, curves[name][-1]])
        if network is without:
            values.add(clean, error="clean_error_without")
        if network is trained:
            values.add(rubbish, error="error")
            values.add(clean, error="clean_error")
            values.share("fooled_after_steps", round(curves[name][-1] * A_CLASS), A_CLASS)
    cost, low, high = _difference(*((metrics.predict(network, x) != y) for network in (trained, without)))
    columns = ["what rubbish is trained to", "rubbish error", "clean error", "fooled after steps"]
    details = {
        "fooled": curves,
        "cost": [cost, low, high],
        "variations": table(columns, rows),
    }
    return values.measurement(holds=low <= 0 and values.values["fooled_after_steps"] >= 0.5, details=details)


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


@explains("rubbish-training")
def _explain_training(result: Result) -> str:
    """Which of the three parts fails: the rubbish error, the clean cost, or the iterated attack."""
    cost = mean(m.details["cost"][0] for m in result.measurements)
    costly = any(m.details["cost"][1] > 0 for m in result.measurements)
    error, fooled = result.mean("error"), result.mean("fooled_after_steps")
    parts = [f"{100 * error:.2f} % of new rubbish is still claimed"] if error > 0 else []
    parts += [f"clean images cost {100 * cost:.2f} points"] if costly else []
    parts += [f"only {100 * fooled:.1f} % are fooled after {STEPS} steps"] if fooled < 0.5 else []
    told = " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
    return f"Trained for as long as the network without rubbish, {told}." if parts else ""


@draws(
    "rubbish-training",
    "Trained on rubbish, and fooled by rubbish that was moved a little",
    "Of samples of N(0, I), the share that some class claims with a probability above one half, after so many steps "
    "of the fast gradient sign towards a random class, each of .05.",
)
def _draw_training(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for (name, shares), colour, style in zip(
        details["fooled"].items(), (GREY, BLUE, ORANGE), ("^:", "o-", "s--"), strict=True
    ):
        axes.plot(
            range(len(shares)), [100 * s for s in shares], style, color=colour, label=name, clip_on=False, markevery=2
        )
    axes.set(xlabel="fast gradient sign steps of .05", ylabel="samples that some class claims, %", ylim=(0, 100))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="center right")
