"""Section 7, other kinds of capacity: RBF networks can decline to answer."""

from __future__ import annotations

from .. import metrics
from ..backend import Array, to_device
from ..models import Network
from . import recipes
from .measuring import measures, under_fgsm
from .recipes import Lab
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
