"""What was measured for a claim, how sure one can be of it, and what that makes of the claim.

A measurement is one seed's numbers; a result is a claim's measurements, with the networks and the software they were
made with. Results hold numbers, keys and pictures, and no sentence: those are in claims.toml and notes.toml. The status
follows from the paper's values, the interval over seeds and test images, and the claim's tolerance: no one sets it by
hand. How results are saved is in results_file.py.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from typing import Any, Literal

from .claims import Claim, Quantity, claims

Status = Literal["reproduced", "close", "differs", "not run"]
STATUSES: tuple[Status, ...] = ("reproduced", "close", "differs", "not run")
Interval = tuple[float, float]

TRAINED_BY, MEASURED_BY = "trained by", "measured by"  # among a result's versions: see `fingerprint`
WIDEST = 10  # tolerances to either side of the mean, beyond which an interval reproduces nothing
_ROUNDING = 1e-12  # what adding and dividing in floating point may do at the very edge of a band


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
        their training has cost, where that is known: see `results_file.stints`.
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
        paper's value, measured on the same images, is held to the narrower of the two readings.) Seeds that gave the
        same again, of the same networks, count as one in k.
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
        outcomes = {(m.values[name], m.intervals[name], _hashes(m)) for m in self.measurements}
        narrower = k * math.sqrt(len(outcomes))
        below = math.fsum(v - low for v, (low, _) in zip(values, images, strict=True)) / narrower
        above = math.fsum(high - v for v, (_, high) in zip(values, images, strict=True)) / narrower
        return mean - below, mean + above

    def quantity_status(self, quantity: Quantity) -> Status | None:
        """What the measured number makes of the paper's; None for context, of which the paper says nothing.

        A number without an interval is *close* at best. Of two seeds the interval over test images decides: the one
        over seeds, with t = 12.7, holds nearly every number. So does one of more than `WIDEST` tolerances to either
        side, from seeds that disagree: it reproduces nothing.
        """
        if quantity.paper is None or quantity.tolerance is None:
            return None
        if not any(quantity.name in m.values for m in self.measurements):
            return "not run"
        of_two = len(self.measurements) == 2
        interval = self._interval_over_images(quantity.name) if of_two else self.interval(quantity.name)
        mean = self.mean(quantity.name)
        says_little = interval and interval[1] - interval[0] > 2 * WIDEST * quantity.tolerance
        if interval and not says_little and interval[0] - _ROUNDING <= quantity.paper <= interval[1] + _ROUNDING:
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


def _hashes(m: Measurement) -> frozenset[str]:
    """The networks of a measurement, by their hashes; those that only vary a choice do not count."""
    return frozenset(str(about.get("hash", "")) for about in m.networks.values() if not about.get("varied"))


# ---------------------------------------------------------------------------------------------------------
# The status of a claim


def status(claim: Claim, result: Result | None) -> Status:
    """What the result makes of the claim: that of its worst part.

    *reproduced*: every published number lies within our 95 % interval, which says something (`WIDEST`), and the
    predicate, if the claim has one, holds for every seed. *close*: the predicate holds, and every number is within its
    tolerance. *differs*: a number is outside or not a number, or the predicate fails for a seed. *not run*: nothing, or
    not all of it, was measured.
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
        _check_numbers(claim, m, seed)


def _check_numbers(claim: Claim, m: Measurement, seed: int) -> None:
    """ValueError for what no measurement can have given: a share of 5000 %, an interval without its number."""
    for name, value in m.values.items():
        low, high = m.intervals.get(name, (value, value))
        share = claim.quantity(name).format == "percent"
        if math.isinf(value) or (share and not (math.isnan(value) or 0 <= value <= 1)):
            wanted = "a share from 0 to 1" if share else "a finite number, or NaN"
            raise ValueError(f"{claim.id}, seed {seed}: {name} is {wanted}, got {value:g}")
        if not (math.isnan(value) or low - _ROUNDING <= value <= high + _ROUNDING):
            found = f"{name} is {value:g}, outside of its interval, {low:g} to {high:g}"
            raise ValueError(f"{claim.id}, seed {seed}: {found}")


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
# Results of several runs


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


# ---------------------------------------------------------------------------------------------------------
# Images among the details

PICTURE = "picture "  # how the text of an image begins


def encoded(images: Any) -> list[str]:
    """Images, rows of numbers on the CPU, as texts: "picture low high" and a byte a pixel in base64, 0 for low.

    A text has a ninth of the length of the numbers in decimals; what is lost, half of one of 255 steps, nobody sees.
    """
    if not len(images):
        return []
    low, high = float(images.min()), float(images.max())
    levels = ((images - low) * (255.0 / ((high - low) or 1.0)) + 0.5).astype("uint8")
    return [f"{PICTURE}{low:.6g} {high:.6g} {base64.b64encode(row.tobytes()).decode()}" for row in levels]


def pixels(image: Any) -> Any:
    """The numbers of an image, float64: of a text that `encoded` made, or given as numbers.

    Raises
    ------
    ValueError
        For another text.
    """
    from numpy import array, frombuffer

    if not isinstance(image, str):
        return array(image)
    try:
        low, high, levels = image.removeprefix(PICTURE).split(" ")
        span = (float(high) - float(low)) / 255.0
        return float(low) + span * frombuffer(base64.b64decode(levels, validate=True), dtype="uint8")
    except ValueError as error:
        raise ValueError(f"an image is numbers, or a text that begins with {PICTURE!r}: {image[:40]!r} ...") from error
