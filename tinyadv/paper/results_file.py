"""The results file: what was measured, as strict JSON with a fingerprint.

So a number that somebody edited, or a file that was cut short, is noticed. What a later version of the program wrote
into a file is kept as it is. Every entry of a stranger's file is checked by a small function of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..storage import parse_json, write_atomically
from .results import PICTURE, Interval, Measurement, Result, Stint, merge

T = TypeVar("T")

FORMAT = "tinyadv results 2"
RESULTS = Path(__file__).parent / "results"  # what is published with the package: a file for each profile
BY_SIZE = ("quick", "lesson", "paper")  # the profiles, the smallest first
_LARGEST = 1e100  # sums and squares of larger numbers overflow
CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey


class ResultsError(ValueError):
    """A results file is missing, damaged, edited, or not one."""


class OtherVersionError(ResultsError):
    """A results file is sound, but in the form of an earlier or a later version."""


def save_results(path: str | os.PathLike[str], results: Mapping[str, Result], manifest: Mapping[str, Any]) -> None:
    """Write results, by claim id, and the manifest of the run that made them, to `path`: whole or not at all."""
    content = {"manifest": _plain(dict(manifest)), "results": [to_json(result) for result in results.values()]}
    document = {"format": FORMAT, "sha256": _fingerprint(content), **content}
    write_atomically(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def load_results(path: str | os.PathLike[str]) -> tuple[dict[str, Result], dict[str, Any]]:
    """The results and the manifest that `save_results` wrote to `path`.

    Claims that claims.toml does not know are among them: a later version of the program may have measured them.

    Raises
    ------
    ResultsError
        If the file is missing, unreadable, not of this kind, or not what was written.
    """
    try:
        document = parse_json(Path(path).read_bytes().decode(), parse_constant=_no_constant)
        entries = document if isinstance(document, dict) else {}
        content = {key: value for key, value in entries.items() if key not in ("format", "sha256")}
        fingerprint = _fingerprint(content)
    except FileNotFoundError as error:
        raise ResultsError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} is not a readable results file: {error}") from error
    form = entries.get("format")
    if form != FORMAT and isinstance(form, str) and re.fullmatch(r"tinyadv results [1-9][0-9]{0,5}", form):
        which = "an earlier" if int(form.rsplit(" ", 1)[1]) < int(FORMAT.rsplit(" ", 1)[1]) else "a later"
        raise OtherVersionError(
            f"{path} was written by {which} version of tinyadv, as {form!r}: this one has {FORMAT!r}"
        )
    if form != FORMAT:
        raise ResultsError(f"{path} is JSON, but not results of the form {FORMAT!r}")
    if entries.get("sha256") != fingerprint:
        raise ResultsError(f"{path} is damaged or was edited: its contents do not match their SHA-256")
    try:
        reader = _Entries("file", content)
        manifest = reader.get("manifest", _dict_of(_anything))
        results = reader.get("results", _list_of(from_json))
    except ResultsError as error:
        raise ResultsError(f"{path}: {str(error)[:500]}") from error
    by_claim = {result.claim: result for result in results}
    if len(by_claim) < len(results):
        raise ResultsError(f"{path} has more than one result of the same claim")
    return by_claim, manifest


def committed(largest: str = "paper") -> dict[str, Result]:
    """The results that are published with the package, by claim id: for each claim those of the largest profile.

    Profiles larger than `largest`, "quick", "lesson" or "paper", are left out.
    """
    found: dict[str, Result] = {}
    for profile in BY_SIZE[: BY_SIZE.index(largest) + 1]:
        path = RESULTS / f"{profile}.json"
        found = merge(found, load_results(path)[0]) if path.exists() else found
    return found


def _fingerprint(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# ---------------------------------------------------------------------------------------------------------
# Writing


def to_json(result: Result) -> dict[str, Any]:
    """A result as what JSON can say: numbers that are not finite become null."""
    plain = {name: getattr(result, name) for name in ("claim", "profile", "device", "seeds", "seconds", "versions")}
    if result.core_seconds is not None:
        plain["core_seconds"] = result.core_seconds
    first, *others = map(_fields, result.measurements)  # figures are drawn from the first seed's details alone
    plain["measurements"] = [first, *({**m, "details": _without_pictures(m["details"])} for m in others)]
    return dict(_plain({**result.later, **plain}))


def _fields(m: Measurement) -> dict[str, Any]:
    known = {key: entry for key, entry in vars(m).items() if key != "later"}
    return {**m.later, **known}


def _without_pictures(details: Any) -> Any:
    """Details without their images, which are most of a results file."""
    if isinstance(details, Mapping):
        return {key: _without_pictures(entry) for key, entry in details.items()}
    if isinstance(details, list | tuple):
        kept = (entry for entry in details if not (isinstance(entry, str) and entry.startswith(PICTURE)))
        return [_without_pictures(entry) for entry in kept]
    return details


def _plain(value: Any) -> Any:
    """`value` as what JSON can say: arrays and tuples as lists, numbers that are not finite as None."""
    if hasattr(value, "tolist"):  # arrays and array scalars of any library
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    raise TypeError(f"results hold texts, numbers, lists and tables of these, got {type(value).__name__}: {value!r}")


# ---------------------------------------------------------------------------------------------------------
# Reading what a stranger's file may hold: one small function for each kind of entry, which returns it or raises.


def from_json(data: Any) -> Result:
    """The result that `to_json` wrote.

    Raises
    ------
    ResultsError
        If an entry is missing, or not what it should be.
    """
    entries = _Entries("result", data)
    entries.where = f"result of {entries.get('claim', _text)}"
    return entries.make(
        Result, claim=_text, profile=_text, device=_text, seconds=_finite, seeds=_list_of(_integer),
        versions=_dict_of(_text), measurements=_list_of(_measurement), optional={"core_seconds": _finite},
    )  # fmt: skip


def stints(network: Mapping[str, Any]) -> list[Stint]:
    """What the training of one of a measurement's networks has cost; empty where that was not recorded.

    Raises
    ------
    ResultsError
        If it is not what `cost.Ledger` writes.
    """
    return _list_of(_stint)(network.get("cost", []))


class _Entries:
    """The entries of a JSON table, each read once by a function that checks it; what is left over is kept."""

    def __init__(self, where: str, data: Any) -> None:
        if not isinstance(data, dict):
            raise ResultsError(f"{where}: wanted a table, got {type(data).__name__}")
        self.where, self.data = where, data

    def get(self, key: str, reader: Callable[[Any], T]) -> T:
        if key not in self.data:
            raise ResultsError(f"{self.where}: {key} is missing")
        try:
            return reader(self.data[key])
        except ResultsError as error:
            raise ResultsError(f"{self.where}: {key}: {error}") from error

    def make(
        self,
        kind: Callable[..., T],
        optional: Mapping[str, Callable[[Any], Any]] | None = None,
        **readers: Callable[[Any], Any],
    ) -> T:
        """`kind` made of all entries; those without a reader are its `later`. What is `optional` may be missing."""
        readers |= {key: reader for key, reader in (optional or {}).items() if key in self.data}
        values = {key: self.get(key, reader) for key, reader in readers.items()}
        later = {key: entry for key, entry in self.data.items() if key not in readers}
        try:
            return kind(**values, later=later)
        except ValueError as error:
            raise ResultsError(f"{self.where}: {error}") from error


def _wanted(what: str, value: Any) -> ResultsError:
    shown = repr(value)
    return ResultsError(f"wanted {what}, got {shown if len(shown) < 60 else shown[:56] + ' ...'}")


def _anything(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _wanted("a text", value)
    if CONTROL.search(value):
        raise _wanted("a text without control characters", value)
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wanted("an integer", value)
    return value


def _number(value: Any) -> float:
    """A number whose square is one too; null is one that was not finite."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wanted("a number", value)
    if not abs(value) <= _LARGEST:
        raise _wanted(f"a number that fits, of at most {_LARGEST:g}", value)
    return float(value)


