"""The main job: measure claims of the paper, draw their figures, write the report. A plan of it, and a book on it.

Everything that takes long is kept in the output folder the moment it exists: checkpoints while a network trains, the
network when it is trained, what was measured for a claim and a seed, a claim's result with its last seed. The same
command again goes on from there.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from ..backend import check_device
from ..by_name import reason
from ..machine import cores, processor
from ..storage import locked, remove_leftovers, write_atomically
from .claims import claims, select
from .cluster import Cluster, check_scheduler
from .cost import path_of, read, versions
from .draw import draw_figure
from .fingerprint import training
from .lab import Recipe
from .measure import MEASURES
from .profiles import PROFILES, Profile
from .results import MEASURED_BY, TRAINED_BY, Result, joined_versions, merge
from .results_file import OtherVersionError, ResultsError, from_json, load_results, save_results
from .show.report import write_report
from .workers import Executor, Extension, MeasureTask, Processes, Task, run_tasks, with_trainings


@dataclass(frozen=True)
class Job:
    """What to measure, and with how many processes or on which cluster, checked: build it with `plan`."""

    ids: tuple[str, ...]
    profile: Profile
    seeds: tuple[int, ...]
    device: str
    out: Path
    workers: int = 1
    scheduler: str | None = None
    extension: Extension | None = None

    @property
    def where(self) -> str:
        """Where the work is done, in words."""
        if self.scheduler:
            return f"by the cluster of {self.scheduler}"
        return f"{self.workers} process{'es' * (self.workers != 1)}"

    def executor(self) -> Executor:
        """What works on the tasks of this job."""
        if self.scheduler:
            return Cluster(self.scheduler, self.out / "networks", self.device)
        return Processes(self.workers, self.out / "networks", self.device)


def plan(
    ids: Sequence[str],
    profile: str,
    seeds: int | None,
    device: str,
    out: Path,
    workers: int | None = None,
    scheduler: str | None = None,
    units: int | None = None,
    extension: Extension | None = None,
    first_seed: int = 0,
) -> Job:
    """A job, or an error before any work is done.

    Parameters
    ----------
    ids : sequence of str
        Claims to measure; all that can be, if empty.
    profile : str
        "quick", "lesson" or "paper".
    seeds : int, optional
        How many seeds, `first_seed` and those after it; by default the profile's number.
    device : str
        "cpu" or "cuda".
    out : path
        The folder for everything that is written.
    workers : int, optional
        How many processes; by default one for each processor that this one may use, one alone for a GPU.
    scheduler : str, optional
        The address of a `dask.distributed` scheduler, whose workers then do the work.
    units : int, optional
        Maxout units a layer in the networks for which the paper has 1600; by default the profile's number.
    extension : Extension, optional
        One's own claims; if `ids` is empty they are measured, and no others.
    first_seed : int
        At least 0; for seeds that another machine has not measured yet.

    Raises
    ------
    ValueError
        For an unknown claim, profile or device, a claim that nothing measures yet, or whose data isn't at hand, fewer
        than one seed, worker or unit, a first seed below 0, a scheduler that does not answer, or a folder with results
        of another version of the program.
    DeviceError
        If there is no GPU to be used.
    OSError
        If the folder cannot be written.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: there are {', '.join(PROFILES)}")
    own = extension.load() if extension else []
    ids = list(ids) or own
    unmeasured = [claim.id for claim in select(ids) if claim.id not in MEASURES] if ids else []
    if unmeasured:
        raise ValueError(f"nothing measures {', '.join(unmeasured)} yet; `tinyadv claims` lists what can be measured")
    for name, number in (("seeds", seeds), ("workers", workers), ("units", units)):
        if number is not None and number < 1:
            raise ValueError(f"--{name} is at least 1, got {number}")
    if first_seed < 0:
        raise ValueError(f"--first-seed is at least 0, got {first_seed}")
    if scheduler is None:
        check_device(device)
    elif workers is not None:
        raise ValueError("either --workers here or the workers of a --scheduler, not both")
    else:
        check_scheduler(scheduler, device)
    _check_folder(out)
    missing = {name: MEASURES[name].missing() for name in ids}
    if lacking := [f"{name}: {said}" for name, said in missing.items() if said]:
        raise ValueError("; ".join(lacking))
    usual = {
        name for name, measure in MEASURES.items() if (measure.quick or profile != "quick") and not measure.missing()
    }
    chosen = tuple(name for name in claims() if name in (set(ids) or usual))
    workers = workers or (1 if device == "cuda" else cores())
    scaled = replace(PROFILES[profile], units=units or PROFILES[profile].units)
    numbers = tuple(range(first_seed, first_seed + (seeds or scaled.seeds)))
    for name in own:
        _check_networks(name, scaled, numbers[0])
    return Job(chosen, scaled, numbers, device, out, workers, scheduler, extension)


