"""Section 7, other kinds of capacity: RBF networks can decline to answer."""

from __future__ import annotations

from math import nan
from typing import Any

from .. import metrics
from ..backend import Array, to_device
from ..models import Network
from . import recipes
from .figures import BLUE, GREEN, GREY, ORANGE, draws
from .lab import Lab
from .measuring import measures, under_fgsm
from .results import Measurement


@measures(
    "rbf-fgsm",
    lambda profile, seed: [
        recipes.rbf_network(profile, seed),
        recipes.rbf_network(profile, seed, top="rbf-true-class"),
    ],
)
def rbf_fgsm(lab: Lab, seed: int, network: Network, other: Network) -> Measurement:
    """Error and confidences, with J the sum of binary cross-entropies, and beside it with J = -log p_y."""
    x, y = lab.data.test
    values, x_adv = under_fgsm(network, x, y)
    second, _ = under_fgsm(other, x, y)
    for name in ("error", "confidence_on_mistakes", "clean_confidence"):
        values.values[f"{name}_true_class"] = second.values[name]
        if name in second.intervals:
            values.intervals[f"{name}_true_class"] = second.intervals[name]
    shares = {"clean": _shares(network, x), "attacked": _shares(network, x_adv)}
    return values.measurement(details={"confidence_shares": shares, "log": lab.log(network)})


def _shares(network: Network, x: Array) -> list[float]:
    """The share of inputs whose largest probability lies in each twentieth of [0, 1]."""
    p = to_device(network.probabilities(metrics.in_batches(network, x)).max(axis=1), "cpu")
    return [float(((p * 20).astype(int).clip(0, 19) == k).mean()) for k in range(20)]


@draws(
    "rbf-fgsm",
    "How confident an RBF network is, clean and under attack",
    "Left: the largest probability over clean and attacked test images. Right: errors and confidences over "
    "training, on the validation images.",
)
def _draw_confidences(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subplots(1, 2)
    edges = [k / 20 for k in range(21)]
    for kind, colour, style in (("clean", BLUE, "-"), ("attacked", ORANGE, "--")):
        shares = [100 * s for s in details["confidence_shares"][kind]]
        left.stairs(shares, edges, color=colour, linestyle=style, linewidth=2, label=kind)
    left.set(xlabel="largest probability", ylabel="share of test images, %", xlim=(0, 1))
    left.legend(frameon=False)
    log = details["log"]
    epochs, gap = [entry["epoch"] for entry in log], max(1, len(log) // 10)
    for key, label, colour, style in (
        ("error", "clean error", GREEN, "^-"),
        ("confidence", "clean confidence", BLUE, "o-"),
        ("adversarial_error", "FGSM error", ORANGE, "s--"),
        ("adversarial_confidence_on_mistakes", "confidence on its mistakes", GREY, "d:"),
    ):
        figures = [nan if entry[key] is None else 100 * entry[key] for entry in log]  # no mistakes, no confidence
        right.plot(epochs, figures, style, color=colour, label=label, markevery=gap)
    right.set(xlabel="epoch", ylabel="% on the validation images", ylim=(0, 100))
    right.xaxis.get_major_locator().set_params(integer=True)
    right.legend(frameon=False, fontsize=10)
    canvas.set_size_inches(10, 4)
