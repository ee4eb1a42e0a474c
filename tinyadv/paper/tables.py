"""Results as tables of text, for the terminal and in Markdown for the README; `report` is a page of the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from . import variations
from .registry import Claim, select
from .results import EXPLAINED, STATUSES, Result, Status, format_paper, format_value, status, statuses

if TYPE_CHECKING:
    from rich.console import Console

_VERBS: dict[Status, str] = {"reproduced": "reproduced", "close": "close", "differs": "differ", "not run": "not run"}


@dataclass(frozen=True)
class Row:
    """One line of a claim: what it is, the paper's value, ours, and what ours makes of it (None for context)."""

    label: str
    paper: str
    ours: str
    status: Status | None


def rows(claim: Claim, result: Result | None) -> list[Row]:
    """The lines of a claim: its predicate, its published numbers, then whatever context was measured."""
    lines = []
    if claim.predicate is not None:
        said = "" if claim.published else claim.paper
        held = result.predicate_status() if result else "not run"
        lines.append(Row("statement", said, _held(result), held))
    for q in claim.quantities:
        measured = result is not None and any(q.name in m.values for m in result.measurements)
        if q.paper is not None or measured:
            ours = format_value(q, result.mean(q.name), result.interval(q.name)) if result else "—"
            word: Status | None = result.quantity_status(q) if result else "not run"
            lines.append(Row(q.label, format_paper(q) if word else "", ours, word))
    return lines


def _held(result: Result | None) -> str:
    """For how many seeds the predicate holds, in words."""
    if result is None:
        return "—"
    held = [m.holds for m in result.measurements]
    if None in held:
        return "not measured"
    if len(held) == 1:
        return "holds" if held[0] else "fails"
    return f"holds for {sum(map(bool, held))} of {len(held)} seeds"


# ---------------------------------------------------------------------------------------------------------
# Tables of text


def table(results: Mapping[str, Result], console: Console, ids: Iterable[str] | None = None) -> None:
    """Print the claims to a terminal: paper, ours, status; by default those that have results.

    Below 80 columns the columns become lines under each claim.
    """
    from rich.text import Text

    chosen = _chosen(results, ids)
    if console.width < 80:
        for claim, result, word in chosen:
            console.print(Text.assemble((claim.id, "bold"), f" (§{claim.section})  ", (word, _STYLES[word])))
            for row in _compared(claim, result):
                console.print(
                    Text(f"  {row.label}\n    " + (f"paper {row.paper}, " if row.paper else "") + f"ours {row.ours}")
                )
    else:
        console.print(_wide_table(chosen))
    for claim, result, word in chosen:
        if note := _note(result, word):
            console.print(Text.assemble((claim.id, "bold"), f": {note}"))
    console.print(Text(tally([word for *_, word in chosen]) + "."))


_STYLES: dict[Status, str] = {"reproduced": "bold green", "close": "yellow", "differs": "bold red", "not run": "dim"}


