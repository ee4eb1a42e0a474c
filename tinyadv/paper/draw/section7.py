"""Section 7, other kinds of capacity: RBF networks can decline to answer, and deep ones are hard to train."""

from __future__ import annotations

from math import nan
from typing import Any

from . import BLUE, GREEN, GREY, ORANGE, draws


@draws(
    "rbf-fgsm",
    "How confident an RBF network is, clean and under attack",
    "Left: the largest probability over clean and attacked test images. Right: errors and confidences over "
    "training, on validation images, where J is the sum of squared errors, and where it is that of binary "
    "cross-entropies.",
)
def _draw_confidences(canvas: Any, details: dict[str, Any]) -> None:
    left, *panels = canvas.subplots(1, 3)
    edges = [k / 20 for k in range(21)]
    for kind, colour, style in (("clean", BLUE, "-"), ("attacked", ORANGE, "--")):
        shares = [100 * s for s in details["confidence_shares"][kind]]
        left.stairs(shares, edges, color=colour, linestyle=style, linewidth=2, label=kind)
    left.set(xlabel="largest probability", ylabel="share of test images, %", xlim=(0, 1))
    left.legend(frameon=False)
    for axes, key, title in zip(
        panels, ("log", "log_cross_entropy"), ("J: squared errors", "J: binary cross-entropies"), strict=True
    ):
        _draw_log(axes, details[key])
        axes.set(xlabel="epoch", ylabel="% on validation images", ylim=(0, 100), title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[1].legend(frameon=False, fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.set_size_inches(11, 3.6)


def _draw_log(axes: Any, log: list[dict[str, Any]]) -> None:
    epochs, gap = [entry["epoch"] for entry in log], max(1, len(log) // 10)
    for key, label, colour, style in (
        ("error", "clean error", GREEN, "^-"),
        ("confidence", "clean confidence", BLUE, "o-"),
        ("adversarial_error", "FGSM error", ORANGE, "s--"),
        ("adversarial_confidence_on_mistakes", "confidence\non its mistakes", GREY, "d:"),
    ):
        figures = [nan if entry[key] is None else 100 * entry[key] for entry in log]  # no mistakes, no confidence
        axes.plot(epochs, figures, style, color=colour, label=label, markevery=gap)


@draws(
    "rbf-deep",
    "What resists is hard to train",
    "Deep networks of RBF and quadratic units, each at the learning rate of its lowest training error, and the shallow "
    "RBF and the maxout network: training error, error under FGSM(0.25), and confidence on its mistakes. A network "
    "resists if the second is below 50 % or the third below 10 %.",
)
def _draw_deep(canvas: Any, details: dict[str, Any]) -> None:
    axes, rows = canvas.subplots(), details["networks"]
    names = [_name(row["name"]) for row in rows]
    for offset, key, label, colour, mark in (
        (-0.2, "training_error", "training error", BLUE, ""),
        (0.0, "error", "FGSM error", ORANGE, "//"),
        (0.2, "confidence_on_mistakes", "confidence on mistakes", GREY, ".."),
    ):
        shares = [row[key] for row in rows]  # no mistakes, no confidence
        widths = [0.0 if share is None else 100 * share for share in shares]
        places = [i + offset for i in range(len(rows))]
        bars = axes.barh(places, widths, 0.2, color=colour, hatch=mark, edgecolor="black", linewidth=0.5, label=label)
        texts = ["—" if share is None else f"{100 * share:.1f}" for share in shares]
        axes.bar_label(bars, texts, padding=2, fontsize=9)
    labels = [f"{name}{' (resists)' if row['resists'] else ''}" for name, row in zip(names, rows, strict=True)]
    axes.set(xlabel="%", xlim=(0, 112), yticks=range(len(rows)), yticklabels=labels)
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    canvas.set_size_inches(10.5, 4.8)


def _name(key: str) -> str:
    """What a deep network of `recipes.QUADRATIC` is called in the figure."""
    kind, _, start = key.partition(":")
    names = {
        "quadratic": f"quadratic units, inhibition from {start}",
        "rbf_softmax": f"deep RBF under a softmax, β from {start}",
        "rbf": f"deep RBF, β from {start}",
        "rbf_squared": f"deep RBF, squared errors, β from {start} and 1",
        "shallow": "shallow RBF",
    }
    return names.get(kind, key)
