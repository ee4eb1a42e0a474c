"""The figures, each drawn from a saved result alone, in one style.

The colours are those of Okabe and Ito, which the colour-blind can tell apart; lines differ in their dashes too. A
reader looks up a claim in `FIGURES` and then at the function that draws it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from numpy import array

from ..storage import write_atomically
from .recipes import EPS
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


@dataclass(frozen=True)
class Drawing:
    """How a claim's figure is drawn: a title, a caption, and a function of the figure and the first seed's details."""

    title: str
    caption: str
    draw: Callable[[Any, dict[str, Any]], None]


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


def _growth(canvas: Any, details: dict[str, Any]) -> None:
    axes, rows = canvas.subplots(), details["rows"]
    n = [row["n"] for row in rows]
    axes.loglog(n, [row["growth"] for row in rows], "o-", color=BLUE, label="η = ε sign(w)")
    axes.loglog(n, [row["random"] for row in rows], "s--", color=ORANGE, label="η = ±ε at random, root mean square")
    axes.set(xlabel="dimension n", ylabel="change of the activation wᵀx")
    axes.legend(frameon=False)


def _examples(canvas: Any, details: dict[str, Any]) -> None:
    examples = details["examples"]
    grid = canvas.subplots(2, 10)
    for k in range(10):
        for row, kind in enumerate(("clean", "attacked")):
            said = examples[f"said_{kind}"][k]
            show_image(grid[row, k], examples[kind][k], f"says {said}")
            right = said == examples["label"][k]
            grid[row, k].spines[:].set(color=GREEN if right else ORANGE, linewidth=1.5 if right else 3)
    grid[0, 0].set_ylabel("clean")
    grid[1, 0].set_ylabel("FGSM(.25)")
    canvas.set_size_inches(10, 2.6)


def _logistic(canvas: Any, details: dict[str, Any]) -> None:
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


def _robustness(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for name, colour, style in (("naive", ORANGE, "s--"), ("adversarial", BLUE, "o-")):
        errors = [100 * e for e in details[name]]
        axes.plot(details["eps"], errors, style, color=colour, label=f"{name} training", clip_on=False)
    axes.axvline(EPS, color=GREY, linewidth=1.5, linestyle=":", label="ε used in training")
    axes.set(xlabel="ε of the attack (FGSM)", ylabel="error, %", ylim=(0, 100))
    axes.legend(frameon=False)


def _rubbish(canvas: Any, details: dict[str, Any]) -> None:
    axes, counts = canvas.subplots(), details["by_class"]
    total = max(1, sum(counts))
    bars = axes.bar(range(10), [100 * c / total for c in counts], color=BLUE)
    axes.bar_label(bars, [f"{100 * c / total:.1f}" for c in counts])
    axes.set(xlabel="class that claims the sample", ylabel=f"share of {sum(counts):,} errors, %", xticks=range(10))


def _confidences(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subplots(1, 2)
    edges = [k / 20 for k in range(21)]
    for kind, colour, style in (("clean", BLUE, "-"), ("attacked", ORANGE, "--")):
        shares = [100 * s for s in details["confidence_shares"][kind]]
        left.stairs(shares, edges, color=colour, linestyle=style, linewidth=2, label=kind)
    left.set(xlabel="largest probability", ylabel="share of test images, %", xlim=(0, 1))
    left.legend(frameon=False)
    log = details["log"]
    epochs, gap = [entry["epoch"] for entry in log], max(1, len(log) // 10)
    for key, label, colour, style in (
        ("error", "clean error", GREEN, "^-"),
        ("confidence", "clean confidence", BLUE, "o-"),
        ("adversarial_error", "FGSM error", ORANGE, "s--"),
        ("adversarial_confidence_on_mistakes", "confidence on its mistakes", GREY, "d:"),
    ):
        figures = [nan if entry[key] is None else 100 * entry[key] for entry in log]  # no mistakes, no confidence
        right.plot(epochs, figures, style, color=colour, label=label, markevery=gap)
    right.set(xlabel="epoch", ylabel="% on the validation images", ylim=(0, 100))
    right.xaxis.get_major_locator().set_params(integer=True)
    right.legend(frameon=False, fontsize=10)
    canvas.set_size_inches(10, 4)


EXAMPLES = (
    "The first test image of each class, clean and attacked, and what the network says; thick orange frames are "
    "mistakes. Black is −.25 and white 1.25 in both rows, because attacked pixels leave [0, 1]."
)
RUBBISH = (
    "Of the samples of N(0, I) that some class claims with a probability above one half, the share of each class of "
    "largest probability."
)
FIGURES = {
    "linear-growth": Drawing(
        "A small change of every input adds up",
        "How much the activation of a linear model changes when every one of n inputs changes by ε = .25: with the "
        "signs of the weights, and with random signs. Both axes are logarithmic: a line of slope 1 is growth like n, "
        "one of slope 1/2 like the square root of n.",
        _growth,
    ),
    "fgsm-softmax": Drawing(
        "Softmax regression under the fast gradient sign method",
        EXAMPLES,
        _examples,
    ),
    "fgsm-maxout": Drawing(
        "The maxout network under the fast gradient sign method",
        EXAMPLES,
        _examples,
    ),
    "fig2-logistic": Drawing(
        "Logistic regression on threes and sevens, as in figure 2 of the paper",
        "a) the weights, blue for a seven and orange for a three; b) their sign, which is the direction of every "
        "perturbation; c) clean test images; d) the same, each pixel of a nonzero weight moved by .25.",
        _logistic,
    ),
    "adv-robust-1600": Drawing(
        "What adversarial training changes",
        "Error under FGSM against its size, on the first 1,000 test images. FGSM takes one step: see the error under "
        "PGD in the table before calling a network robust.",
        _robustness,
    ),
    "rubbish-softmax": Drawing(
        "Which class softmax regression sees in noise",
        RUBBISH,
        _rubbish,
    ),
    "rubbish-maxout-softmax": Drawing(
        "Which class the maxout network sees in noise",
        RUBBISH,
        _rubbish,
    ),
    "rbf-fgsm": Drawing(
        "How confident an RBF network is, clean and under attack",
        "Left: the largest probability over clean and attacked test images. Right: errors and confidences over "
        "training, on the validation images.",
        _confidences,
    ),
}
