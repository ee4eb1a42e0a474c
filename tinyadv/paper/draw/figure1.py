"""Figure 1: the panda, drawn from the reader's own copy of the photograph, and what one step does to all."""

from __future__ import annotations

import textwrap
from typing import Any

from ...attacks import fgsm
from ...backend import as_array
from ...datasets import DataError
from ...googlenet import load_googlenet
from ...photographs import photographs, show
from . import BLUE, GREY, ORANGE, draws


@draws(
    "fig1-imagenet",
    "Figure 1: one grey level",
    "Above: the photograph, the sign of its gradient, and the photograph after one step of ε = 1/255, each with "
    "GoogLeNet's answer and the probability that it gives to it. In the paper: panda, 57.7 %; nematode, 8.2 %; gibbon, "
    "99.3 %, with other weights. Below: the probability of the true class of every photograph before (blue) and after "
    "the step, orange where the answer is then another, which stands at the right with its probability.",
)
def _draw(canvas: Any, details: dict[str, Any]) -> None:
    rows = details["photographs"]
    canvas.set_size_inches(8, 4 + 0.2 * len(rows))
    above, below = canvas.subfigures(2, 1, height_ratios=(3.6, 0.4 + 0.2 * len(rows)))
    _draw_panels(above, details)
    axes = below.subplots()
    places = range(len(rows), 0, -1)
    for place, row in zip(places, rows, strict=True):
        fooled = row["after"] != row["class"]
        colour = ORANGE if fooled else GREY
        axes.plot([row["true_before"], row["true_after"]], [place, place], "-", color=colour, linewidth=1.2)
        axes.plot([row["true_before"]], [place], "o", color=BLUE, markersize=4)
        axes.plot([row["true_after"]], [place], "s", color=colour, markersize=4)
        said = f"{row['after']}, {100 * row['after_probability']:.0f} %"
        axes.text(1.04, place, said, va="center", fontsize=8, color="black" if fooled else GREY)
    labels = [row["class"] + (" (searched for)" if row["selected"] else "") for row in rows]
    axes.set_yticks(list(places), labels, fontsize=8)
    axes.set(xlim=(-0.02, 1.02), ylim=(0, len(rows) + 1), xlabel="probability of the true class")


def _draw_panels(canvas: Any, details: dict[str, Any]) -> None:
    """The three panels; where the photograph or the weights aren't at hand, how to get them."""
    try:
        photo = next(photo for photo in photographs() if photo.name == details["panda"])
        model = load_googlenet()
    except (DataError, StopIteration):
        said = (
            "No photograph is part of tinyadv, nor are GoogLeNet's weights: python data_scripts/imagenet.py gets them."
        )
        canvas.text(0.5, 0.5, "\n".join(textwrap.wrap(said, 60)), ha="center", va="center", color=GREY)
        return
    x_adv = fgsm(model, photo.x, as_array([photo.label]), details["eps"])
    show(canvas, model, photo.x, x_adv, details["eps"])
    canvas.supxlabel(f"Photograph: {photo.credit}", fontsize=7, color=GREY)
