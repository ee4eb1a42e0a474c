"""What was measured for a claim, how sure one can be of it, and what that makes of the claim.

A measurement is one seed's numbers; a result is a claim's measurements, with the scale and the software they were made
with. The status follows from the paper's values, the interval over seeds and test images, and the registry's
tolerance: no one sets it by hand. Results travel as strict JSON with a fingerprint, so that a number that somebody
edited, or a file that was cut short, is noticed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..storage import parse_json, write_atomically
from .registry import Claim, Quantity, claims

Status = Literal["reproduced", "close", "differs", "not run"]
STATUSES: tuple[Status, ...] = ("reproduced", "close", "differs", "not run")
EXPLAINED: tuple[Status, ...] = ("differs", "not run")  # why is worth saying; not run: measured on other data
Interval = tuple[float, float]
T = TypeVar("T")

FORMAT = "tinyadv results 1"
PICTURE = "picture "  # how an image among the details begins: see `figures.encoded`
_LARGEST = 1e100  # sums and squares of larger numbers overflow
CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey
_ROUNDING = 1e-12  # what adding and dividing in floating point may do at the very edge of a band


class ResultsError(ValueError):
    """A results file is missing, damaged, edited, or not one."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its file's name (.png or .svg, beside the results), a title, and a caption that explains it."""

    name: str
    title: str
    caption: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*\.(png|svg)", self.name, re.ASCII):
            raise ValueError(f"a figure's name is a plain file name that ends in .png or .svg, got {self.name!r}")


@dataclass
class Measurement:
    """What a measuring function returns for one seed.

    Attributes
    ----------
    values : dict
        Each quantity by its name in the registry; shares as 0 to 1; NaN where there is no number.
    intervals : dict
        95 % intervals over test images, where there are any.
    holds : bool or None
        Whether the claim's predicate holds.
    details : dict
        Tables and curves, as what JSON can say; arrays are turned into lists when saved, what is not finite into null.
    recipes : list of str
        Hashes of the trained networks that were used.
    """

    values: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    holds: bool | None = None
    details: dict[str, Any] = field(default_factory=dict)
    recipes: list[str] = field(default_factory=list)