def _check_networks(claim: str, profile: Profile, seed: int) -> None:
    """ValueError where a claim of one's own does not say which networks it needs: its function is not our code."""
    try:
        MEASURES[claim].named(profile, seed)
    except Exception as error:
        raise ValueError(f"the networks of {claim} cannot be named: {reason(error)}") from error


def _check_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise OSError(f"the output folder {out} cannot be written: {error.strerror}") from error
    with suppress(ResultsError):  # a damaged file is set aside when there is something to put in its place
        if (out / "results.json").exists():
            try:
                load_results(out / "results.json")
            except OtherVersionError as error:
                raise ValueError(f"{error}; wanted a new --out") from error


def reproduce(
    job: Job, say: Callable[[str], None], executor: Executor | None = None
) -> tuple[dict[str, Result], dict[str, str]]:
    """Measure the job's claims; results.json, figures and report.html are in `job.out` when it ends.

    Returns all results in the folder, those of earlier jobs too, by claim id; and why, by claim id, for those claims
    of this job that could not be measured.
    """
    remove_leftovers(job.out)
    book, executor = _Book(job, say), executor or job.executor()
    tasks = {name: [MeasureTask(name, job.profile, seed, job.extension) for seed in job.seeds] for name in job.ids}
    missing = [task for of_claim in tasks.values() for task in book.missing(of_claim)]
    with closing(executor):
        failed = run_tasks(with_trainings(missing), executor, book.enter, say)
    for task in chain(*tasks.values()):
        if task.name in failed:
            book.failed.setdefault(task.claim, failed[task.name])
    return book.report(), book.failed


