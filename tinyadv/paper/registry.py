"""The paper's claims as data: `claims.toml`, read once and checked.

A claim is the sentence, the paper's value, our definition, and what can fail: numbers with a published value, a
predicate, or both. Everything else in this folder looks claims up here by their id.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

KINDS = ("N", "Q", "F")
FORMATS = ("percent", "number")

_LONGEST_LINE = 2000
_CLAIM_KEYS = {"section", "kind", "claim", "paper", "definition"}
_QUANTITY_KEYS = {"label", "format"}


@dataclass(frozen=True)
class Quantity:
    """One number of a claim; without the paper's own value it is context.

    Attributes
    ----------
    paper : float or None
        The published value: a share between 0 and 1 where the format is "percent".
    tolerance : float or None
        How far from it, absolutely, a measurement is still *close*.
    """

    name: str
    label: str
    paper: float | None
    tolerance: float | None
    format: Literal["percent", "number"]


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
        On which the published values and the predicate are; what is measured on MNIST instead is context.
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

    @property
    def published(self) -> tuple[Quantity, ...]:
        """The quantities that the paper gives a value for."""
        return tuple(q for q in self.quantities if q.paper is not None)


@cache
def claims() -> dict[str, Claim]:
    """All claims by id, in the paper's order."""
    return parse(files("tinyadv.paper").joinpath("claims.toml").read_text("utf-8"))


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
        raise ValueError("; ".join(map(_unknown, unknown)) + " (`tinyadv claims` lists them all)")
    return [claims()[name] for name in ids]


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, claims(), n=3)
    return f"no claim {name!r}" + (f": did you mean {' or '.join(near)}?" if near else "")


def parse(text: str) -> dict[str, Claim]:
    """The claims that a TOML text in the form of claims.toml describes.

    Raises
    ------
    ValueError
        If it is not TOML, or a claim has an unknown, missing or unfit entry; names the claim and the key.
    """
    if max(map(len, text.splitlines()), default=0) > _LONGEST_LINE:
        raise ValueError(f"lines have at most {_LONGEST_LINE:,} characters: longer keys take tomllib for ever")
    try:
        tables = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("claims are nested too deeply") from error
    return {name: _claim(name, table) for name, table in tables.items()}


def _claim(name: str, table: Any) -> Claim:
    _check_keys(name, table, _CLAIM_KEYS, {"predicate", "quantities", "data"})
    text = {key: _text(f"{name}: {key}", table[key]) for key in table.keys() - {"quantities"}}
    if text["kind"] not in KINDS:
        raise ValueError(f"{name}: kind is one of {', '.join(KINDS)}, got {text['kind']!r}")
    tables = table.get("quantities", {})
    if not isinstance(tables, dict):
        raise ValueError(f"{name}: quantities is a table, got {tables!r}")
    quantities = tuple(_quantity(f"{name}.quantities.{key}", key, entry) for key, entry in tables.items())
    claim = Claim(id=name, predicate=text.pop("predicate", None), quantities=quantities, **text)  # type: ignore[arg-type]
    if claim.predicate is None and not claim.published:
        raise ValueError(f"{name}: predicate is missing, and no quantity has a paper value: nothing here can fail")
    return claim


def _quantity(where: str, name: str, table: Any) -> Quantity:
    _check_keys(where, table, _QUANTITY_KEYS, {"paper", "tolerance"})
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
    label = _text(f"{where}: label", table["label"])
    return Quantity(name, label, paper, tolerance, form)  # type: ignore[arg-type]


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
