"""What the paper leaves open, varied: a measurement's small table of variations, and the one that comes nearest.

A measurement may hold `details["variations"]`: {"columns", "rows", "formats"}, a row for each variation, its name
first, the measurement's own definition in the first row. Out of it comes the sentence that says why a number differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Any

from .registry import Quantity, claims
from .results import Result, format_paper, format_value


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], formats: Sequence[str] | None = None
) -> dict[str, Any]:
    """Variations as `details["variations"]`: in each row a name and numbers, by default shares; `columns` names all.

    `formats` has "percent" or "number" for each column of numbers.
    """
    numbers = formats or ["percent"] * (len(columns) - 1)
    return {"columns": list(columns), "rows": [list(row) for row in rows], "formats": ["text", *numbers]}


ROUNDED = "the gradient p − t rounded in float32"  # see `rounding`
WAYS = ("FGSM error", "confidence on mistakes", "p of the true class rounds to 1")


def ways(what: str, v: Mapping[str, float]) -> list[list[Any]]:
    """A network under three kinds of FGSM, a row each, of what `measuring.under_fgsm` found; the columns are `WAYS`."""
    kinds = {"as defined": "", "clipped to [0, 1]": "_clipped", ROUNDED: "_rounded"}
    return [
        [kind + what, v[f"error{end}"], v[f"confidence_on_mistakes{end}"], v["certain_share"]]
        for kind, end in kinds.items()
    ]


def nearest(result: Result, *names: str) -> str:
    """The sentence on which variation comes nearest to the paper's values of the quantities `names`.

    These stand in the table's columns after the name, in this order. Distances are in units of the registry's
    tolerances, added up, of the means over the seeds that have the variation: some are trained for the first alone.
    """
    quantities = [q for name in names for q in claims()[result.claim].published if q.name == name]
    tables = [m.details["variations"]["rows"] for m in result.measurements]
    rows = means(result)
    distances = [_distance(row[1:], quantities) for row in rows]
    if len(rows) < 2 or not any(map(isfinite, distances)):
        return ""
    best = min(range(len(rows)), key=distances.__getitem__)
    paper = _listed([f"{format_paper(q)}" for q in quantities])
    ours, here = (
        _listed([format_value(q, v) for q, v in zip(quantities, rows[i][1:], strict=False)]) for i in (best, 0)
    )
    several = f"Of {len(rows) - 1} variations of what the paper leaves open, "
    one = f"The one variation of what the paper leaves open, “{rows[1][0]}”, comes "
    if ours == here:  # the first row itself, or as good as that
        none = f"{several}none comes nearer" if len(rows) > 2 else f"{one}no nearer"
        return f"{none} to the paper's {paper} than what is reported here, {ours}."
    seeds = sum(rows[best][0] in [row[0] for row in of_seed] for of_seed in tables)
    few = f" (for {seeds} of {len(tables)} seeds)" if seeds < len(tables) else ""
    nearer = f"{several}“{rows[best][0]}” comes nearest" if len(rows) > 2 else f"{one}nearer"
    return f"{nearer} to the paper's {paper}: {ours}{few}, where {here} is reported here."


def means(result: Result) -> list[list[Any]]:
    """The rows of the first seed's table, each the mean over the seeds that have it; NaN where one has no number.

    A result without such tables has no rows.
    """
    entries = [m.details.get("variations") for m in result.measurements]
    tables = [entry.get("rows") or [] if isinstance(entry, dict) else [] for entry in entries]

    def mean(values: Sequence[Any]) -> float:
        return sum(values) / len(values) if all(v is not None for v in values) else nan

    named: dict[str, list[list[Any]]] = {row[0]: [] for row in tables[0]}
    for name, *values in (row for rows in tables for row in rows):
        if name in named:  # lengths of training that early stopping chose, for instance, are others for each seed
            named[name].append(values)
    return [[name, *map(mean, zip(*same, strict=True))] for name, same in named.items()]


@dataclass(frozen=True)
class Rounding:
    """A published number under the exact and under the rounded gradient of the same networks.

    `training` says how these differ from those that are reported: "" where they don't, else ", trained for longer".
    """

    claim: str
    quantity: Quantity
    training: str
    exact: float
    rounded: float


def rounding(results: Mapping[str, Result]) -> list[Rounding]:
    """Every published number that was also measured with the rounded gradient, in a row that begins with `ROUNDED`.

    For each claim the networks that are reported, and after them, if there are any, those that were trained longest:
    these have the last such row, and as its own name ends so does that of the exact gradient.
    """
    found = []
    for claim, result in results.items():
        rows = {row[0]: row for row in means(result)}
        of = [name.removeprefix(ROUNDED) for name in rows if name.startswith(ROUNDED)]
        for training in dict.fromkeys(of[:1] + of[-1:]):
            if exact := rows.get(next(iter(rows)) + training):
                values = zip(claims()[claim].published, exact[1:], rows[ROUNDED + training][1:], strict=False)
                found += [Rounding(claim, q, training, *pair) for q, *pair in values]
    return found


def _distance(values: Sequence[float], quantities: Sequence[Quantity]) -> float:
    parts = [abs(v - (q.paper or 0.0)) / (q.tolerance or inf) for v, q in zip(values, quantities, strict=False)]
    return sum(parts) if all(map(isfinite, parts)) else inf


def _listed(texts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
