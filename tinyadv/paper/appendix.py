"""The appendix, rubbish: samples of N(0, I) that belong to no class, and what networks claim of them."""

from __future__ import annotations

from typing import Any

from .. import metrics
from ..backend import generator, to_device
from ..models import Network
from . import recipes
from .figures import BLUE, draws
from .lab import Lab
from .measuring import Values, measures, weights_l1
from .results import Measurement

SAMPLES = 10_000


@measures("rubbish-maxout-softmax", lambda profile, seed: [recipes.maxout(profile, seed)])
def rubbish_maxout_softmax(lab: Lab, seed: int, network: Network) -> Measurement:
    """The naive maxout network with softmax on top."""
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
    x = generator(seed, "rubbish").standard_normal((SAMPLES, 784), dtype="float32")
    evaluation = metrics.evaluate_rubbish(network, to_device(x, lab.device))
    values = Values()
    values.add(evaluation, error="error", confidence_on_mistakes="confidence_on_mistakes")
    values.add(metrics.evaluate(network, *lab.data.test), error="clean_error")
    values.values["weights_l1"] = weights_l1(network)
    return values.measurement(details={"by_class": list(evaluation.by_class)})


RUBBISH = (
    "Of the samples of N(0, I) that some class claims with a probability above one half, the share of each class of "
    "largest probability."
)


@draws("rubbish-softmax", "Which class softmax regression sees in noise", RUBBISH)
@draws("rubbish-maxout-softmax", "Which class the maxout network sees in noise", RUBBISH)
def _draw_rubbish(canvas: Any, details: dict[str, Any]) -> None:
    axes, counts = canvas.subplots(), details["by_class"]
    total = max(1, sum(counts))
    bars = axes.bar(range(10), [100 * c / total for c in counts], color=BLUE)
    axes.bar_label(bars, [f"{100 * c / total:.1f}" for c in counts])
    axes.set(xlabel="class that claims the sample", ylabel=f"share of {sum(counts):,} errors, %", xticks=range(10))
