"""Claims as Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from ..results import Result, Status, statuses
from . import GRADIENTS, GRADIENTS_TITLE, Entry, entries, entry, gradients, nearer, one_line, seeds, tally

# ---------------------------------------------------------------------------------------------------------
# Markdown


def markdown_table(results: Mapping[str, Result], ids: Iterable[str] | None = None) -> str:
    """The claims as a Markdown table, by default those that have results; ends with a line break.

    What is to be said of them in words would make its lines high: see `markdown_notes`.
    """
    lines = ["| claim | § | | paper | ours | status |", "|---|---|---|---|---|---|"]
    for one in entries(results, ids):
        columns = [[getattr(row, name) for row in one.compared] for name in ("label", "paper", "ours")]
        texts = ("<br>".join(map(markdown, column)) for column in columns)
        cells = [f"`{one.claim.id}`", markdown(one.claim.section), *texts, one.status]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def markdown_page(results: Mapping[str, Result], ids: Iterable[str] | None = None) -> str:
    """The table; of all claims also the notes, the runs, and what rounding does to the gradient."""
    if ids is not None:
        return markdown_table(results, ids)
    return "\n".join([markdown_table(results), markdown_notes(results) + markdown_gradients(results)])


def markdown_notes(results: Mapping[str, Result]) -> str:
    """Under the table: the number of claims of each status, the runs, the notes, where runs were smaller."""
    everything = [entry(claim, result) for claim, result, _ in statuses(results)]
    missing = [f"`{one.claim.id}` ({one.claim.data})" for one in everything if not one.result]
    lines = [f"{tally([one.status for one in everything])}."]
    lines += [f"Not in the table, because they are not measured: {', '.join(missing)}."] if missing else []
    runs: dict[str, list[str]] = {}
    smaller: dict[str, list[str]] = {}
    for one in everything:
        if one.result:
            runs.setdefault(f"profile {one.result.profile}, {seeds(one.result)}", []).append(f"`{one.claim.id}`")
        for part in one.scale:
            smaller.setdefault(part, []).append(f"`{one.claim.id}`")
    lines += _listed("The runs, each claim’s with the largest profile in which it was measured:", runs)
    noted = [f"- `{one.claim.id}` {_IS[one.status]}: {markdown(one.note)}" for one in everything if one.note]
    lines += ["", "Where ours is not the paper’s number, and why:", "", *noted] if noted else []
    lines += _listed("Where these runs are smaller than the paper’s:", smaller)
    return "\n".join(lines) + "\n"


_IS: dict[Status, str] = {"close": "is close", "differs": "differs", "not run": "is not run"}


def _listed(title: str, found: Mapping[str, list[str]]) -> list[str]:
    """A list under its title, with an empty line before each; nothing of nothing."""
    made = [f"- {markdown(text)}: {', '.join(names)}" for text, names in found.items()]
    return ["", title, "", *made] if made else []


def markdown_gradients(results: Mapping[str, Result]) -> str:
    """What rounding does to the gradient, and a table of what that does to published numbers; "" without any."""
    if not (found := gradients(results)):
        return ""
    cells = [["Number", "Paper", "The software’s", "Exact"], ["---"] * 4]
    for g in found:
        training = f" ({g.training})" if g.training else ""
        cells.append([f"`{g.claim}`: {markdown(g.quantity.label + training)}", *map(markdown, g.cells)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    return f"\n### {GRADIENTS_TITLE}\n\n{markdown(GRADIENTS)} {nearer(found)}\n\n{table}\n"


def markdown(text: str) -> str:
    """`text` with what Markdown or HTML would take for markup made harmless, on one line."""
    text = escape(one_line(text), quote=False)
    return "".join(f"\\{c}" if c in r"\`*_[]|#~" else c for c in text)


# ---------------------------------------------------------------------------------------------------------
# CSV: one line for each quantity

COLUMNS = (
    "claim", "section", "quantity", "label", "format", "paper", "tolerance", "ours", "low", "high", "status",
    "profile", "device", "seeds", "values",
)  # fmt: skip


def csv_table(results: Mapping[str, Result], ids: Iterable[str] | None = None) -> str:
    """Every published or measured number as a line of CSV, the columns of which are `COLUMNS`.

    Shares run from 0 to 1. "ours" is the mean over seeds, "low" and "high" its 95 % interval, "values" what each of
    the "seeds" gave, with spaces between them; a cell is empty where there is no number. A statement is the quantity
    "holds", 1 where it does.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in entries(results, ids):
        for line in _csv_lines(one):
            writer.writerow(["" if cell is None else cell for cell in line])
    return file.getvalue()


