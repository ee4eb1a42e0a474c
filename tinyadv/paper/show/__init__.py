"""What is shown of results: one table model, for the terminal, Markdown, CSV, LaTeX and the report.

An entry is a claim with its rows, its variations and the note on it; the other files of this folder only lay entries
out. All sentences are put together here, from claims.toml, notes.toml and the numbers, when they are shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..claims import Claim, Quantity, placeholders, select
from ..profiles import NAIVE_EPOCHS
from ..results import STATUSES, Result, Status, Variation, status, statuses
from .numbers import format_paper, format_value

EXPLAINED: tuple[Status, ...] = ("close", "differs", "not run")  # where a note is shown
_VERBS: dict[Status, str] = {"reproduced": "reproduced", "close": "close", "differs": "differ", "not run": "not run"}


@dataclass(frozen=True)
class Row:
    """One line of a claim: what it is, the paper's value, ours, and what ours makes of it (None for context).

    `beside` marks context that stands beside a published number wherever that is shown: the exact gradient's.
    """

    label: str
    paper: str
    ours: str
    status: Status | None
    beside: bool = False


@dataclass(frozen=True)
class Entry:
    """A claim as it is shown.

    Attributes
    ----------
    scale : list of str
        Where the run is smaller than the paper's, and which of its networks came with the package.
    note : str
        Why it differs, or is only close; "" where it does not, or nobody has said so.
    """

    claim: Claim
    result: Result | None
    status: Status
    rows: list[Row]
    scale: list[str]
    note: str

    @property
    def compared(self) -> list[Row]:
        """The rows without context, but for what stands beside published numbers."""
        return [row for row in self.rows if row.status is not None or row.beside]

    def variations(self) -> tuple[list[str], list[list[str]]]:
        """The table of variations: its head, and a line for each, the definition first; empty without any."""
        found = self.result.variations() if self.result else []
        known = {q.name: q for q in self.claim.quantities}  # "epochs" is also how long a variation was trained
        names = dict.fromkeys(name for variation in found for name in variation.values if name in known)
        if not self.result or not names:
            return [], []
        quantities = [known[name] for name in names]
        defined = [format_value(q, self.result.mean(q.name)) for q in quantities]
        lines = [["as defined", *defined]] if "—" not in defined else []
        for v in found:
            few = f" (of {v.seeds} of {len(self.result.seeds)} seeds)" if v.seeds < len(self.result.seeds) else ""
            lines.append([v.label + few, *(format_value(q, v.values.get(q.name)) for q in quantities)])
        return ["variation", *(q.label for q in quantities)], lines


def entry(claim: Claim, result: Result | None) -> Entry:
    """A claim as it is shown, with its result if there is one."""
    word = status(claim, result)
    said = note(claim, result) if result and word in EXPLAINED else ""
    return Entry(claim, result, word, rows(claim, result), scale(claim, result) if result else [], said)


def entries(results: Mapping[str, Result], ids: Iterable[str] | None = None) -> list[Entry]:
    """The claims of these ids; by default those that have results, in the paper's order."""
    if ids is None:
        return [entry(claim, result) for claim, result, _ in statuses(results) if result]
    return [entry(claim, results.get(claim.id)) for claim in select(ids)]


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
            beside = q.name in [published.exact for published in claim.published]
            lines.append(Row(q.label, format_paper(q) if word else _draft(q), ours, word, beside))
    return lines


def _draft(quantity: Quantity) -> str:
    """A draft's value in the paper's column, named as such."""
    if quantity.draft is None:
        return ""
    return f"a draft: {format_paper(replace(quantity, paper=quantity.draft))}"


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
# Notes


def note(claim: Claim, result: Result) -> str:
    """The note on a claim with the result's numbers in it; lines are left out whose numbers were not measured."""
    said = []
    for line in (claim.note or "").splitlines():
        numbers = {place: _number(claim, result, place) for place in placeholders(line)}
        if None not in numbers.values():
            for place, number in numbers.items():
                line = line.replace(f"{{{place}}}", str(number))
            said.append(line.strip())
    return " ".join(filter(None, said))


