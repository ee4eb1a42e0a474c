"""What was measured for a claim, how sure one can be of it, and what that makes of the claim.

A measurement is one seed's numbers; a result is a claim's measurements, with the networks and the software they were
made with. Results hold numbers, keys and pictures, and no sentence: those are in claims.toml and notes.toml. The status
follows from the paper's values, the interval over seeds and test images, and the claim's tolerance: no one sets it by
hand. Results travel as strict JSON with a fingerprint, so that a number that somebody edited, or a file that was cut
short, is noticed. What a later version of the program wrote into them is kept as it is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..storage import parse_json, write_atomically
from .claims import Claim, Quantity, claims

Status = Literal["reproduced", "close", "differs", "not run"]
STATUSES: tuple[Status, ...] = ("reproduced", "close", "differs", "not run")
Interval = tuple[float, float]
T = TypeVar("T")

FORMAT = "tinyadv results 2"
TRAINED_BY, MEASURED_BY = "trained by", "measured by"  # among a result's versions: see `fingerprint`
PICTURE = "picture "  # how an image among the details begins: see `draw.encoded`
_LARGEST = 1e100  # sums and squares of larger numbers overflow
CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey
_ROUNDING = 1e-12  # what adding and dividing in floating point may do at the very edge of a band


class ResultsError(ValueError):
    """A results file is missing, damaged, edited, or not one."""


class OtherVersionError(ResultsError):
    """A results file is sound, but in the form of an earlier or a later version."""


@dataclass
class Measurement:
    """What a measuring function returns for one seed.

    Attributes
    ----------
    values : dict
        Each quantity by its name in claims.toml; shares as 0 to 1; NaN where there is no number.
    intervals : dict
        95 % intervals over test images, where there are any.
    holds : bool or None
        Whether the claim's predicate holds.
    variations : dict
        Quantities if a choice on which the paper is silent is made otherwise, by the keys of claims.toml; where the
        networks were trained for another length it is there as "epochs".
    details : dict
        Tables and curves, as what JSON can say; arrays are turned into lists when saved, what is not finite into null.
    networks : dict
        The trained networks that were used, by their names in the measuring function: see `measure.Measure`; with what
        their training has cost, where that is known: see `stints`.
    """

    values: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    holds: bool | None = None
    variations: dict[str, dict[str, float]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    later: dict[str, Any] = field(default_factory=dict, repr=False)  # what only a later version knows


@dataclass
class Stint:
    """Work on a training without a break: what it cost.

    Attributes
    ----------
    title : str
        The training's. With a second stage, or with retraining, a network has several trainings.
    epochs : int
        How many were done in it.
    seconds, core_seconds : float
        By the clock; and of processors, of all threads together.
    setup : dict
        Processor, BLAS with its kernel and threads, and versions: see `cost.setup`.
    """

    title: str
    epochs: int = 0
    seconds: float = 0.0
    core_seconds: float = 0.0
    setup: dict[str, str] = field(default_factory=dict)


def stints(network: Mapping[str, Any]) -> list[Stint]:
    """What the training of one of a measurement's networks has cost; empty where that was not recorded.

    Raises
    ------
    ResultsError
        If it is not what `cost.Ledger` writes.
    """
    return _list_of(_stint)(network.get("cost", []))


@dataclass(frozen=True)
class Variation:
    """A variation over all seeds that have it: its key, its label for people, means by the names of quantities."""

    key: str
    label: str
    values: dict[str, float]
    seeds: int


@dataclass
class Result:
    """What came out for one claim.

    Attributes
    ----------
    claim : str
        Its id.
    seeds, measurements : lists
        One measurement for each seed.
    seconds, core_seconds : float
        What measuring took, training aside: by the clock; and of processors, None where that was not recorded.
    versions : dict
        What it was measured with: see `cost.setup`.
    """

    claim: str
    profile: str
    device: str
    seeds: list[int]
    measurements: list[Measurement]
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    core_seconds: float | None = None
    later: dict[str, Any] = field(default_factory=dict, repr=False)

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
        mean, k, over_images = self.mean(name), len(self.measurements), self._interval_over_images(name)
        if math.isnan(mean) or k == 1:
            return over_images
        variance = math.fsum((m.values[name] - mean) ** 2 for m in self.measurements) / (k - 1)
        half = student_t(k - 1) * math.sqrt(variance / k)
        low, high = over_images or (mean, mean)
        return min(low, mean - half), max(high, mean + half)

    def _interval_over_images(self, name: str) -> Interval | None:
        """The 95 % interval of the mean over seeds as far as test images make it; None where one seed's is unknown."""
        mean, k = self.mean(name), len(self.measurements)
        images = [m.intervals[name] for m in self.measurements if name in m.intervals]
        if math.isnan(mean) or len(images) < k or not all(map(math.isfinite, chain.from_iterable(images))):
            return None
        if k == 1:
            return images[0]
        values = [m.values[name] for m in self.measurements]
        below = math.fsum(v - low for v, (low, _) in zip(values, images, strict=True)) / k**1.5
        above = math.fsum(high - v for v, (_, high) in zip(values, images, strict=True)) / k**1.5
        return mean - below, mean + above

    def quantity_status(self, quantity: Quantity) -> Status | None:
        """What the measured number makes of the paper's; None for context, of which the paper says nothing.

        A number without an interval is *close* at best. Of two seeds the interval over test images decides: the one
        over seeds, with t = 12.7, holds nearly every number.
        """
        if quantity.paper is None or quantity.tolerance is None:
            return None
        if not any(quantity.name in m.values for m in self.measurements):
            return "not run"
        of_two = len(self.measurements) == 2
        interval = self._interval_over_images(quantity.name) if of_two else self.interval(quantity.name)
        mean = self.mean(quantity.name)
        if interval and interval[0] - _ROUNDING <= quantity.paper <= interval[1] + _ROUNDING:
            return "reproduced"
        return "close" if abs(mean - quantity.paper) <= quantity.tolerance + _ROUNDING else "differs"

    def predicate_status(self) -> Status:
        """*reproduced* if the predicate holds for every seed, *differs* if it fails for one."""
        held = [m.holds for m in self.measurements]
        if False in held:
            return "differs"
        return "not run" if None in held else "reproduced"

    def variations(self) -> list[Variation]:
        """The variations of the first seed, each the mean over the seeds that have it; NaN where one has no number.

        A file may be of another version of the program: a variation that claims.toml does not have is called by its
        key, and a quantity that it does not have is left out.
        """
        claim = claims().get(self.claim)
        known = {q.name for q in claim.quantities} | {"epochs"} if claim else None
        found = []
        for key, first in self.measurements[0].variations.items():
            same = [m.variations[key] for m in self.measurements if key in m.variations]
            names = [name for name in first if known is None or name in known]
            values = {name: math.fsum(v.get(name, math.nan) for v in same) / len(same) for name in names}
            label = key
            with suppress(ValueError):
                label = claim.variation_label(key, values.get("epochs")) if claim else key
            found.append(Variation(key, label, values, len(same)))
        return found

    def to_json(self) -> dict[str, Any]:
        """This result as what JSON can say: numbers that are not finite become null."""
        plain = {name: getattr(self, name) for name in ("claim", "profile", "device", "seeds", "seconds", "versions")}
        if self.core_seconds is not None:
            plain["core_seconds"] = self.core_seconds
        first, *others = map(_fields, self.measurements)  # figures are drawn from the first seed's details alone
        plain["measurements"] = [first, *({**m, "details": _without_pictures(m["details"])} for m in others)]
        return dict(_plain({**self.later, **plain}))

    @classmethod
    def from_json(cls, data: Any) -> Result:
        """The result that `to_json` wrote.

        Raises
        ------
        ResultsError
            If an entry is missing, or not what it should be.
        """
        entries = _Entries("result", data)
        entries.where = f"result of {entries.get('claim', _text)}"
        return entries.make(
            cls, claim=_text, profile=_text, device=_text, seconds=_finite, seeds=_list_of(_integer),
            versions=_dict_of(_text), measurements=_list_of(_measurement), optional={"core_seconds": _finite},
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
    """ValueError where a result does not fit its claim: names that claims.toml lacks, or numbers that are not there."""
    claim = claims()[result.claim]
    for seed, m in zip(result.seeds, result.measurements, strict=True):
        missing = sorted({q.name for q in claim.published} - m.values.keys())
        missing += ["holds"] if claim.predicate is not None and m.holds is None else []
        if missing:
            raise ValueError(f"{claim.id}, seed {seed}: the measurement lacks {', '.join(missing)}")
        check_names(claim.id, m)


def check_names(claim: str, m: Measurement) -> None:
    """ValueError where a measurement has a quantity or variation that claims.toml lacks; TypeError if `m` is none."""
    if not isinstance(m, Measurement):  # what a measuring function of one's own may give
        raise TypeError(f"what measures {claim} gives a Measurement, as values.measurement() makes it; got {m!r}")
    about = claims()[claim]
    for name in (*m.values, *m.intervals):
        about.quantity(name)
    for key, values in m.variations.items():
        about.variation_label(key)
        for name in values.keys() - {"epochs"}:
            about.quantity(name)


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

    Shares have as many decimals as the paper's value, and at least one; at least two below 2 %. What of a share's
    interval over seeds lies outside 0 to 100 % is cut off.
    """
    if value is None or not math.isfinite(value):
        return "—"
    if quantity.format == "number":
        return _digits(value) + (f" [{_digits(interval[0])}, {_digits(interval[1])}]" if interval else "")
    decimals = max(2 if abs(value) < 0.02 else 1, _decimals(quantity.paper or 0.0))
    text = f"{100 * value:.{decimals}f} %"
    if interval:
        low, high = interval
        if quantity.format == "percent":
            low, high = max(0.0, low), min(1.0, high)
        text += f" [{100 * low:.{decimals}f}, {100 * high:.{decimals}f}]"
    return text


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
        results = reader.get("results", _list_of(Result.from_json))
    except ResultsError as error:
        raise ResultsError(f"{path}: {str(error)[:500]}") from error
    by_claim = {result.claim: result for result in results}
    if len(by_claim) < len(results):
        raise ResultsError(f"{path} has more than one result of the same claim")
    return by_claim, manifest


def merge(old: Mapping[str, Result], new: Mapping[str, Result]) -> dict[str, Result]:
    """The new results, and the old ones of claims that were not run anew, in the paper's order; unknown ones last."""
    both = {**old, **new}
    return {name: both[name] for name in [*claims(), *both] if name in both}


def joined(old: Result, new: Result) -> Result:
    """One result of two of the same claim, with the seeds of both; where both have a seed, that of the new one.

    Raises
    ------
    ValueError
        If the two do not belong together: another claim, profile or device, networks that differ in more than their
        seeds, another program that trained them, or other quantities.
    """

    def same(name: str, before: Any, now: Any) -> None:
        if before != now:
            raise ValueError(f"{new.claim}: seeds that are put together have the same {name}; got {before} and {now}")

    same("claim", old.claim, new.claim)
    same("profile", old.profile, new.profile)
    same("device", old.device, new.device)
    if TRAINED_BY in old.versions and TRAINED_BY in new.versions:
        same("program that trained them", old.versions[TRAINED_BY], new.versions[TRAINED_BY])
    same("quantities", sorted(old.measurements[0].values), sorted(new.measurements[0].values))
    before, now = _unseeded(old.measurements[0].networks), _unseeded(new.measurements[0].networks)
    same("networks", sorted(before), sorted(now))
    for name in now:
        same(f"recipe of {name}", before[name], now[name])
    by_seed = dict(zip(old.seeds, old.measurements, strict=True)) | dict(zip(new.seeds, new.measurements, strict=True))
    if by_seed.keys() == set(new.seeds):
        return new
    seeds = sorted(by_seed)
    known = None not in (old.core_seconds, new.core_seconds)
    return replace(
        new,
        seeds=seeds,
        measurements=[by_seed[seed] for seed in seeds],
        seconds=round(old.seconds + new.seconds, 2),
        core_seconds=round((old.core_seconds or 0.0) + (new.core_seconds or 0.0), 2) if known else None,
        versions=joined_versions(old.versions, new.versions),
    )


def joined_versions(*runs: Mapping[str, str]) -> dict[str, str]:
    """What the last of several runs says of itself, "a; b" where an earlier one differs."""
    found = {}
    for key in runs[-1]:
        texts = [text for run in runs for text in run.get(key, "").split("; ") if text]
        found[key] = "; ".join(dict.fromkeys(texts))
    return found


def _unseeded(networks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The recipes of those networks that every seed has, without their seeds."""
    recipes = {name: about.get("recipe", {}) for name, about in networks.items() if not about.get("varied")}
    return {name: {key: entry for key, entry in r.items() if key != "seed"} for name, r in recipes.items()}


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


def encoded(images: Any) -> list[str]:
    """Images, rows of numbers on the CPU, as texts: "picture low high" and a byte a pixel in base64, 0 for low.

    A text has a ninth of the length of the numbers in decimals; what is lost, half of one of 255 steps, nobody sees.
    """
    if not len(images):
        return []
    low, high = float(images.min()), float(images.max())
    levels = ((images - low) * (255.0 / ((high - low) or 1.0)) + 0.5).astype("uint8")
    return [f"{PICTURE}{low:.6g} {high:.6g} {base64.b64encode(row.tobytes()).decode()}" for row in levels]


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


# Reading what a stranger's file may hold: one small function for each kind of entry, which returns it or raises.


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
_VIOLATION = (_text, _text, _text, _integer, _number, _number)


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
