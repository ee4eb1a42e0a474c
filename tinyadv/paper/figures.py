"""The figures, each drawn from a saved result alone, in one style.

The colours are those of Okabe and Ito, which the colour-blind can tell apart; lines differ in their dashes too. A
reader looks up a claim in `FIGURES` and then at the function that draws it.
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
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(8, 4), layout="constrained")
        drawing.draw(canvas, details)
        file = io.BytesIO()
        canvas.savefig(file, format="png", metadata={"Software": None})
    figure = Figure(f"{result.claim}.png", drawing.title, drawing.caption)
    write_atomically(folder / figure.name, file.getvalue())
    return [figure]


def show_image(
    axes: Any, image: Any, title: str = "", low: float = -0.25, high: float = 1.25, colours: str = "gray"
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
    axes.set_title(title, fontsize=9)


def _growth(canvas: Any, details: dict[str, Any]) -> None:
    axes, rows = canvas.subplots(), details["rows"]
    n = [row["n"] for row in rows]
    axes.loglog(n, [row["growth"] for row in rows], "o-", color=BLUE, label="η = ε sign(w): ε m n")
    axes.loglog(n, [row["random"] for row in rows], "s--", color=ORANGE, label="random signs: ε √(Σ w²), typical size")
    axes.set(
        xlabel="dimension n", ylabel="change of the activation wᵀx", title="max-norm of the change: .25 throughout"
    )
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
    panels = canvas.subplots(1, 4)
    bound = max(map(abs, details["w"]))
    show_image(panels[0], details["w"], low=-bound, high=bound, colours="PuOr")
    show_image(panels[1], details["sign"], low=-1, high=1, colours="PuOr")
    show_image(panels[2], _mosaic(details["clean"]))
    show_image(panels[3], _mosaic(details["attacked"]))
    for axes, title in zip(panels, ("a) weights", "b) their sign", "c) clean", "d) FGSM(.25)"), strict=True):
        axes.set_title(title, fontsize=11)
    canvas.set_size_inches(10, 2.9)


def _mosaic(images: list[list[float]], rows: int = 4) -> Any:
    """Images in `rows` rows, one picture."""
    tiles = array(images).reshape(rows, -1, 28, 28)
    return tiles.transpose(0, 2, 1, 3).reshape(rows * 28, -1)


def _robustness(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for name, colour, style in (("naive", ORANGE, "s--"), ("adversarial", BLUE, "o-")):
        axes.plot(details["eps"], [100 * e for e in details[name]], style, color=colour, label=f"{name} training")
    axes.set(xlabel="ε of the attack (FGSM)", ylabel="error, %", ylim=(0, 100))
    axes.axvline(0.25, color=GREY, linewidth=1, linestyle=":")
    axes.legend(frameon=False)


def _rubbish(canvas: Any, details: dict[str, Any]) -> None:
    axes, counts = canvas.subplots(), details["by_class"]
    total = max(1, sum(counts))
    bars = axes.bar(range(10), [100 * c / total for c in counts], color=BLUE)
    axes.bar_label(bars, [f"{100 * c / total:.1f}" for c in counts], fontsize=9)
    axes.set(xlabel="class that claims the sample", ylabel="share of the errors, %", xticks=range(10))


def _confidences(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subplots(1, 2)
    edges = [k / 20 for k in range(21)]
    for kind, colour, style in (("clean", BLUE, "-"), ("attacked", ORANGE, "--")):
        shares = [100 * s for s in details["confidence_shares"][kind]]
        left.stairs(shares, edges, color=colour, linestyle=style, linewidth=2, label=kind)
    left.set(xlabel="largest probability", ylabel="share of test images, %", xlim=(0, 1))
    left.legend(frameon=False)
    log = details["log"]
    epochs = [entry["epoch"] for entry in log]
    for key, label, colour, style in (
        ("error", "clean error", GREEN, "^-"),
        ("confidence", "clean confidence", BLUE, "o-"),
        ("adversarial_error", "FGSM error", ORANGE, "s--"),
        ("adversarial_confidence_on_mistakes", "confidence on its mistakes", GREY, "d:"),
    ):
        right.plot(epochs, [100 * entry[key] for entry in log], style, color=colour, label=label)
    right.set(xlabel="epoch", ylabel="% of the validation images", ylim=(0, 100), xticks=epochs)
    right.legend(frameon=False, fontsize=9)
    canvas.set_size_inches(10, 4)


FIGURES = {
    "linear-growth": Drawing(
        "A small change of every input adds up",
        "How much the activation of a linear model changes when every one of n inputs changes by .25: in the "
        "direction of sign(w) it grows like n, with random signs like the square root of n.",
        _growth,
    ),
    "fgsm-softmax": Drawing(
        "Softmax regression under the fast gradient sign method",
        "The first test image of each class, clean and attacked, and what the network says; thick orange frames "
        "are mistakes.",
        _examples,
    ),
    "fgsm-maxout": Drawing(
        "The maxout network under the fast gradient sign method",
        "The first test image of each class, clean and attacked, and what the network says; thick orange frames "
        "are mistakes.",
        _examples,
    ),
    "fig2-logistic": Drawing(
        "Figure 2 of the paper: the attack on logistic regression is exact",
        "a) the weights of logistic regression on threes and sevens; b) their sign, which is the best "
        "perturbation; c) clean test images; d) the same, each pixel moved by .25. People still read them; the "
        "network gets almost all wrong.",
        _logistic,
    ),
    "adv-robust-1600": Drawing(
        "What adversarial training changes",
        "Error under FGSM against its size, on the first 1,000 test images; the dotted line is the size used in "
        "training.",
        _robustness,
    ),
    "rubbish-softmax": Drawing(
        "Which class softmax regression sees in noise",
        "Of the samples of N(0, I) that some class claims with a probability above one half, the share of each class.",
        _rubbish,
    ),
    "rubbish-maxout-softmax": Drawing(
        "Which class the maxout network sees in noise",
        "Of the samples of N(0, I) that some class claims with a probability above one half, the share of each class.",
        _rubbish,
    ),
    "rbf-fgsm": Drawing(
        "An RBF network loses its confidence where it errs",
        "Left: the largest probability over clean and attacked test images. Right: the figures over training, on "
        "the validation images.",
        _confidences,
    ),
}
