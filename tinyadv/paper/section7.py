"""Section 7, other kinds of capacity: RBF networks can decline to answer, and deep ones are hard to train.

The one idea: an RBF unit responds in one place alone, so what it does not know it gives a low probability. The price
is that it generalizes badly, and that nothing tells a unit far away where to go.
"""

from __future__ import annotations

from math import nan
from typing import Any

from .. import metrics
from ..backend import Array, to_device
from ..models import Network
from . import recipes
from .figures import BLUE, GREEN, GREY, ORANGE, draws
from .lab import Lab, Recipe
from .measuring import attack, explains, measures, training_error, under_fgsm
from .recipes import Profile
from .results import Measurement, Result, percent
from .variations import nearest, table

PUBLISHED = ("error", "confidence_on_mistakes", "clean_confidence")


@measures(
    "rbf-fgsm",
    lambda profile, seed: [recipes.rbf_network(profile, seed), *recipes.rbf_otherwise(profile, seed)],
)
def rbf_fgsm(lab: Lab, seed: int, network: Network, *others: Network) -> Measurement:
    """Error and confidences, with J the sum of squared errors, and beside it with two other J's and choices."""
    x, y = lab.data.test
    values, x_adv = under_fgsm(network, x, y)
    otherwise = [under_fgsm(other, x, y)[0] for other in others]  # the quick profile has the first two alone
    for which, other in zip(("cross_entropy", "true_class"), otherwise, strict=False):
        for name in PUBLISHED:
            values.values[f"{name}_{which}"] = other.values[name]
            if name in other.intervals:
                values.intervals[f"{name}_{which}"] = other.intervals[name]
    climbs = Network(network.builder, network.arguments, network.layers, "rbf")  # the same units under another J
    climbed = metrics.evaluate(network, attack(climbs, x, y), y)
    v = values.values
    clean = [v["clean_confidence"], v["clean_error"]]
    rows = [
        ["as defined", v["error"], v["confidence_on_mistakes"], *clean],
        ["the attack climbs the sum of binary cross-entropies", climbed.error, climbed.confidence_on_mistakes, *clean],
        ["clipped to [0, 1]", v["error_clipped"], v["confidence_on_mistakes_clipped"], *clean],
    ]
    rows += [
        [name, *(other.values[key] for key in (*PUBLISHED, "clean_error"))]
        for name, other in zip(recipes.RBF_OTHERWISE, otherwise, strict=False)
    ]
    details = {
        "confidence_shares": {"clean": _shares(network, x), "attacked": _shares(network, x_adv)},
        "log": lab.log(network),
        "log_cross_entropy": lab.log(others[0]),
        "variations": table(["variation", *PUBLISHED, "clean_error"], rows),
    }
    return values.measurement(details=details)


@explains("rbf-fgsm")
def _why_rbf(result: Result) -> str:
    return nearest(result, *PUBLISHED)


def _shares(network: Network, x: Array) -> list[float]:
    """The share of inputs whose largest probability lies in each twentieth of [0, 1]."""
    p = to_device(network.probabilities(metrics.in_batches(network, x)).max(axis=1), "cpu")
    return [float(((p * 20).astype(int).clip(0, 19) == k).mean()) for k in range(20)]


