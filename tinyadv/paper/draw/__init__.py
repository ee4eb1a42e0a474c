"""How figures are drawn: each from a saved result alone, in one style.

A claim's figure is drawn by a function of its section's module in this folder, marked with `@draws`. `drawings()` gives
them all, and imports the sections' modules when it is first called.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import nan
from pathlib import Path
from typing import Any

from ...machine import import_matplotlib
from ...storage import write_atomically
from ..claims import claims
from ..results import Result, pixels
from ..sections import collected, modules

# Okabe and Ito's colours, which the colour-blind can tell apart; lines differ in their dashes too
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

PAPER, INK = 0.075, 0.9  # of a figure for dark pages: what is white in the other one, and what is black
MANY_COLOURS = 20_000  # more than any drawing has, with all the shades at the edges of its lines

Draw = Callable[[Any, dict[str, Any]], None]


@dataclass(frozen=True)
class Drawing:
    """How a claim's figure is drawn: a title, a caption, and a function of the figure and the first seed's details."""

    claim: str
    title: str
    caption: str
    draw: Draw

    def caption_of(self, seeds: int) -> str:
        """The caption, under a figure of a result of so many seeds."""
        return self.caption + (f" Drawn for the first of {seeds} seeds." if seeds > 1 else "")

    @property
    def file(self) -> str:
        """The name of the figure's file."""
        return f"{self.claim}.png"

    @property
    def dark_file(self) -> str:
        """The name of the file with the figure for dark pages."""
        return f"{self.claim}-dark.png"


def draws(claim: str, title: str, caption: str) -> Callable[[Draw], Draw]:
    """Mark a function of a canvas and a measurement's details as the one that draws a claim's figure."""

    def mark(draw: Draw) -> Draw:
        draw.__dict__.setdefault("draws", []).append(Drawing(claim, title, caption, draw))
        return draw

    return mark


def class_shares(axes: Any, counts: list[int]) -> None:
    """A bar for each of ten classes: its share of all samples that some class claims, in percent."""
    total = sum(counts)
    shares = [100 * count / max(1, total) for count in counts]
    bars = axes.bar(range(10), shares, color=BLUE)
    axes.bar_label(bars, [f"{share:.1f}" for share in shares])
    axes.set(xlabel="class that claims the sample", ylabel=f"share of {total:,} errors, %", xticks=range(10))


def class_marks(axes: Any, paper: dict[int, float]) -> None:
    """Over `class_shares`, the paper's percents by class, and where all classes would be alike."""
    axes.plot(list(paper), list(paper.values()), "D", color=ORANGE, label="the paper's network", clip_on=False)
    axes.axhline(10, color=GREY, linestyle=":", linewidth=1.5, label="all classes alike")
    axes.legend(frameon=False)


