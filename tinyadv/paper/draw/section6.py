"""Section 6, adversarial training: a lower clean error, a much lower error under FGSM, and what PGD makes of it."""

from __future__ import annotations

from math import nan
from typing import Any

from numpy import array, full

from ..claims import claims
from ..lab import EPS
from ..measure.section6 import CONFIDENCE, SHOWN
from ..results import pixels
from . import BLUE, GREEN, GREY, ORANGE, draws, over_epochs, paper_line, show_image

OVER_EPOCHS = (
    "The clean error on the 10,000 validation images after every epoch of training, on a logarithmic scale. The thin "
    "lines are the paper's numbers, on test images, after hundreds of epochs, and a last training on all "
    "60,000 images."
)
WITH_AND_WITHOUT = "Clean error over training, with and without adversarial training"


@draws("adv-train-240", WITH_AND_WITHOUT, OVER_EPOCHS)
def _draw_of_240(canvas: Any, details: dict[str, Any]) -> None:
    _draw_clean_errors(canvas, details, "adv-train-240", {"naive_error": ORANGE, "adversarially_trained_error": BLUE})


@draws("maxout-1600-naive", "Clean error over naive training", OVER_EPOCHS)
def _draw_large_naive(canvas: Any, details: dict[str, Any]) -> None:
    _draw_clean_errors(canvas, details, "maxout-1600-naive", {"clean_error": ORANGE})


@draws("adv-train-1600", "Clean error over adversarial training", OVER_EPOCHS)
def _draw_large_trained(canvas: Any, details: dict[str, Any]) -> None:
    _draw_clean_errors(canvas, details, "adv-train-1600", {"clean_error": BLUE})


def _draw_clean_errors(canvas: Any, details: dict[str, Any], claim: str, published: dict[str, str]) -> None:
    """Curves of the networks that were logged, and a line of its colour for each of the paper's numbers."""
    axes, logs = canvas.subplots(subplot_kw={"yscale": "log"}), details.get("logs", {})
    for name, label, colour, style in (
        ("naive", "naive training", ORANGE, "s--"),
        ("trained", "adversarial training, attack under masks", BLUE, "o-"),
        ("unmasked", "adversarial training, attack without dropout", GREEN, "^-."),
    ):
        if name in logs:
            over_epochs(axes, logs[name], "error", style, color=colour, label=label)
    for quantity in claims()[claim].published:
        colour = published[quantity.name]
        paper_line(axes, claim, quantity.name, colour, f"{quantity.label}, the paper's")
    _label_errors(axes)
    axes.legend(frameon=False, fontsize=10)


def _label_errors(axes: Any) -> None:
    """The label and the marks of an axis on which validation errors stand on a logarithmic scale."""
    axes.set_ylabel("error on the validation images, %")
    axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")


@draws(
    "adv-stopping",
    "What to watch: the validation error is flat, the adversarial one is not",
    "The adversarially trained network after every epoch: its error on the 10,000 validation images, clean and under "
    "FGSM(0.25), by the exact gradient, on a logarithmic scale. Rings mark where each is lowest. The grey line is at "
    "the first epoch whose clean error is within 0.1 point of its lowest.",
)
def _draw_stopping(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots(subplot_kw={"yscale": "log"})
    for key, label, colour, style in (
        ("error", "clean", BLUE, "o-"),
        ("adversarial_error", "under FGSM(0.25)", ORANGE, "s--"),
    ):
        over_epochs(axes, details, key, style, color=colour, label=label)
        lowest = min(details[key])
        best = details["epoch"][details[key].index(lowest)]
        axes.plot([best], [100 * lowest or nan], "o", color=colour, markersize=13, fillstyle="none", clip_on=False)
    axes.axvline(details["flat_from"], color=GREY, linewidth=1.5, linestyle=":", label="clean error flat from here")
    _label_errors(axes)
    axes.legend(frameon=False)


@draws(
    "adv-robust-1600",
    "What adversarial training changes",
    "Left: error under FGSM against its size, on the first 1,000 test images, by the exact gradient. FGSM takes one "
    "step: see the error under PGD in the table before calling a network robust. Right: the same under FGSM(0.25) on "
    "the validation images after each epoch of training, where the attack in training sees this batch's masks, and "
    "where it sees the network without dropout. The thin line is the paper's number.",
)
def _draw_robustness(canvas: Any, details: dict[str, Any]) -> None:
    axes, training = canvas.subplots(1, 2)
    for name, label, colour, style in (
        ("naive", "naive training", ORANGE, "s--"),
        ("trained", "adversarial training", BLUE, "o-"),
    ):
        errors = [100 * e for e in details["curves"][name]]
        axes.plot(details["eps"], errors, style, color=colour, label=label, clip_on=False)
    axes.axvline(EPS, color=GREY, linewidth=1.5, linestyle=":", label="ε used in training")
    axes.set(xlabel="ε of the attack (FGSM)", ylabel="error, %", ylim=(0, 100))
    axes.legend(frameon=False, loc="center right")
    for name, label, colour, style in (
        ("masks", "attack under masks", BLUE, "o-"),
        ("unmasked", "attack without dropout", GREEN, "^-."),
    ):
        log = details["logs"][name]
        over_epochs(training, log, "adversarial_error", style, color=colour, label=label, clip_on=False)
    paper_line(training, "adv-robust-1600", "error", GREY)
    training.set(ylabel="error on the validation images, FGSM(0.25), %", ylim=(0, 100))
    training.legend(frameon=False)
    canvas.set_size_inches(10, 4)


@draws(
    "adv-confidence",
    "Confidence on mistakes follows training",
    "The adversarially trained network after every epoch, under FGSM(0.25), by the exact gradient, on the 10,000 "
    "validation images: its error, and the mean of the largest class probability over the images that it gets wrong. "
    "The thin line is the paper's confidence.",
)
def _draw_confidence(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for key, label, colour, style in (
        (CONFIDENCE, "confidence on mistakes", BLUE, "o-"),
        ("adversarial_error", "error", ORANGE, "s--"),
    ):
        over_epochs(axes, details, key, style, color=colour, label=label)
    paper_line(axes, "adv-confidence", "confidence_on_mistakes", BLUE, "confidence on mistakes, the paper's")
    axes.set(ylabel="% on the validation images, FGSM(0.25)", ylim=(0, 100))
    axes.legend(frameon=False)


@draws(
    "fig3-filters",
    "First-layer maxout filters, as in figure 3 of the paper",
    "Units drawn at random, a column for each of both networks, and in it its five pieces one below the other; grey is "
    "a weight of 0, white and black are the largest weight of that piece in size, up and down.",
)
def _draw_filters(canvas: Any, details: dict[str, Any]) -> None:
    panels = canvas.subplots(1, 2)
    for axes, (name, label) in zip(panels, (("naive", "naive"), ("trained", "adversarially trained")), strict=True):
        show_image(axes, _columns(details["filters"][name]), label, low=-1, high=1)
    canvas.set_size_inches(10, 4.3)


def _columns(filters: list[str]) -> Any:
    """Filters, unit by unit, as one picture: a column for each unit, transparent lines between them."""
    tiles = full((SHOWN, len(filters) // SHOWN, 30, 30), nan)
    tiles[:, :, 1:-1, 1:-1] = array([pixels(image) for image in filters]).reshape(SHOWN, -1, 28, 28)
    return tiles.transpose(1, 2, 0, 3).reshape(-1, SHOWN * 30)
