"""The folder that a student gets, and the one that a teacher gets.

A student's has the lessons with a NotImplementedError where a solution was, the tests of those lessons and a short
text; plain `pytest` in it says what is solved. The teacher's has the solutions. The third kind, a course folder for
nbgrader, is in `platforms`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .. import __version__
from ..storage import fill_folder, naming
from . import PACKAGE, lessons, title
from .cells import as_in_notebook
from .exercises import exercises, stub

# Its own, so that a folder inside of another project does not take that project's settings.
INI = """\
[pytest]
addopts = -q --tb=short --strict-markers
testpaths = tests
filterwarnings = default
"""

STUDENT = """\
# Explaining and harnessing adversarial examples: the exercises

Each file in `lessons/` is {kind}. Read it from the top; where it says *Exercise*, a function below
raises `NotImplementedError`: write its body in place of that line. Nothing else needs to change.

## Install

Python 3.11 or newer, then in this folder, on macOS and Linux:

```sh
python3 -m venv .venv
source .venv/bin/activate
pip install -r requirements.txt
tinyadv doctor
```

In Windows, in PowerShell or the command prompt:

```bat
py -m venv .venv
.venv\\Scripts\\activate
pip install -r requirements.txt
tinyadv doctor
```

Where PowerShell refuses to run `activate`, use the command prompt (`cmd`). `tinyadv doctor` says whether everything is
in order. In a new terminal activate `.venv` again.

| lesson | exercises |
|---|---|
{rows}

## What to run

Do not type what stands behind a `#`: it explains the line, and some terminals take it for a part of the command.

```sh
{run}
pytest                                  # the tests of all exercises; points and one line of feedback each
pytest tests/test_lesson{first:02}.py           # of one lesson
tinyadv lesson                          # the lessons, and which you have run and solved
```

## Points

Every test is worth the points in its mark (`@pytest.mark.exercise("name", points=2)`), and an exercise is worth the sum
of its tests. What counts is what `tinyadv course grade` says: it uses its own copy of the tests, each exercise
in a process of its own that may not take more than 2 GiB of memory and some seconds, start programs, use the network or
write outside of its folder.
The tests may be read, and often say more than the text. Use NumPy and what the lesson imports; keep the
names and arguments of functions.

float32 goes in, float32 has to come out: an array that was made without a dtype turns everything that it meets into
float64, and costs the point of the test that looks for it. Numbers of Python, such as `0.25`, do not.
"""

# What pip installs; a teacher who has tinyadv from elsewhere changes it in one place, for the workflow too.
REQUIREMENTS = """\
# Where tinyadv is not on your package index, put the path or the address of its wheel or repository here.
tinyadv[{extra}]>={version}
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
      - run: pip install -r requirements.txt
      - run: pytest
"""

OF_THE_DESKTOP = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what macOS and Windows put into folders by themselves

TEACHER = """\
# Explaining and harnessing adversarial examples: the solutions

The lessons of the course with their solutions, which stand between `### BEGIN SOLUTION` and `### END SOLUTION`, and the
tests. `pytest` in this folder passes. Students get what `tinyadv course export DIR` writes;
`tinyadv course grade DIR` grades what one of them hands in, `tinyadv course grade DIR ... --out GRADES` a class.

