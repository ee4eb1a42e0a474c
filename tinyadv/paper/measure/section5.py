"""Section 5, linear models: for logistic regression FGSM is exact, and adversarial training has a closed form.

And how that differs from L1 decay: for logistic regression, and in the first layer of the maxout network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from math import isfinite, nan
from typing import Any

from numpy import append, array, sign
from numpy.linalg import norm

from ... import metrics, ops
from ...attacks import fgsm
from ...backend import Array, Generator, array_module, generator, noise, to_device
from ...layers import parameters
from ...losses import adversarial_logistic_loss, adversarial_objective
from ...models import Network, logistic_regression
from ...optim import SGD, Schedule
from ...tensor import grad
from ...training import Objective, train
from .. import recipes
from ..attacking import attack
from ..lab import EPS, Lab, Recipe, Trained
from ..profiles import Profile
from ..results import Measurement
from .common import Values, in_float64, measures, pictures, training_error, under_fgsm, weights_l1

TRIES = 10  # random points, and random corners, of each image's box
DECAYS = (0.0, 0.0001, 0.001, 0.01)  # L2 decays that logistic regression is trained with, at a falling learning rate
COEFFICIENTS = (0.001, 0.0025, 0.01, 0.025, 0.1, 0.25)  # eps of adversarial training, lambda of L1 decay
SHOWN = 0.1  # the coefficient whose penalties are drawn
SCALES = (0.0, *(2.0**k for k in range(-3, 7)))  # what weights are multiplied by
LAMBDAS = (0.0025, 0.0001, 0.00003, 0.00001)  # the paper's coefficient for the maxout network, and smaller ones
STUCK = 0.05  # training error above which a training is stuck


def _network(profile: Profile, seed: int) -> dict[str, Recipe]:
    return {"logistic": recipes.logistic_regression(profile, seed)}


@measures(
    "logistic-3v7",
    lambda profile, seed: {
        **_network(profile, seed),
        "decayed": {l2: recipes.logistic_regularised(profile, seed, "l2", l2) for l2 in DECAYS},
    },
)
def logistic_3v7(lab: Lab, seed: int, logistic: Trained, decayed: dict[float, Trained]) -> Measurement:
    """Clean and FGSM error of threes against sevens, beside how weight decay moves them."""
    values, _ = under_fgsm(logistic.network, *lab.three_or_seven("test"))
    values.values["weights_l1"] = weights_l1(logistic.network)
    varied = {}
    for l2, other in decayed.items():
        of_other, _ = under_fgsm(other.network, *lab.three_or_seven("test"))
        of_other.values["weights_l1"] = weights_l1(other.network)
        varied[f"decay:{l2:g}"] = of_other.among("weights_l1", "clean_error", "error")
    return values.measurement(variations=varied)


@measures(
    "logistic-exact",
    lambda profile, seed: {
        **_network(profile, seed),
        "robust": recipes.logistic_regression(profile, seed, adversarial=True),
    },
)
def logistic_exact(lab: Lab, seed: int, logistic: Trained, robust: Trained) -> Measurement:
    """FGSM against the closed form in float64: losses, objectives, gradients, and what training with either gives."""
    x, y = (to_device(a, "cpu").astype("float64") for a in lab.three_or_seven("test"))
    model = in_float64(logistic.network)
    w, b = parameters(model)[0][0], parameters(model)[1][0]

    # every image: loss at the FGSM example = zeta(eps ||w||_1 - y (w . x + b)) >= loss at any other point of the box
    losses = ops.softplus(-y * model(fgsm(model, x, y, EPS)))
    closed_form = ops.softplus(EPS * abs(w.data).sum() - y * model(x))
    elsewhere = [ops.softplus(-y * model(x + eta)) for eta in _in_the_box(generator(seed, "points in the box"), x)]
    excess = _largest(((other - losses) / losses).max() for other in elsewhere)

    # adversarial training with alpha = 0 = minimising the closed form
    J_fgsm, by_fgsm = adversarial_objective(model, x, y, None, eps=EPS, alpha=0.0)
    J = adversarial_logistic_loss(w, b, x, y, EPS)
    loss_difference = _largest([(abs(losses - closed_form) / closed_form).max(), abs(J_fgsm / J.item() - 1.0)])
    gradients = zip(by_fgsm, grad(J, parameters(model)), strict=True)
    gradient_difference = _largest(float(norm(a - c) / norm(c)) for a, c in gradients)

    values = Values()
    values.values = {"loss_difference": loss_difference, "gradient_difference": gradient_difference}
    test = lab.three_or_seven("test")
    values.add(metrics.evaluate(robust.network, *test), error="adversarially_trained_clean_error")
    attacked = metrics.evaluate(robust.network, attack(robust.network, *test), test.y)
    values.add(attacked, error="adversarially_trained_error")
    training_difference = _training_difference(lab, seed, epochs=robust.epochs)
    values.values["training_difference"] = training_difference
    largest = _largest([loss_difference, gradient_difference, excess, training_difference])
    return values.measurement(holds=largest <= 1e-9)


def _largest(numbers: Iterable[float]) -> float:
    """The largest of some numbers; NaN if one of them is NaN, which `max` may pass over."""
    return float(array(list(numbers)).max())


def _training_difference(lab: Lab, seed: int, epochs: int) -> float:
    """How far the weights and the bias end apart, relative to their norm, after training by FGSM and by formula."""
    x, y = (to_device(a, "cpu") for a in lab.three_or_seven("train"))
    objectives: tuple[Objective, ...] = (partial(adversarial_objective, eps=EPS, alpha=0.0), _closed_form)
    ends, plain = [], dict[str, Any](recipes.PLAIN)
    for objective in objectives:
        model = logistic_regression(rng=generator(seed, "weights")).to(dtype="float64")
        optimiser = SGD(parameters(model), Schedule(**plain))
        train(model, objective, x.astype("float64"), y, epochs=epochs, seed=seed, optimiser=optimiser)
        W, b = parameters(model)
        ends.append(append(W.data, b.data))
    by_fgsm, by_formula = ends
    return float(norm(by_fgsm - by_formula) / norm(by_formula))


def _closed_form(model: Network, x: Array, y: Array, rng: Generator | None) -> tuple[float, list[Array]]:
    """The objective that adversarial training of logistic regression comes to, without any attack."""
    W, b = parameters(model)
    J = adversarial_logistic_loss(W[0], b[0], x, y, EPS)
    return J.item(), grad(J, [W, b])


def _in_the_box(rng: Generator, x: Array) -> Iterator[Array]:
    """Perturbations of x within EPS: random ones, and random corners."""
    for _ in range(TRIES):
        eta = noise(rng, x, EPS)
        yield eta
        yield EPS * sign(eta)


@measures("fig2-logistic", _network)
def fig2_logistic(lab: Lab, seed: int, logistic: Trained) -> Measurement:
    """The weights, their sign, and threes and sevens before and after the attack."""
    network, (x, y) = logistic.network, lab.three_or_seven("test")
    x_adv = attack(network, x, y)
    w = parameters(network)[0].data[0]
    labels = to_device(y, "cpu")
    shown = array_module(x).asarray([int(i) for k in (-1, 1) for i in (labels == k).nonzero()[0][:8]])
    values = Values()
    values.add(metrics.evaluate(network, x, y), error="clean_error")
    values.add(metrics.evaluate(network, x_adv, y), error="error")
    values.values["pattern_cosine"] = _cosine(ops.sign(w), x[y > 0].mean(axis=0) - x[y < 0].mean(axis=0))
    details: dict[str, Any] = {
        "w": [round(float(v), 5) for v in to_device(w, "cpu")],
        "sign": [int(v) for v in to_device(ops.sign(w), "cpu")],
        "clean": pictures(x[shown]),
        "attacked": pictures(x_adv[shown]),
    }
    holds = bool((x_adv == x - EPS * y[:, None] * ops.sign(w)).all())
    return values.measurement(holds=holds, details=details)


def _cosine(a: Array, b: Array) -> float:
    a, b = to_device(a, "cpu"), to_device(b, "cpu")
    return float(a @ b / norm(a) / norm(b))


# ---------------------------------------------------------------------------------------------------------
# L1 decay


@measures(
    "l1-pessimism",
    lambda profile, seed: {
        name: {c: recipes.logistic_regularised(profile, seed, kind, c) for c in COEFFICIENTS}
        for name, kind in (("trained", "adversarial"), ("decayed", "l1"))
    },
    quick=False,
)
def l1_pessimism(lab: Lab, seed: int, trained: dict[float, Trained], decayed: dict[float, Trained]) -> Measurement:
    """Errors over both grids; and the two penalties while the weights of each adversarially trained network grow."""
    curves = {f"{eps:g}": _penalties(lab, of.network, eps) for eps, of in trained.items()}
    shares = [c["left"] for c in curves.values()]
    growths = [_ratio(c["l1"][-1], c["l1"][SCALES.index(1.0)] * SCALES[-1]) for c in curves.values()]
    values = Values()
    values.values = {
        "adversarial_penalty_share": max(shares) if all(map(isfinite, shares)) else nan,
        "l1_penalty_growth": max(growths, key=lambda growth: abs(growth - 1.0)),
        "outgrown_share": curves[f"{SHOWN:g}"]["outgrown"],
        "penalty_growth_elsewhere": curves[f"{SHOWN:g}"]["growth_elsewhere"],
    }
    networks = {"adversarial": trained, "l1": decayed}
    grids = {name: [_errors(lab, of.network) for of in some.values()] for name, some in networks.items()}
    for name, grid in grids.items():
        values.values[f"training_error_{name}"] = grid[-1]["training_error"]
    details = {"coefficients": list(COEFFICIENTS), "scales": list(SCALES), "penalties": curves, "grids": grids}
    return values.measurement(holds=all(share < 0.1 for share in shares), details=details)


def _penalties(lab: Lab, network: Network, eps: float) -> dict[str, Any]:
    """What eps adds to the mean loss of training images at each scale of the weights, in float64.

    "outgrown" are the images whose margin m = y (w . x + b) exceeds eps ||w||_1: scaling up saturates their loss.
    "left" is their penalty at the largest scale as a share of its maximum; "growth_elsewhere" that of the other images
    over the last step of the scale, divided by the growth of the scale.
    """
    model = in_float64(network)
    x, y = (to_device(a, "cpu").astype("float64") for a in lab.three_or_seven("train"))
    m, l1 = y * model(x), weights_l1(model)
    # zeta(s (eps ||w||_1 - m)) - zeta(-s m)
    added = [ops.softplus(s * (eps * l1 - m)) - ops.softplus(-s * m) for s in SCALES]
    outgrown = m > eps * l1
    means = {
        kind: [float(a[chosen].mean()) if chosen.any() else nan for a in added]
        for kind, chosen in (("all", m == m), ("outgrown_images", outgrown), ("elsewhere", ~outgrown))
    }
    fading, growing = means["outgrown_images"], means["elsewhere"]
    return {
        "outgrown": float(outgrown.mean()),
        "left": _ratio(fading[-1], max(fading)),
        "growth_elsewhere": _ratio(growing[-1] * SCALES[-2], growing[-2] * SCALES[-1]),
        "l1": [eps * s * l1 for s in SCALES],
        **means,
    }


def _ratio(a: float, b: float) -> float:
    return a / b if b else nan


def _errors(lab: Lab, network: Network) -> dict[str, float]:
    test = lab.three_or_seven("test")
    return {
        "training_error": metrics.evaluate(network, *lab.three_or_seven("train")).error,
        "clean_error": metrics.evaluate(network, *test).error,
        "error": metrics.evaluate(network, attack(network, *test), test.y).error,
        "weights_l1": weights_l1(network),
    }


@measures(
    "l1-maxout-stuck",
    lambda profile, seed: {
        "without": recipes.maxout_l1(profile, seed, 0.0),
        "decayed": {c: recipes.maxout_l1(profile, seed, c) for c in LAMBDAS},
    },
    quick=False,
)
def l1_maxout_stuck(lab: Lab, seed: int, without: Trained, decayed: dict[float, Trained]) -> Measurement:
    """Training and test error of the maxout network with L1 decay of its first layer, over a grid of coefficients."""
    (x, y), values = lab.data.test, Values()
    plain = metrics.evaluate(without.network, x, y)
    values.add(plain, error="error_without_decay")
    rows = [_decayed(lab, c, of) for c, of in {0.0: without, **decayed}.items()]
    largest, *smaller = rows[1:]
    values.values["training_error"] = largest["training_error"]
    best = min(smaller, key=lambda row: float(row["error"]))
    values.values["best_error"], values.intervals["best_error"] = best["error"], best["interval"]
    trains = [row for row in smaller if row["training_error"] < STUCK]
    holds = (
        largest["training_error"] > STUCK
        and bool(trains)
        and not any(row["interval"][1] < plain.error for row in trains)
    )
    varied = {
        f"lambda:{row['lambda']}": {
            "training_error": row["training_error"], "clean_error": row["error"], "weights_l1": row["weights_l1"],
        }
        for row in rows
    }  # fmt: skip
    logs = {row["lambda"]: row["losses"] for row in rows}
    return values.measurement(holds=holds, variations=varied, details={"validation_errors": logs})


def _decayed(lab: Lab, coefficient: float, of: Trained) -> dict[str, Any]:
    evaluation = metrics.evaluate(of.network, *lab.data.test)
    return {
        "lambda": f"{coefficient:.5f}".rstrip("0").rstrip("."),
        "training_error": training_error(lab, of.network),
        "error": evaluation.error,
        "interval": evaluation.intervals["error"],
        "weights_l1": weights_l1(of.network),
        "losses": [entry["error"] for entry in of.log],
    }
