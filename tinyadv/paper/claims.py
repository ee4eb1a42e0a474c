"""The paper's claims as data: `claims.toml` and the notes on them, `notes.toml`, read once and checked.

A claim is the sentence, the paper's value, our definition, and what can fail: numbers with a published value, a
predicate, or both. A note says why our number differs, with placeholders for the numbers. Everything else in this
folder looks claims up here by their id, their numbers by the names of quantities, their variations by keys.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

KINDS = ("N", "Q", "F")
FORMATS = ("percent", "difference", "number")

_LONGEST_LINE = 2000
_CLAIM_KEYS = {"section", "kind", "claim", "paper", "definition"}
_OPTIONAL_KEYS = {"predicate", "quantities", "data", "units", "variations", "note"}
_QUANTITY_KEYS = {"label", "format"}
_EXACT = "_exact"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Quantity:
    """One number of a claim; without the paper's own value it is context.

    Attributes
    ----------
    paper : float or None
        The published value: a share between 0 and 1 where the format is "percent", of two such shares the difference
        where it is "difference".
    tolerance : float or None
        How far from it, absolutely, a measurement is still *close*.
    draft : float or None
        A value that stood in a draft of the paper and was never published: context, nothing is compared with it.
    """

    name: str
    label: str
    paper: float | None
    tolerance: float | None
    format: Literal["percent", "difference", "number"]
    draft: float | None = None

    @property
    def exact(self) -> str:
        """The name of the same quantity where the attack follows the exact gradient, if there is one."""
        return self.name + _EXACT

    @property
    def is_exact(self) -> bool:
        """Whether the attack follows the exact gradient instead of the one of the paper's software."""
        return self.name.endswith(_EXACT)


@dataclass(frozen=True)
class Claim:
    """One row of the paper's claims.

    Attributes
    ----------
    kind : "N", "Q" or "F"
        A number to reproduce, a statement, a figure.
    paper : str
        The published value as text.
    definition : str
        Exactly what is measured here.
    predicate : str or None
        What has to hold for every seed.
    quantities : tuple of Quantity
        In the order of the file.
    data : str
        On which the published values and the predicate are.
    units : int or None
        Maxout units a layer in the paper's networks, where that is not 240.
    variations : dict
        What else is measured because the paper leaves a choice open: labels by key. A label of the key "decay" that
        has the placeholder {0} is that of the keys "decay:0.1", "decay:0.01" and so on; {epochs} is the length of the
        training of its networks.
    note : str or None
        Why our number differs, by hand: one sentence or more on each line, with placeholders for numbers (see
        `placeholders`).
    """

    id: str
    section: str
    kind: Literal["N", "Q", "F"]
    claim: str
    paper: str
    definition: str
    predicate: str | None
    quantities: tuple[Quantity, ...]
    data: str = "MNIST"
    units: int | None = None
    variations: dict[str, str] = field(default_factory=dict)
    note: str | None = None

    @property
    def where(self) -> str:
        """Its sections in words: "section 6", "sections 2, 8", "appendix"."""
        if self.section == "A":
            return "appendix"
        return f"sections {self.section}" if "," in self.section else f"section {self.section}"

    def quantity(self, name: str) -> Quantity:
        """The quantity of this name.

        Raises
        ------
        ValueError
            If there is none; names those there are.
        """
        found = [q for q in self.quantities if q.name == name]
        if not found:
            known = ", ".join(q.name for q in self.quantities)
            raise ValueError(f"{self.id} has no quantity {name!r}: there are {known or 'none'}")
        return found[0]

    def variation_label(self, key: str, epochs: float | None = None) -> str:
        """The label of a variation.

        Raises
        ------
        ValueError
            If there is no such variation; names those there are.
        """
        name, *parts = key.split(":")
        if name not in self.variations:
            raise ValueError(f"{self.id} has no variation {name!r}: there are {', '.join(self.variations) or 'none'}")
        length = "so many" if epochs is None or not math.isfinite(epochs) else f"{epochs:.0f}"
        try:
            return self.variations[name].format(*parts, epochs=length)
        except (IndexError, KeyError, ValueError, AttributeError) as error:
            raise ValueError(f"{self.id}: the variation {key!r} lacks what its label names") from error

    @property
    def rounds(self) -> bool:
        """Whether its numbers depend on how the gradient is rounded, so that it has those of the exact one too."""
        return any(q.is_exact for q in self.quantities)

    @property
    def published(self) -> tuple[Quantity, ...]:
        """The quantities that the paper gives a value for."""
        return tuple(q for q in self.quantities if q.paper is not None)