class _Book:
    """What is known so far, in memory and on disk."""

    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        self.job, self.say, self.failed, self.done = job, say, dict[str, str](), 0
        self.started, self.moment = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        self.path = job.out / "results.json"
        self.seeds: dict[str, dict[int, Result]] = {name: {} for name in job.ids}

    def missing(self, tasks: list[MeasureTask]) -> list[MeasureTask]:
        """Those of a claim's tasks whose value is not there from an earlier run; of the others it is taken.

        All of them, where the earlier values are whole, but nothing can be made of them.
        """
        claim, found = tasks[0].claim, [(task.seed, self._earlier_value(task)) for task in tasks]
        self.seeds[claim] = {seed: result for seed, result in found if result}
        if len(self.seeds[claim]) == len(tasks):
            try:
                self._complete(claim)
            except OSError:
                raise
            except Exception as error:
                self.say(f"{claim}: what was measured earlier cannot be used ({error}); it is measured again")
                self.seeds[claim].clear()
        return [task for task in tasks if task.seed not in self.seeds[claim]]

    def _earlier_value(self, task: MeasureTask) -> Result | None:
        """What a task gave in an earlier run, of the same networks, measured by the same program."""
        path = self._path(task)
        if not path.exists():
            return None
        try:
            results, about = load_results(path)
        except ResultsError as error:
            self.say(f"{error}; it is measured again")
            return None
        if about != self._about(task) or list(results) != [task.claim] or results[task.claim].seeds != [task.seed]:
            return None
        return results[task.claim]

    def enter(self, task: Task, value: str) -> None:
        """Keep what came out of a task."""
        if isinstance(task, MeasureTask):
            result = from_json(json.loads(value))
            measured = {name: used["hash"] for name, used in result.measurements[0].networks.items()}
            about = self._about(task)
            if measured != about["networks"]:
                self.failed[task.claim] = "measured elsewhere on other networks than planned here: is CIFAR-10 at both?"
                self.say(f"{task.title}: {self.failed[task.claim]}")
                return
            self._add_costs(task, result)
            save_results(self._path(task), {task.claim: result}, about)
            self.seeds[result.claim][task.seed] = result
            if len(self.seeds[result.claim]) < len(self.job.seeds):
                return
            try:
                self._complete(result.claim)
            except OSError:
                raise
            except Exception as error:  # a figure, say, that cannot be drawn: the other claims can
                self.say(f"{traceback.format_exc()}{result.claim}: {error}; everything else goes on")
                self.failed[result.claim] = f"{type(error).__name__}: {error}"

        elif value:  # the file, unless it was trained on another machine, is there already
            write_atomically(path_of(self.job.out / "networks", task.recipe), value)

    def _add_costs(self, task: MeasureTask, result: Result) -> None:
        """Give the networks of a measurement what their trainings have cost, as far as there are accounts of that."""
        for name, recipe in MEASURES[task.claim].named(task.profile, task.seed).items():
            if not isinstance(recipe, Recipe):
                continue
            chose = recipe.first if recipe.chosen_with == recipe.seed else None  # for all seeds: it is counted once
            trainings = [one for one in (chose, recipe) if one]
            known = [stint for one in trainings for stint in read(path_of(self.job.out / "networks", one), self.say)]
            if known:
                result.measurements[0].networks[name]["cost"] = [asdict(stint) for stint in known]

    def _complete(self, claim: str) -> None:
        """Save, draw and announce a claim's result, made of those for each seed."""
        parts = [self.seeds[claim][seed] for seed in self.job.seeds]
        known = [part.core_seconds for part in parts if part.core_seconds is not None]
        result = Result(
            claim=claim,
            profile=self.job.profile.name,
            device=self.job.device,
            seeds=list(self.job.seeds),
            measurements=[part.measurements[0] for part in parts],
            seconds=round(sum(part.seconds for part in parts), 2),
            versions=joined_versions(*(part.versions for part in parts))
            | {TRAINED_BY: training(), MEASURED_BY: MEASURES[claim].program},
            core_seconds=round(sum(known), 2) if len(known) == len(parts) else None,
        )
        self._save({claim: result})
        draw_figure(result, self.job.out / "figures")
        self.done += 1
        self.say(f"{claim}: measured in {result.seconds:.1f} s ({self.done} of {len(self.job.ids)})")

    def _save(self, new: dict[str, Result]) -> dict[str, Result]:
        """Put new results among those on disk, to which another run may be adding its own at this moment."""
        with locked(self.job.out / ".lock"):
            earlier = self._earlier()
            for name, now in new.items():
                before = earlier.get(name)
                if before and (before.profile != now.profile or not set(before.seeds) <= set(now.seeds)):
                    self.say(f"{name}: {_run_of(now)} takes the place of {_run_of(before)}; another --out keeps both")
            results = merge(earlier, new)
            save_results(self.path, results, self._manifest())
        return results

    def _earlier(self) -> dict[str, Result]:
        if not self.path.exists():
            return {}
        try:
            return load_results(self.path)[0]
        except ResultsError as error:
            kept = self.path.with_suffix(".damaged.json")
            os.replace(self.path, kept)
            self.say(f"{error}; it is kept as {kept.name}, and its claims are to be measured again")
            return {}

    def report(self) -> dict[str, Result]:
        """Write the report; all results."""
        results = self._save({})
        write_report(self.job.out / "report.html", results, self._manifest(), self.job.out / "figures")
        return results

    def _path(self, task: MeasureTask) -> Path:
        return self.job.out / "measurements" / f"{task.claim}-{task.profile.name}-{task.seed}.json"

    def _about(self, task: MeasureTask) -> dict[str, Any]:
        """What a measurement depends on."""
        networks = {name: recipe.hash for name, recipe in MEASURES[task.claim].named(task.profile, task.seed).items()}
        measure = MEASURES[task.claim]
        about = {"networks": networks, "device": self.job.device, "program": measure.program}
        return about | ({"at_hand": at_hand} if (at_hand := measure.at_hand()) else {})

    def _manifest(self) -> dict[str, Any]:
        system = f"{platform.system()} {platform.machine()}"
        return {
            "command": shlex.join(["tinyadv", *sys.argv[1:]]),
            "profile": self.job.profile.name,
            "seeds": list(self.job.seeds),
            "device": self.job.device,
            "started": self.moment,
            "seconds": round(time.monotonic() - self.started, 1),
            "versions": versions(),
            "machine": {"cpu": processor(), "cores": os.cpu_count() or 1, "system": system},
        }


def _run_of(result: Result) -> str:
    """Whose result it is, in words."""
    return f"profile {result.profile}, seeds {', '.join(map(str, result.seeds))}"