def _finite(value: Any) -> float:
    if value is None:
        raise _wanted("a number", value)
    return _number(value)


def _holds(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise _wanted("true, false or null", value)
    return value


def _list_of(reader: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    def read(value: Any) -> list[T]:
        if not isinstance(value, list):
            raise _wanted("a list", value)
        return [reader(entry) for entry in value]

    return read


def _dict_of(reader: Callable[[Any], T]) -> Callable[[Any], dict[str, T]]:
    def read(value: Any) -> dict[str, T]:
        if not isinstance(value, dict):
            raise _wanted("a table", value)
        return {key: reader(entry) for key, entry in value.items()}

    return read


def _interval(value: Any) -> Interval:
    numbers = _list_of(_number)(value)
    if len(numbers) != 2:
        raise _wanted("two numbers", value)
    return numbers[0], numbers[1]


_AUDITED = (_text, _text, _integer, _number, _number, _number)
_VIOLATION = (_text, _text, _text, _integer, _finite, _finite)


def _details(value: Any) -> dict[str, Any]:
    """Anything, but for the table of the audit: what shows it relies on its form."""
    details = _dict_of(_anything)(value)
    if "audit" in details:
        table = _dict_of(_anything)(details["audit"])
        for name, readers in (("rows", _AUDITED), ("violations", _VIOLATION)):
            for row in _list_of(_list_of(_anything))(table.get(name)):
                if len(row) != len(readers):
                    raise _wanted(f"{len(readers)} cells", row)
                for read, cell in zip(readers, row, strict=True):
                    read(cell)
    return details


def _network(value: Any) -> dict[str, Any]:
    """What is said of a network: anything, but what is shown of its recipe is what it should be."""
    about = _dict_of(_anything)(value)
    _text(about.get("hash", ""))
    stints(about)
    recipe = _dict_of(_anything)(about.get("recipe", {}))
    readers = {
        "network": _text,
        "objective": _text,
        "data": _text,
        "epochs": _integer,
        "arguments": _dict_of(_anything),
    }
    for key, reader in readers.items():
        if key in recipe:
            reader(recipe[key])
    return about


def _stint(value: Any) -> Stint:
    entries = _Entries("cost", value)
    return Stint(
        title=entries.get("title", _text),
        epochs=entries.get("epochs", _integer),
        seconds=entries.get("seconds", _finite),
        core_seconds=entries.get("core_seconds", _finite),
        setup=entries.get("setup", _dict_of(_text)),
    )


def _measurement(value: Any) -> Measurement:
    return _Entries("measurement", value).make(
        Measurement, values=_dict_of(_number), intervals=_dict_of(_interval), holds=_holds,
        variations=_dict_of(_dict_of(_number)), details=_details, networks=_dict_of(_network),
    )  # fmt: skip