@cache
def claims() -> dict[str, Claim]:
    """All claims by id, in the paper's order; those that `add` has added come last."""
    return dict(_published())


@cache
def _published() -> dict[str, Claim]:
    folder = files("tinyadv.paper")
    known = parse(folder.joinpath("claims.toml").read_text("utf-8"))
    return with_notes(known, folder.joinpath("notes.toml").read_text("utf-8"))


def add(text: str, file: str = "claims.toml") -> dict[str, Claim]:
    """Add the claims of a TOML text in the form of claims.toml, which may have a `note` each; those that were added.

    A claim that was added before under the same id is replaced.

    `file` is what an error calls the text.

    Raises
    ------
    ValueError
        As of `parse`; and if the paper's claims have one of the same id.
    """
    added, published = parse(text, file), _published()
    if taken := sorted(added.keys() & published.keys()):
        raise ValueError(f"{taken[0]}: the paper's claims have this id already")
    claims().update(added)
    return added


def with_notes(known: dict[str, Claim], text: str) -> dict[str, Claim]:
    """The claims with the notes that a TOML text in the form of notes.toml has for them: a text for each id.

    Raises
    ------
    ValueError
        For a note on a claim that is not known, and for a placeholder that names no number of its claim.
    """
    notes = _tables(text, "notes.toml")
    for name, note in notes.items():
        if name not in known:
            raise ValueError(f"notes.toml: {_unknown(name, known)}")
        if not isinstance(note, str) or not note.strip():
            raise ValueError(f"notes.toml: {name} is a text that is not empty, got {note!r}")
    return {name: _noted(claim, notes.get(name, claim.note)) for name, claim in known.items()}


def placeholders(text: str) -> list[str]:
    """What stands in braces in a note.

    "error" is our value of that quantity, "paper/error" the paper's, "longer/error" that of the variation "longer".
    """
    return _PLACEHOLDER.findall(text)


def _noted(claim: Claim, note: str | None) -> Claim:
    for place in placeholders(note or ""):
        where, _, name = place.rpartition("/")
        try:
            quantity = claim.quantity(name)
            if where == "paper" and quantity.paper is None:
                raise ValueError(f"the paper has no value of {name}")
            if where not in ("", "paper"):
                claim.variation_label(where)
        except ValueError as error:
            raise ValueError(f"the note on {claim.id} has the placeholder {{{place}}}, but {error}") from error
    return replace(claim, note=note)


def select(ids: Iterable[str]) -> list[Claim]:
    """The claims of these ids, in the order given.

    Raises
    ------
    ValueError
        Naming every unknown id, and known ones that look like it.
    """
    ids = list(ids)
    unknown = [name for name in ids if name not in claims()]
    if unknown:
        said = "; ".join(_unknown(name, claims()) for name in unknown)
        raise ValueError(f"{said} (`tinyadv claims` lists them all)")
    return [claims()[name] for name in ids]


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f"no claim {name!r}" + (f": did you mean {' or '.join(near)}?" if near else "")


def parse(text: str, file: str = "claims.toml") -> dict[str, Claim]:
    """The claims that a TOML text in the form of claims.toml describes.

    Raises
    ------
    ValueError
        If it is not TOML, which says that `file` isn't; or if a claim has an unknown, missing or unfit entry: names the
        claim and the key.
    """
    return {name: _claim(name, table) for name, table in _tables(text, file).items()}


