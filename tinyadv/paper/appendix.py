"""The appendix, rubbish: samples of N(0, I) that belong to no class, and what networks claim of them."""

from __future__ import annotations

from .. import metrics
from ..backend import generator, to_device
from ..models import Network
from . import recipes
from .measuring import Values, measures, weights_l1
from .recipes import Lab
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
