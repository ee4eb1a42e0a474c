"""Claims in the terminal: a table of them, where our numbers are from, and one claim in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..claims import Claim
from ..results import STATUSES, Result, Status
from . import GRADIENT, Entry, costs, entries, one_line, tally, without_note

if TYPE_CHECKING:
    from rich.console import Console

_STYLES: dict[Status, str] = {"reproduced": "bold green", "close": "yellow", "differs": "bold red", "not run": "dim"}


def table(
    results: Mapping[str, Result], console: Console, ids: Iterable[str] | None = None, context: bool = False
) -> None:
    """Print the claims: paper, ours, status; by default those that have results.

    With `context` there are also the numbers for which the paper has none. Below 80 columns the columns become lines
    under each claim.
    """
    from rich.text import Text

    chosen = entries(results, ids)
    if console.width < 80:
        for one in chosen:
            head = (one.claim.id, "bold"), f" (§{one.claim.section})  ", (one.status, _STYLES[one.status])
            console.print(Text.assemble(*head))
            for row in one.rows if context else one.compared:
                paper = f"paper {row.paper}, " if row.paper else ""
                console.print(Text(f"  {row.label}\n    {paper}ours {row.ours}"))
    else:
        console.print(_wide_table(chosen, context))
    for one in chosen:
        said = [f"scale: {'; '.join(one.scale)}"] if one.scale else []
        said += [f"why: {one.note}"] if one.note else []
        if said:
            console.print(Text.assemble((one.claim.id, "bold"), f": {'; '.join(said)}"))
    for line in without_note(chosen):
        console.print(Text(line, _STYLES["close"]))
    console.print(Text(tally([one.status for one in chosen]) + "."))


def _wide_table(chosen: list[Entry], context: bool) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold")
    grid.add_column("claim", ratio=1, min_width=22)
    grid.add_column("paper", max_width=14)
    grid.add_column("ours", no_wrap=True)
    grid.add_column("status", no_wrap=True, min_width=max(map(len, STATUSES)))
    for one in chosen:
        named = Text(f"{one.claim.id} (§{one.claim.section})", "bold")
        grid.add_row(named, "", "", Text(one.status, _STYLES[one.status]))
        for row in one.rows if context else one.compared:
            grid.add_row(Text(f"  {row.label}"), Text(row.paper), Text(row.ours), "")
    return grid


def sources(of_run: Sequence[str], published: Sequence[str], path: Path) -> str:
    """Where our numbers are from: claims of the run at `path`, or published with the package; "" without any."""
    published = [name for name in published if name not in of_run]
    if not of_run:
        return "Ours: as published with the package." if published else ""
    if not published:
        return f"Ours: from {path}."
    if len(of_run) <= len(published):
        return f"Ours: as published with the package, but from {path} for {', '.join(of_run)}."
    return f"Ours: from {path}, but as published with the package for {', '.join(published)}."


def describe(claim: Claim, result: Result | None, console: Console) -> None:
    """Print what a claim says, what is measured, and what that has cost."""
    paragraphs = [claim.claim, claim.definition]
    if claim.rounds:
        paragraphs.append(GRADIENT)
    if claim.predicate:
        paragraphs.append(f"Has to hold, for every seed: {claim.predicate}")
    if result:
        paragraphs.append(f"What they cost: {costs.summary({claim.id: result}) or costs.UNKNOWN + '.'}")
    console.print("", f"{claim.id}, {claim.where}", *map(one_line, paragraphs), sep="\n", markup=False)
