"""How figures are drawn: each from a saved result alone, in one style.

The colours are those of Okabe and Ito, which the colour-blind can tell apart; lines differ in their dashes too. What a
claim's figure shows stands in its section's module, under the function that measures it, marked with `@draws`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy import array, frombuffer

from ..machine import import_matplotlib
from ..storage import write_atomically
from .results import PICTURE, Figure, Result

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
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure as Canvas

    drawing, details = FIGURES[result.claim], result.measurements[0].details
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's own settings would give another picture
        matplotlib.rcParams.update(STYLE)
        canvas = Canvas(figsize=(8, 4), layout="constrained")
        drawing.draw(canvas, details)
        file = io.BytesIO()
        canvas.savefig(file, format="png", metadata={"Software": None})
    content = _in_256_colours(file)
    seed = f" Drawn for the first of {len(result.seeds)} seeds." if len(result.seeds) > 1 else ""
    figure = Figure(f"{result.claim}.png", drawing.title, drawing.caption + seed)
    write_atomically(folder / figure.name, content)
    return [figure]


def _in_256_colours(file: io.BytesIO) -> bytes:
    """The picture in less than half of the bytes: a figure has few colours, and thirty go into one page."""
    from PIL import Image  # which Matplotlib needs too

    small = io.BytesIO()
    picture = Image.open(file).convert("RGB")
    picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        small, "PNG", optimize=True, dpi=(STYLE["savefig.dpi"],) * 2
    )
    return small.getvalue()


def encoded(images: Any) -> list[str]:
    """Images, rows of numbers on the CPU, as texts: "picture low high" and a byte a pixel in base64, 0 for low.

    A text has a ninth of the length of the numbers in decimals; what is lost, half of one of 255 steps, nobody sees.
    """
    if not len(images):
        return []
    low, high = float(images.min()), float(images.max())
    levels = ((images - low) * (255.0 / ((high - low) or 1.0)) + 0.5).astype("uint8")
    return [f"{PICTURE}{low:.6g} {high:.6g} {base64.b64encode(row.tobytes()).decode()}" for row in levels]


def pixels(image: Any) -> Any:
    """The numbers of an image, float64: of a text that `encoded` made, or given as numbers.

    Raises
    ------
    ValueError
        For another text.
    """
    if not isinstance(image, str):
        return array(image)
    try:
        low, high, levels = image.removeprefix(PICTURE).split(" ")
        span = (float(high) - float(low)) / 255.0
        return float(low) + span * frombuffer(base64.b64decode(levels, validate=True), dtype="uint8")
    except ValueError as error:
        raise ValueError(f"an image is numbers, or a text that begins with {PICTURE!r}: {image[:40]!r} ...") from error


def show_image(
    axes: Any, image: Any, title: str = "", low: float = -0.25, high: float = 1.25, colours: Any = "gray"
) -> None:
    """One image, 784 numbers, rows of pixels or one of `pictures`, in `axes`; `low` to `high` from black to white."""
    shown = pixels(image)
    axes.imshow(
        shown if shown.ndim == 2 else shown.reshape(28, 28),
        cmap=colours,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.set_title(title)