| lesson | exercises |
|---|---|
{rows}
"""


def tests_folder() -> Path:
    """Where the tests of the exercises are: in the package, or in a checkout beside it.

    Raises
    ------
    FileNotFoundError
        If the installation has none.
    """
    for folder in (PACKAGE / "_exercises", PACKAGE.parent / "tests" / "exercises"):
        if (folder / "conftest.py").exists():
            return folder
    raise FileNotFoundError(f"no tests of exercises beside {PACKAGE}: install tinyadv again")


def graded_lessons() -> dict[int, Path]:
    """The lessons whose exercises have tests, by number."""
    folder = tests_folder()
    return {number: path for number, path in lessons().items() if (folder / f"test_lesson{number:02}.py").exists()}


def chosen_lessons(only: Iterable[int] | None) -> dict[int, Path]:
    """Of the lessons whose exercises have tests those with these numbers, in their order; None: all.

    Raises
    ------
    ValueError
        If there are no exercises of such a lesson.
    """
    there = graded_lessons()
    wanted = set(there if only is None else only)
    if unknown := sorted(wanted - there.keys()):
        raise ValueError(f"there are no exercises of lesson {unknown[0]}: there are of {', '.join(map(str, there))}")
    return {number: path for number, path in there.items() if number in wanted}


def export(
    folder: Path,
    notebooks: bool = False,
    solutions: bool = False,
    github: bool = False,
    only: Iterable[int] | None = None,
) -> list[Path]:
    """Write the tree for students, or with `solutions` the teacher's, into `folder`; all of it or nothing.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    notebooks : bool
        Lessons as Jupyter notebooks instead of scripts; needs jupytext.
    github : bool
        With a workflow of GitHub Actions that tests the exercises at every push.
    only : iterable of int, optional
        These lessons; by default all that have exercises.

    Returns
    -------
    list of Path
        The files written, relative to `folder`.

    Raises
    ------
    ValueError
        If `folder` is a file or not empty, there are no exercises of such a lesson, or jupytext is missing; nothing
        has been written then.
    """
    files = _files(notebooks, solutions, only)
    if github:
        files[".github/workflows/exercises.yml"] = WORKFLOW
    return write_tree(folder, files)


def write_tree(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write texts, by their paths in `folder`, all of them or none; the paths.

    Raises
    ------
    ValueError
        If `folder` is a file or not empty.
    """
    if folder.is_dir() and any(path.name not in OF_THE_DESKTOP for path in folder.iterdir()):
        raise ValueError(f"{folder} is not empty: wanted a new folder, or an empty one")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: wanted a new folder, or an empty one")

    def write(whole: Path) -> None:
        for name, text in files.items():
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            with naming(folder / name):
                (whole / name).write_text(text, encoding="utf-8", newline="\n")

    fill_folder(folder, write)
    return [Path(name) for name in files]


def _files(notebooks: bool, solutions: bool, only: Iterable[int] | None = None) -> dict[str, str]:
    """The text of each file of a tree, by its path in it."""
    chosen, tests = chosen_lessons(only), tests_folder()
    files: dict[str, str] = {}
    rows = []
    for number, path in chosen.items():
        source = path.read_text(encoding="utf-8")
        rows.append(f"| {number}. {title(path)} | {', '.join(f'`{name}`' for name in exercises(source)) or '—'} |")
        text = source if solutions else stub(source)
        name = f"lessons/{path.stem}"
        files |= {f"{name}.ipynb": notebook(text)} if notebooks else {f"{name}.py": text}
        files[f"tests/test_lesson{number:02}.py"] = _read(tests / f"test_lesson{number:02}.py")
    extra = "notebooks" if notebooks else "course"
    files["requirements.txt"] = REQUIREMENTS.format(extra=extra, version=__version__)
    files["tests/conftest.py"] = _read(tests / "conftest.py")
    files["pytest.ini"] = INI
    first = min(chosen)
    run = "jupyter lab lessons" if notebooks else f"python lessons/{chosen[first].name}"
    files["README.md"] = (TEACHER if solutions else STUDENT).format(
        kind="a notebook" if notebooks else "a script in cells of text and code, for an editor or `python`",
        run=f"{run:39} # {'the lessons' if notebooks else 'one lesson'}",
        rows="\n".join(rows),
        first=first,
    )
    return files


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def notebook(source: str) -> str:
    """A lesson as a Jupyter notebook.

    Raises
    ------
    ValueError
        If jupytext is not installed.
    """
    try:
        import jupytext
    except ImportError as error:
        raise ValueError("notebooks need jupytext, which is not installed: pip install 'tinyadv[course]'") from error
    book = jupytext.reads(source, fmt="py:percent")
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for i, cell in enumerate(book.cells):
        cell["id"] = f"cell-{i}"  # the same every time
        if cell.cell_type == "code":
            as_in_notebook(cell)
    text: str = jupytext.writes(book, fmt="ipynb")
    return text
