"""The exercises on other people's platforms: an autograder for Gradescope, a workflow for GitHub, nbgrader's metadata.

All of them run what `tinyadv course grade` runs, or the exported tests; nothing is graded in a second way.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from ..storage import write_atomically
from . import lessons
from .exercises import exercises
from .export import PACKAGE, graded_lessons, notebook, tests_folder
from .grade import tests_of

SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, when the image is built.
set -euo pipefail
apt-get update && apt-get install -y python3 python3-pip python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install {requirements}
"""

RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for each submission. AUTOGRADER is where it keeps things; tests set another place.
set -euo pipefail
root="${{AUTOGRADER:-/autograder}}"
python="${{PYTHON:-$root/venv/bin/python}}"
mkdir -p "$root/results"
cd "$root"
PYTHONPATH="$root/source" "$python" -m tinyadv course grade "$root/submission" {lessons}\
--gradescope "$root/results/results.json"
"""

WORKFLOW = """\
# Tests the exercises at every push, and says what is solved.
name: exercises
on: [push, workflow_dispatch]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install "tinyadv[course]"
      - run: pytest
"""


def gradescope(path: Path, only: list[int] | None = None) -> None:
    """Write an autograder for Gradescope, a zip file with the package inside, to `path`.

    Parameters
    ----------
    only : list of int, optional
        Grade these lessons; by default all.

    Raises
    ------
    ValueError
        If there are no exercises of such a lesson.
    OSError
        If it cannot be written.
    """
    if unknown := [number for number in only or [] if number not in graded_lessons()]:
        raise ValueError(f"there are no exercises of lesson {unknown[0]}")
    chosen = "".join(f"--lesson {number} " for number in only or [])
    texts = {"setup.sh": SETUP.format(requirements=" ".join(f"'{name}'" for name in _requirements()))}
    texts["run_autograder"] = RUN.format(lessons=chosen)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in texts.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o755 << 16
            file.writestr(entry, text)
        for name, source in _package():
            file.write(source, name)
    write_atomically(path, content.getvalue())


def _requirements() -> list[str]:
    """What the package and its grading need, as pip takes it."""
    found = [line for line in requires("tinyadv") or [] if "extra ==" not in line]
    return [line.partition(";")[0].strip() for line in found] + ["pytest>=8"]


def _package() -> Iterator[tuple[str, Path]]:
    """The package's files by their places in an installation; lessons and tests where a wheel has them."""
    folders = {"tinyadv": PACKAGE, "tinyadv/_exercises": tests_folder()}
    folders["tinyadv/_lessons"] = next(iter(lessons().values())).parent
    seen = set[str]()
    for place, folder in folders.items():
        for source in sorted(folder.rglob("*")):
            name = f"{place}/{source.relative_to(folder).as_posix()}"
            if source.is_file() and "__pycache__" not in source.parts and name not in seen:
                seen.add(name)
                yield name, source


def nbgrader_notebook(number: int) -> str:
    """A lesson as a notebook for nbgrader: solutions between its marks, tests as cells that are worth points.

    nbgrader strips what stands between `### BEGIN SOLUTION` and `### END SOLUTION` itself. Each test of an exercise
    is a cell that runs the exported test by pytest's name, so that feedback and points are those of everywhere else.
    """
    source = graded_lessons()[number].read_text(encoding="utf-8")
    book: dict[str, Any] = json.loads(notebook(source))
    tests = tests_of(number, exercises(source))
    cells: list[dict[str, Any]] = []
    for cell in book["cells"]:
        cells.append(cell)
        code = "".join(cell["source"])
        if cell["cell_type"] != "code" or "### BEGIN SOLUTION" not in code:
            continue
        for name in exercises(code):
            cell["metadata"]["nbgrader"] = _metadata(f"lesson{number:02}-{name}", grade=False, solution=True)
            for test, points in tests[name].items():
                cells.append(_test_cell(number, name, test, points))
    book["cells"] = cells
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _metadata(name: str, grade: bool, solution: bool, points: float | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"schema_version": 3, "grade_id": name, "grade": grade, "solution": solution}
    said |= {"locked": not solution, "task": False}
    return said | ({"points": points} if points is not None else {})


def _test_cell(number: int, exercise: str, test: str, points: float) -> dict[str, Any]:
    name = f"lesson{number:02}-{exercise}-{test}"
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": "".join(c if c.isalnum() else "-" for c in name)[:64],
        "metadata": {"nbgrader": _metadata(name, grade=True, solution=False, points=points)},
        "outputs": [],
        "source": f"from tinyadv.course.check import check\n\ncheck({exercise}, test={test!r})",
    }