@draws(
    "rbf-fgsm",
    "How confident an RBF network is, clean and under attack",
    "Left: the largest probability over clean and attacked test images. Right: errors and confidences over "
    "training, on the validation images, where J is the sum of squared errors, and where it is that of binary "
    "cross-entropies.",
)
def _draw_confidences(canvas: Any, details: dict[str, Any]) -> None:
    left, *panels = canvas.subplots(1, 3)
    edges = [k / 20 for k in range(21)]
    for kind, colour, style in (("clean", BLUE, "-"), ("attacked", ORANGE, "--")):
        shares = [100 * s for s in details["confidence_shares"][kind]]
        left.stairs(shares, edges, color=colour, linestyle=style, linewidth=2, label=kind)
    left.set(xlabel="largest probability", ylabel="share of test images, %", xlim=(0, 1))
    left.legend(frameon=False)
    for axes, key, title in zip(
        panels, ("log", "log_cross_entropy"), ("J: squared errors", "J: binary cross-entropies"), strict=True
    ):
        _draw_log(axes, details[key])
        axes.set(xlabel="epoch", ylabel="% on the validation images", ylim=(0, 100), title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[1].legend(frameon=False, fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.set_size_inches(11, 3.6)


def _draw_log(axes: Any, log: list[dict[str, Any]]) -> None:
    epochs, gap = [entry["epoch"] for entry in log], max(1, len(log) // 10)
    for key, label, colour, style in (
        ("error", "clean error", GREEN, "^-"),
        ("confidence", "clean confidence", BLUE, "o-"),
        ("adversarial_error", "FGSM error", ORANGE, "s--"),
        ("adversarial_confidence_on_mistakes", "confidence\non its mistakes", GREY, "d:"),
    ):
        figures = [nan if entry[key] is None else 100 * entry[key] for entry in log]  # no mistakes, no confidence
        axes.plot(epochs, figures, style, color=colour, label=label, markevery=gap)


# ---------------------------------------------------------------------------------------------------------
# Deep networks of such units


def _deep(profile: Profile, seed: int) -> list[Recipe]:
    maxout, shallow = recipes.maxout(profile, seed), recipes.rbf_network(profile, seed)
    return [maxout, shallow, *recipes.quadratic(profile, seed)]


@measures("rbf-deep", _deep, quick=False)
def rbf_deep(lab: Lab, seed: int, maxout: Network, shallow: Network, *deep: Network) -> Measurement:
    """Training error of networks of quadratic units, each at its best learning rate, and whether they resist."""
    rows, rest = [], list(deep)
    for name, _, _, rates in recipes.QUADRATIC:
        tried, rest = rest[: len(rates)], rest[len(rates) :]
        errors = [training_error(lab, network) for network in tried]
        best = min(range(len(rates)), key=errors.__getitem__)
        rows.append(_row(lab, name, rates[best], errors[best], tried[best]))
    resistant = [row["training_error"] for row in rows if row["resists"]]
    limit = training_error(lab, maxout)
    values = {"training_error": min(resistant, default=nan), "training_error_maxout": limit}
    rows.append(_row(lab, "shallow RBF", nan, training_error(lab, shallow), shallow))
    rows.append(_row(lab, "maxout", nan, limit, maxout))
    holds = bool(resistant) and min(resistant) > 0.05 and limit < 0.01
    return Measurement(values, holds=holds, details={"networks": rows})


def _row(lab: Lab, name: str, rate: float, training_error: float, network: Network) -> dict[str, Any]:
    """What a network does on the training images, and under attack; `rate` is the learning rate chosen."""
    x, y = lab.data.test
    clean, attacked = metrics.evaluate(network, x, y), metrics.evaluate(network, attack(network, x, y), y)
    return {
        "name": name,
        "learning_rate": rate,
        "training_error": training_error,
        "clean_error": clean.error,
        "clean_confidence": clean.confidence,
        "error": attacked.error,
        "confidence_on_mistakes": attacked.confidence_on_mistakes,
        "resists": attacked.error < 0.5 or attacked.confidence_on_mistakes < 0.1,
    }


@explains("rbf-deep")
def _why_deep(result: Result) -> str:
    rows = [row for m in result.measurements for row in m.details["networks"][:-2]]
    resistant = [row for row in rows if row["resists"]]
    maxout = max(m.values["training_error_maxout"] for m in result.measurements)
    if not resistant:
        least = min(rows, key=lambda row: row["confidence_on_mistakes"])
        return (
            f"None of the {len(rows)} deep networks resists: the lowest confidence on mistakes is "
            f"{percent(least['confidence_on_mistakes'])}, of “{least['name']}”, at a training error of "
            f"{percent(least['training_error'])}."
        )
    best = min(resistant, key=lambda row: row["training_error"])
    if best["training_error"] <= 0.05:
        return (
            f"“{best['name']}” resists, with an FGSM error of {percent(best['error'])} and a confidence on mistakes of "
            f"{percent(best['confidence_on_mistakes'])}, and SGD trains it to an error of "
            f"{percent(best['training_error'])}."
        )
    either = f", but the maxout network's, {percent(maxout)}, is not below 1 % either" if maxout >= 0.01 else ""
    return (
        f"{len(resistant)} of {len(rows)} deep networks resist, and none has a training error below "
        f"{percent(best['training_error'])}{either}."
    )


@draws(
    "rbf-deep",
    "What resists is hard to train",
    "Deep networks of RBF and quadratic units, each at the learning rate of its lowest training error, and the shallow "
    "RBF and the maxout network: training error, error under FGSM(.25), and confidence on its mistakes. A network "
    "resists if the second is below 50 % or the third below 10 %.",
)
def _draw_deep(canvas: Any, details: dict[str, Any]) -> None:
    axes, rows = canvas.subplots(), details["networks"]
    names = [row["name"] for row in rows]
    for offset, key, label, colour, mark in (
        (-0.2, "training_error", "training error", BLUE, ""),
        (0.0, "error", "FGSM error", ORANGE, "//"),
        (0.2, "confidence_on_mistakes", "confidence on mistakes", GREY, ".."),
    ):
        shares = [100 * (row[key] if row[key] is not None else 0.0) for row in rows]
        places = [i + offset for i in range(len(rows))]
        bars = axes.barh(places, shares, 0.2, color=colour, hatch=mark, edgecolor="black", linewidth=0.5, label=label)
        axes.bar_label(bars, [f"{s:.1f}" for s in shares], padding=2, fontsize=9)
    labels = [f"{name}{' (resists)' if row['resists'] else ''}" for name, row in zip(names, rows, strict=True)]
    axes.set(xlabel="%", xlim=(0, 112), yticks=range(len(rows)), yticklabels=labels)
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    canvas.set_size_inches(10.5, 4.8)
