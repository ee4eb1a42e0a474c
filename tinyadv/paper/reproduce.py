"""The main job: measure claims of the paper, print them beside the paper's numbers, draw, and write the report.

Everything that takes long is kept in the output folder the moment it exists: checkpoints while a network trains, the
network when it is trained, a claim's result when it is measured. The same command again goes on from there.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy import __version__ as numpy_version

from .. import __version__
from ..backend import check_device
from ..progress import Progress
from . import appendix, section3, section4, section5, section6, section7  # noqa: F401  (they fill MEASURES)
from .figures import draw_figures
from .lab import Lab
from .measuring import MEASURES, reason
from .recipes import PROFILES, Profile
from .registry import claims, select
from .report import write_report
from .results import Result, ResultsError, check, load_results, merge, save_results


@dataclass(frozen=True)
class Job:
    """What to measure, checked: build it with `plan`."""

    ids: tuple[str, ...]
    profile: Profile
    seeds: tuple[int, ...]
    device: str
    out: Path


def plan(ids: Sequence[str], profile: str, seeds: int | None, device: str, out: Path) -> Job:
    """A job, or an error before any work is done.

    Parameters
    ----------
    ids : claims to measure; all that can be, if empty
    profile : "quick", "lesson" or "paper"
    seeds : how many seeds, 0, 1, ...; the profile's number if None
    device : "cpu" or "cuda"
    out : the folder for everything that is written

    Raises
    ------
    ValueError
        For an unknown claim, profile or device, a claim that nothing measures yet, or fewer than one seed.
    DeviceError
        If there is no GPU to be used.
    OSError
        If the folder cannot be written.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: there are {', '.join(PROFILES)}")
    unmeasured = [claim.id for claim in select(ids) if claim.id not in MEASURES] if ids else []
    if unmeasured:
        raise ValueError(f"nothing measures {', '.join(unmeasured)} yet; `tinyadv claims` lists what can be measured")
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds is at least 1, got {seeds}")
    check_device(device)
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise OSError(f"the output folder {out} cannot be written: {error.strerror}") from error
    usual = {name for name, measure in MEASURES.items() if measure.quick or profile != "quick"}
    chosen = tuple(name for name in claims() if name in (set(ids) or usual))
    number = seeds or PROFILES[profile].seeds
    return Job(chosen, PROFILES[profile], tuple(range(number)), device, out)


def reproduce(job: Job, progress: Progress | None, say: Callable[[str], None]) -> dict[str, Result]:
    """Measure the job's claims; results.json, figures and report.html are in `job.out` when it ends.

    Returns all results in the folder, those of earlier jobs too, by claim id.
    """
    started, moment = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    path, lab = job.out / "results.json", Lab(job.out / "networks", job.device, progress)
    results, measured = _earlier(path, say), dict[str, Result]()
    for name in job.ids:
        measured[name] = _measured(name, job, lab)
        results = merge(_earlier(path, say), measured)  # read anew: another run may have written meanwhile
        save_results(path, results, _manifest(job, moment, started))
        say(f"{name}: measured in {measured[name].seconds:.1f} s")
    write_report(job.out / "report.html", results, _manifest(job, moment, started), job.out / "figures")
    return results


def _earlier(path: Path, say: Callable[[str], None]) -> dict[str, Result]:
    if not path.exists():
        return {}
    try:
        return load_results(path)[0]
    except ResultsError as error:
        kept = path.with_suffix(".damaged.json")
        os.replace(path, kept)
        say(f"{error}; it is kept as {kept.name}, and all is measured again")
        return {}


def _measured(claim: str, job: Job, lab: Lab) -> Result:
    started, measure = time.monotonic(), MEASURES[claim]
    result = Result(
        claim=claim,
        profile=job.profile.name,
        device=job.device,
        seeds=list(job.seeds),
        measurements=[measure(lab, job.profile, seed) for seed in job.seeds],
        scale=measure.scale(job.profile),
        versions=versions(),
    )
    check(result)
    result.reason = reason(result)
    result = Result.from_json(result.to_json())  # what is drawn and reported is what the file holds
    result.figures = draw_figures(result, job.out / "figures")
    result.seconds = round(time.monotonic() - started, 2)
    return result


def versions() -> dict[str, str]:
    """The versions that a number may depend on."""
    found = {"python": platform.python_version(), "numpy": numpy_version, "tinyadv": __version__}
    return found | ({"cupy": sys.modules["cupy"].__version__} if "cupy" in sys.modules else {})


def _manifest(job: Job, moment: str, started: float) -> dict[str, Any]:
    return {
        "command": shlex.join(["tinyadv", *sys.argv[1:]]),
        "profile": job.profile.name,
        "seeds": list(job.seeds),
        "device": job.device,
        "started": moment,
        "seconds": round(time.monotonic() - started, 1),
        "versions": versions(),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count() or 1, "system": f"{platform.system()} {platform.machine()}"},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
