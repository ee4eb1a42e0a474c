"""The appendix, rubbish: samples of N(0, I) that belong to no class, and what networks claim of them."""

from __future__ import annotations

import math
from typing import Any

from ..claims import claims
from . import BLUE, GREEN, GREY, ORANGE, draws, show_image

RUBBISH = (
    "Of the samples of N(0, I) that some class claims with a probability above one half, the share of each class of "
    "largest probability."
)


@draws("rubbish-softmax", "Which class softmax regression sees in noise", RUBBISH)
@draws("rubbish-maxout-softmax", "Which class the maxout network sees in noise", RUBBISH)
@draws("rubbish-maxout-sigmoid", "Which class the maxout network with sigmoids on top sees in noise", RUBBISH)
def _draw_rubbish(canvas: Any, details: dict[str, Any]) -> None:
    axes, counts = canvas.subplots(), details["by_class"]
    total = max(1, sum(counts))
    bars = axes.bar(range(10), [100 * c / total for c in counts], color=BLUE)
    axes.bar_label(bars, [f"{100 * c / total:.1f}" for c in counts])
    axes.set(xlabel="class that claims the sample", ylabel=f"share of {sum(counts):,} errors, %", xticks=range(10))


@draws(
    "rubbish-skew",
    "How uneven the classes are that a maxout network sees in noise",
    "Bars: the share of each class among the samples of N(0, I) that some class claims. Orange diamonds: the two "
    "shares that the paper gives, fives and eights. Dotted: all classes alike.",
)
def _draw_skew(canvas: Any, details: dict[str, Any]) -> None:
    _draw_rubbish(canvas, details)
    axes = canvas.axes[0]
    paper = {
        int(name): 100 * (q.paper or 0.0) for name, q in zip((5, 8), claims()["rubbish-skew"].published, strict=True)
    }
    axes.plot(list(paper), list(paper.values()), "D", color=ORANGE, label="the paper's network", clip_on=False)
    axes.axhline(10, color=GREY, linestyle=":", linewidth=1.5, label="all classes alike")
    axes.legend(frameon=False)


WAYS = {"gradient": "gradient, scaled", "sign": "gradient's sign", "raw": "ε∇p, not scaled"}


@draws(
    "fooling-step",
    "One gradient step from noise to a chosen digit",
    "Left: of samples of N(0, I), the share with p(y = i) of at least one half after one step towards the digit i, and "
    "before it; ε = .25, and the gradient is scaled to the length of its sign. Right: the mean over the digits against "
    "the size of the step; ε∇p as it is, not scaled, is so short that it hardly moves a sample.",
)
def _draw_fooling_step(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subplots(1, 2, width_ratios=[3, 2])
    kinds = (("before", "no step", GREY), ("gradient", WAYS["gradient"], BLUE), ("sign", WAYS["sign"], ORANGE))
    for i, (way, label, colour) in enumerate(kinds):
        shares = [100 * s for s in details["by_class"][way]]
        hatch = "" if way == "gradient" else "///"
        left.bar(
            [k + 0.28 * (i - 1) for k in range(10)],
            shares,
            0.26,
            color=colour,
            label=label,
            hatch=hatch,
            edgecolor="white",
        )
    left.set(xlabel="digit that the step goes to", ylabel="success, %", xticks=range(10), ylim=(0, 100))
    left.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=10)
    for (way, label), colour, style in zip(WAYS.items(), (BLUE, ORANGE, GREEN), ("o-", "s--", "^:"), strict=True):
        right.plot(
            details["sizes"],
            [100 * s for s in details["by_size"][way]],
            style,
            color=colour,
            label=label,
            clip_on=False,
        )
    right.set(xlabel="ε, in standard deviations of the noise", ylabel="success, mean of the digits, %", ylim=(0, 100))
    right.legend(frameon=False, fontsize=10)
    canvas.set_size_inches(10, 4)


@draws(
    "fig5-fooling",
    "Random fooling images for digits, as in figure 5 of the paper",
    "Samples of N(0, I) after one step of the gradient's sign, ε = .25, towards a digit. Thick orange frames are those "
    "that fool the network: it says that the digit is there with a probability of at least one half. Left: the digit "
    "that is hardest to reach, as the paper shows the airplane; right: all ten. Black is the lowest value of the "
    "images, white the highest.",
)
def _draw_fig5(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subfigures(1, 2, width_ratios=[2, 3])
    many, rows = details["hardest_images"], len(details["images"][0])
    side, hardest = math.isqrt(len(many)), details["hardest"]
    grid = left.subplots(side, side, squeeze=False)
    for i, image in enumerate(many):
        _framed(grid[divmod(i, side)], image, details["framed"][hardest][i])
    left.suptitle(f"towards {hardest}, the hardest")
    grid = right.subplots(rows, 10, squeeze=False)
    for k, images in enumerate(details["images"]):
        for i, image in enumerate(images):
            _framed(grid[i, k], image, details["framed"][k][i])
        grid[0, k].set_title(str(k))
    right.suptitle("towards each digit")
    canvas.set_size_inches(10, 4)


def _framed(axes: Any, image: Any, framed: bool) -> None:
    show_image(axes, image, low=-4, high=4)
    axes.spines[:].set(color=ORANGE if framed else GREY, linewidth=2.5 if framed else 0.5)


@draws(
    "rubbish-training",
    "Trained on rubbish, and fooled by rubbish that was moved a little",
    "Of samples of N(0, I), the share that some class claims with a probability above one half, after so many steps "
    "of the fast gradient sign towards a random class, each of .05.",
)
def _draw_training(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for name, label, colour, style in (
        ("without", "without rubbish training", GREY, "^:"),
        ("trained", "uniform under a softmax", BLUE, "o-"),
        ("sigmoids", "none under sigmoids", ORANGE, "s--"),
    ):
        shares = [100 * s for s in details["fooled"][name]]
        axes.plot(range(len(shares)), shares, style, color=colour, label=label, clip_on=False, markevery=2)
    axes.set(xlabel="fast gradient sign steps of .05", ylabel="samples that some class claims, %", ylim=(0, 100))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="center right")