def _wide_table(chosen: list[tuple[Claim, Result | None, Status]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold")
    grid.add_column("claim", ratio=1, min_width=22)
    grid.add_column("paper", max_width=14)
    grid.add_column("ours", no_wrap=True)
    grid.add_column("status", no_wrap=True, min_width=max(map(len, STATUSES)))
    for claim, result, word in chosen:
        grid.add_row(Text(f"{claim.id} (§{claim.section})", "bold"), "", "", Text(word, _STYLES[word]))
        for row in _compared(claim, result):
            grid.add_row(Text(f"  {row.label}"), Text(row.paper), Text(row.ours), "")
    return grid


def markdown_table(results: Mapping[str, Result], ids: Iterable[str] | None = None) -> str:
    """The claims as a Markdown table, by default those that have results; ends with a line break.

    What is to be said of them in words would make its lines high: see `markdown_notes`.
    """
    lines = ["| claim | § | | paper | ours | status |", "|---|---|---|---|---|---|"]
    for claim, result, word in _chosen(results, ids):
        compared = _compared(claim, result)
        columns = [[row.label for row in compared], [row.paper for row in compared], [row.ours for row in compared]]
        cells = [f"`{claim.id}`", _markdown(claim.section), *("<br>".join(map(_markdown, c)) for c in columns), word]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def markdown_notes(results: Mapping[str, Result]) -> str:
    """Under the table: the number of claims of each status, the runs, why some differ, in what runs were smaller."""
    everything = list(statuses(results))
    missing = [f"`{claim.id}` ({claim.data})" for claim, result, _ in everything if not result]
    lines = [f"{tally([word for *_, word in everything])}."]
    lines += [f"Not in the table, because they are not measured: {', '.join(missing)}."] if missing else []
    runs: dict[str, list[str]] = {}
    for claim, result, _ in everything:
        if result:
            seeds = f"seed{'s' * (len(result.seeds) > 1)} {', '.join(map(str, result.seeds))}"
            runs.setdefault(f"profile {result.profile}, {seeds}", []).append(f"`{claim.id}`")
    made = [f"- {_markdown(run)}: {', '.join(names)}" for run, names in runs.items()]
    reasons = [
        f"- `{claim.id}` {_VERB[word]}: {_markdown(result.reason)}"
        for claim, result, word in everything
        if result and result.reason and word in EXPLAINED
    ]
    smaller: dict[str, list[str]] = {}
    for claim, result, _ in everything:
        for part in result.scale.split("; ") if result and result.scale else []:
            smaller.setdefault(part, []).append(f"`{claim.id}`")
    scales = [f"- {_markdown(part)}: {', '.join(names)}" for part, names in smaller.items()]
    lines += (
        ["", "The runs, each claim’s with the largest profile in which it was measured:", "", *made] if made else []
    )
    lines += ["", "Where ours is not the paper’s number, and why:", "", *reasons] if reasons else []
    lines += ["", "In what these runs are smaller than the paper’s:", "", *scales] if scales else []
    return "\n".join(lines) + "\n"


_VERB: dict[Status, str] = {"differs": "differs", "not run": "is not run"}


def markdown_rounding(results: Mapping[str, Result]) -> str:
    """What rounding does to the gradient, and a table of what that does to published numbers; "" without any."""
    if not (found := variations.rounding(results)):
        return ""
    cells = [["Number", *ROUNDED], ["---"] * (1 + len(ROUNDED))]
    cells += [[f"`{r.claim}`{_markdown(kind(r))}", *map(_markdown, rounded(r))] for r in found]
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    return f"\n### {ROUNDING_TITLE}\n\n{_markdown(ROUNDING)} {nearer(found)}\n\n{table}\n"


def _markdown(text: str) -> str:
    """`text` with what Markdown or HTML would take for markup made harmless, on one line."""
    text = escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{c}" if c in r"\`*_[]|#~" else c for c in text)


def _chosen(results: Mapping[str, Result], ids: Iterable[str] | None) -> list[tuple[Claim, Result | None, Status]]:
    if ids is None:
        return [entry for entry in statuses(results) if entry[1]]
    return [(claim, results.get(claim.id), status(claim, results.get(claim.id))) for claim in select(ids)]


def _compared(claim: Claim, result: Result | None) -> list[Row]:
    """The rows without context."""
    return [row for row in rows(claim, result) if row.status is not None]


def _note(result: Result | None, word: Status) -> str:
    """In what the run is smaller than the paper's, and why the result differs."""
    if result is None:
        return ""
    notes = [f"scale: {result.scale}"] if result.scale else []
    notes += [f"why: {result.reason}"] if result.reason and word in EXPLAINED else []
    return "; ".join(notes)


def tally(words: Sequence[Status]) -> str:
    """How many claims have which status: "12 claims: 5 reproduced, 7 differ"."""
    counts = [(words.count(word), word) for word in STATUSES]
    listed = ", ".join(f"{n} {'differs' if word == 'differs' and n == 1 else _VERBS[word]}" for n, word in counts if n)
    return f"{len(words)} claim{'s' * (len(words) != 1)}" + (f": {listed}" if listed else "")


# ---------------------------------------------------------------------------------------------------------
# What rounding does to the gradient

ROUNDING_TITLE = "What float32 does to the gradient"
ROUNDING = (
    "The gradient that FGSM follows begins with p − t at the softmax. Where a network is so sure of the true class "
    "that its p is 1 in float32, p − t is 0, and the one class that the attack is to lead away from is missing. The "
    "numbers above are made with the exact gradient, which keeps it. Most libraries compute p − t as it stands, "
    "rounded. That makes another attack of it, the more so the longer the attacked network was trained (where a length "
    "of training is named, it is that of the first seed’s networks)."
)
ROUNDED = ("Paper", "Exact", "Rounded")


def kind(r: variations.Rounding) -> str:
    """What follows the claim's name under "Number"."""
    return f"{r.training}: {r.quantity.label}"


def rounded(r: variations.Rounding) -> list[str]:
    """The cells under `ROUNDED`."""
    return [format_paper(r.quantity), *(format_value(r.quantity, v) for v in (r.exact, r.rounded))]


def nearer(found: list[variations.Rounding]) -> str:
    """How many published numbers are nearer with the rounded gradient than with the exact one, trained longest."""
    longest = {(r.claim, r.quantity.name): r for r in found}.values()
    count = sum(_nearer(r) for r in longest)
    return (
        f"With the rounded gradient, {count} of {len(longest)} published numbers are nearer to the paper’s than with "
        "the exact one of the same networks, those that were trained longest."
    )


def _nearer(r: variations.Rounding) -> bool:
    """Whether the rounded gradient's number is nearer to the paper's, as far as the table shows."""
    paper = r.quantity.paper or 0.0
    shown = format_value(r.quantity, r.rounded) != format_value(r.quantity, r.exact)
    return shown and abs(r.rounded - paper) < abs(r.exact - paper)