def _number(claim: Claim, result: Result, place: str) -> str | None:
    """What stands for a placeholder; None where it was not measured."""
    where, _, name = place.rpartition("/")
    quantity = claim.quantity(name)
    if where == "paper":
        return format_paper(quantity)
    value = result.mean(name) if not where else _varied(result.variations(), where, name)
    return format_value(quantity, value) if math.isfinite(value) else None


def _varied(found: Sequence[Variation], key: str, name: str) -> float:
    return next((v.values.get(name, math.nan) for v in found if v.key == key), math.nan)


def without_note(shown: Iterable[Entry]) -> list[str]:
    """A line on each claim that differs, or is only close, with no note to say why."""
    missing = (one for one in shown if one.status in ("close", "differs") and not one.note)
    return [f"{one.claim.id}: {_NO_NOTE[one.status]}, and no note says why" for one in missing]


_NO_NOTE: dict[Status, str] = {"close": "the number is only close", "differs": "ours differs"}


# ---------------------------------------------------------------------------------------------------------
# The scale of a run


def scale(claim: Claim, result: Result) -> list[str]:
    """Where a run is smaller than the paper's, in words; networks that only vary a choice do not count."""
    used = [n for m in result.measurements for n in m.networks.values() if not n.get("varied")]
    recipes = [n["recipe"] for n in used if isinstance(n.get("recipe"), dict)]
    units = [recipe.get("arguments", {}).get("units") for recipe in recipes]
    largest = max((n for n in units if isinstance(n, int)), default=None)
    parts = []
    if claim.units and largest and largest != claim.units:
        parts.append(f"{largest} units where the paper has {claim.units}")
    parts += [part for recipe in recipes if (part := _shorter(recipe))]
    ended = [n["stage2"]["epochs"] for n in used if n.get("stage2") and not n["stage2"]["reached"]]
    parts += [f"stage 2 ended after {epochs} epochs, above its target" for epochs in ended]
    if any(n.get("packaged") for n in used):
        parts.append("measured on networks that came with the package")
    return list(dict.fromkeys(parts))


def _shorter(recipe: Mapping[str, Any]) -> str:
    """How a training departs from the published protocol, in words; "" where it follows that, or there is none."""
    if recipe.get("network") == "mp_dbm" and not recipe.get("stage2"):
        units = recipe.get("arguments", {}).get("units")
        size = f" of {' and '.join(map(str, units))} hidden units" if isinstance(units, list) else ""
        return f"a machine{size}, trained for {recipe.get('epochs', 10)} epochs on 50,000 images"
    if recipe.get("network") == "conv_maxout_network" and not recipe.get("stage2"):
        channels = recipe.get("arguments", {}).get("channels")
        size = f" of {', '.join(map(str, channels))} units" if isinstance(channels, list) else ""
        return f"convolutional layers{size} (published: 96, 192, 192), trained for {recipe.get('epochs', 10)} epochs"
    if recipe.get("retrain") and recipe.get("stop_on") and recipe.get("chosen_with") is None:
        return "stopped early and trained again from scratch on all 60,000 images, where the definition has stage 2"
    of_noise = recipe.get("objective") == "noise" and recipe.get("epochs") == NAIVE_EPOCHS
    published = recipe.get("retrain") or recipe.get("stage2") or of_noise
    if published or recipe.get("network") not in ("maxout_network", "saturating_network"):
        return ""
    kind = {"clean": "naive"}.get(recipe.get("objective", "clean"), recipe.get("objective"))
    images = "25,000" if "half" in recipe.get("data", "") else "50,000"
    return f"{kind} training for {recipe.get('epochs', 10)} epochs on {images} images"