def _csv_lines(one: Entry) -> Iterable[list[object]]:
    claim, result = one.claim, one.result
    ran = [result.profile, result.device, _joined(result.seeds)] if result else [None, None, None]
    if claim.predicate is not None:
        held = [m.holds for m in result.measurements] if result else []
        values = _joined("" if h is None else int(h) for h in held)
        word: Status | None = result.predicate_status() if result else "not run"
        yield [claim.id, claim.section, "holds", "statement", "number", *[None] * 5, word, *ran, values]
    for q in claim.quantities:
        measured = result is not None and any(q.name in m.values for m in result.measurements)
        if q.paper is None and not measured:
            continue
        low, high = (result.interval(q.name) if result else None) or (None, None)
        word = result.quantity_status(q) if result else "not run"
        each = [m.values.get(q.name, math.nan) for m in result.measurements] if result else []
        ours = _number(result.mean(q.name)) if result else None
        yield [
            claim.id, claim.section, q.name, q.label, q.format, q.paper, q.tolerance, ours, low, high,
            word, *ran, _joined(_number(v) or "" for v in each),
        ]  # fmt: skip


def _number(value: float) -> str | None:
    return repr(float(value)) if math.isfinite(value) else None


def _joined(parts: Iterable[object]) -> str:
    return " ".join(map(str, parts))


# ---------------------------------------------------------------------------------------------------------
# LaTeX


def latex_table(results: Mapping[str, Result], ids: Iterable[str] | None = None) -> str:
    """The claims as a LaTeX `longtable`, for \\usepackage{longtable}; by default those that have results."""
    lines = [r"\begin{longtable}{llrrl}", r"claim & & paper & ours & status \\ \hline \endhead"]
    for one in entries(results, ids):
        for i, row in enumerate(one.compared):
            name, word = (one.claim.id, one.status) if i == 0 else ("", "")
            cells = (name, row.label, row.paper, row.ours, word)
            lines.append(" & ".join(map(latex, cells)) + r" \\")
    return "\n".join([*lines, r"\end{longtable}", ""])


def latex(text: str) -> str:
    """`text` with what LaTeX would take for commands made harmless, on one line."""
    return "".join(_LATEX.get(c, c) for c in one_line(text))


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "—": "---", "§": r"\S{}",
    "ε": r"$\varepsilon$", "±": r"$\pm$", "−": "$-$", "‖": r"$\|$", "₁": "$_1$", "₂": "$_2$", "∞": r"$\infty$",
    "∇": r"$\nabla$", "λ": r"$\lambda$", "β": r"$\beta$", "→": r"$\to$", "×": r"$\times$", "·": r"$\cdot$",
    "<": "$<$", ">": "$>$", "°": r"$^\circ$", "ₓ": "$_x$",
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# JSON: everything about each claim


def json_list(results: Mapping[str, Result], ids: Iterable[str] | None = None, ascii_only: bool = False) -> str:
    """The claims as a list in JSON, by default those that have results; null where there is no number.

    With `ascii_only` there are escapes in place of all characters that are not ASCII. "ours" is the mean over seeds,
    "interval" its 95 % interval, "values" what each of the seeds gave.
    """
    listed = [_everything(one) for one in entries(results, ids)]
    return json.dumps(listed, indent=1, ensure_ascii=ascii_only, allow_nan=False) + "\n"


def _everything(one: Entry) -> dict[str, Any]:
    claim, result = one.claim, one.result
    quantities = [
        {
            "name": q.name,
            "label": q.label,
            "format": q.format,
            "paper": q.paper,
            "tolerance": q.tolerance,
            "draft": q.draft,
            "ours": _finite(result.mean(q.name)) if result else None,
            "interval": result.interval(q.name) if result else None,
            "values": [_finite(m.values.get(q.name, math.nan)) for m in result.measurements] if result else [],
        }
        for q in claim.quantities
    ]
    return {
        "id": claim.id,
        "section": claim.section,
        "kind": claim.kind,
        "claim": one_line(claim.claim),
        "paper": claim.paper,
        "definition": one_line(claim.definition),
        "predicate": one_line(claim.predicate) if claim.predicate else None,
        "status": one.status,
        "profile": result.profile if result else None,
        "scale": "; ".join(one.scale) if result else None,
        "note": one.note or None,
        "seeds": result.seeds if result else [],
        "ours": {row.label: row.ours for row in one.rows} if result else None,
        "quantities": quantities,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
