"""Section 8, why adversarial examples generalize: what fools one network fools another, and into the same class."""

from __future__ import annotations

from itertools import pairwise
from math import nan
from typing import Any

from . import BLUE, GREEN, GREY, ORANGE, draws, show_image


@draws(
    "transfer-subsets",
    "What fools one network fools the others",
    "Rows: the network that the FGSM(0.25) examples were made on; columns: the network that they are shown to. Each "
    "architecture is trained twice, on two halves of the training images that share none. Left: error in %; under the "
    "matrix, the error under random signs ±0.25. Right: among the images that both get wrong, in how many % they say "
    "the same class (11 if wrong answers were spread evenly).",
)
def _draw_matrices(canvas: Any, details: dict[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    left, right = canvas.subplots(1, 2)
    shades = LinearSegmentedColormap.from_list("share", ["white", BLUE])
    pairs = [name.split("/") for name in details["names"]]
    names = [f"{'RBF' if kind == 'rbf' else kind} {int(half) + 1}" for kind, half in pairs]
    for axes, rows, title in (
        (left, [*details["error"], details["random_error"]], "error, %"),
        (right, details["agreement"], "agreement where both err, %"),
    ):
        shares = [[nan if v is None else 100 * v for v in row] for row in rows]
        if axes is right:  # a network agrees with itself
            shares = [[nan if i == j else v for j, v in enumerate(row)] for i, row in enumerate(shares)]
        axes.imshow(shares, cmap=shades, vmin=0, vmax=100)
        for i, row in enumerate(shares):
            for j, v in enumerate(row):
                if v == v:
                    axes.text(j, i, f"{v:.0f}", ha="center", va="center", color="white" if v > 60 else "black")
        made = [*names, "random signs"][: len(shares)]
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(made)), made)
        axes.set(title=title, xlabel="shown to", ylabel="made on")
    canvas.set_size_inches(10.5, 4.7)


SHOWN = (-10.0, -5.0, -3.0, -2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)  # images in the figure


@draws(
    "fig4-eps-trace",
    "Along the direction of FGSM, as in figure 4 of the paper",
    "The ten logits of the naive maxout network at x + ε·sign(∇ₓJ) for a test image x of a 4, with the gradient "
    "of the paper's software and with the exact one; every curve has its class at its ends, in their order, and where "
    "the range is green the image is classified as a 4. Right: some of the images along the software's gradient, with "
    "ε above each; thick green frames are those classified as a 4. Pixels below −1 are black, above 2 white.",
)
def _draw_trace(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subfigures(1, 2, width_ratios=(1.9, 1))
    four, panes = details["four"], {"the software's gradient": details["four"]}
    if "four_exact" in details:  # results from before both were measured have one
        panes["the exact gradient"] = details["four_exact"]
    for axes, (title, line) in zip(left.subplots(1, len(panes), squeeze=False)[0], panes.items(), strict=True):
        _draw_logits(axes, line)
        axes.set(title=title, xlabel="ε, in units of pixels from 0 to 1")
    eps, right_class = four["eps"], _right_class(four)
    for panel, e in zip(right.subplots(5, 3).ravel(), SHOWN, strict=True):
        at = min(range(len(eps)), key=lambda i: abs(eps[i] - e))
        image = [v + eps[at] * d for v, d in zip(four["x"], four["direction"], strict=True)]
        show_image(panel, image, f"{e:g}".replace("-", "−"), low=-1, high=2)
        panel.spines[:].set(color=GREEN if right_class[at] else GREY, linewidth=4 if right_class[at] else 0.8)
    canvas.set_size_inches(10.5, 4.8)


def _draw_logits(axes: Any, line: dict[str, Any]) -> None:
    """The ten logits along a line, and where the class is right."""
    eps, logits, label = line["eps"], line["logits"], line["label"]
    low, high = min(map(min, logits)), max(map(max, logits))
    for k, curve in enumerate(zip(*logits, strict=True)):
        style = {"color": BLUE, "linewidth": 3} if k == label else {"color": GREY, "linewidth": 1.2, "linestyle": "--"}
        axes.plot(eps, curve, label=f"class {k}", **style)
    for end, side, shift in ((0, "right", -0.4), (-1, "left", 0.4)):
        for k, height in enumerate(_apart(logits[end], (high - low) / 22)):
            axes.text(eps[end] + shift, height, str(k), ha=side, va="center", color=BLUE if k == label else "black")
    half = (eps[1] - eps[0]) / 2
    for e in (e for e, correct in zip(eps, _right_class(line), strict=True) if correct):
        axes.axvspan(e - half, e + half, color=GREEN, alpha=0.3, linewidth=0)
    axes.set(ylabel="logit", xlim=(-11.8, 11.8), ylim=(1.12 * low, 1.12 * high))


def _right_class(line: dict[str, Any]) -> list[bool]:
    """Where on a line the class of its image has the largest logit."""
    return [max(range(len(z)), key=z.__getitem__) == line["label"] for z in line["logits"]]


def _apart(heights: list[float], gap: float) -> list[float]:
    """Heights for labels near those of their curves, none nearer to another than about `gap`."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = list(heights)
    for _ in range(100):
        for a, b in pairwise(order):
            if (short := gap - (moved[b] - moved[a])) > 0:
                moved[a], moved[b] = moved[a] - short / 2, moved[b] + short / 2
    return moved


@draws(
    "universal-direction",
    "One perturbation for all images of a class",
    "Left: for each class the sign of the mean input gradient over those of the first 10,000 training images, the one "
    "perturbation that is added to all test images of the class; white raises a pixel by 0.25, black lowers it, grey "
    "leaves it. Right: the error that it causes, beside that under each image's own FGSM perturbation, under that of "
    "another image of the class, and under random signs of the same size.",
)
def _draw_universal(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subfigures(1, 2)
    for k, (panel, pattern) in enumerate(zip(left.subplots(2, 5).ravel(), details["patterns"], strict=True)):
        show_image(panel, pattern, str(k), low=-1, high=1)
    axes = right.subplots()
    kinds = (
        ("error", "its own (FGSM)", "o-", GREY),
        ("error_swapped", "another image's", "s--", ORANGE),
        ("error_common", "one for the class", "^-", BLUE),
        ("error_random", "random signs", "d:", GREEN),
    )
    for name, label, style, colour in kinds:
        axes.plot(
            range(10), [100 * e for e in details["by_class"][name]], style, color=colour, label=label, clip_on=False
        )
    axes.set(xlabel="class", ylabel="error, %", ylim=(0, 100), xticks=range(10))
    axes.legend(frameon=False, title="perturbation", fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.set_size_inches(10.5, 3.8)
