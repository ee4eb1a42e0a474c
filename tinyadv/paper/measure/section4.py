"""Section 4, the fast gradient sign method: one step of it, and a rotation, against softmax regression and maxout."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from math import radians
from typing import Any

from ... import metrics
from ...attacks import input_gradient, rotated
from ...backend import Array, array_module, generator, to_device
from ...datasets import Split
from ...layers import parameters
from ...losses import clean_objective
from ...metrics import predict
from ...models import Network, build
from ...ops import sign
from ...optim import SGD, Schedule
from ...training import train
from .. import recipes
from ..attacking import attack, software
from ..lab import EPS, Lab, Trained
from ..results import Measurement
from ..rounding import Rounded
from ..tutorial import softmax_by_conjugate_gradients
from .common import EXACT, Values, in_float64, in_short, measures, pictures, under_fgsm, weights_l1

DECAYS = (0.0, 0.01)  # weight decays that softmax regression is trained with besides its own
ANGLES = tuple(range(0, 50, 5))  # of the rotation, in degrees
RANDOM_ANGLES = ANGLES[::3]  # of that towards a random direction


# ---------------------------------------------------------------------------------------------------------
# The fast gradient sign method


@measures(
    "fgsm-softmax",
    lambda profile, seed: {"softmax": recipes.softmax_regression(profile, seed)},
    at_hand=lambda: "SciPy" if find_spec("scipy") else "no SciPy",
)
def fgsm_softmax(lab: Lab, seed: int, softmax: Trained) -> Measurement:
    """Error and confidence of softmax regression on attacked test images, beside how they follow its weights."""
    measurement = _attacked(lab, softmax.network)
    epochs = softmax.epochs
    trajectories = {f"{l2:g}": _trajectory(lab, softmax.network, seed, epochs, l2) for l2 in DECAYS}
    for l2, entries in trajectories.items():
        for epoch in sorted({1, (epochs + 1) // 2, epochs}):
            measurement.variations[f"decay:{l2}:{epoch}"] = {key: entries[epoch - 1][key] for key in FOLLOWED}
    measurement.details["trajectories"] = trajectories
    if seed == 0:  # it begins at 0 and is the same for every seed
        measurement.variations |= _by_conjugate_gradients(lab)
    measurement.details["measured"] = {key: measurement.values[key] for key in FOLLOWED}
    return measurement


def _by_conjugate_gradients(lab: Lab) -> dict[str, dict[str, float]]:
    """Softmax regression by the recipe of the first author's tutorial, as a variation; none where SciPy is missing."""
    if find_spec("scipy") is None:
        return {}
    train, validation = (Split(*(to_device(a, "cpu") for a in part)) for part in (lab.data.train, lab.data.validation))
    model, log = softmax_by_conjugate_gradients(train, validation)
    x, y = (to_device(a, "cpu") for a in lab.data.test)
    values, _ = under_fgsm(model, x, y)
    values.values["weights_l1"] = weights_l1(model)
    names = (*FOLLOWED, "error" + EXACT, "confidence_on_mistakes" + EXACT)
    return {"conjugate-gradients": values.among(*names) | {"epochs": float(len(log))}}


FOLLOWED = ("weights_l1", "clean_error", "error", "confidence_on_mistakes")


def _trajectory(lab: Lab, network: Network, seed: int, epochs: int, l2: float) -> list[dict[str, float]]:
    """What `FOLLOWED` names, of the test images, after each epoch of a training that differs in its decay alone."""

    def follow(model: Network) -> dict[str, float]:
        values, (x, y) = Values(), lab.data.test
        values.add(metrics.evaluate(model, x, y), error="clean_error")
        after = metrics.evaluate(model, attack(software(model), x, y), y)
        values.add(after, error="error", confidence_on_mistakes="confidence_on_mistakes")
        return values.values | {"weights_l1": weights_l1(model)}

    dtype = str(parameters(network)[0].dtype)
    model = build(network.builder, network.arguments, generator(seed, "weights")).to(lab.device, dtype)
    plain: dict[str, Any] = dict(recipes.PLAIN)
    done = train(
        model,
        partial(clean_objective, l2=l2),
        *lab.data.train,
        epochs=epochs,
        seed=seed,
        optimiser=SGD(parameters(model), Schedule(**plain)),
        validate=follow,
        progress=lab.progress,
        title=f"softmax regression, decay {l2:g}, seed {seed}",
    )
    return done.log


LOGGED = (  # networks that came with the package, or of an earlier program, may lack the last two
    "epoch",
    "error",
    "adversarial_error",
    "adversarial_confidence_on_mistakes",
    "software_error",
    "software_confidence_on_mistakes",
)