def _tables(text: str, file: str) -> dict[str, Any]:
    if (longest := max(map(len, text.splitlines()), default=0)) > _LONGEST_LINE:
        raise ValueError(
            f"{file}: a line has at most {_LONGEST_LINE:,} characters, because tomllib takes longer keys for ever; "
            f"got one of {longest:,}"
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is not TOML: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{file}: tables or lists are nested too deeply to be read") from error


def _claim(name: str, table: Any) -> Claim:
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"a claim's id is letters, digits, '.', '_' and '-', as half-the-size; got {name!r}")
    _check_keys(name, table, _CLAIM_KEYS, _OPTIONAL_KEYS)
    others = {"quantities", "variations", "units", "note"}
    text = {key: _text(f"{name}: {key}", table[key]) for key in table.keys() - others}
    if text["kind"] not in KINDS:
        raise ValueError(f"{name}: kind is one of {', '.join(KINDS)}, got {text['kind']!r}")
    tables = table.get("quantities", {})
    if not isinstance(tables, dict):
        raise ValueError(f"{name}: quantities is a table, got {tables!r}")
    quantities = tuple(_quantity(f"{name}.quantities.{key}", key, entry) for key, entry in tables.items())
    labels = table.get("variations", {})
    if not isinstance(labels, dict):
        raise ValueError(f"{name}: variations is a table, got {labels!r}")
    units = table.get("units")
    if units is not None and (isinstance(units, bool) or not isinstance(units, int) or units < 1):
        raise ValueError(f"{name}: units is a number of units, got {units!r}")
    claim = Claim(
        id=name, predicate=text.pop("predicate", None), quantities=quantities, units=units,
        variations={key: _label(f"{name}.variations.{key}", label) for key, label in labels.items()},
        **text,  # type: ignore[arg-type]
    )  # fmt: skip
    if claim.predicate is None and not claim.published:
        raise ValueError(f"{name}: predicate is missing, and no quantity has a paper value: nothing here can fail")
    if isinstance(note := table.get("note"), str | None):
        return _noted(claim, note)
    raise ValueError(f"{name}: note is a text, got {note!r}")


def _quantity(where: str, name: str, table: Any) -> Quantity:
    _check_keys(where, table, _QUANTITY_KEYS, {"paper", "tolerance", "draft"})
    form = _text(f"{where}: format", table["format"])
    if form not in FORMATS:
        raise ValueError(f"{where}: format is one of {', '.join(FORMATS)}, got {form!r}")
    paper, tolerance = (_number(f"{where}: {key}", table.get(key)) for key in ("paper", "tolerance"))
    if (paper is None) != (tolerance is None):
        present, absent = ("paper", "tolerance") if tolerance is None else ("tolerance", "paper")
        raise ValueError(f"{where}: {absent} is missing beside {present}")
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"{where}: tolerance is a number > 0, got {tolerance}")
    if paper is not None and form == "percent" and not 0 <= paper <= 1:
        raise ValueError(f"{where}: paper is a share between 0 and 1 where the format is percent, got {paper}")
    draft = _number(f"{where}: draft", table.get("draft"))
    if draft is not None and (paper is not None or (form == "percent" and not 0 <= draft <= 1)):
        raise ValueError(f"{where}: draft is a number of a draft, where the paper has none; a share from 0 to 1")
    label = _text(f"{where}: label", table["label"])
    return Quantity(name, label, paper, tolerance, form, draft)  # type: ignore[arg-type]


def _label(where: str, value: Any) -> str:
    label = _text(where, value)
    known = {"0", "1", "epochs"} >= set(placeholders(label)) and not ("{1}" in label and "{0}" not in label)
    if not known or re.search("[{}]", _PLACEHOLDER.sub("", label)):
        raise ValueError(f"{where}: a label has the placeholders {{0}}, {{1}} and {{epochs}}, got {label!r}")
    return label


def _check_keys(where: str, table: Any, needed: set[str], optional: set[str]) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: wanted a table, got {table!r}")
    for key in table:
        if key not in needed | optional:
            raise ValueError(f"{where}: unknown key {key!r}; the keys are {', '.join(sorted(needed | optional))}")
    for key in sorted(needed):
        if key not in table:
            raise ValueError(f"{where}: {key} is missing")


def _text(where: str, value: Any) -> str:
    """A text on one line: line breaks in the file are only for the reader of the file."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where} is a text that is not empty, got {value!r}")
    return " ".join(value.split())


def _number(where: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise ValueError(f"{where} is a finite number, got {value!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{where} is a number that fits, got one with {len(str(value))} digits") from error
