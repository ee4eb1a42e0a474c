"""Section 7, other kinds of capacity: RBF networks can decline to answer, and deep ones are hard to train.

The one idea: an RBF unit responds in one place alone, so what it does not know it gives a low probability. The price
is that it generalizes badly, and that nothing tells a unit far away where to go.
"""

from __future__ import annotations

from math import nan
from typing import Any

from ... import metrics
from ...backend import Array, to_device
from ...models import Network
from .. import recipes
from ..attacking import attack
from ..lab import Lab, Trained
from ..profiles import Profile
from ..results import Measurement
from .common import Some, measures, training_error, under_fgsm

PUBLISHED = ("error", "confidence_on_mistakes", "clean_confidence")


@measures(
    "rbf-fgsm",
    lambda profile, seed: {
        "rbf": recipes.rbf_network(profile, seed),
        "others": recipes.rbf_otherwise(profile, seed),
    },
)
def rbf_fgsm(lab: Lab, seed: int, rbf: Trained, others: dict[str, Trained]) -> Measurement:
    """Error and confidences, with J the sum of squared errors, and beside it with two other J's and choices."""
    network, (x, y) = rbf.network, lab.data.test
    values, x_adv = under_fgsm(network, x, y)
    otherwise = {key: under_fgsm(other.network, x, y)[0] for key, other in others.items()}
    for which in ("cross_entropy", "true_class"):
        for name in PUBLISHED:
            values.values[f"{name}_{which}"] = otherwise[which].values[name]
            if name in otherwise[which].intervals:
                values.intervals[f"{name}_{which}"] = otherwise[which].intervals[name]
    climbs = Network(network.builder, network.arguments, network.layers, "rbf")  # the same units under another J
    climbed = metrics.evaluate(network, attack(climbs, x, y), y)
    v = values.values
    clean = values.among("clean_confidence", "clean_error")
    varied = {
        "attack_cross_entropy": {
            "error": climbed.error, "confidence_on_mistakes": climbed.confidence_on_mistakes, **clean,
        },
        "clipped": {
            "error": v["error_clipped"], "confidence_on_mistakes": v["confidence_on_mistakes_clipped"], **clean,
        },
    }  # fmt: skip
    varied |= {key: other.among(*PUBLISHED, "clean_error") for key, other in otherwise.items()}
    details = {
        "confidence_shares": {"clean": _shares(network, x), "attacked": _shares(network, x_adv)},
        "log": rbf.log,
        "log_cross_entropy": others["cross_entropy"].log,
    }
    return values.measurement(variations=varied, details=details)


def _shares(network: Network, x: Array) -> list[float]:
    """The share of inputs whose largest probability lies in each twentieth of [0, 1]."""
    p = to_device(network.probabilities(metrics.in_batches(network, x)).max(axis=1), "cpu")
    return [float(((p * 20).astype(int).clip(0, 19) == k).mean()) for k in range(20)]


# ---------------------------------------------------------------------------------------------------------
# Deep networks of such units


def _deep(profile: Profile, seed: int) -> dict[str, Some]:
    return {
        "maxout": recipes.maxout(profile, seed),
        "shallow": recipes.rbf_network(profile, seed),
        "deep": recipes.quadratic(profile, seed),
    }


@measures("rbf-deep", _deep, quick=False)
def rbf_deep(lab: Lab, seed: int, maxout: Trained, shallow: Trained, deep: dict[str, Trained]) -> Measurement:
    """Training error of networks of quadratic units, each at its best learning rate, and whether they resist."""
    rows = []
    for name, _, _, rates in recipes.QUADRATIC:
        tried = {rate: deep[f"{name}@{rate:g}"].network for rate in rates}
        errors = {rate: training_error(lab, network) for rate, network in tried.items()}
        best = min(rates, key=lambda rate: errors[rate])
        rows.append(_row(lab, name, best, errors[best], tried[best]))
    resistant = [row["training_error"] for row in rows if row["resists"]]
    limit = training_error(lab, maxout.network)
    values = {"training_error": min(resistant, default=nan), "training_error_maxout": limit}
    rows.append(_row(lab, "shallow", nan, training_error(lab, shallow.network), shallow.network))
    rows.append(_row(lab, "maxout", nan, limit, maxout.network))
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
