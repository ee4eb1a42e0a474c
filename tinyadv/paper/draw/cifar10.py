"""The convolutional maxout network of CIFAR-10: what it sees in noise, and noise that one step makes an airplane."""

from __future__ import annotations

from typing import Any

from ...datasets import CIFAR10_CLASSES
from ..claims import claims
from ..measure.cifar10 import ABSENT
from ..results import pixels
from . import BLUE, GREY, ORANGE, class_marks, class_shares, draws, over_epochs, paper_line

CLASSES = range(len(CIFAR10_CLASSES))
RUBBISH = (
    "Bars: of the samples of N(0, I) in the whitened space that some class claims with a probability above one half, "
    "the share of each class of largest probability."
)


@draws(
    "fgsm-conv-maxout",
    "The convolutional network under the fast gradient sign method, as it trains",
    "Validation images of CIFAR-10 after each epoch of training: the error under FGSM(0.1), along the gradient that "
    "the paper's software computes and along the exact one, on the first 2,000 images, and the clean error, on all "
    "10,000. The thin line is the paper's error under FGSM, on test images.",
)
def _draw_epochs(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for key, label, colour, style in (
        ("adversarial_error", "FGSM, exact gradient", BLUE, "o-"),
        ("software_error", "FGSM, the software's gradient", ORANGE, "s--"),
        ("error", "clean", GREY, "v:"),
    ):
        over_epochs(axes, details["curves"], key, style, color=colour, label=label)
    paper_line(axes, "fgsm-conv-maxout", "error", ORANGE, "FGSM, the paper's")
    axes.set(ylabel="error on validation images, %", ylim=(0, 103))
    axes.legend(frameon=False, fontsize=10, loc="center right")


def _classes(axes: Any) -> None:
    axes.set_xticks(CLASSES, CIFAR10_CLASSES, rotation=40, ha="right", rotation_mode="anchor")


@draws("rubbish-conv", "Which class the convolutional network sees in noise", RUBBISH)
def _draw_rubbish(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    class_shares(axes, details["by_class"])
    _classes(axes)


@draws(
    "rubbish-skew-conv",
    "How uneven the classes are that the convolutional network sees in noise",
    RUBBISH + " Orange diamonds: what the paper gives, the share of frogs, and the five classes that its network never "
    "saw. Dotted: all classes alike.",
)
def _draw_skew(canvas: Any, details: dict[str, Any]) -> None:
    _draw_rubbish(canvas, details)
    axes = canvas.axes[0]
    frogs = claims()["rubbish-skew-conv"].quantity("share_frogs").paper or 0.0
    paper = {"frog": 100 * frogs} | dict.fromkeys(ABSENT, 0.0)
    class_marks(axes, {CIFAR10_CLASSES.index(name): share for name, share in paper.items()})


KINDS = (("before", "no step", GREY), ("gradient", "gradient, scaled", BLUE), ("sign", "gradient's sign", ORANGE))


@draws(
    "fooling-step",
    "One gradient step from noise to a chosen class of CIFAR-10",
    "Left: of samples of N(0, I), the share with p(y = i) of at least one half after one step towards the class i, and "
    "before it; ε = 0.1, and the gradient is scaled to the length of its sign. Black diamonds: the paper's, of an "
    "ε that it does not name. Right: the mean over the classes against the size of the step.",
)
def _draw_fooling_step(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subplots(1, 2, width_ratios=[3, 2])
    for i, (way, label, colour) in enumerate(KINDS):
        left.bar(
            [k + 0.28 * (i - 1) for k in CLASSES],
            [100 * share for share in details["by_class"][way]],
            0.26,
            color=colour,
            label=label,
            hatch="" if way == "gradient" else "///",
            edgecolor="white",
        )
    published = {q.name.removeprefix("success_"): 100 * (q.paper or 0.0) for q in claims()["fooling-step"].published}
    named = [name for name in CIFAR10_CLASSES if name in published]
    places = [CIFAR10_CLASSES.index(name) for name in named]
    left.plot(places, [published[name] for name in named], "D", color="black", label="paper", clip_on=False)
    left.set(xlabel="class that the step goes to", ylabel="success, %", ylim=(0, 100))
    _classes(left)
    left.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=10)
    for (way, label, colour), style in zip(KINDS[1:], ("o-", "s--"), strict=True):
        shares = [100 * share for share in details["by_size"][way]]
        right.plot(details["sizes"], shares, style, color=colour, label=label, clip_on=False)
    right.axhline(published["mean"], color="black", linestyle=":", linewidth=1.5, label="paper")
    right.set(xlabel="ε, in standard deviations of the noise", ylabel="success, mean of the classes, %", ylim=(0, 100))
    right.legend(frameon=False, fontsize=10)
    canvas.set_size_inches(11, 4)


SPACES = {
    "pixels": "drawn in pixel space, with the mean brightness and contrast of CIFAR-10",
    "whitened": "drawn in the whitened space: CIFAR-10, which leads back to pixels, was not at hand",
}
IN_A_ROW = 8  # images
# what is black and what is white: of pixels as usual, of whitened ones four standard deviations of the noise
RANGES = {"pixels": (0.0, 1.0), "whitened": (-4.0, 4.0)}


@draws(
    "fig5-fooling",
    "Figure 5: random images that fool a network into seeing an airplane",
    "Samples of N(0, I) after one step of ε = 0.1 times the gradient's sign towards the airplane. Thick orange frames "
    "are those that fool the network: it says that an airplane is there with a probability of at least one half. Under "
    "the images stands in which space they are drawn.",
)
def _draw_fig5(canvas: Any, details: dict[str, Any]) -> None:
    images, (low, high) = details["images"], RANGES[details["space"]]
    grid = canvas.subplots(-(-len(images) // IN_A_ROW), IN_A_ROW, squeeze=False).flat
    for axes, image, framed in zip(grid, images, details["framed"], strict=False):
        in_colours = pixels(image).reshape(3, 32, 32).transpose(1, 2, 0)
        axes.imshow(((in_colours - low) / (high - low)).clip(0, 1), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=ORANGE if framed else GREY, linewidth=3 if framed else 0.5)
    canvas.supxlabel(SPACES[details["space"]], fontsize=9, color=GREY)
    canvas.set_size_inches(10, 4.4)
