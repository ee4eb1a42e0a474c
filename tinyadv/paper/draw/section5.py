"""Section 5, linear models: for logistic regression FGSM is exact, and adversarial training has a closed form."""

from __future__ import annotations

from math import nan
from typing import Any

from numpy import array

from ..measure.section5 import SHOWN
from ..results import pixels
from . import BLUE, GREEN, GREY, ORANGE, draws, show_image


@draws(
    "fig2-logistic",
    "Logistic regression on threes and sevens, as in figure 2 of the paper",
    "a) the weights, blue for a seven and orange for a three; b) their sign, which is the direction of every "
    "perturbation; c) clean test images; d) the same, each pixel of a nonzero weight moved by 0.25.",
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
    for axes, title in zip(panels, ("a) weights", "b) their sign", "c) clean", "d) FGSM(0.25)"), strict=True):
        axes.set_title(title)
    canvas.set_size_inches(10, 2.9)


def _mosaic(images: list[str], rows: int = 4) -> Any:
    """Images in `rows` rows, one picture."""
    tiles = array([pixels(image) for image in images]).reshape(rows, -1, 28, 28)
    return tiles.transpose(0, 2, 1, 3).reshape(rows * 28, -1)


@draws(
    "l1-pessimism",
    "L1 decay and adversarial training of logistic regression, threes against sevens",
    "Left: what either penalty adds to the mean training loss while the weights of a network, trained adversarially "
    "with ε = 0.1, are scaled up; of the adversarial penalty, images whose margin exceeds ε‖w‖₁ and the others apart. "
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
