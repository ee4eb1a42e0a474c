"""Section 5, linear models: for logistic regression FGSM is exact, and adversarial training has a closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy import array, sign
from numpy.linalg import norm

from .. import metrics, ops
from ..attacks import fgsm
from ..backend import Array, Generator, array_module, generator, noise, to_device
from ..layers import parameters
from ..losses import adversarial_logistic_loss, adversarial_objective
from ..models import Network, logistic_regression
from ..tensor import grad
from . import recipes
from .figures import BLUE, ORANGE, draws, show_image
from .lab import EPS, Lab, Recipe
from .measuring import Values, attack, measures, pictures, under_fgsm, weights_l1
from .recipes import Profile
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
    """FGSM against the closed form and against other points of the box, in float64: losses, objectives, gradients."""
    x, y = (to_device(a, "cpu").astype("float64") for a in lab.three_or_seven("test"))
    model = _in_float64(network)
    w, b = parameters(model)[0][0], parameters(model)[1][0]

    # every image: loss at the FGSM example = zeta(eps ||w||_1 - y (w . x + b)) >= loss at any other point of the box
    losses = ops.softplus(-y * model(fgsm(model, x, y, EPS)))
    closed_form = ops.softplus(EPS * abs(w.data).sum() - y * model(x))
    elsewhere = [ops.softplus(-y * model(x + eta)) for eta in _in_the_box(generator(seed, "points in the box"), x)]
    excess = max(float(((other - losses) / losses).max()) for other in elsewhere)

    # adversarial training with alpha = 0 = minimising the closed form
    J_fgsm, by_fgsm = adversarial_objective(model, x, y, None, eps=EPS, alpha=0.0)
    J = adversarial_logistic_loss(w, b, x, y, EPS)
    loss_difference = max(float((abs(losses - closed_form) / closed_form).max()), abs(J_fgsm / float(J) - 1.0))
    gradients = zip(by_fgsm, grad(J, parameters(model)), strict=True)
    gradient_difference = max(float(norm(a - c) / norm(c)) for a, c in gradients)

    values = Values()
    values.values = {"loss_difference": loss_difference, "gradient_difference": gradient_difference}
    test = lab.three_or_seven("test")
    values.add(metrics.evaluate(robust, *test), error="adversarially_trained_clean_error")
    attacked = metrics.evaluate(robust, attack(robust, *test), test.y)
    values.add(attacked, error="adversarially_trained_error")
    return values.measurement(holds=max(loss_difference, gradient_difference, excess) <= 1e-9)


def _in_the_box(rng: Generator, x: Array) -> Iterator[Array]:
    """Perturbations of x within EPS: random ones, and random corners."""
    for _ in range(TRIES):
        eta = noise(rng, x, EPS)
        yield eta
        yield EPS * sign(eta)


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


def _mosaic(images: list[list[float]], rows: int = 4) -> Any:
    """Images in `rows` rows, one picture."""
    tiles = array(images).reshape(rows, -1, 28, 28)
    return tiles.transpose(0, 2, 1, 3).reshape(rows * 28, -1)