# ---------------------------------------------------------------------------------------------------------
# Counting


def tally(words: Sequence[Status]) -> str:
    """How many claims have which status: "12 claims: 5 reproduced, 7 differ"."""
    counts = [(words.count(word), word) for word in STATUSES]
    listed = ", ".join(f"{n} {'differs' if word == 'differs' and n == 1 else _VERBS[word]}" for n, word in counts if n)
    return f"{len(words)} claim{'s' * (len(words) != 1)}" + (f": {listed}" if listed else "")


# ---------------------------------------------------------------------------------------------------------
# The exact gradient, and the software's


@dataclass(frozen=True)
class Gradients:
    """A published number with the gradient of the paper's software and with the exact one, of the same networks.

    `training` says how these differ from those that are reported: "" where they do not.
    """

    claim: str
    quantity: Quantity
    training: str
    software: float
    exact: float

    @property
    def cells(self) -> list[str]:
        """The paper's number, the software's gradient's, the exact one's."""
        return [format_paper(self.quantity), *(format_value(self.quantity, v) for v in (self.software, self.exact))]

    @property
    def nearer(self) -> bool:
        """Whether the software's gradient's number is nearer to the paper's, as far as the table shows."""
        paper, (_, software, exact) = self.quantity.paper or 0.0, self.cells
        return exact != software and abs(self.software - paper) < abs(self.exact - paper)


def gradients(results: Mapping[str, Result]) -> list[Gradients]:
    """Every published number that was measured with both gradients: of the networks reported, and of longer trained."""
    found = []
    for claim, result, _ in statuses(results):
        if result is None:
            continue
        longer = next((v for v in result.variations() if v.key == "longer"), None)
        for q in claim.published:
            pair = result.mean(q.name), result.mean(q.exact)
            if all(map(math.isfinite, pair)):
                found.append(Gradients(claim.id, q, "", *pair))
        if longer is None:
            continue
        for q in claim.published:
            pair = longer.values.get(q.name, math.nan), longer.values.get(q.exact, math.nan)
            if all(map(math.isfinite, pair)):
                found.append(Gradients(claim.id, q, longer.label, *pair))
    return found


GRADIENT = (
    "The paper’s software most likely computed the gradient of a softmax cost as p − t in float32, which lacks the "
    "true class where its p rounds to 1: so this is the gradient that is compared with the paper. The exact gradient "
    "keeps the true class and makes the stronger attack; its numbers stand beside, and the difference is gradient "
    "masking by float32."
)
GRADIENTS_TITLE = "What float32 does to the gradient"
GRADIENTS = (
    "The gradient that FGSM follows begins with p − t at the softmax. Where a network is so sure of the true class "
    "that its p is 1 in float32, p − t is 0, and the one class that the attack should lead away from is missing. The "
    "paper’s software most likely computed p − t as it stands, rounded, and PyTorch, for example, still does. What is "
    "compared with the paper above is made with this gradient. The exact one keeps the true class. That is in effect "
    "another, stronger attack. How large the difference is depends on the length of training."
)


def nearer(found: Sequence[Gradients]) -> str:
    """How many published numbers are nearer with the software's gradient than with the exact one, trained longest."""
    longest = {(g.claim, g.quantity.name): g for g in found}.values()
    return (
        f"With the software’s gradient, {sum(g.nearer for g in longest)} of {len(longest)} published numbers are "
        "nearer to the paper’s than with the exact one of the same networks, those that were trained longest."
    )


def duration(seconds: float) -> str:
    """Seconds in words: "35 s", "2 min 5 s", "1 h 10 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def seeds(result: Result) -> str:
    """The seeds of a result: "seeds 0, 1, 2"."""
    return f"seed{'s' * (len(result.seeds) > 1)} {', '.join(map(str, result.seeds))}"


def one_line(text: str) -> str:
    """`text` on one line, with single spaces."""
    return re.sub(r"\s+", " ", text).strip()
