"""Section 4, the fast gradient sign method: one step of it, and a rotation, against softmax regression and maxout."""

from __future__ import annotations

from math import nan
from typing import Any

from . import BLUE, GREEN, GREY, ORANGE, draws, over_epochs, paper_line, show_image

EXAMPLES = (
    "The first test image of each class, clean and attacked, and what the network says; thick orange frames are "
    "mistakes. Black is −0.25 and white 1.25 in both rows, because attacked pixels leave [0, 1]. Below: "
)


@draws(
    "fgsm-softmax",
    "Softmax regression under the fast gradient sign method",
    EXAMPLES + "what the attack does after each epoch of two trainings, with and without weight decay, against ‖W‖₁. "
    "The diamond is the network measured.",
)
def _draw_softmax(canvas: Any, details: dict[str, Any]) -> None:
    axes = _draw_examples(canvas, details)
    styles = ((BLUE, "o-"), (GREEN, "^-."))
    for (l2, entries), (colour, style) in zip(details["trajectories"].items(), styles, strict=True):
        decay = "no decay" if l2 == "0" else f"decay {l2}"
        norms = [entry["weights_l1"] for entry in entries]
        axes.plot(
            norms, _percents(entries, "confidence_on_mistakes"), style, color=colour, label=f"confidence, {decay}"
        )
        if l2 == "0":
            axes.plot(norms, _percents(entries, "error"), "s--", color=ORANGE, label=f"FGSM error, {decay}")
            axes.plot(norms, _percents(entries, "clean_error"), "v:", color=GREY, label=f"clean error, {decay}")
    (confidence,) = _percents([details["measured"]], "confidence_on_mistakes")
    axes.plot(
        [details["measured"]["weights_l1"]],
        [confidence],
        "D",
        color="black",
        markersize=9,
        label="confidence, network measured",
    )
    axes.set(xlabel="‖W‖₁ of the network", ylabel="% of test images", ylim=(0, 103))
    axes.legend(frameon=False, fontsize=10, loc="center", ncols=2)


@draws(
    "fgsm-maxout",
    "The maxout network under the fast gradient sign method",
    EXAMPLES + "the attack on validation images after each epoch of training, with the gradient of the paper's "
    "software where that was logged, and pale with the exact one. The thin lines are the paper's numbers, on test "
    "images, and diamonds ours there with the gradient of its software.",
)
def _draw_maxout(canvas: Any, details: dict[str, Any]) -> None:
    axes, log = _draw_examples(canvas, details), details["log"]
    for key, label, colour, style, pale in (
        ("software_confidence_on_mistakes", "confidence on mistakes", BLUE, "o-", False),
        ("adversarial_confidence_on_mistakes", "confidence on mistakes, exact gradient", BLUE, "o-", True),
        ("software_error", "FGSM error", ORANGE, "s--", False),
        ("adversarial_error", "FGSM error, exact gradient", ORANGE, "s--", True),
        ("error", "clean error", GREY, "v:", False),
    ):
        entries = [entry for entry in log if key in entry]
        if entries:
            curve = {name: [entry[name] for entry in entries] for name in ("epoch", key)}
            over_epochs(axes, curve, key, style, color=colour, alpha=0.4 if pale else 1.0, label=label)
    paper_line(axes, "fgsm-maxout", "confidence_on_mistakes", BLUE, "confidence on mistakes, the paper's")
    paper_line(axes, "fgsm-maxout", "error", ORANGE, "FGSM error, the paper's", "--")
    for key, colour in (("confidence_on_mistakes", BLUE), ("error", ORANGE)):
        for point in details["software"]:
            (share,) = _percents([point], key)
            axes.plot([point["epochs"]], [share], "D", color=colour, markersize=8, clip_on=False)
    axes.set(ylabel="% of validation images", ylim=(0, 103))
    axes.legend(frameon=False, fontsize=10, loc="center", ncols=2)


def _percents(entries: list[dict[str, Any]], key: str) -> list[float]:
    """In percent; where there were no mistakes there is no confidence, and a gap in the line."""
    return [nan if entry[key] is None else 100 * entry[key] for entry in entries]


def _draw_examples(canvas: Any, details: dict[str, Any]) -> Any:
    """Two rows of images; the axes below them, for what differs between the claims."""
    examples = details["examples"]
    layout = canvas.add_gridspec(3, 10, height_ratios=(1, 1, 2.4))
    for row, kind in enumerate(("clean", "attacked")):
        for k in range(10):
            axes, said = canvas.add_subplot(layout[row, k]), examples[f"said_{kind}"][k]
            show_image(axes, examples[kind][k], f"says {said}")
            right = said == examples["label"][k]
            axes.spines[:].set(color=GREEN if right else ORANGE, linewidth=1.5 if right else 3)
            if k == 0:
                axes.set_ylabel("clean" if row == 0 else "FGSM(0.25)")
    canvas.set_size_inches(10, 4.7)
    return canvas.add_subplot(layout[2, :])


@draws(
    "rotation-attack",
    "Images turned towards the gradient",
    "Error on the test images against the angle by which each is turned, in the plane of the image and its gradient; "
    "its length stays the same. Beside it the same turn towards a random direction.",
)
def _draw_rotation(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for kind, label, colour, style in (
        ("softmax", "softmax regression", BLUE, "o-"),
        ("maxout", "maxout network", ORANGE, "s--"),
        ("softmax_random", "softmax regression, random direction", GREEN, "^-."),
        ("maxout_random", "maxout network, random direction", GREY, "v:"),
    ):
        errors = [100 * error for error in details[kind]]
        degrees = details["random_degrees" if kind.endswith("random") else "degrees"]
        axes.plot(degrees, errors, style, color=colour, label=label, clip_on=False)
    axes.set(xlabel="angle of the rotation, degrees", ylabel="error, %", ylim=(0, 100), xticks=details["degrees"])
    axes.legend(frameon=False, loc="center right")
