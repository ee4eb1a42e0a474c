"""Section 3, the linear explanation: in many dimensions a small change of every input adds up."""

from __future__ import annotations

from typing import Any

from . import BLUE, ORANGE, draws


@draws(
    "linear-growth",
    "A small change of every input adds up",
    "How much the activation of a linear model changes when every one of n inputs changes by ε = 0.25: with the "
    "signs of the weights, and with random signs. Both axes are logarithmic: a line of slope 1 is growth like n, "
    "one of slope 1/2 like the square root of n.",
)
def _draw_growth(canvas: Any, details: dict[str, Any]) -> None:
    axes, rows = canvas.subplots(), details["rows"]
    n = [row["n"] for row in rows]
    axes.loglog(n, [row["growth"] for row in rows], "o-", color=BLUE, label="η = ε sign(w)")
    axes.loglog(n, [row["random"] for row in rows], "s--", color=ORANGE, label="η = ±ε at random, root mean square")
    axes.set(xlabel="dimension n", ylabel="change of the activation wᵀx")
    axes.legend(frameon=False)