@measures("fgsm-maxout", recipes.naive_at_length)
def fgsm_maxout(lab: Lab, seed: int, naive: Trained, longer: Trained | None = None) -> Measurement:
    """Error and confidence of the naively trained maxout network on attacked test images, and over its training.

    Varied are the precision in which p - t is rounded and the length of the training.
    """
    measurement = _attacked(lab, naive.network)
    measurement.variations["float64"] = _in_float64(lab, naive.network)
    if longer:
        of_longer, _ = under_fgsm(longer.network, *lab.data.test)
        measurement.variations["longer"] = in_short(of_longer.values, longer.epochs)
        measurement.variations["longer-float64"] = _in_float64(lab, longer.network) | {"epochs": longer.epochs}
    points = [measurement.values | {"epochs": float(naive.epochs)}]
    if longer:
        points.append(measurement.variations["longer"])
    names = ("epochs", "error", "confidence_on_mistakes")
    measurement.details["software"] = [{name: point[name] for name in names} for point in points]
    measurement.details["log"] = [{key: entry[key] for key in LOGGED if key in entry} for entry in naive.log]
    return measurement


def _in_float64(lab: Lab, network: Network) -> dict[str, float]:
    """The network under the gradient p - t computed, and rounded, in float64: what a float64 software would give."""
    (x, y), model = lab.data.test, in_float64(network)

    def attacked(x: Array, y: Array) -> Array:
        g = input_gradient(Rounded(model), to_device(x, "cpu").astype("float64"), to_device(y, "cpu"))
        return x + EPS * sign(to_device(g, lab.device)).astype(x.dtype)

    after = metrics.evaluate(network, metrics.in_batches(attacked, x, y), y)
    return {"error": after.error, "confidence_on_mistakes": after.confidence_on_mistakes}


def _attacked(lab: Lab, network: Network) -> Measurement:
    x, y = lab.data.test
    values, x_adv = under_fgsm(network, x, y)
    values.values["weights_l1"] = weights_l1(network)
    shown = array_module(x).asarray([int((y == k).argmax()) for k in range(10)])  # the first test image of each class
    examples = {
        "label": to_device(y[shown], "cpu").tolist(),
        "clean": pictures(x[shown]),
        "attacked": pictures(x_adv[shown]),
        "said_clean": to_device(predict(network, x[shown]), "cpu").tolist(),
        "said_attacked": to_device(predict(network, x_adv[shown]), "cpu").tolist(),
    }
    return values.measurement(details={"examples": examples})


# ---------------------------------------------------------------------------------------------------------
# The rotation


@measures(
    "rotation-attack",
    lambda profile, seed: {
        "softmax": recipes.softmax_regression(profile, seed),
        "maxout": recipes.maxout(profile, seed),
    },
)
def rotation_attack(lab: Lab, seed: int, softmax: Trained, maxout: Trained) -> Measurement:
    """Error of two networks against the angle by which images are turned towards the gradient, and at random."""
    (x, y), values, change = lab.data.test, Values(), 0.0
    details: dict[str, list[float]] = {"degrees": list(ANGLES), "random_degrees": list(RANDOM_ANGLES)}
    at_random = array_module(x).asarray(generator(seed, "directions").standard_normal(x.shape, dtype="float32"))
    for name, network in (("softmax", softmax.network), ("maxout", maxout.network)):
        towards = metrics.in_batches(partial(input_gradient, software(network)), x, y)
        towards_exact = metrics.in_batches(partial(input_gradient, network), x, y)
        for kind, g, angles in (
            (name, towards, ANGLES),
            (f"{name}{EXACT}", towards_exact, ANGLES),
            (f"{name}_random", at_random.astype(x.dtype), RANDOM_ANGLES),
        ):
            details[kind] = []
            for degrees in angles:
                turned = metrics.in_batches(partial(rotated, angle=radians(degrees)), x, g)
                evaluation = metrics.evaluate(network, turned, y)
                details[kind].append(evaluation.error)
                change = max(change, float(abs(_norms(turned) / _norms(x) - 1.0).max()))
                if kind in (name, name + EXACT) and degrees == 30:
                    values.add(evaluation, error=f"error_{kind}")
    both = map(min, details["softmax"], details["maxout"])
    reliable = any(error > 0.5 for degrees, error in zip(ANGLES, both, strict=True) if degrees <= 30)
    values.values["norm_change"] = change
    rounding = 16 * float(array_module(x).finfo(x.dtype).eps)
    return values.measurement(holds=reliable and change <= rounding, details=details)


def _norms(x: Array) -> Array:
    """||x||_2 of each image, in float64 whatever x is: to be told from rounding in x."""
    return array_module(x).sqrt((x.astype("float64") ** 2).sum(axis=1))
