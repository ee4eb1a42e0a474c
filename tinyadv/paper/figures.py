"""How figures are drawn: each from a saved result alone, in one style.

The colours are those of Okabe and Ito, which the colour-blind can tell apart; lines differ in their dashes too. What a
claim's figure shows stands in its section's module, under the function that measures it, marked with `@draws`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy import array

from ..storage import write_atomically
from .results import Figure, Result

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "savefig.bbox": "tight",
    "lines.linewidth": 2.0,
    "svg.hashsalt": "tinyadv",
}


Draw = Callable[[Any, dict[str, Any]], None]


@dataclass(frozen=True)
class Drawing:
    """How a claim's figure is drawn: a title, a caption, and a function of the figure and the first seed's details."""

    title: str
    caption: str
    draw: Draw


FIGURES: dict[str, Drawing] = {}


def draws(claim: str, title: str, caption: str) -> Callable[[Draw], Draw]:
    """Mark a function of a canvas and a measurement's details as the one that draws a claim's figure."""

    def mark(draw: Draw) -> Draw:
        FIGURES[claim] = Drawing(title, caption, draw)
        return draw

    return mark


def draw_figures(result: Result, folder: Path) -> list[Figure]:
    """Draw what there is to draw for a result into `folder`, as PNG; what was drawn."""
    if result.claim not in FIGURES:
        return []
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    drawing, details = FIGURES[result.claim], result.measurements[0].details
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's own settings would give another picture
        matplotlib.rcParams.update(STYLE)
        canvas = Canvas(figsize=(8, 4), layout="constrained")
        drawing.draw(canvas, details)
        file = io.BytesIO()
        canvas.savefig(file, format="png", metadata={"Software": None})
    seed = f" Drawn for the first of {len(result.seeds)} seeds." if len(result.seeds) > 1 else ""
    figure = Figure(f"{result.claim}.png", drawing.title, drawing.caption + seed)
    write_atomically(folder / figure.name, file.getvalue())
    return [figure]


def show_image(
    axes: Any, image: Any, title: str = "", low: float = -0.25, high: float = 1.25, colours: Any = "gray"
) -> None:
    """One image, 784 numbers or rows of pixels, in `axes`; `low` to `high` from black to white."""
    pixels = array(image)
    axes.imshow(
        pixels if pixels.ndim == 2 else pixels.reshape(28, 28),
        cmap=colours,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.set_title(title)
