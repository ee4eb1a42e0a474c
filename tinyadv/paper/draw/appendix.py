"""The appendix, rubbish: samples of N(0, I) that belong to no class, and what networks claim of them."""

from __future__ import annotations

from typing import Any

from ..claims import claims
from . import BLUE, GREY, ORANGE, class_marks, class_shares, draws

RUBBISH = (
    "Of the samples of N(0, I) that some class claims with a probability above one half, the share of each class of "
    "largest probability."
)


@draws("rubbish-softmax", "Which class softmax regression sees in noise", RUBBISH)
@draws("rubbish-maxout-softmax", "Which class the maxout network sees in noise", RUBBISH)
@draws("rubbish-maxout-sigmoid", "Which class the maxout network with sigmoids on top sees in noise", RUBBISH)
def _draw_rubbish(canvas: Any, details: dict[str, Any]) -> None:
    class_shares(canvas.subplots(), details["by_class"])


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
    class_marks(axes, paper)


@draws(
    "rubbish-training",
    "Trained on rubbish, and fooled by rubbish that was moved a little",
    "Of samples of N(0, I), the share that some class claims with a probability above one half, after so many steps "
    "of the fast gradient sign towards a random class, each of 0.05.",
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
    axes.set(xlabel="fast gradient sign steps of 0.05", ylabel="samples that some class claims, %", ylim=(0, 100))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="center right")
