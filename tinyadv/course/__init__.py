"""The course: finding and running the lessons, and what every lesson uses.

The lessons are plain files, `lessons/lessonNN_topic.py` in a checkout; an installed package carries a copy of them.
A lesson takes trained networks from `lab`, at the `scale` of its profile, shows what it measured with `compare`, in the
words and beside the numbers of the registry of claims, and draws inside `figure`.
"""

from __future__ import annotations

import ast
import io
import os
import re
import runpy
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..machine import silence_false_alarms
from .notebook import described, in_notebook, show_picture, show_table, wants_dark

if TYPE_CHECKING:
    from ..paper.lab import Lab
    from ..paper.profiles import Profile

PACKAGE = Path(__file__).parents[1]
PROFILE = "TINYADV_PROFILE"  # the environment variable in which a lesson finds how much work it does
FIGURES = Path("tinyadv-results") / "lessons"  # where lessons save their figures, from where they are run


# A lesson prints Greek letters. Run as a script, behind a pipe in Windows, it would end with a UnicodeEncodeError where
# the system's encoding has none: another character is shown instead, as `tinyadv lesson` does.
_SCRIPT = Path(sys.argv[0]).name if sys.argv else ""
if re.fullmatch(r"lesson[0-9][0-9]_.*\.py", _SCRIPT) and isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="replace")
silence_false_alarms()  # a student would look for the mistake


def lessons() -> dict[int, Path]:
    """The lesson files by number.

    Raises
    ------
    FileNotFoundError
        If the installation has none.
    """
    for folder in (PACKAGE / "_lessons", PACKAGE.parent / "lessons"):
        found = {int(path.name[6:8]): path for path in sorted(folder.glob("lesson[0-9][0-9]_*.py"))}
        if found:
            return found
    raise FileNotFoundError(f"no lessons beside {PACKAGE}: the installation is incomplete, install tinyadv again")


def title(path: Path) -> str:
    """The first line of a lesson's text."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
    return text.splitlines()[0]


def path_of(number: int) -> Path:
    """The file of a lesson.

    Raises
    ------
    ValueError
        If there is no such lesson.
    """
    found = lessons()
    if number not in found:
        raise ValueError(f"there is no lesson {number}: there are {', '.join(map(str, found))}")
    return found[number]


def own_lesson(number: int) -> Path | None:
    """A lesson's file in the folder that a student works in, from where `course export` wrote it; None elsewhere."""
    if not (Path("tests") / "conftest.py").exists() or not Path("lessons").is_dir():
        return None
    return next((path for path in sorted(Path("lessons").glob(f"lesson{number:02}_*.py")) if path.is_file()), None)


def run_lesson(path: Path, profile: str = "quick") -> None:
    """Run a lesson as `python lessons/lessonNN_topic.py` would, with as much work as `profile` says.

    Raises
    ------
    ValueError
        If there is no such profile.
    """
    scale(profile)
    arguments, before = sys.argv, os.environ.get(PROFILE)
    sys.argv, os.environ[PROFILE] = [str(path)], profile
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = arguments
        if before is None:
            del os.environ[PROFILE]
        else:
            os.environ[PROFILE] = before


def profile() -> str:
    """How much work a lesson does: "quick", or what `tinyadv lesson N --profile NAME` said."""
    return os.environ.get(PROFILE, "quick")


def lab() -> Lab:
    """Where lessons get trained networks: what a lesson or `tinyadv reproduce` has trained in this folder is reused."""
    from ..paper.lab import Lab
    from ..progress import Console

    return Lab(FIGURES.parent / "networks", progress=Console())


def scale(profile: str) -> Profile:
    """A profile for the recipes of `tinyadv.paper.recipes`; a lesson's "quick" trains for seconds, not minutes.

    There the maxout networks are smaller, start from larger weights and have more momentum: they learn in fewer steps.

    Raises
    ------
    ValueError
        If there is no such profile.
    """
    from ..paper.profiles import PROFILES

    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}: there are {', '.join(PROFILES)}")
    if profile != "quick":
        return PROFILES[profile]
    quick = PROFILES["quick"]
    return replace(quick, epochs={**quick.epochs, **EPOCHS}, maxout=SMALL, schedule=MOMENTUM)


