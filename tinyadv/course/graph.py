"""A picture of how a number was computed: each Tensor a box, each argument an arrow. For lesson 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def draw_graph(axes: Any, y: Any, label: Callable[[Any], str]) -> None:
    """Draw on matplotlib's `axes` the Tensors that `y` was computed from, left to right, and arrows between them.

    Parameters
    ----------
    y : a Tensor, of the package or of lesson 4
        Its `args` are Tensors, or whatever else an operation was given; that is not drawn.
    label : callable
        The text in a Tensor's box.
    """
    columns = _columns(y)
    places = {}
    for across, column in enumerate(columns):
        for i, t in enumerate(column):
            places[id(t)] = across, (len(column) - 1) / 2 - i
    tallest = max(map(len, columns))
    for column in columns:
        for t in column:
            end = places[id(t)]
            for a in _arguments(t):
                start = places[id(a)]
                # one box too far right of its argument: the arrow bends, so as not to run through what is between
                bend = 0.0 if end[0] - start[0] == 1 else 0.25
                arrow = {"arrowstyle": "-|>", "color": "#555555", "shrinkA": 24, "shrinkB": 24}
                axes.annotate("", end, start, arrowprops={**arrow, "connectionstyle": f"arc3,rad={bend}"})
    for column in columns:
        for t in column:
            given = not _arguments(t)
            box = {"boxstyle": "round,pad=0.35", "facecolor": "#DCEBF7" if given else "white", "edgecolor": "#0072B2"}
            axes.text(*places[id(t)], label(t), ha="center", va="center", fontsize=9, bbox=box)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-tallest / 2 - 0.1, tallest / 2 + 0.1))
    axes.axis("off")


def _arguments(t: Any) -> list[Any]:
    return [a for a in t.args if hasattr(a, "args")]


def _columns(y: Any) -> list[list[Any]]:
    """The Tensors, by how many operations at most lie between each and what was given."""
    depths: dict[int, int] = {}
    found: list[Any] = []

    def visit(t: Any) -> int:
        if id(t) not in depths:
            depths[id(t)] = 1 + max((visit(a) for a in _arguments(t)), default=-1)
            found.append(t)
        return depths[id(t)]

    visit(y)
    columns: list[list[Any]] = [[] for _ in range(depths[id(y)] + 1)]
    for t in found:
        columns[depths[id(t)]].append(t)
    return columns