@dataclass
class Result:
    """What came out for one claim.

    Attributes
    ----------
    claim : str
        Its id.
    seeds, measurements : lists
        One measurement for each seed.
    scale : str
        In what the run is smaller than the paper's: "240 units where the paper has 1600"; "" for nothing.
    reason : str
        Why it differs, or "".
    """

    claim: str
    profile: str
    device: str
    seeds: list[int]
    measurements: list[Measurement]
    scale: str = ""
    figures: list[Figure] = field(default_factory=list)
    seconds: float = 0.0
    reason: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.seeds or len(self.seeds) != len(self.measurements) or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(
                f"{self.claim}: a result has one measurement for each of its seeds, at least one and all different; "
                f"got seeds {self.seeds} and {len(self.measurements)} measurements"
            )

    def mean(self, name: str) -> float:
        """The mean over seeds; NaN where the value is missing or NaN for any of them."""
        values = [m.values.get(name, math.nan) for m in self.measurements]
        return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan

    def interval(self, name: str) -> Interval | None:
        """The 95 % interval of the mean over seeds and test images, None where it cannot be told.

        Of one seed: the one over test images. Of k seeds: Student's t over the seeds, to either side at least as wide
        as the images' own intervals, averaged and divided by sqrt(k). (The same test images serve every seed, so the
        paper's value, measured on the same images, is held to the narrower of the two readings.)
        """
        mean, k = self.mean(name), len(self.measurements)
        if math.isnan(mean):
            return None
        values = [m.values[name] for m in self.measurements]
        images = [m.intervals[name] for m in self.measurements if name in m.intervals]
        images = [(low, high) for low, high in images if math.isfinite(low) and math.isfinite(high)]
        if k == 1:
            return images[0] if images else None
        variance = math.fsum((v - mean) ** 2 for v in values) / (k - 1)
        below = above = student_t(k - 1) * math.sqrt(variance / k)
        if len(images) == k:
            below = max(below, math.fsum(v - low for v, (low, _) in zip(values, images, strict=True)) / k**1.5)
            above = max(above, math.fsum(high - v for v, (_, high) in zip(values, images, strict=True)) / k**1.5)
        return mean - below, mean + above

    def quantity_status(self, quantity: Quantity) -> Status | None:
        """What the measured number makes of the paper's; None for context, of which the paper says nothing.

        A number without an interval is *close* at best.
        """
        if quantity.paper is None or quantity.tolerance is None:
            return None
        if not any(quantity.name in m.values for m in self.measurements):
            return "not run"
        mean, interval = self.mean(quantity.name), self.interval(quantity.name)
        if interval and interval[0] - _ROUNDING <= quantity.paper <= interval[1] + _ROUNDING:
            return "reproduced"
        return "close" if abs(mean - quantity.paper) <= quantity.tolerance + _ROUNDING else "differs"

    def predicate_status(self) -> Status:
        """*reproduced* if the predicate holds for every seed, *differs* if it fails for one."""
        held = [m.holds for m in self.measurements]
        if False in held:
            return "differs"
        return "not run" if None in held else "reproduced"

    def to_json(self) -> dict[str, Any]:
        """This result as what JSON can say: numbers that are not finite become null."""
        plain = {name: getattr(self, name) for name in ("claim", "profile", "device", "scale", "seeds", "seconds")}
        plain |= {"reason": self.reason, "versions": self.versions}
        plain["figures"] = [vars(figure) for figure in self.figures]
        first, *others = map(vars, self.measurements)  # figures are drawn from the first seed's details alone
        plain["measurements"] = [first, *({**m, "details": _without_pictures(m["details"])} for m in others)]
        return dict(_plain(plain))

    @classmethod
    def from_json(cls, data: Any) -> Result:
        """The result that `to_json` wrote.

        Raises
        ------
        ResultsError
            If an entry is missing, unknown, or not what it should be.
        """
        entries = _Entries("result", data)
        entries.where = f"result of {entries.get('claim', _text)}"
        return entries.make(
            cls, claim=_text, profile=_text, device=_text, scale=_text, reason=_text, seconds=_finite,
            seeds=_list_of(_integer), versions=_dict_of(_text), figures=_list_of(_figure),
            measurements=_list_of(_measurement),
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# The status of a claim


def status(claim: Claim, result: Result | None) -> Status:
    """What the result makes of the claim: that of its worst part.

    *reproduced*: every published number lies within our 95 % interval, and the predicate, if the claim has one, holds
    for every seed. *close*: the predicate holds, and every number is within its tolerance. *differs*: a number is
    outside or not a number, or the predicate fails for a seed. *not run*: nothing, or not all of it, was measured.
    """
    if result is None:
        return "not run"
    parts = [result.quantity_status(q) for q in claim.published]
    if claim.predicate is not None:
        parts.append(result.predicate_status())
    worst_first: tuple[Status, ...] = ("differs", "not run", "close")
    return next((word for word in worst_first if word in parts), "reproduced")


def statuses(results: Mapping[str, Result]) -> Iterator[tuple[Claim, Result | None, Status]]:
    """Every claim in the paper's order, with its result if there is one, and its status."""
    for claim in claims().values():
        result = results.get(claim.id)
        yield claim, result, status(claim, result)


def check(result: Result) -> None:
    """ValueError where a result does not fit its claim: numbers that the registry lacks, or that are not there.

    Of a claim on other data than MNIST the published part may be missing, as a whole: it is then not run.
    """
    claim = claims()[result.claim]
    known = {q.name for q in claim.quantities}
    for seed, m in zip(result.seeds, result.measurements, strict=True):
        unknown = sorted((m.values.keys() | m.intervals.keys()) - known)
        missing = sorted({q.name for q in claim.published} - m.values.keys())
        missing += ["holds"] if claim.predicate is not None and m.holds is None else []
        if claim.data != "MNIST" and len(missing) == len(claim.published) + (claim.predicate is not None):
            missing = []
        if unknown or missing:
            raise ValueError(
                f"{claim.id}, seed {seed}: the measurement lacks {', '.join(missing) or 'nothing'}, "
                f"and claims.toml does not know {', '.join(unknown) or 'nothing'}"
            )


@cache
def student_t(degrees: int) -> float:
    """The t with P(|T| <= t) = 95 % for Student's T of so many degrees of freedom, at least 1.

    From the finite sums in the angle atan(t / sqrt(degrees)), Abramowitz and Stegun 26.7.3 and 26.7.4, by bisection.
    """
    if degrees < 1:
        raise ValueError(f"Student's t has at least 1 degree of freedom, got {degrees}")

    def probability(angle: float) -> float:
        first = degrees % 2  # the sums run over odd powers of the cosine, or over even ones
        term, total = math.cos(angle) if first else 1.0, 0.0
        for power in range(first, degrees - 1, 2):
            total += term
            term *= math.cos(angle) ** 2 * (power + 1) / (power + 2)
        total *= math.sin(angle)
        return 2 / math.pi * (angle + total) if first else total

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < 0.95 else (low, middle)
    return math.sqrt(degrees) * math.tan(high)


# ---------------------------------------------------------------------------------------------------------
# Numbers as text


def format_value(quantity: Quantity, value: float | None, interval: Interval | None = None) -> str:
    """A measured number with its interval, "99.9 % [99.8, 99.9]"; "—" where there is none.

    Shares have as many decimals as the paper's value, and at least one; at least two below 2 %. What of an interval
    over seeds lies outside 0 to 100 % is cut off.
    """
    if value is None or not math.isfinite(value):
        return "—"
    if quantity.format == "number":
        return _digits(value) + (f" [{_digits(interval[0])}, {_digits(interval[1])}]" if interval else "")
    decimals = max(2 if abs(value) < 0.02 else 1, _decimals(quantity.paper or 0.0))
    text = f"{100 * value:.{decimals}f} %"
    if interval:
        low, high = max(0.0, interval[0]), min(1.0, interval[1])
        text += f" [{100 * low:.{decimals}f}, {100 * high:.{decimals}f}]"
    return text


def percent(share: float) -> str:
    """A share in a sentence, "17.9 %"; two decimals below 10 %, where sentences compare errors that are near."""
    return f"{100 * share:.{2 if share < 0.1 else 1}f} %"


def format_paper(quantity: Quantity) -> str:
    """The paper's value of a quantity as it is in print; "—" where it has none."""
    if quantity.paper is None:
        return "—"
    if quantity.format == "number":
        return f"{quantity.paper:g}"
    return f"{100 * quantity.paper:.{_decimals(quantity.paper)}f} %"


def _digits(number: float) -> str:
    """Four digits, or all of those before the point."""
    return f"{number:,.0f}" if 1e4 <= abs(number) < 1e9 else f"{number:.4g}"


def _decimals(share: float) -> int:
    """How many decimals, up to 3, the share has in percent."""
    return next((d for d in range(3) if abs(round(100 * share, d) - 100 * share) < 1e-9), 3)


# ---------------------------------------------------------------------------------------------------------
# The results file


def save_results(path: str | os.PathLike[str], results: Mapping[str, Result], manifest: Mapping[str, Any]) -> None:
    """Write results, by claim id, and the manifest of the run that made them, to `path`: whole or not at all."""
    content = {"manifest": _plain(dict(manifest)), "results": [result.to_json() for result in results.values()]}
    document = {"format": FORMAT, "sha256": _fingerprint(content), **content}
    write_atomically(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def load_results(path: str | os.PathLike[str]) -> tuple[dict[str, Result], dict[str, Any]]:
    """The results and the manifest that `save_results` wrote to `path`.

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
    if entries.get("format") != FORMAT:
        raise ResultsError(f"{path} is JSON, but not results of the form {FORMAT!r}")
    if entries.get("sha256") != fingerprint:
        raise ResultsError(f"{path} is damaged or was edited: its contents do not match their SHA-256")
    try:
        reader = _Entries("file", content)
        manifest = reader.get("manifest", _dict_of(_anything))
        results = reader.get("results", _list_of(Result.from_json))
        reader.done()
    except ResultsError as error:
        raise ResultsError(f"{path}: {str(error)[:500]}") from error
    by_claim = {result.claim: result for result in results}
    if unknown := sorted(by_claim.keys() - claims().keys()):
        raise ResultsError(f"{path} has results of claims that claims.toml does not know: {', '.join(unknown)[:500]}")
    if len(by_claim) < len(results):
        raise ResultsError(f"{path} has more than one result of the same claim")
    return by_claim, manifest


def merge(old: Mapping[str, Result], new: Mapping[str, Result]) -> dict[str, Result]:
    """The new results, and the old ones of claims that were not run anew, in the paper's order."""
    both = {**old, **new}
    return {name: both[name] for name in claims() if name in both}


def committed(largest: str = "paper") -> dict[str, Result]:
    """The results that are published with the package, by claim id: for each claim those of the largest profile.

    Profiles larger than `largest`, "quick", "lesson" or "paper", are left out.
    """
    folder = Path(__file__).parent / "results"
    found: dict[str, Result] = {}
    profiles = "quick", "lesson", "paper"
    for profile in profiles[: profiles.index(largest) + 1]:
        path = folder / f"{profile}.json"
        found = merge(found, load_results(path)[0]) if path.exists() else found
    return found


def _fingerprint(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


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


# Reading what a stranger's file may hold: one small function for each kind of entry, which returns it or raises.


class _Entries:
    """The entries of a JSON table, each read once by a function that checks it; none may be left over."""

    def __init__(self, where: str, data: Any) -> None:
        if not isinstance(data, dict):
            raise ResultsError(f"{where}: wanted a table, got {type(data).__name__}")
        self.where, self.data, self.read = where, data, set[str]()

    def get(self, key: str, reader: Callable[[Any], T]) -> T:
        if key not in self.data:
            raise ResultsError(f"{self.where}: {key} is missing")
        self.read.add(key)
        try:
            return reader(self.data[key])
        except ResultsError as error:
            raise ResultsError(f"{self.where}: {key}: {error}") from error

    def done(self) -> None:
        if unknown := sorted(self.data.keys() - self.read):
            raise ResultsError(f"{self.where}: unknown entries {', '.join(unknown)}")

    def make(self, kind: Callable[..., T], **readers: Callable[[Any], Any]) -> T:
        """`kind` made of all entries."""
        values = {key: self.get(key, reader) for key, reader in readers.items()}
        self.done()
        try:
            return kind(**values)
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


def _details(value: Any) -> dict[str, Any]:
    """Anything, but for tables of two names: what shows them relies on their form."""
    details = _dict_of(_anything)(value)
    for name, cells in (("variations", None), ("audit", _AUDITED)):
        if name in details:
            table = _dict_of(_anything)(details[name])
            columns = _list_of(_text)(table.get("columns"))
            for row in _list_of(_list_of(_anything))(table.get("rows")):
                if not row or len(row) != len(cells or columns):
                    raise _wanted(f"{len(cells or columns)} cells", row)
                for read, cell in zip(cells or [_cell] * len(row), row, strict=True):
                    read(cell)
            for texts in ("formats", "violations"):
                _list_of(_text)(table.get(texts, []))
    return details


def _cell(value: Any) -> Any:
    (_text if isinstance(value, str) else _number)(value)
    return value


def _figure(value: Any) -> Figure:
    return _Entries("figure", value).make(Figure, name=_text, title=_text, caption=_text)


def _measurement(value: Any) -> Measurement:
    return _Entries("measurement", value).make(
        Measurement, values=_dict_of(_number), intervals=_dict_of(_interval), holds=_holds,
        details=_details, recipes=_list_of(_text),
    )  # fmt: skip
