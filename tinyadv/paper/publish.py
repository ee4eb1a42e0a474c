"""Publishes what was measured: `python -m tinyadv.paper.publish FOLDER...`, each the folder of a run.

Each result goes into results/PROFILE.json. Where that has the same claim with other seeds, of networks by the same
recipes, the seeds are put together: they may come from several machines. Otherwise the new result takes the old one's
place. README's tables and its figure are then made anew.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .claims import claims
from .measure import MEASURES
from .results import Measurement, Result, joined, merge
from .results_file import RESULTS, ResultsError, load_results, save_results, to_json
from .show import readme, seeds


def publish(runs: Iterable[Path], published: Path = RESULTS) -> list[str]:
    """Put the results of runs among the published ones; says in a line for each claim what was done.

    Raises
    ------
    ResultsError
        If a folder has no sound results, or some of claims that are not the paper's; or if a published file that they
        go into is damaged. Nothing is written then.
    """
    read = [(folder, *load_results(folder / "results.json")) for folder in runs]
    for folder, results, _ in read:
        if others := [name for name in results if name not in claims() or name not in MEASURES]:
            raise ResultsError(f"{folder}: only claims of the paper can be published; found {', '.join(others)}")
    said, files = [], dict[Path, tuple[dict[str, Result], dict[str, Any]]]()
    for _, results, manifest in read:
        manifest |= {"command": _without_folder(manifest)}
        for profile in sorted({result.profile for result in results.values()}):
            path = published / f"{profile}.json"
            if path not in files:
                files[path] = load_results(path) if path.exists() else ({}, {})
            old, before = files[path]
            new = {name: result for name, result in results.items() if result.profile == profile}
            kept = old.keys() - new.keys()  # whatever of earlier runs stays, their commands stay too
            for name, result in new.items():
                new[name], how = _taken(old.get(name), result)
                kept |= {name} if new[name] is not result else set()
                said.append(f"{name}: {how}")
            if all(new[name] is old.get(name) for name in new):
                continue  # nor does the manifest count the run twice
            files[path] = merge(old, new), _of_both(before, manifest) if kept else manifest
    for path, (results, manifest) in files.items():  # not earlier: all of them could be read
        save_results(path, results, manifest)
    return said


def _taken(old: Result | None, new: Result) -> tuple[Result, str]:
    """The result to publish, and how it came about."""
    if old is None:
        return new, f"new, {seeds(new)}"
    if _published(old, new):
        return old, f"{seeds(new)} already there"
    try:
        both = joined(old, new)
    except ValueError as error:
        return new, f"{seeds(new)} in place of {seeds(old)}: {error}"
    if both is new:
        return new, f"{seeds(new)} anew"
    return both, f"{seeds(new)} beside {seeds(old)}"


def _published(old: Result, new: Result) -> bool:
    """Whether the old result has all measurements of the new one already, made by the same programs on such a machine.

    Details do not count: images are kept of the first seed alone.
    """
    known = dict(zip(old.seeds, old.measurements, strict=True))

    def plain(seed: int, m: Measurement) -> dict[str, Any]:
        return to_json(replace(new, seeds=[seed], measurements=[replace(m, details={})]))

    return (
        old.device == new.device
        and all(text in old.versions.get(key, "").split("; ") for key, text in new.versions.items())
        and known.keys() >= set(new.seeds)
        and all(plain(seed, known[seed]) == plain(seed, m) for seed, m in zip(new.seeds, new.measurements, strict=True))
    )


def _of_both(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the last run, with the commands and the seconds of the earlier ones."""
    commands = dict.fromkeys((*str(before["command"]).split("; "), now["command"]))
    return {**now, "command": "; ".join(commands), "seconds": round(before["seconds"] + now["seconds"], 1)}


def _without_folder(manifest: Mapping[str, Any]) -> str:
    """The command of a run without --out, which says something of one machine only."""
    words = shlex.split(str(manifest.get("command", "")))
    kept = [word for before, word in zip(["", *words], words, strict=False) if "--out" not in (before, word)]
    return shlex.join(word for word in kept if not word.startswith("--out="))


if __name__ == "__main__":
    folders = [Path(folder) for folder in sys.argv[1:]]
    if not folders:
        sys.exit("usage: python -m tinyadv.paper.publish FOLDER...")
    try:
        print("\n".join(publish(folders)))
    except (ResultsError, OSError) as error:
        sys.exit(str(error))
    readme.write()