def over_epochs(axes: Any, log: dict[str, list[Any]], key: str, style: str, **line: Any) -> None:
    """A line of percents over the epochs of a training, which `measure.common.logged` gave; about twenty marks.

    There is a gap where there is no number; and for 0, where the axis is logarithmic.
    """
    on_log = axes.get_yscale() == "log"
    shares = [nan if share is None or (on_log and not share) else 100 * share for share in log[key]]
    axes.plot(log["epoch"], shares, style, markevery=max(1, len(shares) // 20), **line)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)


def paper_line(axes: Any, claim: str, quantity: str, colour: str, label: str = "the paper's", style: str = "-") -> None:
    """A thin line across the axes at the paper's value of a quantity, in percent."""
    paper = claims()[claim].quantity(quantity).paper
    if paper is None:
        raise ValueError(f"{claim}: the paper has no value of {quantity}")
    axes.axhline(100 * paper, color=colour, linewidth=1, linestyle=style, label=label)


@cache
def drawings() -> dict[str, Drawing]:
    """All drawings, by claim."""
    return collected("draws", *modules(__name__))


def drawing_of(result: Result) -> Drawing | None:
    """The drawing of a result's claim; None where the claim has none or nothing was kept that it could draw."""
    return drawings().get(result.claim) if result.measurements[0].details else None


def draw_figure(result: Result, folder: Path, dark: bool = False) -> Path | None:
    """Draw the figure of a result into `folder`, as PNG; where it is, or None where `drawing_of` has none.

    With `dark` the same figure for dark pages is written beside it.
    """
    drawing = drawing_of(result)
    if drawing is None:
        return None
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's own settings would give another picture
        matplotlib.rcParams.update(STYLE)
        canvas = Canvas(figsize=(8, 4), layout="constrained")
        drawing.draw(canvas, result.measurements[0].details)
        path = folder / drawing.file
        write_atomically(path, _in_256_colours(rendered(canvas)))
        if dark:
            darken(canvas)
            write_atomically(folder / drawing.dark_file, _in_256_colours(rendered(canvas)))
    return path


def rendered(canvas: Any, form: str = "png") -> bytes:
    """A figure as the content of a file, without the name of what wrote it."""
    file = io.BytesIO()
    canvas.savefig(file, format=form, metadata={"Software": None})
    return file.getvalue()


def darken(canvas: Any) -> None:
    """Change a figure to one for dark pages: black, white and greys are turned round, other colours and images stay.

    Text on an image or in a coloured box stays as well: it was given a colour that can be read there.
    """
    from matplotlib.axes import Axes
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    canvas.draw_without_rendering()  # ticks and their labels are made only now
    kept = {text for axes in canvas.findobj(Axes) if axes.images for text in axes.texts}
    for part in canvas.findobj():
        if isinstance(part, Text):
            box, arrow = part.get_bbox_patch(), getattr(part, "arrow_patch", None)
            if part not in kept and (box is None or _is_grey(box.get_facecolor())):
                part.set_color(_turned(part.get_color()))
            for patch in (box, arrow):
                if patch is not None:
                    patch.set(edgecolor=_turned(patch.get_edgecolor()), facecolor=_turned(patch.get_facecolor()))
        elif isinstance(part, Line2D):
            line, edge, face = part.get_color(), part.get_markeredgecolor(), part.get_markerfacecolor()
            part.set(color=_turned(line), markeredgecolor=_turned(edge), markerfacecolor=_turned(face))
        elif isinstance(part, Patch):
            part.set(edgecolor=_turned(part.get_edgecolor()), facecolor=_turned(part.get_facecolor()))
        elif isinstance(part, Collection) and part.get_array() is None:
            part.set_edgecolor([_turned(colour) for colour in part.get_edgecolor()])
            part.set_facecolor([_turned(colour) for colour in part.get_facecolor()])
        elif isinstance(part, Axes):
            part.tick_params(which="both", color=str(INK), labelcolor=str(INK))  # those that are still to be made


def _is_grey(colour: Any) -> bool:
    from matplotlib.colors import to_rgba

    *shares, _ = to_rgba(colour)
    return max(shares) - min(shares) <= 0.02


def _turned(colour: Any) -> Any:
    """A grey, from black to white, as the grey that stands for it on a dark page; another colour as it is."""
    from matplotlib.colors import to_rgba

    if (isinstance(colour, str) and colour in ("none", "auto")) or not _is_grey(colour):
        return colour
    grey, _, _, opacity = to_rgba(colour)
    return (*[INK * (1 - grey) + PAPER * grey] * 3, opacity)


def _in_256_colours(picture_file: bytes) -> bytes:
    """The picture in less than half of the bytes: a figure has few colours, and thirty go into one page.

    One that shows a photograph has many, and stays as it is.
    """
    from PIL import Image  # which Matplotlib needs too

    small = io.BytesIO()
    picture = Image.open(io.BytesIO(picture_file)).convert("RGB")
    if picture.getcolors(MANY_COLOURS) is None:
        return picture_file
    picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        small, "PNG", optimize=True, dpi=(STYLE["savefig.dpi"],) * 2
    )
    return small.getvalue()


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
