"""Section 6, the controls: noise in place of the attack, attacks that are trained through, hidden layers perturbed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..measure.section6_controls import PLACES, Row
from . import BLUE, GREEN, GREY, ORANGE, draws, over_epochs, paper_line


def _bars(axes: Any, rows: list[Row], names: Mapping[str, str], key: str, label: str, colour: str) -> None:
    """A bar for each row that has the share `key`, with its interval if it has one, and its value written above."""
    shown = [row for row in rows if key in row]
    shares = [100 * row[key][0] for row in shown]
    axes.bar(range(len(shown)), shares, color=colour, width=0.7)
    ends = [row[key] if len(row[key]) == 3 else [row[key][0]] * 3 for row in shown]
    # at no and at only mistakes rounding may put an end of the interval on the wrong side
    below = [100 * max(0.0, share - low) for share, low, _ in ends]
    above = [100 * max(0.0, high - share) for share, _, high in ends]
    axes.errorbar(range(len(shown)), shares, yerr=[below, above], fmt="none", color="black", capsize=4, linewidth=1.5)
    for i, (share, _, high) in enumerate(ends):  # written above the interval, not across it
        place, text = (i, 100 * max(share, high)), f"{100 * share:.3g}"
        axes.annotate(text, place, xytext=(0, 3), textcoords="offset points", ha="center", va="bottom")
    axes.set(ylabel=label, xticks=range(len(shown)), xticklabels=[names[row["network"]] for row in shown])
    axes.set_ylim(0, 1.15 * max([*(100 * end[2] for end in ends), 1e-9]))


def _in_order(rows: list[Row], names: Mapping[str, str]) -> list[Row]:
    """The rows, in the order in which `names` has their networks."""
    order = list(names)
    return sorted(rows, key=lambda row: order.index(row["network"]))


@draws(
    "noise-sign",
    "Noise is no substitute for the attack",
    "Errors on the test images of maxout networks. The names under the bars say what they were trained with: ±ε and "
    "U(−ε, ε) are noise of the attack's size. (By the published protocol the naive one has its "
    "second stage too, on all training images.) Black lines are 95 % intervals. Right, where it was logged: the error "
    "under FGSM(0.25) on validation images after each epoch of training with noise, by the software's gradient. A thin "
    "line is the paper's number for a network, on test images.",
)
def _draw_noise(canvas: Any, details: dict[str, Any]) -> None:
    names = {"naive": "naive", "sign": "±ε", "uniform": "U(−ε, ε)", "fgsm": "FGSM"}
    logs = details.get("logs", {})
    panels = canvas.subplots(1, 3 if logs else 2)
    clean, attacked = panels[:2]
    _bars(clean, details["rows"], names, "clean_error", "clean error, %", BLUE)
    _bars(attacked, details["rows"], names, "error", "error under FGSM(0.25), %", ORANGE)
    for axes in (clean, attacked):
        axes.set_xlabel("trained with")
    if logs:
        training = panels[2]
        for name, colour, style in (("sign", BLUE, "o-"), ("uniform", GREEN, "^-.")):
            if name in logs:
                over_epochs(training, logs[name], "software_error", style, color=colour, label=names[name])
                paper_line(training, f"noise-{name}", "error", colour, f"{names[name]}, the paper's")
        training.set(ylabel="error on validation images, FGSM(0.25), %", ylim=(0, 103))
        training.legend(frameon=False, loc="lower right")
    canvas.set_size_inches(13 if logs else 9, 4)


@draws(
    "through-attack",
    "Training through the attack",
    "Errors on the test images of maxout networks that were trained equally long: naively, with FGSM, and through a "
    "rotation and a scaled gradient: there the gradient of training also goes through the attack. An error under FGSM "
    "below the clean error means that the perturbation tells the label. Lines are 95 % intervals.",
)
def _draw_through(canvas: Any, details: dict[str, Any]) -> None:
    names = {"naive": "naive", "fgsm": "FGSM", "rotation": "rotation", "scaled": "scaled\ngradient"}
    rows = _in_order(details["rows"], names)
    panels = canvas.subplots(1, 3)
    _bars(panels[0], rows, names, "clean_error", "clean error, %", BLUE)
    _bars(panels[1], rows, names, "error", "error under FGSM(0.25), %", ORANGE)
    _bars(panels[2], rows, names, "pgd_error", "error under PGD, 20 steps, first images, %", GREEN)
    canvas.set_size_inches(11, 4.2)


@draws(
    "hidden-additive",
    "The fast gradient sign method on hidden activations",
    "Maxout networks trained equally long: naively, with FGSM(0.25) on the input, and on the first hidden layer's "
    "activations. Left, the mean absolute activation of the hidden layers over the test images; then errors, with 95 % "
    "intervals.",
)
def _draw_additive(canvas: Any, details: dict[str, Any]) -> None:
    names = {"naive": "naive", "input": "input", "hidden": "hidden"}
    rows = _in_order(details["rows"], names)
    panels = canvas.subplots(1, 3)
    for layer, (label, colour, hatch) in enumerate((("first layer", GREEN, ""), ("second layer", GREY, "//"))):
        places = [i + 0.38 * (layer - 0.5) for i in range(len(rows))]
        sizes = [row["activation"][layer] for row in rows]
        bars = panels[0].bar(places, sizes, width=0.36, color=colour, hatch=hatch, edgecolor="white", label=label)
        panels[0].bar_label(bars, [f"{size:,.0f}" if size >= 10 else f"{size:.2g}" for size in sizes])
    panels[0].set(ylabel="mean absolute activation", xticks=range(len(rows)))
    panels[0].set_xticklabels([names[row["network"]] for row in rows])
    panels[0].legend(frameon=False)
    _bars(panels[1], rows, names, "clean_error", "clean error, %", BLUE)
    _bars(panels[2], rows, names, "error", "error under FGSM(0.25), %", ORANGE)
    canvas.set_size_inches(11, 4.2)


@draws(
    "hidden-saturating",
    "Units that saturate: the input perturbed, or the first hidden layer",
    "Errors on the test images, with 95 % intervals, of networks of sigmoid units, of Rust units as a draft "
    "of the paper has them, and of the same without square roots.",
)
def _draw_saturating(canvas: Any, details: dict[str, Any]) -> None:
    names = {"input": "sigmoid,\ninput", "hidden": "sigmoid,\nhidden"}
    names |= {"input_rust": "Rust,\ninput", "hidden_rust": "Rust,\nhidden"}
    names |= {"input_rust_squared": "no roots,\ninput", "hidden_rust_squared": "no roots,\nhidden"}
    rows = _in_order(details["rows"], names)
    left, right = canvas.subplots(1, 2)
    _bars(left, rows, names, "clean_error", "clean error, %", BLUE)
    _bars(right, rows, names, "error", "error under FGSM(0.25), %", ORANGE)
    canvas.set_size_inches(11, 4)


@draws(
    "hidden-last",
    "Which hidden layer is perturbed",
    "Maxout networks trained equally long with the activations of the first, the last or both hidden layers perturbed, "
    "additively or by a rotation: error on the clean training images, and on the test images with 95 % intervals.",
)
def _draw_last(canvas: Any, details: dict[str, Any]) -> None:
    names = {place: f"{place},\nadded" for place in PLACES} | {f"{p}_rotation": f"{p},\nturned" for p in PLACES}
    left, right = canvas.subplots(1, 2)
    _bars(left, details["rows"], names, "training_error", "training error, %", GREY)
    _bars(right, details["rows"], names, "clean_error", "clean test error, %", BLUE)
    canvas.set_size_inches(11, 4)
