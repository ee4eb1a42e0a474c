"""Section 2, what came before: adversarial examples by box-constrained L-BFGS, and what each of them costs."""

from __future__ import annotations

from typing import Any

from . import BLUE, ORANGE, draws, show_image


@draws(
    "lbfgs-baseline",
    "Adversarial examples by L-BFGS and by one step of FGSM",
    "Test images, the closest images that L-BFGS finds and that the network takes for the class named above them, and "
    "the same test images after FGSM(0.25). Black is −0.25 and white 1.25 in all rows.",
)
def _draw_lbfgs(canvas: Any, details: dict[str, Any]) -> None:
    n = len(details["label"])
    grid = canvas.subplots(3, max(1, n), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, (kind, words) in enumerate((("clean", "label"), ("lbfgs", "target"), ("fgsm", None))):
        for k in range(n):
            axes = grid[row, k]
            axes.set_axis_on()
            title = "" if words is None else f"{'' if row == 0 else 'says '}{details[words][k]}"
            show_image(axes, details[kind][k], title)
            if row:
                axes.spines[:].set(color=ORANGE if row == 1 else BLUE, linewidth=1.5)
            if k == 0:
                axes.set_ylabel(("clean", "L-BFGS", "FGSM(0.25)")[row])
    canvas.set_size_inches(10, 4.4)
