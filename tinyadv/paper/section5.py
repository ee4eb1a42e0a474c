"""Section 5, linear models: for logistic regression FGSM is exact, and adversarial training has a closed form."""

from __future__ import annotations

from typing import Any

from numpy import sign
from numpy.linalg import norm

from .. import metrics, ops
from ..attacks import fgsm
from ..backend import Array, generator, noise, to_device
from ..layers import parameters
from ..losses import adversarial_logistic_loss, adversarial_objective
from ..models import Network, logistic_regression
from ..tensor import grad
from . import recipes
from .measuring import Values, attack, measures, pictures, under_fgsm, weights_l1
from .recipes import EPS, Lab, Profile, Recipe
from .results import Measurement

TRIES = 10  # random points, and random corners, of each image's box


def _network(profile: Profile, seed: int) -> list[Recipe]:
    return [recipes.logistic_regression(profile, seed)]


@measures("logistic-3v7", _network)
def logistic_3v7(lab: Lab, seed: int, network: Network) -> Measurement:
    """Clean and FGSM error of threes against sevens."""
    values, _ = under_fgsm(network, *lab.three_or_seven("test"))
    values.values["weights_l1"] = weights_l1(network)
    return values.measurement()


@measures(
    "logistic-exact",
    lambda profile, seed: [
        recipes.logistic_regression(profile, seed),
        recipes.logistic_regression(profile, seed, adversarial=True),
    ],
)
def logistic_exact(lab: Lab, seed: int, network: Network, robust: Network) -> Measurement:
    """The loss at the FGSM example against the closed form and against other points of the box, in float64."""
    x, y = (to_device(a, "cpu").astype("float64") for a in lab.three_or_seven("test"))
    model, rng = _in_float64(network), generator(seed, "points in the box")
    w, b = parameters(model)[0][0], parameters(model)[1][0]
    losses = ops.softplus(-y * model(fgsm(model, x, y, EPS)))
    closed_form = ops.softplus(EPS * abs(w.data).sum() - y * model(x))
    difference = float((abs(losses - closed_form) / closed_form).max())

    points = [noise(rng, x, EPS) for _ in range(TRIES)]
    highest = max(
        float((ops.softplus(-y * model(x + eta)) - closed_form).max()) for p in points for eta in (p, EPS * sign(p))
    )
    _, by_fgsm = adversarial_objective(model, x, y, None, eps=EPS, alpha=0.0)
    by_formula = grad(adversarial_logistic_loss(w, b, x, y, EPS), parameters(model))
    gradient_difference = max(float(norm(a - c) / norm(c)) for a, c in zip(by_fgsm, by_formula, strict=True))

    values = Values()
    trained, _ = under_fgsm(robust, *lab.three_or_seven("test"))
    values.values = {
        "loss_difference": difference,
        "gradient_difference": gradient_difference,
        "adversarially_trained_clean_error": trained.values["clean_error"],
        "adversarially_trained_error": trained.values["error"],
    }
    return values.measurement(holds=max(difference, gradient_difference) <= 1e-9 and highest <= 1e-9)


def _in_float64(network: Network) -> Network:
    model = logistic_regression(rng=generator(0))
    for p, q in zip(parameters(model), parameters(network), strict=True):
        p.data = to_device(q.data, "cpu").astype("float64")
    return model


@measures("fig2-logistic", _network)
def fig2_logistic(lab: Lab, seed: int, network: Network) -> Measurement:
    """The weights, their sign, and threes and sevens before and after the attack."""
    x, y = lab.three_or_seven("test")
    x_adv = attack(network, x, y)
    w = parameters(network)[0].data[0]
    values = Values()
    values.add(metrics.evaluate(network, x, y), error="clean_error")
    values.add(metrics.evaluate(network, x_adv, y), error="error")
    values.values["pattern_cosine"] = _cosine(ops.sign(w), x[y > 0].mean(axis=0) - x[y < 0].mean(axis=0))
    threes, sevens = (y < 0).nonzero()[0][:8], (y > 0).nonzero()[0][:8]
    details: dict[str, Any] = {
        "w": [round(float(v), 5) for v in w],
        "sign": [int(v) for v in ops.sign(w)],
        "clean": pictures(x[[*threes, *sevens]]),
        "attacked": pictures(x_adv[[*threes, *sevens]]),
    }
    holds = bool((x_adv == x - EPS * to_device(y, lab.device)[:, None] * ops.sign(w)).all())
    return values.measurement(holds=holds, details=details)


def _cosine(a: Array, b: Array) -> float:
    return float(a @ b / norm(to_device(a, "cpu")) / norm(to_device(b, "cpu")))
