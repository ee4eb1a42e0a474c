"""What results have cost, as tables: networks, claims, and the setups with which both were made.

Runs from before this was recorded lack it: there it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..results import MEASURED_BY, TRAINED_BY, Result, Stint
from ..results_file import stints
from . import duration

UNKNOWN = "not recorded"
PACKAGED = "came with the package"
PROGRAMS = (TRAINED_BY, MEASURED_BY)  # among the versions, but told elsewhere: they differ from section to section
SETUP = {"processor": "Processor", "blas": "BLAS", "python": "Python", "numpy": "NumPy", "tinyadv": "tinyadv"}


@dataclass(frozen=True)
class Line:
    """One row: a network, or the measuring of a claim.

    Attributes
    ----------
    claims : list of str
        The ids that a network serves.
    setups : list of int
        Those of the page's setups with which the work was done, counted from 1; empty where that was not recorded.
    """

    name: str
    what: str
    claims: list[str]
    epochs: str
    time: str
    core_hours: str
    setups: list[int]


@dataclass(frozen=True)
class Costs:
    """Both tables, the setups that they name, and a sentence with the sums."""

    networks: list[Line]
    claims: list[Line]
    setups: list[dict[str, str]]
    sums: str

    @property
    def parts(self) -> dict[str, str]:
        """What the setups are made of: labels by key, those that others may have beside the usual ones last."""
        return SETUP | {key: key for one in self.setups for key in one if key not in SETUP}


def costs(results: Mapping[str, Result]) -> Costs:
    """What all these results have cost; a network that serves several claims is listed, and counted, once."""
    setups: list[dict[str, str]] = []

    def numbered(used: Iterable[Mapping[str, str]]) -> list[int]:
        found = set()
        for versions in used:
            one = {key: text for key, text in versions.items() if key not in PROGRAMS}
            if one and one not in setups:
                setups.append(one)
            found |= {setups.index(one) + 1} if one else set()
        return sorted(found)

    claims = [
        Line(
            name=result.claim,
            what=f"profile {result.profile}",
            claims=[],
            epochs="",
            time=duration(result.seconds),
            core_hours=UNKNOWN if result.core_seconds is None else core_hours(result.core_seconds),
            setups=numbered([result.versions]),
        )
        for result in results.values()
    ]
    networks = [
        _line(name, about, users, numbered(stint.setup for stint in stints(about)))
        for name, (about, users) in _networks(results).items()
    ]
    return Costs(networks, claims, setups, summary(results))


def _line(name: str, about: Mapping[str, Any], users: list[str], setups: list[int]) -> Line:
    found = stints(about)
    if not found:
        known = PACKAGED if about.get("packaged") else UNKNOWN
        return Line(name, _described(about), users, str(about.get("epochs", "")), known, "", setups)
    seconds, core_seconds = sum(one.seconds for one in found), sum(one.core_seconds for one in found)
    return Line(name, _described(about), users, _epochs(found), duration(seconds), core_hours(core_seconds), setups)


def summary(results: Mapping[str, Result]) -> str:
    """The sums over results, in a sentence or two; "" where nothing is recorded."""
    networks = [about for about, _ in _networks(results).values() if not about.get("packaged")]
    trained = [found for about in networks if (found := stints(about))]
    measured = [result for result in results.values() if result.core_seconds is not None]
    parts = []
    if measured:
        parts.append(
            f"Measuring took {duration(sum(r.seconds for r in measured))}, "
            f"{core_hours(sum(r.core_seconds or 0.0 for r in measured))} core-hours{_lacking(measured, results)}."
        )
    if trained:
        work = [one for found in trained for one in found]
        epochs = sum(one.epochs for one in work)
        parts.append(
            f"Training {len(trained):,} network{'s' * (len(trained) != 1)}, {epochs:,} epochs in all, took "
            f"{duration(sum(one.seconds for one in work))}, "
            f"{core_hours(sum(one.core_seconds for one in work))} core-hours{_lacking(trained, networks)}."
        )
    return " ".join(parts)


def _lacking(known: Any, all_of_them: Any) -> str:
    missing = len(all_of_them) - len(known)
    return f" ({UNKNOWN} for {missing} more)" if missing else ""


def core_hours(seconds: float) -> str:
    """Seconds of processors as core-hours."""
    hours = seconds / 3600
    return "< 0.0001" if 0 <= hours < 0.0001 else f"{hours:,.4f}" if hours < 0.1 else f"{hours:,.2f}"


def _networks(results: Mapping[str, Result]) -> dict[str, tuple[dict[str, Any], list[str]]]:
    """Every network once, by its hash, with the ids of the claims that it serves; with its cost where one knows it."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for result in results.values():
        for measurement in result.measurements:
            for about in measurement.networks.values():
                name = str(about.get("hash", ""))
                known, users = found.get(name, (about, []))
                better = about if about.get("cost") and not known.get("cost") else known
                found[name] = better, [*users, *({result.claim} - set(users))]
    return found


def _epochs(found: list[Stint]) -> str:
    """Epochs of each of a network's trainings: "243 + 12" where one followed another."""
    by_title: dict[str, int] = {}
    for one in found:
        by_title[one.title] = by_title.get(one.title, 0) + one.epochs
    return " + ".join(f"{n:,}" for n in by_title.values())


def _described(about: Mapping[str, Any]) -> str:
    """A network in a few words, of its recipe."""
    recipe = about.get("recipe", {})
    arguments, objective = recipe.get("arguments", {}), recipe.get("objective", "clean")
    words = [str(recipe.get("network", "")).replace("_", " "), arguments.get("units")]
    parts = [" ".join(str(word) for word in words if word)]
    parts += [objective] if objective != "clean" else []
    parts += [recipe["data"]] if recipe.get("data", "mnist") != "mnist" else []
    return ", ".join([*parts, f"seed {recipe.get('seed', 0)}"])
