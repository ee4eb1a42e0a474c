"""Section 5, linear models: for logistic regression FGSM is exact, and adversarial training has a closed form.

And how that differs from L1 decay: for logistic regression, and in the first layer of the maxout network.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite, nan
from typing import Any

from numpy import append, array, sign
from numpy.linalg import norm

from .. import metrics, ops
from ..attacks import fgsm
from ..backend import Array, Generator, array_module, generator, noise, to_device
from ..layers import parameters
from ..losses import adversarial_logistic_loss, adversarial_objective
from ..models import Network, logistic_regression
from ..optim import SGD, Schedule
from ..tensor import grad
from ..training import Objective, train
from . import recipes
from .figures import BLUE, GREEN, GREY, ORANGE, draws, pixels, show_image
from .lab import EPS, Lab, Recipe
from .measuring import Values, attack, explains, in_float64, measures, pictures, training_error, under_fgsm, weights_l1
from .recipes import Profile
from .results import Measurement, Result
from .variations import table

TRIES = 10  # random points, and random corners, of each image's box
DECAYS = (0.0, 0.0001, 0.001, 0.01)  # L2 decays that logistic regression is trained with, at a falling learning rate
COEFFICIENTS = (0.001, 0.0025, 0.01, 0.025, 0.1, 0.25)  # eps of adversarial training, lambda of L1 decay
SHOWN = 0.1  # the coefficient whose penalties are drawn
SCALES = (0.0, *(2.0**k for k in range(-3, 7)))  # what weights are multiplied by
LAMBDAS = (0.0025, 0.0001, 0.00003, 0.00001)  # the paper's coefficient for the maxout network, and smaller ones
STUCK = 0.05  # training error above which a training is stuck


def _network(profile: Profile, seed: int) -> list[Recipe]:
    return [recipes.logistic_regression(profile, seed)]


@measures(
    "logistic-3v7",
    lambda profile, seed: [
        *_network(profile, seed),
        *(recipes.logistic_regularised(profile, seed, "l2", l2) for l2 in DECAYS),
    ],
)
def logistic_3v7(lab: Lab, seed: int, network: Network, *decayed: Network) -> Measurement:
    """Clean and FGSM error of threes against sevens, beside how weight decay moves them."""
    values, _ = under_fgsm(network, *lab.three_or_seven("test"))
    values.values["weights_l1"] = weights_l1(network)
    rows = []
    names = ("as measured", *(f"falling learning rate, L2 decay {l2:g}" for l2 in DECAYS))
    for name, model in zip(names, (network, *decayed), strict=True):
        of_model, _ = under_fgsm(model, *lab.three_or_seven("test"))
        rows.append([name, weights_l1(model), *(of_model.values[key] for key in ("clean_error", "error"))])
    columns = ["training", "‖w‖₁", "clean error", "FGSM error"]
    return values.measurement(details={"variations": table(columns, rows, ["number", "percent", "percent"])})


@explains("logistic-3v7")
def _why_3v7(result: Result) -> str:
    """How far learning rate and weight decay move both errors: the range over variations, each a mean over seeds."""
    tables = [m.details["variations"]["rows"] for m in result.measurements]
    means = [
        (of_seeds[0][0], *(sum(row[k] for row in of_seeds) / len(of_seeds) for k in (1, 2, 3)))
        for of_seeds in zip(*tables, strict=True)
    ]
    least, most = min(means, key=lambda row: row[1]), max(means, key=lambda row: row[1])
    told = (
        f"{100 * row[2]:.2f} % clean and {100 * row[3]:.1f} % attacked at ‖w‖₁ = {row[1]:.0f} ({row[0]})"
        for row in (least, most)
    )
    return f"Both errors follow the weights, on whose training the paper is silent: {', '.join(told)}."


@measures(
    "logistic-exact",
    lambda profile, seed: [
        recipes.logistic_regression(profile, seed),
        recipes.logistic_regression(profile, seed, adversarial=True),
    ],
)
def logistic_exact(lab: Lab, seed: int, network: Network, robust: Network) -> Measurement:
    """FGSM against the closed form in float64: losses, objectives, gradients, and what training with either gives."""
    x, y = (to_device(a, "cpu").astype("float64") for a in lab.three_or_seven("test"))
    model = in_float64(network)
    w, b = parameters(model)[0][0], parameters(model)[1][0]

    # every image: loss at the FGSM example = zeta(eps ||w||_1 - y (w . x + b)) >= loss at any other point of the box
    losses = ops.softplus(-y * model(fgsm(model, x, y, EPS)))
    closed_form = ops.softplus(EPS * abs(w.data).sum() - y * model(x))
    elsewhere = [ops.softplus(-y * model(x + eta)) for eta in _in_the_box(generator(seed, "points in the box"), x)]
    excess = max(float(((other - losses) / losses).max()) for other in elsewhere)

    # adversarial training with alpha = 0 = minimising the closed form
    J_fgsm, by_fgsm = adversarial_objective(model, x, y, None, eps=EPS, alpha=0.0)
    J = adversarial_logistic_loss(w, b, x, y, EPS)
    loss_difference = max(float((abs(losses - closed_form) / closed_form).max()), abs(J_fgsm / J.item() - 1.0))
    gradients = zip(by_fgsm, grad(J, parameters(model)), strict=True)
    gradient_difference = max(float(norm(a - c) / norm(c)) for a, c in gradients)

    values = Values()
    values.values = {"loss_difference": loss_difference, "gradient_difference": gradient_difference}
    test = lab.three_or_seven("test")
    values.add(metrics.evaluate(robust, *test), error="adversarially_trained_clean_error")
    attacked = metrics.evaluate(robust, attack(robust, *test), test.y)
    values.add(attacked, error="adversarially_trained_error")
    training_difference = _training_difference(lab, seed, epochs=lab.epochs(robust))
    values.values["training_difference"] = training_difference
    return values.measurement(holds=max(loss_difference, gradient_difference, excess, training_difference) <= 1e-9)


def _training_difference(lab: Lab, seed: int, epochs: int) -> float:
    """How far the weights and the bias end apart, relative to their norm, after training by FGSM and by formula."""
    x, y = (to_device(a, "cpu") for a in lab.three_or_seven("train"))
    objectives: tuple[Objective, ...] = (partial(adversarial_objective, eps=EPS, alpha=0.0), _closed_form)
    ends, plain = [], dict[str, Any](recipes.PLAIN)
    for objective in objectives:
        model = logistic_regression(rng=generator(seed, "weights")).to(dtype="float64")
        optimiser = SGD(parameters(model), Schedule(**plain))
        train(model, objective, x.astype("float64"), y, epochs=epochs, seed=seed, optimiser=optimiser)
        ends.append(append(*(p.data for p in parameters(model))))
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
def fig2_logistic(lab: Lab, seed: int, network: Network) -> Measurement:
    """The weights, their sign, and threes and sevens before and after the attack."""
    x, y = lab.three_or_seven("test")
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


@draws(
    "fig2-logistic",
    "Logistic regression on threes and sevens, as in figure 2 of the paper",
    "a) the weights, blue for a seven and orange for a three; b) their sign, which is the direction of every "
    "perturbation; c) clean test images; d) the same, each pixel of a nonzero weight moved by .25.",
)
def _draw_logistic(canvas: Any, details: dict[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    panels = canvas.subplots(1, 4)
    bound = max(map(abs, details["w"])) or 1.0
    signed = LinearSegmentedColormap.from_list("signed", [ORANGE, "white", BLUE])
    show_image(panels[0], details["w"], low=-bound, high=bound, colours=signed)
    show_image(panels[1], details["sign"], low=-1, high=1, colours=signed)
    show_image(panels[2], _mosaic(details["clean"]))
    show_image(panels[3], _mosaic(details["attacked"]))
    for axes, title in zip(panels, ("a) weights", "b) their sign", "c) clean", "d) FGSM(.25)"), strict=True):
        axes.set_title(title)
    canvas.set_size_inches(10, 2.9)


def _mosaic(images: list[str], rows: int = 4) -> Any:
    """Images in `rows` rows, one picture."""
    tiles = array([pixels(image) for image in images]).reshape(rows, -1, 28, 28)
    return tiles.transpose(0, 2, 1, 3).reshape(rows * 28, -1)


# ---------------------------------------------------------------------------------------------------------
# L1 decay


@measures(
    "l1-pessimism",
    lambda profile, seed: [
        recipes.logistic_regularised(profile, seed, kind, c) for kind in ("adversarial", "l1") for c in COEFFICIENTS
    ],
    quick=False,
)
def l1_pessimism(lab: Lab, seed: int, *networks: Network) -> Measurement:
    """Errors over both grids; and the two penalties while the weights of each adversarially trained network grow."""
    n = len(COEFFICIENTS)
    trained, decayed = networks[:n], networks[n:]
    curves = {f"{eps:g}": _penalties(lab, model, eps) for eps, model in zip(COEFFICIENTS, trained, strict=True)}
    shares = [c["left"] for c in curves.values()]
    growths = [_ratio(c["l1"][-1], c["l1"][SCALES.index(1.0)] * SCALES[-1]) for c in curves.values()]
    values = Values()
    values.values = {
        "adversarial_penalty_share": max(shares) if all(map(isfinite, shares)) else nan,
        "l1_penalty_growth": max(growths, key=lambda growth: abs(growth - 1.0)),
        "outgrown_share": curves[f"{SHOWN:g}"]["outgrown"],
        "penalty_growth_elsewhere": curves[f"{SHOWN:g}"]["growth_elsewhere"],
    }
    grids = {"adversarial": [_errors(lab, m) for m in trained], "l1": [_errors(lab, m) for m in decayed]}
    for name, grid in grids.items():
        values.values[f"training_error_{name}"] = grid[-1]["training_error"]
    fades, grows = all(share < 0.1 for share in shares), all(abs(growth - 1.0) <= 1e-9 for growth in growths)
    details = {"coefficients": list(COEFFICIENTS), "scales": list(SCALES), "penalties": curves, "grids": grids}
    return values.measurement(holds=fades and grows, details=details)


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


@draws(
    "l1-pessimism",
    "L1 decay and adversarial training of logistic regression, threes against sevens",
    "Left: what either penalty adds to the mean training loss while the weights of a network, trained adversarially "
    "with ε = .1, are scaled up; of the adversarial penalty, images whose margin exceeds ε‖w‖₁ and the others apart. "
    "Right: training error over grids of ε for adversarial training and of the coefficient λ of L1 decay.",
)
def _draw_pessimism(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subplots(1, 2)
    scales, curves = details["scales"][1:], details["penalties"][f"{SHOWN:g}"]
    for key, label, colour, style in (
        ("l1", "L1: ε‖w‖₁", ORANGE, "s--"),
        ("elsewhere", "adversarial, other images", GREY, "v:"),
        ("all", "adversarial, all images", GREEN, "^-."),
        ("outgrown_images", "adversarial, margin above ε‖w‖₁", BLUE, "o-"),
    ):
        left.plot(scales, [nan if v is None else v for v in curves[key][1:]], style, color=colour, label=label)
    left.set(xlabel="scale of the weights", ylabel="added to the mean loss, nats", xscale="log", yscale="log")
    left.legend(frameon=False, fontsize=9)
    for key, label, colour, style in (
        ("l1", "L1 decay, coefficient λ", ORANGE, "s--"),
        ("adversarial", "adversarial training, ε", BLUE, "o-"),
    ):
        errors = [100 * entry["training_error"] for entry in details["grids"][key]]
        right.plot(details["coefficients"], errors, style, color=colour, label=label)
    right.set(xlabel="λ or ε", ylabel="training error, %", xscale="log", ylim=(0, None))
    right.legend(frameon=False)
    canvas.set_size_inches(10, 4)


@measures(
    "l1-maxout-stuck",
    lambda profile, seed: [recipes.maxout_l1(profile, seed, coefficient) for coefficient in (0.0, *LAMBDAS)],
    quick=False,
)
def l1_maxout_stuck(lab: Lab, seed: int, without: Network, *decayed: Network) -> Measurement:
    """Training and test error of the maxout network with L1 decay of its first layer, over a grid of coefficients."""
    (x, y), values = lab.data.test, Values()
    plain = metrics.evaluate(without, x, y)
    values.add(plain, error="error_without_decay")
    rows = [_decayed(lab, 0.0, without)] + [_decayed(lab, c, m) for c, m in zip(LAMBDAS, decayed, strict=True)]
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
    columns = ["λ", "training error", "clean error", "‖W‖₁ of the first layer"]
    cells = [[row["lambda"], row["training_error"], row["error"], row["weights_l1"]] for row in rows]
    varied = table(columns, cells, ["percent", "percent", "number"])
    logs = {row["lambda"]: row["losses"] for row in rows}
    return values.measurement(holds=holds, details={"variations": varied, "validation_errors": logs})


def _decayed(lab: Lab, coefficient: float, network: Network) -> dict[str, Any]:
    evaluation = metrics.evaluate(network, *lab.data.test)
    return {
        "lambda": f"{coefficient:.5f}".rstrip("0").rstrip("."),
        "training_error": training_error(lab, network),
        "error": evaluation.error,
        "interval": evaluation.intervals["error"],
        "weights_l1": weights_l1(network),
        "losses": [entry["error"] for entry in lab.log(network)],
    }


@draws(
    "l1-maxout-stuck",
    "L1 decay of the maxout network's first layer",
    "Error on the validation images after each epoch of training, for each coefficient λ of the decay: a training that "
    "is stuck stays high.",
)
def _draw_stuck(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    styles = ((GREY, "v:"), (ORANGE, "s--"), (BLUE, "o-"), (GREEN, "^-."), ("black", "D-"))
    for (coefficient, errors), (colour, style) in zip(details["validation_errors"].items(), styles, strict=True):
        label = "no decay" if coefficient == "0" else f"λ = {coefficient}"
        epochs = range(1, len(errors) + 1)
        axes.plot(
            epochs, [100 * e for e in errors], style, color=colour, label=label, markevery=max(1, len(epochs) // 10)
        )
    axes.set(xlabel="epoch", ylabel="error on the validation images, %", yscale="log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    canvas.set_size_inches(8, 4)