EPOCHS = {"softmax": 5, "rbf": 3, "naive": 3, "adversarial": 3, "controls": 2, "hidden": 2, "members": 1}
SMALL = {"units": 120, "pieces": 3, "scale": 0.02, "keep": [0.8, 0.7]}
MOMENTUM = {"momentum": 0.8, "final_momentum": 0.8}


def compare(
    claim: str,
    values: Mapping[str, float] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    holds: bool | None = None,
    why: bool = False,
) -> None:
    """Show a claim of the paper as a table *this lesson | ours | paper*: printed, or in a notebook as part of the page.

    *Ours* are the committed results of the largest profile that was run; a lesson trains for less time.

    Parameters
    ----------
    claim : str
        Its id: see `tinyadv claims`.
    values : mapping, optional
        What the lesson measured: numbers by their names in claims.toml (`tinyadv claims --json` lists them); shares
        from 0 to 1.
    intervals : mapping, optional
        95 % intervals of some of them.
    holds : bool, optional
        Whether the claim's statement holds, where it is one.
    why : bool
        Whether to say below the table why ours differ from the paper's, as the claims' page does.

    Raises
    ------
    ValueError
        If there is no such claim, or it has no such number.
    """
    from ..paper.claims import select
    from ..paper.results import Measurement, Result
    from ..paper.results_file import committed
    from ..paper.show import note, rows, seeds

    (about,) = select([claim])
    known, ours = [q.name for q in about.quantities], committed().get(claim)
    if unknown := [name for name in (*(values or {}), *(intervals or {})) if name not in known]:
        raise ValueError(f"{claim} has no {', '.join(unknown)}: there are {', '.join(known)}")
    below = []
    if ours:
        below = [f"ours: profile {ours.profile}, {seeds(ours)}", *([note(about, ours)] if why else [])]
    measured = Measurement(dict(values or {}), dict(intervals or {}), holds)
    ours_by_label = {row.label: row.ours for row in rows(about, ours)}
    found = rows(about, Result(claim, "lesson", "cpu", [0], [measured]))
    here = {row.label: row.ours for row in found if row.ours not in ("—", "not measured")}
    lines = []
    for row in found:
        first = [here.get(row.label, "—")] if here else []
        lines.append([row.label, *first, ours_by_label.get(row.label, "—"), row.paper])
    head = ["", *(["this lesson"] if here else []), "ours", "paper"]
    tabulate(f"{claim} ({about.where})", head, lines, "\n".join(below))


def tabulate(title: str, head: Iterable[str], lines: Iterable[Iterable[str]], caption: str = "") -> None:
    """Show a table of texts, its columns' names in `head`: printed, or in a notebook as part of the page."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", caption=caption or None)
    table.caption_justify = "left"
    for line in lines:
        table.add_row(*line)
    show_table(table) if in_notebook() else Console().print(table)


@contextmanager
def figure(name: str, width: float = 8, height: float = 4) -> Iterator[Any]:
    """A matplotlib figure of this size in inches to draw on, saved as `FIGURES / name` when the block ends.

    In a notebook it is shown too; on the site, and on a page that runs Python, light and dark pages have their own.

    >>> with figure("lesson01_growth.png") as canvas:
    ...     canvas.subplots().plot([1, 2], [3, 4])
    """
    from ..machine import import_matplotlib

    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure

    from ..paper.draw import STYLE, darken, rendered
    from ..storage import write_atomically

    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(width, height), layout="constrained")
        yield canvas
        light = rendered(canvas, Path(name).suffix[1:])
        write_atomically(FIGURES / name, light)
        if not in_notebook():
            print(f"figure: {FIGURES / name}")
            return
        dark = None
        if wants_dark():
            darken(canvas)
            dark = rendered(canvas)
        show_picture(light, described(canvas), dark)
