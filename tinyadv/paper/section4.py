"""Section 4, the fast gradient sign method: one step of it, and a rotation, against softmax regression and maxout."""

from __future__ import annotations

from functools import partial
from math import isfinite, nan, radians
from typing import Any

from .. import metrics
from ..attacks import input_gradient, rotated
from ..backend import Array, array_module, generator, to_device
from ..layers import parameters
from ..losses import clean_objective
from ..metrics import predict
from ..models import Network, build
from ..optim import SGD, Schedule
from ..training import train
from . import recipes
from .figures import BLUE, GREEN, GREY, ORANGE, draws, show_image
from .lab import Lab
from .measuring import Values, attack, explains, measures, pictures, under_fgsm, weights_l1
from .registry import claims
from .results import Measurement, Result, percent
from .variations import WAYS, nearest, table, ways

DECAYS = (0.0, 0.01)  # weight decays that softmax regression is trained with besides its own
ANGLES = tuple(range(0, 50, 5))  # of the rotation, in degrees
RANDOM_ANGLES = ANGLES[::3]  # of that towards a random direction


# ---------------------------------------------------------------------------------------------------------
# The fast gradient sign method


@measures("fgsm-softmax", lambda profile, seed: [recipes.softmax_regression(profile, seed)])
def fgsm_softmax(lab: Lab, seed: int, network: Network) -> Measurement:
    """Error and confidence of softmax regression on attacked test images, beside how they follow its weights."""
    measurement = _attacked(lab, network)
    epochs = lab.epochs(network)
    trajectories = {f"{l2:g}": _trajectory(lab, network, seed, epochs, l2) for l2 in DECAYS}
    marked = sorted({1, (epochs + 1) // 2, epochs})
    rows = [
        [f"decay {l2}, after epoch {epoch}", *(entries[epoch - 1][key] for key in FOLLOWED)]
        for l2, entries in trajectories.items()
        for epoch in marked
    ]
    rows.append(["the network measured", *(measurement.values[key] for key in FOLLOWED)])
    formats = ["number", "percent", "percent", "percent"]
    measurement.details["variations"] = table(["training", *FOLLOWED.values()], rows, formats)
    measurement.details["trajectories"] = trajectories
    return measurement


FOLLOWED = {
    "weights_l1": "‖W‖₁",
    "clean_error": "clean error",
    "error": "FGSM error",
    "confidence_on_mistakes": "confidence on mistakes",
}


def _trajectory(lab: Lab, network: Network, seed: int, epochs: int, l2: float) -> list[dict[str, float]]:
    """What `FOLLOWED` names, of the test images, after each epoch of a training that differs in its decay alone."""

    def follow(model: Network) -> dict[str, float]:
        values, (x, y) = Values(), lab.data.test
        values.add(metrics.evaluate(model, x, y), error="clean_error")
        after = metrics.evaluate(model, attack(model, x, y), y)
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


@explains("fgsm-softmax")
def _why_softmax(result: Result) -> str:
    """How far the confidence moves with the weights, from the variations of every seed."""
    rows = [row for m in result.measurements for row in m.details["variations"]["rows"][:-1]]
    known = [row for row in rows if row[4] is not None and isfinite(row[4])]
    if not known:
        return ""
    low, high = min(known, key=lambda row: row[4]), max(known, key=lambda row: row[4])
    return (
        f"The confidence on mistakes follows the weights, on which the paper is silent: from {percent(low[4])} at "
        f"‖W‖₁ = {low[1]:,.0f} ({low[0]}) to {percent(high[4])} at {high[1]:,.0f} ({high[0]}), at FGSM errors of "
        f"{percent(low[3])} and {percent(high[3])}."
    )


@measures("fgsm-maxout", recipes.naive_at_length)
def fgsm_maxout(lab: Lab, seed: int, network: Network, *longer: Network) -> Measurement:
    """Error and confidence of the naively trained maxout network on attacked test images, and over its training.

    Varied are clipping, the rounding of the gradient (see `rounding`) and the length of the training.
    """
    measurement, x_y = _attacked(lab, network), lab.data.test
    rows = ways("", measurement.values)
    for model in longer:
        rows += ways(f", {lab.epochs(model)} epochs", under_fgsm(model, *x_y)[0].values)
    measurement.details["variations"] = table(["FGSM", *WAYS], rows)
    keys = ("epoch", "error", "adversarial_error", "adversarial_confidence_on_mistakes")
    measurement.details["log"] = [{key: entry[key] for key in keys} for entry in lab.log(network)]
    return measurement


@explains("fgsm-maxout")
def _why_maxout(result: Result) -> str:
    """Which variation comes nearest, and what rounding does to the gradient."""
    told = nearest(result, "error", "confidence_on_mistakes")
    share, rounded = result.mean("certain_share"), result.mean("error_rounded")
    if not told or abs(rounded - result.mean("error")) < 0.005:
        return told
    return (
        f"{told} On {percent(share)} of the images p of the true class rounds to 1, so that p − t lacks this class: "
        f"with such a gradient, which most libraries use, the FGSM error is {percent(rounded)}."
    )


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


EXAMPLES = (
    "The first test image of each class, clean and attacked, and what the network says; thick orange frames are "
    "mistakes. Black is −.25 and white 1.25 in both rows, because attacked pixels leave [0, 1]. Below: "
)


@draws(
    "fgsm-softmax",
    "Softmax regression under the fast gradient sign method",
    EXAMPLES + "what the attack does after each epoch of two trainings, with and without weight decay, against ‖W‖₁. "
    "The diamond is the network measured.",
)
def _draw_softmax(canvas: Any, details: dict[str, Any]) -> None:
    axes = _draw_examples(canvas, details)
    styles = ((BLUE, "o-"), (GREEN, "^-."))
    for (l2, entries), (colour, style) in zip(details["trajectories"].items(), styles, strict=True):
        decay = "no decay" if l2 == "0" else f"decay {l2}"
        norms = [entry["weights_l1"] for entry in entries]
        axes.plot(
            norms, _percents(entries, "confidence_on_mistakes"), style, color=colour, label=f"confidence, {decay}"
        )
        if l2 == "0":
            axes.plot(norms, _percents(entries, "error"), "s--", color=ORANGE, label=f"FGSM error, {decay}")
            axes.plot(norms, _percents(entries, "clean_error"), "v:", color=GREY, label=f"clean error, {decay}")
    measured = details["variations"]["rows"][-1]
    confidence = nan if measured[4] is None else 100 * measured[4]
    axes.plot([measured[1]], [confidence], "D", color="black", markersize=9, label="confidence, network measured")
    axes.set(xlabel="‖W‖₁ of the network", ylabel="% of test images", ylim=(0, 103))
    axes.legend(frameon=False, fontsize=10, loc="center", ncols=2)


@draws(
    "fgsm-maxout",
    "The maxout network under the fast gradient sign method",
    EXAMPLES + "the same attack on the validation images after each epoch of training. The thin lines are the "
    "paper's, on test images.",
)
def _draw_maxout(canvas: Any, details: dict[str, Any]) -> None:
    axes, log = _draw_examples(canvas, details), details["log"]
    epochs, gap = [entry["epoch"] for entry in log], max(1, len(log) // 10)
    for key, label, colour, style in (
        ("adversarial_confidence_on_mistakes", "confidence on mistakes", BLUE, "o-"),
        ("adversarial_error", "FGSM error", ORANGE, "s--"),
        ("error", "clean error", GREY, "v:"),
    ):
        axes.plot(epochs, _percents(log, key), style, color=colour, label=label, markevery=gap)
    published = {q.name: 100 * (q.paper or 0.0) for q in claims()["fgsm-maxout"].published}
    confidence, error = published["confidence_on_mistakes"], published["error"]
    axes.axhline(confidence, color=BLUE, linewidth=1, label="confidence on mistakes, the paper's")
    axes.axhline(error, color=ORANGE, linewidth=1, linestyle="--", label="FGSM error, the paper's")
    axes.set(xlabel="epoch", ylabel="% of validation images", ylim=(0, 103))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=10, loc="center", ncols=2)


def _percents(entries: list[dict[str, Any]], key: str) -> list[float]:
    """In percent; where there were no mistakes there is no confidence, and a gap in the line."""
    return [nan if entry[key] is None else 100 * entry[key] for entry in entries]


def _draw_examples(canvas: Any, details: dict[str, Any]) -> Any:
    """Two rows of images; the axes below them, for what differs between the claims."""
    examples = details["examples"]
    layout = canvas.add_gridspec(3, 10, height_ratios=(1, 1, 2.4))
    for row, kind in enumerate(("clean", "attacked")):
        for k in range(10):
            axes, said = canvas.add_subplot(layout[row, k]), examples[f"said_{kind}"][k]
            show_image(axes, examples[kind][k], f"says {said}")
            right = said == examples["label"][k]
            axes.spines[:].set(color=GREEN if right else ORANGE, linewidth=1.5 if right else 3)
            if k == 0:
                axes.set_ylabel("clean" if row == 0 else "FGSM(.25)")
    canvas.set_size_inches(10, 4.7)
    return canvas.add_subplot(layout[2, :])


# ---------------------------------------------------------------------------------------------------------
# The rotation


@measures(
    "rotation-attack",
    lambda profile, seed: [recipes.softmax_regression(profile, seed), recipes.maxout(profile, seed)],
)
def rotation_attack(lab: Lab, seed: int, softmax: Network, maxout: Network) -> Measurement:
    """Error of two networks against the angle by which images are turned towards the gradient, and at random."""
    (x, y), values, change = lab.data.test, Values(), 0.0
    details: dict[str, list[float]] = {"degrees": list(ANGLES), "random_degrees": list(RANDOM_ANGLES)}
    at_random = array_module(x).asarray(generator(seed, "directions").standard_normal(x.shape, dtype="float32"))
    for name, network in (("softmax", softmax), ("maxout", maxout)):
        towards = metrics.in_batches(partial(input_gradient, network), x, y)
        for kind, g, angles in (
            (name, towards, ANGLES),
            (f"{name}_random", at_random.astype(x.dtype), RANDOM_ANGLES),
        ):
            details[kind] = []
            for degrees in angles:
                turned = metrics.in_batches(partial(rotated, angle=radians(degrees)), x, g)
                evaluation = metrics.evaluate(network, turned, y)
                details[kind].append(evaluation.error)
                change = max(change, float(abs(_norms(turned) / _norms(x) - 1.0).max()))
                if kind == name and degrees == 30:
                    values.add(evaluation, error=f"error_{name}")
    both = map(min, details["softmax"], details["maxout"])
    reliable = any(error > 0.5 for degrees, error in zip(ANGLES, both, strict=True) if degrees <= 30)
    values.values["norm_change"] = change
    rounding = 16 * float(array_module(x).finfo(x.dtype).eps)
    return values.measurement(holds=reliable and change <= rounding, details=details)


def _norms(x: Array) -> Array:
    """||x||_2 of each image, in float64 whatever x is: to be told from rounding in x."""
    return array_module(x).sqrt((x.astype("float64") ** 2).sum(axis=1))


@draws(
    "rotation-attack",
    "Images turned towards the gradient",
    "Error on the test images against the angle by which each is turned, in the plane of the image and its gradient; "
    "its length stays the same. Beside it the same turn towards a random direction.",
)
def _draw_rotation(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for kind, label, colour, style in (
        ("softmax", "softmax regression", BLUE, "o-"),
        ("maxout", "maxout network", ORANGE, "s--"),
        ("softmax_random", "softmax regression, random direction", GREEN, "^-."),
        ("maxout_random", "maxout network, random direction", GREY, "v:"),
    ):
        errors = [100 * error for error in details[kind]]
        degrees = details["random_degrees" if kind.endswith("random") else "degrees"]
        axes.plot(degrees, errors, style, color=colour, label=label, clip_on=False)
    axes.set(xlabel="angle of the rotation, degrees", ylabel="error, %", ylim=(0, 100), xticks=details["degrees"])
    axes.legend(frameon=False, loc="center right")
