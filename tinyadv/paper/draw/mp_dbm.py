"""Section 9, a generative model: what the machine believes in every round, and what it makes of hidden halves."""

from __future__ import annotations

from typing import Any

from numpy import hstack, ones

from ..results import pixels
from . import BLUE, GREEN, GREY, ORANGE, draws, over_epochs, paper_line, show_image


@draws(
    "mp-dbm",
    "A generative model, fooled through its own inference",
    "Top left: the probability of the true class after each round of mean field, for test images that the attack "
    "fools (median, and the middle half of the images). Top right: error against the number of rounds, by the exact "
    "gradient, on the first 1,000 test images. Bottom left: error on validation images after each epoch of training, "
    "on a logarithmic scale; the thin lines are the paper's numbers, on test images. Bottom right: test images with "
    "one half hidden, and filled in by the model.",
)
def _draw_machine(canvas: Any, details: dict[str, Any]) -> None:
    (believed, errors), (training, halves) = canvas.subplots(2, 2)
    _draw_beliefs(believed, details["probabilities"])
    _draw_errors(errors, details["rounds"])
    _draw_training(training, details["logs"])
    _draw_halves(halves, details["filled_in"])
    canvas.set_size_inches(10, 4.8)


def _draw_beliefs(axes: Any, found: dict[str, Any]) -> None:
    for name, colour, style in (("clean", BLUE, "o-"), ("attacked", ORANGE, "s--")):
        if not found["images"]:
            continue
        rounds = range(1, len(found[name]) + 1)
        low, middle, high = zip(*found[name], strict=True)
        axes.plot(rounds, middle, style, color=colour, label=name, markersize=4, clip_on=False)
        axes.fill_between(rounds, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set(xlabel="round of mean field", ylabel="p of the true class", ylim=(0, 1), xticks=(1, 5, 10, 14))
    if found["images"]:
        axes.legend(frameon=False, loc="center right", fontsize=9)
    else:
        axes.set_title("the attack fools no image")


def _draw_errors(axes: Any, found: dict[str, Any]) -> None:
    places = range(len(found["n"]))
    for name, label, colour, style in (
        ("own", "attacked", ORANGE, "s--"),
        ("truncated", "attacked through\nso many, inferred\nby all", GREEN, "d-."),
        ("clean", "clean", GREY, "^:"),
    ):
        axes.plot(places, [100 * e for e in found[name]], style, color=colour, label=label, markersize=4)
    axes.set(xlabel="rounds of mean field", ylabel="error, %", ylim=(0, 103), xticks=places, xticklabels=found["n"])
    axes.legend(frameon=False, loc="center", fontsize=9)


def _draw_training(axes: Any, logs: dict[str, dict[str, list[Any]]]) -> None:
    axes.set_yscale("log")
    for name, key, quantity, colour, style in (
        ("attacked", "software_error", "error", ORANGE, "s--"),
        ("clean", "error", "clean_error", BLUE, "o-"),
    ):
        if name in logs:
            over_epochs(axes, logs[name], key, style, color=colour, label=name)
        paper_line(axes, "mp-dbm", quantity, colour, f"{name}, the paper's")
    axes.set_ylabel("error, %")
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93), fontsize=9)


def _draw_halves(axes: Any, found: dict[str, Any]) -> None:
    """Four rows: the right half hidden and filled in, the lower half hidden and filled in."""
    rows = [found[half][what] for half in ("right", "lower") for what in ("seen", "filled")]
    gap, width = 3, 28 * len(rows[0])
    picture = ones((len(rows) * (28 + gap) - gap, width))
    for i, images in enumerate(rows):
        picture[i * (28 + gap) :][:28] = hstack([pixels(image).reshape(28, 28) for image in images])
    show_image(axes, picture, low=0.0, high=1.0)
    middles = [i * (28 + gap) + 14 for i in range(len(rows))]
    axes.set_yticks(middles, ["given", "filled in", "given", "filled in"], fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
