"""Section 9, alternative hypotheses: averaging many networks resists no better than one does."""

from __future__ import annotations

from typing import Any

from . import BLUE, GREY, ORANGE, draws


@draws(
    "ensemble-12",
    "Averaging many networks is no defence",
    "Error of an ensemble under FGSM(0.25) against the number of its members, on the first 1,000 test images: made "
    "against the whole ensemble (the mean probability), against its first member alone, and clean.",
)
def _draw_sizes(canvas: Any, details: dict[str, Any]) -> None:
    axes, sizes = canvas.subplots(), details["sizes"]
    for name, label, style, colour in (
        ("ensemble", "made against the whole ensemble", "o-", BLUE),
        ("member", "made against the first member", "s--", ORANGE),
        ("clean", "clean images", "^:", GREY),
    ):
        axes.plot(sizes["members"], [100 * e for e in sizes[name]], style, color=colour, label=label, clip_on=False)
    axes.set(
        xlabel="networks in the ensemble", ylabel="error of the ensemble, %", ylim=(0, 100), xticks=sizes["members"]
    )
    axes.legend(frameon=False, loc="center right")
