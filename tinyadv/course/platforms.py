"""The exercises on other people's platforms: an autograder for Gradescope, and notebooks with nbgrader's metadata.

All of them run what `tinyadv course grade` runs, or the exported tests; nothing is graded in a second way.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from ..storage import write_atomically
from . import PACKAGE, lessons
from .exercises import BEGIN, END, exercises, points_in
from .export import chosen_lessons, graded_lessons, notebook, tests_folder
from .feedback import NOT_DONE, TODO
from .grade import tests_of

CHECK = "check_exercise"  # what nbgrader's notebooks call `check`: no lesson uses the name

SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, when the image is built.
set -euo pipefail
apt-get update
apt-get install -y python3
python=python3
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || python=python3.11 # Ubuntu 22.04's own is 3.10
apt-get install -y "$python" "$python-venv"
"$python" -m venv /autograder/venv
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
--gradescope "$root/results/results.json" || test -s "$root/results/results.json"
"""

NBGRADER = f"""\
# Configuration of nbgrader. In this folder: `nbgrader generate_assignment lesson01`, then release, collect, autograde.
c = get_config()
c.CourseDirectory.course_id = "tinyadv"
c.ClearSolutions.code_stub = {{"python": 'raise NotImplementedError("{TODO}{NOT_DONE}")'}}
c.ExecutePreprocessor.timeout = 600  # seconds a cell; where a lesson trains networks, they are needed
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
    chosen_lessons(only)
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


def nbgrader_course(only: Iterable[int] | None = None) -> dict[str, str]:
    """The text of each file of a course folder for nbgrader, by its path in it: an assignment for each lesson.

    It has the solutions; nbgrader makes the students' version of it by itself. ValueError if there are no exercises of
    one of the lessons in `only`; None is all.
    """
    files = {}
    for number, path in chosen_lessons(only).items():
        files[f"source/lesson{number:02}/{path.stem}.ipynb"] = nbgrader_notebook(number)
    files["nbgrader_config.py"] = NBGRADER
    return files


def nbgrader_notebook(number: int) -> str:
    """A lesson as a notebook for nbgrader: solutions between its marks, tests as cells that are worth points.

    nbgrader strips what stands between `### BEGIN SOLUTION` and `### END SOLUTION` itself. Each test of an exercise
    is a cell that runs the exported test by pytest's name, so that feedback and points are those of everywhere else.
    The place for the answer to an open question is a cell that nbgrader's form shows to whoever marks it.
    """
    source = graded_lessons()[number].read_text(encoding="utf-8")
    book: dict[str, Any] = json.loads(notebook(source))
    tests = tests_of(number, exercises(source))
    cells: list[dict[str, Any]] = []
    for cell in book["cells"]:
        text = "".join(cell["source"])
        if BEGIN not in text:
            cells.append(cell)
        elif cell["cell_type"] == "markdown":
            cells += _open_question(number, text, len([c for c in cells if _marked(c)]))
        else:
            (name,) = exercises(text)
            marks = _metadata(f"lesson{number:02}-{name}", grade=False, solution=True)
            cells.append({**cell, "metadata": {**cell["metadata"], "nbgrader": marks}})
            for test, points in tests[name].items():
                shown = f"from tinyadv.course.check import check as {CHECK}\n\n{CHECK}({name}, test={test!r})"
                cells.append(_cell(f"lesson{number:02}-{name}-{test}", shown, points))
    book["cells"] = cells
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _marked(cell: dict[str, Any]) -> bool:
    return cell["cell_type"] == "markdown" and "nbgrader" in cell["metadata"]


def _open_question(number: int, text: str, before: int) -> list[dict[str, Any]]:
    """The question, the place for its answer, where the teacher's version has what to look for, and the text below."""
    question, _, rest = text.partition(BEGIN)
    rubric, _, below = rest.partition(END)
    name = f"lesson{number:02}-to-think-about" + (f"-{before + 1}" if before else "")
    answer = _cell(name, f"{BEGIN}\n{rubric.strip()}\n{END}", points_in(rubric), answer=True)
    parts = [_text(f"{name}-question", question), answer, _text(f"{name}-below", below)]
    return [part for part in parts if part["source"]]


def _text(name: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name[:64], "metadata": {}, "source": text.strip()}


def _metadata(name: str, grade: bool, solution: bool, points: float | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"schema_version": 3, "grade_id": name, "grade": grade, "solution": solution}
    said |= {"locked": not solution, "task": False}
    return said | ({"points": points} if points is not None else {})


def _cell(name: str, source: str, points: float, answer: bool = False) -> dict[str, Any]:
    """A cell that is worth points: a test, or in Markdown an answer that a person marks."""
    marks = {"nbgrader": _metadata(name, grade=True, solution=answer, points=points)}
    same = {"id": "".join(c if c.isalnum() else "-" for c in name)[-64:], "metadata": marks, "source": source}
    return (
        {"cell_type": "markdown", **same}
        if answer
        else {"cell_type": "code", **same, "execution_count": None, "outputs": []}
    )
